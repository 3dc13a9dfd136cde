package otel

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/cacheaside/cacheaside/core/observe"
)

// ScopeName is the name of the instrumentation scope of all metrics and spans.
const ScopeName = "github.com/cacheaside/cacheaside/core/otel"

// Observer makes metrics and spans of what caches do. It goes into the Config of one
// cache or of several, whose numbers are added up then. All methods may be called
// concurrently.
type Observer struct {
	instruments  *instruments
	tables       tables
	routes       *routes
	tracer       trace.Tracer
	keys         bool
	registration metric.Registration

	mu      sync.Mutex
	sources []observe.Source
	closed  bool
}

var (
	_ observe.Attacher = (*Observer)(nil)
	_ observe.Tracer   = (*Observer)(nil)
)

// New returns an observer for the field Observer of a cache's Config. It fails if an
// option is nil or the meter provider refuses an instrument; that of the SDK takes them
// all.
func New(opts ...Option) (*Observer, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	version := version()
	meter := c.meters.Meter(ScopeName, metric.WithInstrumentationVersion(version), metric.WithSchemaURL(semconv.SchemaURL))
	o := &Observer{
		tables: newTables(),
		routes: newRoutes(),
		tracer: c.tracers.Tracer(ScopeName, trace.WithInstrumentationVersion(version), trace.WithSchemaURL(semconv.SchemaURL)),
		keys:   c.keys,
	}
	if o.instruments, err = newInstruments(meter); err != nil {
		return nil, fmt.Errorf("cacheaside/otel: making the instruments: %w", err)
	}
	if o.registration, err = read(meter, o.gauges); err != nil {
		return nil, fmt.Errorf("cacheaside/otel: making the instruments that are read: %w", err)
	}
	return o, nil
}

// version is that of this module in the program; empty if it is built from its folder.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == ScopeName && m.Version != "(devel)" {
			return m.Version
		}
	}
	return ""
}

// Attach adds a cache to those whose gauges are read when metrics are collected. Making
// the cache calls it.
func (o *Observer) Attach(s observe.Source) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s != nil && !o.closed {
		o.sources = append(o.sources, s)
	}
}

// Close has the gauges of the caches read no more, and lets go of these. Call it when
// the caches are closed, before the meter provider is shut down. What events there are
// still is counted all the same. A second call does nothing.
func (o *Observer) Close() error {
	o.mu.Lock()
	closed := o.closed
	o.closed, o.sources = true, nil
	o.mu.Unlock()
	if closed {
		return nil
	}
	return o.registration.Unregister()
}

// gauges are those of all caches, and the events that this observer had no room for.
func (o *Observer) gauges() []observe.Gauges {
	o.mu.Lock()
	sources := o.sources // only ever appended to
	o.mu.Unlock()
	all := make([]observe.Gauges, 0, len(sources)+1)
	all = append(all, observe.Gauges{RoutesBeyond: uint64(o.routes.beyond.Load())})
	for _, s := range sources {
		all = append(all, s.Gauges())
	}
	return all
}

// Observe counts an event. The cache calls it.
func (o *Observer) Observe(e *observe.Event) {
	ctx := e.Context // exemplars are of the span in it
	if ctx == nil {
		ctx = context.Background()
	}
	i := o.instruments
	switch e.Kind {
	case observe.KindRequest:
		o.request(ctx, e)
	case observe.KindHandler:
		r := o.routes.count(e.Route)
		i.handler.Record(ctx, e.Total.Seconds(), r.handler(e).record...)
		if e.Background && e.NotStored != 0 { // no request says so
			i.notStored.Add(ctx, 1, r.notStored(e).add...)
		}
	case observe.KindStore:
		i.stores.Add(ctx, 1, o.tables.store(e).add...)
	case observe.KindStoreCall:
		i.call.Record(ctx, e.Total.Seconds(), o.tables.call(e).record...)
	case observe.KindRefresh:
		i.refreshes.Add(ctx, 1, o.tables.refresh(e).add...)
	case observe.KindPurge:
		i.purges.Add(ctx, 1, o.tables.purge(e).add...)
	case observe.KindBreaker: // cacheaside.breaker.open is read
	}
}

func (o *Observer) request(ctx context.Context, e *observe.Event) {
	i, r := o.instruments, o.routes.count(e.Route)
	i.requests.Add(ctx, 1, r.answer(e).add...)
	i.request.Record(ctx, e.Total.Seconds(), o.tables.answer(e).record...)
	if e.BodyBytes > 0 {
		i.body.Add(ctx, e.BodyBytes, o.tables.result(e).add...)
	}
	if e.Result == observe.ResultHit || e.Result == observe.ResultStale {
		i.age.Record(ctx, e.Age.Seconds())
	}
	if e.Saved > 0 {
		i.saved.Add(ctx, e.Saved.Seconds(), r.only.add...)
	}
	if e.Cause != 0 {
		i.misses.Add(ctx, 1, r.cause(e).add...)
	}
	if e.NotStored != 0 {
		i.notStored.Add(ctx, 1, r.notStored(e).add...)
	}
	if e.Bypass != 0 {
		i.bypasses.Add(ctx, 1, o.tables.bypass(e).add...)
	}
	if e.Waited != 0 {
		i.wait.Record(ctx, e.Wait.Seconds(), o.tables.wait(e).record...)
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(requestAttributes(e, r)...)
	}
	if r.template {
		label(ctx, r.attr)
	}
}

// label tells otelhttp, where it is in front, the route for its own metrics. If it knows
// the pattern that net/http's ServeMux has chosen it takes that in preference.
func label(ctx context.Context, route attribute.KeyValue) {
	if _, ok := otelhttp.LabelerFromContext(ctx); !ok {
		return // the one returned is unused, and so not allocated
	}
	l, _ := otelhttp.LabelerFromContext(ctx)
	for _, a := range l.Get() {
		if a.Key == route.Key {
			return // what the service says itself
		}
	}
	l.Add(route)
}
