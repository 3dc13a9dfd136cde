package cacheaside_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

func TestUnsafeMethodsInvalidate(t *testing.T) {
	status, location := http.StatusOK, ""
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if !safeMethod(r.Method) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Vary", "Accept")
		fmt.Fprint(w, r.Header.Get("Accept"))
	})
	warm := func() {
		for _, p := range []string{"/a?x=1", "/b", "/c"} {
			s.get(p, "Accept", "1")
			s.get(p, "Accept", "2")
			wantStatus(t, s.get(p, "Accept", "1"), "hit")
		}
	}
	for _, c := range []struct {
		name, method, target string
		status               int
		location             string
		gone, kept           []string
	}{
		{"the target with all variants", "POST", "/a?x=1", 200, "", []string{"/a?x=1"}, []string{"/b", "/c"}},
		{"a redirect is no error", "PUT", "/b", 303, "", []string{"/b"}, []string{"/a?x=1"}},
		{"an error changes nothing", "DELETE", "/a?x=1", 404, "/b", nil, []string{"/a?x=1", "/b"}},
		{"Location, relative", "POST", "/", 201, "b", []string{"/b"}, []string{"/c"}},
		{"Location, absolute", "POST", "/x/y", 201, "http://example.com/a?x=1", []string{"/a?x=1"}, []string{"/b"}},
		{"Location on another host", "POST", "/", 201, "http://evil.example/b", nil, []string{"/b"}},
		{"an unknown method", "M-SEARCH", "/c", 200, "", []string{"/c"}, []string{"/b"}},
		{"a safe method", "OPTIONS", "/c", 200, "", nil, []string{"/c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			warm()
			status, location = c.status, c.location
			wantStatus(t, s.do(c.method, c.target), "fwd=method")
			for _, p := range c.kept {
				wantStatus(t, s.get(p, "Accept", "2"), "hit")
			}
			for _, p := range c.gone {
				wantStatus(t, s.get(p, "Accept", "1"), "fwd=")
				wantStatus(t, s.get(p, "Accept", "2"), "fwd=")
			}
		})
	}
	if n := s.cache.Stats().Invalidated; n != 8 {
		t.Errorf("%d invalidations", n)
	}
}

func safeMethod(m string) bool { return m == "GET" || m == "HEAD" || m == "OPTIONS" }

func TestStaleIfError(t *testing.T) {
	status, control := http.StatusOK, ""
	handler := func(w http.ResponseWriter, _ *http.Request) {
		if control != "" {
			w.Header().Set("Cache-Control", control)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "status ", status)
	}
	for _, c := range []struct {
		name, control string
		policy        time.Duration
		status        int
		after         time.Duration
		served        bool
	}{
		{"nothing allows it", "max-age=10", 0, 503, 20 * time.Second, false},
		{"the response does", "max-age=10, stale-if-error=60", 0, 503, 20 * time.Second, true},
		{"no longer", "max-age=10, stale-if-error=60", 0, 503, 71 * time.Second, false},
		{"the policy does", "max-age=10", time.Minute, 500, 20 * time.Second, true},
		{"the response knows better", "max-age=10, stale-if-error=5", time.Minute, 500, 20 * time.Second, false},
		{"must-revalidate", "max-age=10, must-revalidate", time.Minute, 500, 20 * time.Second, false},
		{"not an error of that kind", "max-age=10", time.Minute, 404, 20 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, handler, func(p *cacheaside.Config) { p.Policy.Stale.IfError = c.policy })
			status, control = http.StatusOK, c.control
			s.get("/")
			s.clock.Advance(c.after)
			status, control = c.status, ""
			r := s.get("/")
			if got := body(r); c.served != (got == "status 200") || c.served != (r.StatusCode == 200) {
				t.Errorf("%d %q", r.StatusCode, got)
			}
			if c.served {
				wantStatus(t, r, fmt.Sprintf("fwd=stale; fwd-status=%d; detail=stale-if-error", c.status))
				if r.Header.Get("Age") != "20" {
					t.Errorf("Age %s", r.Header.Get("Age"))
				}
			}
		})
	}
}

func TestTargetedFields(t *testing.T) {
	for _, c := range []struct {
		name    string
		targets []string
		fields  map[string]string
		want    string
	}{
		{"CDN-Cache-Control by default", nil, map[string]string{"CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"}, "ttl=60; stored"},
		{"off", []string{}, map[string]string{"CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"}, "detail=no-store"},
		{"own name first", []string{"Shop-Cache-Control", "CDN-Cache-Control"},
			map[string]string{"Shop-Cache-Control": "max-age=5", "CDN-Cache-Control": "max-age=60"}, "ttl=5; stored"},
		{"invalid is ignored", nil, map[string]string{"CDN-Cache-Control": "max-age=;;", "Cache-Control": "max-age=7"}, "ttl=7; stored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.fields {
					w.Header().Set(k, v)
				}
				w.WriteHeader(http.StatusOK)
			}, func(p *cacheaside.Config) { p.Policy.Storing.TargetedFields = c.targets })
			wantStatus(t, s.get("/"), c.want)
		})
	}
}

