package chiadapter_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/cacheaside/cacheaside/chiadapter"
	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
)

func Benchmark(b *testing.B) {
	coretest.Benchmark(b, func(cache *core.Cache) func() func() {
		r := chi.NewRouter()
		if cache != nil {
			r.Use(chiadapter.New(cache))
		}
		r.Get("/blogs/{id}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(coretest.BenchBody)
		})
		return coretest.BenchHTTP(r)
	})
}
