package cacheaside

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/observe"
)

// What an observer is told. Without one no clock is read for it, and nothing is
// allocated.

// seen is what a request's event and the counts need alike.
type seen struct {
	observed  bool // somebody wants to know
	ran       ran
	cause     observe.Cause
	explained *explaining // the request was sent to be explained
	warming   *warming    // the request is one of a warm-up
}

// told is what only the event tells. It is emptied for an observer alone: a hit has no
// time for that. Without one it may have anything.
type told struct {
	came     time.Time
	looked   time.Duration
	waited   time.Duration
	wait     observe.Wait
	handled  time.Duration
	handler  int // the status that the handler gave
	result   observe.Result
	stood    observe.Stale // why a stale response has answered
	bypassed string        // as a detail of Cache-Status
	unstored string        // the same, of the response
	status   int           // that the client got
	sent     int64         // bytes of the body; -1: not known
	answered time.Time     // when what is stored was given as the answer
	lifetime time.Duration // of what is stored now
	kept     bool          // it was handed to the store
	size     int           // of it, in bytes
	flight   string        // see observe.Event.FlightID
	filling  span          // of the handler's run
}

// ran is how far the handler came.
type ran uint8

const (
	ranNot ran = iota
	ranBegun
	ranEnded
)

// begins is the time now, if somebody wants to know.
func (v *visit) begins() (now time.Time) {
	if v.observed {
		now = v.c.cfg.Now()
	}
	return now
}

// since is the time since then, if somebody wants to know.
func (v *visit) since(then time.Time) time.Duration {
	if !v.observed {
		return 0
	}
	return v.c.cfg.Now().Sub(then)
}

// furtherIn reports whether a handle further in has dealt with the request, also where the
// handler has panicked, which nobody has noted then.
func (v *visit) furtherIn() bool {
	if v.ran == ranBegun && v.run != nil {
		return v.run.dealtWith()
	}
	return v.inner
}

// tell tells the observer of the request, when it is over: also when a panic goes
// through. A handle further out leaves that to the one that has dealt with it.
func (v *visit) tell() {
	v.inner = v.furtherIn()
	if v.inner || v.explained != nil && !v.explained.send {
		v.endFill()
		return
	}
	now := v.c.cfg.Now()
	e := &v.event
	if v.ran != ranNot {
		if v.ran == ranBegun { // it panicked
			v.handled, v.result = now.Sub(v.began), observe.ResultError
			v.noteRoute()
			v.endFill()
		}
		v.aboutHandler(e)
		v.c.observe(e)
	}
	if v.req.Rerun != nil { // no client has asked
		return
	}
	v.about(e, observe.KindRequest)
	e.Time, e.Total, e.Lookup, e.Wait, e.Waited, e.Handler = v.came, now.Sub(v.came), v.looked, v.waited, v.wait, v.handled
	e.Method, e.Status, e.Result, e.Stale = observe.MethodOf(v.req.Method), v.status, v.result, v.stood
	e.Bypass, e.NotStored = observe.ReasonOf(v.bypassed), observe.ReasonOf(v.unstored)
	e.BodyBytes, e.StoredBytes, e.TTL = v.sent, int64(v.size), v.lifetime
	e.Tier = observe.TierNone
	switch v.result {
	case observe.ResultBypass:
	case 0:
		e.Result, e.Cause = observe.ResultError, v.cause
	case observe.ResultHit, observe.ResultStale:
		e.Tier = v.tier()
		v.tellEntry(e)
		if e.Stale == observe.StaleIfError || e.Stale == observe.StaleSoftTimeout {
			e.Cause = v.cause
		}
	case observe.ResultRevalidated:
		e.Tier, e.Cause = v.tier(), v.cause
		v.tellEntry(e)
	case observe.ResultCollapsed:
		e.Cause = v.cause
		v.tellEntry(e)
	default:
		e.Cause = v.cause
	}
	if v.explained != nil {
		v.explained.keep(e)
	}
	v.c.observe(e)
}

// about begins an event of the request.
func (v *visit) about(e *observe.Event, kind observe.Kind) {
	*e = observe.Event{
		Kind: kind, Context: v.x.Context(), Policy: v.c.label, Route: v.routeLabel(),
		Key: v.key.Wire, FlightID: v.flight, BodyBytes: -1,
	}
}

// about is what later events of a request have of it.
type about struct{ route, policy, key string }

func (a *about) of(e *observe.Event) { e.Route, e.Policy, e.Key = a.route, a.policy, a.key }

