package memory

import (
	"math/rand/v2"
	"testing"
)

// TestIndex compares an index that grows, shrinks and is used again with a map.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x index
	want := map[uint64]*stamp{}
	check := func() {
		t.Helper()
		if x.n != len(want) || len(x.slots) > max(minSlots, 4*x.n+4) {
			t.Fatalf("%d stamps in %d slots, want %d", x.n, len(x.slots), len(want))
		}
		seen := 0
		x.all(func(st *stamp) {
			seen++
			if want[st.hash] != st {
				t.Fatalf("%x is not there, or another one", st.hash)
			}
		})
		if seen != len(want) {
			t.Fatalf("%d stamps are found, want %d", seen, len(want))
		}
	}
	for _, most := range []int{1, 10, 5000, 20, 300, 0, 40} {
		for range 4 * (most + len(want)) {
			hash := rng.Uint64N(1<<14) * shards // of one shard, often there already
			st := x.find(hash)
			if st != want[hash] {
				t.Fatalf("find(%x) is %v, want %v", hash, st, want[hash])
			}
			switch {
			case st != nil && len(want) > most/2:
				x.remove(st)
				delete(want, hash)
			case st == nil && len(want) < most:
				st = &stamp{hash: hash}
				x.add(st)
				want[hash] = st
			}
		}
		for hash, st := range want { // down to what the next one begins with
			if len(want) <= most/2 {
				break
			}
			x.remove(st)
			delete(want, hash)
		}
		check()
	}
}
