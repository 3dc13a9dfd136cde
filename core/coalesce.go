package cacheaside

import (
	"context"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// maxLooks bounds how often a request waits for one that then fails.
	maxLooks = 3
	// passAge is how long a resource that could not be shared is remembered, so
	// that its requests do not queue up.
	passAge = 10 * time.Second
	// The time between two looks for what another process fetches.
	firstPoll, lastPoll = 5 * time.Millisecond, 100 * time.Millisecond
)

// lead is the duty of the request that asks the handler while others wait. A
// request that nobody waits for has none, nil.
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

// ask gets from the handler what is not in the store or needs validation, unless
// another request is doing so already: then it waits for what that one gets.
func (v *visit) ask() error {
	if !v.coalesces() {
		return v.fetch()
	}
	deadline := time.Now().Add(v.c.policy.Coalescing.Wait)
	for look := range maxLooks {
		key := v.flightKey()
		if l := v.outerLead(key); l != nil {
			v.lead = l // it would wait for itself
			return v.fetch()
		}
		if v.inside(key) {
			return v.fetch()
		}
		if _, pass := v.c.passes.Get(key, v.now.UnixNano(), passAge); pass {
			return v.fetch()
		}
		f, leads, ticket := v.c.join(key)
		if leads {
			if look > 0 {
				time.Sleep(time.Millisecond) // lets follow who waited as well
			}
			v.lead = f
			return v.leadFlight(deadline)
		}
		if v.c.waiting.Add(1) > int64(v.c.policy.Coalescing.MaxWaiting) {
			v.c.waiting.Add(-1)
			f.Leave()
			return v.fetch()
		}
		outcome, e := v.follow(f, ticket, time.Until(deadline))
		v.c.waiting.Add(-1)
		switch outcome {
		case flight.Cancelled:
			return v.gaveUp()
		case flight.Pass:
			return v.fetch()
		case flight.TimedOut:
			// Later requests are not to wait for it as well, but for this one.
			if f.Age() < v.c.policy.Coalescing.Wait {
				return v.fetch()
			}
			v.c.end(f, flight.Retry, nil)
			if v.lead, leads = v.c.flights.TryLead(key); !leads {
				v.lead = nil
				return v.fetch()
			}
			return v.leadFlight(deadline)
		case flight.Shared:
			if e.Key == v.key.primary && matches(&e, &v.req, v.scratch) {
				v.entry, v.soft = e, 0
				if d, ok := v.usable(); ok && v.withheld() == "" {
					return v.collapsed(d)
				}
			}
		case flight.Failed:
			if a, ok := v.staleAnswer(v.c.cfg.Now(), detailStaleIfError, true); ok {
				return v.settle(a)
			}
		}
		if d, ok := v.lookAgain(nil); ok {
			return v.collapsed(d)
		}
	}
	return v.fetch()
}

// follow waits for the end of f, but not where that waits, itself or by way of
// others, for what this request is a part of: that would wait for this request.
func (v *visit) follow(f *inFlight, ticket int, timeout time.Duration) (flight.Outcome, entry.Entry) {
	ctx := v.x.Context()
	if !v.awaitable() {
		return f.Wait(ctx, ticket, timeout)
	}
	for o := range v.req.chain {
		if o.lead != nil {
			o.lead.Leader.follows.Store(f)
			defer o.lead.Leader.follows.CompareAndSwap(f, nil)
		}
	}
	end := time.Now().Add(timeout)
	for pause := firstPoll; ; pause = longer(pause) {
		if v.awaited(f) {
			f.Leave()
			return flight.Pass, entry.Entry{}
		}
		if left := time.Until(end); left <= pause || f.EndsWithin(ctx, pause) {
			return f.Wait(ctx, ticket, left)
		}
	}
}

// maxFollowed bounds how many flights are looked at that wait for one another.
const maxFollowed = 16

// awaited reports whether f waits for a flight of the request's chain.
func (v *visit) awaited(f *inFlight) bool {
	for range maxFollowed {
		if f == nil {
			return false
		}
		if token := f.Leader.awaits.Load(); v.leads(f) || token != nil && v.holds(*token) {
			return true
		}
		f = f.Leader.follows.Load()
	}
	return false
}

// leads reports whether the request is part of what f waits for.
func (v *visit) leads(f *inFlight) bool {
	for o := range v.req.chain {
		if o.lead == f {
			return true
		}
	}
	return false
}

