package memory

// index finds the stamps of a shard by their hashes. It is not a map because a store
// has a bound: a map keeps its size when most of it is gone, and may double while as
// much goes as comes. This one has a slot for each stamp to four, whatever was before.
type index struct {
	slots []*stamp // chains; a power of two of them
	n     int      // stamps
}

const minSlots = 8

func (x *index) slot(hash uint64) **stamp {
	return &x.slots[hash/shards%uint64(len(x.slots))]
}

func (x *index) find(hash uint64) *stamp {
	if x.n == 0 {
		return nil
	}
	st := *x.slot(hash)
	for st != nil && st.hash != hash {
		st = st.next
	}
	return st
}

// add enters a stamp that is not there.
func (x *index) add(st *stamp) {
	if x.n++; x.n > len(x.slots) {
		x.resize(max(2*len(x.slots), minSlots))
	}
	x.push(st)
}

// push puts a stamp in front of its chain.
func (x *index) push(st *stamp) {
	first := x.slot(st.hash)
	st.next, *first = *first, st
}

// remove takes out a stamp that is there.
func (x *index) remove(st *stamp) {
	at := x.slot(st.hash)
	for *at != st {
		at = &(*at).next
	}
	*at, st.next = st.next, nil
	if x.n--; x.n < len(x.slots)/4 && len(x.slots) > minSlots {
		x.resize(len(x.slots) / 2)
	}
}

func (x *index) resize(slots int) {
	old := x.slots
	x.slots = make([]*stamp, slots)
	for _, st := range old {
		for st != nil {
			next := st.next
			x.push(st)
			st = next
		}
	}
}

// all calls f with each stamp.
func (x *index) all(f func(*stamp)) {
	for _, st := range x.slots {
		for ; st != nil; st = st.next {
			f(st)
		}
	}
}
