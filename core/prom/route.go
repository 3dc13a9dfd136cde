package prom

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Bounds of what has a label route, over all caches. They keep a scrape below 20 ms.
const (
	// maxRoutes is how many routes are told apart, besides [observe.Unmatched] and
	// [observe.Other]. What is beyond that or the others is counted as [observe.Other].
	maxRoutes = observe.MaxRoutes
	// maxCounters is how many counters they have, twelve each on the average.
	maxCounters = 12 * maxRoutes
	// maxBackground is how many of them have a histogram of the background, which takes as
	// much as 16 counters. All have one of the foreground.
	maxBackground = maxRoutes / 4
	// maxRouteBytes is how much of a route's name tells it from others.
	maxRouteBytes = 256
)

// routes finds the metrics of a route. There are few, and soon no new ones: whoever adds
// one copies the map, and whoever looks one up does not wait.
type routes struct {
	known atomic.Pointer[map[string]*route] // by name, which need not be its label
	other *route

	counters, background *bound
	beyond               atomic.Uint64 // events whose route was one too many

	adding sync.Mutex
	labels map[string]*route // those known, by their labels
}

func newRoutes() *routes {
	r := &routes{counters: new(bound), background: new(bound), other: newRoute(observe.Other, nil, nil, &route{})}
	r.counters.left.Store(maxCounters)
	r.background.left.Store(maxBackground)
	unmatched := newRoute(observe.Unmatched, nil, nil, &route{})
	r.labels = map[string]*route{observe.Other: r.other, observe.Unmatched: unmatched}
	r.known.Store(&map[string]*route{observe.Other: r.other, observe.Unmatched: unmatched, "": unmatched})
	return r
}

// overflow is how often something was counted under [observe.Other] for lack of room.
func (r *routes) overflow() uint64 {
	return r.beyond.Load() + r.counters.beyond.Load() + r.background.beyond.Load()
}

// of returns the metrics of the route with that name.
func (r *routes) of(name string) *route {
	if len(name) > maxRouteBytes {
		name = name[:maxRouteBytes]
	}
	if known, ok := (*r.known.Load())[name]; ok {
		return known
	}
	return r.add(name)
}

func (r *routes) add(name string) *route {
	const reserved = 3 // names known from the start
	full := func() bool { return len(*r.known.Load()) >= maxRoutes+reserved }
	if full() { // for good, so that nobody need wait to learn it
		r.beyond.Add(1)
		return r.other
	}
	r.adding.Lock()
	defer r.adding.Unlock()
	known := *r.known.Load()
	if added, ok := known[name]; ok {
		return added
	}
	if full() {
		r.beyond.Add(1)
		return r.other
	}
	name = strings.Clone(name)
	label := strings.ToValidUTF8(name, "\uFFFD") // a registry refuses others
	added := r.labels[label]
	if added == nil {
		added = newRoute(label, r.counters, r.background, r.other)
		r.labels[label] = added
	}
	known = maps.Clone(known)
	known[name] = added
	r.known.Store(&known)
	return added
}

func (r *routes) collect(ch chan<- prometheus.Metric) {
	r.adding.Lock()
	all := slices.SortedFunc(maps.Values(r.labels), func(a, b *route) int { return cmp.Compare(a.label, b.label) })
	r.adding.Unlock()

	count := func(f *family, of func(*route) *counters) {
		collectCounters(f, ch, each(all, of)...)
	}
	count(requests, func(r *route) *counters { return r.requests })
	count(misses, func(r *route) *counters { return r.misses })
	count(notStored, func(r *route) *counters { return r.notStored })
	count(handlerSaved, func(r *route) *counters { return r.saved })
	collectHistograms(handlerDuration, ch, each(all, func(r *route) *histograms { return r.handler })...)
}

func each[M any](all []*route, of func(*route) M) []M {
	metrics := make([]M, len(all))
	for i, r := range all {
		metrics[i] = of(r)
	}
	return metrics
}
