package protocol

// request is where a request is.
type request struct {
	phase      phase
	todo       todo           // commands without an answer yet
	hard, soft uint8          // versions that it must have, unless it says that it is stale
	now        uint8          // the tick when it came, or looked again
	tries      uint8          // tokens that it has had
	token      uint8          // by which it may write; 0: none
	lock       uint8          // which
	since      mark           // of its fill
	version    uint8          // that the handler gave
	tags       uint8          // of that
	read       value          // what it has found
	stamps     [maxTags]stamp // beside that
	at         uint8          // where it looks
	leader     uint8          // 1 + the request that it waits for
	joined     joined         // before what of its leader
	looks      uint8          // how often it has looked again
	polls      uint8          // how often it has waited for another process
	candidate  uint8          // 1 + the version that a 304 would freshen; 0: none
	fell       bool           // it has looked at a variant in vain
	flags      flags
	more       more
}

type phase uint8

const (
	idle phase = iota
	looking
	joining
	beginning
	replacing // a token that its own process has left
	calling   // the handler
	running
	checking // the journal
	storing
	ending
	releasing
	waiting
	done
)

type todo uint8

const (
	getValue todo = 1 << iota
	getA
	getB
	getURL
	getJournal
	setLock
	getClock
	makeClock
	getStamps = getA | getB | getURL
	// While storing.
	doSettle = setLock
	doWrite  = getClock
)

// joined says what a follower was there before.
type joined uint8

const (
	beforeLook joined = 1 << iota
	beforeHandler
	beforeStore // the first of settling and writing
	beforeLast  // the last of them
	beforeReturn
)

type flags uint8

const (
	invalid  flags = 1 << iota // what it has found
	softly                     // it was purged
	second                     // the look is the second one
	held                       // the lock is somebody else's
	own                        // the token is this request's to remove
	found                      // what others have stored
	stored                     // what the handler gave
	outdated                   // it was purged softly meanwhile
)

type more uint8

const (
	refused  more = 1 << iota // what the handler gave was purged meanwhile
	excused                   // its token has gone for a good reason
	adopts                    // it takes what token there is
	personal                  // what the handler gave is for nobody else
	failed                    // the handler gave nothing
	anyhow                    // it writes whatever is under the lock
)

func isNote(token uint8) bool { return token >= 100 }

// nextToken is one that nobody has had.
func (m *model) nextToken(s *state, i int) uint8 {
	if m.without == tokenPerAttempt {
		return 90 + m.requests[i].process
	}
	r := &s.requests[i]
	r.tries++
	return uint8(i)*20 + r.tries
}

// owner is the request that has made a token.
func owner(token uint8) int { return int(token-1) / 20 }

// live reports whether the request that made a token still runs.
func (s *state) live(token uint8) bool {
	r := &s.requests[owner(token)]
	return r.token == token && r.flags&own != 0 && r.phase != releasing && r.phase != done
}

// request emits what a request may do next.
func (m *model) request(s *state, i int, emit emit) {
	switch s.requests[i].phase {
	case waiting, done:
	case looking, beginning:
		m.answers(s, i, emit)
	case running:
		m.handler(s, i, emit)
	case storing:
		m.store(s, i, emit)
	default:
		m.step(s, i, emit)
	}
}

