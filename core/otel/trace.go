package otel

import (
	"context"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/cacheaside/cacheaside/core/observe"
)

// requestAttributes are what the span that a request came with gets.
func requestAttributes(e *observe.Event, r *route) []attribute.KeyValue {
	a := make([]attribute.KeyValue, 0, 12)
	if r.template {
		a = append(a, r.attr)
	}
	a = appendName(a, keyResult, e.Result)
	a = appendName(a, keyTier, e.Tier)
	a = appendName(a, keyCause, e.Cause)
	a = appendName(a, keyNotStored, e.NotStored)
	a = appendName(a, keyBypass, e.Bypass)
	a = appendName(a, keyStale, e.Stale)
	if e.Policy != "" {
		a = append(a, keyPolicy.String(clean(e.Policy)))
	}
	switch e.Result {
	case observe.ResultHit, observe.ResultStale, observe.ResultRevalidated:
		a = append(a, keyAge.Float64(e.Age.Seconds()), keyTTL.Float64(e.TTL.Seconds()))
	default:
		if e.TTL > 0 {
			a = append(a, keyTTL.Float64(e.TTL.Seconds())) // of what is being stored
		}
	}
	return appendFlight(a, e.FlightID)
}

func appendName[T enum](a []attribute.KeyValue, k attribute.Key, v T) []attribute.KeyValue {
	if s := v.String(); s != "" {
		return append(a, k.String(s))
	}
	return a
}

func appendFlight(a []attribute.KeyValue, id string) []attribute.KeyValue {
	if id == "" {
		return a
	}
	return append(a, keyFlight.String(strings.Clone(clean(id))))
}

var spanNames = func() []string {
	names := []string{"cacheaside"}
	for k := observe.SpanKind(1); k.String() != ""; k++ {
		names = append(names, "cacheaside "+k.String())
	}
	return names
}()

// Start begins the span of a fill, a wait, a refresh or a purge. The cache calls it.
func (o *Observer) Start(ctx context.Context, s observe.Start) (context.Context, observe.Span) {
	a := make([]attribute.KeyValue, 0, 4)
	if r := o.routes.find(s.Route); r.template {
		a = append(a, r.attr)
	}
	if s.Policy != "" {
		a = append(a, keyPolicy.String(clean(s.Policy)))
	}
	a = appendFlight(a, s.FlightID)
	if o.keys && s.Key != "" {
		a = append(a, keyKey.String(strings.ToValidUTF8(strings.Clone(s.Key), "\uFFFD")))
	}
	opts := make([]trace.SpanStartOption, 0, 4)
	opts = append(opts, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(a...))
	to, linked := linkTo(s.Link)
	if linked {
		opts = append(opts, trace.WithLinks(to))
	}
	if s.Kind == observe.SpanRefresh {
		opts = append(opts, trace.WithNewRoot())
	}
	ctx, begun := o.tracer.Start(ctx, spanNames[at(s.Kind, len(spanNames))], opts...)            //nolint:spancheck // span.End ends it
	return ctx, &span{Span: begun, o: o, kind: s.Kind, flight: s.FlightID != "", linked: linked} //nolint:spancheck // it is the caller's
}

// Link is what other spans are linked to the one in ctx by.
func (o *Observer) Link(ctx context.Context) any { return link(trace.SpanContextFromContext(ctx)) }

// linkTo is the link that l stands for, if it is one of this package.
func linkTo(l any) (to trace.Link, ok bool) {
	sc, ok := l.(trace.SpanContext)
	return trace.Link{SpanContext: sc}, ok && sc.IsValid()
}

func link(sc trace.SpanContext) any {
	if !sc.IsValid() {
		return nil
	}
	return sc
}

type span struct {
	trace.Span
	o      *Observer
	kind   observe.SpanKind
	flight bool // it has the flight's id already
	linked bool // and its link
}

// Link is the span's context, which holds nothing of the request's.
func (s *span) Link() any { return link(s.SpanContext()) }

// End ends the span, now, by the clock of the tracer and not by the cache's.
func (s *span) End(e *observe.Event) {
	if e != nil && s.IsRecording() {
		s.describe(e)
	}
	s.Span.End()
}

func (s *span) describe(e *observe.Event) {
	a := make([]attribute.KeyValue, 0, 8)
	if !s.flight {
		a = appendFlight(a, e.FlightID)
	}
	switch s.kind {
	case observe.SpanFill:
		if r := s.o.routes.find(e.Route); r.template {
			a = append(a, r.attr) // some frameworks know it only now
		}
		a = append(a, mode(e.Background))
		a = appendName(a, keyCause, e.Cause)
		a = appendName(a, keyNotStored, e.NotStored)
		if e.Status > 0 {
			a = append(a, semconv.HTTPResponseStatusCode(e.Status))
		}
		switch {
		case e.Result == observe.ResultError:
			a = s.failed(a, "error", "the handler panicked, or gave no response")
		case e.Status >= 500: // as for the span of a server: the status code says all
			a = s.failed(a, strconv.Itoa(e.Status), "")
		}
	case observe.SpanWait:
		if to, ok := linkTo(e.Link); ok && !s.linked { // the fill had not begun
			s.AddLink(to)
		}
		a = appendName(a, keyOutcome, e.Waited)
	case observe.SpanRefresh:
		a = appendName(a, keyTrigger, e.Trigger)
		a = s.ended(a, e.Outcome)
	case observe.SpanPurge:
		a = append(appendName(a, keyKind, e.Purge), keySoft.Bool(e.Soft))
		a = s.ended(a, e.Outcome)
	}
	s.SetAttributes(a...)
}

// ended adds how it ended. The text of an error stays out of traces: it may hold keys,
// addresses or what a server has answered.
func (s *span) ended(a []attribute.KeyValue, outcome observe.Outcome) []attribute.KeyValue {
	a = appendName(a, keyOutcome, outcome)
	if outcome == observe.OutcomeError || outcome == observe.OutcomeTimeout {
		a = s.failed(a, outcome.String(), outcome.String())
	}
	return a
}

// failed gives the span the status of an error, and adds the kind of it.
func (s *span) failed(a []attribute.KeyValue, kind, description string) []attribute.KeyValue {
	s.SetStatus(codes.Error, description)
	return append(a, semconv.ErrorTypeKey.String(kind))
}
