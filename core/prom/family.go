package prom

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cacheaside/cacheaside/core/observe"
)

// The vectors of client_golang look their metrics up by a hash of all labels, for each
// event, and a registry sorts what they give it at each scrape. As all labels but the
// route are enums, a family is an array here, which is in order already.

// label is a label and its values.
type label struct {
	name  string
	pairs []*dto.LabelPair // by value
	index []uint8          // where the value of an enum is in pairs, by its number
}

// enumLabel is one whose values are the names of an enum. The one called zero is for an
// event that has none, or one that this version does not know.
func enumLabel[E interface {
	~uint8
	fmt.Stringer
}](name, zero string) *label {
	values := []string{zero}
	for e := E(1); e.String() != ""; e++ {
		values = append(values, e.String())
	}
	return newLabel(name, values...)
}

func newLabel(name string, values ...string) *label {
	l := &label{name: name}
	sorted := slices.Compact(slices.Sorted(slices.Values(values)))
	for _, value := range sorted {
		l.pairs = append(l.pairs, pair(name, value))
	}
	for _, value := range values {
		l.index = append(l.index, uint8(slices.Index(sorted, value)))
	}
	return l
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// of returns where the value with that number is.
func (l *label) of(n uint8) int {
	if int(n) >= len(l.index) {
		n = 0
	}
	return int(l.index[n])
}

func (l *label) ofBool(b bool) int {
	if b {
		return l.of(1)
	}
	return l.of(0)
}

var (
	resultLabel    = enumLabel[observe.Result]("result", observe.Other)
	tierLabel      = enumLabel[observe.Tier]("tier", observe.TierNone.String())
	causeLabel     = enumLabel[observe.Cause]("cause", observe.Other)
	reasonLabel    = enumLabel[observe.Reason]("reason", observe.Other)
	waitedLabel    = enumLabel[observe.Wait]("outcome", observe.Other)
	opLabel        = enumLabel[observe.Op]("op", observe.Other)
	outcomeLabel   = enumLabel[observe.Outcome]("outcome", observe.Other)
	triggerLabel   = enumLabel[observe.Trigger]("trigger", observe.Other)
	purgeKindLabel = enumLabel[observe.Purge]("kind", observe.Other)
	modeLabel      = newLabel("mode", "foreground", "background")
	softLabel      = newLabel("soft", "false", "true")
)

// family is a metric with up to three labels besides the route.
type family struct {
	desc   *prometheus.Desc
	labels []*label // by name
	sizes  [3]int   // how many values each has; 1 for one that there is not
	route  int      // where the label route is among them; -1: there is none
	unit   float64  // of a counter: what its counts are
	layout *layout  // of a histogram
}

const (
	once     = 1    // a counter of events
	microsec = 1e-6 // a counter of seconds
)

// newFamily takes the labels in the order of their names; nil stands for the route.
func newFamily(name, help string, labels ...*label) *family {
	f := &family{route: slices.Index(labels, nil), sizes: [3]int{1, 1, 1}}
	names := make([]string, len(labels))
	for i, l := range labels {
		if l == nil {
			names[i] = "route"
			continue
		}
		names[i] = l.name
		f.sizes[len(f.labels)] = len(l.pairs)
		f.labels = append(f.labels, l)
	}
	f.desc = prometheus.NewDesc(name, help, names, nil)
	return f
}

func newCounter(name, help string, unit float64, labels ...*label) *family {
	f := newFamily(name, help, labels...)
	f.unit = unit
	return f
}

func newHistograms(name, help string, l *layout, labels ...*label) *family {
	f := newFamily(name, help, labels...)
	f.layout = l
	return f
}

// len is how many metrics there may be of a route.
func (f *family) len() int { return f.sizes[0] * f.sizes[1] * f.sizes[2] }

// at is where the metric with these values of the labels is; 0 for a label that there is not.
func (f *family) at(i, j, k int) int { return (i*f.sizes[1]+j)*f.sizes[2] + k }

// pairs appends the labels of the metric there to to.
func (f *family) pairs(to []*dto.LabelPair, at int, route *dto.LabelPair) []*dto.LabelPair {
	rest := f.len()
	for i, l := range f.labels {
		if i == f.route {
			to = append(to, route)
		}
		rest /= f.sizes[i]
		to = append(to, l.pairs[at/rest])
		at %= rest
	}
	if f.route == len(f.labels) {
		to = append(to, route)
	}
	return to
}

// counters are the counters of a family, of one route if it has that label. One is
// exported from its first event on.
type counters struct {
	*family
	route  *dto.LabelPair
	series *bound    // nil: there are few
	other  *counters // those of the route [observe.Other], for what is beyond the bound
	cells  []counter
}

type counter struct {
	n       atomic.Uint64
	created atomic.Int64 // nanoseconds since 1970; 0: it is not exported
}

// bound is how many more counters, or histograms, there may be.
type bound struct {
	left   atomic.Int64
	beyond atomic.Uint64 // how often another one was wanted
	mu     sync.Mutex
}

// begin calls begin unless begun says that somebody else has, and reports whether there was
// room for one more.
func (b *bound) begin(begun func() bool, begin func()) bool {
	if b == nil {
		begin()
		return true
	}
	if b.left.Load() > 0 { // never again when there is no room, so that nobody need wait
		b.mu.Lock()
		defer b.mu.Unlock()
	}
	switch {
	case begun():
	case b.left.Load() > 0:
		b.left.Add(-1)
		begin()
	default:
		b.beyond.Add(1)
		return false
	}
	return true
}

func (f *family) counters(route *dto.LabelPair, series *bound, other *counters) *counters {
	return &counters{family: f, route: route, series: series, other: other, cells: make([]counter, f.len())}
}

func (c *counters) add(at int, n uint64) {
	if cell := &c.cells[at]; cell.created.Load() != 0 || c.begin(at) {
		cell.n.Add(n)
		return
	}
	c.other.add(at, n)
}

// begin exports the counter, be it 0, and reports whether there was room for it.
func (c *counters) begin(at int) bool {
	created := &c.cells[at].created
	return c.series.begin(
		func() bool { return created.Load() != 0 },
		func() { created.CompareAndSwap(0, time.Now().UnixNano()) },
	)
}

// collectCounters collects the counters of a family, each route's in turn, in the order
// in which a registry wants them.
func collectCounters(f *family, ch chan<- prometheus.Metric, routes ...*counters) {
	var samples []sample // made by the dozen
	for i := range f.sizes[0] {
		for _, r := range routes {
			for at := f.at(i, 0, 0); at < f.at(i+1, 0, 0); at++ {
				created := r.cells[at].created.Load()
				if created == 0 {
					continue
				}
				if len(samples) == cap(samples) {
					samples = make([]sample, 0, min(128, f.len()*len(routes)))
				}
				samples = samples[:len(samples)+1]
				s := &samples[len(samples)-1]
				s.desc, s.value = f.desc, float64(r.cells[at].n.Load())*f.unit
				s.created.Seconds, s.created.Nanos = created/1e9, int32(created%1e9)
				s.labels = f.pairs(s.pairs[:0], at, r.route)
				ch <- s
			}
		}
	}
}

// sample is what a counter is at a scrape.
type sample struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	value   float64
	created timestamppb.Timestamp
	counter dto.Counter
	pairs   [3]*dto.LabelPair // of all labels
}

