package prom

import (
	"maps"
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

// route has the metrics that have a label route.
type route struct {
	requests  *table[prometheus.Counter]
	misses    *table[prometheus.Counter]
	notStored *table[prometheus.Counter]
	handler   *table[prometheus.Observer]
	saved     *table[prometheus.Counter]
}

// routes finds the metrics of a route. There are few, and soon no new ones: whoever adds
// one copies the map, and whoever looks one up does not wait.
type routes struct {
	vectors  *vectors
	known    atomic.Pointer[map[string]*route]
	reserved int // of those known: they are no routes
	other    *route
	overflow atomic.Uint64 // events whose route was one too many

	adding sync.Mutex
}

func newRoutes(v *vectors) *routes {
	other, unmatched := v.route(observe.Other), v.route(observe.Unmatched)
	known := map[string]*route{observe.Other: other, observe.Unmatched: unmatched, "": unmatched}
	r := &routes{vectors: v, other: other, reserved: len(known)}
	r.known.Store(&known)
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
	if r.full() { // for good, so that those beyond need not wait
		r.overflow.Add(1)
		return r.other
	}
	r.adding.Lock()
	defer r.adding.Unlock()
	known := *r.known.Load()
	if added, ok := known[name]; ok {
		return added
	}
	if r.full() {
		r.overflow.Add(1)
		return r.other
	}
	name = strings.Clone(name)
	added := r.vectors.route(strings.ToValidUTF8(name, "\uFFFD")) // client_golang panics with others
	known = maps.Clone(known)
	known[name] = added
	r.known.Store(&known)
	return added
}

func (r *routes) full() bool { return len(*r.known.Load()) >= maxRoutes+r.reserved }
