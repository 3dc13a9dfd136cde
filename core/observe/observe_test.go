package observe_test

import (
	"context"
	"testing"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Names are labels: each value has one of its own, and nothing else has.
func TestNames(t *testing.T) {
	names := func(kind string, of func(uint8) string, want int) {
		t.Helper()
		seen := map[string]bool{}
		for n := range 256 {
			s := of(uint8(n))
			if (s != "") != (n >= 1 && n <= want) || seen[s] && s != "" {
				t.Errorf("%s %d is %q", kind, n, s)
			}
			seen[s] = true
		}
	}
	names("Kind", func(n uint8) string { return observe.Kind(n).String() }, 7)
	names("Method", func(n uint8) string { return observe.Method(n).String() }, 3)
	names("Result", func(n uint8) string { return observe.Result(n).String() }, 7)
	names("Tier", func(n uint8) string { return observe.Tier(n).String() }, 4)
	names("Cause", func(n uint8) string { return observe.Cause(n).String() }, 10)
	names("Stale", func(n uint8) string { return observe.Stale(n).String() }, 4)
	names("Wait", func(n uint8) string { return observe.Wait(n).String() }, 5)
	names("Op", func(n uint8) string { return observe.Op(n).String() }, 5)
	names("Outcome", func(n uint8) string { return observe.Outcome(n).String() }, 10)
	names("Trigger", func(n uint8) string { return observe.Trigger(n).String() }, 4)
	names("Purge", func(n uint8) string { return observe.Purge(n).String() }, 5)
	names("SpanKind", func(n uint8) string { return observe.SpanKind(n).String() }, 4)
	names("Reason", func(n uint8) string { return observe.Reason(n).String() }, 51)
}

func TestReasonOf(t *testing.T) {
	if observe.ReasonOf("") != 0 || observe.ReasonOf("no-store") != observe.ReasonNoStore || observe.ReasonOf("<script>") != observe.ReasonOther {
		t.Error("reasons are not found by their names")
	}
}

type source struct{}

func (source) Gauges() observe.Gauges { return observe.Gauges{} }

type tracer struct {
	seen     int
	attached int
}

func (t *tracer) Observe(*observe.Event) { t.seen++ }
func (t *tracer) Attach(observe.Source)  { t.attached++ }
func (t *tracer) Start(ctx context.Context, _ observe.Start) (context.Context, observe.Span) {
	return ctx, nil
}
func (t *tracer) Link(context.Context) any { return nil }

func TestAll(t *testing.T) {
	if observe.All() != nil || observe.All(nil, nil) != nil {
		t.Error("no observers are one")
	}
	seen := 0
	f := observe.Func(func(*observe.Event) { seen++ })
	tr := new(tracer)
	all := observe.All(f, nil, tr, f)
	all.Observe(&observe.Event{})
	all.(observe.Attacher).Attach(source{})
	if seen != 2 || tr.seen != 1 || tr.attached != 1 {
		t.Errorf("%d and %d calls, %d attached", seen, tr.seen, tr.attached)
	}
	if observe.TracerOf(all) != observe.Tracer(tr) || observe.TracerOf(tr) == nil || observe.TracerOf(f) != nil || observe.TracerOf(nil) != nil {
		t.Error("the tracer is not found")
	}
}
