// Package memory keeps cache entries in this process, bounded in bytes. It is
// the store of a cache that is given none.
package memory

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cacheaside/cacheaside/core/store"
)

// entryOverhead is what an entry costs beyond its key and value, in bytes: the
// node, its place in the hash table, in the expiry wheel and in the eviction
// queue. Measured, see TestOverhead.
const entryOverhead = 176

// ErrTooLarge is what [Store.Set] and [Store.Write] return, wrapped, for an entry that
// is larger than the whole store. It is a [store.ErrRefused].
var ErrTooLarge = fmt.Errorf("larger than the store: %w", store.ErrRefused)

// Store is a bounded map of bytes with expiry. When it is full it evicts what is
// read least, by W-TinyLFU; a new entry may be the one that goes. What has expired
// goes in its order, by a timer wheel, a second or two later. All methods may be
// called concurrently; there is no lock that all of them share.
//
// Values are neither copied nor written to: the slice that [Store.Set] got is
// the one that [Store.Get] returns.
type Store struct {
	cache     *otter.Cache[string, item]
	maxWeight uint64 // of entries
	epoch     uint64 // of its clock
	sets      int    // of a table
	nanos     func() int64
	tick      atomic.Int64 // of the timer wheel, that was maintained last

	_        [64]byte // what follows changes with each purge
	seq      atomic.Uint64
	changes  atomic.Uint64 // changes after a stamp has
	journals journals
	_        [64]byte
	fences   [shards]fence
	shards   [shards]shard
}

type item struct {
	value []byte
	ttl   time.Duration
	tags  *tags // nil: none
}

// Option changes how [New] makes a store.
type Option func(*options)

type options struct {
	now func() time.Time
}

// WithClock sets the clock that expiry is measured by. Nil: the real one, which
// does not jump when the system's time is set.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}

// New returns an empty store of at most maxBytes bytes, counting keys, values, tags
// and an estimate of what an entry costs besides, and nothing else: however many entries
// and tags there are, they fit or not by their bytes. A tag counts for each entry that
// has it. The store may exceed the bound for the moment that an eviction takes, and by
// 64 KiB, which is what an empty one costs. maxBytes must be positive.
func New(maxBytes int64, opts ...Option) (*Store, error) {
	if maxBytes <= 0 {
		return nil, fmt.Errorf("memory: maxBytes is %d: give the size of the store in bytes, such as 64<<20", maxBytes)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	tables := min(uint64(maxBytes)/64, maxSets*setBytes)
	s := &Store{maxWeight: uint64(maxBytes) - tables, epoch: rand.Uint64() | 1, sets: int(max(tables/setBytes, 1))}
	s.seq.Store(first)
	cfg := &otter.Options[string, item]{
		Executor:      s.maintain,
		MaximumWeight: s.maxWeight,
		Weigher:       func(key string, it item) uint32 { return uint32(weight(key, it.value, it.tags)) },
		// Called once for each item that was removed, replaced, evicted or has expired, in
		// the moment before it is gone.
		OnAtomicDeletion: func(e otter.DeletionEvent[string, item]) { s.release(e.Value.tags) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, item]) time.Duration { return e.Value.ttl }),
	}
	start := time.Now()
	s.nanos = func() int64 { return start.UnixNano() + int64(time.Since(start)) }
	if o.now != nil {
		cfg.Clock = clock(o.now)
		s.nanos = clock(o.now).NowNano
	}
	cache, err := otter.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	s.cache = cache
	return s, nil
}

// tickBits are those of the nanoseconds in a tick of the timer wheel, about a second.
const tickBits = 30

// maintain runs a pass of the cache's maintenance, short enough beside every few reads or
// a write that a goroutine for it would cost more. But one in each tick removes all that
// has expired since the last: however much that is, no request waits for it.
func (s *Store) maintain(pass func()) {
	if tick := s.nanos() >> tickBits; s.tick.Load() != tick {
		s.tick.Store(tick)
		go pass()
		return
	}
	pass()
}

// weight counts the capacity, which is what the value keeps alive.
func weight(key string, value []byte, t *tags) uint64 {
	w := allocated(len(key)) + allocated(cap(value)) + entryOverhead
	if t != nil {
		w += uint64(len(t.stamps)) * stampOverhead
	}
	return w
}

// allocated is about what n bytes take in memory, which comes in some sizes only: up to
// an eighth more.
func allocated(n int) uint64 {
	step := 16
	if n > 128 {
		step = min(1<<(bits.Len(uint(n-1))-4), 8192)
	}
	return uint64(n+step-1) &^ uint64(step-1)
}

// Get returns the value under key, and whether there is one that has not
// expired. It allocates nothing. The error is that of a done context.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	value, found := s.GetLocal(key)
	return value, found, nil
}

// GetLocal is [Store.Get] without a context. It does not keep key.
func (s *Store) GetLocal(key string) (value []byte, found bool) {
	it, found := s.cache.GetIfPresent(key)
	return it.value, found
}

// GetJudged is [Store.GetLocal] for what was stored by [Store.Write]: it looks at the
// stamps that the value was stored with, which takes no lock and none of their keys. One
// that is not older than a purge of any of its tags is not found; soft is when the first
// soft one was. What was not stored with stamps is not judged.
func (s *Store) GetJudged(key string) (value []byte, judged bool, soft uint64, found bool) {
	it, found := s.cache.GetIfPresent(key)
	if it.tags == nil {
		return it.value, false, 0, found
	}
	if soft, found = it.tags.judge(); !found {
		return nil, true, 0, false
	}
	return it.value, true, soft, true
}

// Set keeps value under key for ttl, which must be positive. An entry larger
// than the store is refused with [ErrTooLarge], and what was under the key is
// gone.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("memory: ttl is %v: it must be positive", ttl)
	}
	return s.set(key, value, ttl, nil)
}

func (s *Store) set(key string, value []byte, ttl time.Duration, t *tags) error {
	if w := weight(key, value, t); w > s.maxWeight || w > math.MaxUint32 {
		// The old value must not outlive the write that was to replace it.
		s.cache.Invalidate(key)
		s.release(t)
		return fmt.Errorf("memory: an entry of %d bytes in one of %d: %w", w, min(s.maxWeight, math.MaxUint32), ErrTooLarge)
	}
	s.cache.Set(key, item{value: value, ttl: ttl, tags: t})
	return nil
}

// Close stops the store's goroutine and drops its entries. It may be called
// more than once.
func (s *Store) Close() error {
	s.cache.StopAllGoroutines()
	s.cache.InvalidateAll()
	return nil
}

// clock adapts a function to the two methods otter asks for. The ticks only
// start the removal of what has expired, so the real time does for them.
type clock func() time.Time

func (c clock) NowNano() int64                        { return c().UnixNano() }
func (c clock) Tick(d time.Duration) <-chan time.Time { return time.Tick(d) }

// InProcess implements [store.InProcess].
func (*Store) InProcess() {}

// Describe implements [store.Describer].
func (s *Store) Describe(context.Context) (store.Description, error) {
	return store.Description{Name: "memory", Used: int64(s.cache.WeightedSize()), Max: int64(s.maxWeight)}, nil
}
