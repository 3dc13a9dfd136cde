// Package jobs runs work in the background, in bounded numbers.
package jobs

import (
	"context"
	"sync"
)

// Pool runs jobs on a bounded number of goroutines, which exist only while there is
// something to do. All methods may be called concurrently.
type Pool struct {
	workers, waiting int  // bounds
	drains           bool // Close waits for what is queued as well
	mu               sync.Mutex
	queue            []Job
	running          int // late ones included
	late             int // they have no place among the workers any more
	closed           bool
	settled          []chan struct{} // closed when nothing runs and nothing is queued
	idle             sync.WaitGroup
	ctx              context.Context //nolint:containedctx // of the jobs
	cancel           context.CancelFunc
}

// Job is work for a Pool: either Run or Dropped is called, once.
type Job interface {
	// Run does the work until ctx ends. It may call late when it has had its time and
	// goes on all the same: then another job takes its place.
	Run(ctx context.Context, late func())
	// Dropped is called where the job will not run.
	Dropped()
}

// New returns a pool that runs workers jobs at a time and keeps waiting more. If it
// drains, Close lets those run as well; otherwise it drops them.
func New(workers, waiting int, drains bool) *Pool {
	p := &Pool{workers: workers, waiting: waiting, drains: drains}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Submit reports whether there is room for j.
func (p *Pool) Submit(j Job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || len(p.queue) >= p.waiting && !p.room():
		return false
	case p.room():
		p.start(j)
	default:
		p.queue = append(p.queue, j)
	}
	return true
}

// Queued is how many jobs wait for their turn.
func (p *Pool) Queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// Settle waits until nothing runs and nothing is queued. It returns the error of ctx if
// that ends first.
func (p *Pool) Settle(ctx context.Context) error {
	p.mu.Lock()
	if p.running == 0 { // then nothing is queued
		p.mu.Unlock()
		return nil
	}
	over := make(chan struct{})
	p.settled = append(p.settled, over)
	p.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// room reports whether one more may run. Late ones may be as many as others.
func (p *Pool) room() bool {
	return p.running-p.late < p.workers && p.running < 2*p.workers
}

func (p *Pool) start(j Job) {
	p.running++
	p.idle.Go(func() { p.work(j) })
}

// Aside runs f, which is short, without keeping the caller waiting. After Close it
// does keep it: nobody would wait for f.
func (p *Pool) Aside(f func()) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle.Go(f)
	}
	p.mu.Unlock()
	if closed {
		f()
	}
}

// work runs j, and then what is queued.
func (p *Pool) work(j Job) {
	late := false // guarded by p.mu
	over := false
	defer func() { // also of a job that ends its goroutine
		p.mu.Lock()
		defer p.mu.Unlock()
		over = true
		p.running--
		if late {
			p.late--
		}
		p.next()
		if p.running == 0 {
			for _, ch := range p.settled {
				close(ch)
			}
			p.settled = nil
		}
	}()
	j.Run(p.ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !over && !late {
			late = true
			p.late++
			p.next()
		}
	})
}

// next starts what there is room for.
func (p *Pool) next() {
	for len(p.queue) > 0 && p.room() {
		j := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.start(j)
	}
}

// Close lets what runs come to its end, and what is queued if p drains, else
// that is dropped. When ctx ends, what still runs is cancelled, what is still
// queued dropped, and the error of ctx returned.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if !p.drains {
		p.drop()
	}
	defer p.cancel()
	over := make(chan struct{})
	go func() {
		p.idle.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		go p.drop() // it may have to tell the store
		return ctx.Err()
	}
}

// drop empties the queue.
func (p *Pool) drop() {
	p.mu.Lock()
	queue := p.queue
	p.queue = nil
	p.mu.Unlock()
	for _, j := range queue {
		j.Dropped()
	}
}
