package coretest

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// BenchBody is what the handler of a benchmark sends, as text/plain.
var BenchBody = []byte(strings.Repeat("0123456789abcdef", 64))

// BenchTarget is the URL that a benchmark asks for.
const BenchTarget = "http://example.com/blogs/1000?page=2"

// Benchmark measures an adapter: the framework's own handler without a cache,
// a hit in memory, a hit on a server, a hit in its near tier, and a miss; and by how
// much hits in this process take longer than the handler without a cache. Build
// makes an app with the handler at GET /blogs/:id behind the cache, which may be
// nil, and returns a function that makes a server for one goroutine: each call of
// that serves [BenchTarget] once.
func Benchmark(b *testing.B, build func(cache *core.Cache) (newServer func() (serve func()))) {
	prepare := func(b *testing.B, store core.Store) (newServer func() (serve func())) {
		if store == nil {
			return build(nil)
		}
		cache := core.Must(core.New(core.Config{
			Store: store, TTL: time.Hour, Logger: slog.New(slog.DiscardHandler),
			Namespace: "bench-" + strings.ToLower(strings.NewReplacer("/", "-", " ", "-").Replace(b.Name())),
		}))
		b.Cleanup(func() { _ = cache.Close(context.Background()) })
		newServer = build(cache)
		newServer()() // fills the cache
		if d, ok := store.(*dragonfly.Store); ok && d.Near() {
			serve := newServer()
			for deadline := time.Now().Add(10 * time.Second); cache.Stats().Near == 0; serve() {
				if time.Now().After(deadline) {
					b.Fatal("nothing gets near")
				}
			}
		}
		return newServer
	}
	run := func(name string, store core.Store, parallel bool) {
		b.Run(name, func(b *testing.B) {
			newServer := prepare(b, store)
			b.ReportAllocs()
			b.ResetTimer()
			if parallel {
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					serve := newServer()
					for pb.Next() {
						serve()
					}
				})
				return
			}
			serve := newServer()
			for b.Loop() {
				serve()
			}
		})
	}
	compare := func(name string, store core.Store) {
		b.Run(name, func(b *testing.B) { Compare(b, prepare(b, nil)(), prepare(b, store)()) })
	}
	run("uncached", nil, false)
	mem := core.Must(memory.New(64 << 20))
	defer mem.Close()
	run("memory-hit", mem, false)
	compare("memory-hit-uncached", mem)
	run("memory-miss", neverFound{mem}, false)
	server, err := dragonfly.Open(context.Background(), storetest.Server(b), dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	run("server-hit", server, false)
	run("server-hit-64-clients", server, true)
	near, err := dragonfly.Open(context.Background(), storetest.Server(b), dragonfly.WithLogger(slog.New(slog.DiscardHandler)),
		dragonfly.WithNear(dragonfly.NearOptions{Bytes: 16 << 20, HotWithin: time.Minute, MaxAge: time.Hour}))
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	if near.Near() { // miniredis does not track
		run("near-hit", near, false)
		compare("near-hit-uncached", near)
	}
}

// neverFound is a store in which nothing is ever found.
type neverFound struct{ core.Store }

func (neverFound) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }

// BenchHTTP serves h with a request and a writer that are used again and again,
// so that only the handler is measured.
func BenchHTTP(h http.Handler) func() (serve func()) {
	return func() func() {
		r := httptest.NewRequest(http.MethodGet, BenchTarget, nil)
		w := &benchWriter{header: http.Header{}}
		return func() {
			clear(w.header)
			w.n = 0
			h.ServeHTTP(w, r)
			if w.n != len(BenchBody) {
				panic("coretest: the benchmark's handler sent another body")
			}
		}
	}
}

type benchWriter struct {
	header http.Header
	n      int
}

func (w *benchWriter) Header() http.Header         { return w.header }
func (w *benchWriter) WriteHeader(int)             {}
func (w *benchWriter) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

// Compare reports by how much one call of b takes longer than one of a, in
// nanoseconds. They take turns, and the best of many rounds counts, so that what
// else the machine does spoils neither.
func Compare(tb *testing.B, a, b func()) {
	const rounds, calls = 200, 500
	round := func(f func()) time.Duration {
		start := time.Now()
		for range calls {
			f()
		}
		return time.Since(start)
	}
	for tb.Loop() {
		best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
		for range rounds {
			best[0], best[1] = min(best[0], round(a)), min(best[1], round(b))
		}
		tb.ReportMetric(float64(best[1]-best[0])/calls, "ns-more")
	}
}
