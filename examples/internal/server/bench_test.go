package server_test

import (
	"net/http"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// BenchmarkMetrics is what the metrics of -admin add to a hit in memory.
func BenchmarkMetrics(b *testing.B) {
	serve := func(change ...func(*cacheaside.Config)) func() {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(coretest.BenchBody)
		})
		serve := coretest.BenchHTTP(nethttp.New(coretest.NewCache(b, change...))(mux))()
		serve()
		return serve
	}
	operating := cacheaside.Must((&server.Options{Admin: "127.0.0.1:0"}).Operating())
	coretest.Compare(b, serve(), serve(func(c *cacheaside.Config) { c.Observer = operating.Observer() }))
}
