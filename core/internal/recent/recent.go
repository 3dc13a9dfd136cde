// Package recent remembers something of what was seen lately, in bounded memory.
package recent

import (
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"
)

// Map remembers a value for each of the keys seen lately. It holds a fixed number of
// them, takes no lock, and may forget at any time, few keys only by the rarest chance.
// The zero value is ready for use, and all methods may be called concurrently.
type Map[V any] struct {
	sets [slots / ways]set[V]
	used atomic.Bool // false until the first Put; lets Get return early
}

const (
	slots = 1024
	ways  = 4
)

// set has a slot for each of the keys that share a hash; the oldest one gives way.
type set[V any] [ways]atomic.Pointer[item[V]]

type item[V any] struct {
	key   string
	value V
	at    int64
}

var seed = maphash.MakeSeed()

func (m *Map[V]) set(key string) *set[V] {
	return &m.sets[maphash.String(seed, key)%uint64(len(m.sets))]
}

// find returns the item of a key, and its slot.
func (s *set[V]) find(key string) (*atomic.Pointer[item[V]], *item[V]) {
	for i := range s {
		if it := s[i].Load(); it != nil && it.key == key {
			return &s[i], it
		}
	}
	return nil, nil
}

// Get returns what was put for key no longer than age before now, in nanoseconds.
func (m *Map[V]) Get(key string, now int64, age time.Duration) (value V, ok bool) {
	if !m.used.Load() {
		return value, false
	}
	_, it := m.set(key).find(key)
	if it == nil || now-it.at > int64(age) || now < it.at {
		return value, false
	}
	return it.value, true
}

// Put remembers value for key. The oldest of the keys that share a hash is forgotten if
// there are too many.
func (m *Map[V]) Put(key string, value V, now int64) {
	m.used.Store(true)
	s := m.set(key)
	at, _ := s.find(key)
	if at == nil {
		at = s.oldest()
	}
	at.Store(&item[V]{key, value, now})
}

// oldest is the slot that is free, or has been written first.
func (s *set[V]) oldest() *atomic.Pointer[item[V]] {
	at, first := &s[0], int64(math.MaxInt64)
	for i := range s {
		it := s[i].Load()
		if it == nil {
			return &s[i]
		}
		if it.at < first {
			at, first = &s[i], it.at
		}
	}
	return at
}

// Drop forgets what was put for key.
func (m *Map[V]) Drop(key string) {
	if !m.used.Load() {
		return
	}
	if at, it := m.set(key).find(key); it != nil {
		at.CompareAndSwap(it, nil)
	}
}
