package core

import (
	"context"
	"time"
)

// Store keeps values under keys until they expire. It is shared by all
// goroutines of a process and may be shared by many processes.
// The package core/storetest tests an implementation.
//
// A context is good for the call that it is given to, and not beyond.
//
// Values are immutable on both sides: a store may keep the slice that Set got
// and may return the same slice from several Gets; nobody writes to either.
type Store interface {
	// Get returns the value under key, and whether there is one that has not
	// expired. An absent key is no error.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Set keeps value under key for ttl, which is positive and precise to the
	// millisecond, in place of what was there.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete removes the key. An absent key is no error.
	Delete(ctx context.Context, key string) error
	// Close releases what the store holds. It is called once, after the last
	// other call.
	Close() error
}
