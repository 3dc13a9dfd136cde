// Package breaker is a circuit breaker in front of a store that may fail.
package breaker

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/cacheaside/cacheaside/core/store"
)

// ErrOpen is what a call fails with while the circuit breaker is open.
var ErrOpen = errors.New("the store is left alone for a while: it has failed too often in a row")

// Store stands between the engine and a store that may fail. After a number of
// failures in a row it is open, and calls fail at once instead of waiting for
// their deadline each. It asks the store by itself whether it is back, so that no
// request has to.
//
// The engine's way through it while all is well is one atomic load per call.
type Store struct {
	inner   Parts
	open    atomic.Bool
	failed  atomic.Bool  // since the last success
	since   atomic.Int64 // when the first of these failures was, Unix nanoseconds
	last    atomic.Pointer[error]
	states  *gobreaker.TwoStepCircuitBreaker[struct{}]
	pause   time.Duration
	probe   func(context.Context) error
	limit   time.Duration // of a probe
	closed  atomic.Bool
	timer   atomic.Pointer[time.Timer]
	skipped atomic.Uint64
	opened  atomic.Uint64
}

// Parts are a store and what else it can do; nil is what it cannot.
type Parts struct {
	store.Store
	Coordinator store.Coordinator
	Tiered      store.Tiered
}

// Options say when a breaker opens, and how it learns that the store is back.
type Options struct {
	Failures int           // in a row
	Pause    time.Duration // between two probes
	Timeout  time.Duration // of a probe; failures must go on for as long
	ProbeKey string        // what a probe reads
	Logger   *slog.Logger
	Changed  func(open bool) // is told when the breaker opens and when it closes
}

// New returns a breaker in front of inner.
func New(inner Parts, o Options) *Store {
	b := &Store{inner: inner, pause: o.Pause, limit: o.Timeout}
	b.probe = func(ctx context.Context) error {
		_, _, err := inner.Get(ctx, o.ProbeKey)
		return err
	}
	b.states = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout: o.Pause,
		// A connection that is lost fails all calls under way at once, and the next
		// one has a new connection: so failures must go on for a while.
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int64(n.ConsecutiveFailures) >= int64(o.Failures) &&
				time.Now().UnixNano()-b.since.Load() >= int64(o.Timeout)
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, store.ErrSlow) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.open.Store(to != gobreaker.StateClosed)
			switch {
			case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
				b.opened.Add(1)
				o.Changed(true)
				o.Logger.Warn("cacheaside: the store has failed too often in a row; it is left alone until it answers again", "error", *b.last.Load(), "asked_every", b.pause)
			case to == gobreaker.StateClosed:
				o.Changed(false)
				o.Logger.Info("cacheaside: the store answers again")
			}
			if to == gobreaker.StateOpen {
				b.askLater()
			}
		},
	})
	return b
}

// Open reports whether the breaker is open.
func (b *Store) Open() bool { return b.open.Load() }

// Opened is how often the breaker has opened.
func (b *Store) Opened() uint64 { return b.opened.Load() }

// Skipped is how many calls were not made because the breaker was open.
func (b *Store) Skipped() uint64 { return b.skipped.Load() }

