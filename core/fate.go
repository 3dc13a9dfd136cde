package cacheaside

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

// fates remembers what has become, or will become, of what this process has stored, so
// that it can say why nothing is there any more. It may forget at any time, and says
// nothing of what other processes have done.
type fates struct {
	sets atomic.Pointer[[fateSlots / fateWays]fateSet]
}

// fateSet has a slot for each of the keys that share a hash. Its upper half is of the
// hash, the lower one the key's moment; 0 is a free slot.
type fateSet [fateWays]atomic.Uint64

const (
	// fateSlots is for how many keys something is remembered: 256 KiB.
	fateSlots = 1 << 15
	// fateWays is for how many keys that share a hash.
	fateWays = 4
	// fatePurged is the moment of what was purged.
	fatePurged = 1
	// fateUnit is what moments are counted in.
	fateUnit = 64 * time.Millisecond
)

var fateSeed = maphash.MakeSeed()

// set remembers until when something is stored under a key.
func (f *fates) set(key string, until time.Time) { f.put(key, moment(until)) }

// purged remembers that what was under a key was purged.
func (f *fates) purged(key string) { f.put(key, fatePurged) }

// forget is for what was removed for another reason.
func (f *fates) forget(key string) {
	if set, tag := f.of(key); set != nil {
		if slot, _ := set.find(tag); slot != nil {
			slot.Store(0)
		}
	}
}

func (f *fates) put(key string, moment uint32) {
	if f.sets.Load() == nil {
		f.sets.CompareAndSwap(nil, new([fateSlots / fateWays]fateSet))
	}
	set, tag := f.of(key)
	slot, _ := set.find(tag)
	if slot == nil {
		slot = set.free(tag)
	}
	slot.Store(uint64(tag)<<32 | uint64(moment))
}

// of is where a key is, and by what it is known there; nil: nothing was put yet.
func (f *fates) of(key string) (set *fateSet, tag uint32) {
	sets := f.sets.Load()
	if sets == nil {
		return nil, 0
	}
	h := maphash.String(fateSeed, key)
	return &sets[h%uint64(len(sets))], uint32(h >> 32)
}

// find returns the slot of a key, and its moment.
func (s *fateSet) find(tag uint32) (slot *atomic.Uint64, moment uint32) {
	for i := range s {
		if at := s[i].Load(); at != 0 && uint32(at>>32) == tag {
			return &s[i], uint32(at)
		}
	}
	return nil, 0
}

// free is a slot that is free, or becomes so.
func (s *fateSet) free(tag uint32) *atomic.Uint64 {
	for i := range s {
		if s[i].Load() == 0 {
			return &s[i]
		}
	}
	return &s[tag%fateWays]
}

// why says why nothing is under a key.
func (f *fates) why(key string, now time.Time) observe.Cause {
	set, tag := f.of(key)
	if set == nil {
		return observe.CauseCold
	}
	slot, until := set.find(tag)
	switch {
	case slot == nil:
		return observe.CauseCold
	case until == fatePurged:
		return observe.CausePurged
	case int32(moment(now)-until) >= -4: // the clock of a server may be ahead
		return observe.CauseExpired
	}
	return observe.CauseLost
}

// moment is good for comparisons within four years.
func moment(t time.Time) uint32 { return uint32(t.UnixMilli()/fateUnit.Milliseconds()) | 2 }
