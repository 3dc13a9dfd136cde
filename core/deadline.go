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
//
// Its timer is not stopped when it ends, which would cost more than the rest of it. A
// timer that goes off early is set again, or has nothing to do.
type lookup struct {
	context.Context //nolint:containedctx // it is a context
	done            chan struct{}
	timer           *time.Timer
	expired         atomic.Bool

	mu    sync.Mutex
	at    time.Time // zero: it has ended
	rings time.Time // when the timer goes off; zero: it does not
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.expired.Load() {
		l.at = l.at.Add(d)
	}
}

func (p *lookups) begin(ctx context.Context, timeout time.Duration) *lookup {
	l, _ := p.pool.Get().(*lookup)
	if l == nil {
		l = &lookup{done: make(chan struct{})}
	}
	l.Context = ctx
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Now().Add(timeout)
	if l.rings.IsZero() || l.rings.After(l.at) {
		l.arm(timeout)
	}
	return l
}

// arm needs the mutex.
func (l *lookup) arm(left time.Duration) {
	l.rings = l.at
	if l.timer == nil {
		l.timer = time.AfterFunc(left, l.ring)
	} else {
		l.timer.Reset(left)
	}
}

// ring is called by the timer, perhaps once more where it was set again meanwhile.
func (l *lookup) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch left := time.Until(l.at); {
	case l.at.IsZero() || l.expired.Load():
		l.rings = time.Time{}
	case left > 0:
		l.arm(left)
	default:
		l.expired.Store(true)
		close(l.done)
	}
}

// end releases l, which nobody may use any more.
func (p *lookups) end(l *lookup) {
	l.mu.Lock()
	l.at = time.Time{}
	reuse := !l.expired.Load()
	l.mu.Unlock()
	if reuse { // its channel is open
		l.Context = nil
		p.pool.Put(l)
	}
}