// askLater has the store asked when the pause is over. The breaker wants more
// time than that to have passed.
func (b *Store) askLater() {
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

// Stop ends the asking. The breaker stays as it is.
func (b *Store) Stop() {
	b.closed.Store(true)
	if t := b.timer.Load(); t != nil {
		t.Stop()
	}
}

// allow fails while the breaker is open, except for who insists.
func (b *Store) allow(ctx context.Context) error {
	if !b.open.Load() || ctx.Value(insistKey{}) != nil {
		return nil
	}
	b.skipped.Add(1)
	return ErrOpen
}

// ended is a context that lets nothing but copies be read.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

type insistKey struct{}

// Insist returns a context whose calls are tried even while the breaker is
// open: for what is rare, and asked for by somebody who wants to know.
func Insist(ctx context.Context) context.Context {
	return context.WithValue(ctx, insistKey{}, true)
}

// note takes account of how a call has ended, and returns err. A success is of
// interest only after a failure.
func (b *Store) note(err error) error {
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

// Get implements [store.Store].
func (b *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	if err = b.allow(ctx); err == nil {
		value, found, err = b.inner.Get(ctx, key)
		_ = b.note(err)
	}
	return value, found, err
}

// Set implements [store.Store].
func (b *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := b.allow(ctx); err != nil {
		return err
	}
	return b.note(b.inner.Set(ctx, key, value, ttl))
}

// Delete implements [store.Store].
func (b *Store) Delete(ctx context.Context, keys ...string) error {
	if err := b.allow(ctx); err != nil {
		return err
	}
	return b.note(b.inner.Delete(ctx, keys...))
}

// Close implements [store.Store].
func (b *Store) Close() error {
	b.Stop()
	return b.inner.Close()
}

// Begin implements [store.Coordinator].
func (b *Store) Begin(ctx context.Context, f store.Fill) (begun store.Begun, err error) {
	if err = b.allow(ctx); err == nil {
		begun, err = b.inner.Coordinator.Begin(ctx, f)
		_ = b.note(err)
	}
	return begun, err
}

// CompareAndExtend implements [store.Coordinator].
func (b *Store) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (held bool, err error) {
	if err = b.allow(ctx); err == nil {
		held, err = b.inner.Coordinator.CompareAndExtend(ctx, lock, token, ttl)
		_ = b.note(err)
	}
	return held, err
}

// CompareAndSwap implements [store.Coordinator].
func (b *Store) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (held bool, err error) {
	if err = b.allow(ctx); err == nil {
		held, err = b.inner.Coordinator.CompareAndSwap(ctx, lock, token, next, ttl)
		_ = b.note(err)
	}
	return held, err
}

// Write implements [store.Coordinator].
func (b *Store) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
	if err = b.allow(ctx); err == nil {
		written, err = b.inner.Coordinator.Write(ctx, w)
		_ = b.note(err)
	}
	return written, err
}

// Bump implements [store.Coordinator].
func (b *Store) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (mark store.Mark, err error) {
	if err = b.allow(ctx); err == nil {
		mark, err = b.inner.Coordinator.Bump(ctx, clock, keys, soft, at, ttl)
		_ = b.note(err)
	}
	return mark, err
}

// ReadJournal implements [store.Coordinator].
func (b *Store) ReadJournal(ctx context.Context, clock string) (j store.Journal, err error) {
	if err = b.allow(ctx); err == nil {
		j, err = b.inner.Coordinator.ReadJournal(ctx, clock)
		_ = b.note(err)
	}
	return j, err
}

// WriteJournal implements [store.Coordinator].
func (b *Store) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (j store.Journal, written bool, err error) {
	if err = b.allow(ctx); err == nil {
		j, written, err = b.inner.Coordinator.WriteJournal(ctx, clock, old, text)
		_ = b.note(err)
	}
	return j, written, err
}

// Stamps implements [store.Coordinator].
func (b *Store) Stamps(ctx context.Context, dst []store.Stamp, keys []string) (stamps []store.Stamp, err error) {
	if err = b.allow(ctx); err != nil {
		if b.inner.Tiered != nil {
			if stamps, near := b.inner.Coordinator.Stamps(ended, dst, keys); near == nil {
				return stamps, nil
			}
		}
		return dst, err
	}
	stamps, err = b.inner.Coordinator.Stamps(ctx, dst, keys)
	return stamps, b.note(err)
}

// GetStamped implements [store.Coordinator].
func (b *Store) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) (value []byte, found bool, stamps []store.Stamp, err error) {
	if err = b.allow(ctx); err != nil {
		if b.inner.Tiered != nil {
			if value, found, stamps, near := b.inner.Coordinator.GetStamped(ended, key, dst, keys); near == nil && found {
				return value, found, stamps, nil
			}
		}
		return nil, false, dst, err
	}
	value, found, stamps, err = b.inner.Coordinator.GetStamped(ctx, key, dst, keys)
	return value, found, stamps, b.note(err)
}

// Near implements [store.Tiered].
func (b *Store) Near() bool { return b.inner.Tiered.Near() }

// GetTier implements [store.Tiered].
func (b *Store) GetTier(ctx context.Context, key string) (value []byte, found, near bool, err error) {
	if err = b.allow(ctx); err != nil { // copies need no server
		if value, found, near, _ = b.inner.Tiered.GetTier(ended, key); near {
			return value, found, near, nil
		}
		return nil, false, false, err
	}
	if value, found, near, err = b.inner.Tiered.GetTier(ctx, key); !near {
		_ = b.note(err)
	}
	return value, found, near, err
}
