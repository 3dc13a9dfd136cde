package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// beside is what an empty store costs at most, which its bound does not count.
const beside = 64 << 10

// TestEmptyStore: a large bound costs nothing before there is something.
func TestEmptyStore(t *testing.T) {
	for _, maxBytes := range []int64{1, 1 << 20, 8 << 30} {
		before := heap()
		s := open(t, maxBytes)
		if used := heap() - before; used > beside {
			t.Errorf("an empty store of %d bytes costs %d, want %d at most", maxBytes, used, beside)
		}
		runtime.KeepAlive(s)
	}
}

// TestBound fills stores many times over with entries of every number of tags, shared
// and of their own, and with purges and journals beside: what they hold never exceeds
// their bound, whatever they held before, and is most of it.
func TestBound(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures the heap")
	}
	const maxBytes = 4 << 20
	for _, of := range []struct {
		name       string
		tags, size int
		shared     bool
		least      int64 // of maxBytes, in percent
	}{
		{"0 tags", 0, 1024, false, 85},
		{"0 tags, tiny values", 0, 16, false, 65},
		{"1 tag of its own", 1, 256, false, 70},
		{"5 tags of its own", 5, 1024, false, 75},
		{"5 tags, tiny values", 5, 16, false, 60},
		{"50 tags of its own", 50, 1024, false, 60},
		{"50 tags that all have", 50, 1024, true, 15},
	} {
		t.Run(of.name, func(t *testing.T) {
			before := heap()
			s := open(t, maxBytes)
			n := 3 * maxBytes / (of.size + memory.EntryOverhead + of.tags*memory.StampOverhead)
			for i := range n {
				tags := make([]string, of.tags)
				for j := range tags {
					if tags[j] = "tag-" + strconv.Itoa(j); !of.shared {
						tags[j] += "-of-" + strconv.Itoa(i)
					}
				}
				put(t, s, fmt.Sprintf("key-%012d", i), make([]byte, of.size), time.Hour, tags...)
				if i%16 == 0 {
					bump(t, s, "nobody's "+strconv.Itoa(i))
				}
				if err := s.Delete(context.Background(), "nobody's "+strconv.Itoa(i)); err != nil {
					t.Fatal(err)
				}
			}
			used := held(t, s, before, maxBytes)
			if used < maxBytes*of.least/100 {
				t.Errorf("the store holds %d bytes of the %d it may, in %d entries, want %d %%", used, maxBytes, s.Entries(), of.least)
			}
			// Entries go one by one, others come: what is beside them is used again.
			for i := range 2 * s.Entries() {
				key := fmt.Sprintf("key-%012d", n-1-i%(n/2))
				if err := s.Delete(context.Background(), key); err != nil {
					t.Fatal(err)
				}
				tags := make([]string, of.tags)
				for j := range tags {
					tags[j] = "tag-" + strconv.Itoa(j) + "-again-" + strconv.Itoa(i)
				}
				put(t, s, key, make([]byte, of.size), time.Hour, tags...)
			}
			held(t, s, before, maxBytes)
			// Others take the place, and what was beside those goes with them.
			for i := range 2 * maxBytes / 4096 {
				put(t, s, "other "+strconv.Itoa(i), make([]byte, 4096-memory.EntryOverhead), time.Hour)
			}
			held(t, s, before, maxBytes)
			runtime.KeepAlive(s)
		})
	}
}

// held returns what s holds, which is at most its bound.
func held(t *testing.T, s *memory.Store, before, maxBytes int64) int64 {
	t.Helper()
	entries := s.Entries()
	used := heap() - before
	t.Logf("%d entries, %d stamps: %d bytes of %d", entries, s.Stamped(), used, maxBytes)
	if used > maxBytes+beside {
		t.Errorf("the store holds %d bytes in %d entries with %d stamps, its bound is %d", used, entries, s.Stamped(), maxBytes)
	}
	return used
}

// TestBoundedAtOnce fills a store by several goroutines, with keys and values of all
// sizes, under keys that are replaced.
func TestBoundedAtOnce(t *testing.T) {
	const maxBytes = 8 << 20
	s := open(t, maxBytes)
	before := heap()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				key := strings.Repeat("k", i%200) + strconv.Itoa(w) + "-" + strconv.Itoa(rand.IntN(10_000))
				put(t, s, key, make([]byte, i%3000), time.Hour, "tag-"+strconv.Itoa(i%100), "of-"+strconv.Itoa(i))
			}
		})
	}
	wg.Wait()
	if used := held(t, s, before, maxBytes*21/20); used < maxBytes/2 {
		t.Errorf("the store holds %d bytes of the %d it may", used, maxBytes)
	}
	if n := s.Referred(); n != 2*s.Entries() {
		t.Errorf("%d entries have %d stamps, want 2 each", s.Entries(), n)
	}
}

