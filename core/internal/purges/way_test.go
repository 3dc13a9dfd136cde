package purges

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestSearches: a way with a No-Vary-Search counts from when it came into the journal, and
// where there are enough of them no other one comes in, nor goes.
func TestSearches(t *testing.T) {
	way := NewWay(false, nil, nil).Searching(`params=("0")`)
	l, _, e := filled(t, way)
	now := time.Now()
	announced := func(w *Way, epoch, seq uint64) bool { return l.Announced(t.Context(), w, epoch, seq, now) }
	switch {
	case !announced(way, e.Epoch, e.Stamp), !announced(NewWay(false, nil, nil).Searching(`params=("0")`), e.Epoch, e.Stamp):
		t.Error("it is not there")
	case announced(way, e.Epoch, 0):
		t.Error("it was there before")
	case announced(way, e.Epoch+1, e.Stamp):
		t.Error("it was there in another epoch")
	case announced(NewWay(false, nil, nil), e.Epoch, e.Stamp), announced(NewWay(true, nil, nil).Searching(`params=("0")`), e.Epoch, e.Stamp):
		t.Error("another one is there")
	}
	for i := range maxSearches + 2 {
		other := NewWay(false, nil, nil).Searching(fmt.Sprintf(`params=("%d")`, i))
		if err := l.Announce(t.Context(), other); errors.Is(err, ErrFull) != (i >= maxSearches) {
			t.Errorf("number %d: %v", i, err)
		}
		if err := l.Announce(t.Context(), way); err != nil {
			t.Errorf("one that is there: %v", err)
		}
	}
	if err := l.Announce(t.Context(), NewWay(true, nil, nil)); err != nil {
		t.Errorf("one of a policy: %v", err)
	}
	if !announced(way, e.Epoch, e.Stamp) {
		t.Error("it is gone")
	}
	for i := range maxWays {
		if err := l.Announce(t.Context(), NewWay(true, nil, []string{fmt.Sprint(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Announce(t.Context(), way); !errors.Is(err, ErrFull) {
		t.Errorf("one drops a policy's: %v", err)
	}
}
