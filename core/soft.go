package cacheaside

import (
	"time"

	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/observe"
)

// softens reports whether a stale response may stand in for a slow handler, which then
// goes on in the background. Unlike coalescing it needs nobody to share with, but a
// request that wants a response made for it alone is not softened.
func (v *visit) softens() bool {
	rc := &v.control
	return v.c.policy.Stale.SoftTimeout > 0 && v.req.Rerun == nil && !rc.NoStore && !rc.MinFresh.OK && (!rc.MaxAge.OK || rc.MaxAge.D > 0)
}

// coalesceSoftly gives the handler SoftTimeout before it answers with v.entry, which
// is stale; what the handler gives later replaces that.
func (v *visit) coalesceSoftly() error {
	deadline := time.Now().Add(v.c.policy.Stale.SoftTimeout)
	for look := 0; look < maxLooks; {
		key := v.flightKey()
		if _, pass := v.c.passes.Get(key, v.now.UnixNano(), passAge); pass {
			return v.fetch()
		}
		if v.outerLead(key) != nil {
			return v.coalesce()
		}
		if v.inside(key) {
			return v.fetch()
		}
		l, leads, ticket := v.c.join(key)
		if leads {
			l.Follow()
			if _, room := v.detach(l, observe.TriggerSoftTimeout); !room {
				return v.coalesce()
			}
		}
		var w waiting
		w.begin(v, l)
		outcome, e := l.Wait(v.x.Context(), ticket, time.Until(deadline))
		w.end(v, l, outcome)
		switch outcome {
		case flight.Cancelled:
			return v.gaveUp()
		case flight.Pass:
			return v.fetch()
		case flight.TimedOut:
			return v.staleOrFetch(detailSoftTimeout)
		case flight.Failed:
			return v.staleOrFetch(detailStaleIfError)
		}
		if d, ok := v.landed(outcome, &e); ok {
			return v.collapsed(d)
		}
		if outcome != flight.Late {
			look++
		}
	}
	return v.coalesce()
}

// staleOrFetch answers with what is stored, if that is still allowed.
func (v *visit) staleOrFetch(detail string) error {
	if a, ok := v.staleAnswer(v.c.cfg.Now(), detail, true); ok {
		return v.settle(a)
	}
	return v.fetch()
}
