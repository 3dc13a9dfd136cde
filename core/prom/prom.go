package prom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Metrics is the observer that counts. It may be given to several caches, whose numbers
// it adds up. It is a [prometheus.Collector] as well, which [New] has registered, so that
// a Registerer can Unregister it.
type Metrics struct {
	exemplars func(context.Context) prometheus.Labels
	routes    *routes
	totals    *totals

	mu      sync.Mutex
	sources []observe.Source
}

var (
	_ observe.Attacher     = (*Metrics)(nil)
	_ prometheus.Collector = (*Metrics)(nil)
)

// Option changes what [New] makes.
type Option func(*options)

type options struct {
	exemplars func(context.Context) prometheus.Labels
}

// WithExemplars sets what gives an observation its exemplar: the labels of the trace that
// the context belongs to, such as its trace_id, and none, nil, unless that trace is
// sampled. It is called once for each event that has a duration, with the
// [observe.Event].Context, and must not block. Labels that OpenMetrics does not allow
// make no exemplar: over 128 characters with their names, a name that is none of a label,
// invalid UTF-8. Nil, the default: there are no exemplars.
func WithExemplars(labels func(context.Context) prometheus.Labels) Option {
	return func(o *options) { o.exemplars = labels }
}

// New returns an observer for the Observer field of a cache's Config, whose metrics it has
// registered with reg. It fails if reg is nil or has metrics of these names already: one
// observer serves several caches, and those whose metrics are to be told apart have one
// each with a label of its own, by [prometheus.WrapRegistererWith].
func New(reg prometheus.Registerer, opts ...Option) (*Metrics, error) {
	if reg == nil {
		return nil, errors.New("prom: Registerer is nil: give prometheus.DefaultRegisterer, or one of your own")
	}
	var o options
	for i, option := range opts {
		if option == nil {
			return nil, fmt.Errorf("prom: option %d is nil: leave it out", i+1)
		}
		option(&o)
	}
	m := &Metrics{exemplars: o.exemplars, routes: newRoutes(), totals: newTotals()}
	if err := reg.Register(m); err != nil {
		return nil, fmt.Errorf("prom: Registerer: %w: give one Metrics to all caches, "+
			"or each its own with prometheus.WrapRegistererWith(prometheus.Labels{\"cache\": NAME}, registerer)", err)
	}
	return m, nil
}

// Attach implements [observe.Attacher]. The gauges are those of all caches attached.
func (m *Metrics) Attach(s observe.Source) {
	if s == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = append(m.sources, s)
}

// Observe implements [observe.Observer].
func (m *Metrics) Observe(e *observe.Event) {
	t, outcome := m.totals, outcomeLabel.of(uint8(e.Outcome))
	switch e.Kind {
	case observe.KindRequest:
		m.request(e)
	case observe.KindHandler:
		route := m.routes.of(e.Route)
		route.handler.observe(handlerDuration.at(modeLabel.ofBool(e.Background), 0, 0), e.Total, m.exemplar(e))
		if e.Background { // no request says so
			route.unstored(e.NotStored)
		}
	case observe.KindStore:
		t.stores.add(stores.at(outcome, 0, 0), 1)
	case observe.KindStoreCall:
		t.storeCalls.observe(storeCallDuration.at(opLabel.of(uint8(e.Op)), outcome, 0), e.Total, m.exemplar(e))
	case observe.KindRefresh:
		t.refreshes.add(refreshes.at(outcome, triggerLabel.of(uint8(e.Trigger)), 0), 1)
	case observe.KindPurge:
		t.purges.add(purges.at(purgeKindLabel.of(uint8(e.Purge)), outcome, softLabel.ofBool(e.Soft)), 1)
	case observe.KindBreaker: // a gauge says whether it is open
	}
}

func (m *Metrics) request(e *observe.Event) {
	t, route, exemplar := m.totals, m.routes.of(e.Route), m.exemplar(e)
	result, tier := resultLabel.of(uint8(e.Result)), tierLabel.of(uint8(e.Tier))

	route.requests.add(requests.at(result, tier, 0), 1)
	t.duration.observe(requestDuration.at(result, tier, 0), e.Total, exemplar)
	if e.BodyBytes > 0 {
		t.bodies.add(bodyBytes.at(result, 0, 0), uint64(e.BodyBytes))
	}
	if e.Saved > 0 {
		route.saved.add(0, uint64(e.Saved.Microseconds()))
	}
	if e.Result == observe.ResultHit || e.Result == observe.ResultStale {
		t.age.observe(0, e.Age, exemplar)
	}
	if e.Cause != 0 {
		route.misses.add(misses.at(causeLabel.of(uint8(e.Cause)), 0, 0), 1)
	}
	route.unstored(e.NotStored)
	if e.Bypass != 0 {
		t.bypasses.add(bypasses.at(reasonLabel.of(uint8(e.Bypass)), 0, 0), 1)
	}
	if e.Waited != 0 {
		t.wait.observe(coalesceWait.at(waitedLabel.of(uint8(e.Waited)), 0, 0), e.Wait, exemplar)
	}
}

// unstored counts a response that was not stored, unless it was.
func (r *route) unstored(why observe.Reason) {
	if why != 0 {
		r.notStored.add(notStored.at(reasonLabel.of(uint8(why)), 0, 0), 1)
	}
}

// exemplar returns the labels for the event's exemplars; nil: there are to be none.
func (m *Metrics) exemplar(e *observe.Event) prometheus.Labels {
	if m.exemplars == nil || e.Context == nil {
		return nil
	}
	labels, length := m.exemplars(e.Context), 0
	for name, value := range labels { // what is not allowed would break the scrape
		length += utf8.RuneCountInString(name) + utf8.RuneCountInString(value)
		if !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, "__") || !utf8.ValidString(value) {
			return nil
		}
	}
	if length == 0 || length > prometheus.ExemplarMaxRunes {
		return nil
	}
	return labels
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
	for _, g := range gauges {
		ch <- g.desc
	}
	ch <- seriesOverflow
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.routes.collect(ch)
	m.totals.collect(ch)

	m.mu.Lock()
	sources := m.sources
	m.mu.Unlock()
	sums, beyond := make([]float64, len(gauges)), m.routes.overflow()
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
	ch <- prometheus.MustNewConstMetric(seriesOverflow, prometheus.CounterValue, float64(beyond))
}
