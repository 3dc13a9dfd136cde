package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// A purge takes the next number. A tag's stamp has the number of its last purge, and is
// there as long as an entry with that tag: nothing is left of what nobody has stored.
// What was purged lately is also in a table of fixed size, for fills whose stamps are
// not there yet, and for locks: a fill is stored while its lock was not deleted since
// it began, so nothing has to be kept for it meanwhile.
//
// Keys are known by their hashes. Two that have the same one share what is purged of
// either: that costs a miss.
//
// Locks are taken in this order: a fence, the cache's own, a shard. What the cache calls
// while it holds its own, takes a shard's at most.

const (
	shards = 64 // of what is found by the hash of a key
	// maxSets bounds a table. There are two for each shard.
	maxSets  = 32
	setBytes = 2 * shards * 72
	// first is the number that the clock begins with.
	first = 1
	// stampOverhead is what a stamp costs, in bytes: itself, its place in the index and in
	// the entry's list. Measured, see TestOverhead.
	stampOverhead = 96
)

// table remembers the last purges of keys that share it; nil: there was none.
type table []set

// set is the last purges of keys that have a part of their hashes in common. Of those that
// are pushed out of it, it knows a number that they are not newer than: so of the purges
// while a handler runs, only a third one in its set can refuse what it gives.
type set struct {
	purges [2]purge
	base   uint64
}

type purge struct{ hash, hard, soft, softAt uint64 }

func (t table) of(hash uint64) *set { return &t[hash/shards%uint64(len(t))] }

// last is the stamp of a key, as far as it is known: never an older one.
func (t table) last(hash uint64) store.Stamp {
	if t == nil {
		return store.Stamp{Hard: first, Soft: first}
	}
	r := t.of(hash)
	base := max(r.base, first)
	for i := range r.purges {
		if p := &r.purges[i]; p.hash == hash {
			return store.Stamp{Hard: max(base, p.hard), Soft: max(base, p.soft), SoftAt: p.softAt}
		}
	}
	return store.Stamp{Hard: base, Soft: base}
}

// note enters a purge, which is newer than all that were entered.
func (t *table) note(sets int, hash, n uint64, soft bool, at uint64) {
	if *t == nil {
		*t = make(table, sets)
	}
	r := t.of(hash)
	p := &r.purges[0]
	if other := &r.purges[1]; p.hash != hash && (other.hash == hash || other.soft < p.soft) {
		p = other
	}
	if p.hash != hash {
		r.base = max(r.base, p.soft)
		*p = purge{hash: hash}
	}
	p.soft, p.softAt = n, at
	if !soft {
		p.hard = n
	}
}

// fence keeps fills out whose lock was deleted since they began.
type fence struct {
	mu      sync.RWMutex
	deleted table
	_       [80]byte // no line of memory is shared
}

// shard has the stamps of some keys.
type shard struct {
	mu     sync.RWMutex
	stamps index
	purged table
	_      [64]byte
}

// stamp is changed with the mutex of its shard.
type stamp struct {
	next               *stamp // in the index
	hash               uint64
	refs               int // entries that have it
	hard, soft, softAt atomic.Uint64
}

// gone is the number of a stamp that is none any more. A purge does not find it, but for
// a moment an entry may be found that has it.
const gone = math.MaxUint64

// tags are those of an entry.
type tags struct {
	since  uint64 // what was purged by then is older
	stamps []*stamp
}

// judge reports whether none was purged since, and when the first one was softly.
func (t *tags) judge() (soft uint64, ok bool) {
	for _, st := range t.stamps {
		if st.hard.Load() > t.since {
			return 0, false
		}
		if st.soft.Load() > t.since {
			if at := max(st.softAt.Load(), 1); soft == 0 || at < soft {
				soft = at
			}
		}
	}
	return soft, true
}

func (st *stamp) is(epoch uint64) store.Stamp {
	return store.Stamp{Epoch: epoch, Hard: st.hard.Load(), Soft: st.soft.Load(), SoftAt: st.softAt.Load()}
}

// bump enters a purge. The number comes last: who sees it, sees what belongs to it.
func (st *stamp) bump(n uint64, soft bool, at uint64) {
	st.softAt.Store(at)
	st.soft.Store(n)
	if !soft {
		st.hard.Store(n)
	}
}

var seed = maphash.MakeSeed()

func (s *Store) shard(key string) (*shard, uint64) {
	h := maphash.String(seed, key)
	return &s.shards[h%shards], h
}

func (s *Store) fence(key string) (*fence, uint64) {
	h := maphash.String(seed, key)
	return &s.fences[h%shards], h
}

// refer returns the stamp under key, for one entry more.
func (s *Store) refer(key string) (st *stamp, is store.Stamp) {
	sh, hash := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st = sh.stamps.find(hash)
	if st == nil {
		last := sh.purged.last(hash)
		st = &stamp{hash: hash}
		st.softAt.Store(last.SoftAt)
		st.soft.Store(last.Soft)
		st.hard.Store(last.Hard)
		sh.stamps.add(st)
	}
	st.refs++
	return st, st.is(s.epoch)
}

// release is called when an entry is gone, once for each.
func (s *Store) release(t *tags) {
	if t == nil {
		return
	}
	for _, st := range t.stamps {
		sh := &s.shards[st.hash%shards]
		sh.mu.Lock()
		if st.refs--; st.refs == 0 {
			st.hard.Store(gone)
			sh.stamps.remove(st)
		}
		sh.mu.Unlock()
	}
}