// join is Join of c.flights, but nobody joins a flight that takes too long.
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

// tryLead is TryLead of c.flights, but a flight that takes too long is none. Nil:
// somebody else leads.
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

// outerLead is the flight for key that the request itself leads, as a handle
// further out has dealt with it.
func (v *visit) outerLead(key string) *inFlight {
	for o := range v.req.outers {
		if o.by.shared == v.c.shared && o.lead != nil && o.lead.Key() == key {
			return o.lead
		}
	}
	return nil
}

// coalesces reports whether a request may wait for another one, and others for
// it. One that wants a response made for it alone may not.
func (v *visit) coalesces() bool {
	rc := &v.control
	return v.c.policy.Coalescing.Scope != CoalesceNone && !v.leavesToInner() && v.req.Method == http.MethodGet && v.req.Rerun == nil &&
		!rc.NoCache && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0) &&
		len(v.header.Values("Range")) == 0 && !(v.c.policy.Requests.ForwardConditions && v.conditional())
}

// conditional reports whether the client asks for a response only if it has
// changed.
func (v *visit) conditional() bool {
	return len(v.header.Values("If-None-Match")) > 0 || len(v.header.Values("If-Modified-Since")) > 0
}

// flightKey tells apart what one request can get for others: variants, as far as
// they are known, and the answers to requests with credentials or cookies, which
// may not be shareable where others are.
func (v *visit) flightKey() string {
	key := v.key.wire
	if len(v.by.names) > 0 {
		v.scratch = v.by.selecting(v.scratch[:0], &v.req)
		key = v.key.variant(v.scratch)
	}
	switch {
	case len(v.header.Values("Authorization")) > 0:
		key += ":auth"
	case v.asked&cookies != 0 && !slices.Contains(v.by.names, "Cookie") && v.c.readsCookies(v.header):
		key += ":cookie"
	}
	return key
}

// leadFlight runs the handler for all who wait on v.lead.
func (v *visit) leadFlight(deadline time.Time) error {
	l := v.lead
	defer func() { v.c.conclude(v.lead, flight.Retry, nil) }() // for a panic and the like
	switch {
	case v.c.coordinator != nil && !v.c.inProcess:
		d, outcome := v.acquire(deadline)
		switch outcome {
		case gone:
			return v.gaveUp()
		case found:
			v.share(l)
			return v.collapsed(d)
		}
	case l.EndedSince(v.epoch): // between the look-up and now
		l.ValidBefore(l.Advance())
		if d, ok := v.lookAgain(nil); ok {
			v.share(l)
			return v.hit(d)
		}
	}
	return v.fetch()
}

// locks reports whether coalescing reaches other processes.
func (c *Cache) locks() bool {
	return c.coordinator != nil && !c.inProcess && c.policy.Coalescing.Scope == CoalesceAll
}

// start is what the token of who leads a flight begins with.
func (c *Cache) start() string {
	if c.locks() {
		return ""
	}
	return freeStart
}

type acquired uint8

const (
	nothingYet acquired = iota // ask the handler
	found                      // v.entry is what another process got
	gone                       // the client has left
)

// acquire takes the lock of v.lead with a second look, or waits for what its holder
// gets. Where the store fails, the wait is over, or the holder waits for this request,
// the handler is asked all the same.
func (v *visit) acquire(deadline time.Time) (httprules.Decision, acquired) {
	l := v.lead
	lock, start, adopt := v.key.lockOf(l.Key()), v.c.start(), !v.c.locks()
	pause := firstPoll
	var holder holder
	v.begun = true
	defer l.Leader.awaits.Store(nil)
	for {
		// What is found was there when they joined who have joined by now.
		phase := l.Advance()
		ahead := v.lookaheadAt()
		cl, held, err := v.c.begin(v.x.Context(), lock, start, adopt, ahead)
		if err != nil {
			return httprules.Decision{}, nothingYet
		}
		if cl == nil {
			l.Leader.awaits.Store(&held) // before it is seen whether it is ours: see follow
		}
		if ahead != nil && ahead.late {
			v.c.slow(v.key.wire, store.ErrSlow)
		}
		if d, ok := v.lookAgain(ahead); ok {
			l.ValidBefore(phase)
			v.c.release(cl, false)
			return d, found
		}
		if cl == nil && v.holds(held) {
			adopt = true // it is stored for whoever comes first
			continue
		}
		if cl != nil {
			v.claim = cl
			if ahead.read && !ahead.found && ahead.key == v.key.wire {
				v.beginRecord() // if it turns out to be needed
			}
			if isNote(held) {
				v.c.conclude(l, flight.Pass, nil)
			} else {
				l.Leader.take(cl) // unless the flight is over
			}
			return httprules.Decision{}, nothingYet
		}
		holder.see(held)
		left := time.Until(deadline)
		if left <= 0 {
			if holder.hangs(v.c.policy.Coalescing.Wait) {
				v.c.swap(lock, held, "") // the next miss does not wait for it as well
			}
			adopt = true
			continue
		}
		if !wait(v.x.Context(), min(pause, left)) {
			return httprules.Decision{}, gone
		}
		pause = longer(pause)
	}
}

