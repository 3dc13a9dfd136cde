package cacheaside

import (
	"net/http"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Serve answers one request: from the store where the rules allow it, else by
// running the handler, whose response it stores where the rules allow that. It
// is what adapters call. The error is the framework's or the client
// connection's own; trouble of the store never becomes one.
func (c *Cache) Serve(x adapter.Exchange) error {
	v := visits.Get().(*visit)
	defer v.release()
	v.c, v.x = c, x
	if c.cfg.Observer != nil {
		v.observed, v.now = true, c.cfg.Now()
		v.told = told{came: v.now}
	}
	req := &v.req
	v.header, v.asked = req.Enter(x.Request())
	if req.Account != nil {
		v.accountable()
	}
	if done, err := v.inspected(); done {
		return err
	}
	v.depth, v.rerun = v.nest(), engineRerun(req.Rerun)
	if fwd, detail := v.bypass(); fwd != "" {
		return v.pass(fwd, detail)
	}
	var ok bool
	if v.key, v.wire, ok = c.keys.View(v.wire, req); !ok {
		return v.pass(fwdBypass, detailKeyTooLong)
	}
	if v.asked&keys.AskedDirected != 0 && !c.policy.Requests.IgnoreDirectives && req.Rerun == nil {
		v.control = httprules.ParseRequestControl(v.header)
	}

	if !v.observed {
		v.now = c.cfg.Now()
	}
	if c.local != nil && req.Rerun == nil {
		if d, ok := v.nearby(); ok {
			if v.early() {
				v.key = c.keys.Own(v.key)
				v.refresh(observe.TriggerAhead)
			}
			return v.hit(d)
		}
		v.entry, v.selecting, v.Soft = entry.Entry{}, keys.Selecting{}, 0
	}
	v.key, v.epoch = c.keys.Own(v.key), c.flights.Ended()
	if r := v.rerun; r != nil && r.handle.shared == c.shared {
		return v.serveRerun()
	} else if req.Rerun != nil && (r == nil || !servedBy(req, r.handle.shared)) { // meant for another cache further in
		return v.passRerun()
	}
	mark := c.writes.ended.Load()
	found, d := v.find(x.Context())
	if (found != foundEntry || d.Use == httprules.Validate) && c.writes.wait(x.Context(), v.key.Wire, mark, c.cfg.Timeouts.Lookup) {
		found, d = v.find(x.Context())
	}
	v.cause, v.looked = v.why, v.since(v.came)
	switch {
	case found == foundInner && v.leavesToInner():
		return v.passInner()
	case found == foundOtherVariants:
		v.fwd = fwdVaryMiss
		return v.miss()
	case found != foundEntry:
		v.fwd = fwdMiss
		return v.miss()
	}
	if d.Use != httprules.Validate {
		if v.early() {
			v.refresh(observe.TriggerAhead)
		}
		return v.hit(d)
	}
	v.fwd = d.Fwd
	if v.lacking() {
		v.lacks(d)
		return v.miss()
	}
	return v.revalidate(d)
}

// bypass says, as a token for Cache-Status, why the cache has nothing to do
// with a request; "" where it has.
func (v *visit) bypass() (fwd, detail string) {
	req, asked, c := &v.req, v.asked, v.c
	switch {
	case req.Bypass != "":
		return fwdBypass, req.Bypass
	case c.policy.Skip != nil && c.policy.Skip(&req.Request):
		return fwdBypass, detailSkip
	}
	body := req.HasBody || asked&keys.AskedChunked != 0
	content := false // is part of the key
	switch req.Method {
	case http.MethodGet:
		if c.answers&answersGet == 0 {
			return fwdBypass, detailMethod
		}
		content = body && c.policy.Requests.Content.OfGet
	case http.MethodHead:
		if c.answers&answersHead == 0 {
			return fwdBypass, detailMethod
		}
	default:
		if c.answers&methodBit(req.Method) == 0 {
			return fwdMethod, ""
		}
		content = true
	}
	switch {
	case body && !content: // the key cannot tell two bodies apart
		return fwdBypass, detailRequestBody
	case req.Upgrade, asked&keys.AskedUpgrade != 0:
		return fwdBypass, detailUpgrade
	case asked&keys.AskedPrecondition != 0:
		return fwdBypass, detailPrecondition
	case asked&keys.AskedOverride != 0:
		return fwdBypass, detailOverride
	case content:
		return v.takeContent()
	}
	return "", ""
}

// pass runs the handler with its response going straight to the client. Of two
// handles that a request passes, the one nearest to the handler tells of it, and
// does what there is to do.
func (v *visit) pass(fwd, detail string) error {
	if fwd == fwdMethod && v.posts() {
		return v.post()
	}
	run := v.onward()
	v.bypassed = detail
	if detail == "" {
		v.bypassed = detailMethod
	}
	defer func() {
		if !v.inner {
			v.c.stats.bypasses.Add(1)
		}
	}()
	note := annotate(run, httprules.CacheStatus{Fwd: fwd, Detail: detail})
	// What a policy calls safe is so only where the cache deals with it.
	skipped := fwd != fwdMethod && (detail == detailSkip || detail == v.req.Bypass)
	if !safe(v.req.Method) && !skipped {
		v.req.Content = "" // of other requests for the URL nobody knows theirs
		note = v.invalidating(run, note)
	}
	return v.letPass(run, note)
}

// miss answers with what the handler gives.
func (v *visit) miss() error {
	v.counter = &v.c.stats.misses
	defer v.count()
	if v.control.OnlyIfCached {
		return v.gatewayTimeout()
	}
	return v.coalesce()
}
