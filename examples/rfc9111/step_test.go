package rfc9111

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// step is a request, what the origin does if it is asked, and the answer that
// is expected. Its methods return a changed copy, to be chained.
type step struct {
	wait    time.Duration // before the request
	method  string
	path    string // after the script's own
	request []string
	sends   string // the request's body

	does   behaviour
	status int // 0: 200
	fields []string
	body   string // "": one that tells the step
	early  string // Link of a 103 that comes first
	delay  time.Duration

	expects    expectation
	from       int // the step whose content is expected from the cache; 0: the first
	wantStatus int
	wantBody   *string
	anyBody    bool
	coding     string // what the answer is to be decoded by: see codings_test.go
	interim    string
	has, saw   []string
}

type behaviour uint8

const (
	answers   behaviour = iota
	validates           // 304 if the request is conditional
	closes              // the connection, without an answer
	breaksOff           // in the midst of the body
)

type expectation uint8

const (
	fromOrigin expectation = iota
	fromCache
	validated    // from the cache, after a 304
	staleOnError // from the cache, after an error
	renewed      // from the cache, stale, while the origin is asked beside it
	onlyIfCached // 504 of the cache itself
	brokenOff
	either // from the cache or the origin: the RFC allows both
)

var (
	get  = step{method: http.MethodGet}
	head = step{method: http.MethodHead}
)

func send(method string) step { return step{method: method} }

// after lets time pass before the request.
func (s step) after(seconds int) step { s.wait = time.Duration(seconds) * time.Second; return s }

// at requests another resource of the script.
func (s step) at(path string) step { s.path = path; return s }

// with adds fields to the request.
func (s step) with(lines ...string) step { s.request = slices.Concat(s.request, lines); return s }

// posting gives the request a body.
func (s step) posting(body string) step { s.sends = body; return s }

// gives has the origin answer with these fields, and the client get that.
func (s step) gives(lines ...string) step {
	s.expects, s.fields = fromOrigin, slices.Concat(s.fields, lines)
	return s
}

// code is the status of the origin's answer.
func (s step) code(status int) step { s.status = status; return s }

// text is the body of the origin's answer.
func (s step) text(body string) step { s.body = body; return s }

// hinting has the origin send a 103 before its answer.
func (s step) hinting(link string) step { s.early, s.interim = link, "103 "+link; return s }

// slowly has the origin take its time.
func (s step) slowly(seconds int) step { s.delay = time.Duration(seconds) * time.Second; return s }

// hits expects an answer from the cache alone, made by the first step or the
// one given.
func (s step) hits(from ...int) step { return s.of(fromCache, from) }

// validates expects that the cache asks the origin conditionally, which says
// 304 with these fields, and then answers from what it has.
func (s step) validates(lines ...string) step {
	s.does, s.fields = validates, lines
	return s.of(validated, nil)
}

// does304 has the origin say 304 to a conditional request.
func (s step) does304(lines ...string) step { s.does, s.fields = validates, lines; return s }

// fails has the origin close the connection.
func (s step) fails() step {
	s.does, s.status = closes, http.StatusBadGateway
	s.wantBody = new(string)
	return s
}

// stale expects, after the origin's failure, what is stored.
func (s step) stale(from ...int) step { s.wantBody = nil; return s.of(staleOnError, from) }

// renews expects what is stored, and lets the origin answer with these fields
// what the cache asks beside it, before the next step.
func (s step) renews(lines ...string) step { s.fields = lines; return s.of(renewed, nil) }

// refused expects 504 without the origin being asked.
func (s step) refused() step { s.expects = onlyIfCached; return s }

// breaks has the origin close the connection within the body, and the client
// see that.
func (s step) breaks() step { s.does, s.expects = breaksOff, brokenOff; return s }

func (s step) of(e expectation, from []int) step {
	s.expects = e
	if len(from) > 0 {
		s.from = from[0]
	}
	return s
}

// either leaves it open where the answer comes from.
func (s step) either() step { s.expects = either; return s }

// as expects another status than the origin's.
func (s step) as(status int) step { s.wantStatus = status; return s }

// reads expects another body than the origin's.
func (s step) reads(body string) step { s.wantBody = &body; return s }

// readsAnything expects no body in particular.
func (s step) readsAnything() step { s.anyBody = true; return s }

// shows expects fields in the answer: see world.compare.
func (s step) shows(lines ...string) step { s.has = slices.Concat(s.has, lines); return s }

// asks expects fields in the request that the origin sees.
func (s step) asks(lines ...string) step { s.saw = slices.Concat(s.saw, lines); return s }

func (s *step) originStatus() int {
	if s.status == 0 {
		return http.StatusOK
	}
	return s.status
}

func (s *step) originBody(n int) string {
	if s.body != "" {
		return s.body
	}
	return fmt.Sprintf("body %d of a script", n)
}
