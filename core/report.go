package cacheaside

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/store"
)

// reporter counts, and logs the cache's own trouble.
type reporter struct {
	stats       counters
	log         *slog.Logger
	now         func() time.Time
	lastLog     atomic.Int64
	lastPanic   atomic.Int64 // of Decide
	cookiesTold sync.Once
	observerOff sync.Once
}

// storeError is reportError, except for a refusal, which costs one response and is
// counted apart.
func (r *reporter) storeError(what string, err error) {
	if errors.Is(err, store.ErrRefused) {
		r.stats.refused.Add(1)
		return
	}
	r.reportError(what, err)
}

// reportError counts a failure of the store and logs at most one in ten seconds.
func (r *reporter) reportError(what string, err error) {
	if errors.Is(err, breaker.ErrOpen) {
		return // counted and told of already
	}
	n := r.stats.storeErrors.Add(1)
	if !r.due(&r.lastLog) {
		return
	}
	r.log.Warn("cacheaside: the store failed; requests go to the handler", "doing", what, "error", err, "failures", n)
}

// due reports whether ten seconds have passed since it last did, at the time in last.
func (r *reporter) due(last *atomic.Int64) bool {
	now, before := r.now().UnixNano(), last.Load()
	lately := now >= before && now-before < int64(10*time.Second) // unless the clock was set back
	return (before == 0 || !lately) && last.CompareAndSwap(before, now)
}

// decidePanicked counts a panic of Decide and logs at most one in ten seconds.
func (r *reporter) decidePanicked(p any) {
	n := r.stats.decidePanics.Add(1)
	if r.due(&r.lastPanic) {
		r.log.Error("cacheaside: Storing.Decide panicked; the response was not stored", "panic", fmt.Sprint(p), "panics", n, "stack", string(debug.Stack()))
	}
}

// panicked says that a handler's panic went no further.
func (r *reporter) panicked(p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // it is the value that is panicked with
		return
	}
	r.log.Error("cacheaside: the handler panicked; what is stored was kept", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// observerPanicked says so once: it will go on to.
func (r *reporter) observerPanicked(p any) {
	r.observerOff.Do(func() {
		r.log.Error("cacheaside: Config.Observer panicked; events are lost, requests are not", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	})
}

// tellOfCookies says once how to have responses to requests with cookies shared.
func (r *reporter) tellOfCookies() {
	r.cookiesTold.Do(func() {
		r.log.Info("cacheaside: a response was not stored because its request has cookies, which the handler may have read; " +
			"name in Policy.Requests.Cookies those that handlers read, or let such responses say Cache-Control: public or max-age")
	})
}
