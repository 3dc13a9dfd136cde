package protocol

// purger is a purge under way, which comes after a change of the database.
type purger struct {
	phase   purgePhase
	version uint8   // in the database when it began
	bumped  bool    // of a URL: the tag
	deleted bool    // the keys
	old     journal // as the process knows it
	wrote   uint8   // the tick then
}

type purgePhase uint8

const (
	changing purgePhase = iota
	purging
	waitingForCopies
	purged
)

func (p purge) tag() uint8 {
	switch p {
	case ofA, ofASoftly:
		return tagA
	case ofB:
		return tagB
	default:
		return tagNone
	}
}

// purger emits what a purge may do next.
func (m *model) purger(s *state, i int, emit emit) {
	what, w := m.purges[i], s.purgers[i]
	if w.phase == purged || m.inTurn && i > 0 && s.purgers[i-1].phase != purged {
		return
	}
	switch {
	case w.phase == changing:
	case what == ofURL:
		m.purgeURL(s, i, emit)
		return
	case what == ofAll || what == ofPrefix:
		m.purgeJournal(s, i, emit)
		return
	}
	n := *s
	q := &n.purgers[i]
	if w.phase == changing {
		if what != ofNone && what != ofPrefix {
			n.database++
		}
		q.version, q.phase = n.database, purging
		if what == noPurge {
			*q = purger{phase: purged}
		}
		emit(&n, "purge %d begins: version %d", i+1, n.database)
		return
	}
	tag := what.tag()
	n.bumped(tag, m.bump(&n.server, tag, what == ofASoftly).seq, i%processes)
	m.acknowledge(&n, i)
	emit(&n, "purge %d of tag %d is acknowledged: clock %v, stamps %v, ring %v", i+1, tag, n.clock, n.stamps, n.ring)
}

// bumped takes note of a purge of a tag by a process.
func (s *state) bumped(tag, seq uint8, process int) {
	if tag < maxTags {
		s.purged[tag] = seq
		s.p[process].stamps[tag] = copied[stamp]{}
	}
}

// acknowledge ends a purge, which promises something from then on.
func (m *model) acknowledge(s *state, i int) {
	version := s.purgers[i].version
	switch m.purges[i] {
	case ofNone, ofPrefix:
	case ofASoftly:
		s.soft = max(s.soft, version)
	default:
		s.hard, s.soft = max(s.hard, version), max(s.soft, version)
	}
	s.purgers[i] = purger{phase: purged}
}

// purgeURL bumps the tag of the URL and deletes the keys, side by side.
func (m *model) purgeURL(s *state, i int, emit emit) {
	w, process := s.purgers[i], i%processes
	finish := func(n *state) {
		if q := &n.purgers[i]; q.bumped && q.deleted || m.without == purgeIsBoth {
			m.acknowledge(n, i)
		}
	}
	if !w.bumped {
		n := *s
		n.bumped(tagURL, m.bump(&n.server, tagURL, false).seq, process)
		n.purgers[i].bumped = true
		finish(&n)
		emit(&n, "purge %d bumps the URL's tag: clock %v, stamps %v", i+1, n.clock, n.stamps)
	}
	if !w.deleted {
		n := *s
		n.values[0] = value{}
		n.p[process].values[0] = copied[value]{}
		if m.without != purgeDeletesLock {
			n.excuse(0, n.locks[0])
			n.locks[0] = 0
		}
		n.purgers[i].deleted = true
		finish(&n)
		emit(&n, "purge %d deletes value and lock", i+1)
	}
}

// purgeJournal writes the journal, and waits until nobody uses an older copy.
func (m *model) purgeJournal(s *state, i int, emit emit) {
	w, process := s.purgers[i], i%processes
	all := m.purges[i] == ofAll
	if w.phase == waitingForCopies && s.ticks < w.wrote+waits {
		return
	}
	n := *s
	q := &n.purgers[i]
	switch {
	case w.phase == waitingForCopies:
		m.acknowledge(&n, i)
		emit(&n, "purge %d is acknowledged", i+1)
	case !w.old.there:
		if l := s.p[process].lease; l.there {
			q.old = l.journal
		} else {
			q.old = m.readJournal(&n.server)
		}
		emit(&n, "purge %d has the journal %v", i+1, q.old)
	default:
		j, written := m.writeJournal(&n.server, w.old, all)
		q.old = j
		if written {
			q.old, q.phase, q.wrote = journal{}, waitingForCopies, s.ticks
			n.p[process].lease, n.p[process].reading, n.p[process].readSince = lease{}, false, 0
			if all {
				n.everything = n.clock.seq
			}
			if m.without == purgeWaits {
				m.acknowledge(&n, i)
			}
		}
		emit(&n, "purge %d writes the journal %v: %v", i+1, j, written)
	}
}
