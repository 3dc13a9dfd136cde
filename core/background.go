package cacheaside

import (
	"context"
	"sync"
)

// background runs jobs on a bounded number of goroutines, which exist only
// while there is something to do.
type background struct {
	workers, waiting int  // bounds
	drains           bool // close waits for what is queued as well
	mu               sync.Mutex
	queue            []job
	running          int // late ones included
	late             int // they have no place among the workers any more
	closed           bool
	idle             sync.WaitGroup
	ctx              context.Context //nolint:containedctx // of the jobs
	cancel           context.CancelFunc
}

// job is run, or dropped if that does not come to pass. It may call late when it
// has had its time and goes on all the same: then another one takes its place.
type job interface {
	run(ctx context.Context, late func())
	dropped()
}

func newBackground(workers, waiting int) *background {
	b := &background{workers: workers, waiting: waiting}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// submit reports whether there is room for j.
func (b *background) submit(j job) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed || len(b.queue) >= b.waiting && !b.room():
		return false
	case b.room():
		b.start(j)
	default:
		b.queue = append(b.queue, j)
	}
	return true
}

// room reports whether one more may run. Late ones may be as many as others.
func (b *background) room() bool {
	return b.running-b.late < b.workers && b.running < 2*b.workers
}

func (b *background) start(j job) {
	b.running++
	b.idle.Go(func() { b.work(j) })
}

// aside runs f, which is short, without keeping the caller waiting. After close
// it does keep it: nobody would wait for f.
func (b *background) aside(f func()) {
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.idle.Go(f)
	}
	b.mu.Unlock()
	if closed {
		f()
	}
}

// work runs j, and then what is queued.
func (b *background) work(j job) {
	late := false // guarded by b.mu
	over := false
	defer func() { // also of a job that ends its goroutine
		b.mu.Lock()
		defer b.mu.Unlock()
		over = true
		b.running--
		if late {
			b.late--
		}
		b.next()
	}()
	j.run(b.ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !over && !late {
			late = true
			b.late++
			b.next()
		}
	})
}

// next starts what there is room for.
func (b *background) next() {
	for len(b.queue) > 0 && b.room() {
		j := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.start(j)
	}
}

// close lets what runs come to its end, and what is queued if b drains, else
// that is dropped. When ctx ends, what still runs is cancelled, what is still
// queued dropped, and the error of ctx returned.
func (b *background) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	if !b.drains {
		b.drop()
	}
	defer b.cancel()
	over := make(chan struct{})
	go func() {
		b.idle.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		go b.drop() // it may have to tell the store
		return ctx.Err()
	}
}

// drop empties the queue.
func (b *background) drop() {
	b.mu.Lock()
	queue := b.queue
	b.queue = nil
	b.mu.Unlock()
	for _, j := range queue {
		j.dropped()
	}
}
