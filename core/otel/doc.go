// Package otel makes OpenTelemetry metrics and traces of what a cache does:
//
//	observer, err := otel.New() // on the global providers
//	...
//	defer observer.Close()
//	cache, err := cacheaside.New(cacheaside.Config{Observer: observer})
//
// An [Observer] may serve several caches, whose numbers are added up.
//
// # Metrics
//
// Counters and histograms of requests by result, tier and route, of why what is stored
// could not answer and why responses are not stored, of handlers and the time saved, of
// waits, refreshes, stores, the store's calls and purges. Up-down counters of what is
// under way, of the circuit breaker and the near tier are read when metrics are
// collected, which asks no server. The README has a table of all, with units and what
// they mean.
//
// Attributes are of fixed lists, but for the route, http.route. An observer tells 256
// routes apart; any beyond are "other", and counted in cacheaside.series.overflow. The
// SDK keeps 2,000 series for each instrument by default, and cacheaside.requests may have
// ten for each route: with more than 150 routes raise that limit, or drop the attribute by
// a view.
//
// A hit allocates nothing here. The SDK takes a microsecond for its measurements.
//
// # Traces
//
// A hit makes no span: its result, tier, age and so on are attributes of the span that is
// in the context of the request, which is that of the middleware in front. Spans of their
// own have a run of the handler (cacheaside fill), a wait for that of another request
// (cacheaside wait, linked to that fill), a background run (cacheaside refresh, a trace of
// its own, linked to the request that caused it) and a purge (cacheaside purge). Processes
// that wait for one another share the attribute cacheaside.flight.id.
//
// Without a span in the context these are roots of traces. Give [WithTracerProvider] a
// no-op provider if that is not wanted.
//
// Bodies, header fields and texts of errors are never in a trace, and keys only
// [WithKeys].
//
// otelhttp in front of the cache is told the route of each request, on hits too, by its
// labeler.
//
// # Names
//
// OpenTelemetry has no semantic conventions for caches yet. Names are close to those of
// HTTP where these say the same, and begin with cacheaside. where they do not; they may
// change when there are conventions.
package otel
