package core

import (
	"context"
	"errors"
	"time"
)

// ErrRefused is what a write returns, wrapped, when the store works but does not
// take the write, for lack of memory for instance. Nothing was stored; a later
// write may succeed. What is read of such a store is as good as ever: one that
// has become a copy of another does not belong here.
var ErrRefused = errors.New("the store refused the write")

// ErrSlow is what a call returns, wrapped, when the store works, but a large value
// did not arrive in time, in whichever direction. It is no failure of the store. See
// [ExpectBytes].
var ErrSlow = errors.New("the value did not arrive in time")

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
// that only one of them asks the handler for what all of them miss. Where writes
// may be refused (see [ErrRefused]), Get returns what is under the key of a lock.
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

// Guarder is a [Store] that can make a write depend on nothing having been purged
// since: a guard is a token under a key of its own, made by [Locker].Lock and
// removed by Delete. It shares its hash tag with the keys that it guards.
type Guarder interface {
	Locker
	// SetGuarded is Set, in one step with seeing that guard still holds token;
	// otherwise nothing is written.
	SetGuarded(ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (written bool, err error)
}

// Stamp says when something was purged last, in numbers of the sequence: what was
// made before Hard is gone, what was made before Soft, which is never less, is
// stale. Zero: the stamp was lost. (It is an alias so that the embedded store,
// which this package imports, can have it as well.)
type Stamp = struct{ Hard, Soft uint64 }

// Stamper is a [Store] that can also keep purge stamps. Their numbers come from
// a sequence that all processes share and that only grows. The keys of stamps,
// and that of the clock which counts the sequence, share one hash tag.
//
// Stamps may be lost, by eviction for instance. Nothing relies on their
// presence: a lost one counts as the newest. Where the clock is lost, the
// sequence begins anew with the time.
type Stamper interface {
	// Sequence returns the number given out last.
	Sequence(ctx context.Context, clock string) (uint64, error)
	// Raise takes the next number of the sequence, which also exceeds floor and
	// all stamps under keys, and makes it the Soft of all keys and, unless soft,
	// their Hard, for ttl, at once. A lost stamp becomes a hard one. When it
	// returns without an error every process sees that.
	Raise(ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error)
	// Stamps appends the stamp under each key to dst; a zero one where there is
	// none.
	Stamps(ctx context.Context, dst []Stamp, keys []string) ([]Stamp, error)
	// Settle is Stamps, but a missing stamp is created, for ttl, from the number
	// given out last.
	Settle(ctx context.Context, clock string, dst []Stamp, keys []string, ttl time.Duration) ([]Stamp, error)
	// GetStamped is Get and Stamps in one round trip.
	GetStamped(ctx context.Context, key string, dst []Stamp, keys []string) (value []byte, found bool, stamps []Stamp, err error)
}

// local is what our own stores have for what is in this process: looking there takes
// no context, and no check of what was checked when it came in. GetLocal does not
// keep key. LocalStamps is Stamps, if all of them are here; they stay right while
// StampMark returns mark, and for good at most.
type local interface {
	GetLocal(key string) (value []byte, found bool)
	LocalStamps(dst []Stamp, keys []string) (stamps []Stamp, mark uint64, good time.Duration, found bool)
	StampMark() uint64
}

// Tiered is a [Store] that keeps copies of what is asked for often in this
// process.
// A copy, also one of a stamp, may be older than a write or a purge elsewhere
// which has been acknowledged, by the time that word of it takes.
type Tiered interface {
	// Near reports whether copies are kept.
	Near() bool
	// GetTier is Get, and says whether the value comes from this process. With a
	// context that has ended it looks there, and nowhere else.
	GetTier(ctx context.Context, key string) (value []byte, found, near bool, err error)
}
