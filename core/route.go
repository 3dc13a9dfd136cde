package cacheaside

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/observe"
)

// The route of a request is known to most frameworks only when the handler has been
// called. On a hit it is remembered, or else looked up without calling anything, so that
// loggers and metrics in front of the cache see what they see without it.

// routes are those that a cache has seen.
type routes struct {
	mu     sync.Mutex
	known  atomic.Pointer[map[string]*route] // by name; copied on write
	list   atomic.Pointer[[]*route]          // by number
	memory atomic.Pointer[[routeSlots]atomic.Uint64]
	labels int // handed out, with the mutex
	beyond atomic.Uint64
}

// route is one of them.
type route struct {
	name   string // as its framework writes it
	label  string // [observe.Other] where it is one too many
	number uint64
}

const (
	// maxRoutes is how many routes are remembered by name.
	maxRoutes = 1 << routeBits
	// routeSlots is for how many keys the route is remembered. A slot has the upper bits
	// of the key's hash, and the number of the route.
	routeSlots = 1 << 15
	routeBits  = 10
	// maxLabel is the longest label, in bytes.
	maxLabel = 128
)

// of returns the route of that name. Where there are too many it is not kept.
func (r *routes) of(name string) *route {
	if known := r.known.Load(); known != nil {
		if it := (*known)[name]; it != nil {
			return it
		}
	}
	return r.add(name)
}

func (r *routes) add(name string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, list := map[string]*route{}, []*route{}
	if known := r.known.Load(); known != nil {
		old, list = *known, *r.list.Load()
	}
	if it := old[name]; it != nil {
		return it
	}
	if len(list) == maxRoutes {
		return &route{strings.Clone(name), observe.Other, maxRoutes}
	}
	it := &route{name: strings.Clone(name), label: observe.Other, number: uint64(len(list))}
	if r.labels < observe.MaxRoutes {
		it.label = labelOf(it.name)
		r.labels++
	}
	known := make(map[string]*route, len(old)+1)
	for k, v := range old {
		known[k] = v
	}
	known[it.name] = it
	list = append(list[:len(list):len(list)], it)
	r.list.Store(&list)
	r.known.Store(&known)
	return it
}

// label is what a name is called in events.
func (r *routes) label(name string) string {
	return r.counted(r.of(name))
}

// counted is the route's label, and counts those that have none of their own.
func (r *routes) counted(it *route) string {
	if it.label == observe.Other {
		r.beyond.Add(1)
	}
	return it.label
}

// labelOf makes a label of a name: without the method that net/http writes in front, and
// fit to be shown.
func labelOf(name string) string {
	if method, path, ok := strings.Cut(name, " "); ok && !strings.ContainsRune(method, '/') {
		name = strings.TrimLeft(path, " \t")
	}
	name = strings.ToValidUTF8(name, "\uFFFD")
	if len(name) > maxLabel {
		name = strings.ToValidUTF8(name[:maxLabel], "") + "…"
	}
	return name
}

// remember notes the route that requests of a key take.
func (r *routes) remember(wire string, it *route) {
	if it.number == maxRoutes {
		return
	}
	memory := r.memory.Load()
	if memory == nil {
		r.memory.CompareAndSwap(nil, new([routeSlots]atomic.Uint64))
		memory = r.memory.Load()
	}
	slot, tag := routeSlot(wire)
	if want := tag | it.number; memory[slot].Load() != want {
		memory[slot].Store(want)
	}
}

// recall returns the route that was remembered for a key.
func (r *routes) recall(wire string) *route {
	memory := r.memory.Load()
	if memory == nil {
		return nil
	}
	slot, tag := routeSlot(wire)
	if at := memory[slot].Load(); at != 0 && at&^(1<<routeBits-1) == tag {
		return (*r.list.Load())[at&(1<<routeBits-1)]
	}
	return nil
}

var routeSeed = maphash.MakeSeed()

// routeSlot is where a key's route is; its tag is never 0.
func routeSlot(wire string) (slot int, tag uint64) {
	h := maphash.String(routeSeed, wire)
	return int(h % routeSlots), (h | 1<<63) &^ (1<<routeBits - 1)
}

// showRoute has those in front see which route a request takes that is answered without
// its handler.
func (v *visit) showRoute() {
	if v.req.Router == nil || v.ran != ranNot {
		return
	}
	if v.findRoute(); v.route != nil {
		v.req.Router.Show(v.route.name)
	}
}

// findRoute finds the route of a request whose handler is not called.
func (v *visit) findRoute() {
	if v.route != nil || v.req.Router == nil {
		return
	}
	if v.route = v.c.routes.recall(v.key.Wire); v.route != nil {
		return
	}
	if name := v.req.Router.Find(); name != "" {
		v.route = v.c.routes.of(name)
		v.c.routes.remember(v.key.Wire, v.route)
	}
}

// noteRoute remembers the route that the request has taken.
func (v *visit) noteRoute() {
	if v.req.Router == nil {
		return
	}
	if name := v.req.Router.Taken(); name != "" {
		if v.route = v.c.routes.of(name); v.key.Wire != "" {
			v.c.routes.remember(v.key.Wire, v.route)
		}
	}
}

// routeLabel is the request's route in events.
func (v *visit) routeLabel() string {
	r := &v.c.routes
	switch {
	case v.req.Route != "":
		return r.label(v.req.Route)
	case v.route != nil:
		return r.counted(v.route)
	case v.c.label != "":
		return v.c.label
	}
	return observe.Unmatched
}
