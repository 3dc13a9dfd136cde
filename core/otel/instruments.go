package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Boundaries of buckets, in seconds.
var (
	latencies = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	ages      = []float64{.1, .5, 1, 5, 10, 30, 60, 5 * 60, 15 * 60, 30 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
)

// instruments are those that events are counted with.
type instruments struct {
	requests, body, misses, notStored, bypasses, refreshes, stores, purges metric.Int64Counter

	saved metric.Float64Counter

	request, handler, age, wait, call metric.Float64Histogram
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	saved, err := m.Float64Counter("cacheaside.handler.saved", metric.WithUnit("s"),
		metric.WithDescription("Time that handlers would have taken to make again what was answered from the cache."))
	errs = append(errs, err)
	i := &instruments{
		requests:  counter("cacheaside.requests", "{request}", "Requests, by how they were answered."),
		request:   seconds("cacheaside.request.duration", "Time until a request was answered, with that of the handler.", latencies),
		body:      counter("cacheaside.response.body", "By", "Bytes of bodies sent to clients."),
		misses:    counter("cacheaside.misses", "{request}", "Requests that what is stored could not answer, by the cause."),
		notStored: counter("cacheaside.not_stored", "{response}", "Responses that were not stored, of requests and of background runs, by the reason."),
		bypasses:  counter("cacheaside.bypasses", "{request}", "Requests that the cache had nothing to do with, by the reason."),
		handler:   seconds("cacheaside.handler.duration", "Time that a handler took.", latencies),
		saved:     saved,
		age:       seconds("cacheaside.hit.age", "Age of what was answered from the cache.", ages),
		wait:      seconds("cacheaside.coalesce.wait", "Time that a request waited for the handler's response to another one.", latencies),
		refreshes: counter("cacheaside.refreshes", "{run}", "Background runs of handlers, by what started them and how they ended."),
		stores:    counter("cacheaside.stores", "{response}", "Responses given to the store, by what became of them."),
		call:      seconds("cacheaside.store.call.duration", "Time until the store answered a call, or failed to.", latencies),
		purges:    counter("cacheaside.purges", "{purge}", "Purges, by kind and outcome."),
	}
	return i, errors.Join(errs...)
}

// reading is an instrument that is read when metrics are collected: the sum over the
// caches of what value says.
type reading struct {
	name, unit, description string
	rises                   bool // a counter; else it may fall as well
	value                   func(*observe.Gauges) int64
}

var readings = []reading{
	{"cacheaside.waiting", "{request}", "Requests that wait for another one now.", false,
		func(g *observe.Gauges) int64 { return g.Waiting }},
	{"cacheaside.refresh.queue.length", "{run}", "Background runs that wait for their turn.", false,
		func(g *observe.Gauges) int64 { return g.RefreshQueue }},
	{"cacheaside.write_buffer", "By", "Bytes on their way to the store.", false,
		func(g *observe.Gauges) int64 { return g.WriteBuffer }},
	{"cacheaside.breaker.open", "{cache}", "Caches whose circuit breaker is open.", false,
		func(g *observe.Gauges) int64 { return flag(g.BreakerOpen) }},
	{"cacheaside.store.calls.spared", "{call}", "Calls not made of the store because the circuit breaker was open.", true,
		func(g *observe.Gauges) int64 { return int64(g.CallsSpared) }},
	{"cacheaside.near.on", "{cache}", "Caches whose near tier is in use.", false,
		func(g *observe.Gauges) int64 { return flag(g.Near.On) }},
	{"cacheaside.near.size", "By", "Bytes that the copies in the near tier take, about.", false,
		func(g *observe.Gauges) int64 { return int64(g.Near.Bytes) }},
	{"cacheaside.near.entries", "{entry}", "Copies in the near tier, about.", false,
		func(g *observe.Gauges) int64 { return int64(g.Near.Entries) }},
	{"cacheaside.near.hits", "{read}", "Reads of the store that a copy in the near tier answered.", true,
		func(g *observe.Gauges) int64 { return int64(g.Near.Hits) }},
	{"cacheaside.near.admissions", "{entry}", "Copies made in the near tier.", true,
		func(g *observe.Gauges) int64 { return int64(g.Near.Admissions) }},
	{"cacheaside.near.invalidations", "{entry}", "Copies removed from the near tier because the server said that they changed.", true,
		func(g *observe.Gauges) int64 { return int64(g.Near.Invalidations) }},
	{"cacheaside.near.drops", "{drop}", "Times that all copies in the near tier were dropped.", true,
		func(g *observe.Gauges) int64 { return int64(g.Near.Drops) }},
	{"cacheaside.series.overflow", "{event}", "Events whose route or policy was one too many, and is 'other'.", true,
		func(g *observe.Gauges) int64 { return int64(g.RoutesBeyond) }},
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// read has m read the sums over what gauges returns, at each collection.
func read(m metric.Meter, gauges func() []observe.Gauges) (metric.Registration, error) {
	errs := make([]error, 0, len(readings))
	numbers := make([]metric.Int64Observable, len(readings))
	all := make([]metric.Observable, len(readings))
	for i, r := range readings {
		var err error
		if r.rises {
			numbers[i], err = m.Int64ObservableCounter(r.name, metric.WithUnit(r.unit), metric.WithDescription(r.description))
		} else {
			numbers[i], err = m.Int64ObservableUpDownCounter(r.name, metric.WithUnit(r.unit), metric.WithDescription(r.description))
		}
		errs = append(errs, err)
		all[i] = numbers[i]
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := gauges()
		for i, r := range readings {
			var sum int64
			for c := range now {
				sum += r.value(&now[c])
			}
			o.ObserveInt64(numbers[i], sum)
		}
		return nil
	}, all...)
}
