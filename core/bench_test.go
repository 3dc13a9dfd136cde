package cacheaside_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/coretest/bodies"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// forgetful is a store, of another process, in which nothing is ever found.
type forgetful struct{ store.Coordinator }

func (forgetful) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }

func benchmarked(tb testing.TB, miss bool, change func(*cacheaside.Config), tags ...string) (serve func()) {
	return benchmarkedWith(tb, miss, change, func(h http.Header) {
		if len(tags) > 0 {
			h.Set("Cache-Tag", strings.Join(tags, ","))
		}
	})
}

func benchmarkedWith(tb testing.TB, miss bool, change func(*cacheaside.Config), set func(http.Header)) (serve func()) {
	m := cacheaside.Must(memory.New(16 << 20))
	tb.Cleanup(func() { _ = m.Close() })
	cfg := cacheaside.Config{Store: m, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour}}
	if miss {
		cfg.Store = forgetful{m}
	}
	change(&cfg)
	cache := cacheaside.Must(cacheaside.New(cfg))
	tb.Cleanup(func() { _ = cache.Close(context.Background()) })
	serve = coretest.BenchHTTP(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		set(w.Header())
		_, _ = w.Write(coretest.BenchBody)
	})))()
	serve()
	return serve
}

// BenchmarkFill is a miss with all that goes on beside its answer, by the coding in which
// the body is stored. "answered-ns" is when the client has its answer.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{30 << 10, 300 << 10} {
		for _, codings := range [][]string{nil, {"zstd"}, {"br"}, {"gzip"}} {
			b.Run(fmt.Sprintf("json/%dKiB/%s", n>>10, cmp.Or(strings.Join(codings, ""), "off")), func(b *testing.B) {
				m := cacheaside.Must(memory.New(16 << 20))
				b.Cleanup(func() { _ = m.Close() })
				cache := coretest.NewCache(b, func(c *cacheaside.Config) {
					c.Store, c.Logger = forgetful{m}, slog.New(slog.DiscardHandler)
					c.Policy.Coalescing.Scope = cacheaside.CoalesceNone
					c.Policy.Compression.Codings = codings
				})
				body := bodies.JSON(n)
				serve := coretest.BenchTargets(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write(body)
				}))).New("Accept-Encoding: gzip, deflate, br, zstd")
				var answered time.Duration
				for b.Loop() {
					start := time.Now()
					if serve(coretest.BenchTarget) != len(body) {
						b.Fatal("the client of a miss gets another body")
					}
					answered += time.Since(start)
					_ = cache.Flush(b.Context())
				}
				b.ReportMetric(float64(answered)/float64(b.N), "answered-ns")
				if s := cache.Stats(); s.Stores < uint64(b.N) {
					b.Fatalf("%d stored, want %d", s.Stores, b.N)
				}
			})
		}
	}
}

var benchmarks = []struct {
	name   string
	miss   bool
	change func(*cacheaside.Config)
}{
	{"miss/CoalesceNone", true, func(c *cacheaside.Config) { c.Policy.Coalescing.Scope = cacheaside.CoalesceNone }},
	{"miss/CoalesceProcess", true, func(c *cacheaside.Config) { c.Policy.Coalescing.Scope = cacheaside.CoalesceProcess }},
	{"hit", false, func(*cacheaside.Config) {}},
	{"hit/RefreshAhead", false, func(c *cacheaside.Config) { c.Policy.Stale.RefreshAhead = 0.5 }},
	{"hit/Observer", false, func(c *cacheaside.Config) { c.Observer = observe.Func(func(*observe.Event) {}) }},
}

