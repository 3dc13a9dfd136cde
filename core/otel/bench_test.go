package otel_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/otel"
)

// hit is the event of one.
func hit(ctx context.Context) *observe.Event {
	return &observe.Event{
		Kind: observe.KindRequest, Context: ctx, Total: 20 * time.Microsecond, Age: time.Second, TTL: time.Minute,
		Saved: 3 * time.Millisecond, Route: "/users/:id", Policy: "users", Method: observe.MethodGet, Status: 200,
		Result: observe.ResultHit, Tier: observe.TierMemory, BodyBytes: 1000,
	}
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func must(t fataler, opts ...otel.Option) *otel.Observer {
	t.Helper()
	o, err := otel.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func noTraces() otel.Option { return otel.WithTracerProvider(nooptrace.NewTracerProvider()) }

// recordingSpan forgets what it is told.
type recordingSpan struct{ nooptrace.Span }

func (recordingSpan) IsRecording() bool { return true }

func BenchmarkHit(b *testing.B) {
	manual := func() metric.MeterProvider {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	recording := trace.ContextWithSpan(b.Context(), recordingSpan{})
	labeled := otelhttp.ContextWithLabeler(b.Context(), new(otelhttp.Labeler))
	for _, c := range []struct {
		name   string
		meters metric.MeterProvider
		ctx    context.Context
	}{
		{"noop", noopmetric.NewMeterProvider(), b.Context()},
		{"noop, labeler", noopmetric.NewMeterProvider(), labeled},
		{"noop, recording span", noopmetric.NewMeterProvider(), recording},
		{"sdk", manual(), b.Context()},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := must(b, otel.WithMeterProvider(c.meters), noTraces())
			e := hit(c.ctx)
			b.ReportAllocs()
			for b.Loop() {
				o.Observe(e)
			}
		})
	}
}
