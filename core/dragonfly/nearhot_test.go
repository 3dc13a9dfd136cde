package dragonfly

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestOldDragonfly(t *testing.T) {
	for version, want := range map[string]bool{
		"df-v1.40.1": false, "df-v1.40.2": false, "v1.41.0": false, "df-v2.0.0": false, "df-v1.40.1-abc": false,
		"df-v1.40.0": true, "df-v1.40.0-abc": true, "v1.39.9": true, "df-v0.99.99": true,
		"df-dev-000000": false, "": false,
	} {
		if got := oldDragonfly(version); got != want {
			t.Errorf("%q is old: %v", version, got)
		}
	}
}

func TestHot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHot(50 * time.Millisecond)
		if h.again("a") {
			t.Error("the first read is hot")
		}
		if !h.again("a") {
			t.Error("the second read is not hot")
		}
		if h.again("a") {
			t.Error("the third read is hot again")
		}
		time.Sleep(80 * time.Millisecond)
		if h.again("a") {
			t.Error("a read long after the last is hot")
		}
	})
	h := newHot(time.Hour)
	for i := range 10 * hotSlots {
		if h.again(fmt.Sprint(i)) {
			t.Errorf("%d, read once, is hot", i)
		}
	}
}

// TestHotTogether: keys that are read one after the other, again and again, do not keep one
// another from being noticed, whichever slots they share.
func TestHotTogether(t *testing.T) {
	h := newHot(time.Hour)
	for group := range 200 { // of as many keys as an entry has tags
		missed := map[string]bool{}
		for i := range 50 {
			missed[fmt.Sprint(group, "-", i)] = true
		}
		for range 8 {
			for i := range 50 {
				if key := fmt.Sprint(group, "-", i); missed[key] && h.again(key) {
					delete(missed, key)
				}
			}
		}
		if len(missed) > 0 {
			t.Errorf("never hot: %v", missed)
		}
	}
}

func BenchmarkHot(b *testing.B) {
	h := newHot(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		h.again("some:key:of:ours:that:is:long:enough")
	}
}
