package cacheaside

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// rerun is what the engine knows of a request that it makes itself.
type rerun struct {
	adapter.Rerun
	handle *Cache // the handle that wants it
	lead   *inFlight
	claim  *claim            // by which the response may be stored
	key    string            // the primary key that is to be refreshed
	born   int64             // of the entry that was found
	done   atomic.Bool       // there is a new entry
	wanted bool              // by a client that waits for it, also if it is for nobody else
	answer *adapter.Response // for that client; with the end of lead
}

// engineRerun is the engine's part of a rerun, nil if that is another engine's.
func engineRerun(r *adapter.Rerun) *rerun {
	if r == nil {
		return nil
	}
	own, _ := r.Engine().(*rerun)
	return own
}

// serveRerun deals with a request that refresh has sent.
func (v *visit) serveRerun() error {
	r := v.rerun
	if r.handle != v.c { // meant for a handle further in
		return v.passRerun()
	}
	if v.key.Primary != r.key { // the request has another key than the first time
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

// passRerun hands a request that a refresh has sent on to the handle that it is for.
func (v *visit) passRerun() error {
	run := v.onward()
	v.bypassed = detailRerun
	return v.letPass(run, annotate(run, httprules.CacheStatus{Fwd: fwdBypass, Detail: detailRerun}))
}

// keep keeps a copy of what the handler gave for the client that wants it: that is about
// to be gone. A part, which the run has not asked for, is not.
func (r *rerun) keep(resp *adapter.Response) {
	if r == nil || !r.wanted || resp == nil || httprules.IsPart(resp.Status) {
		return
	}
	kept := &adapter.Response{Status: resp.Status, Implicit: resp.Implicit, Body: bytes.Clone(resp.Body)}
	for _, f := range resp.Header {
		kept.Header = append(kept.Header, adapter.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value), Op: f.Op})
	}
	r.answer = kept
}

// answered is what keep has kept, once lead has ended with the outcome; nil: nothing.
func (r *rerun) answered(o flight.Outcome) *adapter.Response {
	if r == nil || o == flight.TimedOut || o == flight.Cancelled { // it still goes on
		return nil
	}
	return r.answer
}
