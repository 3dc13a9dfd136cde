package protocol

// environment emits what may happen at any time.
func (m *model) environment(s *state, emit emit) {
	if m.over(s) {
		return
	}
	if s.evictions > 0 {
		for _, kind := range m.evict {
			m.evictions(s, kind, emit)
		}
	}
	for at, v := range s.values {
		if v.kind == response && !v.old && s.expiries > 0 {
			n := *s
			n.values[at].old = true
			n.expiries--
			emit(&n, "value %d is not fresh any more", at)
		}
	}
	if s.late != 0 {
		n := *s
		m.take(&n.server, 0, s.late)
		n.late = 0
		emit(&n, "the SET of token %d arrives: the lock has %d", s.late, n.locks[0])
	}
	if m.journaled() {
		m.leases(s, emit)
	}
	if m.near {
		m.nearTier(s, emit)
	}
}

// evictions emits what is left after an eviction: of (v)alues, (l)ocks, the (c)lock,
// (s)tamps, the (r)ing, the (j)ournal, or (e)verything.
func (m *model) evictions(s *state, kind rune, emit emit) {
	gone := func(what string, f func(n *state)) {
		n := *s
		f(&n)
		if n != *s {
			n.evictions--
			n.evicted = true
			emit(&n, "%s is evicted", what)
		}
	}
	switch kind {
	case 'v':
		gone("the value", func(n *state) { n.values[0] = value{} })
		gone("the variant", func(n *state) { n.values[1] = value{} })
	case 'l':
		gone("the lock", func(n *state) { n.locks[0] = 0 })
		gone("the other lock", func(n *state) { n.locks[1] = 0 })
	case 'c':
		gone("the clock", func(n *state) { n.clock = clock{} })
	case 's':
		for tag := range s.stamps {
			gone("a stamp", func(n *state) { n.stamps[tag] = stamp{} })
		}
	case 'r':
		gone("the ring", func(n *state) { n.ring, n.ringLen = [maxRing]element{}, 0 })
	case 'j':
		gone("the journal", func(n *state) { n.journal = journal{} })
	case 'e':
		gone("everything", func(n *state) { n.server = server{epochs: n.epochs} })
	}
}

// leases emits how processes read the journal, and how time passes.
func (m *model) leases(s *state, emit emit) {
	for i, p := range s.p {
		switch {
		case !m.uses(i):
		case p.reading:
			n := *s
			q := &n.p[i]
			*q = p
			q.lease = lease{m.readJournal(&n.server), p.readSince}
			q.reading, q.readSince = false, 0
			emit(&n, "process %d has the journal: %v", i+1, q.lease)
		case !p.lease.there || p.lease.from < s.ticks:
			n := *s
			n.p[i].reading, n.p[i].readSince = true, s.ticks
			emit(&n, "process %d asks for the journal", i+1)
		}
	}
	if s.ticks < m.ticks {
		n := *s
		n.ticks++
		emit(&n, "time passes: %d", n.ticks)
	}
}

func (m *model) uses(process int) bool {
	for _, r := range m.requests {
		if int(r.process) == process {
			return true
		}
	}
	return false
}

// nearTier emits how copies come to process 0, and go.
func (m *model) nearTier(s *state, emit emit) {
	p := &s.p[0]
	for at, c := range p.values {
		switch v := s.values[at]; {
		case c.due:
			n := *s
			n.p[0].values[at] = copied[value]{}
			emit(&n, "word comes that value %d has changed", at)
		case c.there || v.kind == nothing:
		case m.without == nearTracked && !p.hand.there && at == 0:
			n := *s
			n.p[0].hand = copied[value]{there: true, what: v}
			emit(&n, "process 1 reads the value for its near tier")
		case m.without != nearTracked:
			n := *s
			n.p[0].values[at] = copied[value]{there: true, what: v}
			emit(&n, "value %d is in the near tier", at)
		}
	}
	if p.hand.there {
		n := *s
		n.p[0].values[0], n.p[0].hand = p.hand, copied[value]{}
		emit(&n, "what was read comes to the near tier")
	}
	for tag, c := range p.stamps {
		switch st := s.stamps[tag]; {
		case c.due:
			n := *s
			n.p[0].stamps[tag] = copied[stamp]{}
			emit(&n, "word comes that the stamp of tag %d has changed", tag)
		case !c.there && st.there:
			n := *s
			n.p[0].stamps[tag] = copied[stamp]{there: true, what: st}
			emit(&n, "the stamp of tag %d is in the near tier", tag)
		}
	}
}

// hear has processes learn what has changed from before to next. One with a near tier
// has heard of a purge when word of all that has changed has come.
func (m *model) hear(before, next *state) {
	for i := range next.p {
		p, due := &next.p[i], false
		for at := range p.values {
			if c := &p.values[at]; c.there {
				c.due = c.due || before.values[at] != next.values[at]
				due = due || c.due
			}
		}
		for tag := range p.stamps {
			if c := &p.stamps[tag]; c.there {
				c.due = c.due || before.stamps[tag] != next.stamps[tag]
				due = due || c.due
			}
		}
		if !due {
			p.hard, p.soft = next.hard, next.soft
		}
	}
}
