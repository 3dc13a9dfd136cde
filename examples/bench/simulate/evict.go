package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// item is what the server holds under a key.
type item struct {
	key      uint64
	bytes    int64
	stored   time.Duration // in virtual time, as all times here
	lifetime time.Duration // fresh
	expires  time.Duration // gone from the server
	took     time.Duration // of the handler

	at      int   // among the items of a sampler
	used    int64 // LRU: second; LFU: minute of the last decay
	counter uint8 // LFU
	segment *segment
	bucket  uint8
	slot    uint8
}

// policy says who has to go when the server is full.
type policy interface {
	// add takes an item that is not there. What it returns had to go for a reason other
	// than bytes.
	add(it *item, now time.Duration) (gone *item)
	// touch is a read that has found the item.
	touch(it *item, now time.Duration)
	// remove forgets an item.
	remove(it *item)
	// victim is who goes next, and is still there; nil where there is nobody.
	victim(now time.Duration) *item
}

// The policies by name.
const (
	lru  = "lru"
	lfu  = "lfu"
	dash = "2q"
)

var policies = []string{lru, lfu, dash}

func newPolicy(name string, rng *rand.Rand, room func(items int) bool) (policy, error) {
	switch name {
	case lru, lfu:
		return &sampler{rng: rng, lfu: name == lfu}, nil
	case dash:
		return newDashTable(room), nil
	}
	return nil, fmt.Errorf("-policy: %q is unknown: use lru, lfu or 2q", name)
}

// server holds items up to a number of bytes.
type server struct {
	policy  policy
	items   map[uint64]*item
	bytes   int64
	bound   int64
	evicted uint64
}

func newServer(name string, bound, each int64, rng *rand.Rand) (*server, error) {
	s := &server{items: map[uint64]*item{}, bound: bound}
	var err error
	// A segment is split if what fills it up again has room.
	s.policy, err = newPolicy(name, rng, func(n int) bool { return s.bytes+int64(n)*each <= s.bound })
	return s, err
}

// get finds what has not expired, and is a use of it.
func (s *server) get(key uint64, now time.Duration) *item {
	it := s.items[key]
	if it == nil {
		return nil
	}
	if it.expires <= now {
		s.remove(it)
		return nil
	}
	s.policy.touch(it, now)
	return it
}

// set stores an item in place of the one of its key. What is larger than the server is
// not stored.
func (s *server) set(it *item, now time.Duration) {
	if old := s.items[it.key]; old != nil {
		s.remove(old)
	}
	if it.bytes > s.bound {
		return
	}
	for s.bytes+it.bytes > s.bound {
		gone := s.policy.victim(now)
		if gone == nil {
			return
		}
		s.evict(gone)
	}
	s.items[it.key] = it
	s.bytes += it.bytes
	if gone := s.policy.add(it, now); gone != nil {
		s.evict(gone)
	}
}

func (s *server) evict(it *item) {
	s.evicted++
	s.remove(it)
}

func (s *server) remove(it *item) {
	delete(s.items, it.key)
	s.bytes -= it.bytes
	s.policy.remove(it)
}

// sampler is Redis' approximated LRU and LFU (evict.c of Redis 7): of some items at
// random the worst are kept in a pool, and the worst of the pool goes.
type sampler struct {
	rng   *rand.Rand
	lfu   bool
	items []*item
	pool  []candidate // the worst is last
}

// candidate is an item of the pool, with what it was when it was sampled.
type candidate struct {
	it   *item
	idle int64
}

// The defaults of Redis.
const (
	samples    = 5  // maxmemory-samples
	poolSize   = 16 // EVPOOL_SIZE
	lfuInitial = 5  // LFU_INIT_VAL
	lfuFactor  = 10 // lfu-log-factor
)

// add implements [policy].
func (s *sampler) add(it *item, now time.Duration) *item {
	it.at = len(s.items)
	s.items = append(s.items, it)
	it.counter, it.used = lfuInitial, s.clock(now)
	return nil
}

// clock has steps of a second for LRU (LRU_CLOCK_RESOLUTION), of lfu-decay-time, a
// minute, for LFU.
func (s *sampler) clock(now time.Duration) int64 {
	if s.lfu {
		return int64(now / time.Minute)
	}
	return int64(now / time.Second)
}

