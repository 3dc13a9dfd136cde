package adapter

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// RunContext is the context of a handler behind a cache. It has all of the
// request's own, and [Forward].Run under [RunKey].
//
// It knows whether the handler may have learned that its client has left. With
// Forward.Linger it does not end when the client leaves, but only after that time,
// when the response has begun to stream, with a deadline of the request's context,
// or by Close.
type RunContext struct {
	context.Context //nolint:containedctx // it is a context
	run             *Run
	asked           atomic.Bool

	// With Linger:
	end    context.Context //nolint:containedctx // that which ends
	cancel context.CancelFunc
	unbind []func() bool // from the request's context
	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

// Context makes the handler's context from that of the request. Its owner calls
// Close when the handler has returned.
func (f *Forward) Context(ctx context.Context) *RunContext {
	if f.Wrap != nil {
		ctx = f.Wrap(ctx)
	}
	r := f.Run.context()
	r.Context, r.run = ctx, f.Run
	if f.Linger <= 0 {
		return r
	}
	if at, ok := ctx.Deadline(); ok {
		r.end, r.cancel = context.WithDeadline(context.Background(), at)
	} else {
		r.end, r.cancel = context.WithCancel(context.Background())
	}
	linger := f.Linger
	r.bind(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed {
			r.timer = time.AfterFunc(linger, r.cancel)
		}
	})
	if note := f.Annotate; note != nil { // it is called when the response is let go
		f.Annotate = func(status int, h Header, reason string) Fields {
			r.bind(r.cancel)
			return note(status, h, reason)
		}
	}
	return r
}

// context returns the run's own, which is used once.
func (r *Run) context() *RunContext {
	if r == nil || r.own.Context != nil {
		return new(RunContext)
	}
	return &r.own
}

// bind has f called when the request's context ends.
func (r *RunContext) bind(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.unbind = append(r.unbind, context.AfterFunc(r.Context, f))
	}
}

// Close ends what the context has of its own.
func (r *RunContext) Close() {
	if r.end == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, unbind := range r.unbind {
		unbind()
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.cancel()
}

// Knows reports whether the context has ended and the handler may have noticed: if
// not, its response is as good as any. It is to be asked before Close.
func (r *RunContext) Knows() bool { return r.asked.Load() && r.Ended() }

// Ended reports whether the context has ended, without the handler noticing.
func (r *RunContext) Ended() bool { return r.ending().Err() != nil }

func (r *RunContext) ending() context.Context {
	if r.end != nil {
		return r.end
	}
	return r.Context
}

// Done is the channel of the request's context, unless it lingers.
func (r *RunContext) Done() <-chan struct{} {
	r.asked.Store(true)
	return r.ending().Done()
}

// Err says whether the context has ended.
func (r *RunContext) Err() error {
	err := r.ending().Err()
	if err != nil {
		r.asked.Store(true)
	}
	return err
}

// Value looks in the request's context.
func (r *RunContext) Value(key any) any {
	switch key.(type) {
	case string:
		if key == RunKey {
			return r.run
		}
	case *int: // by which the package context finds who has cancelled
		if r.ending().Err() != nil {
			r.asked.Store(true)
		}
		if r.end != nil {
			if v := r.end.Value(key); v != nil {
				return v
			}
		}
	}
	return r.Context.Value(key)
}
