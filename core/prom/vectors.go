package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cacheaside/cacheaside/core/observe"
)

var (
	// durationBuckets, in seconds: from what a copy in this process takes to what a
	// client does not wait for any longer.
	durationBuckets = []float64{
		50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10,
	}
	// ageBuckets, in seconds: up to a day.
	ageBuckets = []float64{0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
)

// vectors are the metrics that events are counted in. The fields that are tables have
// those without a label route; see route for the others.
type vectors struct {
	requestsVec, missesVec, notStoredVec, savedVec *prometheus.CounterVec
	handlerVec                                     *prometheus.HistogramVec

	durations  *table[prometheus.Observer]
	bodies     *table[prometheus.Counter]
	bypasses   *table[prometheus.Counter]
	ages       prometheus.Histogram
	waits      *table[prometheus.Observer]
	refreshes  *table[prometheus.Counter]
	stores     *table[prometheus.Counter]
	storeCalls *table[prometheus.Observer]
	purges     [2]*table[prometheus.Counter] // by their label soft

	all []prometheus.Collector
}

func newVectors(native bool) *vectors {
	v := new(vectors)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		v.all = append(v.all, vec)
		return vec
	}
	histogramOpts := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		o := prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
		if native {
			o.NativeHistogramBucketFactor, o.NativeHistogramMaxBucketNumber, o.NativeHistogramMinResetDuration = 1.1, 160, time.Hour
		}
		return o
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(histogramOpts(name, help, durationBuckets), labels)
		v.all = append(v.all, vec)
		return vec
	}

	v.requestsVec = counter("cacheaside_requests_total", "Requests, by how they were answered and where the stored response was.", "route", "result", "tier")
	v.durations = newTable(histogram("cacheaside_request_duration_seconds", "Time from a request until its answer.", "result", "tier").WithLabelValues, results, tiers)
	v.bodies = newTable(counter("cacheaside_response_body_bytes_total", "Bytes of the bodies sent, as far as they are known.", "result").WithLabelValues, results, one)
	v.missesVec = counter("cacheaside_misses_total", "Requests that what is stored could not answer, by the cause.", "route", "cause")
	v.notStoredVec = counter("cacheaside_not_stored_total", "Requests whose response was not stored, by the reason.", "route", "reason")
	v.bypasses = newTable(counter("cacheaside_bypasses_total", "Requests that were none of the cache's business, by the reason.", "reason").WithLabelValues, reasons, one)
	v.handlerVec = histogram("cacheaside_handler_duration_seconds", "Time that handlers took, for a client or in the background.", "route", "mode")
	v.savedVec = counter("cacheaside_handler_saved_seconds_total", "Time that handlers had taken for the stored responses that were sent in their place.", "route")
	v.ages = prometheus.NewHistogram(histogramOpts("cacheaside_hit_age_seconds", "Age of the stored responses sent, fresh or stale.", ageBuckets))
	v.all = append(v.all, v.ages)
	v.waits = newTable(histogram("cacheaside_coalesce_wait_seconds", "Time that requests waited for what another one gets, by how that ended.", "outcome").WithLabelValues, waits, one)
	v.refreshes = newTable(counter("cacheaside_refreshes_total", "Runs in the background, by what started them and how they ended.", "trigger", "outcome").WithLabelValues, triggers, outcomes)
	v.stores = newTable(counter("cacheaside_stores_total", "Responses that were to be stored, by what became of that.", "outcome").WithLabelValues, outcomes, one)
	v.storeCalls = newTable(histogram("cacheaside_store_call_duration_seconds", "Time that calls of a store outside this process took.", "op", "outcome").WithLabelValues, ops, outcomes)
	purgesVec := counter("cacheaside_purges_total", "Purges, by what was purged, whether it was made stale only, and how that ended.", "kind", "soft", "outcome")
	for soft := range v.purges {
		v.purges[soft] = newTable(purgesVec.MustCurryWith(prometheus.Labels{"soft": bools[soft]}).WithLabelValues, purges, outcomes)
	}
	v.begin()
	return v
}

// route returns the metrics of a route.
func (v *vectors) route(label string) *route {
	labels := prometheus.Labels{"route": label}
	return &route{
		requests:  newTable(v.requestsVec.MustCurryWith(labels).WithLabelValues, results, tiers),
		misses:    newTable(v.missesVec.MustCurryWith(labels).WithLabelValues, causes, one),
		notStored: newTable(v.notStoredVec.MustCurryWith(labels).WithLabelValues, reasons, one),
		handler:   newTable(v.handlerVec.MustCurryWith(labels).WithLabelValues, modes, one),
		saved:     newTable(v.savedVec.MustCurryWith(labels).WithLabelValues, one, one),
	}
}

// begin makes the series of what is to be told at its first time, in an alert for
// instance: increase() does not see the step from no series to 1.
func (v *vectors) begin() {
	for _, o := range []observe.Outcome{
		observe.OutcomeOK, observe.OutcomeRefused, observe.OutcomePurged, observe.OutcomeContended, observe.OutcomeDropped, observe.OutcomeError,
	} {
		v.stores.at(outcomes.index(uint8(o)), 0)
	}
	for _, o := range []observe.Outcome{observe.OutcomeRenewed, observe.OutcomeDropped, observe.OutcomeError} {
		for trigger := range triggers[1:] {
			v.refreshes.at(trigger+1, outcomes.index(uint8(o)))
		}
	}
	for _, o := range []observe.Outcome{observe.OutcomeOK, observe.OutcomeError} {
		for kind := range purges[1:] {
			v.purges[0].at(kind+1, outcomes.index(uint8(o)))
			v.purges[1].at(kind+1, outcomes.index(uint8(o)))
		}
	}
}
