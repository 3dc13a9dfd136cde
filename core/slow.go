package cacheaside

import (
	"errors"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// slowAge is how long a large response is not stored after one under its key did not
// arrive in time.
const slowAge = time.Minute

// slow reports whether err is [ErrSlow], which is counted, and remembered for the
// primary key wire.
func (c *Cache) slow(wire string, err error) bool {
	if !errors.Is(err, store.ErrSlow) {
		return false
	}
	c.stats.slow.Add(1)
	c.slowMemo.Put(wire, struct{}{}, c.cfg.Now().UnixNano())
	return true
}

// slowLately reports whether a value of size bytes is not worth storing: the last
// one under wire could not be read, or written, in time.
func (c *Cache) slowLately(wire string, size int, now time.Time) bool {
	if size < store.LargeValue {
		return false
	}
	_, slow := c.slowMemo.Get(wire, now.UnixNano(), slowAge)
	return slow
}
