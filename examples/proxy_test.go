package examples

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// origin is what the proxies stand in front of. It counts requests by Host and
// path, so that each proxy has counts of its own.
type origin struct {
	mu      sync.Mutex
	counts  map[string]int
	release chan struct{} // ends /events
}

func (o *origin) count(r *http.Request) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := r.Host + " " + r.URL.EscapedPath()
	o.counts[key]++
	return o.counts[key]
}

// seen is how often that was asked for.
func (o *origin) seen(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[what]
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, n, flush := w.Header(), o.count(r), http.NewResponseController(w).Flush
	text := func(s string) {
		h.Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, s)
	}
	switch r.URL.Path {
	case "/silent":
		text(fmt.Sprint("silent ", n))
	case "/modified": // no lifetime either, so that one is made of this
		h.Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		text(fmt.Sprint("modified ", n))
	case "/explicit":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Etag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		text(fmt.Sprint("explicit ", n))
	case "/validate":
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		text(fmt.Sprint("validate ", n))
	case "/private":
		h.Set("Cache-Control", "private, max-age=60")
		text(fmt.Sprint("private ", n))
	case "/chunked":
		h.Set("Cache-Control", "max-age=60")
		for i := range 3 {
			text(fmt.Sprint("part ", i, " of ", n, "\n"))
			_ = flush()
		}
	case "/large":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(bytes.Repeat([]byte{byte('0' + n)}, 9<<20))
	case "/page":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(bodies.HTML(30 << 10))
	case "/gzip":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			text("these bytes stand for compressed ones")
			return
		}
		text("not compressed")
	case "/language":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Vary", "Accept-Language")
		text(fmt.Sprint(r.Header.Get("Accept-Language"), " ", n))
	case "/fields":
		h.Set("Cache-Control", "max-age=60")
		h["Link"] = []string{"</a>; rel=preload", "</b>; rel=preload"}
		h["X-Two"] = []string{"one", "two"}
		h.Set("Content-Language", "en")
		text("fields")
	case "/cookies":
		h["Set-Cookie"] = []string{"a=1", "b=2; Path=/"}
		text("cookies")
	case "/untyped":
		h.Set("Cache-Control", "max-age=60")
		h["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>of no type")
	case "/empty":
		w.WriteHeader(http.StatusNoContent)
	case "/nothing":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Content-Type", "text/plain")
		h.Set("Content-Length", "0")
	case "/moved":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Location", "/explicit")
		w.WriteHeader(http.StatusMovedPermanently)
	case "/missing":
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusNotFound)
	case "/failing":
		w.WriteHeader(http.StatusServiceUnavailable)
		text(fmt.Sprint("failing ", n))
	case "/early":
		h.Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
		h.Set("Cache-Control", "max-age=60")
		text(fmt.Sprint("early ", n))
	case "/trailers":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Trailer", "X-Sum")
		text(fmt.Sprint("trailers ", n))
		h.Set("X-Sum", "42")
	case "/short", "/broken": // with and without a length
		h.Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/short" {
			h.Set("Content-Length", "100")
		}
		text("only the beginning")
		_ = flush()
		panic(http.ErrAbortHandler)
	case "/events":
		h.Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: first\n\n")
		_ = flush()
		select {
		case <-o.release:
		case <-r.Context().Done():
		}
	default: // tells what has arrived
		b, _ := io.ReadAll(r.Body)
		h.Set("Content-Type", "text/plain")
		if r.Method != http.MethodHead {
			_, _ = fmt.Fprintf(w, "%s %s %s %v %q", r.Method, r.RequestURI, r.Header.Get("X-Forwarded-For"),
				r.Header.Get("X-Forwarded-Host") == r.Host, b)
		}
	}
}

func startOrigin(t *testing.T) (*origin, string) {
	o := &origin{counts: map[string]int{}, release: make(chan struct{})}
	s := httptest.NewUnstartedServer(o)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return o, s.URL
}

func startProxies(t *testing.T, args ...string) []*process {
	processes := make([]*process, len(frameworks))
	for i, name := range frameworks {
		processes[i] = start(t, "proxy", append([]string{"-framework", name}, args...)...)
		processes[i].name = "proxy in " + name
	}
	return processes
}

