package cacheaside

import (
	"sync"
	"sync/atomic"
)

// captures bounds the memory of all bodies that are captured at a time, over all
// handles of a cache. An eighth of it is for small ones: large ones take their time, if
// their clients do, and shall not be in everybody's way.
type captures struct {
	limit int64
	bytes atomic.Int64 // in use
	peak  atomic.Int64 // the most that was, since the cache was made
}

// share is the largest body that a policy captures: what it says, but never more than
// there is for large ones; a quarter where it says nothing.
func (c *captures) share(maxBytes int64) int64 {
	if maxBytes == 0 {
		return max(c.limit/4, 1)
	}
	return min(maxBytes, c.limit-c.limit/8)
}

// reserve reports whether there is room for n bytes more of a body that has some.
func (c *captures) reserve(has, n int64) bool {
	limit := c.limit
	if has+n > limit/64 {
		limit -= limit / 8
	}
	used := c.bytes.Load()
	for ; ; used = c.bytes.Load() {
		if n > limit-used {
			return false
		}
		if c.bytes.CompareAndSwap(used, used+n) {
			break
		}
	}
	used += n
	for peak := c.peak.Load(); used > peak && !c.peak.CompareAndSwap(peak, used); peak = c.peak.Load() {
	}
	return true
}

// capture is what one response has of them. It is an [adapter.Memory].
type capture struct {
	of    *captures
	mu    sync.Mutex
	bytes int64
	over  bool
}

// Reserve implements [adapter.Memory].
func (c *capture) Reserve(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || !c.of.reserve(c.bytes, n) {
		return false
	}
	c.bytes += n
	return true
}

// Release implements [adapter.Memory].
func (c *capture) Release(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.bytes -= n
		c.of.bytes.Add(-n)
	}
}

// end gives all of it back: what was captured is stored, or of no use. A handler may go
// on all the same, and gets nothing any more.
func (c *capture) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over = true
		c.of.bytes.Add(-c.bytes)
	}
}
