package cacheaside

import (
	"strconv"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

// TestFatesOfFew: what has become of a few keys is known for all of them.
func TestFatesOfFew(t *testing.T) {
	now := time.Unix(1e9, 0)
	for round := range 50 {
		var f fates
		const n = 100
		key := func(i int) string { return strconv.Itoa(round) + "." + strconv.Itoa(i) }
		if why := f.why(key(0), now); why != observe.CauseCold {
			t.Fatalf("of nothing: %v", why)
		}
		f.forget(key(0))
		for i := range n {
			f.set(key(i), now.Add(time.Duration(i%2)*time.Hour))
			switch i % 4 {
			case 2:
				f.purged(key(i))
			case 3:
				f.forget(key(i))
			}
		}
		for i := range n {
			want := []observe.Cause{observe.CauseExpired, observe.CauseLost, observe.CausePurged, observe.CauseCold}[i%4]
			if why := f.why(key(i), now); why != want {
				t.Errorf("%s: %v, not %v", key(i), why, want)
			}
		}
	}
}

// TestFatesBounded: of many keys the last ones are known, and no more than there is room for.
func TestFatesBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	var f fates
	const n = 4 * fateSlots
	for i := range n {
		f.set(strconv.Itoa(i), now)
		if why := f.why(strconv.Itoa(i), now); why != observe.CauseExpired {
			t.Fatalf("%d, just set: %v", i, why)
		}
	}
	known := 0
	for i := range n {
		if f.why(strconv.Itoa(i), now) != observe.CauseCold {
			known++
		}
	}
	if known < fateSlots*9/10 || known > fateSlots+10 { // two keys may share all of their hash
		t.Errorf("%d of %d keys are known in %d places", known, n, fateSlots)
	}
}
