package otel

import (
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Option is one of [New].
type Option func(*config)

type config struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	keys    bool
}

func newConfig(opts []Option) (config, error) {
	c := config{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for i, opt := range opts {
		if opt == nil {
			return c, fmt.Errorf("cacheaside/otel: option %d is nil: leave it out", i+1)
		}
		opt(&c)
	}
	return c, nil
}

// WithMeterProvider sets where the instruments come from. Without it, or with nil, that
// is the global provider, which may also be set later. For no metrics give the provider
// of go.opentelemetry.io/otel/metric/noop.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) {
		if p != nil {
			c.meters = p
		}
	}
}

// WithTracerProvider sets where the tracer comes from. Without it, or with nil, that is
// the global provider, which may also be set later. For no spans give the provider of
// go.opentelemetry.io/otel/trace/noop; what is known of a request is put on the span in
// its context all the same, for that one belongs to somebody else.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) {
		if p != nil {
			c.tracers = p
		}
	}
}

// WithKeys puts the key in the store on the spans, as the attribute cacheaside.key. By
// default it is left out, for it holds what clients have sent: path and query, and of
// what the policy selects by, user, tenant and header fields. Never do that where
// traces are read by people who may not see these.
func WithKeys() Option {
	return func(c *config) { c.keys = true }
}
