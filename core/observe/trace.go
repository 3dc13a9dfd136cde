package observe

import "context"

// Tracer is an [Observer] that makes spans of what takes time. What the cache does in
// the span is called with the context that Start returns: the handler, above all.
type Tracer interface {
	Observer
	// Start begins a span. It is called like Observe. The context has all that ctx has.
	Start(ctx context.Context, s Start) (context.Context, Span)
	// Link is [Span].Link of the span that ctx has, of whatever kind; nil if there is none.
	Link(ctx context.Context) any
}

// SpanKind is what a span is of.
type SpanKind uint8

// The spans.
const (
	SpanFill    SpanKind = iota + 1 // a run of the handler, whose response may be stored
	SpanWait                        // a wait for the run of another request
	SpanRefresh                     // a background run; it has a SpanFill in it, and is no part of the trace of who caused it
	SpanPurge
)

// String is the span's name.
func (k SpanKind) String() string { return name(k, "fill", "wait", "refresh", "purge") }

// Start says what a span is of.
type Start struct {
	Kind SpanKind
	// Link is the one of what it belongs to, though that is no parent of it: of the fill
	// that a request waits for, where that is in this process and has begun, else the
	// event that ends the wait has it; of the span of the request that has caused a
	// refresh. Nil: there is none.
	Link any
	// FlightID is that of [Event].
	FlightID string
	Route    string // as far as it is known by now
	Policy   string
	Key      string
}

// Span is one that has begun.
type Span interface {
	// Link is what other spans are linked by. It must not hold the context of the
	// request, which frameworks use again.
	Link() any
	// End ends the span with the event of what was done in it: a KindHandler for a fill,
	// a KindRefresh, a KindPurge, and for a wait a KindRequest with only Context, Time,
	// Wait, Waited, FlightID and Link. That event is given to Observe as well, but for a wait.
	End(*Event)
}

// tracer is the first one among them.
func (s several) tracer() Tracer {
	for _, o := range s {
		if t, ok := o.(Tracer); ok {
			return t
		}
	}
	return nil
}

// TracerOf returns the [Tracer] that o is, or has as the first one of [All]; nil: none.
func TracerOf(o Observer) Tracer {
	switch o := o.(type) {
	case several:
		return o.tracer()
	case Tracer:
		return o
	}
	return nil
}