func BenchmarkWaiting(b *testing.B) {
	for _, c := range benchmarks {
		b.Run(c.name, func(b *testing.B) {
			serve := benchmarked(b, c.miss, c.change)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}

// BenchmarkObserver is what an observer that does nothing adds to a hit in memory.
func BenchmarkObserver(b *testing.B) {
	same := func(*cacheaside.Config) {}
	coretest.Compare(b, benchmarked(b, false, same), benchmarked(b, false, func(c *cacheaside.Config) {
		c.Observer = observe.Func(func(*observe.Event) {})
	}))
}

// unused sets all that a plain GET makes no use of.
func unused(c *cacheaside.Config) {
	p := &c.Policy
	p.Requests.Methods = []string{http.MethodGet, http.MethodHead, "QUERY", http.MethodPost}
	p.Requests.Content = cacheaside.ContentPolicy{OfGet: true, Normalize: func(_ *cacheaside.Request, b []byte) ([]byte, bool) { return b, true }}
	p.Key.NoVarySearch = true
	p.Storing.Post = true
	p.Storing.Decide = func(*cacheaside.Request, *cacheaside.Response) cacheaside.Decision { return cacheaside.Decision{} }
}

// BenchmarkUnused is a plain hit in memory where the policy allows requests with content,
// No-Vary-Search and what else it has no use for, beside one where the policy does not.
func BenchmarkUnused(b *testing.B) {
	coretest.Compare(b, benchmarked(b, false, func(*cacheaside.Config) {}), benchmarked(b, false, unused))
}

// TestCostOfUnused: a plain hit allocates nothing for what it makes no use of, and a miss
// only what Decide is given.
func TestCostOfUnused(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, miss := range []bool{false, true} {
		without, with := leastAllocs(benchmarked(t, miss, func(*cacheaside.Config) {})), leastAllocs(benchmarked(t, miss, unused))
		more := 0.0
		if miss {
			more = 1
		}
		if with > without+more {
			t.Errorf("miss %v: %v allocations, and %v without", miss, with, without)
		}
	}
}

// TestCostOfWaiting: a request that nobody waits for pays one allocation for
// that, and a hit pays nothing for being renewed in time.
func TestCostOfWaiting(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	allocs := make(map[string]float64)
	for _, c := range benchmarks {
		allocs[c.name] = leastAllocs(benchmarked(t, c.miss, c.change))
	}
	if a, b := allocs["miss/CoalesceNone"], allocs["miss/CoalesceProcess"]; b > a+1 {
		t.Errorf("a miss takes %v allocations, and %v where others may wait for it", a, b)
	}
	if a, b := allocs["hit"], allocs["hit/RefreshAhead"]; b > a {
		t.Errorf("a hit takes %v allocations, and %v with RefreshAhead", a, b)
	}
}

// leastAllocs is what f allocates by itself: what the collector takes out of pools
// meanwhile, more often on a busy machine, only adds to it.
func leastAllocs(f func()) float64 {
	least := math.Inf(1)
	for range 5 {
		least = min(least, testing.AllocsPerRun(100, f))
	}
	return least
}

var fiveTags = []string{"blog-1000", "user-7", "team-3", "blogs", "all"}

// BenchmarkTags is what tags add to a hit in memory.
func BenchmarkTags(b *testing.B) {
	for _, tags := range [][]string{nil, fiveTags[:1], fiveTags} {
		b.Run(strconv.Itoa(len(tags)), func(b *testing.B) {
			serve := benchmarked(b, false, func(*cacheaside.Config) {}, tags...)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
	b.Run("5-0", func(b *testing.B) {
		same := func(*cacheaside.Config) {}
		coretest.Compare(b, benchmarked(b, false, same), benchmarked(b, false, same, fiveTags...))
	})
}

// TestCostOfTags: a hit on a response with tags allocates no more than one
// without.
func TestCostOfTags(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	none := leastAllocs(benchmarked(t, false, func(*cacheaside.Config) {}))
	five := leastAllocs(benchmarked(t, false, func(*cacheaside.Config) {}, fiveTags...))
	if five > none {
		t.Errorf("a hit takes %v allocations, and %v with five tags", none, five)
	}
}

func twoFields(h http.Header) { h.Set("Vary", "Accept-Encoding, Accept-Language") }

// BenchmarkVary is a hit in memory on a response that has variants.
func BenchmarkVary(b *testing.B) {
	serve := benchmarkedWith(b, false, func(*cacheaside.Config) {}, twoFields)
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}

// TestCostOfVary: a hit on a variant allocates no more than one on a response that
// has none.
func TestCostOfVary(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	same := func(*cacheaside.Config) {}
	none := leastAllocs(benchmarked(t, false, same))
	varied := leastAllocs(benchmarkedWith(t, false, same, twoFields))
	if varied > none {
		t.Errorf("a hit takes %v allocations, and %v where there is Vary", none, varied)
	}
}
