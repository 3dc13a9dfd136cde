package purges

import (
	"testing"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/store"
)

// TestOutlives: an entry outlives what was purged hard before it was made. A soft purge
// after that is noted, the first of several.
func TestOutlives(t *testing.T) {
	e := &entry.Entry{Meta: entry.Meta{Epoch: 1, Stamp: 10}}
	for _, c := range []struct {
		name   string
		stamps []store.Stamp
		want   bool
		soft   uint64
	}{
		{"nothing purged since", []store.Stamp{{Epoch: 1, Hard: 9, Soft: 9}, {Epoch: 1, Hard: 10, Soft: 10, SoftAt: 7}}, true, 0},
		{"purged since", []store.Stamp{{Epoch: 1, Hard: 9, Soft: 9}, {Epoch: 1, Hard: 11, Soft: 11}}, false, 0},
		{"another epoch", []store.Stamp{{Epoch: 2, Hard: 9, Soft: 9}}, false, 0},
		{"no stamp", []store.Stamp{{}}, false, 0},
		{"softly", []store.Stamp{{Epoch: 1, Hard: 9, Soft: 11, SoftAt: 700}}, true, 700},
		{"softly, who knows when", []store.Stamp{{Epoch: 1, Hard: 9, Soft: 11}}, true, 1},
		{"softly twice", []store.Stamp{{Epoch: 1, Hard: 9, Soft: 12, SoftAt: 800}, {Epoch: 1, Hard: 9, Soft: 11, SoftAt: 700}, {Epoch: 1, Hard: 9, Soft: 13, SoftAt: 900}}, true, 700},
	} {
		var check Check
		if got := check.outlivesAll(e, c.stamps); got != c.want || got && check.Soft != c.soft {
			t.Errorf("%s: %t, softly at %d; want %t, %d", c.name, got, check.Soft, c.want, c.soft)
		}
	}
}

func TestResetKeepsMemory(t *testing.T) {
	c := Check{Soft: 1, Known: &noTags, Stamps: make([]store.Stamp, 3, 8)}
	if c.Reset(); c.Soft != 0 || c.Known != nil || len(c.Stamps) != 0 || cap(c.Stamps) != 8 {
		t.Errorf("%+v, with room for %d stamps", c, cap(c.Stamps))
	}
}
