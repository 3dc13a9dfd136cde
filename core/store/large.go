package store

import (
	"context"
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
// it reads for ctx. If ctx is an [Extender], as that of a request's look-up is, and
// has not ended, its deadline moves by [TransferTime]. Nobody else may use ctx
// meanwhile.
func ExpectBytes(ctx context.Context, size int) {
	if e, ok := ctx.Value(ExtenderKey{}).(Extender); ok {
		e.Extend(TransferTime(size))
	}
}

// Extender is a context whose deadline can be moved. It is found as its own value
// under [ExtenderKey], so that contexts derived from it lead to it.
type Extender interface {
	context.Context
	// Extend moves the deadline by more, unless it has passed.
	Extend(more time.Duration)
}

// ExtenderKey is the key of an [Extender].
type ExtenderKey struct{}