// Desc implements [prometheus.Metric].
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *sample) Write(out *dto.Metric) error {
	s.counter.Value, s.counter.CreatedTimestamp = &s.value, &s.created
	out.Label, out.Counter = s.labels, &s.counter
	return nil
}

// histograms are the histograms of a family, of one route if it has that label. One is
// made, and exported, at its first event.
type histograms struct {
	*family
	route  *dto.LabelPair
	series []*bound    // of each; nil: there are few
	other  *histograms // those of the route [observe.Other], for what is beyond the bound
	cells  []atomic.Pointer[histogram]
}

func (f *family) histograms(route *dto.LabelPair, series []*bound, other *histograms) *histograms {
	if series == nil {
		series = make([]*bound, f.len())
	}
	return &histograms{family: f, route: route, series: series, other: other, cells: make([]atomic.Pointer[histogram], f.len())}
}

func (h *histograms) observe(at int, d time.Duration, exemplar prometheus.Labels) {
	found := h.cells[at].Load()
	if found == nil {
		found = h.begin(at)
	}
	found.observe(d, exemplar)
}

// begin makes the histogram, or returns that of [observe.Other] if there is no room for it.
func (h *histograms) begin(at int) *histogram {
	cell := &h.cells[at]
	if h.series[at].begin(
		func() bool { return cell.Load() != nil },
		func() {
			cell.CompareAndSwap(nil, newHistogram(h.desc, slices.Clip(h.pairs(nil, at, h.route)), h.layout))
		},
	) {
		return cell.Load()
	}
	if found := h.other.cells[at].Load(); found != nil {
		return found
	}
	return h.other.begin(at)
}

// collectHistograms does for histograms what collectCounters does.
func collectHistograms(f *family, ch chan<- prometheus.Metric, routes ...*histograms) {
	for i := range f.sizes[0] {
		for _, r := range routes {
			for at := f.at(i, 0, 0); at < f.at(i+1, 0, 0); at++ {
				if found := r.cells[at].Load(); found != nil {
					ch <- found
				}
			}
		}
	}
}
