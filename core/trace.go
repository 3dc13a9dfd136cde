package cacheaside

import (
	"context"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Spans of what takes time, for an observer that makes them.

// span is one that has begun; the zero span is none.
type span struct{ observe.Span }

// startSpan begins a span, where somebody makes them.
func (c *shared) startSpan(ctx context.Context, s observe.Start) (in context.Context, begun span) {
	if c.tracer == nil {
		return ctx, span{}
	}
	defer func() {
		if p := recover(); p != nil {
			c.observerPanicked(p)
			in, begun = ctx, span{}
		}
	}()
	in, begun.Span = c.tracer.Start(ctx, s)
	return in, begun
}

// endSpan ends s with what was done in it.
func (c *shared) endSpan(s span, e *observe.Event) {
	if s.Span != nil {
		c.harmless(func() { s.End(e) })
	}
}

// linkOf is what the span in ctx is linked by.
func (c *shared) linkOf(ctx context.Context) (link any) {
	if c.tracer != nil {
		c.harmless(func() { link = c.tracer.Link(ctx) })
	}
	return link
}

// harmless calls an observer, whose panic harms nobody.
func (c *shared) harmless(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.observerPanicked(p)
		}
	}()
	f()
}

// inFill makes the handler's context of the request's, which begins the span of the fill.
func (v *visit) inFill(ctx context.Context) context.Context {
	s := observe.Start{Kind: observe.SpanFill, FlightID: v.flight, Route: v.routeLabel(), Policy: v.c.label, Key: v.key.Wire}
	ctx, v.filling = v.c.startSpan(ctx, s)
	if v.lead != nil && v.filling.Span != nil {
		v.c.harmless(func() {
			if link := v.filling.Link(); link != nil {
				v.lead.Leader.link.Store(&link)
			}
		})
	}
	return ctx
}

// wrapper is inFill for Forward, where somebody makes spans.
func (v *visit) wrapper() func(context.Context) context.Context {
	if v.c.tracer == nil {
		return nil
	}
	return v.inFill
}

// endFill ends the span of the fill with the event of the handler.
func (v *visit) endFill() {
	if v.filling.Span == nil {
		return
	}
	e := &v.event
	v.aboutHandler(e)
	v.c.endSpan(v.filling, e)
	v.filling = span{}
}

// waiting is a wait for another request.
type waiting struct {
	since time.Time // zero: nobody observes
	span  span
}

// begin begins the wait for what f gets, or for the process that has the lock which f waits
// for, unless it has begun.
func (w *waiting) begin(v *visit, f *inFlight) {
	if !v.observed || !w.since.IsZero() {
		return
	}
	w.since = v.c.cfg.Now()
	if v.c.tracer != nil {
		_, w.span = v.c.startSpan(v.x.Context(), observe.Start{
			Kind: observe.SpanWait, Link: f.Leader.linked(), FlightID: f.Leader.flightID(),
			Route: v.routeLabel(), Policy: v.c.label, Key: v.key.Wire,
		})
	}
}

// end notes how the wait has ended, if it has begun.
func (w *waiting) end(v *visit, f *inFlight, o flight.Outcome) {
	if w.since.IsZero() {
		return
	}
	took := v.c.cfg.Now().Sub(w.since)
	v.flight, v.wait = f.Leader.flightID(), waited(o)
	v.waited += took
	if w.span.Span == nil {
		return
	}
	e := &v.event
	*e = observe.Event{
		Kind: observe.KindRequest, Context: v.x.Context(), Time: w.since, Wait: took, Waited: v.wait,
		FlightID: v.flight, Link: f.Leader.linked(), BodyBytes: -1,
	}
	v.c.endSpan(w.span, e)
}

func waited(o flight.Outcome) observe.Wait {
	switch o {
	case flight.Shared:
		return observe.WaitShared
	case flight.Pass:
		return observe.WaitPass
	case flight.TimedOut:
		return observe.WaitTimeout
	case flight.Cancelled:
		return observe.WaitLeft
	}
	return observe.WaitFailed
}

// linked is what the span of the flight's fill is linked by; nil: it has none yet.
func (l *lock) linked() any {
	if link := l.link.Load(); link != nil {
		return *link
	}
	return nil
}
