package nethttp_test

import (
	"net/http"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

func Benchmark(b *testing.B) {
	app := func(cache *cacheaside.Cache, body func(target string) []byte) coretest.BenchApp {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(body(r.RequestURI))
		})
		if cache != nil {
			return coretest.BenchTargets(nethttp.New(cache)(mux))
		}
		return coretest.BenchTargets(mux)
	}
	coretest.Benchmark(b, func(cache *cacheaside.Cache) coretest.BenchApp {
		return app(cache, func(string) []byte { return coretest.BenchBody })
	}, func(get func(string) []byte) coretest.BenchApp { return app(nil, get) })
}

func BenchmarkFirstByte(b *testing.B) {
	coretest.FirstByte(b, coretest.Framework{Name: "nethttp", Serve: serve})
}
