package core

import (
	"context"
	"sync"
)

// background runs jobs on a bounded number of goroutines, which exist only
// while there is something to do.
type background struct {
	workers, waiting int  // bounds
	finish           bool // close waits for what waits, too
	mu               sync.Mutex
	queue            []job
	running          int
	closed           bool
	idle             sync.WaitGroup
	ctx              context.Context //nolint:containedctx // of the jobs
	cancel           context.CancelFunc
}

// job is run, or dropped if that does not come to pass.
type job interface {
	run(ctx context.Context)
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
	case b.closed || len(b.queue) >= b.waiting && b.running >= b.workers:
		return false
	case b.running < b.workers:
		b.running++
		b.idle.Go(func() { b.work(j) })
	default:
		b.queue = append(b.queue, j)
	}
	return true
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

func (b *background) work(j job) {
	for j != nil {
		j.run(b.ctx)
		j = b.next()
	}
}

func (b *background) next() job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.running--
		return nil
	}
	j := b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	return j
}

// close drops what waits, unless that is to be finished, and lets what runs come
// to its end, cancelling it when ctx ends. It returns the error of ctx if a job is
// not over by then.
func (b *background) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	if !b.finish {
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
		b.drop()
		return ctx.Err()
	}
}

// drop drops what waits.
func (b *background) drop() {
	b.mu.Lock()
	queue := b.queue
	b.queue = nil
	b.mu.Unlock()
	for _, j := range queue {
		j.dropped()
	}
}
