package cacheaside_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestDecidePanicsAreLogged: once in ten seconds, with the count.
func TestDecidePanicsAreLogged(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Now:    func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Policy: cacheaside.Policy{TTL: time.Minute, Storing: cacheaside.StoringPolicy{
			Decide: func(*cacheaside.Request, *cacheaside.Response) cacheaside.Decision { panic("no idea") },
		}},
	}))
	defer cache.Close(context.Background())
	h := nethttp.New(cache)(saying("x"))
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			mu.Lock()
			now = now.Add(11 * time.Second)
			mu.Unlock()
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Body.String() != "x" {
			t.Errorf("the answer is %q", w.Body)
		}
		if got := strings.Count(log.String(), "no idea"); got != want {
			t.Errorf("%d: %d lines in the log, want %d: %s", i, got, want, log.String())
		}
	}
	if !strings.Contains(log.String(), "panics=3") || !strings.Contains(log.String(), "decision_test.go") {
		t.Errorf("the log tells neither how many nor where: %s", log.String())
	}
}

// TestDecideOnShortenedLifetimes: TTLJitter applies to what Decide and SetTTL say.
func TestDecideOnShortenedLifetimes(t *testing.T) {
	ttls := map[string]bool{}
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTLJitter: 0.5, Storing: cacheaside.StoringPolicy{Decide: func(r *cacheaside.Request, _ *cacheaside.Response) (d cacheaside.Decision) {
			if r.RawQuery != "handler" {
				d.TTL = 100_000 * time.Second
			}
			return d
		}},
	}}))
	defer cache.Close(context.Background())
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cacheaside.SetTTL(r.Context(), 100_000*time.Second)
		_, _ = w.Write([]byte("x"))
	}))
	for _, target := range []string{"/1", "/2", "/3?handler", "/4?handler"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		_, ttl, _ := strings.Cut(w.Header().Get("Cache-Status"), "ttl=")
		ttl, _, _ = strings.Cut(ttl, ";")
		if len(ttl) < 5 || ttl < "50000" || len(ttl) > 5 {
			t.Errorf("%s: ttl=%s", target, ttl)
		}
		ttls[ttl] = true
	}
	if len(ttls) < 3 {
		t.Errorf("all have the lifetimes %v", ttls)
	}
}