var proxyScript = []step{
	// What says nothing of reuse is not reused.
	{method: "GET", target: "/silent", status: 200, cache: miss, want: "silent 1"},
	{method: "GET", target: "/silent", status: 200, cache: miss, want: "silent 2"},
	{method: "GET", target: "/modified", status: 200, cache: "; stored", want: "modified 1"},
	{method: "GET", target: "/modified", status: 200, cache: hit, want: "modified 1"},
	{method: "GET", target: "/moved", status: 301, cache: "; stored"},
	{method: "GET", target: "/moved", status: 301, cache: hit},
	{method: "GET", target: "/explicit", status: 200, cache: "; stored", want: "explicit 1"},
	{method: "GET", target: "/explicit", status: 200, cache: hit, want: "explicit 1"},
	{method: "HEAD", target: "/explicit", status: 200, cache: hit},
	{method: "GET", target: "/explicit", header: field("If-None-Match", `"v1"`), status: 304, cache: hit},
	{method: "GET", target: "/explicit", header: field("If-None-Match", `"v0"`), status: 200, cache: hit, want: "explicit 1"},
	{method: "GET", target: "/explicit", header: field("Cache-Control", "no-cache"), status: 200, cache: "cacheaside; fwd=request", want: "explicit 1"},
	{method: "GET", target: "/explicit?b=2&a=1", status: 200, cache: miss},
	{method: "GET", target: "/explicit?b=2&a=1", status: 200, cache: hit},
	{method: "GET", target: "/explicit?a=1&b=2", status: 200, cache: miss}, // the plain policy knows no order that does not matter
	{method: "GET", target: "/validate", status: 200, cache: "cacheaside; fwd=miss", want: "validate 1"},
	{method: "GET", target: "/validate", status: 200, cache: "cacheaside; fwd=", want: "validate 1"},
	{method: "GET", target: "/private", status: 200, cache: miss, want: "private 1"},
	{method: "GET", target: "/private", status: 200, cache: miss, want: "private 2"},
	// Bodies and fields arrive as the origin sent them, also from the cache.
	{method: "GET", target: "/chunked", status: 200, cache: "; stored", want: "part 0 of 1\npart 1 of 1\npart 2 of 1\n"},
	{method: "GET", target: "/chunked", status: 200, cache: hit, want: "part 0 of 1\npart 1 of 1\npart 2 of 1\n"},
	{method: "GET", target: "/gzip", header: field("Accept-Encoding", "gzip"), status: 200, cache: miss, want: "these bytes stand for compressed ones"},
	{method: "GET", target: "/gzip", header: field("Accept-Encoding", "gzip"), status: 200, cache: hit, want: "these bytes stand for compressed ones"},
	{method: "GET", target: "/gzip", status: 200, cache: "cacheaside; fwd=vary-miss", want: "not compressed"},
	{method: "GET", target: "/language", header: field("Accept-Language", "de"), status: 200, cache: miss, want: "de 1"},
	{method: "GET", target: "/language", header: field("Accept-Language", "fr"), status: 200, cache: "cacheaside; fwd=vary-miss", want: "fr 2"},
	{method: "GET", target: "/language", header: field("Accept-Language", "de"), status: 200, cache: hit, want: "de 1"},
	{method: "GET", target: "/fields", status: 200, cache: miss},
	{method: "GET", target: "/fields", status: 200, cache: hit},
	{method: "GET", target: "/cookies", status: 200, cache: miss},
	{method: "GET", target: "/untyped", status: 200, cache: miss, want: "<html>of no type"},
	{method: "GET", target: "/untyped", status: 200, cache: hit, want: "<html>of no type"},
	{method: "HEAD", target: "/untyped", status: 200, cache: hit},
	{method: "GET", target: "/empty", status: 204, cache: miss},
	{method: "GET", target: "/nothing", status: 200, cache: miss},
	{method: "GET", target: "/nothing", status: 200, cache: hit},
	{method: "GET", target: "/missing", status: 404, cache: miss},
	{method: "GET", target: "/failing", status: 503, cache: miss, want: "failing 1"},
	{method: "GET", target: "/early", status: 200, cache: miss, want: "early 1"},
	{method: "GET", target: "/early", status: 200, cache: hit, want: "early 1"},
	// Methods, paths and queries that routers like to change.
	{method: "POST", target: "/echo", body: "text", status: 200, cache: "cacheaside; fwd=method", want: `POST /echo 127.0.0.1 true "text"`},
	{method: "PUT", target: "/", body: "text", status: 200, cache: "cacheaside; fwd=method", want: `PUT / 127.0.0.1 true "text"`},
	{method: "M-SEARCH", target: "/echo", status: 200, cache: "cacheaside; fwd=method", want: `M-SEARCH /echo 127.0.0.1 true ""`},
	{method: "PURGE", target: "/echo", status: 200, cache: "cacheaside; fwd=method", want: `PURGE /echo 127.0.0.1 true ""`},
	{method: "PROPFIND", target: "/echo", status: 200, cache: "cacheaside; fwd=method", want: `PROPFIND /echo 127.0.0.1 true ""`},
	{method: "OPTIONS", target: "/echo", status: 200, cache: "cacheaside; fwd=method", want: `OPTIONS /echo 127.0.0.1 true ""`},
	{method: "GET", target: "/", status: 200, cache: miss, want: `GET / 127.0.0.1 true ""`},
	{method: "GET", target: "/a%2Fb%20c/%C3%BC/?x=%20;y&z=%zz", status: 200, cache: miss, want: `GET /a%2Fb%20c/%C3%BC/?x=%20;y&z=%zz 127.0.0.1 true ""`},
	{method: "GET", target: "/a/../b/./c/", status: 200, cache: miss, want: `GET /a/../b/./c/ 127.0.0.1 true ""`},
	{method: "GET", target: "/a//b", status: 200, cache: miss, want: `GET /a//b 127.0.0.1 true ""`},
	{method: "HEAD", target: "/echo", status: 200, cache: miss},
}

