package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cacheaside/cacheaside/core/observe"
)

// The bounds of buckets, in seconds.
var (
	// durations: from what a copy in this process takes to what a client does not wait
	// for any longer; natively from 1 µs to 17 minutes.
	durations = newLayout([]float64{
		50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10,
	}, -20, 10)
	// ages: up to a day; natively from 0.06 s to a year.
	ages = newLayout([]float64{0.1, 0.5, 1, 5, 10, 30, 60, 5 * 60, 15 * 60, 30 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}, -4, 25)
)

// routeLabel stands for the label route.
var routeLabel *label

// What events are counted in. The labels are in the order of their names.
var (
	requests = newCounter("cacheaside_requests_total", "Requests, by how they were answered and where the stored response was.",
		once, resultLabel, routeLabel, tierLabel)
	requestDuration = newHistograms("cacheaside_request_duration_seconds", "Time from a request until its answer.",
		durations, resultLabel, tierLabel)
	bodyBytes = newCounter("cacheaside_response_body_bytes_total", "Bytes of the bodies sent, as far as they are known.",
		once, resultLabel)
	misses = newCounter("cacheaside_misses_total", "Requests that what is stored could not answer, by the cause.",
		once, causeLabel, routeLabel)
	notStored = newCounter("cacheaside_not_stored_total", "Responses that were not stored, of requests and of background runs, by the reason.",
		once, reasonLabel, routeLabel)
	bypasses = newCounter("cacheaside_bypasses_total", "Requests that were none of the cache's business, by the reason.",
		once, reasonLabel)
	handlerDuration = newHistograms("cacheaside_handler_duration_seconds", "Time that handlers took, for a client or in the background.",
		durations, modeLabel, routeLabel)
	handlerSaved = newCounter("cacheaside_handler_saved_seconds_total", "Time that handlers had taken for the stored responses that were sent in their place.",
		microsec, routeLabel)
	hitAge = newHistograms("cacheaside_hit_age_seconds", "Age of the stored responses sent, fresh or stale.",
		ages)
	coalesceWait = newHistograms("cacheaside_coalesce_wait_seconds", "Time that requests waited for what another one gets, by how that ended.",
		durations, waitedLabel)
	refreshes = newCounter("cacheaside_refreshes_total", "Runs in the background, by what started them and how they ended.",
		once, outcomeLabel, triggerLabel)
	stores = newCounter("cacheaside_stores_total", "Responses that were to be stored, by what became of that.",
		once, outcomeLabel)
	storeCallDuration = newHistograms("cacheaside_store_call_duration_seconds", "Time that calls of a store outside this process took.",
		durations, opLabel, outcomeLabel)
	purges = newCounter("cacheaside_purges_total", "Purges, by what was purged, how that ended, and whether it was made stale only.",
		once, purgeKindLabel, outcomeLabel, softLabel)

	families = []*family{
		requests, requestDuration, bodyBytes, misses, notStored, bypasses, handlerDuration, handlerSaved, hitAge, coalesceWait,
		refreshes, stores, storeCallDuration, purges,
	}
)

// route has the metrics that have a label route.
type route struct {
	label     string
	requests  *counters
	misses    *counters
	notStored *counters
	handler   *histograms
	saved     *counters
}

// newRoute makes those of a route. What is beyond the bounds, of counters and of histograms
// of the background, is counted under other; no bounds: there are none.
func newRoute(value string, counters, background *bound, other *route) *route {
	l := pair("route", value)
	histograms := make([]*bound, handlerDuration.len())
	histograms[handlerDuration.at(modeLabel.ofBool(true), 0, 0)] = background
	return &route{
		label:     value,
		requests:  requests.counters(l, counters, other.requests),
		misses:    misses.counters(l, counters, other.misses),
		notStored: notStored.counters(l, counters, other.notStored),
		handler:   handlerDuration.histograms(l, histograms, other.handler),
		saved:     handlerSaved.counters(l, counters, other.saved),
	}
}

// totals are the metrics that have no label route.
type totals struct {
	duration   *histograms
	bodies     *counters
	bypasses   *counters
	age        *histograms
	wait       *histograms
	refreshes  *counters
	stores     *counters
	storeCalls *histograms
	purges     *counters
}

func newTotals() *totals {
	t := &totals{
		duration: requestDuration.histograms(nil, nil, nil), bodies: bodyBytes.counters(nil, nil, nil), bypasses: bypasses.counters(nil, nil, nil),
		age: hitAge.histograms(nil, nil, nil), wait: coalesceWait.histograms(nil, nil, nil), refreshes: refreshes.counters(nil, nil, nil),
		stores: stores.counters(nil, nil, nil), storeCalls: storeCallDuration.histograms(nil, nil, nil), purges: purges.counters(nil, nil, nil),
	}
	t.begin()
	return t
}

