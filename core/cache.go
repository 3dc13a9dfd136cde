package cacheaside

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/textproto"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/jobs"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/internal/recent"
	"github.com/cacheaside/cacheaside/core/internal/timed"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// Cache answers requests from a store. Make one per service with [New] and
// give it to the adapter; handles with another policy come from [Cache.With].
// All methods may be called concurrently.
type Cache struct {
	*shared
	policy      Policy
	keys        keys.Maker
	answers     methods
	normalizer  normalizer
	listed      map[int]bool
	cookies     keys.Selector        // policy.Requests.Cookies
	targets     []string             // policy.Storing.TargetedFields, in canonical form
	compression compression          // policy.Compression
	way         *purges.Way          // to tell URLs apart; nil: by all that they have
	label       string               // policy.Name, in events
	heeds       *recent.Map[*heeded] // fields of these, as the policy heeds them
	searches    *searches            // by which responses answer for other URLs; nil: by none
}

// shared is what all handles of a cache have in common.
type shared struct {
	reporter
	cfg       Config // but for the policy
	store     store.Store
	ownStore  bool
	inProcess bool // the store needs no deadline
	variants  recent.Map[keys.Selecting]
	passes    recent.Map[struct{}] // flights whose outcome could not be shared
	refreshes recent.Map[struct{}] // flights that were started in the background
	inners    recent.Map[uint8]    // keys that a handle further in takes care of, than one of this depth
	fates     fates
	routes    routes
	known     known       // handles, for the inspector
	probing   atomic.Bool // an inspector wants to send requests
	probe     atomic.Pointer[adapter.Entry]
	flights   flight.Group[entry.Entry, lock]
	// coordinator is nil where the store orders nothing: then only URLs can be
	// purged, and requests of this process wait for each other.
	coordinator store.Coordinator
	tiered      store.Tiered
	counted     store.NearCounter // nil: there is no near tier to count
	described   store.Describer   // nil: the store does not say what it is
	local       store.Local       // nil: nothing is in this process
	judging     store.Judge       // local, if it is one
	tracer      observe.Tracer    // the observer, if it makes spans
	breaker     *breaker.Store    // between the engine and the store; nil: none
	ledger      *purges.Ledger    // what was purged
	slow        slowValues
	searched    atomic.Pointer[searches] // of all handles; nil: none has any
	urls        urls
	clock       string // the key of the clock of purges
	background  *jobs.Pool
	writes      *writes
	captures    captures
	waiting     atomic.Int64 // requests that wait for others of this process
	polling     atomic.Int64 // requests that wait for other processes
	deadlines   deadlines
	claims      claims
	derived     derived // bodies in other codings than they are stored in
	closeOnce   sync.Once
	closed      atomic.Bool // Close was called
	closeErr    error
}

// New makes a cache. The error names every wrong field of the config.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.validated()
	if err != nil {
		return nil, err
	}
	s := &shared{cfg: cfg, store: cfg.Store, reporter: reporter{log: cfg.Logger, now: cfg.Now}}
	s.urls.ways.Store(&[]keys.Maker{keys.NewMaker(cfg.Namespace, keys.Policy{})})
	if s.store == nil {
		m, err := memory.New(memoryBytes, memory.WithClock(cfg.Now))
		if err != nil {
			return nil, fmt.Errorf("cacheaside: making the embedded store: %w", err)
		}
		s.store, s.ownStore = m, true
	}
	s.coordinator, _ = s.store.(store.Coordinator)
	if here, ok := s.store.(store.InProcess); ok {
		s.local, s.inProcess = here, true
	}
	if s.tiered, _ = s.store.(store.Tiered); s.tiered != nil && s.tiered.Near() {
		s.local, _ = s.store.(store.Local)
	}
	s.judging, _ = s.local.(store.Judge)
	s.counted, _ = s.store.(store.NearCounter)
	s.described, _ = s.store.(store.Describer)
	s.clock = purgeKeys(cfg.Namespace).Clock()
	if !s.inProcess && cfg.Observer != nil {
		s.time()
	}
	if !s.inProcess && cfg.Breaker.Failures > 0 {
		s.shield()
	}
	s.derived.max = cfg.MaxDerivedBytes
	s.writes = newWrites(cfg.Background.WriteBuffer)
	s.captures.limit = cfg.MaxCaptureBytes
	s.background = jobs.New(cfg.Background.Runs, cfg.Background.Queue, false)
	s.claims = claims{
		coordinator: s.coordinator, clock: s.clock, timeouts: cfg.Timeouts, deadlines: &s.deadlines,
		report: &s.reporter, aside: s.background.Aside, process: rand.Text()[:tokenStart-1] + "-",
	}
	s.ledger = purges.New(purges.Dependencies{
		Store: s.coordinator, Local: s.local, Keys: purgeKeys(cfg.Namespace), Now: cfg.Now, Alone: s.ownStore,
		RenewTimeout: cfg.Timeouts.Write, Background: s.background.Aside, Failed: s.storeError, Learn: s.urls.learn, URLOf: keys.URLOf,
	})
	s.tracer = observe.TracerOf(cfg.Observer)
	if a, ok := cfg.Observer.(observe.Attacher); ok {
		a.Attach(s)
	}
	c := newHandle(s, cfg.Policy)
	s.known.add(c)
	return c, nil
}

