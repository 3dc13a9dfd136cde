package chiadapter_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
)

func Benchmark(b *testing.B) {
	app := func(cache *cacheaside.Cache, body func(target string) []byte) coretest.BenchApp {
		r := chi.NewRouter()
		if cache != nil {
			r.Use(chiadapter.New(cache))
		}
		r.Get("/blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(body(r.RequestURI))
		})
		return coretest.BenchTargets(r)
	}
	coretest.Benchmark(b, func(cache *cacheaside.Cache) coretest.BenchApp {
		return app(cache, func(string) []byte { return coretest.BenchBody })
	}, func(get func(string) []byte) coretest.BenchApp { return app(nil, get) })
}

// BenchmarkOutcomeHit is a hit with each of the options that tell what it was.
func BenchmarkOutcomeHit(b *testing.B) {
	for name, opts := range map[string][]chiadapter.Option{
		"off": nil, "X-Cache": {chiadapter.WithXCache("")}, "outcome": {chiadapter.WithOutcome()},
	} {
		b.Run(name, func(b *testing.B) {
			r := chi.NewRouter()
			r.Use(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if name != "outcome" {
						next.ServeHTTP(w, r)
						return
					}
					r = chiadapter.TrackOutcome(r)
					next.ServeHTTP(w, r)
					if _, ok := chiadapter.Outcome(r); !ok {
						b.Error("no outcome")
					}
				})
			}, chiadapter.New(coretest.NewCache(b), opts...))
			r.Get("/blogs/{id}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(coretest.BenchBody) })
			serve := coretest.BenchTargets(r).New()
			serve(coretest.BenchTarget)
			b.ReportAllocs()
			for b.Loop() {
				serve(coretest.BenchTarget)
			}
		})
	}
}

// BenchmarkContentHit is a hit of a request whose content is part of its key.
func BenchmarkContentHit(b *testing.B) {
	for _, n := range []int{200, 16 << 10} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cache := coretest.NewCache(b, func(c *cacheaside.Config) { c.Policy.Requests.Methods = []string{"QUERY"} })
			h := chiadapter.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(coretest.BenchBody) }))
			content := bytes.NewReader(make([]byte, n))
			body := io.NopCloser(content)
			r := httptest.NewRequest("QUERY", coretest.BenchTarget, content)
			w := &counter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				content.Reset(zeros[:n])
				clear(w.header)
				r.Body, w.n = body, 0
				if h.ServeHTTP(w, r); w.n != len(coretest.BenchBody) {
					b.Fatal("another body")
				}
			}
			if s := cache.Stats(); s.Misses != 1 || s.Bypasses != 0 {
				b.Fatalf("%+v", s)
			}
		})
	}
}

var zeros = make([]byte, 16<<10)

type counter struct {
	header http.Header
	n      int
}

func (w *counter) Header() http.Header         { return w.header }
func (w *counter) WriteHeader(int)             {}
func (w *counter) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

// BenchmarkCompression is next to chi's own compression.
func BenchmarkCompression(b *testing.B) {
	coretest.BenchmarkCompression(b, func(cache *cacheaside.Cache, compress bool, body []byte) coretest.BenchApp {
		r := chi.NewRouter()
		if compress {
			r.Use(middleware.Compress(5))
		}
		if cache != nil {
			r.Use(chiadapter.New(cache))
		}
		r.Get("/blogs/{id}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		})
		return coretest.BenchTargets(r)
	})
}

func BenchmarkFirstByte(b *testing.B) {
	coretest.FirstByte(b, coretest.Framework{Name: "chiadapter", Serve: serve})
}
