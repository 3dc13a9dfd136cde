package cacheaside

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// inFlight is a run of the handler that other requests may wait for.
type inFlight = flight.Flight[entry.Entry, lock]

// lock is what a leader holds against other processes. Whoever ends the flight
// releases it: that need not be the leader.
type lock struct {
	mu       sync.Mutex
	claim    *claim // nil: it holds nothing
	released bool
	awaits   atomic.Pointer[string]   // the token that the leader waits for
	follows  atomic.Pointer[inFlight] // whom a request that the leader's handler has made waits for
	writes   atomic.Bool              // a write has the duty to end the flight, and the leader may not
	behind   atomic.Bool              // a background run leads, which ends the flight by itself in time
	id       atomic.Pointer[string]   // for events; nil: nobody observes
	link     atomic.Pointer[any]      // of the span of the fill; nil: there is none
}

// name gives the flight the id by which events know it.
func (l *lock) name(id string) { l.id.Store(&id) }

// flightID is what name gave it.
func (l *lock) flightID() string {
	if id := l.id.Load(); id != nil {
		return *id
	}
	return ""
}

// take notes what the leader has locked, unless its flight is over meanwhile.
func (l *lock) take(cl *claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.released {
		l.claim = cl
	}
	return !l.released
}

func (l *lock) has(cl *claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claim == cl
}

// release returns the claim to be given up, the first time.
func (l *lock) release() *claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return nil
	}
	l.released = true
	return l.claim
}

// held is the token under which l holds, or held, a lock.
func (l *lock) held() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim == nil || !l.claim.own {
		return ""
	}
	return l.claim.token
}

// join is Join of c.flights, except that a flight that takes too long gives way.
func (c *Cache) join(key string) (f *inFlight, leads bool, ticket int) {
	for {
		f, leads, ticket = c.flights.Join(key)
		if leads || !c.hangs(f) {
			return f, leads, ticket
		}
		f.Leave()
		c.end(f, flight.Retry, nil)
	}
}

// tryLead is TryLead of c.flights, except that a flight that takes too long gives way.
// It returns nil where somebody else leads.
func (c *Cache) tryLead(key string) *inFlight {
	for {
		f, leads := c.flights.TryLead(key)
		switch {
		case leads:
			return f
		case !c.hangs(f):
			return nil
		}
		c.end(f, flight.Retry, nil)
	}
}

// hangs reports whether the leader of l has had as much time as others wait for
// it. It may never come back.
func (c *Cache) hangs(l *inFlight) bool {
	return !l.Leader.behind.Load() && l.Age() >= c.policy.Coalescing.Wait
}

// share gives those who wait for l what was found in the store.
func (v *visit) share(l *inFlight) { v.c.conclude(l, flight.Shared, &v.entry) }

// conclude tells those who wait for l how it ended; only the first call counts.
// A handle further out does not know of a write that l is left to.
func (c *Cache) conclude(l *inFlight, o flight.Outcome, e *entry.Entry) {
	if l != nil && !l.Leader.writes.Load() {
		c.end(l, o, e)
	}
}

// end is conclude for those who may end l even while a write is to.
func (c *Cache) end(l *inFlight, o flight.Outcome, e *entry.Entry) {
	if l.Over() {
		return
	}
	if e == nil {
		e = &entry.Entry{}
	}
	switch o {
	case flight.Pass:
		c.passes.Put(l.Key(), struct{}{}, c.cfg.Now().UnixNano())
	case flight.Shared:
		c.passes.Drop(l.Key())
	}
	if cl := l.Leader.release(); cl != nil { // before those who wait take the lock themselves
		c.claims.release(cl, o == flight.Pass)
	}
	l.End(o, *e)
}

// flightKey tells apart what one request can get for others: variants, as far as
// they are known, and the answers to requests with credentials or cookies, which
// may not be shareable where others are.
func (v *visit) flightKey() string {
	key := v.key.Wire
	if len(v.selecting.Names) > 0 {
		v.scratch = v.selecting.AppendValues(v.scratch[:0], &v.req)
		key = v.key.Variant(v.scratch)
	}
	switch {
	case len(v.header.Values("Authorization")) > 0:
		key += ":auth"
	case v.asked&keys.AskedCookies != 0 && !slices.Contains(v.selecting.Names, "Cookie") && v.readsCookies():
		key += ":cookie"
	}
	return key
}

// conditional reports whether the client asks for a response only if it has
// changed.
func (v *visit) conditional() bool {
	return len(v.header.Values("If-None-Match")) > 0 || len(v.header.Values("If-Modified-Since")) > 0
}