// touch implements [policy].
func (s *sampler) touch(it *item, now time.Duration) {
	if s.lfu {
		it.counter = s.decayed(it, now)
		above := float64(max(0, int(it.counter)-lfuInitial))
		if it.counter < 255 && s.rng.Float64() < 1/(above*lfuFactor+1) {
			it.counter++
		}
	}
	it.used = s.clock(now)
}

func (s *sampler) decayed(it *item, now time.Duration) uint8 {
	return uint8(max(0, int64(it.counter)-(s.clock(now)-it.used)))
}

// remove implements [policy].
func (s *sampler) remove(it *item) {
	last := s.items[len(s.items)-1]
	s.items[it.at], last.at = last, it.at
	s.items = s.items[:len(s.items)-1]
	it.at = -1
}

// victim implements [policy].
func (s *sampler) victim(now time.Duration) *item {
	for len(s.items) > 0 {
		for range samples {
			s.consider(s.items[s.rng.IntN(len(s.items))], now)
		}
		for len(s.pool) > 0 {
			it := s.pool[len(s.pool)-1].it
			s.pool = s.pool[:len(s.pool)-1]
			if it.at >= 0 { // else it has gone meanwhile
				return it
			}
		}
	}
	return nil
}

// consider puts an item among the candidates, if it is worse than the best of them.
func (s *sampler) consider(it *item, now time.Duration) {
	idle := s.clock(now) - it.used
	if s.lfu {
		idle = 255 - int64(s.decayed(it, now))
	}
	at := 0
	for at < len(s.pool) && s.pool[at].idle < idle {
		at++
	}
	for _, c := range s.pool {
		if c.it == it {
			return
		}
	}
	full := len(s.pool) == poolSize
	if full && at == 0 {
		return
	}
	if full {
		copy(s.pool, s.pool[1:at])
		s.pool[at-1] = candidate{it, idle}
		return
	}
	s.pool = append(s.pool, candidate{})
	copy(s.pool[at+1:], s.pool[at:])
	s.pool[at] = candidate{it, idle}
}

// The shape of a segment of Dragonfly's dash table.
const (
	homes      = 56 // buckets that hashes lead to
	stashes    = 4  // buckets of what has no place there: the probationary part
	slots      = 14 // of a bucket
	maxDepth   = 24
	segmentMax = (homes + stashes) * slots
)

// segment is a part of the table. A slot's rank is its index: 0 is the best.
type segment struct {
	depth   uint
	buckets [homes + stashes][slots]*item
	turn    int // of the stash buckets, and of the homes
}

// dashTable is Dragonfly's cache mode as its author describes it ("Dragonfly Cache
// Design", 2022): 2Q on an extendible hash table, without any field for it.
//
//   - What finds no free slot in its two home buckets goes to rank 0 of a stash bucket,
//     and the last one there goes: a queue of those on probation.
//   - A read moves an item of a home bucket up by a rank, and one of a stash bucket to the
//     last rank of its home, whose item takes its place.
//   - A segment that is full is split as long as there is memory.
//
// Where the bytes run out before the slots do, the server frees some by walking from
// segment to segment. Here the last of a stash bucket goes then, or where the stash is
// empty, the last of a home bucket.
type dashTable struct {
	directory []*segment
	depth     uint
	room      func(items int) bool
	size      int
	hand      int // of victim, in the directory
}

func newDashTable(room func(int) bool) *dashTable {
	return &dashTable{directory: []*segment{{}}, room: room}
}

// mix spreads keys over 64 bits (the finalizer of MurmurHash3).
func mix(key uint64) uint64 {
	key ^= key >> 33
	key *= 0xff51afd7ed558ccd
	key ^= key >> 33
	key *= 0xc4ceb9fe1a85ec53
	return key ^ key>>33
}

func (d *dashTable) segmentOf(h uint64) *segment { return d.directory[h&(1<<d.depth-1)] }

// homesOf are neighbours.
func homesOf(h uint64) (int, int) {
	b := int(h >> 40 % homes)
	return b, (b + 1) % homes
}

func (s *segment) put(it *item, bucket, slot int) {
	s.buckets[bucket][slot] = it
	it.segment, it.bucket, it.slot = s, uint8(bucket), uint8(slot)
}

// free puts an item into the first free slot of a bucket.
func (s *segment) free(it *item, bucket int) bool {
	for slot, taken := range s.buckets[bucket] {
		if taken == nil {
			s.put(it, bucket, slot)
			return true
		}
	}
	return false
}

