package observe

import (
	"context"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// Event is one thing that a cache has done. Kind says what, and which of the fields
// mean something; the others are zero. Times and durations are by Config.Now.
//
// An Event and its strings are good for the call of Observe only, and are not to be
// changed: an observer that keeps a string clones it, but for Route and Policy, of which
// there are few.
type Event struct {
	Kind Kind
	// Context is that of the request, of a background run's request, or of who purges;
	// else one without values. It may have ended.
	Context context.Context //nolint:containedctx // it is what was called with
	Time    time.Time       // when it began

	// Total is how long it took: of a request until it was answered, of a handler until
	// it has returned, of a store until the response was in the store, or was not.
	Total time.Duration
	// Lookup is how long a request had to wait for the store, where what is stored is not
	// in this process.
	Lookup time.Duration
	// Wait is how long a request has waited for what another one gets from the handler,
	// and Waited how that ended.
	Wait   time.Duration
	Waited Wait
	// Handler is how long the request's own run of the handler took; 0: it had none.
	Handler time.Duration
	// Age is the age of a stored response that answers a request (RFC 9111 section
	// 4.2.3), and TTL the freshness that it has left, negative when it is stale. Of a
	// response that was stored TTL is its freshness lifetime.
	Age, TTL time.Duration
	// Saved is how long the handler took when it made the stored response with which a
	// request is answered in its place.
	Saved time.Duration

	// Route is the pattern of the route that the request takes, as its framework writes
	// it: "/users/:id". Where the framework does not know it, it is Policy, or [Unmatched].
	// There are at most [MaxRoutes] in a cache; any beyond are [Other].
	Route string
	// Policy is the Policy.Name of the handle, as many at most.
	Policy string
	Method Method
	// Status is the one that the client got, or that the handler gave; 0 where a
	// framework or middleware in front makes the response.
	Status int
	Result Result
	Tier   Tier
	// Cause is why a handler was asked though the request is one that the cache may
	// answer.
	Cause Cause
	// Bypass is why the cache had nothing to do with the request, and NotStored why the
	// handler's response was not stored: what Cache-Status has as its detail.
	Bypass, NotStored Reason
	Stale             Stale // why a stale response could answer

	Op      Op      // of a store call
	Outcome Outcome // of a store, store call, refresh, purge, or of the breaker
	Trigger Trigger // of a refresh
	Purge   Purge   // what was purged
	Soft    bool    // it was made stale, and not removed
	// Background says that a handler ran for no client: what it gave replaces what is
	// stored.
	Background bool

	BodyBytes   int64 // of the body sent to the client; -1: not known
	StoredBytes int64 // of what is in the store under the key, or was to be; of a miss, before it is compressed

	// Key is the key in the store. It may hold what a client has sent: it is never to
	// become a label.
	Key string
	// FlightID is what all requests have in common that wait for one run of the handler,
	// in all processes, and its handler and store events. Empty: there was none.
	FlightID string
	// Link is the [Span].Link of the fill that a wait was for, if that is in this process
	// and has one: only in what the span of a wait ends with.
	Link any
	// Err is why a store, a store call or a purge has failed.
	Err error
}

// Observer is told of what a cache does. Observe is called when it is done: for a
// request in its goroutine, after the reply has been given to the framework. It is
// called concurrently, and whoever calls it waits for it, so it must not block. A panic is
// contained, and logged the first time.
type Observer interface {
	Observe(*Event)
}

// Func makes an Observer of a function.
type Func func(*Event)

// Observe calls f.
func (f Func) Observe(e *Event) { f(e) }

// Bounds of what may become a label.
const (
	// MaxRoutes is how many routes, and how many policies, a cache tells apart.
	MaxRoutes = 256
	// Other stands for those beyond.
	Other = "other"
	// Unmatched is the route of a request of which no route is known.
	Unmatched = "unmatched"
)

// Source is the cache that an observer was given to.
type Source interface {
	// Gauges are what there is now. It takes a microsecond or so, and asks nobody.
	Gauges() Gauges
}

// Attacher is an [Observer] that wants to know its cache: making a cache calls Attach
// once, before the first event. One observer may be given to several caches.
type Attacher interface {
	Observer
	Attach(Source)
}

// Gauges are what a cache has under way, and counts of what is no event.
type Gauges struct {
	Waiting      int64 // requests that wait for others
	RefreshQueue int64 // background runs that wait for their turn
	WriteBuffer  int64 // bytes on their way to the store
	BreakerOpen  bool
	// CallsSpared counts the calls not made of the store while the breaker was open.
	CallsSpared uint64
	// RoutesBeyond counts the events whose route or policy was one too many.
	RoutesBeyond uint64
	Near         store.NearStats
}

// All returns an observer that tells each of those given, in their order; nil ones are
// left out. With none it is nil.
func All(observers ...Observer) Observer {
	var all several
	for _, o := range observers {
		if o != nil {
			all = append(all, o)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

type several []Observer

func (s several) Observe(e *Event) {
	for _, o := range s {
		o.Observe(e)
	}
}

func (s several) Attach(c Source) {
	for _, o := range s {
		if a, ok := o.(Attacher); ok {
			a.Attach(c)
		}
	}
}
