package prom_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/prom"
)

// clock goes on by a second each time it is asked.
type clock struct{ seconds atomic.Int64 }

func (c *clock) Now() time.Time { return time.Unix(1e9+c.seconds.Add(1), 0) }

// service is a router with a cache around it.
func service(t testing.TB, m *prom.Metrics, config cacheaside.Config) (*cacheaside.Cache, http.Handler) {
	t.Helper()
	config.Observer = m
	config.Policy.TTL = time.Hour
	cache, err := cacheaside.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /articles/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Tag", "articles")
		_, _ = w.Write([]byte("article " + r.PathValue("id")))
	})
	mux.HandleFunc("GET /private", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("private"))
	})
	mux.HandleFunc("POST /articles/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return cache, nethttp.New(cache)(mux)
}

func ask(h http.Handler, method, path string) {
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
}

// Two caches with one observer, from their requests to a scrape.
func TestCache(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	now := new(clock)
	cache, h := service(t, m, cacheaside.Config{Now: now.Now})
	_, other := service(t, m, cacheaside.Config{})

	ask(h, http.MethodGet, "/articles/1")
	ask(h, http.MethodGet, "/articles/1")
	ask(h, http.MethodGet, "/articles/2?utm=x")
	ask(h, http.MethodGet, "/private")
	ask(h, http.MethodPost, "/articles/9")
	ask(other, http.MethodGet, "/articles/1")
	if err := cache.PurgeTags(t.Context(), "articles"); err != nil {
		t.Fatal(err)
	}
	ask(h, http.MethodGet, "/articles/1")

	got := values(t, reg)
	for name, want := range map[string]float64{
		"requests_total{result=miss,route=/articles/{id},tier=none}":           4,
		"requests_total{result=hit,route=/articles/{id},tier=memory}":          1,
		"requests_total{result=miss,route=/private,tier=none}":                 1,
		"requests_total{result=bypass,route=/articles/{id},tier=none}":         1,
		"misses_total{cause=cold,route=/articles/{id}}":                        3,
		"misses_total{cause=purged,route=/articles/{id}}":                      1,
		"misses_total{cause=cold,route=/private}":                              1,
		"not_stored_total{reason=no-store,route=/private}":                     1,
		"bypasses_total{reason=method}":                                        1,
		"stores_total{outcome=ok}":                                             4,
		"purges_total{kind=tags,outcome=ok,soft=false}":                        1,
		"handler_duration_seconds_count{mode=foreground,route=/articles/{id}}": 5, // that of the bypass as well
		"hit_age_seconds_count":                                                1,
		"request_duration_seconds_count{result=hit,tier=memory}":               1,
		"response_body_bytes_total{result=hit}":                                9,
		"store_call_duration_seconds_count{op=get,outcome=ok}":                 0, // the store is in the process
	} {
		if got[name] != want {
			t.Errorf("%s is %v, not %v", name, got[name], want)
		}
	}
	for _, positive := range []string{
		"handler_saved_seconds_total{route=/articles/{id}}", "hit_age_seconds_sum", "request_duration_seconds_sum{result=hit,tier=memory}",
		"handler_duration_seconds_sum{mode=foreground,route=/articles/{id}}",
	} {
		if got[positive] < 1 {
			t.Errorf("%s is %v", positive, got[positive])
		}
	}
	if strings.Contains(scrape(t, reg, text), "utm") {
		t.Error("a query is in the scrape")
	}
}

// What a hit takes with the observer, and without it.
func BenchmarkCache(b *testing.B) {
	for _, name := range []string{"off", "on"} {
		b.Run(name, func(b *testing.B) {
			var config cacheaside.Config
			var h http.Handler
			if name == "on" {
				_, h = service(b, newMetrics(b, prometheus.NewRegistry()), config)
			} else {
				cache, err := cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = cache.Close(context.Background()) })
				mux := http.NewServeMux()
				mux.HandleFunc("GET /articles/{id}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("an article")) })
				h = nethttp.New(cache)(mux)
			}
			r := httptest.NewRequest(http.MethodGet, "/articles/1", nil)
			ask(h, http.MethodGet, "/articles/1")
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&discard{header: http.Header{}}, r)
			}
		})
	}
}
