package protocol

// The bounds of the model.
const (
	maxTags     = 3 // two tags of the handler, and the one of the URL
	maxRing     = 3
	maxRequests = 4
	maxPurgers  = 3
	processes   = 2
)

// The tags. None is one that no response has.
const (
	tagA uint8 = iota
	tagB
	tagURL
	tagNone
)

// server is what is on the server. Numbers are small, and epochs count up: who compares
// them only asks whether they are the same.
type server struct {
	clock   clock
	ring    [maxRing]element // newest first
	ringLen uint8
	journal journal
	stamps  [maxTags]stamp
	values  [2]value // under the primary key, and the one of a variant
	locks   [2]uint8 // tokens: of the primary key, and of a variant or the like
	epochs  uint8    // how many there were
}

type clock struct {
	there      bool
	epoch, seq uint8
}

type element struct {
	tag, seq uint8
	soft     bool
}

// journal has the number when it was made, that of the last purge of everything, which
// making it is one, and that of the last purge of a prefix elsewhere.
type journal struct {
	there                        bool
	epoch, began, all, elsewhere uint8
}

type stamp struct {
	there             bool
	epoch, hard, soft uint8
}

type kind uint8

const (
	nothing kind = iota
	response
	record // of the names by which a variant is found
)

type value struct {
	kind                      kind
	version, epoch, seq, tags uint8
	old                       bool // not fresh any more
}

type mark struct{ epoch, seq uint8 }

// scripts are those of the server, but for one rule.
type scripts struct {
	length  int // of the ring
	without mutant
}

// time is the prelude of all scripts that need the clock.
func (sc *scripts) time(s *server) {
	if s.clock.there {
		return
	}
	s.epochs++
	s.clock = clock{true, s.epochs, 1}
	s.ring, s.ringLen = [maxRing]element{}, 0
	if sc.without == epochs {
		s.clock.epoch = 1
	}
}

func (s *server) mark() mark { return mark{s.clock.epoch, s.clock.seq} }

// push takes the next number.
func (sc *scripts) push(s *server, tag uint8, soft bool) uint8 {
	s.clock.seq++
	if int(s.ringLen) < sc.length {
		s.ringLen++
	}
	copy(s.ring[1:s.ringLen], s.ring[:s.ringLen-1])
	s.ring[0] = element{tag, s.clock.seq, soft}
	return s.clock.seq
}

// bump purges a tag.
func (sc *scripts) bump(s *server, tag uint8, soft bool) mark {
	sc.time(s)
	n := sc.push(s, tag, soft)
	if tag < maxTags {
		switch st := &s.stamps[tag]; {
		case !st.there && sc.without != stampsOnlyIfThere:
		case soft && st.there && st.epoch == s.clock.epoch:
			st.soft = n
		default:
			*st = stamp{true, s.clock.epoch, n, n}
			if sc.without == hardIsHard {
				st.hard = 1
			}
		}
	}
	return s.mark()
}

// last is what the ring knows of a tag.
func (sc *scripts) last(s *server, tag uint8) (hard, soft uint8) {
	n := s.ringLen
	ring, base := s.ring[:n], s.clock.seq
	if n > 0 && ring[0].seq == s.clock.seq && ring[n-1].seq == s.clock.seq-n+1 {
		base = s.clock.seq - n
	} else {
		ring = nil
	}
	switch {
	case sc.without == ringReach, sc.without == ringComplete && int(n) < sc.length:
		ring, base = s.ring[:n], 0
	case sc.without == ringAsked:
		ring, base = nil, s.clock.seq
	}
	hard, soft = base, base
	for _, e := range ring {
		if e.tag != tag {
			continue
		}
		soft = max(soft, e.seq)
		if !e.soft {
			return e.seq, soft
		}
	}
	return hard, soft
}

// settle makes the stamps of tags that are missing, or of another epoch, and says what
// they tell of a fill that began at since.
func (sc *scripts) settle(s *server, tags uint8, since mark) (purged, outdated bool) {
	sc.time(s)
	purged = s.clock.epoch != since.epoch
	for tag := range uint8(maxTags) {
		if tags&(1<<tag) == 0 {
			continue
		}
		st := &s.stamps[tag]
		if !st.there || st.epoch != s.clock.epoch && sc.without != settleEpoch {
			hard, soft := sc.last(s, tag)
			switch {
			case sc.without == notToSince:
				hard, soft = since.seq, since.seq
			case sc.without == notToSinceByRing && hard <= since.seq:
				hard, soft = since.seq, max(soft, since.seq)
			}
			*st = stamp{true, s.clock.epoch, hard, soft}
		}
		purged = purged || st.hard > since.seq
		outdated = outdated || st.soft > since.seq
	}
	return purged, outdated
}

// take is SET NX GET of a lock: what is under it then.
func (sc *scripts) take(s *server, lock, token uint8) uint8 {
	if s.locks[lock] == 0 || sc.without == onlyIfFree {
		s.locks[lock] = token
	}
	return s.locks[lock]
}

// swap puts next, 0 for nothing, in the place of token.
func (sc *scripts) swap(s *server, lock, token, next uint8) bool {
	if s.locks[lock] != token && sc.without != swapCompares {
		return false
	}
	s.locks[lock] = next
	return true
}

// write puts v under the key of a variant with a record that leads to it, or under the
// primary key, if token is under the lock.
func (sc *scripts) write(s *server, lock, token uint8, v value, varied, anyhow bool) bool {
	if !anyhow && (token == 0 || s.locks[lock] != token) {
		return false
	}
	if varied {
		s.values[1], s.values[0] = v, value{kind: record}
	} else {
		s.values[0] = v
	}
	if s.locks[lock] == token && sc.without != writeTakesToken {
		s.locks[lock] = 0
	}
	return true
}

// readJournal makes what is missing.
func (sc *scripts) readJournal(s *server) journal {
	sc.time(s)
	if !s.journal.there || s.journal.epoch != s.clock.epoch && sc.without != journalEpoch {
		s.journal = journal{true, s.clock.epoch, s.clock.seq, s.clock.seq, 0}
	}
	return s.journal
}

// writeJournal enters a purge of everything, or of what is elsewhere, if the journal
// has been old until then.
func (sc *scripts) writeJournal(s *server, old journal, all bool) (journal, bool) {
	j := sc.readJournal(s)
	if j != old && sc.without != journalCompares {
		return j, false
	}
	if sc.without == journalInRing {
		s.clock.seq++
	} else {
		sc.push(s, tagNone, false)
	}
	j = journal{true, s.clock.epoch, old.began, old.all, old.elsewhere}
	if all {
		j.all = s.clock.seq
	} else {
		j.elsewhere = s.clock.seq
	}
	s.journal = j
	return j, true
}