// step emits the one thing that a request does next.
func (m *model) step(s *state, i int, emit emit) {
	r, asks := s.requests[i], m.requests[i]
	n := *s
	q := &n.requests[i]
	switch r.phase {
	case idle:
		if asks.after > 0 && s.requests[asks.after-1].phase != done {
			return
		}
		p := s.p[asks.process]
		q.hard, q.soft, q.now = p.hard, p.soft, s.ticks
		switch asks.how {
		case alone:
			m.begin(&n, i, false)
			q.more |= adopts
			if m.without == aloneHasToken {
				q.phase, q.todo, q.more = calling, 0, q.more|anyhow
			}
			emit(&n, "%d begins, by itself: it must have version %d", i+1, q.hard)
		case behind:
			if q.lock = m.lockOf(&n, i); p.flights[q.lock] != 0 {
				over(&n, i)
				emit(&n, "%d need not run in the background", i+1)
				return
			}
			n.p[asks.process].flights[q.lock] = uint8(i + 1)
			m.begin(&n, i, false)
			if m.without == backgroundHasToken {
				q.phase, q.todo, q.more = calling, 0, q.more|anyhow
			}
			emit(&n, "%d begins in the background", i+1)
		default:
			m.look(&n, i)
			emit(&n, "%d begins: it must have version %d", i+1, q.hard)
		}
	case joining:
		*q = request{
			phase: joining, hard: r.hard, soft: r.soft, now: r.now, tries: r.tries, looks: r.looks, lock: m.lockOf(&n, i), candidate: r.candidate,
		}
		flight := &n.p[asks.process].flights[q.lock]
		if *flight != 0 {
			q.phase, q.leader, q.candidate = waiting, *flight, 0
			emit(&n, "%d waits for %d", i+1, *flight)
			return
		}
		*flight = uint8(i + 1)
		m.begin(&n, i, true)
		emit(&n, "%d leads", i+1)
	case replacing:
		token := m.nextToken(&n, i)
		n.excuse(r.lock, r.token)
		if m.swap(&n.server, r.lock, r.token, token) {
			q.token, q.flags = token, q.flags&^held|own
		} else {
			q.token, q.flags = 0, q.flags|held
		}
		q.phase = beginning
		m.decide(&n, i)
		emit(&n, "%d puts token %d in the place of one that is left: the lock has %d", i+1, token, n.locks[r.lock])
	case calling:
		n.note(i, beforeHandler)
		q.phase = running
		if q.more&anyhow != 0 {
			m.time(&n.server)
			q.since = n.mark()
		}
		emit(&n, "%d calls the handler, with token %d, since %d.%d", i+1, r.token, q.since.epoch, q.since.seq)
	case checking:
		p := &s.p[asks.process]
		if !m.good(&p.lease, s.ticks) {
			return
		}
		n.note(i, beforeStore)
		m.toStore(q)
		if m.without != journalEpoch && p.lease.epoch != r.since.epoch || p.lease.all > r.since.seq {
			q.phase, q.todo, q.more = ending, 0, q.more|refused
			if !s.evicted && s.everything <= r.since.seq {
				n.wrong = liveness
			}
		}
		emit(&n, "%d asks its copy of the journal, %v: refused %v", i+1, p.lease, q.more&refused != 0)
	case ending:
		m.end(&n, i)
		emit(&n, "%d's flight ends", i+1)
	case releasing:
		next := uint8(0)
		if r.more&personal != 0 && asks.how != alone {
			if next = 100 + r.token; m.without == notesDiffer {
				next = 100
			}
		}
		if m.without != leftReplaced {
			n.excuse(r.lock, r.token)
		}
		m.swap(&n.server, r.lock, r.token, next)
		over(&n, i)
		emit(&n, "%d gives up token %d: the lock has %d", i+1, r.token, n.locks[r.lock])
	}
}

// over ends a request, of which nothing matters any more.
func over(s *state, i int) { s.requests[i] = request{phase: done} }

// lockOf is the lock that a request asks for, as far as its process knows.
func (m *model) lockOf(s *state, i int) uint8 {
	if m.requests[i].aside || s.p[m.requests[i].process].varied {
		return 1
	}
	return 0
}

// look begins the first look.
func (m *model) look(s *state, i int) {
	r := &s.requests[i]
	r.phase, r.todo, r.at = looking, getValue, 0
	if s.p[m.requests[i].process].varied {
		r.at = 1
	}
	if m.anyOrder {
		r.todo |= getStamps & todo(m.mayHave()<<1)
	}
}

// mayHave are the tags that responses may have.
func (m *model) mayHave() uint8 {
	tags := m.tags
	if m.vary != nil {
		tags |= 1 << tagURL
	}
	return tags
}

// begin begins to take the lock, with a second look where there is to be one.
func (m *model) begin(s *state, i int, look bool) {
	r := &s.requests[i]
	r.phase, r.todo = beginning, setLock|getClock
	r.lock = m.lockOf(s, i)
	if look {
		r.at = r.lock
		if m.requests[i].aside {
			r.at = 0
		}
		r.todo |= getValue
		r.flags |= second
		s.note(i, beforeLook)
	}
	if m.requests[i].how != together && m.requests[i].how != behind {
		r.more |= adopts
	}
}

