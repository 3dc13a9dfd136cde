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

// Locker is a [Store] that can also lock, for all processes that share it, so
// that only one of them asks the handler for what all of them miss.
type Locker interface {
	// Lock takes the lock under key, with token as its content, until ttl has
	// passed. Where somebody else has it, it returns what is under key instead
	// (their token, or a note), otherwise "".
	Lock(ctx context.Context, key, token string, ttl time.Duration) (holder string, err error)
	// Extend lets the lock last for ttl from now on, and reports whether token
	// still holds it.
	Extend(ctx context.Context, key, token string, ttl time.Duration) (held bool, err error)
	// Unlock gives the lock up if token still holds it. Where note is not empty,
	// note stays under key for ttl, and Lock returns it as the holder.
	Unlock(ctx context.Context, key, token, note string, ttl time.Duration) error
}

// Stamper is a [Store] that can also keep purge stamps. A stamp is a number
// from a sequence that all processes share and that only grows.
//
// A sequence has its last number under the key clock. That and the keys of its
// stamps contain the same hash tag, such as {stamps}, so that a cluster has them
// in one place. They are not keys of values or locks.
//
// Stamps may be lost, by eviction for instance. Nothing of what follows relies
// on their presence: a lost one counts as the newest.
type Stamper interface {
	// Sequence returns the number given out last. Where that is lost, or none
	// was, it begins anew with the time.
	Sequence(ctx context.Context, clock string) (uint64, error)
	// Raise takes the next number of the sequence, which also exceeds floor and
	// all stamps under keys, and puts it under all keys for ttl at once. When it
	// returns without an error every process sees that.
	Raise(ctx context.Context, clock string, keys []string, floor uint64, ttl time.Duration) (uint64, error)
	// Stamps appends the stamp under each key to dst; 0 where there is none.
	Stamps(ctx context.Context, dst []uint64, keys []string) ([]uint64, error)
	// Settle is Stamps, but a missing stamp is created, for ttl, as the number
	// given out last.
	Settle(ctx context.Context, clock string, dst []uint64, keys []string, ttl time.Duration) ([]uint64, error)
}
