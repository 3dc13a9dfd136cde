package core

import (
	"context"
	"errors"
	"time"
)

// LargeValue is the size in bytes from which on a value is large: a store may then
// take [TransferTime] beyond its deadline, and should see that other calls do not
// wait behind it. Over a link of 1 Gb/s that much takes two milliseconds, which is
// short for those behind it and long compared with one more round trip.
const LargeValue = 256 << 10

const (
	// leastRate is the bytes a second that a link to the store is assumed to have
	// at least: a tenth of a link of 1 Gb/s.
	leastRate = 10 << 20
	// maxTransfer bounds what a size, which may be wrong, adds to a deadline.
	maxTransfer = 10 * time.Second
	// slowAge is how long a large response is not stored after one under its key
	// did not arrive in time.
	slowAge = time.Minute
)

// TransferTime is how long a value of size bytes may be on its way: a second for
// every 10 MiB of a large one, at most 10 s, and nothing for others.
func TransferTime(size int) time.Duration {
	if size < LargeValue {
		return 0
	}
	return time.Duration(min(float64(maxTransfer), float64(size)/leastRate*float64(time.Second)))
}

// ExpectBytes is called by a store that has learned how large the value is which
// it reads for ctx. Where ctx is that of a request's look-up, and has not ended, its
// deadline moves by [TransferTime]. Nobody else may use ctx meanwhile.
func ExpectBytes(ctx context.Context, size int) {
	if l, ok := ctx.Value(deadlineKey{}).(*deadline); ok {
		l.extend(TransferTime(size))
	}
}

// slow reports whether err is [ErrSlow], which is counted, and remembered for the
// primary key wire.
func (c *Cache) slow(wire string, err error) bool {
	if !errors.Is(err, ErrSlow) {
		return false
	}
	c.stats.slow.Add(1)
	c.slowMemo.put(wire, struct{}{}, c.cfg.Now().UnixNano())
	return true
}

// slowLately reports whether a value of size bytes is not worth storing: the last
// one under wire could not be read, or written, in time.
func (c *Cache) slowLately(wire string, size int, now time.Time) bool {
	if size < LargeValue {
		return false
	}
	_, slow := c.slowMemo.get(wire, now.UnixNano(), slowAge)
	return slow
}
