// Package store is what a store of cache entries implements: [Store], and for the
// whole protocol of fills and purges [Coordinator]. It imports nothing of ours.
package store

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
// did not arrive in time, in whichever direction. It is no failure of the store.
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
	// Delete removes the keys. An absent one is no error. Where it fails, some may
	// be gone.
	Delete(ctx context.Context, keys ...string) error
	// Close releases what the store holds. It is called once, after the last
	// other call.
	Close() error
}

// Mark is a moment in the order of purges: the epoch of the clock that counts them,
// which is another one after the clock was lost, and the number of the last purge.
// Marks of two epochs cannot be compared. The zero Mark is none.
type Mark struct{ Epoch, Seq uint64 }

// Stamp says when something was purged last: what was made before Hard is gone, what
// was made before Soft, which is never less, is stale. SoftAt is when that purge was,
// in microseconds since 1970 by the clock of who purged, 0 where that is not known; it
// orders nothing. A zero Stamp is none: it was lost, or never there.
type Stamp struct {
	Epoch, Hard, Soft, SoftAt uint64
}

// Fill is what a fill asks for before its handler runs.
type Fill struct {
	// Lock is the key of the lock of the resource, which shares its hash tag with the
	// keys that are written under it.
	Lock string
	// Token is unique for this call, and not empty.
	Token string
	// TTL is how long the token lives: positive.
	TTL time.Duration
	// Adopt prolongs a token or note of somebody else to TTL, for a fill which takes
	// that for its own.
	Adopt bool
	// Key is looked up after the lock was asked for, together with the Stamps under
	// these keys; empty: nothing is.
	Key    string
	Stamps []string
	Clock  string // its key
}

// Begun is the answer to a Fill.
type Begun struct {
	// Token is what is under the lock: the one of Fill, or that of somebody else, or a
	// note. Empty where the store orders fills without tokens.
	Token string
	// Mark is the moment of the answer: what was purged by then is older than what the
	// handler will give.
	Mark   Mark
	Value  []byte
	Found  bool
	Late   bool // there is a value, but it did not arrive in time: see ErrSlow
	Stamps []Stamp
}

// Write is a response on its way to the store. It is written, in one step, only while
// Token is under Lock, which is removed then.
type Write struct {
	Lock, Token string
	Since       Mark // Mark of Begun
	Clock       string
	// Stamps are the keys of the stamps of all its tags. One that is missing, or of
	// another epoch, is made: from the last purge of its tag, or the oldest one that
	// nobody can tell any more. It lives as long as the value at least.
	Stamps []string
	// Values are one to three: what is written first leads to nothing that is not there.
	Values []Value
}

// Value is what is to be under a key, for a TTL that is positive.
type Value struct {
	Key  string
	Data []byte
	TTL  time.Duration
}

// Written is what became of a Write.
type Written struct {
	// Stored: the values were written.
	Stored bool
	// Purged: one of the tags was, since the Mark of the fill. What was stored all the
	// same is never found valid.
	Purged bool
	// Outdated: one was purged softly since.
	Outdated bool
}

// Coordinator is a [Store] that orders fills and purges for all processes which share
// it, so that nothing is read that was purged, whatever was on its way meanwhile: see
// core's documentation for the protocol. Everything but values may be lost at any
// time, by eviction for instance: that costs misses.
//
// Delete of a lock ends the fill under it. Where it is given what that writes as well, in
// whatever order, this is gone, too, when it returns.
//
// A clock is named by its key. Whatever else belongs to it is under keys that begin
// with that one, and shares one hash tag with it and with the keys of all stamps.
type Coordinator interface {
	Store
	// Begin takes the lock for a fill, or says who has it, looks up what may have been
	// stored meanwhile, and says which purges are older than the fill: in one round
	// trip. A call that fails may have taken the lock, or take it later, and gives no
	// right to write.
	Begin(ctx context.Context, f Fill) (Begun, error)
	// Extend lets the lock last for ttl from now on if token holds it, and reports
	// whether it does.
	Extend(ctx context.Context, lock, token string, ttl time.Duration) (held bool, err error)
	// Swap puts next in the place of token for ttl, if token holds the lock, and
	// reports whether it did. An empty next removes it.
	Swap(ctx context.Context, lock, token, next string, ttl time.Duration) (held bool, err error)
	// Write stores what a fill has got, unless something of it was purged since.
	Write(ctx context.Context, w Write) (Written, error)
	// Raise purges the tags that have their stamps under keys, for all who are told of
	// its end: what was made before is gone, or, if soft, stale. at is the time in
	// microseconds since 1970, which orders nothing. The clock lives for ttl from then
	// on. Where it fails, some may have been purged.
	Raise(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (Mark, error)
	// Stamps appends the stamp under each key to dst; a zero one where there is none.
	Stamps(ctx context.Context, dst []Stamp, keys []string) ([]Stamp, error)
	// GetStamped is Get and Stamps in one round trip.
	GetStamped(ctx context.Context, key string, dst []Stamp, keys []string) (value []byte, found bool, stamps []Stamp, err error)
	// ReadJournal returns the journal, and the clock's Mark at that time. Where there is
	// none, or it is not sound, or of another epoch than the clock, it is made anew.
	ReadJournal(ctx context.Context, clock string) (Journal, error)
	// WriteJournal takes the next number and puts text, with that number in the place of
	// each [Number], into the journal, if it has held old until then. It returns the
	// journal as it is afterwards, and whether that is the new one.
	WriteJournal(ctx context.Context, clock string, old Journal, text string) (journal Journal, written bool, err error)
}

// Journal is what the purges of everything and of prefixes are kept in. Text is empty
// in one that was just made: then all that is older than Began counts as purged.
type Journal struct {
	Mark  Mark // of the clock when it was read
	Began uint64
	Text  string
}

// Number stands for the number of the purge in what [Coordinator].WriteJournal is given.
const Number = "^N"

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

// Local is a [Coordinator] that has values and stamps in this process. Looking there
// takes no context, and no check of what was checked when it came in.
type Local interface {
	// GetLocal does not keep key.
	GetLocal(key string) (value []byte, found bool)
	// LocalStamps is Stamps, if all of them are here; they stay right while StampMark
	// returns mark, and for good at most.
	LocalStamps(dst []Stamp, keys []string) (stamps []Stamp, mark uint64, good time.Duration, found bool)
	// StampMark is another one once a stamp that LocalStamps has given has changed.
	StampMark() uint64
}

// Judge is a [Local] that remembers which stamps a value was written with.
type Judge interface {
	// GetJudged is GetLocal, but does not find a value with a tag that was purged since
	// the Mark that it was written with; soft is when a tag was softly since, the first
	// of them, in microseconds since 1970; 0: none. What was not written with stamps is
	// not judged.
	GetJudged(key string) (value []byte, judged bool, soft uint64, found bool)
}

// InProcess is a [Local] whose calls do not leave this process: they neither wait nor
// fail, so they are given no deadline and no circuit breaker, and are made while a
// client waits. Begin orders fills without tokens, by the moment of its answer.
type InProcess interface {
	Local
	// InProcess does nothing.
	InProcess()
}
