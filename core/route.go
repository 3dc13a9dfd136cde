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
	maxRoutes = 1 << 12
	// routeSlots is for how many keys the route is remembered. A slot has the upper bits
	// of the key's hash, and the number of the route.
	routeSlots = 1 << 15
	routeBits  = 12
	// maxLabel is the longest label, in bytes.
	maxLabel = 128
)

// of returns the route of that name; nil where there are too many.
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
		return nil
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
	it := r.of(name)
	if it == nil || it.label == observe.Other {
		r.beyond.Add(1)
		return observe.Other
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
func (r *routes) remember(wire, name string) {
	it := r.of(name)
	if it == nil {
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
	router := v.req.Router
	if router == nil || v.ran != ranNot {
		return
	}
	it := v.c.routes.recall(v.key.Wire)
	if it == nil {
		name := router.Find()
		if name == "" {
			return
		}
		v.c.routes.remember(v.key.Wire, name)
		if it = v.c.routes.of(name); it == nil {
			router.Show(strings.Clone(name))
			return
		}
	}
	v.route = it
	router.Show(it.name)
}

// noteRoute remembers the route that the request has taken.
func (v *visit) noteRoute() {
	if v.req.Router == nil {
		return
	}
	if name := v.req.Router.Taken(); name != "" {
		if v.key.Wire != "" {
			v.c.routes.remember(v.key.Wire, name)
		}
		v.route = v.c.routes.of(name)
	}
}

// routeLabel is the request's route in events.
func (v *visit) routeLabel() string {
	r := &v.c.routes
	switch {
	case v.req.Route != "":
		return r.label(v.req.Route)
	case v.route != nil:
		if v.route.label == observe.Other {
			r.beyond.Add(1)
		}
		return v.route.label
	case v.c.label != "":
		return v.c.label
	}
	return observe.Unmatched
}