// Bump purges the tags that have their stamps under keys, softly if soft. There is one
// clock, whatever its key, and it is never lost.
func (s *Store) Bump(ctx context.Context, _ string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if err := check(ctx, ttl); err != nil {
		return store.Mark{}, err
	}
	if len(keys) == 0 {
		s.seq.Add(1)
	}
	for _, key := range keys {
		sh, hash := s.shard(key)
		sh.mu.Lock()
		n := s.seq.Add(1)
		sh.purged.note(s.sets, hash, n, soft, at)
		if st := sh.stamps.find(hash); st != nil {
			st.bump(n, soft, at)
		}
		sh.mu.Unlock()
	}
	s.changes.Add(1)
	return s.moment(), nil
}

func (s *Store) moment() store.Mark { return store.Mark{Epoch: s.epoch, Seq: s.seq.Load()} }

// Stamps appends the stamp under each key to dst; a zero one where there is none.
func (s *Store) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	for _, key := range keys {
		dst = append(dst, s.stampOf(key))
	}
	return dst, nil
}

func (s *Store) stampOf(key string) (is store.Stamp) {
	sh, hash := s.shard(key)
	sh.mu.RLock()
	if st := sh.stamps.find(hash); st != nil {
		is = st.is(s.epoch)
	}
	sh.mu.RUnlock()
	return is
}

// GetStamped is [Store.Get] and [Store.Stamps]. The stamps are at least as new as the
// value.
func (s *Store) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	value, found, err := s.Get(ctx, key)
	if err == nil {
		dst, err = s.Stamps(ctx, dst, keys)
	}
	return value, found, dst, err
}

// StampMark returns a number that is another one once a stamp was bumped.
func (s *Store) StampMark() uint64 { return s.changes.Load() }

// LocalStamps is [Store.Stamps] without a context; found says that there is one under
// each key. They stay right while [Store.StampMark] returns mark, and for good at most.
func (s *Store) LocalStamps(dst []store.Stamp, keys []string) (stamps []store.Stamp, mark uint64, good time.Duration, found bool) {
	mark, stamps = s.changes.Load(), dst // before they are read
	for _, key := range keys {
		st := s.stampOf(key)
		if st.Hard == 0 {
			return dst, mark, 0, false
		}
		stamps = append(stamps, st)
	}
	return stamps, mark, 1<<63 - 1, true
}

// Begin says what the fill of key is to be compared with. There are no tokens: CompareAndExtend
// and CompareAndSwap have nothing to do.
func (s *Store) Begin(ctx context.Context, f store.Fill) (b store.Begun, err error) {
	if err := check(ctx, f.TTL); err != nil {
		return b, err
	}
	b.Mark = s.moment()
	if f.Key != "" {
		b.Value, b.Found, b.Stamps, err = s.GetStamped(ctx, f.Key, nil, f.Stamps)
	}
	return b, err
}

// CompareAndExtend reports that no token holds the lock.
func (s *Store) CompareAndExtend(ctx context.Context, _, _ string, ttl time.Duration) (bool, error) {
	return false, check(ctx, ttl)
}

// CompareAndSwap reports that no token holds the lock.
func (s *Store) CompareAndSwap(ctx context.Context, _, _, _ string, _ time.Duration) (bool, error) {
	return false, ctx.Err()
}

// Write stores what a fill has got, unless its lock was deleted since, or one of its
// tags was purged.
func (s *Store) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
	if err := ctx.Err(); err != nil {
		return written, err
	}
	for _, v := range w.Values {
		if err := check(ctx, v.TTL); err != nil {
			return written, err
		}
	}
	// Until the values are there, nobody deletes the lock.
	f, hash := s.fence(w.Lock)
	f.mu.RLock()
	defer f.mu.RUnlock()
	if w.Since.Epoch != s.epoch || f.deleted.last(hash).Hard > w.Since.Seq {
		return written, nil
	}
	var t *tags
	if len(w.Stamps) > 0 {
		t = &tags{since: w.Since.Seq, stamps: make([]*stamp, len(w.Stamps))}
		for i, key := range w.Stamps {
			var is store.Stamp
			t.stamps[i], is = s.refer(key)
			written.Purged = written.Purged || is.Hard > w.Since.Seq
			written.Outdated = written.Outdated || is.Soft > w.Since.Seq
		}
	}
	if written.Purged || len(w.Values) == 0 {
		s.release(t)
		return written, nil
	}
	for i, v := range w.Values {
		own := t
		if i > 0 { // the first one leads to nothing, and is what has tags
			own = nil
		}
		if err := s.set(v.Key, v.Data, v.TTL, own); err != nil {
			return written, err
		}
	}
	written.Stored = true
	return written, nil
}

// Delete removes the keys, and ends fills under a lock among them: who writes by
// [Store.Write] has done so when it returns, or will not. An absent key is no error.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// All fills end before the first value goes, whatever the order of the keys: what is
	// under one of them may be written under the lock that is another.
	for _, key := range keys {
		f, hash := s.fence(key)
		f.mu.Lock()
		f.deleted.note(s.sets, hash, s.seq.Add(1), false, 0)
		f.mu.Unlock()
	}
	for _, key := range keys { // also what was written under one of them meanwhile
		s.cache.Invalidate(key)
	}
	return nil
}

func check(ctx context.Context, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("memory: ttl is %v: it must be positive", ttl)
	}
	return nil
}
