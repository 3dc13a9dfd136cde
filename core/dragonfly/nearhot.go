package dragonfly

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// hotSlots are 128 KiB.
const hotSlots = 1 << 14

// hot remembers which keys were read last, in a table of fixed size: half of a key's hash
// and the time in ms. It takes two loads and one store and no lock. A key has two slots,
// and takes the one that was written first, so that no two keys push each other out for
// good. At 100,000 cold reads a second a key must come again within about 160 ms to be
// noticed. That is what is wanted: the busier the process, the hotter a key must be. A key
// missed or, once in 2^31, mistaken costs a read.
type hot struct {
	slots  [hotSlots]atomic.Uint64
	seed   maphash.Seed
	start  time.Time
	within uint32
}

func newHot(within time.Duration) *hot {
	return &hot{seed: maphash.MakeSeed(), start: time.Now(), within: uint32(within.Milliseconds())}
}

// again reports whether key was here within the time, and forgets it if so.
func (h *hot) again(key string) bool {
	sum := maphash.String(h.seed, key)
	now := uint32(time.Since(h.start).Milliseconds()) + 1
	var older *atomic.Uint64
	var age uint32
	for _, i := range [2]uint64{sum % hotSlots, sum >> 14 % hotSlots} {
		slot := &h.slots[i]
		last := slot.Load()
		ago := now - uint32(last)
		if last>>32 == sum>>32 && last != 0 && ago <= h.within {
			slot.Store(0)
			return true
		}
		if older == nil || ago > age {
			older, age = slot, ago
		}
	}
	older.Store(sum>>32<<32 | uint64(now))
	return false
}
