package cacheaside

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/cacheaside/cacheaside/core/store"
)

// errBreakerOpen is what a call fails with while the circuit breaker is open.
var errBreakerOpen = errors.New("the store is left alone for a while: it has failed too often in a row")

// breaker stands between the engine and a store that may fail. After a number of
// failures in a row it is open, and calls fail at once instead of waiting for
// their deadline each. It asks the store by itself whether it is back, so that no
// request has to.
//
// The engine's way through it while all is well is one atomic load per call.
type breaker struct {
	inner  wholeStore
	open   atomic.Bool
	failed atomic.Bool  // since the last success
	since  atomic.Int64 // when the first of these failures was, Unix nanoseconds
	last   atomic.Pointer[error]
	states *gobreaker.TwoStepCircuitBreaker[struct{}]
	pause  time.Duration
	probe  func(context.Context) error
	limit  time.Duration // of a probe
	closed atomic.Bool
	timer  atomic.Pointer[time.Timer]
	spared atomic.Uint64
	opened atomic.Uint64
}

// wholeStore is a store and what else it can do; nil is what it cannot.
type wholeStore struct {
	store.Store
	coordinator store.Coordinator
	tiered      store.Tiered
}

func newBreaker(inner wholeStore, cfg *Config, probeKey string) *breaker {
	b := &breaker{inner: inner, pause: cfg.Breaker.Pause, limit: cfg.Timeouts.Lookup}
	b.probe = func(ctx context.Context) error {
		_, _, err := inner.Get(ctx, probeKey)
		return err
	}
	log := cfg.Logger
	b.states = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout: cfg.Breaker.Pause,
		// A connection that is lost fails all calls under way at once, and the next
		// one has a new connection: so failures must go on for a while.
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int64(n.ConsecutiveFailures) >= int64(cfg.Breaker.Failures) &&
				time.Now().UnixNano()-b.since.Load() >= int64(cfg.Timeouts.Lookup)
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, store.ErrSlow) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.open.Store(to != gobreaker.StateClosed)
			switch {
			case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
				b.opened.Add(1)
				log.Warn("cacheaside: the store has failed too often in a row; it is left alone until it answers again", "error", *b.last.Load(), "asked_every", b.pause)
			case to == gobreaker.StateClosed:
				log.Info("cacheaside: the store answers again")
			}
			if to == gobreaker.StateOpen {
				b.askLater()
			}
		},
	})
	return b
}

// BreakerOpen reports whether the circuit breaker is open: requests are answered
// as if nothing were stored, since the store has failed too often in a row. See
// [Config].BreakerFailures.
func (c *Cache) BreakerOpen() bool { return c.breaker != nil && c.breaker.open.Load() }

// askLater has the store asked when the pause is over. The breaker wants more
// time than that to have passed.
func (b *breaker) askLater() {
	b.timer.Store(time.AfterFunc(b.pause+time.Millisecond, func() {
		if b.closed.Load() {
			return
		}
		if done, err := b.states.Allow(); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), b.limit)
			defer cancel()
			done(b.probe(ctx))
		}
		// A probe that was cancelled, as with somebody else who was connecting, says
		// nothing. Where it has failed, OnStateChange has the store asked again.
		if b.states.State() == gobreaker.StateHalfOpen {
			b.askLater()
		}
	}))
}

// stop ends the asking. The breaker stays as it is.
func (b *breaker) stop() {
	b.closed.Store(true)
	if t := b.timer.Load(); t != nil {
		t.Stop()
	}
}

// allow fails while the breaker is open, except for who insists.
func (b *breaker) allow(ctx context.Context) error {
	if !b.open.Load() || ctx.Value(insistKey{}) != nil {
		return nil
	}
	b.spared.Add(1)
	return errBreakerOpen
}

// ended is a context that lets nothing but copies be read.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

type insistKey struct{}

// insisting returns a context whose calls are tried even while the breaker is
// open: for what is rare, and asked for by somebody who wants to know.
func insisting(ctx context.Context) context.Context {
	return context.WithValue(ctx, insistKey{}, true)
}

// note takes account of how a call has ended, and returns err. A success is of
// interest only after a failure.
func (b *breaker) note(err error) error {
	switch {
	case err != nil && errors.Is(err, store.ErrSlow): // says nothing of the server
		return err
	case err != nil && errors.Is(err, store.ErrRefused): // it answers
		_ = b.note(nil)
		return err
	case err != nil:
		if !b.failed.Load() && b.failed.CompareAndSwap(false, true) {
			b.since.Store(time.Now().UnixNano())
		}
		last := err // so that err itself stays off the heap
		b.last.Store(&last)
	case !b.failed.Load() || !b.failed.CompareAndSwap(true, false):
		return nil
	}
	if done, closed := b.states.Allow(); closed == nil {
		done(err)
	}
	return err
}

