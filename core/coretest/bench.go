package coretest

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// BenchBody is what the handler of a benchmark sends, as text/plain.
var BenchBody = []byte(strings.Repeat("0123456789abcdef", 64))

// BenchTarget is the URL that a benchmark asks for.
const BenchTarget = benchHost + "/blogs/1000?page=2"

const benchHost = "http://example.com"

// Benchmark measures an adapter: the framework's own handler without a cache,
// a hit in memory, a hit on a server, a hit in its near tier, and misses; and by how
// much hits in this process take longer than the handler without a cache. Build
// makes an app with the handler at GET /blogs/:id behind the cache, which may be
// nil, and returns a function that makes a server for one goroutine: each call of
// that serves one target, such as [BenchTarget].
//
// Bare makes a server with nothing but a handler that writes, as text/plain, what get
// returns for the request's target: with a GET by a client of rueidis in get, that is
// the least that a hit on a server can cost, and with a SET, a miss. What both cost is
// reported side by side: see [Floor].
func Benchmark(b *testing.B, build func(cache *cacheaside.Cache) BenchApp, bare func(get func(target string) []byte) BenchApp) {
	beClients()
	prepare := func(b *testing.B, store store.Store) (cache *cacheaside.Cache, app BenchApp) {
		if store == nil {
			return nil, build(nil)
		}
		cache = cacheaside.Must(cacheaside.New(cacheaside.Config{
			Store:     store,
			Logger:    slog.New(slog.DiscardHandler),
			Namespace: "bench-" + strings.ToLower(strings.NewReplacer("/", "-", " ", "-").Replace(b.Name())),
			Policy:    cacheaside.Policy{TTL: benchTTL},
		}))
		b.Cleanup(func() { _ = cache.Close(context.Background()) })
		app = build(cache)
		app.New()(BenchTarget) // fills the cache
		_ = cache.Flush(context.Background())
		if d, ok := store.(*dragonfly.Store); ok && d.Near() {
			serve := app.New()
			for deadline := time.Now().Add(10 * time.Second); cache.Stats().Near == 0; serve(BenchTarget) {
				if time.Now().After(deadline) {
					b.Fatal("nothing gets near")
				}
			}
		}
		return cache, app
	}
	run := func(name string, store store.Store, next func() (target string)) {
		b.Run(name, func(b *testing.B) {
			_, app := prepare(b, store)
			serve := app.New()
			b.ReportAllocs()
			for b.Loop() {
				whole(serve(next()))
			}
		})
	}
	compare := func(name string, store store.Store) {
		b.Run(name, func(b *testing.B) {
			_, without := prepare(b, nil)
			_, with := prepare(b, store)
			one, other := without.New(), with.New()
			Compare(b, func() { whole(one(BenchTarget)) }, func() { whole(other(BenchTarget)) })
		})
	}
	run("uncached", nil, sameTarget)
	mem := cacheaside.Must(memory.New(64 << 20))
	defer mem.Close()
	run("memory-hit", mem, sameTarget)
	compare("memory-hit-uncached", mem)
	run("memory-miss", mem, newTargets())
	addr := storetest.Server(b)
	server, err := dragonfly.Open(context.Background(), addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	run("server-hit", server, sameTarget)
	run("server-miss", server, newTargets())
	// The floor has a client as its author would make one, in the state in which it stays
	// once it had two calls at a time.
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, AlwaysPipelining: true})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, clients := range []int{1, 64} {
		b.Run("server-hit-floor-"+strconv.Itoa(clients), func(b *testing.B) {
			_, app := prepare(b, server)
			key := storetest.Prefix() + "floor-0123456789"
			if err := client.Do(context.Background(), client.B().Set().Key(key).Value(string(BenchBody)).Px(benchTTL).Build()).Error(); err != nil {
				b.Fatal(err)
			}
			floor := bare(func(string) []byte {
				body, err := client.Do(context.Background(), client.B().Get().Key(key).Build()).AsBytes()
				if err != nil {
					panic(err)
				}
				return body
			})
			Floor(b, client, clients, floor, app, false, func() {})
		})
		b.Run("server-miss-floor-"+strconv.Itoa(clients), func(b *testing.B) {
			cache, app := prepare(b, server)
			prefix := storetest.Prefix() + "floor:"
			floor := bare(func(target string) []byte {
				key := prefix + target
				if client.Do(context.Background(), client.B().Get().Key(key).Build()).Error() == nil {
					panic("coretest: the floor's miss is a hit")
				}
				if err := client.Do(context.Background(), client.B().Set().Key(key).Value(string(BenchBody)).Px(benchTTL).Build()).Error(); err != nil {
					panic(err)
				}
				return BenchBody
			})
			Floor(b, client, clients, floor, app, true, func() { _ = cache.Flush(context.Background()) })
		})
	}
	near, err := dragonfly.Open(context.Background(), addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)),
		dragonfly.WithNear(dragonfly.NearOptions{Bytes: 16 << 20, HotWithin: time.Minute, MaxAge: time.Hour}))
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	if near.Near() { // miniredis does not track
		run("near-hit", near, sameTarget)
		compare("near-hit-uncached", near)
	}
}

