package cacheaside

import (
	"context"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// refreshPause is the least time between two attempts to refresh one entry from
// this process.
const refreshPause = time.Second

// early reports whether a hit on v.entry is to have it refreshed before it
// becomes stale: for certain when RefreshAhead of its lifetime is over, and with
// growing likelihood shortly before, so that processes do not do it all at once
// (XFetch; Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache
// Stampede Prevention).
func (c *Cache) early(v *visit) bool {
	due := time.Duration(float64(v.entry.Lifetime) * c.policy.Stale.RefreshAhead)
	age := v.age(v.now)
	took := time.Duration(v.entry.Took) * time.Millisecond
	const most = 20 // the logarithm is hardly ever less
	if age >= due {
		return true
	}
	if age+took*most < due {
		return false
	}
	return age-time.Duration(float64(took)*math.Log(1-mathrand.Float64())) >= due
}

// refresh has the request run again in the background, once for all processes,
// so that what it gets replaces v.entry. It reports whether somebody takes care
// of that; otherwise the request itself has to.
func (c *Cache) refresh(x adapter.Exchange, v *visit) bool {
	key, now := c.flightKey(v), v.now.UnixNano()
	if _, pass := c.passes.get(key, now, passAge); pass {
		return false
	}
	if _, lately := c.refreshes.get(key, now, refreshPause); lately {
		return true
	}
	l := c.tryLead(key)
	if l == nil {
		return true
	}
	can, _ := c.detach(x, v, l)
	return can
}

// detach hands l to a background run of the request. It reports whether the
// request can be run again, and whether there is room for that now.
func (c *Cache) detach(x adapter.Exchange, v *visit, l *lead) (can, room bool) {
	send := x.Detach()
	if send == nil {
		c.conclude(l, flight.Retry, nil)
		return false, false
	}
	l.Lead.behind.Store(true)
	c.refreshes.put(l.Key(), struct{}{}, v.now.UnixNano())
	j := &refreshing{c: c, send: send, rerun: rerun{by: c, lead: l, key: v.key.Primary, born: v.entry.Born}}
	j.rerun.Rerun = adapter.NewRerun(&j.rerun)
	// Whoever needs the response does not wait for a queue that is stuck.
	j.late = time.AfterFunc(c.policy.Stale.RefreshTimeout, j.giveUp)
	if !c.background.submit(j) {
		j.dropped()
		return true, false
	}
	return true, true
}

// rerun is what the engine knows of a request that it makes itself.
type rerun struct {
	adapter.Rerun
	by    *Cache // the handle that wants it
	lead  *lead
	claim *claim      // by which the response may be stored
	key   string      // the primary key that is to be refreshed
	born  int64       // of the entry that was found
	done  atomic.Bool // there is a new entry
}

// engineRerun is the engine's part of a rerun, nil if that is another engine's.
func engineRerun(r *adapter.Rerun) *rerun {
	if r == nil {
		return nil
	}
	own, _ := r.Engine().(*rerun)
	return own
}

// refreshing is one background run.
type refreshing struct {
	c     *Cache
	send  adapter.Refresher
	rerun rerun
	late  *time.Timer
}

func (r *refreshing) dropped() {
	if r.late.Stop() {
		r.giveUp()
	}
}

func (r *refreshing) giveUp() {
	r.c.stats.refreshDropped.Add(1)
	r.c.conclude(r.rerun.lead, flight.Retry, nil)
}

// lock reports whether it is for this process to run the request. Otherwise
// another one does, for which those wait who have a SoftTimeout.
func (r *refreshing) lock(ctx context.Context) bool {
	c, l := r.c, r.rerun.lead
	pause := firstPoll
	var by holder
	for {
		cl, held, err := c.begin(ctx, keys.LockKey(l.Key()), c.start(), !c.locks(), nil)
		switch {
		case err != nil:
			return true // what is stored meanwhile is found by the run
		case cl != nil && !isNote(held):
			if !l.Lead.take(cl) {
				c.release(cl, false)
				return false
			}
			r.rerun.claim = cl
			return true
		case cl != nil:
			c.release(cl, false)
			c.conclude(l, flight.Pass, nil)
			return false
		case l.Waiting() == 0:
			c.conclude(l, flight.Retry, nil)
			return false
		}
		by.see(held)
		if !wait(ctx, pause) {
			if by.hangs(c.policy.Stale.RefreshTimeout) {
				c.swap(keys.LockKey(l.Key()), by.token, "")
			}
			c.conclude(l, flight.Retry, nil)
			return false
		}
		pause = longer(pause)
	}
}

// hungAfter is how long a handler may take to return when its context has ended.
const hungAfter = 100 * time.Millisecond

func (r *refreshing) run(ctx context.Context, late func()) {
	c, l := r.c, r.rerun.lead
	if !r.late.Stop() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.policy.Stale.RefreshTimeout)
	defer cancel()
	if c.coordinator != nil && !c.inProcess && !r.lock(ctx) {
		return
	}
	// A handler that does not heed its context keeps this goroutine, but nobody
	// else, and not the place of others.
	failed := sync.OnceFunc(func() {
		c.stats.refreshErrors.Add(1)
		c.conclude(l, flight.Failed, nil)
	})
	end, _ := ctx.Deadline()
	hung := time.AfterFunc(time.Until(end)+hungAfter, func() { c.stats.refreshHung.Add(1) })
	defer hung.Stop()
	stop := context.AfterFunc(ctx, func() {
		failed()
		late()
	})
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
		}
		if !stop() || !r.rerun.done.Load() {
			failed()
			return
		}
		c.stats.refreshed.Add(1)
		c.conclude(l, flight.Retry, nil) // it has been ended with what there is now
	}()
	r.send(ctx, &r.rerun.Rerun)
}

