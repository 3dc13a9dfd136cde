package cacheaside_test

import (
	"bytes"
	"context"
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
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestCookiesAreToldOfOnce: the log says how to have such responses shared, and
// nothing of what is in a cookie.
func TestCookiesAreToldOfOnce(t *testing.T) {
	var log bytes.Buffer
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Policy: cacheaside.Policy{TTL: time.Minute}}))
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "user=alice")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Cache-Status"); !strings.Contains(got, "detail=cookie") {
			t.Errorf("Cache-Status %q", got)
		}
	}
	if got := log.String(); strings.Count(got, "Policy.Requests.Cookies") != 1 || strings.Contains(got, "alice") {
		t.Errorf("the log: %s", got)
	}
}

// TestFollowersFromAnotherOrigin are not given what was answered to no origin, or
// to another one, though they wait for it, where the handler forgot to say Vary.
func TestFollowersFromAnotherOrigin(t *testing.T) {
	for _, soft := range []bool{false, true} {
		for _, leader := range []string{"", "http://b.test"} {
			inBubble(t, fmt.Sprintf("soft %t, leader %q", soft, leader), func(t *testing.T) {
				var first atomic.Bool
				first.Store(soft)
				f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					w.Header().Set("Cache-Control", "max-age=10, stale-if-error=600")
					if first.Swap(false) {
						w.Header().Set("Access-Control-Allow-Origin", "*")
					} else if origin := r.Header.Get("Origin"); origin != "" {
						w.Header().Set("Access-Control-Allow-Origin", origin)
					}
					_, _ = io.WriteString(w, "page")
				}, func(c *cacheaside.Config) {
					if soft {
						c.Policy.Stale.SoftTimeout = 5 * time.Second
					}
				})
				if soft { // what was for any origin, and is stale, stands by
					f.get("/")
					time.Sleep(11 * time.Second)
				}
				var fields []string
				if leader != "" {
					fields = append(fields, "Origin", leader)
				}
				var wg sync.WaitGroup
				wg.Go(func() { f.get("/", fields...).is(t, 200, "page", "") })
				time.Sleep(100 * time.Millisecond)
				for range 3 {
					wg.Go(func() {
						a := f.get("/", "Origin", "http://a.test")
						a.is(t, 200, "page", "")
						if got := a.Header().Get("Access-Control-Allow-Origin"); got != "http://a.test" {
							t.Errorf("it is for origin %q: %s", got, a.status())
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
