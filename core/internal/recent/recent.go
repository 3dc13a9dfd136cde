// Package recent remembers something of what was seen lately, in bounded memory.
package recent

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Map remembers a value for each of the keys seen lately. It holds a fixed number of
// them, one per slot, takes no lock, and may forget at any time. The zero value is
// ready for use, and all methods may be called concurrently.
type Map[V any] struct {
	slots [slots]atomic.Pointer[item[V]]
	used  atomic.Bool // false until the first Put; lets Get return early
}

const slots = 1024

type item[V any] struct {
	key   string
	value V
	at    int64
}

var seed = maphash.MakeSeed()

func (m *Map[V]) slot(key string) *atomic.Pointer[item[V]] {
	return &m.slots[maphash.String(seed, key)%slots]
}

// Get returns what was put for key no longer than age before now, in nanoseconds.
func (m *Map[V]) Get(key string, now int64, age time.Duration) (value V, ok bool) {
	if !m.used.Load() {
		return value, false
	}
	it := m.slot(key).Load()
	if it == nil || it.key != key || now-it.at > int64(age) || now < it.at {
		return value, false
	}
	return it.value, true
}

// Put remembers value for key, in place of what is in its slot.
func (m *Map[V]) Put(key string, value V, now int64) {
	m.used.Store(true)
	m.slot(key).Store(&item[V]{key, value, now})
}

// Drop forgets what was put for key.
func (m *Map[V]) Drop(key string) {
	if !m.used.Load() {
		return
	}
	s := m.slot(key)
	if it := s.Load(); it != nil && it.key == key {
		s.CompareAndSwap(it, nil)
	}
}