// TestOverhead compares the weight given to small entries with what they cost.
func TestOverhead(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures the heap")
	}
	for _, of := range []struct{ n, tags int }{{50_000, 0}, {100_000, 0}, {40_000, 1}, {20_000, 5}, {5_000, 50}} {
		s := open(t, 1<<30)
		before := heap()
		tags := make([]string, of.tags)
		for i := range of.n {
			for j := range tags {
				tags[j] = fmt.Sprintf("tag-%03d-%012d", j, i)
			}
			put(t, s, fmt.Sprintf("key-%012d", i), make([]byte, 64), time.Hour, tags...)
		}
		per := float64(heap()-before)/float64(of.n) - 80
		counted := float64(memory.EntryOverhead + of.tags*memory.StampOverhead)
		t.Logf("%6d entries, %2d tags: %.0f bytes beside key and value, counted as %.0f", of.n, of.tags, per, counted)
		if per > counted || per < counted/2 {
			t.Errorf("an entry with %d tags costs %.0f bytes beside key and value, counted as %.0f", of.tags, per, counted)
		}
		runtime.KeepAlive(s)
	}
}

// TestJournalsCount: what the purges of prefixes need is taken from the entries, given
// back, and refused where it is too much.
func TestJournalsCount(t *testing.T) {
	const maxBytes = 1 << 20
	s := open(t, maxBytes)
	ctx := context.Background()
	all := s.Maximum()
	write := func(clock string, size int) error {
		old, err := s.ReadJournal(ctx, clock)
		if err != nil {
			return err
		}
		_, written, err := s.WriteJournal(ctx, clock, old, strings.Repeat("x", size))
		if err == nil && !written {
			t.Error("the journal was not written")
		}
		return err
	}
	for i := range 10 {
		if err := write("clock "+strconv.Itoa(i), 10<<10); err != nil {
			t.Fatal(err)
		}
	}
	if left := s.Maximum(); left > all-100<<10 || left < all-256<<10 {
		t.Errorf("journals of 100 KiB leave %d bytes of %d", left, all)
	}
	if err := write("clock 0", maxBytes); err == nil {
		t.Error("a journal as large as the store was taken")
	}
	for i := range 10 {
		if err := write("clock "+strconv.Itoa(i), 10); err != nil {
			t.Fatal(err)
		}
	}
	if left := s.Maximum(); left != all {
		t.Errorf("small journals leave %d bytes of %d", left, all)
	}
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		_, err = s.ReadJournal(ctx, strings.Repeat("c", 500)+strconv.Itoa(i))
	}
	if err == nil {
		t.Error("there is no end of clocks")
	}
}

// put stores value as a fill does.
func put(tb testing.TB, s *memory.Store, key string, value []byte, ttl time.Duration, tags ...string) {
	tb.Helper()
	ctx := context.Background()
	begun, err := s.Begin(ctx, store.Fill{Lock: key + ":lock", Token: "token", TTL: time.Minute, Clock: "clock"})
	if err != nil {
		tb.Error(err)
		return
	}
	written, err := s.Write(ctx, store.Write{
		Lock: key + ":lock", Token: begun.Token, Since: begun.Mark, Clock: "clock", Stamps: tags,
		Values: []store.Value{{Key: key, Data: value, TTL: ttl}},
	})
	if err != nil || !written.Stored {
		tb.Errorf("Write of %q: %+v, %v", key, written, err)
	}
}

func begin(tb testing.TB, s *memory.Store) store.Begun {
	tb.Helper()
	begun, err := s.Begin(context.Background(), store.Fill{Lock: "lock", Token: "token", TTL: time.Minute, Clock: "clock"})
	if err != nil {
		tb.Fatal(err)
	}
	return begun
}

func writeOf(begun store.Begun, key string, value []byte, tags ...string) store.Write {
	return store.Write{
		Lock: "lock", Token: begun.Token, Since: begun.Mark, Clock: "clock", Stamps: tags,
		Values: []store.Value{{Key: key, Data: value, TTL: time.Hour}},
	}
}

func bump(tb testing.TB, s *memory.Store, tags ...string) store.Mark {
	tb.Helper()
	mark, err := s.Bump(context.Background(), "clock", tags, false, 0, time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	return mark
}
