// Package timed tells how long the calls of a store take.
package timed

import (
	"context"
	"errors"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// Parts are a store and what else it can do; nil is what it cannot.
type Parts struct {
	store.Store
	Coordinator store.Coordinator
	Tiered      store.Tiered
}

// Report is told of a call that has ended.
type Report func(ctx context.Context, op observe.Op, began time.Time, took time.Duration, outcome observe.Outcome, err error)

// Store reports each call of another one. What a copy in this process has answered is no
// call.
type Store struct {
	inner  Parts
	now    func() time.Time
	report Report
}

// New returns a store that reports the calls of inner.
func New(inner Parts, now func() time.Time, report Report) *Store {
	return &Store{inner, now, report}
}

// call is one under way.
type call struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // for as long as the call takes
	op    observe.Op
	began time.Time // zero: it is none, since its context has ended
}

func (s *Store) begin(ctx context.Context, op observe.Op) call {
	c := call{s: s, ctx: ctx, op: op}
	if ctx.Err() == nil {
		c.began = s.now()
	}
	return c
}

func (c call) end(err error) {
	if !c.began.IsZero() {
		c.s.report(c.ctx, c.op, c.began, c.s.now().Sub(c.began), outcome(err), err)
	}
}

func outcome(err error) observe.Outcome {
	switch {
	case err == nil:
		return observe.OutcomeOK
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrSlow):
		return observe.OutcomeTimeout
	}
	return observe.OutcomeError
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	c := s.begin(ctx, observe.OpGet)
	value, found, err = s.inner.Get(ctx, key)
	c.end(err)
	return value, found, err
}

// Set implements [store.Store].
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c := s.begin(ctx, observe.OpSet)
	err := s.inner.Set(ctx, key, value, ttl)
	c.end(err)
	return err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	c := s.begin(ctx, observe.OpSet)
	err := s.inner.Delete(ctx, keys...)
	c.end(err)
	return err
}

// Close implements [store.Store].
func (s *Store) Close() error { return s.inner.Close() }

// Begin implements [store.Coordinator].
func (s *Store) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	c := s.begin(ctx, observe.OpLock)
	begun, err := s.inner.Coordinator.Begin(ctx, f)
	c.end(err)
	return begun, err
}

// CompareAndExtend implements [store.Coordinator].
func (s *Store) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	c := s.begin(ctx, observe.OpLock)
	held, err := s.inner.Coordinator.CompareAndExtend(ctx, lock, token, ttl)
	c.end(err)
	return held, err
}

// CompareAndSwap implements [store.Coordinator].
func (s *Store) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	c := s.begin(ctx, observe.OpLock)
	held, err := s.inner.Coordinator.CompareAndSwap(ctx, lock, token, next, ttl)
	c.end(err)
	return held, err
}

// Write implements [store.Coordinator].
func (s *Store) Write(ctx context.Context, w store.Write) (store.Written, error) {
	c := s.begin(ctx, observe.OpSet)
	written, err := s.inner.Coordinator.Write(ctx, w)
	c.end(err)
	return written, err
}

// Bump implements [store.Coordinator].
func (s *Store) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	c := s.begin(ctx, observe.OpPurge)
	mark, err := s.inner.Coordinator.Bump(ctx, clock, keys, soft, at, ttl)
	c.end(err)
	return mark, err
}

// ReadJournal implements [store.Coordinator].
func (s *Store) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	c := s.begin(ctx, observe.OpStamp)
	j, err := s.inner.Coordinator.ReadJournal(ctx, clock)
	c.end(err)
	return j, err
}

// WriteJournal implements [store.Coordinator].
func (s *Store) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	c := s.begin(ctx, observe.OpPurge)
	j, written, err := s.inner.Coordinator.WriteJournal(ctx, clock, old, text)
	c.end(err)
	return j, written, err
}

// Stamps implements [store.Coordinator].
func (s *Store) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	c := s.begin(ctx, observe.OpStamp)
	stamps, err := s.inner.Coordinator.Stamps(ctx, dst, keys)
	c.end(err)
	return stamps, err
}

// GetStamped implements [store.Coordinator].
func (s *Store) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) (value []byte, found bool, stamps []store.Stamp, err error) {
	c := s.begin(ctx, observe.OpGet)
	value, found, stamps, err = s.inner.Coordinator.GetStamped(ctx, key, dst, keys)
	c.end(err)
	return value, found, stamps, err
}

// Near implements [store.Tiered].
func (s *Store) Near() bool { return s.inner.Tiered.Near() }

// GetTier implements [store.Tiered].
func (s *Store) GetTier(ctx context.Context, key string) (value []byte, found, near bool, err error) {
	c := s.begin(ctx, observe.OpGet)
	if value, found, near, err = s.inner.Tiered.GetTier(ctx, key); !near {
		c.end(err)
	}
	return value, found, near, err
}
