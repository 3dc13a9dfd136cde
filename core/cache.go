package cacheaside

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// Cache answers requests from a store. Make one per service with [New] and
// give it to the adapter; handles with another policy come from [Cache.With].
// All methods may be called concurrently.
type Cache struct {
	*shared
	policy  Policy
	keys    keys.Maker
	answers [2]bool // whether GET and HEAD are answered
	listed  map[int]bool
	cookies keys.Selector // policy.Requests.Cookies
	targets []string      // policy.Storing.TargetedFields, in canonical form
	way     *way          // to tell URLs apart; nil: by all that they have
}

// shared is what all handles of a cache have in common.
type shared struct {
	cfg       Config // but for the policy
	store     store.Store
	ownStore  bool
	inProcess bool // the store needs no deadline
	variants  memo[keys.Selecting]
	passes    memo[struct{}] // flights whose outcome could not be shared
	refreshes memo[struct{}] // flights that were started in the background
	inners    memo[uint8]    // keys that a handle further in takes care of, than one of this depth
	flights   flight.Group[entry.Entry, lock]
	// coordinator is nil where the store orders nothing: then only URLs can be
	// purged, and requests of this process wait for each other.
	coordinator store.Coordinator
	tiered      store.Tiered
	local       store.Local // nil: nothing is in this process
	judging     store.Judge // local, if it is one
	breaker     *breaker    // between the engine and the store; nil: none
	purges      leases
	tagMemo     memo[*tagged]
	slowMemo    memo[struct{}] // primary keys under which a large value did not arrive in time
	tokens      atomic.Uint64
	urls        urls
	live        live   // tokens
	process     string // begins the tokens of this cache
	// Keys of the store: the clock of purges, and what begins the stamps of tags.
	clock, tagPrefix string
	background       *background
	writes           *writes
	waiting          atomic.Int64 // requests that wait for others
	deadlines        deadlines
	stats            counters
	log              *slog.Logger
	lastLog          atomic.Int64
	cookiesTold      sync.Once
	closeOnce        sync.Once
	closeErr         error
}

// New makes a cache. The error names every wrong field of the config.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.validated()
	if err != nil {
		return nil, err
	}
	s := &shared{cfg: cfg, store: cfg.Store, log: cfg.Logger}
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
	s.process = rand.Text()[:tokenStart-1] + "-"
	s.tagPrefix = cfg.Namespace + ":2:{tags}:"
	s.clock = string(padded([]byte(s.tagPrefix + "clock")))
	if !s.inProcess && cfg.Breaker.Failures > 0 {
		s.shield()
	}
	s.writes = newWrites(cfg.Background.WriteBuffer)
	s.background = newBackground(cfg.Background.Runs, cfg.Background.Queue)
	return newHandle(s, cfg.Policy), nil
}

// shield puts the circuit breaker in front of the store.
func (s *shared) shield() {
	b := newBreaker(wholeStore{s.store, s.coordinator, s.tiered}, &s.cfg, s.clock)
	s.breaker, s.store = b, b
	if s.coordinator != nil {
		s.coordinator = b
	}
	if s.tiered != nil {
		s.tiered = b
	}
}

func newHandle(s *shared, policy Policy) *Cache {
	c := &Cache{shared: s, policy: policy}
	c.keys = keys.NewMaker(s.cfg.Namespace, policy.Key.selected())
	if c.way = wayOf(&c.policy.Key); c.way != nil {
		s.urls.learn([]way{*c.way})
	}
	c.answers = [2]bool{slices.Contains(policy.Requests.Methods, "GET"), slices.Contains(policy.Requests.Methods, "HEAD")}
	c.cookies = policy.Requests.Cookies.selector()
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
	return newHandle(c.shared, policy), nil
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
		c.closeErr = errors.Join(c.background.close(ctx), c.writes.jobs.close(ctx))
		if c.breaker != nil {
			c.breaker.stop()
		}
		if c.ownStore {
			c.closeErr = errors.Join(c.closeErr, c.store.Close())
		}
	})
	return c.closeErr
}

