package memory_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
)

func TestLocksAreBounded(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	ctx := context.Background()
	fill := func(round string) int {
		for i := range 10 * memory.MaxLocks {
			holder, err := s.Lock(ctx, round+strconv.Itoa(i), "token", time.Minute)
			if errors.Is(err, memory.ErrTooManyLocks) {
				return i
			}
			if err != nil || holder != "" {
				t.Fatalf("Lock: %q, %v", holder, err)
			}
		}
		return -1
	}
	if n := fill("first"); n != memory.MaxLocks {
		t.Errorf("the store took %d locks, want %d", n, memory.MaxLocks)
	}
	// Those that are there work on, and an end makes room.
	if holder, err := s.Lock(ctx, "first7", "other", time.Minute); holder != "token" || err != nil {
		t.Errorf("Lock of a held one: %q, %v", holder, err)
	}
	if err := s.Unlock(ctx, "first7", "token", "a note", time.Minute); err != nil {
		t.Error(err)
	}
	if err := s.Unlock(ctx, "first8", "token", "", 0); err != nil {
		t.Error(err)
	}
	if holder, err := s.Lock(ctx, "one more", "token", time.Minute); holder != "" || err != nil {
		t.Errorf("Lock in the place of another: %q, %v", holder, err)
	}
	clock.Advance(time.Minute)
	if n := fill("second"); n != memory.MaxLocks {
		t.Errorf("the store took %d locks after the first had expired, want %d", n, memory.MaxLocks)
	}
}

// TestExpiredLocksGo takes many locks one after the other that nobody gives up.
func TestExpiredLocksGo(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	for i := range 100_000 {
		if _, err := s.Lock(context.Background(), strconv.Itoa(i), "token", 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Millisecond)
	}
	if n := s.Locks(); n > 200 {
		t.Errorf("%d locks are kept, 10 have not expired", n)
	}
}

// TestStampsAreBounded has more stamps than the store keeps: some are lost, and
// what is lost counts as the newest.
func TestStampsAreBounded(t *testing.T) {
	s := open(t, 1<<20)
	ctx := context.Background()
	var last uint64
	const n = 2 * memory.MaxStamps
	for i := range n {
		var err error
		if last, err = s.Raise(ctx, "clock", []string{strconv.Itoa(i)}, false, 0, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if kept := s.Stamped(); kept > memory.MaxStamps || kept < memory.MaxStamps/2 {
		t.Errorf("%d stamps are kept, want at most %d", kept, memory.MaxStamps)
	}
	lost := 0
	for i := range n {
		keys := []string{strconv.Itoa(i)}
		got, err := s.Stamps(ctx, nil, keys)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Hard != 0 {
			continue
		}
		lost++
		if got, err = s.Settle(ctx, "clock", nil, keys, time.Hour); err != nil || got[0].Hard != last || got[0].Soft != last {
			t.Fatalf("a lost stamp is settled as %v, %v; want %d", got, err, last)
		}
	}
	if lost == 0 {
		t.Error("no stamp was lost")
	}
}

// TestClockSetBack keeps the sequence growing when the time does not.
func TestClockSetBack(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	ctx := context.Background()
	n, err := s.Raise(ctx, "clock", []string{"a"}, false, 0, time.Hour)
	if err != nil || n != uint64(clock.Now().UnixMicro()) {
		t.Errorf("the first number is %d, %v; want the time", n, err)
	}
	clock.Advance(-time.Hour)
	if m, err := s.Raise(ctx, "clock", []string{"a"}, false, 0, time.Hour); m != n+1 || err != nil {
		t.Errorf("%d, %v after %d, want the next", m, err, n)
	}
}

func BenchmarkLock(b *testing.B) {
	s := open(b, 1<<20)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Lock(ctx, "some:key:of:ours", "token", time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := s.Unlock(ctx, "some:key:of:ours", "token", "", 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStamps(b *testing.B) {
	s := open(b, 1<<20)
	ctx := context.Background()
	keys := []string{"some:key:of:ours", "another:key:of:ours"}
	if _, err := s.Raise(ctx, "clock", keys, false, 0, time.Hour); err != nil {
		b.Fatal(err)
	}
	dst := make([]struct{ Hard, Soft uint64 }, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Stamps(ctx, dst, keys); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLocalStamps: what was read of stamps is good until one is raised.
func TestLocalStamps(t *testing.T) {
	s := open(t, 1<<20)
	ctx, keys := context.Background(), []string{"a", "b"}
	if got, _, _, found := s.LocalStamps(nil, keys); found || len(got) != 0 {
		t.Errorf("before there are any: %v", got)
	}
	want, err := s.Settle(ctx, "clock", nil, keys, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, mark, good, found := s.LocalStamps(nil, keys)
	if !found || len(got) != 2 || got[0] != want[0] || got[1] != want[1] || good < time.Hour || mark != s.StampMark() {
		t.Errorf("%v, good for %v with mark %d of %d, %v; want %v", got, good, mark, s.StampMark(), found, want)
	}
	if err := s.Set(ctx, "a value", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if s.StampMark() != mark {
		t.Error("a value has changed the mark")
	}
	for _, soft := range []bool{true, false} {
		_, mark, _, _ := s.LocalStamps(nil, keys)
		n, err := s.Raise(ctx, "clock", keys[1:], soft, 0, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if s.StampMark() == mark {
			t.Errorf("soft %v: a stamp was raised, and the mark is the same", soft)
		}
		if got, _, _, found := s.LocalStamps(nil, keys); !found || got[0] != want[0] || got[1].Soft != n {
			t.Errorf("soft %v: %v, %v", soft, got, found)
		}
	}
	if got, _, _, found := s.LocalStamps(got, []string{"a", "lost"}); found || len(got) != 2 {
		t.Errorf("with one that is not there: %v", got)
	}
}
