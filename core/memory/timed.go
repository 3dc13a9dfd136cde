package memory

// timed is a small map whose entries expire, for what must not compete with
// values for their room. It is not safe for concurrent use.
type timed[V any] struct {
	entries map[string]timedEntry[V]
	// soonest is not after the expiry of any entry; sweeping earlier is in vain.
	soonest int64
	sweepAt int // the size at which the expired are looked for
}

type timedEntry[V any] struct {
	value   V
	expires int64 // in nanoseconds of the store's clock
}

const firstSweep = 64

func (t *timed[V]) get(key string, now int64) (V, bool) {
	e, ok := t.entries[key]
	if !ok || now >= e.expires {
		var zero V
		return zero, false
	}
	return e.value, true
}

// put reports whether there was room below bound.
func (t *timed[V]) put(key string, value V, now, expires int64, bound int) bool {
	if t.entries == nil {
		t.entries, t.soonest, t.sweepAt = map[string]timedEntry[V]{}, expires, firstSweep
	}
	if _, ok := t.entries[key]; !ok {
		if len(t.entries) >= min(t.sweepAt, bound) && now >= t.soonest {
			t.sweep(now)
			// Twice what is left, so that a sweep is paid for by as many puts.
			t.sweepAt = max(firstSweep, 2*len(t.entries))
		}
		if len(t.entries) >= bound {
			return false
		}
	}
	t.soonest = min(t.soonest, expires)
	t.entries[key] = timedEntry[V]{value, expires}
	return true
}

func (t *timed[V]) sweep(now int64) {
	t.soonest = 1<<63 - 1
	for key, e := range t.entries {
		if now >= e.expires {
			delete(t.entries, key)
		} else {
			t.soonest = min(t.soonest, e.expires)
		}
	}
}

// drop removes n entries, whichever.
func (t *timed[V]) drop(n int) {
	for key := range t.entries {
		if n--; n < 0 {
			return
		}
		delete(t.entries, key)
	}
}
