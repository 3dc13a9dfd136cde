package recent

import (
	"strconv"
	"testing"
	"time"
)

func TestMap(t *testing.T) {
	var m Map[int]
	if _, ok := m.Get("a", 0, time.Hour); ok {
		t.Error("found in an empty map")
	}
	m.Put("a", 1, 100)
	for _, c := range []struct {
		key  string
		now  int64
		age  time.Duration
		want bool
	}{
		{"a", 100, 0, true}, {"a", 150, 50, true}, {"a", 151, 50, false},
		{"a", 99, time.Hour, false}, // the clock was set back
		{"b", 100, time.Hour, false},
	} {
		if v, ok := m.Get(c.key, c.now, c.age); ok != c.want || ok && v != 1 {
			t.Errorf("%s at %d: %d, %v", c.key, c.now, v, ok)
		}
	}
	m.Drop("b")
	m.Put("a", 2, 100)
	if v, ok := m.Get("a", 100, 0); !ok || v != 2 {
		t.Errorf("after a second Put: %d, %v", v, ok)
	}
	m.Drop("a")
	if _, ok := m.Get("a", 100, 0); ok {
		t.Error("found after Drop")
	}
}

// TestBounded: more keys than places push one another out, and are never mistaken.
func TestBounded(t *testing.T) {
	var m Map[string]
	const n = 8 * slots
	for i := range n {
		key := strconv.Itoa(i)
		m.Put(key, key, 0)
	}
	found := 0
	for i := range n {
		key := strconv.Itoa(i)
		if v, ok := m.Get(key, 0, 0); ok {
			if found++; v != key {
				t.Fatalf("%q has the value of %q", key, v)
			}
		}
	}
	if found == 0 || found > slots {
		t.Errorf("%d of %d keys in %d places", found, n, slots)
	}
}

// TestFewAreKept: few keys do not push one another out.
func TestFewAreKept(t *testing.T) {
	for round := range 20 {
		var m Map[int]
		const n = 10
		key := func(i int) string { return strconv.Itoa(round) + "." + strconv.Itoa(i) }
		for i := range n {
			m.Put(key(i), -1, 0)
			m.Put(key(i), i, 0)
		}
		for i := range n {
			if v, ok := m.Get(key(i), 0, 0); !ok || v != i {
				t.Errorf("%s: %d, %v", key(i), v, ok)
			}
		}
	}
}

// TestOldestGivesWay: of the keys that share a hash the one put first is forgotten.
func TestOldestGivesWay(t *testing.T) {
	var m Map[int]
	var shared []string
	for i := 0; len(shared) <= ways; i++ {
		if key := strconv.Itoa(i); m.set(key) == m.set("x") {
			shared = append(shared, key)
		}
	}
	for i, key := range shared[:ways] {
		m.Put(key, i, int64(100-i)) // the last one is the oldest
	}
	m.Put(shared[ways], ways, 101)
	for i, key := range shared {
		if _, ok := m.Get(key, 101, time.Hour); ok != (i != ways-1) {
			t.Errorf("%d of %d: found: %v", i, len(shared), ok)
		}
	}
}
