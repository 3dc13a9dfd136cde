package cacheaside

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// memo remembers something of keys seen lately. It holds a fixed number of
// them, one per slot, takes no lock, and may forget at any time.
type memo[V any] struct {
	slots [memoSlots]atomic.Pointer[memoItem[V]]
	used  atomic.Bool // spares services that need it not the look
}

const memoSlots = 1024

type memoItem[V any] struct {
	key   string
	value V
	at    int64
}

var memoSeed = maphash.MakeSeed()

func (m *memo[V]) slot(key string) *atomic.Pointer[memoItem[V]] {
	return &m.slots[maphash.String(memoSeed, key)%memoSlots]
}

// get returns what was put for key no longer than age before now.
func (m *memo[V]) get(key string, now int64, age time.Duration) (value V, ok bool) {
	if !m.used.Load() {
		return value, false
	}
	it := m.slot(key).Load()
	if it == nil || it.key != key || now-it.at > int64(age) || now < it.at {
		return value, false
	}
	return it.value, true
}

func (m *memo[V]) put(key string, value V, now int64) {
	m.used.Store(true)
	m.slot(key).Store(&memoItem[V]{key, value, now})
}

func (m *memo[V]) drop(key string) {
	if !m.used.Load() {
		return
	}
	s := m.slot(key)
	if it := s.Load(); it != nil && it.key == key {
		s.CompareAndSwap(it, nil)
	}
}