// aboutLater is for what goes on when the request is over.
func (v *visit) aboutLater(key string) about {
	if v.ran == ranNot {
		v.findRoute()
	}
	return about{v.routeLabel(), v.c.label, key}
}

// aboutHandler is the event of the handler's run.
func (v *visit) aboutHandler(e *observe.Event) {
	v.about(e, observe.KindHandler)
	e.Time, e.Total, e.Status, e.Background = v.began, v.handled, v.handler, v.req.Rerun != nil
	e.BodyBytes, e.Cause, e.NotStored = v.sent, v.cause, observe.ReasonOf(v.unstored)
	if v.ran == ranBegun {
		e.Result = observe.ResultError
	}
}

// tellEntry tells of the stored response that has answered.
func (v *visit) tellEntry(e *observe.Event) {
	e.Age, e.TTL = v.age(v.answered), v.decide(v.answered).TTL
	if v.ran == ranNot {
		e.Saved = time.Duration(v.entry.Took) * time.Microsecond
	}
}

func (v *visit) tier() observe.Tier {
	switch {
	case v.c.inProcess:
		return observe.TierMemory
	case v.near:
		return observe.TierNear
	}
	return observe.TierStore
}

// noteSent notes what the client gets.
func (v *visit) noteSent(r *adapter.Response) {
	v.status, v.sent = r.Status, int64(len(r.Body))
	switch {
	case v.req.Method == http.MethodHead:
		v.sent = 0
	case r.Tee != nil: // still to come
		v.sent = -1
	}
}

// noteHandler notes that the handler has returned resp, or nothing that is known.
func (v *visit) noteHandler(resp *adapter.Response, took time.Duration) {
	v.handled, v.ran = took, ranEnded
	if resp != nil {
		v.handler = resp.Status
		if resp.Sent {
			v.status, v.unstored, v.sent = resp.Status, resp.Reason, -1
		}
	}
}

// noteFlight notes which flight the request's run of the handler is.
func (v *visit) noteFlight() {
	switch {
	case !v.observed:
	case v.claim != nil && v.claim.token != "":
		v.flight = strings.TrimPrefix(v.claim.token, freeStart)
		if v.lead != nil {
			v.lead.Leader.name(v.flight)
		}
	case v.lead != nil:
		v.flight = v.lead.Leader.flightID()
	}
}

// nameFlight names the flight that the request leads by the token under its lock.
func (v *visit) nameFlight(token string) {
	if v.observed && token != "" {
		v.lead.Leader.name(strings.TrimPrefix(token, freeStart))
	}
}

var events = sync.Pool{New: func() any { return new(observe.Event) }}

// tellOf tells of what is no request. The event that set fills in has its Kind, and a
// Context that set may replace.
func (c *shared) tellOf(kind observe.Kind, set func(*observe.Event)) {
	if c.cfg.Observer == nil {
		return
	}
	e := events.Get().(*observe.Event)
	*e = observe.Event{Kind: kind, Context: context.Background(), BodyBytes: -1}
	set(e)
	c.observe(e)
	*e = observe.Event{}
	events.Put(e)
}

// tellOfCall tells of a call of the store.
func (c *shared) tellOfCall(ctx context.Context, op observe.Op, began time.Time, took time.Duration, outcome observe.Outcome, err error) {
	c.tellOf(observe.KindStoreCall, func(e *observe.Event) {
		e.Context, e.Time, e.Total, e.Op, e.Outcome, e.Err = ctx, began, took, op, outcome, err
	})
}

// tellOfBreaker tells that the circuit breaker has opened, or closed.
func (c *shared) tellOfBreaker(open bool) {
	c.tellOf(observe.KindBreaker, func(e *observe.Event) {
		if e.Time, e.Outcome = c.now(), observe.OutcomeClosed; open {
			e.Outcome = observe.OutcomeOpened
		}
	})
}

// observe calls the observer.
func (c *shared) observe(e *observe.Event) {
	defer func() {
		if p := recover(); p != nil {
			c.observerPanicked(p)
		}
	}()
	c.cfg.Observer.Observe(e)
}

// Gauges implements [observe.Source].
func (c *shared) Gauges() observe.Gauges {
	g := observe.Gauges{
		Waiting: c.waits(), RefreshQueue: int64(c.background.Queued()), WriteBuffer: c.writes.reserved(),
		RoutesBeyond: c.routes.beyond.Load(),
	}
	if c.breaker != nil {
		g.BreakerOpen, g.CallsSpared = c.breaker.Open(), c.breaker.Skipped()
	}
	if c.counted != nil {
		g.Near = c.counted.NearStats()
	}
	return g
}
