package chiadapter_test

import (
	"net/http"
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
