package memory_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestJudged: a value is found until a tag of it is purged, by whatever way, and with the
// time of the first soft purge.
func TestJudged(t *testing.T) {
	s := open(t, 1<<20)
	ctx := context.Background()
	if err := s.Set(ctx, "plain", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if value, judged, soft, found := s.GetJudged("plain"); string(value) != "v" || judged || soft != 0 || !found {
		t.Errorf("what was set: %q, %v, %d, %v", value, judged, soft, found)
	}
	put(t, s, "tagged", []byte("v"), time.Hour, "a", "b", "c")
	expect := func(when string, wantSoft uint64, wantFound bool) {
		t.Helper()
		value, judged, soft, found := s.GetJudged("tagged")
		if !judged && wantFound || soft != wantSoft || found != wantFound || string(value) == "v" != wantFound {
			t.Errorf("%s: %q, %v, %d, %v; want %d, %v", when, value, judged, soft, found, wantSoft, wantFound)
		}
	}
	soft := func(tag string, at uint64) {
		t.Helper()
		if _, err := s.Bump(ctx, "clock", []string{tag}, true, at, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	expect("stored", 0, true)
	bump(t, s, "another")
	expect("another tag was purged", 0, true)
	soft("b", 70)
	expect("softly", 70, true)
	soft("a", 80)
	expect("softly again", 70, true)
	soft("c", 0)
	expect("softly, nobody knows when", 1, true)
	bump(t, s, "c")
	expect("purged", 0, false)
	put(t, s, "tagged", []byte("v"), time.Hour, "a", "b", "c")
	expect("stored anew", 0, true)
	bump(t, s, "a")
	expect("purged again", 0, false)
	if err := s.Delete(ctx, "tagged"); err != nil {
		t.Fatal(err)
	}
	expect("deleted", 0, false)
}

// TestStampsGoWithEntries: each way in which an entry goes takes its stamps along, once,
// and no purge of what nobody has leaves one.
func TestStampsGoWithEntries(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	ctx := context.Background()
	expect := func(when string, entries, stamps, referred int) {
		t.Helper()
		if e, n, r := s.Entries(), s.Stamped(), s.Referred(); e != entries || n != stamps || r != referred {
			t.Errorf("%s: %d entries, %d stamps that %d refer to; want %d, %d, %d", when, e, n, r, entries, stamps, referred)
		}
	}
	put(t, s, "a", []byte("1"), time.Hour, "x", "y")
	put(t, s, "b", []byte("1"), time.Hour, "y", "z")
	expect("two entries", 2, 3, 4)
	put(t, s, "a", []byte("2"), time.Hour, "x", "y")
	expect("the same again", 2, 3, 4)
	put(t, s, "a", []byte("3"), time.Hour, "w")
	expect("with another tag", 2, 3, 3)
	bump(t, s, "nobody's", "w")
	expect("purged", 2, 3, 3)
	put(t, s, "a", []byte("4"), time.Hour)
	expect("without tags", 2, 2, 2)
	if err := s.Set(ctx, "b", []byte("2"), time.Hour); err != nil {
		t.Fatal(err)
	}
	expect("set", 2, 0, 0)
	put(t, s, "a", []byte("5"), time.Hour, "x")
	if err := s.Delete(ctx, "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	expect("deleted", 0, 0, 0)
	begun := begin(t, s)
	bump(t, s, "x")
	if written, err := s.Write(ctx, writeOf(begun, "a", []byte("6"), "x", "y")); written.Stored || !written.Purged || err != nil {
		t.Errorf("purged since: %+v, %v", written, err)
	}
	expect("purged on its way", 0, 0, 0)

	// Expiry takes no read, and no look at what stays.
	for i := range 300 {
		put(t, s, strconv.Itoa(i), []byte("v"), time.Duration(1+i%3)*time.Minute, "all", "of "+strconv.Itoa(i))
	}
	expect("stored", 300, 301, 600)
	for left := 200; left >= 0; left -= 100 {
		clock.Advance(time.Minute + 2*time.Second)
		stamps := left
		if left > 0 {
			stamps++
		}
		expect("expired", left, stamps, 2*left)
	}

	for i := range 3000 { // more than there is room for
		put(t, s, strconv.Itoa(i), make([]byte, 1024), time.Hour, "all", "of "+strconv.Itoa(i))
	}
	if e := s.Entries(); e > 1000 || e < 500 {
		t.Errorf("%d entries of 1 KiB are in a store of 1 MiB", e)
	} else {
		expect("evicted", e, e+1, 2*e)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect("closed", 0, 0, 0)
}

// TestExpiredGoByThemselves: the store's own goroutine removes what has expired, where
// nobody asks it for anything.
func TestExpiredGoByThemselves(t *testing.T) {
	s := open(t, 1<<20)
	put(t, s, "a", []byte("v"), time.Millisecond, "x")
	for deadline := time.Now().Add(30 * time.Second); s.Stamped() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an expired entry and its stamp stay")
		}
	}
}

// TestNobodyWaitsForExpiry: a read that comes as many entries have expired does not
// remove them itself.
func TestNobodyWaitsForExpiry(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 64<<20, memory.WithClock(clock.Now))
	const n = 10_000
	for i := range n {
		put(t, s, strconv.Itoa(i), []byte("v"), time.Minute, "all")
	}
	release := s.Hold("all") // who removes one, waits
	clock.Advance(2 * time.Minute)
	for i := range n {
		if _, found := s.GetLocal(strconv.Itoa(i)); found {
			t.Errorf("entry %d has not expired", i)
		}
	}
	release()
	if e := s.Entries(); e != 0 {
		t.Errorf("%d entries are left", e)
	}
}

// TestDeleteEndsFills: in whatever order a lock and what is written under it are named,
// nothing is left of a fill which began before.
func TestDeleteEndsFills(t *testing.T) {
	s := open(t, 1<<20)
	ctx := context.Background()
	others := make([]string, 100) // time for a write to come between
	for i := range others {
		others[i] = "other " + strconv.Itoa(i)
	}
	for _, keys := range [][]string{
		append(append([]string{"lock"}, others...), "k"),
		append(append([]string{"k"}, others...), "lock"),
	} {
		stored := 0
		for range 2000 {
			begun := begin(t, s)
			var wg sync.WaitGroup
			wg.Go(func() {
				written, err := s.Write(ctx, writeOf(begun, "k", []byte("v")))
				if err != nil {
					t.Error(err)
				}
				if written.Stored {
					stored++
				}
			})
			if err := s.Delete(ctx, keys...); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if _, found := s.GetLocal("k"); found {
				t.Fatalf("Delete of %s before %s: a fill that had begun is there", keys[0], keys[len(keys)-1])
			}
		}
		t.Logf("%d of 2000 fills came before", stored)
	}
}

// TestGoneIsGone: who has found an entry that is going, is told of no purge any more, and
// takes it for purged.
func TestGoneIsGone(t *testing.T) {
	s := open(t, 1<<20)
	put(t, s, "a", []byte("v"), time.Hour, "x")
	judge := s.Found("a")
	if !judge() {
		t.Error("there was no purge")
	}
	if err := s.Delete(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if judge() {
		t.Error("an entry that is gone is good for ever")
	}
}

// TestPurgesHold lets fills, purges, evictions and expiry of few tags and keys run at
// once: nothing is found that is older than an acknowledged purge of one of its tags.
func TestPurgesHold(t *testing.T) {
	const tags, keys = 8, 16
	for _, maxBytes := range []int64{6_000, 1 << 20} { // one has room for a few only, and tables of a set
		s := open(t, maxBytes)
		ctx := context.Background()
		var written, purged [tags]atomic.Int64 // versions
		var wg sync.WaitGroup
		var hits, refused atomic.Int64
		name := func(tag int) string { return "tag " + strconv.Itoa(tag) }
		for range 4 {
			wg.Go(func() {
				for range 8_000 {
					key, tag := rand.IntN(keys), rand.IntN(tags)
					switch k := strconv.Itoa(key); rand.IntN(8) {
					case 0: // change and purge
						n := written[tag].Add(1)
						if _, err := s.Bump(ctx, "clock", []string{name(tag)}, false, 0, time.Hour); err != nil {
							t.Error(err)
						}
						for was := purged[tag].Load(); was < n && !purged[tag].CompareAndSwap(was, n); was = purged[tag].Load() {
						}
					case 1, 2, 3: // fill with two tags
						other := (tag + 1 + rand.IntN(tags-1)) % tags
						begun, err := s.Begin(ctx, store.Fill{Lock: "lock " + k, Token: "t", TTL: time.Minute, Clock: "clock"})
						if err != nil {
							t.Error(err)
							return
						}
						value := make([]byte, 0, 256)
						for _, of := range []int{tag, other} {
							value = binary.AppendVarint(binary.AppendVarint(value, int64(of)), written[of].Load())
						}
						ttl := time.Hour
						if rand.IntN(4) == 0 {
							ttl = time.Microsecond
						}
						w, err := s.Write(ctx, store.Write{
							Lock: "lock " + k, Since: begun.Mark, Clock: "clock", Stamps: []string{name(tag), name(other)},
							Values: []store.Value{{Key: k, Data: value, TTL: ttl}},
						})
						if err != nil {
							t.Error(err)
						}
						if !w.Stored {
							refused.Add(1)
						}
					case 4:
						if err := s.Delete(ctx, k); err != nil {
							t.Error(err)
						}
					default:
						var least [tags]int64
						for i := range least {
							least[i] = purged[i].Load()
						}
						value, judged, _, found := s.GetJudged(k)
						if !found {
							continue
						}
						hits.Add(1)
						if !judged {
							t.Error("a tagged value was not judged")
						}
						for len(value) > 0 {
							of, n := binary.Varint(value)
							version, m := binary.Varint(value[n:])
							value = value[n+m:]
							if version < least[of] {
								t.Errorf("version %d of %s was found, %d was purged", version, name(int(of)), least[of])
								return
							}
						}
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d bytes: %d hits, %d fills refused", maxBytes, hits.Load(), refused.Load())
		if hits.Load() == 0 || refused.Load() == 0 {
			t.Error("there were no hits, or no purge came between")
		}
		if n, e := s.Referred(), s.Entries(); n != 2*e {
			t.Errorf("%d entries have %d stamps", e, n)
		}
	}
}

// TestPurgesElsewhere: purges of other tags and URLs, even by the hundred while a handler
// runs, cost hardly a fill; a purge of its own always does.
func TestPurgesElsewhere(t *testing.T) {
	s := open(t, 64<<20)
	ctx := context.Background()
	lost := func(purges int) (lost int) {
		for i := range 1000 {
			fill := func(own string) bool {
				key := "key " + strconv.Itoa(purges) + own + strconv.Itoa(i)
				begun, err := s.Begin(ctx, store.Fill{Lock: key + ":lock", Token: "t", TTL: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				for j := range purges {
					other := "other " + strconv.Itoa(i) + " " + strconv.Itoa(j)
					bump(t, s, other)
					if err := s.Delete(ctx, other+":lock", other); err != nil {
						t.Fatal(err)
					}
				}
				switch own {
				case "tag":
					bump(t, s, "tag "+key)
				case "lock":
					if err := s.Delete(ctx, key+":lock", key); err != nil {
						t.Fatal(err)
					}
				}
				w, err := s.Write(ctx, store.Write{
					Lock: key + ":lock", Since: begun.Mark, Stamps: []string{"tag " + key, "another tag of " + key},
					Values: []store.Value{{Key: key, Data: []byte("v"), TTL: time.Hour}},
				})
				if err != nil {
					t.Fatal(err)
				}
				return w.Stored
			}
			if !fill("") {
				lost++
			}
			if fill("tag") || fill("lock") {
				t.Fatal("a fill was stored whose tag or lock was purged meanwhile")
			}
		}
		return lost
	}
	for _, of := range []struct{ purges, most int }{{1, 0}, {10, 1}, {100, 4}} {
		n := lost(of.purges)
		t.Logf("with %d purges elsewhere while its handler ran, %d of 1000 fills were lost", of.purges, n)
		if n > of.most {
			t.Errorf("want %d at most", of.most)
		}
	}
}

// TestNothingIsLost: what fits by its bytes is found, however many entries and tags there
// are.
func TestNothingIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("makes many entries")
	}
	s := open(t, 8<<30)
	ctx := context.Background()
	keys, tags, value := storetest.Rounds(30_000, 100_000), make([]string, 5), make([]byte, 64)
	for i := range keys {
		for j := range tags {
			tags[j] = "tag " + strconv.Itoa(j) + " of " + strconv.Itoa(i)
		}
		put(t, s, strconv.Itoa(i), value, time.Hour, tags...)
		put(t, s, "u"+strconv.Itoa(i), value, time.Hour)
	}
	var room [8]store.Stamp
	for i := range keys {
		for j := range tags {
			tags[j] = "tag " + strconv.Itoa(j) + " of " + strconv.Itoa(i)
		}
		_, found, stamps, err := s.GetStamped(ctx, strconv.Itoa(i), room[:0], tags)
		for _, st := range stamps {
			found = found && st.Hard == 1
		}
		if _, _, _, also := s.GetJudged(strconv.Itoa(i)); !found || !also || err != nil {
			t.Fatalf("entry %d with 5 tags: %v, %v", i, stamps, err)
		}
		if _, found := s.GetLocal("u" + strconv.Itoa(i)); !found {
			t.Fatalf("entry %d without tags is lost", i)
		}
	}
}
