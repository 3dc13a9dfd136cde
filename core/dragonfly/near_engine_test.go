package dragonfly_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// nearBench serves hits in the near tier, of a response with tags.
func nearBench(tb testing.TB, tags string) (serve func()) {
	if !storetest.HasServer() {
		tb.Skip("no server that tracks")
	}
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Store: open(tb, storetest.Server(tb), withNear()), Policy: cacheaside.Policy{TTL: time.Hour}}))
	tb.Cleanup(func() { _ = cache.Close(context.Background()) })
	serve = coretest.BenchHTTP(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tags != "" {
			w.Header().Set("Cache-Tag", tags)
		}
		_, _ = w.Write(coretest.BenchBody)
	})))()
	for end := time.Now().Add(20 * time.Second); cache.Stats().Near < 1000; serve() {
		if time.Now().After(end) {
			tb.Fatal("nothing gets near")
		}
	}
	return serve
}

const fiveTags = "blog-1000,user-7,team-3,blogs,all"

// BenchmarkNearTags is what tags add to a hit in the near tier.
func BenchmarkNearTags(b *testing.B) {
	for _, c := range []struct{ name, tags string }{{"0", ""}, {"1", "all"}, {"5", fiveTags}} {
		b.Run(c.name, func(b *testing.B) {
			serve := nearBench(b, c.tags)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
	b.Run("5-0", func(b *testing.B) { coretest.Compare(b, nearBench(b, ""), nearBench(b, fiveTags)) })
}

// TestCostOfNearTags: a near hit on a response with tags allocates no more than
// one without.
func TestCostOfNearTags(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	least := func(f func()) float64 { // what the collector takes out of pools only adds to it
		return min(testing.AllocsPerRun(500, f), testing.AllocsPerRun(500, f), testing.AllocsPerRun(500, f))
	}
	none, five := least(nearBench(t, "")), least(nearBench(t, fiveTags))
	if five > none {
		t.Errorf("a near hit takes %v allocations, and %v with five tags", none, five)
	}
}

// TestNearHits: two processes with near tiers answer hot requests by themselves,
// and learn of each other's purges.
func TestNearHits(t *testing.T) {
	if !storetest.HasServer() {
		t.Skip("no server that tracks")
	}
	addr := storetest.Server(t)
	var row atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/plain" {
			w.Header().Set("Cache-Tag", "row,table")
		}
		fmt.Fprint(w, row.Load())
	})
	var caches [2]*cacheaside.Cache
	var nodes [2]http.Handler
	for i := range caches {
		store := open(t, addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20}))
		caches[i] = cacheaside.Must(cacheaside.New(cacheaside.Config{Store: store, Namespace: "near-hits", Policy: cacheaside.Policy{TTL: time.Hour}}))
		t.Cleanup(func() { _ = caches[i].Close(t.Context()) })
		nodes[i] = nethttp.New(caches[i])(h)
	}
	get := func(node int, path string) (body, status string) {
		w := httptest.NewRecorder()
		nodes[node].ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://example.com"+path, nil))
		return w.Body.String(), w.Header().Get("Cache-Status")
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("never: ", what)
			}
		}
	}
	for _, path := range []string{"/plain", "/tagged"} {
		for node := range nodes {
			until("a near hit on "+path, func() bool {
				_, status := get(node, path)
				return strings.Contains(status, "; hit; ") && strings.HasSuffix(status, "detail=near")
			})
		}
	}
	if s := caches[0].Stats(); s.Near < 2 || s.Near > s.Hits {
		t.Errorf("stats %+v", s)
	}
	for i, purge := range []func() error{
		func() error { return caches[0].PurgeTags(t.Context(), "row") },
		func() error { return caches[0].PurgeURL(t.Context(), "http://example.com/tagged") },
		func() error { return caches[0].Purge(t.Context(), cacheaside.Purge{All: true}) },
	} {
		n := fmt.Sprint(row.Add(1))
		if err := purge(); err != nil {
			t.Fatal(err)
		}
		if body, status := get(0, "/tagged"); body != n {
			t.Errorf("%d: who has purged sees %s, %s; want %s", i, body, status, n)
		}
		until("the other one sees it", func() bool { body, _ := get(1, "/tagged"); return body == n })
		until("near hits again", func() bool { _, status := get(1, "/tagged"); return strings.HasSuffix(status, "detail=near") })
	}
}
