package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	testKeys  = 1000 // that fit
	testBytes = 100
)

func testServer(t *testing.T, policy string) *server {
	t.Helper()
	s, err := newServer(policy, testKeys*testBytes, testBytes, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(s *server, from, n uint64, now time.Duration) {
	for k := from; k < from+n; k++ {
		s.set(&item{key: k, bytes: testBytes, expires: 1 << 62}, now)
	}
}

func held(s *server, from, n uint64) (count int) {
	for k := from; k < from+n; k++ {
		if s.items[k] != nil {
			count++
		}
	}
	return count
}

func TestBound(t *testing.T) {
	for _, policy := range policies {
		s := testServer(t, policy)
		rng := rand.New(rand.NewPCG(2, 2))
		for i := range 20_000 {
			now := time.Duration(i) * time.Millisecond
			key := rng.Uint64N(3000)
			switch rng.IntN(5) {
			case 0:
				s.get(key, now)
			case 1:
				if it := s.items[key]; it != nil {
					s.remove(it)
				}
			default:
				s.set(&item{key: key, bytes: 1 + rng.Int64N(3*testBytes), expires: now + time.Duration(rng.Int64N(int64(time.Minute)))}, now)
			}
			var sum int64
			if i%500 == 0 {
				for k, it := range s.items {
					sum += it.bytes
					if it.key != k {
						t.Fatalf("%s: %d is under %d", policy, it.key, k)
					}
				}
				if sum != s.bytes {
					t.Fatalf("%s: %d bytes are counted, and there are %d", policy, s.bytes, sum)
				}
			}
			if s.bytes > s.bound {
				t.Fatalf("%s: %d bytes", policy, s.bytes)
			}
		}
		if s.evicted == 0 {
			t.Errorf("%s: nothing was evicted", policy)
		}
		s.set(&item{key: 1 << 40, bytes: s.bound + 1, expires: 1 << 62}, 0)
		if s.items[1<<40] != nil {
			t.Errorf("%s: more than all is stored", policy)
		}
	}
}

func TestExpiry(t *testing.T) {
	s := testServer(t, lru)
	s.set(&item{key: 1, bytes: testBytes, expires: time.Second}, 0)
	if s.get(1, time.Second-1) == nil || s.get(1, time.Second) != nil || s.bytes != 0 {
		t.Error("an item is there until it expires, and then no more")
	}
}

// Who was read lately stays, unlike most of the others.
func TestLRU(t *testing.T) {
	s := testServer(t, lru)
	fill(s, 0, testKeys, 0)
	for k := range uint64(testKeys / 2) {
		s.get(k, 10*time.Second)
	}
	fill(s, 5000, testKeys/4, 20*time.Second)
	if recent, old := held(s, 0, testKeys/2), held(s, testKeys/2, testKeys/2); recent < testKeys/2-10 || old > testKeys/4+10 {
		t.Errorf("of %d each, %d that were read lately are there, and %d that were not", testKeys/2, recent, old)
	}
}

// Who is read often stays, though others were read later; and is forgotten in the end.
func TestLFU(t *testing.T) {
	s := testServer(t, lfu)
	fill(s, 0, testKeys, 0)
	for range 50 {
		for k := range uint64(100) {
			s.get(k, time.Second)
		}
	}
	for k := uint64(100); k < testKeys; k++ {
		s.get(k, 30*time.Second)
	}
	fill(s, 5000, testKeys/2, 40*time.Second)
	if n := held(s, 0, 100); n < 98 {
		t.Errorf("%d of 100 that were read often are there", n)
	}
	// A counter goes down by one a minute.
	fill(s, 9000, 2*testKeys, 2*time.Hour)
	if n := held(s, 0, 100); n > 30 {
		t.Errorf("%d of 100 that nobody has read for two hours are there", n)
	}
}

// A scan does not push out what was read twice.
func TestDashResistsScans(t *testing.T) {
	left := map[string]int{}
	for _, policy := range []string{lru, dash} {
		s := testServer(t, policy)
		fill(s, 0, testKeys, 0)
		for i := range 30 {
			for k := range uint64(300) {
				s.get(k, time.Duration(i)*time.Second)
			}
		}
		fill(s, 10_000, 20*testKeys, time.Minute)
		left[policy] = held(s, 0, 300)
	}
	if left[dash] < 200 || left[lru] > 50 {
		t.Errorf("after a scan 2Q has %d of 300, LRU %d", left[dash], left[lru])
	}
}

// Every item is where it says, in a segment that its hash leads to.
func TestDashTable(t *testing.T) {
	s, err := newServer(dash, 20_000*testBytes, testBytes, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	d := s.policy.(*dashTable)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100_000 {
		if key := rng.Uint64N(40_000); s.get(key, 0) == nil {
			s.set(&item{key: key, bytes: testBytes, expires: 1 << 62}, 0)
		}
	}
	for key, it := range s.items {
		g := d.segmentOf(mix(key))
		if it.segment != g || g.buckets[it.bucket][it.slot] != it {
			t.Fatalf("%d is not where it says", key)
		}
		if a, b := homesOf(mix(key)); int(it.bucket) < homes && int(it.bucket) != a && int(it.bucket) != b {
			t.Fatalf("%d is in bucket %d, its homes are %d and %d", key, it.bucket, a, b)
		}
	}
	if d.size != len(s.items) || len(s.items) < 17_000 {
		t.Errorf("%d items, %d are counted; 20,000 have room", len(s.items), d.size)
	}
}
