package examples

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// The flags of the policy, in each framework.

func TestNotFoundTTL(t *testing.T) {
	for _, name := range frameworks {
		p := start(t, name, "-not-found-ttl", "1m")
		for range 2 {
			if a := p.get("/users/5000"); a.Status != http.StatusNotFound {
				t.Errorf("%s: status %d, want 404", name, a.Status)
			}
		}
		if s := p.stats(); s.OriginReads != 1 || s.Cache["hits"] != 1 {
			t.Errorf("%s: %+v, want one database query and one hit", name, s)
		}
	}
}

func TestCoalesce(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, mode := range []string{"all", "process", "none"} {
		for _, name := range frameworks {
			t.Run(mode+"/"+name, func(t *testing.T) {
				t.Parallel() // it mostly waits
				p := start(t, name, append([]string{"-coalesce", mode, "-db-latency", "1s"}, patient...)...)
				allAnswer(t, crowd([]*process{p}, 20, "/users/7")(), user7)
				if s := p.stats(); (s.OriginReads == 1) != (mode != "none") { // who comes late may find it stored
					t.Errorf("%s -coalesce %s: %d database queries", name, mode, s.OriginReads)
				}
			})
		}
	}
}

func TestSoftTimeout(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			p := start(t, name, "-db-latency", "1s", "-ttl", "2s", "-stale-if-error", "10m", "-soft-timeout", "50ms")
			p.get("/users/7")
			eventually(t, "an answer in place of a slow one", func() bool {
				a := p.get("/users/7")
				allAnswer(t, []answer{a}, user7)
				return strings.Contains(a.Header.Get("Cache-Status"), "detail=soft-timeout")
			})
			eventually(t, "the slow answer is stored", func() bool { return p.stats().Cache["refreshed"] == 1 })
			if s := p.stats(); s.OriginReads != 2 || s.Cache["stale_if_error"] == 0 {
				t.Errorf("%+v, want 2 database queries", s)
			}
		})
	}
}

func TestStaleIfError(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			var asked atomic.Int32
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) > 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				_, _ = w.Write([]byte("old"))
			}))
			t.Cleanup(ts.Close)
			p := start(t, "proxy", "-framework", name, "-origin", ts.URL, "-ttl", "1s", "-stale-if-error", "10m")
			p.get("/")
			eventually(t, "an answer in place of an error", func() bool {
				a := p.get("/")
				allAnswer(t, []answer{a}, "old")
				return strings.Contains(a.Header.Get("Cache-Status"), "fwd-status=503") && asked.Load() > 1
			})
		})
	}
}

func TestTTLJitter(t *testing.T) {
	p := start(t, "chi", "-ttl", "1000s", "-ttl-jitter", "0.9", "-db-latency", "0s")
	seen := map[string]bool{}
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		seen[p.get("/users/"+id).Header.Get("Cache-Status")] = true
	}
	if len(seen) < 2 { // all of 900 values alike
		t.Errorf("one lifetime for all: %v", seen)
	}
}
