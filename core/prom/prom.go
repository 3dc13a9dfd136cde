package prom

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Metrics is the observer that counts. It may be given to several caches, whose numbers
// it adds up. It is a [prometheus.Collector] as well, which [New] has registered, so that
// a Registerer can Unregister it.
type Metrics struct {
	*vectors
	exemplars func(context.Context) prometheus.Labels
	routes    *routes

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
	classic   bool
}

// WithExemplars sets what gives an observation its exemplar: the labels of the trace that
// the context belongs to, such as its trace_id, and none, nil, unless that trace is
// sampled. It is called once for each event that has a duration, with the
// [observe.Event].Context, and must not block. Labels that OpenMetrics does not allow
// (over 128 characters with their names, names that are not [a-zA-Z_][a-zA-Z0-9_]*, invalid
// UTF-8) make no exemplar. Nil, the default: there are none.
func WithExemplars(labels func(context.Context) prometheus.Labels) Option {
	return func(o *options) { o.exemplars = labels }
}

// WithoutNativeHistograms leaves the classic buckets only. That takes some 40 ns off a
// hit, and memory off each histogram.
func WithoutNativeHistograms() Option {
	return func(o *options) { o.classic = true }
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
	v := newVectors(!o.classic)
	m := &Metrics{vectors: v, routes: newRoutes(v), exemplars: o.exemplars}
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
	switch e.Kind {
	case observe.KindRequest:
		m.request(e)
	case observe.KindHandler:
		observed(m.routes.of(e.Route).handler.at(bit(e.Background), 0), e.Total, m.exemplar(e))
	case observe.KindStore:
		m.stores.at(outcomes.index(uint8(e.Outcome)), 0).Inc()
	case observe.KindStoreCall:
		observed(m.storeCalls.at(ops.index(uint8(e.Op)), outcomes.index(uint8(e.Outcome))), e.Total, m.exemplar(e))
	case observe.KindRefresh:
		m.refreshes.at(triggers.index(uint8(e.Trigger)), outcomes.index(uint8(e.Outcome))).Inc()
	case observe.KindPurge:
		m.purges[bit(e.Soft)].at(purges.index(uint8(e.Purge)), outcomes.index(uint8(e.Outcome))).Inc()
	case observe.KindBreaker: // a gauge says whether it is open
	}
}

func (m *Metrics) request(e *observe.Event) {
	route, exemplar := m.routes.of(e.Route), m.exemplar(e)
	result, tier := results.index(uint8(e.Result)), tiers.index(uint8(e.Tier))

	route.requests.at(result, tier).Inc()
	observed(m.durations.at(result, tier), e.Total, exemplar)
	if e.BodyBytes > 0 {
		m.bodies.at(result, 0).Add(float64(e.BodyBytes))
	}
	if e.Saved > 0 {
		route.saved.at(0, 0).Add(e.Saved.Seconds())
	}
	if e.Result == observe.ResultHit || e.Result == observe.ResultStale {
		observed(m.ages, e.Age, exemplar)
	}
	if e.Cause != 0 {
		route.misses.at(causes.index(uint8(e.Cause)), 0).Inc()
	}
	if e.NotStored != 0 {
		route.notStored.at(reasons.index(uint8(e.NotStored)), 0).Inc()
	}
	if e.Bypass != 0 {
		m.bypasses.at(reasons.index(uint8(e.Bypass)), 0).Inc()
	}
	if e.Waited != 0 {
		observed(m.waits.at(waits.index(uint8(e.Waited)), 0), e.Wait, exemplar)
	}
}

// observed adds d to h. A duration is negative only if the clock was set back.
func observed(h prometheus.Observer, d time.Duration, exemplar prometheus.Labels) {
	seconds := max(d, 0).Seconds()
	if exemplar == nil {
		h.Observe(seconds)
		return
	}
	h.(prometheus.ExemplarObserver).ObserveWithExemplar(seconds, exemplar)
}

// exemplar returns the labels for the event's exemplars; nil: there are to be none.
func (m *Metrics) exemplar(e *observe.Event) prometheus.Labels {
	if m.exemplars == nil || e.Context == nil {
		return nil
	}
	labels, length := m.exemplars(e.Context), 0
	for name, value := range labels { // with labels that are not allowed, client_golang would panic
		length += utf8.RuneCountInString(name) + utf8.RuneCountInString(value)
		if !model.LegacyValidation.IsValidLabelName(name) || name[0] == '_' || !utf8.ValidString(value) {
			return nil
		}
	}
	if length == 0 || length > prometheus.ExemplarMaxRunes {
		return nil
	}
	return labels
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