func (b *breaker) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	if err = b.allow(ctx); err == nil {
		value, found, err = b.inner.Get(ctx, key)
		_ = b.note(err)
	}
	return value, found, err
}

func (b *breaker) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := b.allow(ctx); err != nil {
		return err
	}
	return b.note(b.inner.Set(ctx, key, value, ttl))
}

func (b *breaker) Delete(ctx context.Context, keys ...string) error {
	if err := b.allow(ctx); err != nil {
		return err
	}
	return b.note(b.inner.Delete(ctx, keys...))
}

func (b *breaker) Close() error {
	b.stop()
	return b.inner.Close()
}

func (b *breaker) Begin(ctx context.Context, f store.Fill) (begun store.Begun, err error) {
	if err = b.allow(ctx); err == nil {
		begun, err = b.inner.coordinator.Begin(ctx, f)
		_ = b.note(err)
	}
	return begun, err
}

func (b *breaker) Extend(ctx context.Context, lock, token string, ttl time.Duration) (held bool, err error) {
	if err = b.allow(ctx); err == nil {
		held, err = b.inner.coordinator.Extend(ctx, lock, token, ttl)
		_ = b.note(err)
	}
	return held, err
}

func (b *breaker) Swap(ctx context.Context, lock, token, next string, ttl time.Duration) (held bool, err error) {
	if err = b.allow(ctx); err == nil {
		held, err = b.inner.coordinator.Swap(ctx, lock, token, next, ttl)
		_ = b.note(err)
	}
	return held, err
}

func (b *breaker) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
	if err = b.allow(ctx); err == nil {
		written, err = b.inner.coordinator.Write(ctx, w)
		_ = b.note(err)
	}
	return written, err
}

func (b *breaker) Raise(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (mark store.Mark, err error) {
	if err = b.allow(ctx); err == nil {
		mark, err = b.inner.coordinator.Raise(ctx, clock, keys, soft, at, ttl)
		_ = b.note(err)
	}
	return mark, err
}

func (b *breaker) ReadJournal(ctx context.Context, clock string) (j store.Journal, err error) {
	if err = b.allow(ctx); err == nil {
		j, err = b.inner.coordinator.ReadJournal(ctx, clock)
		_ = b.note(err)
	}
	return j, err
}

func (b *breaker) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (j store.Journal, written bool, err error) {
	if err = b.allow(ctx); err == nil {
		j, written, err = b.inner.coordinator.WriteJournal(ctx, clock, old, text)
		_ = b.note(err)
	}
	return j, written, err
}

func (b *breaker) Stamps(ctx context.Context, dst []store.Stamp, keys []string) (stamps []store.Stamp, err error) {
	if err = b.allow(ctx); err != nil {
		if b.inner.tiered != nil {
			if stamps, near := b.inner.coordinator.Stamps(ended, dst, keys); near == nil {
				return stamps, nil
			}
		}
		return dst, err
	}
	stamps, err = b.inner.coordinator.Stamps(ctx, dst, keys)
	return stamps, b.note(err)
}

func (b *breaker) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) (value []byte, found bool, stamps []store.Stamp, err error) {
	if err = b.allow(ctx); err != nil {
		if b.inner.tiered != nil {
			if value, found, stamps, near := b.inner.coordinator.GetStamped(ended, key, dst, keys); near == nil && found {
				return value, found, stamps, nil
			}
		}
		return nil, false, dst, err
	}
	value, found, stamps, err = b.inner.coordinator.GetStamped(ctx, key, dst, keys)
	return value, found, stamps, b.note(err)
}

func (b *breaker) Near() bool { return b.inner.tiered.Near() }

func (b *breaker) GetTier(ctx context.Context, key string) (value []byte, found, near bool, err error) {
	if err = b.allow(ctx); err != nil { // copies need no server
		if value, found, near, _ = b.inner.tiered.GetTier(ended, key); near {
			return value, found, near, nil
		}
		return nil, false, false, err
	}
	if value, found, near, err = b.inner.tiered.GetTier(ctx, key); !near {
		_ = b.note(err)
	}
	return value, found, near, err
}
