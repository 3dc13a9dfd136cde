package memory

import (
	"math/rand/v2"
	"testing"

	"github.com/cacheaside/cacheaside/core/store"
)

// TestTable: a table never forgets a purge, and takes those of other keys for one of a key
// only once there were three of them in its set.
func TestTable(t *testing.T) {
	const sets, keys = 2, 12
	hash := func(key int) uint64 { return uint64(key+1) * shards } // its set is (key+1) % sets
	var tab table
	if got := tab.last(1); got != (store.Stamp{Hard: first, Soft: first}) {
		t.Errorf("an empty table: %+v", got)
	}
	var hard, soft, at [keys]uint64
	var order [sets][]int // of the keys of a set as they were purged
	for n := uint64(first + 1); n < 20_000; n++ {
		key := rand.IntN(keys)
		if rand.IntN(3) > 0 {
			tab.note(sets, hash(key), n, false, n)
			hard[key] = n
		} else {
			tab.note(sets, hash(key), n, true, n)
		}
		soft[key], at[key] = n, n
		of := (key + 1) % sets
		order[of] = append(order[of], key)
		for key := range keys {
			got, purged := tab.last(hash(key)), order[(key+1)%sets]
			if got.Hard < hard[key] || got.Soft < soft[key] || got.Soft < got.Hard {
				t.Fatalf("after %d: key %d was purged by %d, softly by %d, and has %+v", n, key, hard[key], soft[key], got)
			}
			if got.Soft == soft[key] && got.SoftAt != 0 && got.SoftAt != at[key] {
				t.Fatalf("after %d: key %d was purged at %d, not %d", n, key, at[key], got.SoftAt)
			}
			// What is newer than this key's own was pushed out by others, two at least.
			since, others := got.Soft, map[int]bool{}
			for i := len(purged) - 1; i >= 0 && soft[purged[i]] >= since; i-- {
				others[purged[i]] = true
			}
			if since > max(soft[key], first) && len(others) < 3 {
				t.Fatalf("after %d: key %d, purged by %d, has %+v for the purges of %d others", n, key, soft[key], got, len(others))
			}
		}
	}
}
