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

func BenchmarkHot(b *testing.B) {
	h := newHot(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		h.again("some:key:of:ours:that:is:long:enough")
	}
}