func TestProxiesAnswerAlike(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		_, url := startOrigin(t)
		processes := startProxies(t, append([]string{"-origin", url}, args...)...)
		run(t, processes, proxyScript)

		for _, p := range processes {
			// A response that broke off is an error, each time, and no answer.
			for _, target := range []string{"/short", "/broken", "/short", "/broken"} {
				a := p.get(target)
				if a.Err == "" && a.Status != http.StatusBadGateway {
					t.Errorf("%s: GET %s: %d %q as if it were complete", p.name, target, a.Status, a.Body)
				}
			}
			if a := p.get("/untyped"); a.Header["Content-Type"] != nil {
				t.Errorf("%s: GET /untyped: a Content-Type was made up: %q", p.name, a.Header["Content-Type"])
			}
			// Trailers keep a response from being stored; Fiber drops them.
			for range 2 {
				a := p.get("/trailers")
				if a.Status != 200 || !strings.HasPrefix(a.Body, "trailers ") || a.Header.Get("X-Sum") != "" {
					t.Errorf("%s: GET /trailers: %+v", p.name, a)
				}
			}
			// Beyond 8 MiB a body streams through.
			for _, digit := range []string{"1", "2"} {
				if a := p.get("/large"); a.Body != strings.Repeat(digit, 9<<20) {
					t.Errorf("%s: GET /large: %d, %d bytes of %.1q, want %d of %q", p.name, a.Status, len(a.Body), a.Body, 9<<20, digit)
				}
			}
		}
		for _, p := range processes {
			p.stop()
		}
	})
}

func TestProxyWithTTL(t *testing.T) {
	_, url := startOrigin(t)
	run(t, startProxies(t, "-origin", url+"/", "-ttl", "1m"), []step{
		{method: "GET", target: "/silent", status: 200, cache: "; stored", want: "silent 1"},
		{method: "GET", target: "/silent", status: 200, cache: hit, want: "silent 1"},
		{method: "GET", target: "/private", status: 200, cache: miss, want: "private 1"},
		{method: "GET", target: "/private", status: 200, cache: miss, want: "private 2"},
		{method: "GET", target: "/cookies", status: 200, cache: miss},
		{method: "GET", target: "/cookies", status: 200, cache: miss},
	})
}

func TestProxyOriginWithPath(t *testing.T) {
	_, url := startOrigin(t)
	run(t, startProxies(t, "-origin", url+"/base"), []step{
		{method: "GET", target: "/x?y=1", status: 200, cache: miss, want: `GET /base/x?y=1 127.0.0.1 true ""`},
	})
}

func TestProxyOriginDown(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	run(t, startProxies(t, "-origin", s.URL), []step{
		{method: "GET", target: "/", status: 502, cache: miss},
		{method: "GET", target: "/", status: 502, cache: miss},
		{method: "POST", target: "/", body: "x", status: 502, cache: "cacheaside; fwd=method"},
	})
}

// TestProxyEvents requires the first event while the origin still holds the
// response open. Fiber is not among them: its adaptor collects the response.
func TestProxyEvents(t *testing.T) {
	o, url := startOrigin(t)
	defer close(o.release)
	for _, p := range startProxies(t, "-origin", url) {
		if strings.HasSuffix(p.name, "fiber") {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			continue
		}
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if line != "data: first\n" {
			t.Errorf("%s: after %v: %q, %v", p.name, time.Since(began), line, err)
		}
		_ = resp.Body.Close()
	}
}

// TestProxiesAtOnce looks for answers that get mixed up.
func TestProxiesAtOnce(t *testing.T) {
	_, url := startOrigin(t)
	for _, p := range startProxies(t, "-origin", url) {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := range 25 {
					lang := fmt.Sprint("x-", (i+j)%8)
					if a := p.do("GET", "/language", field("Accept-Language", lang), ""); !strings.HasPrefix(a.Body, lang+" ") {
						t.Errorf("%s: asked for %s, got %d %q %s", p.name, lang, a.Status, a.Body, a.Err)
					}
					path := fmt.Sprint("/", i, "/", j)
					if a := p.do("POST", path, nil, lang); a.Body != fmt.Sprintf("POST %s 127.0.0.1 true %q", path, lang) {
						t.Errorf("%s: POST %s got %d %q %s", p.name, path, a.Status, a.Body, a.Err)
					}
				}
			})
		}
		wg.Wait()
		p.stop()
	}
}
