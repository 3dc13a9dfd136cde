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
)

// refreshPause is the least time between two attempts to refresh one entry from
// this process.
const refreshPause = time.Second

// early reports whether a hit on v.entry is to have it refreshed before it
// becomes stale: for certain when RefreshAhead of its lifetime is over, and with
// growing likelihood shortly before, so that processes do not do it all at once
// (XFetch; Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache
// Stampede Prevention).
func (v *visit) early() bool {
	due := time.Duration(float64(v.entry.Lifetime) * v.c.policy.Stale.RefreshAhead)
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
func (v *visit) refresh() bool {
	key, now := v.flightKey(), v.now.UnixNano()
	if _, pass := v.c.passes.Get(key, now, passAge); pass {
		return false
	}
	if _, lately := v.c.refreshes.Get(key, now, refreshPause); lately {
		return true
	}
	l := v.c.tryLead(key)
	if l == nil {
		return true
	}
	can, _ := v.detach(l)
	return can
}

// detach hands l to a background run of the request. It reports whether the
// request can be run again, and whether there is room for that now.
func (v *visit) detach(l *inFlight) (can, room bool) {
	send := v.x.Detach()
	if send == nil {
		v.c.conclude(l, flight.Retry, nil)
		return false, false
	}
	l.Leader.behind.Store(true)
	v.c.refreshes.Put(l.Key(), struct{}{}, v.now.UnixNano())
	j := &refreshing{c: v.c, send: send, rerun: rerun{by: v.c, lead: l, key: v.key.primary, born: v.entry.Born}}
	j.rerun.Rerun = adapter.NewRerun(&j.rerun)
	// Whoever needs the response does not wait for a queue that is stuck.
	j.late = time.AfterFunc(v.c.policy.Stale.RefreshTimeout, j.giveUp)
	if !v.c.background.Submit(j) {
		j.Dropped()
		return true, false
	}
	return true, true
}

// rerun is what the engine knows of a request that it makes itself.
type rerun struct {
	adapter.Rerun
	by    *Cache // the handle that wants it
	lead  *inFlight
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

// Dropped implements [jobs.Job].
func (r *refreshing) Dropped() {
	if r.late.Stop() {
		r.giveUp()
	}
}

func (r *refreshing) giveUp() {
	r.c.stats.refreshDropped.Add(1)
	r.c.conclude(r.rerun.lead, flight.Retry, nil)
}

// lock reports whether it is for this process to run the request. Otherwise another
// one does, for which those wait who have a SoftTimeout, and the flight ends as outcome
// says.
func (r *refreshing) lock(ctx context.Context) (outcome flight.Outcome, ours bool) {
	c, l := r.c, r.rerun.lead
	pause := firstPoll
	var by holder
	for {
		cl, held, err := c.begin(ctx, lockKey(l.Key()), c.start(), !c.locks(), nil)
		switch {
		case err != nil:
			return 0, true // what is stored meanwhile is found by the run
		case cl != nil && isNote(held):
			c.release(cl, false)
			return flight.Pass, false
		case cl != nil && l.Leader.take(cl):
			r.rerun.claim = cl
			return 0, true
		case cl != nil: // the flight is over
			c.release(cl, false)
			return flight.Retry, false
		case l.Waiting() == 0:
			return flight.Retry, false
		}
		by.see(held)
		if !wait(ctx, pause) {
			if by.hangs(c.policy.Stale.RefreshTimeout) {
				c.swap(lockKey(l.Key()), by.token, "")
			}
			return flight.Retry, false
		}
		pause = longer(pause)
	}
}

// hungAfter is how long a handler may take to return when its context has ended.
const hungAfter = 100 * time.Millisecond

// Run implements [jobs.Job].
func (r *refreshing) Run(ctx context.Context, late func()) {
	c, l := r.c, r.rerun.lead
	if !r.late.Stop() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.policy.Stale.RefreshTimeout)
	defer cancel()
	if c.coordinator != nil && !c.inProcess {
		if outcome, ours := r.lock(ctx); !ours {
			c.conclude(l, outcome, nil)
			return
		}
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
func (v *visit) serveRerun() error {
	r := v.rerun
	if r.by != v.c { // meant for a handle further in
		return v.passRerun()
	}
	if v.key.primary != r.key { // it came out another one than it was
		return v.noAnswer(http.StatusServiceUnavailable, httprules.CacheStatus{Detail: detailRerun})
	}
	v.fwd = fwdMiss
	r.lead.ValidBefore(r.lead.Advance())
	if v.lookup(v.x.Context()) == foundEntry {
		if d, ok := v.usable(); ok && v.entry.Born > r.born { // by another process
			r.done.Store(true)
			v.share(r.lead)
			return v.hit(d)
		}
		v.fwd, v.stale = fwdStale, true
	}
	v.lead, v.claim = r.lead, r.claim
	return v.fetch()
}

// passRerun leaves a request that a refresh has sent to whom it is meant for.
func (v *visit) passRerun() error {
	run := v.c.onward(&v.req, v.depth)
	return v.letPass(run, annotate(run, httprules.CacheStatus{Fwd: fwdBypass, Detail: detailRerun}))
}

// softens reports whether a stale response may stand in for a handler that takes
// its time, which runs in the background for all who want to know meanwhile. That
// works for a request that others cannot wait for as well, unless it wants a
// response made for it alone.
func (v *visit) softens() bool {
	rc := &v.control
	return v.c.policy.Stale.SoftTimeout > 0 && v.req.Rerun == nil && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0)
}

// askSoftly gives the handler SoftTimeout before it answers with v.entry, which
// is stale; what the handler gets later replaces that.
func (v *visit) askSoftly() error {
	deadline := time.Now().Add(v.c.policy.Stale.SoftTimeout)
	for range maxLooks {
		key := v.flightKey()
		if _, pass := v.c.passes.Get(key, v.now.UnixNano(), passAge); pass {
			return v.fetch()
		}
		if v.outerLead(key) != nil {
			return v.ask()
		}
		if v.inside(key) {
			return v.fetch()
		}
		l, leads, ticket := v.c.join(key)
		if leads {
			l.Follow()
			if _, room := v.detach(l); !room {
				return v.ask()
			}
		}
		outcome, e := l.Wait(v.x.Context(), ticket, time.Until(deadline))
		switch outcome {
		case flight.Cancelled:
			return v.gaveUp()
		case flight.Pass:
			return v.fetch()
		case flight.TimedOut, flight.Failed:
			detail := detailStaleIfError
			if outcome == flight.TimedOut {
				detail = detailSoftTimeout
			}
			if a, ok := v.staleAnswer(v.c.cfg.Now(), detail, true); ok {
				return v.settle(a)
			}
			return v.fetch()
		case flight.Shared:
			old, soft := v.entry, v.soft
			if e.Key == v.key.primary && matches(&e, &v.req, v.scratch) {
				v.entry, v.soft = e, 0
				if d, ok := v.usable(); ok && v.withheld() == "" {
					return v.collapsed(d)
				}
				v.entry, v.soft = old, soft
			}
		}
		if d, ok := v.lookAgain(nil); ok {
			return v.collapsed(d)
		}
	}
	return v.ask()
}

// staleAnswer is what is stored, in place of what the handler failed to give, where
// that is allowed at the time now.
func (v *visit) staleAnswer(now time.Time, detail string, collapsed bool) (a answer, ok bool) {
	if !v.stale || !v.decide(now).MaySIE {
		return answer{}, false
	}
	v.c.stats.staleIfError.Add(1)
	return answer{now: now, status: httprules.CacheStatus{Fwd: v.fwd, FwdStatus: v.failure, Collapsed: collapsed, Key: v.shownKey(), Detail: detail}}, true
}
