package cacheaside

import (
	"context"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
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
type lead = flight.Flight[entry.Entry, lock]

// lock is what a leader holds against other processes. Whoever ends the flight
// releases it: that need not be the leader.
type lock struct {
	mu       sync.Mutex
	claim    *claim // nil: it holds nothing
	released bool
	awaits   atomic.Pointer[string] // the token that the leader waits for
	follows  atomic.Pointer[lead]   // whom a request that the leader's handler has made waits for
	writes   atomic.Bool            // a write has the duty to end the flight, and the leader may not
	behind   atomic.Bool            // a background run leads, which ends the flight by itself in time
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
func (c *Cache) ask(x adapter.Exchange, v *visit) error {
	if !c.coalesces(v) {
		return c.fetch(x, v)
	}
	deadline := time.Now().Add(c.policy.Coalescing.Wait)
	for look := range maxLooks {
		key := c.flightKey(v)
		if l := c.outerLead(v, key); l != nil {
			v.lead = l // it would wait for itself
			return c.fetch(x, v)
		}
		if c.inside(v, key) {
			return c.fetch(x, v)
		}
		if _, pass := c.passes.get(key, v.now.UnixNano(), passAge); pass {
			return c.fetch(x, v)
		}
		f, leads, ticket := c.join(key)
		if leads {
			if look > 0 {
				time.Sleep(time.Millisecond) // lets follow who waited as well
			}
			v.lead = f
			return c.lead(x, v, deadline)
		}
		if c.waiting.Add(1) > int64(c.policy.Coalescing.MaxWaiting) {
			c.waiting.Add(-1)
			f.Leave()
			return c.fetch(x, v)
		}
		outcome, e := c.follow(x, v, f, ticket, time.Until(deadline))
		c.waiting.Add(-1)
		switch outcome {
		case flight.Cancelled:
			return c.gaveUp(x, v)
		case flight.Pass:
			return c.fetch(x, v)
		case flight.TimedOut:
			// Later requests are not to wait for it as well, but for this one.
			if f.Age() < c.policy.Coalescing.Wait {
				return c.fetch(x, v)
			}
			c.end(f, flight.Retry, nil)
			if v.lead, leads = c.flights.TryLead(key); !leads {
				v.lead = nil
				return c.fetch(x, v)
			}
			return c.lead(x, v, deadline)
		case flight.Shared:
			if e.Key == v.key.Primary && matches(&e, &v.req, v.scratch) {
				v.entry, v.soft = e, 0
				if d, ok := c.usable(v); ok && c.withheld(v) == "" {
					return c.collapsed(x, v, d)
				}
			}
		case flight.Failed:
			if ok, err := c.replyStale(x, v, c.cfg.Now(), "stale-if-error", true); ok {
				return err
			}
		}
		if d, ok := c.lookAgain(x, v, nil); ok {
			return c.collapsed(x, v, d)
		}
	}
	return c.fetch(x, v)
}

// follow waits for the end of f, but not where that waits, itself or by way of
// others, for what this request is a part of: that would wait for this request.
func (c *Cache) follow(x adapter.Exchange, v *visit, f *lead, ticket int, timeout time.Duration) (flight.Outcome, entry.Entry) {
	ctx := x.Context()
	if !v.awaitable() {
		return f.Wait(ctx, ticket, timeout)
	}
	for o := range chain(&v.req) {
		if o.lead != nil {
			o.lead.Lead.follows.Store(f)
			defer o.lead.Lead.follows.CompareAndSwap(f, nil)
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
func (v *visit) awaited(f *lead) bool {
	for range maxFollowed {
		if f == nil {
			return false
		}
		if token := f.Lead.awaits.Load(); v.leads(f) || token != nil && v.holds(*token) {
			return true
		}
		f = f.Lead.follows.Load()
	}
	return false
}

// leads reports whether the request is part of what f waits for.
func (v *visit) leads(f *lead) bool {
	for o := range chain(&v.req) {
		if o.lead == f {
			return true
		}
	}
	return false
}

// join is Join of c.flights, but nobody joins a flight that takes too long.
func (c *Cache) join(key string) (f *lead, leads bool, ticket int) {
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
func (c *Cache) tryLead(key string) *lead {
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
func (c *Cache) hangs(l *lead) bool {
	return !l.Lead.behind.Load() && l.Age() >= c.policy.Coalescing.Wait
}

// outerLead is the flight for key that the request itself leads, as a handle
// further out has dealt with it.
func (c *Cache) outerLead(v *visit, key string) *lead {
	for o := range outers(&v.req) {
		if o.by.shared == c.shared && o.lead != nil && o.lead.Key() == key {
			return o.lead
		}
	}
	return nil
}

// coalesces reports whether a request may wait for another one, and others for
// it. One that wants a response made for it alone may not.
func (c *Cache) coalesces(v *visit) bool {
	rc := &v.control
	return c.policy.Coalescing.Scope != CoalesceNone && !c.leavesToInner(v) && v.req.Method == http.MethodGet && v.req.Rerun == nil &&
		!rc.NoCache && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0) &&
		len(v.header.Values("Range")) == 0 && !(c.policy.Requests.ForwardConditions && v.conditional())
}

// conditional reports whether the client asks for a response only if it has
// changed.
func (v *visit) conditional() bool {
	return len(v.header.Values("If-None-Match")) > 0 || len(v.header.Values("If-Modified-Since")) > 0
}

// flightKey tells apart what one request can get for others: variants, as far as
// they are known, and the answers to requests with credentials or cookies, which
// may not be shareable where others are.
func (c *Cache) flightKey(v *visit) string {
	key := v.key.Wire
	if len(v.by.Names) > 0 {
		v.scratch = v.by.AppendValues(v.scratch[:0], &v.req)
		key = v.key.Variant(v.scratch)
	}
	switch {
	case len(v.header.Values("Authorization")) > 0:
		key += ":auth"
	case v.asked&keys.AskedCookies != 0 && !slices.Contains(v.by.Names, "Cookie") && c.readsCookies(v.header):
		key += ":cookie"
	}
	return key
}

// lead asks the handler for all who wait on v.lead.
func (c *Cache) lead(x adapter.Exchange, v *visit, deadline time.Time) error {
	l := v.lead
	defer func() { c.conclude(v.lead, flight.Retry, nil) }() // for a panic and the like
	switch {
	case c.coordinator != nil && !c.inProcess:
		d, outcome := c.acquire(x, v, deadline)
		switch outcome {
		case gone:
			return c.gaveUp(x, v)
		case found:
			c.conclude(l, flight.Shared, &v.entry)
			return c.collapsed(x, v, d)
		}
	case l.EndedSince(v.epoch): // between the look-up and now
		l.Vouch(l.Advance())
		if d, ok := c.lookAgain(x, v, nil); ok {
			c.conclude(l, flight.Shared, &v.entry)
			return c.hit(x, v, d)
		}
	}
	return c.fetch(x, v)
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
func (c *Cache) acquire(x adapter.Exchange, v *visit, deadline time.Time) (httprules.Decision, acquired) {
	l := v.lead
	lock, start, adopt := v.key.LockOf(l.Key()), c.start(), !c.locks()
	pause := firstPoll
	var holder holder
	v.begun = true
	defer l.Lead.awaits.Store(nil)
	for {
		// What is found was there when they joined who have joined by now.
		phase := l.Advance()
		ahead := c.ahead(v)
		cl, held, err := c.begin(x.Context(), lock, start, adopt, ahead)
		if err != nil {
			return httprules.Decision{}, nothingYet
		}
		if cl == nil {
			l.Lead.awaits.Store(&held) // before it is seen whether it is ours: see follow
		}
		if ahead != nil && ahead.late {
			c.slow(v.key.Wire, store.ErrSlow)
		}
		if d, ok := c.lookAgain(x, v, ahead); ok {
			l.Vouch(phase)
			c.release(cl, false)
			return d, found
		}
		if cl == nil && v.holds(held) {
			adopt = true // it is stored for whoever comes first
			continue
		}
		if cl != nil {
			v.claim = cl
			if ahead.read && !ahead.found && ahead.key == v.key.Wire {
				v.beginRecord() // if it turns out to be needed
			}
			if isNote(held) {
				c.conclude(l, flight.Pass, nil)
			} else {
				l.Lead.take(cl) // unless the flight is over
			}
			return httprules.Decision{}, nothingYet
		}
		holder.see(held)
		left := time.Until(deadline)
		if left <= 0 {
			if holder.hangs(c.policy.Coalescing.Wait) {
				c.swap(lock, held, "") // the next miss does not wait for it as well
			}
			adopt = true
			continue
		}
		if !wait(x.Context(), min(pause, left)) {
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

// conclude tells those who wait for l how it ended; only the first call counts.
// A handle further out does not know of a write that l is left to.
func (c *Cache) conclude(l *lead, o flight.Outcome, e *entry.Entry) {
	if l != nil && !l.Lead.writes.Load() {
		c.end(l, o, e)
	}
}

// end is conclude for whoever may end l whatever else is to come.
func (c *Cache) end(l *lead, o flight.Outcome, e *entry.Entry) {
	if l.Over() {
		return
	}
	if e == nil {
		e = &entry.Entry{}
	}
	switch o {
	case flight.Pass:
		c.passes.put(l.Key(), struct{}{}, c.cfg.Now().UnixNano())
	case flight.Shared:
		c.passes.drop(l.Key())
	}
	if cl := l.Lead.release(); cl != nil { // before those who wait take the lock themselves
		c.release(cl, o == flight.Pass)
	}
	l.End(o, *e)
}

// usable reports whether v.entry answers the request as it is.
func (c *Cache) usable(v *visit) (httprules.Decision, bool) {
	d := v.decide(c.cfg.Now())
	return d, d.Use != httprules.Validate
}

// ahead is what the second look is to look at: where the response would be, as far as
// is known.
func (c *Cache) ahead(v *visit) *lookahead {
	at := v.key.Wire
	if len(v.by.Names) > 0 {
		v.scratch = v.by.AppendValues(v.scratch[:0], &v.req)
		at = v.key.Variant(v.scratch)
	}
	return &lookahead{key: at, known: c.knownTags(at, c.cfg.Now())}
}

// lookAgain looks for what may have been stored since the last look, in ahead first if
// that is not nil. Where there is nothing better, v stays as it is.
func (c *Cache) lookAgain(x adapter.Exchange, v *visit, ahead *lookahead) (httprules.Decision, bool) {
	if ahead != nil && !ahead.found {
		return httprules.Decision{}, false
	}
	old, soft, had := v.entry, v.soft, v.stale
	v.hasRec = false
	v.now = c.cfg.Now() // who waits may have come since, and purges as well
	v.ahead = ahead
	found := c.lookup(x.Context(), v)
	v.ahead = nil
	if found != foundEntry {
		v.entry, v.soft = old, soft
		return httprules.Decision{}, false
	}
	d, ok := c.usable(v)
	if !ok && !had {
		v.stale, v.fwd = true, d.Fwd
	}
	return d, ok
}

// hit answers with v.entry.
func (c *Cache) hit(x adapter.Exchange, v *visit, d httprules.Decision) error {
	c.stats.hits.Add(1)
	s := httprules.CacheStatus{Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: c.shownKey(v)}
	if v.near {
		c.stats.near.Add(1)
		s.Detail = "near"
	}
	return c.replyStored(x, v, v.now, s)
}

// collapsed answers with what another request got from the handler.
func (c *Cache) collapsed(x adapter.Exchange, v *visit, d httprules.Decision) error {
	c.stats.coalesced.Add(1)
	return c.replyStored(x, v, c.cfg.Now(), httprules.CacheStatus{
		Fwd: v.fwd, Collapsed: true, TTL: seconds(d.TTL), HasTTL: true, Key: c.shownKey(v),
	})
}

// gaveUp answers a request that ended while it waited. The client has left, or
// a deadline that middleware has set is over; the handler would find the same.
func (c *Cache) gaveUp(x adapter.Exchange, v *visit) error {
	return c.noAnswer(x, http.StatusGatewayTimeout, httprules.CacheStatus{Fwd: v.fwd, Collapsed: true, Detail: "client-gone"})
}
