package dragonfly_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
)

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
	var caches [2]*core.Cache
	var nodes [2]http.Handler
	for i := range caches {
		store, err := dragonfly.Open(t.Context(), addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		caches[i] = core.Must(core.New(core.Config{Store: store, TTL: time.Hour, Namespace: "near-hits"}))
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
		func() error { return caches[0].PurgeAll(t.Context()) },
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
