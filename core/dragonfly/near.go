package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

// What [WithNear] takes where an option is zero.
const (
	nearMaxAge    = 10 * time.Second
	nearHotWithin = time.Second
)

const (
	minNearBytes = 64 << 10
	maxNearBytes = 1 << 40
	maxNearAge   = 24 * time.Hour
	maxHotWithin = time.Hour

	// copyOverhead is what a copy costs beyond its key and value: that of an entry
	// of the memory store, and the message that the value came in.
	copyOverhead = 256
	// maxShare of the tier is what one copy may take.
	maxShare = 8
	// maxFlights bounds the tracked reads at a time.
	maxFlights = 64
	// fetchPause follows a tracked read that found no connection.
	fetchPause = time.Second
)

// NearOptions is what [WithNear] takes.
type NearOptions struct {
	// Bytes bounds the copies: keys, values, and an estimate of what a copy costs
	// besides. At least 64 KiB. A value that would take more than an eighth is not
	// copied.
	Bytes int64
	// MaxAge is how old a copy may become, counted from when it was asked for, even
	// if no word of a change arrives. Zero: 10 s.
	MaxAge time.Duration
	// HotWithin is how soon after one read of a key on the server the next one must
	// come for the key to be copied. Zero: a second.
	HotWithin time.Duration
	// Connect says how to reach the server. [FromClient] needs it, since a client
	// does not tell; otherwise nil means as the store does.
	Connect *rueidis.ClientOption
}

// WithNear keeps copies of values that are read often in this process, where
// [Store.GetTier], [Store.GetStamped] and [Store.Stamps] find them in less than a
// microsecond. [Store.Get] always asks the server.
//
// The copies are read over a connection of their own, and the server tells it of
// every write to what was read there. So a write of another process is seen when
// that word arrives, usually well within a millisecond, not at once; where the
// connection hangs, after about three seconds; and after MaxAge at the latest. When
// the connection is lost all copies are dropped. This store's own writes are seen
// at once.
//
// It needs RESP3 and CLIENT TRACKING: Redis 6, Valkey, or Dragonfly 1.40.1. Where
// the server has or allows neither, a warning in the log says so, once, and the
// store works without copies. Whether the user may do with keys what that takes is
// found out with the first key that is to be copied.
func WithNear(near NearOptions) Option {
	return func(o *options) { o.near = &near }
}

// check fills in what is zero.
func (o *NearOptions) check() error {
	if o.MaxAge == 0 {
		o.MaxAge = nearMaxAge
	}
	if o.HotWithin == 0 {
		o.HotWithin = nearHotWithin
	}
	switch {
	case o.Bytes < minNearBytes || o.Bytes > maxNearBytes:
		return fmt.Errorf("dragonfly: NearOptions.Bytes is %d: give the size of all copies in bytes, from 64 KiB to 1 TiB, such as 64<<20", o.Bytes)
	case o.MaxAge < time.Millisecond || o.MaxAge > maxNearAge:
		return fmt.Errorf("dragonfly: NearOptions.MaxAge is %v: it must be from 1ms to %v, or zero for %v", o.MaxAge, maxNearAge, nearMaxAge)
	case o.HotWithin < time.Millisecond || o.HotWithin > maxHotWithin:
		return fmt.Errorf("dragonfly: NearOptions.HotWithin is %v: it must be from 1ms to %v, or zero for %v", o.HotWithin, maxHotWithin, nearHotWithin)
	case o.Connect != nil && len(o.Connect.InitAddress) == 0:
		return errors.New("dragonfly: NearOptions.Connect.InitAddress is empty: give at least one host:port, or the path of a socket")
	}
	return nil
}

// NearStats returns the counts of the near tier.
func (s *Store) NearStats() store.NearStats {
	n := s.near
	if n == nil {
		return store.NearStats{}
	}
	return store.NearStats{
		On:            !n.off.Load(),
		Hits:          n.hits.sum(),
		Admissions:    n.admissions.Load(),
		Rejections:    n.rejections.Load(),
		Invalidations: n.invalidations.Load(),
		Drops:         n.drops.Load(),
		Entries:       n.copies.EstimatedSize(),
		Bytes:         n.copies.WeightedSize(),
	}
}

// Near reports whether there is a near tier, and the server keeps it true.
func (s *Store) Near() bool { return s.near != nil && !s.near.off.Load() }

// GetTier is [Store.Get], but takes a copy of this process where there is one,
// and says so, even if ctx has ended. See [WithNear].
func (s *Store) GetTier(ctx context.Context, key string) (value []byte, found, near bool, err error) {
	if value, found = s.GetLocal(key); found {
		return value, true, true, nil
	}
	value, found, raw, err := s.get(ctx, key)
	if found {
		s.near.admit(key, value, raw)
	}
	return value, found, false, err
}

// GetLocal returns the copy that this process has of what is under key, if any. An
// entry of a cache in it has been checked. It does not keep key.
func (s *Store) GetLocal(key string) (value []byte, found bool) {
	if s.near == nil {
		return nil, false
	}
	h, found := s.near.get(key)
	return h.value, found
}

