package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cacheaside/cacheaside/core/observe"
)

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

var gauges = []gauge{
	newGauge("cacheaside_waiting", "Requests that wait for what another one gets.", func(g observe.Gauges) float64 { return float64(g.Waiting) }),
	newGauge("cacheaside_refresh_queue_length", "Runs in the background that wait for their turn.", func(g observe.Gauges) float64 { return float64(g.RefreshQueue) }),
	newGauge("cacheaside_write_buffer_bytes", "Bytes of responses on their way to the store.", func(g observe.Gauges) float64 { return float64(g.WriteBuffer) }),
	newGauge("cacheaside_breaker_open", "Caches whose circuit breaker is open.", func(g observe.Gauges) float64 { return float64(bit(g.BreakerOpen)) }),
	newGauge("cacheaside_near_on", "Caches with a near tier that the server keeps true.", func(g observe.Gauges) float64 { return float64(bit(g.Near.On)) }),
	newGauge("cacheaside_near_bytes", "What the copies in the near tier take, about.", func(g observe.Gauges) float64 { return float64(g.Near.Bytes) }),
	newGauge("cacheaside_near_entries", "Copies in the near tier, about.", func(g observe.Gauges) float64 { return float64(g.Near.Entries) }),

	newCount("cacheaside_store_calls_spared_total", "Calls not made of the store while the circuit breaker was open.", func(g observe.Gauges) uint64 { return g.CallsSpared }),
	newCount("cacheaside_near_hits_total", "Reads answered by the near tier.", func(g observe.Gauges) uint64 { return g.Near.Hits }),
	newCount("cacheaside_near_admissions_total", "Copies made in the near tier.", func(g observe.Gauges) uint64 { return g.Near.Admissions }),
	newCount("cacheaside_near_invalidations_total", "Copies removed from the near tier because the server said that they changed.", func(g observe.Gauges) uint64 { return g.Near.Invalidations }),
	newCount("cacheaside_near_drops_total", "How often the near tier dropped all its copies.", func(g observe.Gauges) uint64 { return g.Near.Drops }),
}

var overflow = prometheus.NewDesc("cacheaside_series_overflow_total", "Events whose route or policy was one too many, and is counted as other.", nil, nil)

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(ch)
	}
	for _, g := range gauges {
		ch <- g.desc
	}
	ch <- overflow
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(ch)
	}

	m.mu.Lock()
	sources := m.sources
	m.mu.Unlock()
	sums, beyond := make([]float64, len(gauges)), m.routes.overflow.Load()
	for _, s := range sources {
		now := s.Gauges()
		for i, g := range gauges {
			sums[i] += g.of(now)
		}
		beyond += now.RoutesBeyond
	}
	for i, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, sums[i])
	}
	ch <- prometheus.MustNewConstMetric(overflow, prometheus.CounterValue, float64(beyond))
}
