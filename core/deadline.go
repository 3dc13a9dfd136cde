package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lookups makes the contexts of reads. A context.WithTimeout for every hit
// would be half of all that a hit allocates.
type lookups struct{ pool sync.Pool }

// lookup is a context with the values of a request and a deadline of its own.
// It does not end when the client leaves: a lookup is short.
type lookup struct {
	context.Context //nolint:containedctx // it is a context
	at              time.Time
	done            chan struct{}
	timer           *time.Timer
	expired         atomic.Bool
}

func (l *lookup) Deadline() (time.Time, bool) { return l.at, true }
func (l *lookup) Done() <-chan struct{}       { return l.done }

func (l *lookup) Err() error {
	if l.expired.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

type lookupKey struct{}

func (l *lookup) Value(key any) any {
	if key == (lookupKey{}) {
		return l
	}
	return l.Context.Value(key)
}

// extend moves the deadline by d, unless it has passed.
func (l *lookup) extend(d time.Duration) {
	if l.timer.Stop() {
		l.at = l.at.Add(d)
		l.timer.Reset(time.Until(l.at))
	}
}

func (p *lookups) begin(ctx context.Context, timeout time.Duration) *lookup {
	l, _ := p.pool.Get().(*lookup)
	if l == nil {
		l = &lookup{done: make(chan struct{})}
		l.timer = time.AfterFunc(timeout, func() {
			l.expired.Store(true)
			close(l.done)
		})
	} else {
		l.timer.Reset(timeout)
	}
	l.Context, l.at = ctx, time.Now().Add(timeout)
	return l
}

// end releases l, which nobody may use any more.
func (p *lookups) end(l *lookup) {
	if l.timer.Stop() { // else its channel is closed, or about to be
		l.Context = nil
		p.pool.Put(l)
	}
}
