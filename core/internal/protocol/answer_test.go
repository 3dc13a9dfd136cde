package protocol

// valid reports whether what a request has read may be served, stale at least.
func (m *model) valid(r *request) bool {
	r.flags &^= softly
	if r.read.kind != response || r.flags&invalid != 0 {
		return false
	}
	for tag := range uint8(maxTags) {
		if r.read.tags&(1<<tag) == 0 {
			continue
		}
		st := r.stamps[tag]
		switch {
		case !st.there && m.without == stampIsThere:
			continue
		case !st.there, st.epoch != r.read.epoch && m.without != epochIsSame, st.hard > r.read.seq:
			return false
		case st.soft > r.read.seq:
			r.flags |= softly
		}
	}
	return true
}

// answered goes on when all answers to a request are there.
func (m *model) answered(n *state, i int, emit emit, format string, args []any) {
	r := &n.requests[i]
	if r.phase == beginning {
		m.decide(n, i)
		emit(n, format, args...)
		return
	}
	process := &n.p[m.requests[i].process]
	ok := m.valid(r)
	switch {
	case r.read.kind == record && r.at == 0 && !r.fell:
		process.varied = true
		m.lookAt(r, 1)
		emit(n, format, args...)
		return
	case r.at == 1 && !ok && !r.fell && !m.requests[i].aside && process.varied:
		// Perhaps it does not vary any more.
		m.lookAt(r, 0)
		r.fell = true
		emit(n, format, args...)
		return
	case r.at == 0 && r.read.kind == response && r.fell:
		process.varied = false
	}
	fresh := ok && !r.read.old && r.flags&softly == 0
	if ok {
		r.candidate = r.read.version + 1
	}
	version := r.read.version
	r.read, r.stamps, r.flags = value{}, [maxTags]stamp{}, r.flags&own
	switch {
	case m.requests[i].how == behind:
		r.phase = calling
		emit(n, format, args...)
		if fresh { // perhaps it is newer than what was to be renewed
			r.flags, r.version, r.phase = r.flags|found, version, ending
			emit(n, format, args...)
		}
	case fresh:
		m.serve(n, i, version, false)
		emit(n, format, args...)
	case ok:
		r.phase = joining
		emit(n, format, args...)
		m.serve(n, i, version, true)
		emit(n, format, args...)
	default:
		r.phase = joining
		emit(n, format, args...)
	}
}

// lookAt has a request look at the primary key, 0, or that of the variant.
func (m *model) lookAt(r *request, at uint8) {
	r.read, r.stamps, r.flags, r.at, r.todo = value{}, [maxTags]stamp{}, r.flags&own, at, getValue
	if m.anyOrder {
		r.todo |= getStamps & todo(m.mayHave()<<1)
	}
}

// serve answers a request.
func (m *model) serve(s *state, i int, version uint8, stale bool) {
	r := &s.requests[i]
	if version < r.hard || !stale && version < r.soft {
		s.wrong = safety
	}
	over(s, i)
}

// decide goes on when the lock has been asked for, and what was stored meanwhile.
func (m *model) decide(s *state, i int) {
	r, asks := &s.requests[i], m.requests[i]
	if r.todo != 0 {
		return
	}
	if r.flags&second != 0 {
		ok := m.valid(r)
		version, fresh := r.read.version, !r.read.old && r.flags&softly == 0
		r.flags, r.read, r.stamps = r.flags&^(second|invalid|softly), value{}, [maxTags]stamp{}
		if ok && fresh {
			if version < r.hard || version < r.soft {
				s.wrong = safety
			}
			r.flags, r.version, r.phase = r.flags|found, version, ending
			return
		}
		if ok {
			r.candidate = version + 1
		}
	}
	switch {
	case r.flags&held != 0 && asks.how == behind:
		r.more, r.phase = r.more|failed, ending
	case r.flags&held != 0 && asks.how != alone:
		r.flags &^= held
		if r.polls++; r.polls > m.polls {
			r.more |= adopts
		}
		m.begin(s, i, true)
	case asks.how == behind:
		if isNote(r.token) {
			r.more, r.phase = r.more|personal, ending
			return
		}
		s.note(i, beforeLook)
		r.phase = looking
		m.lookAt(r, r.lock)
		r.fell = true
	default:
		if isNote(r.token) { // nobody is to wait
			m.pass(s, i)
		}
		r.phase = calling
	}
}

// pass ends a flight of which nobody gets anything: all run the handler themselves,
// which is always right.
func (m *model) pass(s *state, i int) {
	m.leave(s, i)
	for k := range s.requests {
		if f := &s.requests[k]; f.phase == waiting && f.leader == uint8(i+1) {
			over(s, k)
		}
	}
}

func (m *model) leave(s *state, i int) {
	if flight := &s.p[m.requests[i].process].flights[s.requests[i].lock]; *flight == uint8(i+1) {
		*flight = 0
	}
}

// handler emits what the handler may do, which looks at the database.
func (m *model) handler(s *state, i int, emit emit) {
	n := *s
	r := &n.requests[i]
	r.version = s.database
	n.note(i, beforeReturn)
	if m.passes {
		n := n
		n.requests[i].more |= personal
		n.requests[i].phase = ending
		emit(&n, "%d's handler gives what is for nobody else", i+1)
	}
	if m.fails {
		n := n
		n.requests[i].more |= failed
		n.requests[i].phase = ending
		emit(&n, "%d's handler fails", i+1)
	}
	freshened := r.candidate == r.version+1
	if freshened && m.without == freshenedHasToken {
		r.more |= anyhow
	}
	r.candidate, r.tags = 0, m.tags
	if m.varied(r.version) && m.without != variantHasURL || r.lock != 0 && m.without != asideHasURL && m.without != variantHasURL {
		r.tags |= 1 << tagURL
	}
	switch {
	case r.token == 0 && r.more&anyhow == 0:
		r.phase = ending
	case m.journaled():
		r.phase = checking
	default:
		m.toStore(r)
	}
	emit(&n, "%d's handler has version %d (a 304: %v)", i+1, r.version, freshened)
}

