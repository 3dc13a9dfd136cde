package cacheaside_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// searched serves targets of a handler whose responses say that a makes no difference to
// them, if it says so, and have been stored.
func searched(tb testing.TB, on, says bool) func(target string) int {
	m := cacheaside.Must(memory.New(16 << 20))
	tb.Cleanup(func() { _ = m.Close() })
	cfg := cacheaside.Config{Store: m, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour}}
	cfg.Policy.Key.NoVarySearch = on
	cache := cacheaside.Must(cacheaside.New(cfg))
	tb.Cleanup(func() { _ = cache.Close(context.Background()) })
	serve := coretest.BenchTargets(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if says {
			w.Header().Set("No-Vary-Search", `params=("a")`)
		}
		if r.URL.Query().Has("private") {
			w.Header().Set("Cache-Control", "no-store")
		}
		_, _ = w.Write(coretest.BenchBody)
	}))).New()
	serve(coretest.BenchTarget + "&first")
	serve(coretest.BenchTarget)
	return serve
}

// BenchmarkNoVarySearch is a hit on a URL itself, with and without it, and on another one.
func BenchmarkNoVarySearch(b *testing.B) {
	for _, c := range []struct {
		name     string
		on, says bool
		query    string
	}{
		{"off", false, false, ""}, {"on", true, false, ""}, {"own", true, true, ""}, {"other", true, true, "&a=1"},
		{"miss/off", false, false, "&private"}, {"miss/on", true, false, "&private"},
	} {
		b.Run(c.name, func(b *testing.B) {
			serve := searched(b, c.on, c.says)
			b.ReportAllocs()
			for b.Loop() {
				serve(coretest.BenchTarget + c.query)
			}
		})
	}
}

// TestCostOfNoVarySearch: where nothing says anything, it costs a hit and a miss nothing.
func TestCostOfNoVarySearch(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	off, on := searched(t, false, false), searched(t, true, false)
	for _, target := range []string{coretest.BenchTarget, coretest.BenchTarget + "&private"} {
		without := leastAllocs(func() { off(target) })
		if with := leastAllocs(func() { on(target) }); with > without {
			t.Errorf("%s: %v allocations, and %v without", target, with, without)
		}
	}
}
