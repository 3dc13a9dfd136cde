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

const (
	// maxRoutes is how many routes have metrics of their own, over all caches, besides
	// [observe.Unmatched] and [observe.Other].
	maxRoutes = observe.MaxRoutes
	// maxRouteBytes is how much of a route's name tells it from others.
	maxRouteBytes = 256
)

// routes finds the metrics of a route. There are few, and soon no new ones: whoever adds
// one copies the map, and whoever looks one up does not wait.
type routes struct {
	known    atomic.Pointer[map[string]*route] // by name, which need not be its label
	other    *route
	overflow atomic.Uint64 // events whose route was one too many

	adding sync.Mutex
	labels map[string]*route // those known, by their labels
}

func newRoutes() *routes {
	other, unmatched := newRoute(observe.Other), newRoute(observe.Unmatched)
	r := &routes{other: other, labels: map[string]*route{observe.Other: other, observe.Unmatched: unmatched}}
	r.known.Store(&map[string]*route{observe.Other: other, observe.Unmatched: unmatched, "": unmatched})
	return r
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
		r.overflow.Add(1)
		return r.other
	}
	r.adding.Lock()
	defer r.adding.Unlock()
	known := *r.known.Load()
	if added, ok := known[name]; ok {
		return added
	}
	if full() {
		r.overflow.Add(1)
		return r.other
	}
	name = strings.Clone(name)
	label := strings.ToValidUTF8(name, "\uFFFD") // a registry refuses others
	added := r.labels[label]
	if added == nil {
		added = newRoute(label)
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

	collectRoutes(requests, ch, all, func(r *route) *counters { return r.requests })
	collectRoutes(misses, ch, all, func(r *route) *counters { return r.misses })
	collectRoutes(notStored, ch, all, func(r *route) *counters { return r.notStored })
	collectRoutes(handlerDuration, ch, all, func(r *route) *histograms { return r.handler })
	collectRoutes(handlerSaved, ch, all, func(r *route) *counters { return r.saved })
}

func collectRoutes[M metrics](f *family, ch chan<- prometheus.Metric, all []*route, of func(*route) M) {
	each := make([]M, len(all))
	for i, r := range all {
		each[i] = of(r)
	}
	collect(f, ch, each...)
}
