package memory_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// fillOf stores a value with tags.
func fillOf(tb testing.TB, s *memory.Store, key string, ttl time.Duration, tags ...string) {
	tb.Helper()
	ctx := context.Background()
	begun, err := s.Begin(ctx, store.Fill{Lock: key + ":lock", Token: "a", TTL: time.Hour, Clock: "clock"})
	if err != nil {
		tb.Fatal(err)
	}
	written, err := s.Write(ctx, store.Write{
		Lock: key + ":lock", Token: begun.Token, Since: begun.Mark, Clock: "clock", Stamps: tags,
		Values: []store.Value{{Key: key, Data: []byte("v"), TTL: ttl}},
	})
	if err != nil || !written.Stored {
		tb.Fatal(written, err)
	}
}

// TestStampsGoWithTheirEntries: whatever the way of an entry's end, its stamps go when
// no other has them.
func TestStampsGoWithTheirEntries(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	ctx := context.Background()
	want := func(what string, n int) {
		t.Helper()
		if got := s.Stamped(); got != n {
			t.Errorf("%s: %d stamps are kept, want %d", what, got, n)
		}
	}
	for i := range 1000 {
		if _, err := s.Raise(ctx, "clock", []string{strconv.Itoa(i)}, i%2 == 0, 0, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	want("purges of what nobody has stored", 0)
	fillOf(t, s, "a", time.Hour, "1", "2")
	fillOf(t, s, "b", time.Hour, "2", "3")
	want("two entries", 3)
	fillOf(t, s, "a", time.Hour, "4")
	want("one was replaced", 3)
	if err := s.Delete(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	want("one was deleted", 1)
	if err := s.Set(ctx, "a", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	want("one was replaced by what has no tags", 0)
	for i := range 20_000 {
		fillOf(t, s, strconv.Itoa(i), time.Hour, "of "+strconv.Itoa(i))
	}
	if n := s.Stamped(); n > 4000 {
		t.Errorf("%d stamps are kept in a store of 1 MiB", n)
	}
}

func BenchmarkStamps(b *testing.B) {
	s := open(b, 1<<20)
	ctx := context.Background()
	keys := []string{"some:key:of:ours", "another:key:of:ours"}
	fillOf(b, s, "k", time.Hour, keys...)
	dst := make([]store.Stamp, 0, 8)
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
	fillOf(t, s, "k", time.Hour, keys...)
	want, err := s.Stamps(ctx, nil, keys)
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
		if got, _, _, found := s.LocalStamps(nil, keys); !found || got[0] != want[0] || got[1].Soft != n.Seq {
			t.Errorf("soft %v: %v, %v", soft, got, found)
		}
	}
	if got, _, _, found := s.LocalStamps(got, []string{"a", "lost"}); found || len(got) != 2 {
		t.Errorf("with one that is not there: %v", got)
	}
}
