package dragonfly_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// site is a cache on a store, in front of a handler that counts. The path of a
// request is the tag of its response, too.
type site struct {
	*cacheaside.Cache
	handler http.Handler
	calls   atomic.Int64
	row     atomic.Int64 // what the handler answers
	answer  func(path string) string
}

func newSite(t *testing.T, s *dragonfly.Store, change ...func(*cacheaside.Config)) *site {
	t.Helper()
	cfg := cacheaside.Config{Store: s, Logger: slog.New(slog.DiscardHandler), Breaker: cacheaside.Breaker{Pause: 50 * time.Millisecond}, Policy: cacheaside.Policy{TTL: time.Hour}}
	for _, c := range change {
		c(&cfg)
	}
	w := &site{Cache: cacheaside.Must(cacheaside.New(cfg))}
	w.answer = func(string) string { return fmt.Sprint(w.row.Load()) }
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	w.handler = nethttp.New(w.Cache)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		rw.Header().Set("Cache-Tag", r.URL.Path)
		fmt.Fprint(rw, w.answer(r.URL.Path))
	}))
	return w
}

// unhurried is for a test that asks once: a busy machine may take long to answer.
func unhurried(c *cacheaside.Config) {
	c.Timeouts.Lookup, c.Timeouts.Write, c.Timeouts.Purge = 10*time.Second, 10*time.Second, 10*time.Second
}

// get requires an answer that is one of the handler's.
func (w *site) get(t *testing.T, path string) (body string, hit bool) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://example.com"+path, nil))
	b, _ := io.ReadAll(rec.Body)
	if rec.Code != http.StatusOK || len(b) == 0 {
		t.Errorf("%s: %d %q; %s", path, rec.Code, b, rec.Header().Get("Cache-Status"))
	}
	return string(b), strings.Contains(rec.Header().Get("Cache-Status"), "; hit")
}

// hits requires that path becomes a hit in the end.
func (w *site) hits(t *testing.T, path string) {
	t.Helper()
	until(t, "a hit on "+path, func() bool {
		_, hit := w.get(t, path)
		if !hit {
			time.Sleep(time.Millisecond)
		}
		return hit
	})
}

// logBuffer takes what several goroutines log.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
