package inspect

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

const (
	tailLength = 1024
	// watching is how long after a look at the tail hits still enter it.
	watching = 10 * time.Second
)

// seen is an event in the tail. It has no pointers to what belongs to the request.
type seen struct {
	at, total, handler, wait, age, ttl int64
	body, stored                       int64
	route, policy                      string
	err                                string
	hash                               uint64
	status                             int32
	kind                               observe.Kind
	method                             observe.Method
	result                             observe.Result
	tier                               observe.Tier
	cause                              observe.Cause
	bypass, notStored                  observe.Reason
	stale                              observe.Stale
	op                                 observe.Op
	outcome                            observe.Outcome
	trigger                            observe.Trigger
	purge                              observe.Purge
	soft, background                   bool
	flightLen                          uint8
	flight                             [24]byte
	key                                keptKey
}

// tail has the latest events.
type tail struct {
	until atomic.Int64 // when nobody watches any more
	mu    sync.Mutex
	n     uint64 // events so far; the last one has the number n
	ring  [tailLength]seen
}

// wants reports whether an event enters the tail. Hits do while somebody watches, what
// the store has answered in time and handlers whose request tells of them never.
func (t *tail) wants(e *observe.Event, end int64) bool {
	switch e.Kind {
	case observe.KindRequest:
		return e.Result != observe.ResultHit || end < t.until.Load()
	case observe.KindStoreCall:
		return e.Outcome != observe.OutcomeOK
	case observe.KindHandler:
		return e.Background
	}
	return true
}

func (t *tail) add(e *observe.Event, end int64, hash uint64) {
	why := errText(e.Err)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.ring[t.n%tailLength]
	t.n++
	s.at, s.total, s.handler, s.wait = end, int64(e.Total), int64(e.Handler), int64(e.Wait)
	s.age, s.ttl, s.body, s.stored = int64(e.Age), int64(e.TTL), e.BodyBytes, e.StoredBytes
	s.route, s.policy, s.err, s.hash, s.status = e.Route, e.Policy, why, hash, int32(e.Status)
	s.kind, s.method, s.result, s.tier, s.cause, s.bypass, s.notStored = e.Kind, e.Method, e.Result, e.Tier, e.Cause, e.Bypass, e.NotStored
	s.stale, s.op, s.outcome, s.trigger, s.purge = e.Stale, e.Op, e.Outcome, e.Trigger, e.Purge
	s.soft, s.background = e.Soft, e.Background
	s.flightLen = uint8(copy(s.flight[:], e.FlightID))
	s.key.set(e.Key)
}

// errText is what may be kept of an error.
func errText(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.Is(err, store.ErrRefused):
		return store.ErrRefused.Error()
	}
	return redact.Text(err.Error(), 200)
}

func seconds(d int64) float64 { return round(time.Duration(d).Seconds()) }

func (s *seen) event(seq uint64) Event {
	e := Event{
		Seq: seq, Time: s.at / int64(time.Millisecond), Kind: s.kind.String(), Route: redact.Clean(s.route, 200), Policy: redact.Clean(s.policy, 100),
		Method: s.method.String(), Status: int(s.status), Result: s.result.String(), Tier: s.tier.String(), Cause: s.cause.String(),
		Reason: s.reason(), Stale: s.stale.String(), Op: s.op.String(), Outcome: s.outcome.String(), Trigger: s.trigger.String(),
		Purge: s.purge.String(), Soft: s.soft, Background: s.background, Total: seconds(s.total), Handler: seconds(s.handler),
		Wait: seconds(s.wait), Age: seconds(s.age), TTL: seconds(s.ttl), BodyBytes: s.body, Stored: s.stored,
		Flight: redact.Clean(string(s.flight[:s.flightLen]), 64), Error: s.err,
	}
	if s.kind != observe.KindRequest {
		e.BodyBytes = 0
	}
	if s.key.n > 0 {
		k := s.key.key(s.hash)
		e.Key = &k
	}
	return e
}

func (s *seen) reason() string {
	if s.bypass != 0 {
		return s.bypass.String()
	}
	return s.notStored.String()
}

// tailQuery selects events. An empty text selects all.
type tailQuery struct {
	after                                            uint64
	limit                                            int
	kind, result, cause, reason, outcome, route, key string
}

func (q *tailQuery) wants(e *Event) bool {
	for _, x := range [...][2]string{
		{q.kind, e.Kind}, {q.result, e.Result}, {q.cause, e.Cause}, {q.reason, e.Reason}, {q.outcome, e.Outcome}, {q.route, e.Route},
	} {
		if x[0] != "" && x[0] != x[1] {
			return false
		}
	}
	return q.key == "" || e.Key != nil && (strings.Contains(e.Key.Text, q.key) || e.Key.ID == q.key)
}

// tailPage gives the events after a number. With none it gives the latest; otherwise the
// first ones after it, so that nothing is passed over that was not overwritten.
func (r *Recorder) tailPage(q tailQuery) Tail {
	t := &r.latest
	t.until.Store(r.now().Add(watching).UnixNano())
	t.mu.Lock()
	n := t.n
	oldest := n - min(n, tailLength) // the number before that of the oldest
	page := Tail{Instance: r.id, Next: n, Events: []Event{}}
	from := q.after
	if from > n { // it was another process
		from = 0
	}
	if from > 0 && from < oldest {
		page.Missed = oldest - from
	}
	kept := make([]seen, 0, n-max(from, oldest))
	for seq := max(from, oldest); seq < n; seq++ {
		kept = append(kept, t.ring[seq%tailLength])
	}
	t.mu.Unlock() // what is slow is done without keeping requests waiting
	for i := range kept {
		seq := n - uint64(len(kept)) + uint64(i) + 1
		e := kept[i].event(seq)
		if !q.wants(&e) {
			continue
		}
		if len(page.Events) == q.limit {
			if from > 0 {
				page.Next = page.Events[q.limit-1].Seq
				break
			}
			copy(page.Events, page.Events[1:])
			page.Events = page.Events[:q.limit-1]
		}
		page.Events = append(page.Events, e)
	}
	return page
}