// benchTTL is short, so that misses by the hundred thousand leave room on the server.
const benchTTL = time.Minute

// BenchApp is what a benchmark measures. New makes what serves one target after
// another, for one goroutine, and returns how many bytes the body had that was sent; the
// requests have the fields given, each "Name: value". Serve is a server for l, until that
// is closed.
type BenchApp struct {
	New   func(fields ...string) (serve func(target string) (sent int))
	Serve func(l net.Listener)
}

// whole panics if what was sent is not [BenchBody].
func whole(sent int) {
	if sent != len(BenchBody) {
		panic("coretest: the benchmark's handler sent another body")
	}
}

func sameTarget() string { return BenchTarget }

// lastTarget begins where no run has been that may have left something on the server.
var lastTarget atomic.Uint64

func init() { lastTarget.Store(uint64(time.Now().UnixMicro()) % 8e9) }

func targetNumber(n uint64) string { return string(appendTarget(nil, n)) }

// appendTarget gives all numbers the same length.
func appendTarget(b []byte, n uint64) []byte {
	return strconv.AppendUint(append(b, strings.TrimSuffix(BenchTarget, "2")...), 1e9+n, 10)
}

// newTargets gives targets of which none was there before, nearly without allocating.
func newTargets() func() (target string) {
	size, text := len(targetNumber(0)), ""
	return func() string {
		if text == "" {
			b := make([]byte, 0, 1000*size)
			for range 1000 {
				b = appendTarget(b, lastTarget.Add(1))
			}
			text = string(b)
		}
		target := text[:size]
		text = text[size:]
		return target
	}
}

// BenchHTTP serves h with a request and a writer that are used again and again,
// so that only the handler is measured.
func BenchHTTP(h http.Handler) func() (serve func()) {
	app := BenchTargets(h)
	return func() func() {
		serve := app.New()
		return func() { whole(serve(BenchTarget)) }
	}
}

// BenchTargets is [BenchHTTP] for several targets, which differ in the query.
func BenchTargets(h http.Handler) BenchApp {
	return BenchApp{func(fields ...string) func(string) int {
		r := httptest.NewRequest(http.MethodGet, BenchTarget, nil)
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			r.Header.Add(name, value)
		}
		w := &benchWriter{header: http.Header{}}
		return func(target string) int {
			clear(w.header)
			w.n = 0
			if uri := strings.TrimPrefix(target, benchHost); uri != r.RequestURI { // as a client of a server writes it
				r.RequestURI = uri
				_, r.URL.RawQuery, _ = strings.Cut(uri, "?")
			}
			h.ServeHTTP(w, r)
			return w.n
		}
	}, func(l net.Listener) { _ = (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(l) }}
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

// FirstByte measures how long the first byte of a body of 4 MiB takes that the handler
// makes over two seconds, in pieces of several sizes, without a cache and with one. It
// takes its time: run it with -benchtime 1x. With -short the handler hurries, which shows
// that the benchmark runs and no more.
func FirstByte(b *testing.B, fw Framework) {
	beClients()
	const size = 4 << 20
	over := 2 * time.Second
	if testing.Short() {
		over = 100 * time.Millisecond
	}
	whole := filler(size)
	c := &run{TB: b, fw: &fw, Clock: newClock(), namespace: "t-" + randomName()}
	for _, piece := range []int{4 << 10, 32 << 10, 128 << 10, 250 << 10, 1 << 20} {
		for _, cached := range []bool{false, true} {
			name := "uncached"
			app := App{Routes: []Route{{Path: "/x", Handler: func(x Ctx) error {
				return c.pieces(x, func(w io.Writer) error {
					began := time.Now()
					for n := 0; n < size; n += piece {
						time.Sleep(time.Until(began.Add(over * time.Duration(n) / size)))
						if _, err := w.Write(whole[n:min(n+piece, size)]); err != nil {
							return err
						}
					}
					return nil
				})
			}}}}
			if cached {
				name, app.Global = "miss", c.Cache(func(p *cacheaside.Config) { p.Policy.TTL = time.Millisecond })
			}
			s := c.Site(app)
			b.Run(name+"/"+strconv.Itoa(piece), func(b *testing.B) {
				var first time.Duration
				for b.Loop() {
					c.Clock.Advance(time.Second)
					began := time.Now()
					r := s.Begin(c.context(), 1, "/x")
					first += time.Since(began)
					r.End().Is(200, string(whole))
				}
				b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms-to-first-byte")
			})
		}
	}
}