// Stats are counts since the cache was made, over all its handles.
type Stats struct {
	Hits         uint64 `json:"hits"`           // answered from the store without the handler
	Near         uint64 `json:"near"`           // of these, answered from this process, by a store with a near tier
	Misses       uint64 `json:"misses"`         // the handler was asked, nothing usable was stored
	Stale        uint64 `json:"stale"`          // the handler was asked, a stale response was stored
	Revalidated  uint64 `json:"revalidated"`    // of these, freshened by a 304 from the handler
	StaleIfError uint64 `json:"stale_if_error"` // answered with a stale response because the handler failed or took too long
	Coalesced    uint64 `json:"coalesced"`      // answered with what another request got from the handler
	Waiting      uint64 `json:"waiting"`        // requests that wait for another one now; this is no count
	// StaleWhileRevalidate counts the requests that were answered with a stale
	// response at once.
	StaleWhileRevalidate uint64 `json:"stale_while_revalidate"`
	Purges               uint64 `json:"purges"`          // purges that the store has acknowledged
	PurgeErrors          uint64 `json:"purge_errors"`    // purges that it has not
	Overtaken            uint64 `json:"overtaken"`       // responses that were purged before they were stored
	Contended            uint64 `json:"contended"`       // responses not stored because another one for the same key was, a moment before
	Refused              uint64 `json:"refused"`         // writes that the store did not take, for lack of memory for instance
	TagsRefused          uint64 `json:"tags_refused"`    // responses not stored because their tags exceed the limits
	Refreshed            uint64 `json:"refreshed"`       // background runs that have renewed an entry
	RefreshErrors        uint64 `json:"refresh_errors"`  // background runs that have not
	RefreshDropped       uint64 `json:"refresh_dropped"` // background runs for which there was no room
	RefreshHung          uint64 `json:"refresh_hung"`    // background runs that went on after RefreshTimeout
	Bypasses             uint64 `json:"bypasses"`        // requests that were none of the cache's business
	Invalidated          uint64 `json:"invalidated"`     // URIs purged because an unsafe request succeeded
	Stores               uint64 `json:"stores"`          // responses written to the store
	StoresDropped        uint64 `json:"stores_dropped"`  // responses not written because too much was on its way already, or Close could not wait
	StoreErrors          uint64 `json:"store_errors"`    // reads and writes that failed or took too long
	Corrupt              uint64 `json:"corrupt"`         // values under our keys that were no entries of ours
	BreakerOpened        uint64 `json:"breaker_opened"`  // times the circuit breaker has opened
	Spared               uint64 `json:"spared"`          // calls not made of the store because it was open
	Slow                 uint64 `json:"slow"`            // large values that did not arrive in time, from the store or there
}

type counters struct {
	hits, near, misses, stale, revalidated, staleIfError, bypasses, invalidated, stores, storesDropped, storeErrors, corrupt,
	purges, purgeErrors, overtaken, contended, refused, tagsRefused,
	slow, coalesced, staleWhileRevalidate, refreshed, refreshErrors, refreshDropped, refreshHung atomic.Uint64
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	s := &c.stats
	stats := Stats{
		Hits: s.hits.Load(), Near: s.near.Load(), Misses: s.misses.Load(), Stale: s.stale.Load(),
		Revalidated: s.revalidated.Load(), StaleIfError: s.staleIfError.Load(), Invalidated: s.invalidated.Load(), Bypasses: s.bypasses.Load(), Stores: s.stores.Load(),
		StoresDropped: s.storesDropped.Load(), StoreErrors: s.storeErrors.Load(), Corrupt: s.corrupt.Load(),
		Coalesced: s.coalesced.Load(), Waiting: uint64(max(c.waiting.Load(), 0)), StaleWhileRevalidate: s.staleWhileRevalidate.Load(),
		Purges: s.purges.Load(), PurgeErrors: s.purgeErrors.Load(), Overtaken: s.overtaken.Load(), Contended: s.contended.Load(), Refused: s.refused.Load(), TagsRefused: s.tagsRefused.Load(),
		Slow: s.slow.Load(), Refreshed: s.refreshed.Load(), RefreshErrors: s.refreshErrors.Load(), RefreshDropped: s.refreshDropped.Load(), RefreshHung: s.refreshHung.Load(),
	}
	if b := c.breaker; b != nil {
		stats.BreakerOpened, stats.Spared = b.opened.Load(), b.spared.Load()
	}
	return stats
}

// tokenStart is how long the beginning of a token is that tells processes apart.
const tokenStart = 17

// token returns a text that nobody else has.
func (s *shared) token() string { return s.process + strconv.FormatUint(s.tokens.Add(1), 36) }

// isToken reports whether s has the form of a token, of whatever process.
func isToken(s string) bool {
	if len(s) <= tokenStart || s[tokenStart-1] != '-' {
		return false
	}
	return !strings.ContainsFunc(s[:tokenStart-1], func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') })
}

// storeTrouble is trouble, but a refusal is none: it costs the store of one response, and
// is counted apart.
func (c *Cache) storeTrouble(what string, err error) {
	if errors.Is(err, store.ErrRefused) {
		c.stats.refused.Add(1)
		return
	}
	c.trouble(what, err)
}

// trouble counts a failure of the store and logs at most one in ten seconds.
func (c *Cache) trouble(what string, err error) {
	if errors.Is(err, errBreakerOpen) {
		return // counted and told of already
	}
	n := c.stats.storeErrors.Add(1)
	now, last := c.cfg.Now().UnixNano(), c.lastLog.Load()
	lately := now >= last && now-last < int64(10*time.Second) // unless the clock was set back
	if last != 0 && lately || !c.lastLog.CompareAndSwap(last, now) {
		return
	}
	c.log.Warn("cacheaside: the store failed; requests go to the handler", "doing", what, "error", err, "failures", n)
}
