package prom

import "testing"

// Who comes second for the same series takes no more room, and there is no room beyond the
// bound.
func TestBound(t *testing.T) {
	b := new(bound)
	b.left.Store(2)
	begun := map[string]int{}
	begin := func(series string) bool {
		return b.begin(func() bool { return begun[series] > 0 }, func() { begun[series]++ })
	}
	for _, step := range []struct {
		series string
		room   bool
	}{{"a", true}, {"a", true}, {"b", true}, {"c", false}, {"a", true}, {"c", false}} {
		if begin(step.series) != step.room {
			t.Errorf("%s: not %v", step.series, step.room)
		}
	}
	if begun["a"] != 1 || begun["b"] != 1 || begun["c"] != 0 || b.beyond.Load() != 2 {
		t.Errorf("%v were begun, %d times there was no room", begun, b.beyond.Load())
	}
}