// holder is who has been seen to hold a lock, and since when.
type holder struct {
	token string
	since time.Time
}

func (h *holder) see(token string) {
	if h.token != token {
		h.token, h.since = token, time.Now()
	}
}

// hangs reports whether it was the same one for as good as all of the time given.
// One that has come late is not to pay for others.
func (h *holder) hangs(timeout time.Duration) bool {
	return h.token != "" && time.Since(h.since) >= timeout-timeout/10
}

// wait lets about the pause pass, unless ctx ends.
func wait(ctx context.Context, pause time.Duration) bool {
	return sleep(ctx, pause/2+mathrand.N(pause)) == nil
}

// sleep waits for d, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func longer(pause time.Duration) time.Duration { return min(pause*3/2, lastPoll) }

func lockKey(key string) string { return key + ":lock" }

// lockOf is the key of the lock of a flight, which is mostly the resource's.
func (k *key) lockOf(flight string) string {
	if flight == k.wire {
		return k.lock
	}
	return lockKey(flight)
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

// end is conclude for whoever may end l whatever else is to come.
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
		c.release(cl, o == flight.Pass)
	}
	l.End(o, *e)
}

// usable reports whether v.entry answers the request as it is.
func (v *visit) usable() (httprules.Decision, bool) {
	d := v.decide(v.c.cfg.Now())
	return d, d.Use != httprules.Validate
}

// lookaheadAt is what the second look is to look at: where the response would be, as far as
// is known.
func (v *visit) lookaheadAt() *lookahead {
	at := v.key.wire
	if len(v.by.names) > 0 {
		v.scratch = v.by.selecting(v.scratch[:0], &v.req)
		at = v.key.variant(v.scratch)
	}
	return &lookahead{key: at, known: v.c.knownTags(at, v.c.cfg.Now())}
}

// lookAgain looks for what may have been stored since the last look, in ahead first if
// that is not nil. Where there is nothing better, v stays as it is.
func (v *visit) lookAgain(ahead *lookahead) (httprules.Decision, bool) {
	if ahead != nil && !ahead.found {
		return httprules.Decision{}, false
	}
	old, soft, had := v.entry, v.soft, v.stale
	v.hasRec = false
	v.now = v.c.cfg.Now() // who waits may have come since, and purges as well
	v.ahead = ahead
	found := v.lookup(v.x.Context())
	v.ahead = nil
	if found != foundEntry {
		v.entry, v.soft = old, soft
		return httprules.Decision{}, false
	}
	d, ok := v.usable()
	if !ok && !had {
		v.stale, v.fwd = true, d.Fwd
	}
	return d, ok
}

// hit answers with v.entry.
func (v *visit) hit(d httprules.Decision) error {
	v.c.stats.hits.Add(1)
	s := httprules.CacheStatus{Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey()}
	if v.near {
		v.c.stats.near.Add(1)
		s.Detail = detailNear
	}
	return v.replyStored(v.now, s)
}

// collapsed answers with what another request got from the handler.
func (v *visit) collapsed(d httprules.Decision) error {
	v.c.stats.coalesced.Add(1)
	return v.replyStored(v.c.cfg.Now(), httprules.CacheStatus{
		Fwd: v.fwd, Collapsed: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey(),
	})
}

// gaveUp answers a request that ended while it waited. The client has left, or
// a deadline that middleware has set is over; the handler would find the same.
func (v *visit) gaveUp() error {
	return v.noAnswer(http.StatusGatewayTimeout, httprules.CacheStatus{Fwd: v.fwd, Collapsed: true, Detail: detailClientGone})
}