// note notes which followers of i there are.
func (s *state) note(i int, what joined) {
	for k := range s.requests {
		if r := &s.requests[k]; r.phase == waiting && r.leader == uint8(i+1) {
			r.joined |= what
		}
	}
}

// excuse is called when the token goes that is under a lock.
func (s *state) excuse(lock, token uint8) {
	for k := range s.requests {
		if r := &s.requests[k]; token != 0 && r.lock == lock && r.token == token {
			r.more |= excused
		}
	}
}

// answers emits the answers to the commands that a request waits for, in any order.
func (m *model) answers(s *state, i int, emit emit) {
	r, asks := s.requests[i], m.requests[i]
	p := asks.process
	second := r.flags&second != 0
	each := func(t todo, f func(n *state, q *request), format string, args ...any) {
		n := *s
		q := &n.requests[i]
		q.todo &^= t
		f(&n, q)
		if q.todo == 0 && q.phase == r.phase {
			m.answered(&n, i, emit, format, args)
			return
		}
		emit(&n, format, args...)
	}
	if r.todo&setLock != 0 {
		m.setLock(s, i, each, emit)
	}
	if r.todo&getClock != 0 {
		each(getClock, func(n *state, q *request) {
			if q.since = n.mark(); !n.clock.there {
				q.todo |= makeClock
			}
		}, "%d reads the clock: %v", i+1, s.clock)
	}
	if r.todo&makeClock != 0 && r.todo&getClock == 0 {
		each(makeClock, func(n *state, q *request) {
			m.time(&n.server)
			q.since = n.mark()
		}, "%d makes the clock", i+1)
	}
	if r.todo&getValue != 0 {
		v := s.values[r.at]
		if c := s.p[p].values[r.at]; c.there && !second {
			v = c.what
		}
		each(getValue, func(n *state, q *request) {
			q.read = v
			if v.kind == response {
				if !m.anyOrder {
					q.todo |= todo(v.tags<<1) & getStamps
				}
				if m.journaled() {
					q.todo |= getJournal
				}
			}
		}, "%d reads %v", i+1, v)
	}
	for tag := range uint8(maxTags) {
		if bit := getA << tag; r.todo&bit != 0 {
			st := s.stamps[tag]
			if c := s.p[p].stamps[tag]; c.there && !second {
				st = c.what
			}
			each(bit, func(_ *state, q *request) { q.stamps[tag] = st }, "%d reads the stamp of tag %d: %v", i+1, tag, st)
		}
	}
	if r.todo&getJournal != 0 && r.todo&getValue == 0 && m.good(&s.p[p].lease, r.now) {
		l := s.p[p].lease
		each(getJournal, func(_ *state, q *request) {
			if m.without != journalEpoch && l.epoch != q.read.epoch || l.all > q.read.seq {
				q.flags |= invalid
			}
		}, "%d asks its copy of the journal: %v", i+1, l)
	}
}

// good reports whether a copy of the journal is, for a request that came at now.
func (m *model) good(l *lease, now uint8) bool { return l.there && now < l.from+m.lease() }

// setLock emits the answers to the SET.
func (m *model) setLock(s *state, i int, each func(todo, func(*state, *request), string, ...any), emit emit) {
	r, asks := s.requests[i], m.requests[i]
	if m.loses && !s.lost {
		n := *s
		q := &n.requests[i]
		n.late, n.lost = m.nextToken(&n, i), true
		if m.without == tokenSentOnce {
			q.tries--
		}
		q.more |= adopts
		emit(&n, "%d asks for the lock with token %d, and gets no answer", i+1, n.late)
	}
	each(setLock, func(n *state, q *request) {
		token := m.nextToken(n, i)
		under := m.take(&n.server, r.lock, token)
		if m.requests[i].how == alone && m.without == onlyIfFree {
			under = token
		}
		switch {
		case under == token:
			q.token, q.flags = token, q.flags|own
		case under < 90 && m.requests[owner(under)].process == asks.process && !n.live(under) && m.without != leftReplaced:
			q.token, q.phase = under, replacing
		case isNote(under), r.more&adopts != 0, under < 90 && m.requests[owner(under)].process == asks.process:
			q.token = under
		default:
			q.flags |= held
		}
	}, "%d asks for the lock, which has %d", i+1, s.locks[r.lock])
}