// place finds an item a free slot: the emptier home first, then the stash.
func (s *segment) place(it *item) bool {
	a, b := homesOf(mix(it.key))
	if s.count(b) < s.count(a) {
		a, b = b, a
	}
	if s.free(it, a) || s.free(it, b) {
		return true
	}
	for i := range stashes {
		if s.free(it, homes+i) {
			return true
		}
	}
	return false
}

func (s *segment) count(bucket int) (n int) {
	for _, it := range s.buckets[bucket] {
		if it != nil {
			n++
		}
	}
	return n
}

// add implements [policy].
func (d *dashTable) add(it *item, _ time.Duration) *item {
	h := mix(it.key)
	d.size++
	for {
		s := d.segmentOf(h)
		if s.place(it) {
			return nil
		}
		if s.depth >= maxDepth || !d.room(segmentMax/2) {
			return s.probation(it)
		}
		d.split(s)
	}
}

// probation puts an item to the front of a stash bucket. Its last one has to go.
func (s *segment) probation(it *item) (gone *item) {
	bucket := homes + s.turn%stashes
	s.turn++
	gone = s.buckets[bucket][slots-1]
	for slot := slots - 1; slot > 0; slot-- {
		if moved := s.buckets[bucket][slot-1]; moved != nil {
			s.put(moved, bucket, slot)
		}
	}
	s.put(it, bucket, 0)
	if gone != nil {
		gone.segment = nil // its slot is another one's
	}
	return gone
}

// split gives half of a segment's items to a new one, where there is room for all in the
// buckets that they come from. Those of the stash go home if they can.
func (d *dashTable) split(s *segment) {
	if s.depth == d.depth {
		d.directory = append(d.directory, d.directory...)
		d.depth++
	}
	bit := uint64(1) << s.depth
	s.depth++
	other := &segment{depth: s.depth}
	for i := range d.directory {
		if d.directory[i] == s && uint64(i)&bit != 0 {
			d.directory[i] = other
		}
	}
	for bucket := range s.buckets {
		for slot, it := range s.buckets[bucket] {
			switch {
			case it == nil:
			case mix(it.key)&bit != 0:
				s.buckets[bucket][slot] = nil
				if bucket >= homes {
					other.place(it)
				} else {
					other.free(it, bucket)
				}
			case bucket >= homes:
				s.buckets[bucket][slot] = nil
				s.place(it)
			}
		}
	}
}

// touch implements [policy].
func (d *dashTable) touch(it *item, _ time.Duration) {
	s, bucket, slot := it.segment, int(it.bucket), int(it.slot)
	if bucket < homes {
		if slot == 0 {
			return
		}
		s.swap(it, bucket, slot-1)
		return
	}
	a, b := homesOf(mix(it.key))
	for _, home := range [2]int{a, b} {
		if s.free(it, home) {
			s.buckets[bucket][slot] = nil
			return
		}
	}
	s.swap(it, a, slots-1)
}

// swap gives an item the slot of another one, which may be empty, and that one its own.
func (s *segment) swap(it *item, bucket, slot int) {
	was, wasSlot := int(it.bucket), int(it.slot)
	other := s.buckets[bucket][slot]
	s.put(it, bucket, slot)
	s.buckets[was][wasSlot] = nil
	if other != nil {
		s.put(other, was, wasSlot)
	}
}

// remove implements [policy].
func (d *dashTable) remove(it *item) {
	d.size--
	if it.segment != nil {
		it.segment.buckets[it.bucket][it.slot] = nil
		it.segment = nil
	}
}

// victim implements [policy].
func (d *dashTable) victim(time.Duration) *item {
	if d.size == 0 {
		return nil
	}
	for {
		d.hand = (d.hand + 1) % len(d.directory)
		if it := d.directory[d.hand].last(); it != nil {
			return it
		}
	}
}

// last is the last of a stash bucket, or where all are empty, of a home bucket.
func (s *segment) last() *item {
	s.turn++
	for i := range stashes {
		if it := lowest(&s.buckets[homes+(s.turn+i)%stashes]); it != nil {
			return it
		}
	}
	for i := range homes {
		if it := lowest(&s.buckets[(s.turn+i)%homes]); it != nil {
			return it
		}
	}
	return nil
}

func lowest(bucket *[slots]*item) *item {
	for slot := slots - 1; slot >= 0; slot-- {
		if bucket[slot] != nil {
			return bucket[slot]
		}
	}
	return nil
}
