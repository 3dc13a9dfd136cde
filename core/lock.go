package cacheaside

import (
	"context"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/store"
)

type acquired uint8

const (
	acquiredTurn    acquired = iota // run the handler
	acquiredEntry                   // v.entry is what another process got
	acquiredNothing                 // the client has left
)

// acquire takes the lock for v.lead and a second look at the store, or polls for what
// the lock's holder stores. The request gets its turn without the lock as well: when the
// store fails, when the deadline has passed, and when the holder waits for this request.
func (v *visit) acquire(deadline time.Time) (httprules.Decision, acquired) {
	l := v.lead
	lock, start, adopt := v.key.LockOf(l.Key()), v.c.start(), !v.c.locks()
	pause := firstPoll
	var holder holder
	var waits waiting
	polls := polls{in: &v.c.polling}
	defer polls.end()
	v.begun = true
	defer l.Leader.awaits.Store(nil)
	for {
		// Whoever has joined by now came before the look, and may have what it finds.
		phase := l.Advance()
		ahead := v.lookaheadAt()
		cl, held, err := v.c.claim(v.x.Context(), lock, start, adopt, ahead)
		if err != nil {
			return httprules.Decision{}, acquiredTurn
		}
		if cl == nil {
			l.Leader.awaits.Store(&held) // before v.holds is asked: see follow
			v.nameFlight(held)
		}
		if ahead != nil && ahead.late {
			v.c.slow.note(v.key.Wire, store.ErrSlow, v.c.cfg.Now())
		}
		if d, ok := v.lookAgain(ahead); ok {
			l.ValidBefore(phase)
			v.c.claims.release(cl, false)
			waits.end(v, l, flight.Shared)
			return d, acquiredEntry
		}
		if cl == nil && v.holds(held) {
			adopt = true // the holder waits for this request: both use its token
			continue
		}
		if cl != nil {
			v.claim = cl
			v.nameFlight(held) // not before: what was found is of the flight that it waited for
			if ahead.read && !ahead.found && ahead.key == v.key.Wire {
				v.beginRecord() // if it turns out to be needed
			}
			if isNote(held) {
				waits.end(v, l, flight.Pass)
				v.c.conclude(l, flight.Pass, nil)
			} else {
				waits.end(v, l, flight.Retry)
				l.Leader.take(cl) // unless the flight is over
			}
			return httprules.Decision{}, acquiredTurn
		}
		holder.see(held)
		left := time.Until(deadline)
		if left <= 0 {
			if holder.hangs(v.c.policy.Coalescing.Wait) {
				v.c.claims.swap(lock, held, "") // so that the next miss does not wait for it as well
			}
			adopt = true
			continue
		}
		waits.begin(v, l)
		polls.begin()
		if !wait(v.x.Context(), min(pause, left)) {
			waits.end(v, l, flight.Cancelled)
			return httprules.Decision{}, acquiredNothing
		}
		pause = longer(pause)
	}
}

// start is how the token of a leader begins.
func (c *Cache) start() string {
	if c.locks() {
		return ""
	}
	return freeStart
}

// polls counts a request among those that wait for other processes, as long as it does.
type polls struct {
	in    *atomic.Int64
	begun bool
}

func (p *polls) begin() {
	if !p.begun {
		p.begun = true
		p.in.Add(1)
	}
}

func (p *polls) end() {
	if p.begun {
		p.in.Add(-1)
	}
}

// holder is the token last seen under a lock, and since when.
type holder struct {
	token string
	since time.Time
}

func (h *holder) see(token string) {
	if h.token != token {
		h.token, h.since = token, time.Now()
	}
}

// hangs reports whether the same token was there for nearly all of the timeout. A
// holder that came late does not pay for the one before.
func (h *holder) hangs(timeout time.Duration) bool {
	return h.token != "" && time.Since(h.since) >= timeout-timeout/10
}

// wait sleeps for about the pause, and reports whether ctx has not ended.
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
