package cacheaside

import (
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

const (
	// maxLooks bounds how often a request begins anew because another one has failed, or
	// was in its way.
	maxLooks = 3
	// passAge is how long a resource that could not be shared is remembered, so
	// that its requests do not queue up.
	passAge = 10 * time.Second
	// The time between two looks for what another process fetches.
	firstPoll, lastPoll = 5 * time.Millisecond, 100 * time.Millisecond
)

// coalesce gets from the handler what is not in the store or needs validation, unless
// another request is doing so already: then it waits for what that one gets.
func (v *visit) coalesce() error {
	if !v.coalesces() {
		return v.fetch()
	}
	deadline := time.Now().Add(v.c.policy.Coalescing.Wait)
	for look, again := 0, false; look < maxLooks; again = true {
		key := v.flightKey()
		if v.alone(key) {
			return v.fetch()
		}
		f, leads, ticket := v.c.join(key)
		if leads {
			if again {
				time.Sleep(time.Millisecond) // those who waited as well join this flight
			}
			v.lead = f
			return v.leadFlight(deadline)
		}
		if v.c.waiting.Add(1) > int64(v.c.policy.Coalescing.MaxWaiting) {
			v.c.waiting.Add(-1)
			f.Leave()
			return v.fetch()
		}
		var w waiting
		w.begin(v, f)
		outcome, e := v.follow(f, ticket, time.Until(deadline))
		w.end(v, f, outcome)
		v.c.waiting.Add(-1)
		switch outcome {
		case flight.Cancelled:
			return v.gaveUp()
		case flight.Pass:
			return v.fetch()
		case flight.TimedOut:
			return v.takeOver(f, deadline)
		case flight.Failed:
			if a, ok := v.staleAnswer(v.c.cfg.Now(), detailStaleIfError, true); ok {
				return v.settle(a)
			}
		}
		if d, ok := v.landed(outcome, &e); ok {
			return v.collapsed(d)
		}
		if outcome != flight.Late { // whose next flight is for all who came late
			look++
		}
	}
	return v.fetch()
}

// alone reports whether the request has to run the handler itself: it would wait for
// itself, or for a response that a moment ago could not be shared.
func (v *visit) alone(key string) bool {
	if l := v.outerLead(key); l != nil {
		v.lead = l
		return true
	}
	if v.inside(key) {
		return true
	}
	_, pass := v.c.passes.Get(key, v.now.UnixNano(), passAge)
	return pass
}

// takeOver runs the handler where f has not ended in time, and leads in its place, so
// that later requests do not wait for f as well.
func (v *visit) takeOver(f *inFlight, deadline time.Time) error {
	if f.Age() < v.c.policy.Coalescing.Wait {
		return v.fetch()
	}
	v.c.end(f, flight.Retry, nil)
	l, leads := v.c.flights.TryLead(f.Key())
	if !leads {
		return v.fetch()
	}
	v.lead = l
	return v.leadFlight(deadline)
}

// landed takes what a flight has ended with, or else looks for what is stored by now. It
// reports whether that, as v.entry, answers the request.
func (v *visit) landed(outcome flight.Outcome, e *entry.Entry) (httprules.Decision, bool) {
	if outcome == flight.Shared && e.Key == v.key.Primary && matches(e, &v.req, v.scratch) {
		old, soft := v.entry, v.Soft
		v.entry, v.Soft = *e, 0
		if d, ok := v.usable(); ok && v.withheld() == "" {
			return d, true
		}
		v.entry, v.Soft = old, soft
	}
	return v.lookAgain(nil)
}

// leadFlight runs the handler for all who wait on v.lead.
func (v *visit) leadFlight(deadline time.Time) error {
	l := v.lead
	if v.observed && !v.c.locks() { // else its lock tells it from others
		l.Leader.name(v.c.claims.token())
	}
	defer func() { v.c.conclude(v.lead, flight.Retry, nil) }() // for a panic and the like
	switch {
	case v.c.coordinator != nil && !v.c.inProcess:
		d, outcome := v.acquire(deadline)
		switch outcome {
		case acquiredNothing:
			return v.gaveUp()
		case acquiredEntry:
			v.share(l)
			return v.collapsed(d)
		}
	case l.EndedSince(v.epoch): // between the look-up and now
		l.ValidBefore(l.Advance())
		if d, ok := v.lookAgain(nil); ok {
			v.share(l)
			return v.hit(d)
		}
	}
	return v.fetch()
}

// coalesces reports whether a request may wait for another one, and others for
// it. One that wants a response made for it alone may not.
func (v *visit) coalesces() bool {
	rc := &v.control
	return v.c.policy.Coalescing.Scope != CoalesceNone && !v.leavesToInner() && v.fills() && v.req.Rerun == nil &&
		!rc.NoCache && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0) &&
		len(v.header.Values("Range")) == 0 && !(v.c.policy.Requests.ForwardConditions && v.conditional())
}

// outerLead is the flight for key that this request leads already, by way of a handle
// further out.
func (v *visit) outerLead(key string) *inFlight {
	for o := range outers(&v.req) {
		if o.handle.shared == v.c.shared && o.lead != nil && o.lead.Key() == key {
			return o.lead
		}
	}
	return nil
}

// inside reports whether the request was made by a handler that runs for the flight
// for key.
func (v *visit) inside(key string) bool {
	for f := range chain(&v.req) {
		if f.handle.shared == v.c.shared && f.lead != nil && f.lead.Key() == key {
			return true
		}
	}
	return false
}

// follow waits for the end of f, unless f waits, directly or by way of other flights,
// for a run that this request is part of: neither would ever end.
func (v *visit) follow(f *inFlight, ticket int, timeout time.Duration) (flight.Outcome, entry.Entry) {
	ctx := v.x.Context()
	if !v.awaitable() {
		return f.Wait(ctx, ticket, timeout)
	}
	for o := range chain(&v.req) {
		if o.lead != nil {
			o.lead.Leader.follows.Store(f)
			defer o.lead.Leader.follows.CompareAndSwap(f, nil)
		}
	}
	end := time.Now().Add(timeout)
	for pause := firstPoll; ; pause = longer(pause) {
		if v.awaited(f) {
			f.Leave()
			return flight.Pass, entry.Entry{}
		}
		if left := time.Until(end); left <= pause || f.EndsWithin(ctx, pause) {
			return f.Wait(ctx, ticket, left)
		}
	}
}

// maxFollowed bounds how many flights are looked at that wait for one another.
const maxFollowed = 16

// awaited reports whether f waits for a flight of the request's chain.
func (v *visit) awaited(f *inFlight) bool {
	for range maxFollowed {
		if f == nil {
			return false
		}
		if token := f.Leader.awaits.Load(); v.leads(f) || token != nil && v.holds(*token) {
			return true
		}
		f = f.Leader.follows.Load()
	}
	return false
}

// leads reports whether the request is part of what f waits for.
func (v *visit) leads(f *inFlight) bool {
	for o := range chain(&v.req) {
		if o.lead == f {
			return true
		}
	}
	return false
}