// begin exports what an alert is to see at its first time: increase() does not see the
// step from no series to 1.
func (t *totals) begin() {
	outcome := func(o observe.Outcome) int { return outcomeLabel.of(uint8(o)) }
	for _, o := range []observe.Outcome{
		observe.OutcomeOK, observe.OutcomeRefused, observe.OutcomePurged, observe.OutcomeContended, observe.OutcomeDropped, observe.OutcomeError,
	} {
		t.stores.begin(stores.at(outcome(o), 0, 0))
	}
	for _, o := range []observe.Outcome{observe.OutcomeRenewed, observe.OutcomeDropped, observe.OutcomeError} {
		for trigger := observe.TriggerSWR; trigger.String() != ""; trigger++ {
			t.refreshes.begin(refreshes.at(outcome(o), triggerLabel.of(uint8(trigger)), 0))
		}
	}
	for _, o := range []observe.Outcome{observe.OutcomeOK, observe.OutcomeError} {
		for kind := observe.PurgeTags; kind.String() != ""; kind++ {
			t.purges.begin(purges.at(purgeKindLabel.of(uint8(kind)), outcome(o), softLabel.ofBool(false)))
			t.purges.begin(purges.at(purgeKindLabel.of(uint8(kind)), outcome(o), softLabel.ofBool(true)))
		}
	}
}

func (t *totals) collect(ch chan<- prometheus.Metric) {
	collectHistograms(requestDuration, ch, t.duration)
	collectCounters(bodyBytes, ch, t.bodies)
	collectCounters(bypasses, ch, t.bypasses)
	collectHistograms(hitAge, ch, t.age)
	collectHistograms(coalesceWait, ch, t.wait)
	collectCounters(refreshes, ch, t.refreshes)
	collectCounters(stores, ch, t.stores)
	collectHistograms(storeCallDuration, ch, t.storeCalls)
	collectCounters(purges, ch, t.purges)
}

// gauge is a metric that the caches are asked for at each scrape.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(observe.Gauges) float64
}

func newGauge(name, help string, of func(observe.Gauges) float64) gauge {
	return gauge{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, of}
}

func newCount(name, help string, of func(observe.Gauges) uint64) gauge {
	return gauge{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, func(g observe.Gauges) float64 { return float64(of(g)) }}
}

// How it is now, summed over all caches.
var (
	gauges = []gauge{
		newGauge("cacheaside_waiting", "Requests that wait for what another one gets.",
			func(g observe.Gauges) float64 { return float64(g.Waiting) }),
		newGauge("cacheaside_refresh_queue_length", "Runs in the background that wait for their turn.",
			func(g observe.Gauges) float64 { return float64(g.RefreshQueue) }),
		newGauge("cacheaside_write_buffer_bytes", "Bytes of responses on their way to the store.",
			func(g observe.Gauges) float64 { return float64(g.WriteBuffer) }),
		newGauge("cacheaside_breaker_open", "Caches whose circuit breaker is open.",
			func(g observe.Gauges) float64 { return one(g.BreakerOpen) }),
		newGauge("cacheaside_near_on", "Caches with a near tier that the server keeps true.",
			func(g observe.Gauges) float64 { return one(g.Near.On) }),
		newGauge("cacheaside_near_bytes", "What the copies in the near tier take, about.",
			func(g observe.Gauges) float64 { return float64(g.Near.Bytes) }),
		newGauge("cacheaside_near_entries", "Copies in the near tier, about.",
			func(g observe.Gauges) float64 { return float64(g.Near.Entries) }),

		newCount("cacheaside_store_calls_spared_total", "Calls not made of the store while the circuit breaker was open.",
			func(g observe.Gauges) uint64 { return g.CallsSpared }),
		newCount("cacheaside_near_hits_total", "Reads answered by the near tier.",
			func(g observe.Gauges) uint64 { return g.Near.Hits }),
		newCount("cacheaside_near_admissions_total", "Copies made in the near tier.",
			func(g observe.Gauges) uint64 { return g.Near.Admissions }),
		newCount("cacheaside_near_invalidations_total", "Copies removed from the near tier because the server said that they changed.",
			func(g observe.Gauges) uint64 { return g.Near.Invalidations }),
		newCount("cacheaside_near_drops_total", "Times that the near tier dropped all its copies.",
			func(g observe.Gauges) uint64 { return g.Near.Drops }),
	}
	seriesOverflow = prometheus.NewDesc("cacheaside_series_overflow_total", "Counts that went to the route other, as there were too many routes, policies or series.", nil, nil)
)

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
