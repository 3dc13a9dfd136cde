// Package memory keeps cache entries in this process, bounded in bytes. It is
// the store of a cache that is given none.
package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cacheaside/cacheaside/core/store"
)

// entryOverhead is what an entry costs beyond its key and value, in bytes: the
// node, its place in the hash table, in the expiry wheel and in the eviction
// queue. Measured, see TestOverhead.
const entryOverhead = 160

// ErrTooLarge is what [Store.Set] returns, wrapped, for an entry that is larger
// than the whole store.
var ErrTooLarge = errors.New("larger than the store")

// Store is a bounded map of bytes with expiry. When it is full it evicts what is
// read least, by W-TinyLFU; a new entry may be the one that goes. All methods
// may be called concurrently.
//
// Values are neither copied nor written to: the slice that [Store.Set] got is
// the one that [Store.Get] returns.
type Store struct {
	cache    *otter.Cache[string, item]
	maxBytes uint64

	epoch   uint64        // of its clock
	seq     atomic.Uint64 // the number of the last purge
	changes atomic.Uint64 // changes after a stamp has
	fences  [shards]fence
	shards  [shards]shard

	mu       sync.Mutex
	journals map[string]store.Journal // by clock
}

type item struct {
	value  []byte
	ttl    time.Duration
	stamps []*stamp
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

// New returns an empty store of at most maxBytes bytes, counting keys, values
// and an estimate of what an entry costs besides. It may exceed the bound for
// the moment that an eviction takes. maxBytes must be positive.
func New(maxBytes int64, opts ...Option) (*Store, error) {
	if maxBytes <= 0 {
		return nil, fmt.Errorf("memory: maxBytes is %d: give the size of the store in bytes, such as 64<<20", maxBytes)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	s := &Store{maxBytes: uint64(maxBytes), epoch: rand.Uint64() | 1}
	s.seq.Store(1)
	cfg := &otter.Options[string, item]{
		// Its short maintenance beside every few reads costs less than a goroutine
		// for it.
		Executor:      func(f func()) { f() },
		MaximumWeight: s.maxBytes,
		Weigher:       func(key string, it item) uint32 { return uint32(weight(key, it.value, it.stamps)) },
		// Expired entries go by a timer wheel, in order, as others come and go.
		OnAtomicDeletion: func(e otter.DeletionEvent[string, item]) { s.release(e.Value.stamps) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, item]) time.Duration { return e.Value.ttl }),
	}
	if o.now != nil {
		cfg.Clock = clock(o.now)
	}
	cache, err := otter.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	s.cache = cache
	return s, nil
}

// weight counts the capacity, which is what the value keeps alive.
// A stamp counts for each entry that has it.
func weight(key string, value []byte, stamps []*stamp) uint64 {
	w := uint64(len(key)) + uint64(cap(value)) + entryOverhead
	for _, st := range stamps {
		w += uint64(len(st.key)) + stampOverhead
	}
	return w
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

func (s *Store) set(key string, value []byte, ttl time.Duration, stamps []*stamp) error {
	if w := weight(key, value, stamps); w > s.maxBytes || w > math.MaxUint32 {
		// The old value must not outlive the write that was to replace it.
		s.cache.Invalidate(key)
		s.release(stamps)
		return fmt.Errorf("memory: an entry of %d bytes is %w of %d bytes", w, ErrTooLarge, min(s.maxBytes, math.MaxUint32))
	}
	s.cache.Set(key, item{value: value, ttl: ttl, stamps: stamps})
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
