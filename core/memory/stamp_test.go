package memory_test

import (
	"context"
	"testing"
	"time"
)

// TestLocalStamps: what was read of stamps is good until one is bumped.
func TestLocalStamps(t *testing.T) {
	s := open(t, 1<<20)
	ctx, keys := context.Background(), []string{"a", "b"}
	if got, _, _, found := s.LocalStamps(nil, keys); found || len(got) != 0 {
		t.Errorf("before there are any: %v", got)
	}
	put(t, s, "an entry", nil, time.Hour, keys...)
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
		n, err := s.Bump(ctx, "clock", keys[1:], soft, 0, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if s.StampMark() == mark {
			t.Errorf("soft %v: a stamp was bumped, and the mark is the same", soft)
		}
		if got, _, _, found := s.LocalStamps(nil, keys); !found || got[0] != want[0] || got[1].Soft != n.Seq {
			t.Errorf("soft %v: %v, %v", soft, got, found)
		}
	}
	if got, _, _, found := s.LocalStamps(got, []string{"a", "lost"}); found || len(got) != 2 {
		t.Errorf("with one that is not there: %v", got)
	}
}