func TestGeneratedETag(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Etag", `W/"own"`)
		}
		fmt.Fprint(w, "body")
	}, func(p *cacheaside.Config) { p.Policy.Storing.GenerateETag = true })
	first := s.get("/").Header.Get("Etag")
	second := s.get("/").Header.Get("Etag")
	if len(first) != 34 || first != second {
		t.Errorf("%q on the miss, %q on the hit", first, second)
	}
	if r := s.get("/", "If-None-Match", first); r.StatusCode != http.StatusNotModified {
		t.Errorf("status %d", r.StatusCode)
	}
	if e := s.get("/own").Header.Get("Etag"); e != `W/"own"` {
		t.Errorf("the handler's own became %s", e)
	}
}

func TestEncodedBodyNeedsAskingFor(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") { // and forgets Vary
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "gzipped")
			return
		}
		fmt.Fprint(w, "plain")
	})
	s.get("/", "Accept-Encoding", "gzip")
	if r := s.get("/"); body(r) != "plain" {
		t.Error("a gzip body reached a client that did not ask for it")
	}
}

func TestRFC9111Policy(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nothing":
		case "/599":
			w.Header().Set("Cache-Control", "max-age=9")
			w.WriteHeader(599)
		case "/heuristic":
			w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
			w.Header().Set("Date", "Fri, 02 Jan 2026 03:04:05 GMT")
		case "/cookie":
			w.Header().Set("Cache-Control", "max-age=9")
			w.Header().Set("Set-Cookie", "a=b")
		}
		if r.URL.Path != "/599" {
			w.WriteHeader(http.StatusOK)
		}
	}, func(c *cacheaside.Config) { c.Policy = cacheaside.RFC9111() })
	for path, want := range map[string]string{
		"/nothing": "detail=no-freshness", "/599": "ttl=9; stored", "/heuristic": "ttl=9744; stored", "/cookie": "ttl=9; stored",
	} {
		wantStatus(t, s.get(path), want)
	}
}

func TestHeadUpdatesTheStoredGet(t *testing.T) {
	etag, length := `"1"`, "4"
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", etag)
		w.Header().Set("Content-Length", length)
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("Cache-Control", "max-age=10")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "body")
		}
	})
	stale := func() {
		s.get("/", "Cache-Control", "no-cache")
		s.clock.Advance(11 * time.Second)
	}
	stale()
	if r := s.do(http.MethodHead, "/"); r.Header.Get("Content-Length") != "4" || body(r) != "" {
		t.Errorf("HEAD: %v", r.Header)
	}
	r := s.get("/")
	wantStatus(t, r, "hit; ttl=10")
	if r.Header.Get("X-Method") != "HEAD" || body(r) != "body" {
		t.Errorf("not updated: %v", r.Header)
	}
	stale()
	etag = `"2"`
	s.do(http.MethodHead, "/")
	wantStatus(t, s.get("/"), "fwd=miss")
	stale()
	length = "5"
	s.do(http.MethodHead, "/")
	length = "4"
	wantStatus(t, s.get("/"), "fwd=miss")
}

// TestFieldsOfANotModified updates what a 304 may, and nothing that its own
// fields say of a body that it has not.
func TestFieldsOfANotModified(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Etag", `"1"`)
		h.Set("Cache-Control", "max-age=10")
		h.Set("Content-Encoding", "x")
		h.Set("Content-Type", "text/a")
		if r.Header.Get("If-None-Match") == "" {
			fmt.Fprint(w, "body")
			return
		}
		h.Set("Content-Encoding", "y")
		h.Set("Content-Length", "9")
		h.Set("Content-Range", "bytes 0-1/9")
		h.Set("Content-Type", "text/b")
		w.WriteHeader(http.StatusNotModified)
	})
	s.get("/")
	s.clock.Advance(11 * time.Second)
	for _, want := range []string{"fwd=stale; fwd-status=304; ttl=10; stored", "hit; ttl=10"} {
		r := s.get("/")
		wantStatus(t, r, want)
		h := r.Header
		if body(r) != "body" || h.Get("Content-Type") != "text/b" || h.Get("Content-Encoding") != "x" ||
			h.Get("Content-Length") != "" || h.Get("Content-Range") != "" {
			t.Errorf("%s: %v", want, h)
		}
	}
}

// TestHeadWithoutAValidator may agree with what is stored by chance.
func TestHeadWithoutAValidator(t *testing.T) {
	row := "old"
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		if r.Method == http.MethodGet {
			fmt.Fprint(w, row)
		}
	}, func(c *cacheaside.Config) { c.Policy.Storing.GenerateETag = true })
	s.get("/")
	s.clock.Advance(time.Minute)
	row = "new"
	s.do(http.MethodHead, "/")
	if r := s.get("/"); body(r) != "new" {
		t.Errorf("a HEAD has made the old response fresh: %v", r.Header)
	}
}

func TestShowKey(t *testing.T) {
	s := newService(t, func(http.ResponseWriter, *http.Request) {}, func(p *cacheaside.Config) {
		p.Policy.Requests.ShowKey = func(r *cacheaside.Request) bool { return len(r.Header.Values("X-Debug")) > 0 }
	})
	const want = `key="cacheaside:2:{GET:http://example.com/}"`
	wantStatus(t, s.get("/", "X-Debug", "1"), want)
	wantStatus(t, s.get("/", "X-Debug", "1"), want)
	if r := s.get("/"); strings.Contains(r.Header.Get("Cache-Status"), "key") {
		t.Error("the key is shown to everybody")
	}
}
