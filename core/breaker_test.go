package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/store"
)

// ailing is a server that can be made to fail. It is what purging needs as well.
type ailing struct {
	*server
	fail  atomic.Pointer[func(ctx context.Context, write bool) error]
	calls atomic.Int64
	delay atomic.Int64 // of writes that are no locks
}

// ill sets how calls fail; nil: not at all.
func (a *ailing) ill(f func(ctx context.Context, write bool) error) {
	if f == nil {
		a.fail.Store(nil)
		return
	}
	a.fail.Store(&f)
}

func silent(ctx context.Context, _ bool) error { <-ctx.Done(); return ctx.Err() }

func (a *ailing) call(ctx context.Context, write bool) error {
	a.calls.Add(1)
	if f := a.fail.Load(); f != nil {
		return (*f)(ctx, write)
	}
	return nil
}

func (a *ailing) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := a.call(ctx, false); err != nil {
		return nil, false, err
	}
	return a.server.Get(ctx, key)
}

func (a *ailing) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	if err := a.call(ctx, false); err != nil {
		return nil, false, dst, err
	}
	return a.server.GetStamped(ctx, key, dst, keys)
}

func (a *ailing) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if err := a.call(ctx, true); err != nil {
		return store.Journal{}, err
	}
	return a.server.ReadJournal(ctx, clock)
}

func (a *ailing) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if err := a.call(ctx, true); err != nil {
		return store.Journal{}, false, err
	}
	return a.server.WriteJournal(ctx, clock, old, text)
}

func (a *ailing) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	if err := a.call(ctx, true); err != nil {
		return store.Begun{}, err
	}
	return a.server.Begin(ctx, f)
}

func (a *ailing) CompareAndSwap(ctx context.Context, key, token, next string, ttl time.Duration) (bool, error) {
	if err := a.call(ctx, true); err != nil {
		return false, err
	}
	return a.server.CompareAndSwap(ctx, key, token, next, ttl)
}

func (a *ailing) Write(ctx context.Context, w store.Write) (store.Written, error) {
	if err := a.call(ctx, true); err != nil {
		return store.Written{}, err
	}
	select {
	case <-time.After(time.Duration(a.delay.Load())):
	case <-ctx.Done():
		return store.Written{}, ctx.Err()
	}
	return a.server.Write(ctx, w)
}

func (a *ailing) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if err := a.call(ctx, true); err != nil {
		return store.Mark{}, err
	}
	return a.server.Bump(ctx, clock, keys, soft, at, ttl)
}

func newAiling(t testing.TB, change ...func(*cacheaside.Config)) (*ailing, *rows, *instance) {
	a, r := &ailing{server: newServer(t)}, &rows{}
	r.set("/a", 1)
	return a, r, newInstance(t, a, r, append([]func(*cacheaside.Config){quiet}, change...)...)
}

func quiet(c *cacheaside.Config) { c.Logger = slog.New(slog.DiscardHandler) }

// timed is how long a GET took.
func (i *instance) timed(t testing.TB, path string) time.Duration {
	t.Helper()
	began := time.Now()
	w := httptest.NewRecorder()
	i.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://example.com"+path, nil))
	if w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	return time.Since(began)
}

// TestBreaker: a store that stops answering costs a few requests their deadline,
// then none, and is used again when it is back.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t)
		one.want(t, "/a", "1", "miss")
		one.want(t, "/a", "1", "hit")
		if st := one.Stats(); one.BreakerOpen() || st.BreakerOpened != 0 {
			t.Fatalf("open although nothing failed: %+v", st)
		}

		a.ill(silent)
		for n := 0; !one.BreakerOpen(); n++ {
			if d := one.timed(t, "/a"); n == defaultBreakerFailures || d > 4*defaultLookupTimeout {
				t.Fatalf("request %d took %v, and the breaker is closed", n, d)
			}
		}
		must(t, one.Flush(t.Context()))
		errorsBefore, callsBefore := one.Stats().StoreErrors, a.calls.Load()
		began := time.Now()
		for range 1000 {
			rows.set("/a", 2)
			if d := one.timed(t, "/a"); d != 0 {
				t.Fatalf("a request took %v while the breaker was open", d)
			}
			time.Sleep(10 * time.Millisecond)
		}
		asked := a.calls.Load() - callsBefore
		if want := int64(time.Since(began)/defaultBreakerPause) + 1; asked < 5 || asked > want {
			t.Errorf("the store was asked %d times in %v", asked, time.Since(began))
		}
		if st := one.Stats(); st.StoreErrors != errorsBefore || st.BreakerOpened != 1 || st.Skipped == 0 || st.Hits != 1 {
			t.Errorf("stats %+v", st)
		}

		a.ill(nil)
		time.Sleep(2 * defaultBreakerPause)
		if one.BreakerOpen() {
			t.Fatal("still open after the store was back")
		}
		rows.set("/b", 1)
		one.want(t, "/b", "1", "stored")
		one.want(t, "/b", "1", "hit")
	})
}

func TestBreakerCountsFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		var n atomic.Int64
		a.ill(func(context.Context, bool) error {
			if n.Add(1)%defaultBreakerFailures != 0 {
				return errors.New("reset by peer")
			}
			return nil
		})
		for range 50 {
			one.timed(t, "/a")
			must(t, one.Flush(t.Context()))
		}
		if one.Stats().BreakerOpened != 0 {
			t.Error("it has opened although calls succeeded in between")
		}
	})
}

// TestLostConnection: what fails all at once is no reason to leave the store alone.
func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t)
		for i := range 100 {
			rows.set(fmt.Sprint("/", i), i)
		}
		lost := time.Now().Add(20 * time.Millisecond)
		a.ill(func(ctx context.Context, _ bool) error {
			if time.Now().Before(lost) { // under way when the connection ends
				time.Sleep(time.Until(lost))
				return errors.New("reset by peer")
			}
			return nil
		})
		for i := range 100 {
			go one.timed(t, fmt.Sprint("/", i))
		}
		time.Sleep(time.Second)
		if st := one.Stats(); st.BreakerOpened != 0 || st.StoreErrors < 100 {
			t.Errorf("stats %+v", st)
		}
		one.want(t, "/new", "0", "stored")
		one.want(t, "/new", "0", "hit")
	})
}

// TestRefusedWrites: a full or read-only store is still good for reading.
func TestRefusedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t)
		one.want(t, "/a", "1", "miss")
		a.ill(func(_ context.Context, write bool) error {
			if write {
				return fmt.Errorf("OOM: %w", store.ErrRefused)
			}
			return nil
		})
		for i := range 20 {
			path := fmt.Sprint("/", i)
			rows.set(path, i)
			one.want(t, path, fmt.Sprint(i), "store-failed")
			if err := one.PurgeTags(t.Context(), "row"); !errors.Is(err, store.ErrRefused) {
				t.Errorf("PurgeTags: %v", err)
			}
		}
		for range 20 { // nothing but refusals
			_ = one.PurgeTags(t.Context(), "row")
			time.Sleep(10 * time.Millisecond)
		}
		one.want(t, "/a", "1", "hit")
		if st := one.Stats(); st.BreakerOpened != 0 || st.StoreErrors != 0 || st.Refused < 20 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestPurgesWhileTheBreakerIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		a, _, one := newAiling(t)
		one.want(t, "/a", "1", "miss")
		a.ill(silent)
		for !one.BreakerOpen() {
			one.timed(t, "/a")
		}
		// Who purges wants to know, and tries.
		began := time.Now()
		if err := one.PurgeTags(ctx, "row-a"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != defaultPurgeTimeout {
			t.Errorf("PurgeTags: %v after %v", err, time.Since(began))
		}
		// A client that writes has nothing to do with it.
		began = time.Now()
		r := httptest.NewRequest(http.MethodPut, "http://example.com/a", strings.NewReader("x"))
		one.h.ServeHTTP(httptest.NewRecorder(), r)
		if d := time.Since(began); d != 0 {
			t.Errorf("a PUT took %v", d)
		}
		if st := one.Stats(); st.PurgeErrors != 2 {
			t.Errorf("stats %+v", st)
		}
		a.ill(nil)
		must(t, one.PurgeTags(ctx, "row-a"))
	})
}

// TestBreakerAsksAgain: a probe that ends with somebody else's context is not the
// last one.
func TestBreakerAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.ill(silent)
		for !one.BreakerOpen() {
			one.timed(t, "/a")
		}
		a.ill(func(context.Context, bool) error { return fmt.Errorf("connecting: %w", context.Canceled) })
		n := a.calls.Load()
		time.Sleep(5 * defaultBreakerPause)
		if asked := a.calls.Load() - n; !one.BreakerOpen() || asked < 3 || asked > 5 {
			t.Errorf("asked %d times; open: %v", asked, one.BreakerOpen())
		}
		a.ill(nil)
		time.Sleep(2 * defaultBreakerPause)
		if one.BreakerOpen() {
			t.Error("still open after the store was back")
		}
	})
}

func TestBreakerCanBeSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t, func(c *cacheaside.Config) { c.Breaker.Failures = -1 })
		a.ill(silent)
		for range 20 {
			if d := one.timed(t, "/a"); d < defaultLookupTimeout {
				t.Fatalf("a request took %v", d)
			}
		}
	})
}

// TestClosedCacheAsksNothing: also not whether the store is back.
func TestClosedCacheAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.ill(silent)
		for !one.BreakerOpen() {
			one.timed(t, "/a")
		}
		must(t, one.Close(t.Context()))
		n := a.calls.Load()
		time.Sleep(time.Minute)
		if a.calls.Load() != n {
			t.Error("the store was asked after Close")
		}
	})
}
