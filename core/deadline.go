package cacheaside

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// deadlines makes the contexts of reads and writes. A context.WithTimeout for every hit
// would be half of all that a hit allocates.
type deadlines struct{ pool sync.Pool }

// deadline is a context with the values of a request and a deadline of its own.
// It does not end when the client leaves: a call is short.
//
// Its timer is not stopped when it ends, which would cost more than the rest of it,
// unless it would keep the memory for long. One that goes off early is set again, or has
// nothing to do.
type deadline struct {
	done    chan struct{}
	timer   *time.Timer
	expired atomic.Bool

	mu    sync.Mutex
	of    context.Context //nolint:containedctx // whose values it has; nil: it has ended
	at    time.Time       // zero likewise
	rings time.Time       // when the timer goes off; zero: it does not
	long  bool            // until then
}

func (d *deadline) Deadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, true
}

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	if d.expired.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

// outlives is how long a timer may go on after its call.
const outlives = time.Second

// Value is asked once more after d has ended, and perhaps begun anew, where a store has
// derived a context whose own timer goes off just then.
func (d *deadline) Value(key any) any {
	if key == (store.ExtenderKey{}) {
		return d
	}
	d.mu.Lock()
	of := d.of
	d.mu.Unlock()
	if of == nil {
		return nil
	}
	return of.Value(key)
}

// Extend implements [store.Extender].
func (d *deadline) Extend(more time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.expired.Load() {
		d.at = d.at.Add(more)
	}
}

func (p *deadlines) begin(ctx context.Context, timeout time.Duration) *deadline {
	d, _ := p.pool.Get().(*deadline)
	if d == nil {
		d = &deadline{done: make(chan struct{})}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of = ctx
	d.at = time.Now().Add(timeout)
	if d.rings.IsZero() || d.rings.After(d.at) {
		d.arm(timeout)
	}
	return d
}

// arm needs the mutex.
func (d *deadline) arm(left time.Duration) {
	d.rings, d.long = d.at, left > outlives
	if d.timer == nil {
		d.timer = time.AfterFunc(left, d.ring)
	} else {
		d.timer.Reset(left)
	}
}

// ring is called by the timer, perhaps once more where it was set again meanwhile.
func (d *deadline) ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch left := time.Until(d.at); {
	case d.at.IsZero() || d.expired.Load():
		d.rings = time.Time{}
	case left > 0:
		d.arm(left)
	default:
		d.expired.Store(true)
		close(d.done)
	}
}

// end releases d, which nobody may use any more.
func (p *deadlines) end(d *deadline) {
	d.mu.Lock()
	d.of, d.at = nil, time.Time{}
	if d.long {
		d.timer.Stop()
		d.rings, d.long = time.Time{}, false
	}
	reuse := !d.expired.Load()
	d.mu.Unlock()
	if reuse { // its channel is open
		p.pool.Put(d)
	}
}
