package nethttp_test

import (
	"net/http"
	"testing"

	"github.com/klauspost/compress/gzhttp"

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

// BenchmarkCompression is next to gzhttp, as net/http has no compression of its own.
func BenchmarkCompression(b *testing.B) {
	coretest.BenchmarkCompression(b, func(cache *cacheaside.Cache, compress bool, body []byte) coretest.BenchApp {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		})
		var h http.Handler = mux
		if cache != nil {
			h = nethttp.New(cache)(h)
		}
		if compress {
			h = gzhttp.GzipHandler(h)
		}
		return coretest.BenchTargets(h)
	})
}
