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
	slots atomic.Pointer[[fateSlots]atomic.Uint64]
}

const (
	// fateSlots is for how many keys something is remembered: 256 KiB. The upper half of
	// a slot is of the key's hash, the lower one its moment, which is never 0.
	fateSlots = 1 << 15
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
	if f.slots.Load() != nil {
		f.put(key, 0)
	}
}

func (f *fates) put(key string, moment uint32) {
	slots := f.slots.Load()
	if slots == nil {
		f.slots.CompareAndSwap(nil, new([fateSlots]atomic.Uint64))
		slots = f.slots.Load()
	}
	h := maphash.String(fateSeed, key)
	slots[h%fateSlots].Store(h>>32<<32 | uint64(moment))
}

// why says why nothing is under a key.
func (f *fates) why(key string, now time.Time) observe.Cause {
	slots := f.slots.Load()
	if slots == nil {
		return observe.CauseCold
	}
	h := maphash.String(fateSeed, key)
	at := slots[h%fateSlots].Load()
	switch until := uint32(at); {
	case at>>32 != h>>32 || until == 0:
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