// near is the copies and the connection that keeps them true.
//
// A copy enters only by conn.Update, in the order of the wire: behind it on the
// same connection comes the word of whatever changed it. It leaves by that word,
// with the connection, at its expiry on the server, at maxAge, for lack of room,
// or when this process writes the key.
//
// That word may arrive after the writer has its acknowledgement, so a writer here
// keeps copies out by writing and written. The latter also spoils tracked reads
// under way, as what they found may be older than the write. They are known until
// their answer is there or their connection is gone, however long that takes: so
// no answer is taken for that of a later read of the same key.
type near struct {
	client rueidis.Client
	logger *slog.Logger
	max    uint64 // weight of a copy
	maxAge time.Duration
	start  time.Time
	copies *otter.Cache[string, held]
	hot    *hot

	epoch   atomic.Uint64 // copies of an earlier one are gone
	mark    atomic.Uint64 // changes after a copy of a stamp is gone
	off     atomic.Bool
	probed  atomic.Bool  // by probe
	allowed atomic.Bool  // by probeKey
	resume  atomic.Int64 // no tracked reads before, by now()

	mu      sync.Mutex // held by all that changes the copies
	flights map[string]*flight
	holding int // flights with large values
	writers map[string]int
	closed  bool
	fetches sync.WaitGroup
	ending  sync.Once // of the client
	telling sync.Once // why there is no near tier

	hits          spread
	admissions    atomic.Uint64
	rejections    atomic.Uint64
	invalidations atomic.Uint64
	drops         atomic.Uint64
}

// held is a copy.
type held struct {
	value []byte
	stamp store.Stamp // what value says, if that is a stamp
	epoch uint64
	until int64 // by now()
}

// flight is a tracked read under way, one per key.
type flight struct {
	conn    *conn // nil before it is sent
	sent    int64 // by now()
	spoiled bool
	copied  bool
	// Of a large value, both of which are for ever the same:
	raw, value []byte
}

// newNear returns nil, with the reason in the log, where the server cannot track.
func newNear(ctx context.Context, data rueidis.ClientOption, o options) (*near, error) {
	n := &near{
		logger:  o.logger,
		max:     uint64(o.near.Bytes) / maxShare,
		maxAge:  o.near.MaxAge,
		start:   time.Now(),
		hot:     newHot(o.near.HotWithin),
		flights: map[string]*flight{},
		writers: map[string]int{},
	}
	n.epoch.Store(1)
	var err error
	n.copies, err = otter.New(&otter.Options[string, held]{
		Executor:      func(f func()) { f() }, // cheaper than a goroutine
		MaximumWeight: uint64(o.near.Bytes),
		Weigher:       func(key string, h held) uint32 { return uint32(min(copyWeight(key, cap(h.value)), 1<<32-1)) },
		// Otter reads its clock before it asks, so the copy expires no later.
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, held]) time.Duration {
			return max(1, time.Duration(e.Value.until-n.now()))
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("dragonfly: near tier: %w", err)
	}
	if err := n.connect(ctx, data); err != nil {
		n.disable(err)
		n.close()
		return nil, nil //nolint:nilnil // the store works without
	}
	return n, nil
}

func copyWeight(key string, size int) uint64 {
	return uint64(len(key)) + uint64(size) + copyOverhead
}

func (n *near) now() int64 { return int64(time.Since(n.start)) }

// get returns the copy of what is under key.
func (n *near) get(key string) (held, bool) {
	h, ok := n.copies.GetIfPresent(key)
	if !ok || h.epoch != n.epoch.Load() {
		return held{}, false
	}
	n.hits.add()
	return h, true
}

// admit takes note that key was read on the server, and found with value. If it is
// hot a copy is fetched, which the caller does not wait for. Of a large value, whose
// stub is raw, nothing but the stub is fetched: while that is there, so is the value.
func (n *near) admit(key string, value, raw []byte) {
	if n == nil || n.off.Load() || copyWeight(key, cap(value)) > n.max || !n.hot.again(key) || n.now() < n.resume.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.flights) >= maxFlights || n.flights[key] != nil || raw != nil && n.holding >= maxShare {
		return
	}
	if _, ok := n.copies.GetEntryQuietly(key); ok {
		return // made since the caller looked
	}
	f := &flight{}
	if raw != nil {
		f.raw, f.value = raw, value
		n.holding++
	}
	n.flights[key] = f
	n.fetches.Go(func() { n.fetch(key, f) })
}

// writing removes the copies of what this process is about to write. There will
// be none until written is called, so that nobody here reads what was before once
// somebody here has read, or been told, what was written.
func (n *near) writing(keys ...string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		n.writers[key]++
		n.copies.Invalidate(key)
	}
}

// writingStamps is writing, for stamps: what was made of them is gone as well, even
// if the copies were pushed out before.
func (n *near) writingStamps(keys []string) {
	n.writing(keys...)
	if n != nil {
		n.mark.Add(1)
	}
}

// written is called before anybody is told of the write, or that it failed.
func (n *near) written(keys ...string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		if n.writers[key]--; n.writers[key] <= 0 {
			delete(n.writers, key)
		}
		if f := n.flights[key]; f != nil {
			f.spoiled = true
		}
	}
}

// dropAll takes no longer for many copies than for few. What is under way is not
// touched: it belongs to another connection, or is answered later.
func (n *near) dropAll() {
	n.epoch.Add(1)
	n.drops.Add(1)
	n.mark.Add(1)
	n.copies.InvalidateAll() // frees the memory, and a new copy or two with it
}

// disable ends the near tier of a store that works on.
func (n *near) disable(why error) {
	n.off.Store(true)
	n.telling.Do(func() {
		n.logger.Warn("dragonfly: no near tier: all reads go to the server", "error", why)
	})
	n.dropAll()
	n.end()
}

func (n *near) end() {
	n.ending.Do(func() {
		if n.client != nil {
			n.client.Close()
		}
	})
}

func (n *near) close() {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.end()
	n.fetches.Wait()
	n.copies.StopAllGoroutines()
	n.copies.InvalidateAll()
}

// spread counts what all processors count at once.
type spread [16]struct {
	n atomic.Uint64
	_ [56]byte // of a cache line
}

func (s *spread) add() { s[rand.Uint32()%uint32(len(s))].n.Add(1) }

func (s *spread) sum() (sum uint64) {
	for i := range s {
		sum += s[i].n.Load()
	}
	return sum
}
