package cacheaside

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/jobs"
)

// maxWriters bounds the writes that are in the hands of the store at a time.
const maxWriters = 64

// writes are those under way: a bounded number of bytes.
type writes struct {
	jobs    *jobs.Pool
	limit   int64 // of bytes
	mu      sync.Mutex
	pending map[string]*write // by the primary key, the latest one
	all     map[*write]struct{}
	bytes   int64
	ended   atomic.Uint64
	last    [writeSlots]atomic.Uint64 // by key: ended, as the last write left it
}

// writeSlots is how many keys apart wait can tell writes that have just ended.
const writeSlots = 1024

var writeSeed = maphash.MakeSeed()

func newWrites(limit int64) *writes {
	return &writes{
		jobs: jobs.New(maxWriters, math.MaxInt, true), limit: limit,
		pending: map[string]*write{}, all: map[*write]struct{}{},
	}
}

// reserve reports whether there is room for w, which Flush then waits for. One that is
// larger than the limit gets room when there is nothing else. A store in this process
// has the room already.
func (q *writes) reserve(w *write) bool {
	w.size = int64(len(w.value) + len(w.record))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > 0 && q.bytes+w.size > q.limit && !w.c.inProcess {
		return false
	}
	q.bytes += w.size
	q.pending[w.wire] = w
	q.all[w] = struct{}{}
	return true
}

// reserved is how many bytes are under way.
func (q *writes) reserved() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// submit has a write done that has room reserved.
func (q *writes) submit(w *write) {
	if !q.jobs.Submit(w) { // closed: nobody would wait for it
		w.Run(context.Background(), nil)
	}
}

func (q *writes) over(w *write) {
	q.last[q.slot(w.wire)].Store(q.ended.Add(1))
	q.mu.Lock()
	q.bytes -= w.size
	if q.pending[w.wire] == w {
		delete(q.pending, w.wire)
	}
	delete(q.all, w)
	if w.done != nil {
		close(w.done)
	}
	q.mu.Unlock()
}

// ends is closed when w is over. It needs the mutex, and w among all.
func (w *write) ends() <-chan struct{} {
	if w.done == nil {
		w.done = make(chan struct{})
	}
	return w.done
}

func (q *writes) slot(wire string) uint64 { return maphash.String(writeSeed, wire) % writeSlots }

// wait waits for the write under way for a primary key, and reports whether it is worth
// looking again: there was one, which has ended in time, or one has probably ended
// since mark was read.
func (q *writes) wait(ctx context.Context, wire string, mark uint64, timeout time.Duration) bool {
	q.mu.Lock()
	w := q.pending[wire]
	if w == nil {
		q.mu.Unlock()
		return q.last[q.slot(wire)].Load() > mark
	}
	done := w.ends()
	q.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Flush waits until the responses that are on their way to the store when it is
// called have arrived there, or failed to. It returns the error of ctx if that
// ends first. A request never needs it: one for what is on its way waits for that.
func (c *Cache) Flush(ctx context.Context) error {
	c.writes.mu.Lock()
	all := make([]<-chan struct{}, 0, len(c.writes.all))
	for w := range c.writes.all {
		all = append(all, w.ends())
	}
	c.writes.mu.Unlock()
	for _, done := range all {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
