package cacheaside

import (
	"context"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
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
	if v.c.policy.Stale.RefreshAhead <= 0 {
		return false
	}
	if v.elsewhere {
		return false
	}
	due := time.Duration(float64(v.entry.Lifetime) * v.c.policy.Stale.RefreshAhead)
	age := v.age(v.now)
	took := time.Duration(v.entry.Took) * time.Microsecond
	const most = 20 // the logarithm is hardly ever less
	if age >= due {
		return true
	}
	if age+took*most < due {
		return false
	}
	return age-time.Duration(float64(took)*math.Log(1-mathrand.Float64())) >= due
}

// refresh runs the request again in the background, once for all processes, and what it
// gets replaces v.entry. It reports whether this or another run does so; if not, the
// request itself has to.
func (v *visit) refresh(by observe.Trigger) bool {
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
	run, _ := v.detach(l, by)
	return run != nil
}

// detach hands l to a background run of the request; nil: it cannot be run again. It
// reports whether there is room for that now.
func (v *visit) detach(l *inFlight, by observe.Trigger) (run *rerun, room bool) {
	send := v.x.Detach()
	if send == nil {
		v.c.conclude(l, flight.Retry, nil)
		return nil, false
	}
	l.Leader.behind.Store(true)
	v.c.refreshes.Put(l.Key(), struct{}{}, v.now.UnixNano())
	j := &refreshing{c: v.c, send: send, by: by, rerun: rerun{handle: v.c, lead: l, key: v.key.Primary, born: v.entry.Born, wanted: by == observe.TriggerOtherPart}}
	j.rerun.Rerun = adapter.NewRerun(&j.rerun)
	if v.observed {
		j.about, j.began, j.link = v.aboutLater(l.Key()), v.now, v.c.linkOf(v.x.Context())
	}
	// Whoever needs the response does not wait for a queue that is stuck.
	j.late = time.AfterFunc(v.c.policy.Stale.RefreshTimeout, j.giveUp)
	if !v.c.background.Submit(j) {
		j.Dropped()
		return &j.rerun, false
	}
	return &j.rerun, true
}

// refreshing is one background run.
type refreshing struct {
	c     *Cache
	send  adapter.Refresher
	rerun rerun
	late  *time.Timer
	by    observe.Trigger
	about about
	began time.Time // when it was asked for
	link  any       // of the span of who did
	span  span
}

// Dropped implements [jobs.Job].
func (r *refreshing) Dropped() {
	if r.late.Stop() {
		r.giveUp()
	}
}

func (r *refreshing) giveUp() {
	r.c.stats.refreshDropped.Add(1)
	r.tell(observe.OutcomeDropped)
	r.c.conclude(r.rerun.lead, flight.Retry, nil)
}

// tell tells the observer how the run ended.
func (r *refreshing) tell(o observe.Outcome) {
	r.c.tellOf(observe.KindRefresh, func(e *observe.Event) {
		defer r.c.endSpan(r.span, e)
		r.about.of(e)
		e.Time, e.Total, e.Trigger, e.Outcome = r.began, r.c.cfg.Now().Sub(r.began), r.by, o
		e.FlightID = r.rerun.lead.Leader.flightID()
	})
}

// lock reports whether this process is to run the request. If not, another one does,
// for which requests with a SoftTimeout wait here, and the flight ends with outcome.
func (r *refreshing) lock(ctx context.Context) (outcome flight.Outcome, ours bool) {
	c, l := r.c, r.rerun.lead
	pause := firstPoll
	var by holder
	for {
		cl, held, err := c.claim(ctx, keys.LockKey(l.Key()), c.start(), !c.locks(), nil)
		switch {
		case err != nil:
			return 0, true // what is stored meanwhile is found by the run
		case cl != nil && isNote(held):
			c.claims.release(cl, false)
			return flight.Pass, false
		case cl != nil && l.Leader.take(cl):
			r.rerun.claim = cl
			return 0, true
		case cl != nil: // the flight is over
			c.claims.release(cl, false)
			return flight.Retry, false
		case l.Waiting() == 0:
			return flight.Retry, false
		}
		by.see(held)
		if !wait(ctx, pause) {
			if by.hangs(c.policy.Stale.RefreshTimeout) {
				c.claims.swap(keys.LockKey(l.Key()), by.token, "")
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
	ctx, r.span = c.startSpan(ctx, observe.Start{Kind: observe.SpanRefresh, Link: r.link, Route: r.about.route, Policy: r.about.policy, Key: r.about.key})
	if c.coordinator != nil && !c.inProcess {
		if outcome, ours := r.lock(ctx); !ours {
			c.endSpan(r.span, &observe.Event{Kind: observe.KindRefresh, Context: ctx, Trigger: r.by, BodyBytes: -1})
			c.conclude(l, outcome, nil)
			return
		}
	}
	// A handler that does not heed its context keeps this goroutine, but nobody
	// else, and not the place of others.
	failed := sync.OnceFunc(func() {
		c.stats.refreshErrors.Add(1)
		r.tell(observe.OutcomeError)
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
		r.tell(observe.OutcomeRenewed)
		c.conclude(l, flight.Retry, nil) // it has been ended with what there is now
	}()
	r.send(ctx, &r.rerun.Rerun)
}
