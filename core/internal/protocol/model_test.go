package protocol

// state is everything: the server, the processes, and what has been promised. It has
// no pointers, and no padding, so that two that are the same have the same bytes.
type state struct {
	server
	database   uint8 // the version in it
	hard, soft uint8 // versions that purges of either kind were acknowledged for
	p          [processes]process
	requests   [maxRequests]request
	purgers    [maxPurgers]purger
	ticks      uint8
	late       uint8          // the token of a SET that is still on its way
	lost       bool           // an answer was
	evictions  uint8          // left
	expiries   uint8          // left
	evicted    bool           // something was
	settled    bool           // stamps were
	purged     [maxTags]uint8 // by the last purge: its number
	everything uint8          // the same, of everything
	wrong      property
}

// process is what requests of one process share.
type process struct {
	hard, soft uint8    // versions that it has heard were purged
	varied     bool     // it knows that there are variants
	flights    [2]uint8 // 1 + the request that leads, by lock
	lease      lease    // its copy of the journal
	reading    bool     // the journal
	readSince  uint8    // the tick before that
	values     [2]copied[value]
	stamps     [maxTags]copied[stamp]
	hand       copied[value] // read without tracking, see nearTracked
}

// lease is a copy of the journal, good for some ticks since from.
type lease struct {
	journal
	from uint8
}

// copied is something in the near tier.
type copied[T any] struct {
	there bool
	due   bool // word of a change is on its way
	what  T
}

type property uint8

const (
	fine     property = iota
	safety            // an answer was one that had been purged
	liveness          // a fill was refused for no reason
	thrift            // something was left
)

func (p property) String() string {
	return [...]string{"nothing wrong", "a stale answer", "a fill refused for no reason", "something left"}[p]
}

// model is what is tried: requests, purges and what else may happen.
type model struct {
	scripts
	name     string
	ring     int // its length; 0: 2
	requests []asker
	purges   []purge
	inTurn   bool  // one purge after the other
	tags     uint8 // of responses
	vary     func(version uint8) bool
	knows    uint8  // which processes know that responses vary, as a set
	evict    string // kinds of keys, see environment
	times    uint8  // how many evictions
	expiries uint8  // how many times a value becomes stale
	ticks    uint8  // how far time goes
	polls    uint8  // how often a request waits for another process
	near     bool   // process 0 has a near tier
	anyOrder bool   // a first look reads value and stamps in any order
	fails    bool   // handlers may fail
	passes   bool   // handlers may give what is not for others
	loses    bool   // one answer to a SET may be lost
	most     int    // states; 0: no bound
}

// asker is a request: of a process, and how it asks.
type asker struct {
	process uint8
	how     how
	after   int  // 1 + the request that has to be over
	aside   bool // it has a lock of its own, like requests with credentials
}

type how uint8

const (
	together how = iota // waits for those of all processes
	apart               // waits for those of its process
	alone               // waits for nobody, like no-cache and CoalesceNone
	behind              // runs in the background
)

type purge uint8

const (
	ofURL purge = iota
	ofA
	ofB
	ofNone
	ofASoftly
	ofAll
	ofPrefix // of what is elsewhere
	noPurge  // the database changes, that is all
)

// The lengths of the lease, and of what who purges waits, in ticks.
func (m *model) lease() uint8 {
	if m.without == leaseShorter {
		return 2
	}
	return 1
}

const waits = 1

func (m *model) start() state {
	s := state{evictions: m.times, expiries: m.expiries}
	s.server.epochs = 1
	s.clock, s.journal = clock{true, 1, 1}, journal{true, 1, 1, 1, 0} // a new one counts as a purge of everything
	for i := range s.p {
		s.p[i].varied = m.knows>>i&1 == 1
	}
	return s
}

func (m *model) journaled() bool {
	for _, p := range m.purges {
		if p == ofAll || p == ofPrefix {
			return true
		}
	}
	return false
}

func (m *model) varied(version uint8) bool { return m.vary != nil && m.vary(version) }

// emit takes a state that may follow, and says how, in the manner of Printf.
type emit func(next *state, format string, args ...any)

// next emits all that may follow.
func (m *model) next(s *state, emit emit) {
	after := func(next *state, format string, args ...any) {
		m.hear(s, next)
		emit(next, format, args...)
	}
	for i := range m.requests {
		m.request(s, i, after)
	}
	for i := range m.purges {
		m.purger(s, i, after)
	}
	m.environment(s, after)
}

// over reports whether all requests are.
func (m *model) over(s *state) bool {
	for i := range m.requests {
		if s.requests[i].phase != done {
			return false
		}
	}
	return true
}

// leftover reports whether something is left when all is over.
func (m *model) leftover(s *state) bool {
	if !m.over(s) {
		return false
	}
	if !s.lost {
		for _, token := range s.locks {
			if token != 0 && !isNote(token) {
				return true
			}
		}
	}
	for _, st := range s.stamps {
		if st.there && !s.settled {
			return true
		}
	}
	return false
}
