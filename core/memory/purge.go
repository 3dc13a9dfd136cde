package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// A purge takes the next number. A tag's stamp has the number of its last purge, and is
// there as long as an entry with that tag: nothing is left of what nobody has stored.
// What was purged lately is also in a table of fixed size, for fills whose stamps are
// not there yet, and for locks: a fill is stored while its lock was not deleted since
// it began, so nothing has to be kept for it meanwhile.

const (
	shards = 64
	slots  = 64 // of a table
	// stampOverhead is what a stamp costs beyond its key, in bytes: itself, its place in
	// the map and in the entry's list. Measured, see TestOverhead.
	stampOverhead = 160
)

// table remembers the last purges of keys that share it. Of those that are pushed out
// of their slot it knows a number that they are not newer than.
type table [slots]purge

type purge struct {
	hash               uint64
	hard, soft, softAt uint64
	base               uint64 // of others in the slot
}

// last is the stamp of a key, as far as it is known.
func (t *table) last(hash uint64) store.Stamp {
	r := &t[hash/shards%slots]
	base := max(r.base, 1)
	st := store.Stamp{Hard: base, Soft: base}
	if r.hash == hash {
		st.Hard, st.Soft, st.SoftAt = max(base, r.hard), max(base, r.soft), r.softAt
	}
	return st
}

// note enters a purge.
func (t *table) note(hash, n uint64, soft bool, at uint64) {
	r := &t[hash/shards%slots]
	if r.hash != hash {
		base := max(r.base, r.soft)
		*r = purge{hash: hash, base: base}
	}
	r.soft, r.softAt = n, at
	if !soft {
		r.hard = n
	}
}

// fence keeps fills out whose lock was deleted since they began.
type fence struct {
	mu      sync.RWMutex
	deleted table
	_       [64]byte
}

// shard has the stamps of some keys.
type shard struct {
	mu     sync.RWMutex
	stamps map[string]*stamp
	purged table
	_      [64]byte
}

// stamp is guarded by the mutex of its shard.
type stamp struct {
	key  string
	refs int // entries that have it
	store.Stamp
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
	st = sh.stamps[key]
	if st == nil {
		st = &stamp{key: strings.Clone(key), Stamp: sh.purged.last(hash)}
		st.Epoch = s.epoch
		if sh.stamps == nil {
			sh.stamps = map[string]*stamp{}
		}
		sh.stamps[st.key] = st
	}
	st.refs++
	return st, st.Stamp
}

// release is called when an entry is gone.
func (s *Store) release(stamps []*stamp) {
	for _, st := range stamps {
		sh, _ := s.shard(st.key)
		sh.mu.Lock()
		if st.refs--; st.refs == 0 {
			delete(sh.stamps, st.key)
		}
		sh.mu.Unlock()
	}
}

// Raise purges the tags that have their stamps under keys, softly if soft. There is one
// clock, whatever its key, and it is never lost.
func (s *Store) Raise(ctx context.Context, _ string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
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
		sh.purged.note(hash, n, soft, at)
		if st := sh.stamps[key]; st != nil {
			st.Soft, st.SoftAt = n, at
			if !soft {
				st.Hard = n
			}
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

func (s *Store) stampOf(key string) (st store.Stamp) {
	sh, _ := s.shard(key)
	sh.mu.RLock()
	if own := sh.stamps[key]; own != nil {
		st = own.Stamp
	}
	sh.mu.RUnlock()
	return st
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

// StampMark returns a number that is another one once a stamp was raised.
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

// Begin says what the fill of key is to be compared with. There are no tokens: Extend
// and Swap have nothing to do.
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

// Extend reports that no token holds the lock.
func (s *Store) Extend(ctx context.Context, _, _ string, ttl time.Duration) (bool, error) {
	return false, check(ctx, ttl)
}

// Swap reports that no token holds the lock.
func (s *Store) Swap(ctx context.Context, _, _, _ string, _ time.Duration) (bool, error) {
	return false, ctx.Err()
}

// Write stores what a fill has got, unless its lock was deleted since, or one of its
// tags was purged.
func (s *Store) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
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
	var stamps []*stamp
	if len(w.Stamps) > 0 {
		stamps = make([]*stamp, len(w.Stamps))
		for i, key := range w.Stamps {
			var st store.Stamp
			stamps[i], st = s.refer(key)
			written.Purged = written.Purged || st.Hard > w.Since.Seq
			written.Outdated = written.Outdated || st.Soft > w.Since.Seq
		}
	}
	if written.Purged {
		s.release(stamps)
		return written, nil
	}
	for i, v := range w.Values {
		own := stamps
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
	for _, key := range keys {
		f, hash := s.fence(key)
		f.mu.Lock()
		f.deleted.note(hash, s.seq.Add(1), false, 0)
		f.mu.Unlock()
	}
	for _, key := range keys { // also what was written under one of them meanwhile
		s.cache.Invalidate(key)
	}
	return nil
}

// ReadJournal returns the journal, and the moment of the clock.
func (s *Store) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if err := ctx.Err(); err != nil {
		return store.Journal{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal(clock), nil
}

// WriteJournal puts text, with the number of the purge for each [store.Number], in the place of
// old: see [store.Coordinator].
func (s *Store) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if err := ctx.Err(); err != nil {
		return store.Journal{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.journal(clock)
	if now.Mark.Epoch != old.Mark.Epoch || now.Began != old.Began || now.Text != old.Text {
		return now, false, nil
	}
	now.Mark.Seq = s.seq.Add(1)
	now.Text = strings.ReplaceAll(text, store.Number, strconv.FormatUint(now.Mark.Seq, 10))
	s.journals[clock] = now
	return now, true, nil
}

// journal needs s.mu.
func (s *Store) journal(clock string) store.Journal {
	j, ok := s.journals[clock]
	j.Mark = s.moment()
	if !ok {
		j.Began = j.Mark.Seq
		if s.journals == nil {
			s.journals = map[string]store.Journal{}
		}
		s.journals[clock] = j
	}
	return j
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