// time has the observer told of the calls of the store.
func (s *shared) time() {
	t := timed.New(timed.Parts{Store: s.store, Coordinator: s.coordinator, Tiered: s.tiered}, s.now, s.tellOfCall)
	s.store = t
	if s.coordinator != nil {
		s.coordinator = t
	}
	if s.tiered != nil {
		s.tiered = t
	}
}

// shield puts the circuit breaker in front of the store.
func (s *shared) shield() {
	b := breaker.New(breaker.Parts{Store: s.store, Coordinator: s.coordinator, Tiered: s.tiered}, breaker.Options{
		Failures: s.cfg.Breaker.Failures, Pause: s.cfg.Breaker.Pause, Timeout: s.cfg.Timeouts.Lookup, ProbeKey: s.clock, Logger: s.log,
		Changed: s.tellOfBreaker,
	})
	s.breaker, s.store = b, b
	if s.coordinator != nil {
		s.coordinator = b
	}
	if s.tiered != nil {
		s.tiered = b
	}
}

// purgeKeys are the keys of the clock of purges and of the stamps of tags.
func purgeKeys(namespace string) purges.Keys {
	return purges.Keys{
		Prefix: namespace + ":" + keys.Format + ":{tags}:", MinBytes: keys.MinBytes,
		Escape: keys.AppendEscaped,
	}
}

func newHandle(s *shared, policy Policy) *Cache {
	policy.Storing.MaxBytes = s.captures.share(policy.Storing.MaxBytes)
	c := &Cache{shared: s, policy: policy}
	if policy.Name != "" {
		c.label = s.routes.label(policy.Name)
	}
	c.keys = keys.NewMaker(s.cfg.Namespace, policy.Key.selected())
	if c.way = wayOf(&c.policy.Key); c.way != nil {
		s.urls.learn([]purges.Way{*c.way})
	}
	if policy.Key.NoVarySearch && s.coordinator != nil && policy.Key.Generator == nil {
		s.searched.CompareAndSwap(nil, new(searches))
		c.searches, c.heeds = s.searched.Load(), new(recent.Map[*heeded])
	}
	c.answers = methodsOf(policy.Requests.Methods)
	c.cookies = policy.Requests.Cookies.selector()
	c.compression = policy.Compression.prepared()
	for _, name := range policy.Storing.TargetedFields {
		c.targets = append(c.targets, textproto.CanonicalMIMEHeaderKey(name))
	}
	c.listed = make(map[int]bool)
	for _, code := range policy.Storing.StatusCodes {
		c.listed[code] = true
	}
	for code := range policy.StatusTTL {
		c.listed[code] = true
	}
	return c
}

// With returns a handle on the same cache whose policy is that of c as change
// has altered it, for one route or group:
//
//	news := cacheaside.Must(cache.With(func(p *cacheaside.Policy) { p.TTL = 5 * time.Second }))
//
// The error names every wrong field of the new policy.
func (c *Cache) With(change func(*Policy)) (*Cache, error) {
	policy := c.policy.clone()
	change(&policy)
	wrong := &problems{prefix: "With: Policy."}
	policy = policy.validated(wrong)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	h := newHandle(c.shared, policy)
	c.known.add(h)
	return h, nil
}

// Must returns v and panics if err is not nil, for set-up code.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Close waits for what goes on in the background, and for what is on its way to
// the store, until ctx ends: then that is
// cancelled, and Close returns the error of ctx. It releases what the cache has
// made itself. A store that it was given stays open: close that afterwards.
// Requests that are still served go on without background work. Later calls
// return what the first one did.
func (c *Cache) Close(ctx context.Context) error {
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		c.closeErr = errors.Join(c.background.Close(ctx), c.writes.jobs.Close(ctx))
		if c.breaker != nil {
			c.breaker.Stop()
		}
		if c.ownStore {
			c.closeErr = errors.Join(c.closeErr, c.store.Close())
		}
	})
	return c.closeErr
}