// panicked says that a handler's panic went no further.
func (c *Cache) panicked(p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // it is the value that is panicked with
		return
	}
	c.log.Error("cacheaside: the handler panicked; what is stored was kept", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// serveRerun deals with a request that refresh has sent.
func (c *Cache) serveRerun(x adapter.Exchange, v *visit) error {
	r := v.rerun
	if r.by != c { // meant for a handle further in
		return c.passRerun(x, v)
	}
	if v.key.Primary != r.key { // it came out another one than it was
		return c.noAnswer(x, http.StatusServiceUnavailable, httprules.CacheStatus{Detail: "rerun"})
	}
	v.fwd = "miss"
	r.lead.Vouch(r.lead.Advance())
	if c.lookup(x.Context(), v) == foundEntry {
		if d, ok := c.usable(v); ok && v.entry.Born > r.born { // by another process
			r.done.Store(true)
			c.conclude(r.lead, flight.Shared, &v.entry)
			return c.hit(x, v, d)
		}
		v.fwd, v.stale = "stale", true
	}
	v.lead, v.claim = r.lead, r.claim
	return c.fetch(x, v)
}

// passRerun leaves a request that a refresh has sent to whom it is meant for.
func (c *Cache) passRerun(x adapter.Exchange, v *visit) error {
	run := c.onward(&v.req, v.depth)
	return c.letPass(x, run, annotate(run, httprules.CacheStatus{Fwd: "bypass", Detail: "rerun"}))
}

// softens reports whether a stale response may stand in for a handler that takes
// its time, which runs in the background for all who want to know meanwhile. That
// works for a request that others cannot wait for as well, unless it wants a
// response made for it alone.
func (c *Cache) softens(v *visit) bool {
	rc := &v.control
	return c.policy.Stale.SoftTimeout > 0 && v.req.Rerun == nil && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0)
}

// askSoftly gives the handler SoftTimeout before it answers with v.entry, which
// is stale; what the handler gets later replaces that.
func (c *Cache) askSoftly(x adapter.Exchange, v *visit) error {
	deadline := time.Now().Add(c.policy.Stale.SoftTimeout)
	for range maxLooks {
		key := c.flightKey(v)
		if _, pass := c.passes.get(key, v.now.UnixNano(), passAge); pass {
			return c.fetch(x, v)
		}
		if c.outerLead(v, key) != nil {
			return c.ask(x, v)
		}
		if c.inside(v, key) {
			return c.fetch(x, v)
		}
		l, leads, ticket := c.join(key)
		if leads {
			l.Follow()
			if _, room := c.detach(x, v, l); !room {
				return c.ask(x, v)
			}
		}
		outcome, e := l.Wait(x.Context(), ticket, time.Until(deadline))
		switch outcome {
		case flight.Cancelled:
			return c.gaveUp(x, v)
		case flight.Pass:
			return c.fetch(x, v)
		case flight.TimedOut, flight.Failed:
			detail := "stale-if-error"
			if outcome == flight.TimedOut {
				detail = "soft-timeout"
			}
			if ok, err := c.replyStale(x, v, c.cfg.Now(), detail, true); ok {
				return err
			}
			return c.fetch(x, v)
		case flight.Shared:
			old, soft := v.entry, v.soft
			if e.Key == v.key.Primary && matches(&e, &v.req, v.scratch) {
				v.entry, v.soft = e, 0
				if d, ok := c.usable(v); ok && c.withheld(v) == "" {
					return c.collapsed(x, v, d)
				}
				v.entry, v.soft = old, soft
			}
		}
		if d, ok := c.lookAgain(x, v, nil); ok {
			return c.collapsed(x, v, d)
		}
	}
	return c.ask(x, v)
}

// replyStale answers with v.entry in place of what the handler failed to give,
// where that is allowed at the time now.
func (c *Cache) replyStale(x adapter.Exchange, v *visit, now time.Time, detail string, collapsed bool) (ok bool, err error) {
	if !v.stale || !v.decide(now).MaySIE {
		return false, nil
	}
	c.stats.staleIfError.Add(1)
	return true, c.replyStored(x, v, now, httprules.CacheStatus{Fwd: v.fwd, FwdStatus: v.failure, Collapsed: collapsed, Key: c.shownKey(v), Detail: detail})
}