// toStore begins to settle tags, and to write, in no order.
func (m *model) toStore(r *request) {
	r.phase, r.todo = storing, doWrite
	if r.tags != 0 {
		r.todo |= doSettle
	}
}

// store emits the next of both.
func (m *model) store(s *state, i int, emit emit) {
	r, p := s.requests[i], m.requests[i].process
	first := r.todo == doSettle|doWrite || r.tags == 0
	if first && m.without == sinceBefore {
		late := *s
		m.time(&late.server)
		late.requests[i].since = late.mark()
		s, r = &late, late.requests[i]
	}
	each := func(t todo, f func(n *state, q *request)) state {
		n := *s
		q := &n.requests[i]
		if first && !m.journaled() {
			n.note(i, beforeStore)
		}
		if q.todo &^= t; q.todo == 0 {
			n.note(i, beforeLast)
			q.phase = ending
		}
		f(&n, q)
		return n
	}
	if r.todo&doSettle != 0 {
		n := each(doSettle, func(n *state, q *request) {
			purged, late := m.settle(&n.server, r.tags, r.since)
			n.settled = true
			if purged {
				q.more |= refused
				if m.groundless(s, &r) {
					n.wrong = liveness
				}
			} else if !n.stampsOf(r.tags, r.since.epoch) {
				n.wrong = liveness
			}
			if late {
				q.flags |= outdated
			}
			for tag := range n.p[p].stamps { // nobody in this process sees what was before
				if r.tags&(1<<tag) != 0 {
					n.p[p].stamps[tag] = copied[stamp]{}
				}
			}
		})
		emit(&n, "%d settles its tags since %v: refused %v; stamps %v, clock %v, ring %v", i+1, r.since, n.requests[i].more&refused != 0, n.stamps, n.clock, n.ring)
	}
	if r.todo&doWrite != 0 {
		n := each(doWrite, func(n *state, q *request) {
			v := value{response, r.version, r.since.epoch, r.since.seq, r.tags, false}
			varied := m.varied(r.version)
			under := n.locks[r.lock]
			if m.write(&n.server, r.lock, r.token, v, varied, r.more&anyhow != 0 || m.without == writeCompares) {
				n.excuse(r.lock, under)
				q.flags |= stored
				n.p[p].varied = varied
				n.p[p].values = [2]copied[value]{}
				return
			}
			if !s.evicted && !s.lost && r.more&excused == 0 {
				n.wrong = liveness
			}
		})
		emit(&n, "%d writes version %d with token %d, the lock has %d: stored %v", i+1, r.version, r.token, s.locks[r.lock], n.requests[i].flags&stored != 0)
	}
}

// stampsOf reports whether the stamps of tags are of an epoch.
func (s *server) stampsOf(tags, epoch uint8) bool {
	for tag, st := range s.stamps {
		if tags&(1<<tag) != 0 && st.epoch != epoch {
			return false
		}
	}
	return true
}

// groundless reports whether a fill is refused though nothing of its own was purged, and
// the server can know that.
func (m *model) groundless(s *state, r *request) bool {
	if s.evicted || m.length > 0 && int(s.clock.seq-r.since.seq) > m.length {
		return false
	}
	for tag, n := range s.purged {
		if r.tags&(1<<tag) != 0 && n > r.since.seq {
			return false
		}
	}
	return true
}

// end ends the flight of a request: who waits gets what is good for it, or looks again.
func (m *model) end(s *state, i int) {
	r := s.requests[i]
	if r.more&personal != 0 {
		m.pass(s, i)
	}
	m.leave(s, i)
	for k := range s.requests {
		f := &s.requests[k]
		if f.phase != waiting || f.leader != uint8(i+1) {
			continue
		}
		switch {
		case m.vouched(&r, f.joined):
			m.serve(s, k, r.version, false)
		case f.looks > 0:
			over(s, k) // it runs the handler by itself
		default:
			*f = request{hard: f.hard, soft: f.soft, now: s.ticks, tries: f.tries, looks: 1}
			m.look(s, k)
		}
	}
	if r.flags&own != 0 && r.flags&stored == 0 && m.without != tokenReleased {
		s.requests[i] = request{phase: releasing, token: r.token, lock: r.lock, more: r.more & personal}
		return
	}
	over(s, i)
}

// vouched reports whether what r ends with is good for who joined then.
func (m *model) vouched(r *request, joined joined) bool {
	if r.more&failed != 0 {
		return false
	}
	if m.without == followersJoined {
		return true
	}
	if r.flags&found != 0 {
		return joined&beforeLook != 0 || m.without == followersOfLook
	}
	ok := r.flags&stored != 0 && r.more&refused == 0
	switch {
	case m.without == followersOfHandler && joined&(beforeReturn|beforeStore|beforeLast) != 0:
		return true
	case m.without == followersOfStore && ok && joined&beforeLast != 0:
		return true
	case ok && r.flags&outdated == 0 && joined&beforeStore != 0:
		return true
	}
	return joined&beforeHandler != 0 && (ok || r.token == 0)
}
