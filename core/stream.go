package cacheaside

import (
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// A response that takes its time is sent as it comes, and stored when it is complete.
// What can be decided by its header alone is decided before the first byte leaves; what
// the whole is needed for (a stale response in the place of an error, a 304) keeps it
// held back.

// streams is for Forward.Stream, made once for each visit that the pool has. A run in the
// background has no client, and the answer to a HEAD has no body.
func (v *visit) streams() func(status int, h adapter.Header) adapter.Streaming {
	if v.rerun != nil || !v.fills() || v.c.policy.Storing.HoldBytes == math.MaxInt64 {
		return nil
	}
	if v.onStream == nil {
		v.onStream = v.stream
	}
	return v.onStream
}

// stream says how a response goes on that its handler is still writing.
func (v *visit) stream(status int, h adapter.Header) adapter.Streaming {
	v.announced(status, h)
	if v.needsWhole(status, h) {
		return adapter.Streaming{Hold: true}
	}
	if reason := v.refuses(status, h); reason != "" {
		return adapter.Streaming{Reason: reason}
	}
	said := v.forwarded
	if v.fwd == fwdStale {
		said.FwdStatus = status
	}
	extra := noted(v.run, said, "")
	if v.recoding.to != coding.Identity {
		extra = varying(extra, h)
	}
	return adapter.Streaming{Extra: v.c.withoutTags(extra, h)}
}

// announced notes what the header of a response tells of its body.
func (v *visit) announced(status int, h adapter.Header) {
	resp := adapter.Response{Status: status, Effective: h}
	for _, name := range []string{"Content-Encoding", "Content-Range"} {
		for _, line := range h.Values(name) {
			resp.Header = append(resp.Header, adapter.Field{Name: name, Value: line})
		}
	}
	v.recoding = v.c.compression.recodes(&resp, declaredLength(h), v.c.targets)
	if status == http.StatusPartialContent {
		v.announcePart(&resp)
	}
}

// needsWhole reports whether something else may be sent in the place of a response, once
// it is complete.
func (v *visit) needsWhole(status int, h adapter.Header) bool {
	if v.gap.Length > 0 && httprules.IsPart(status) || serverError(status) && v.stale && v.decide(v.c.cfg.Now()).MaySIE {
		return true
	}
	if _, only := v.onlyCoded(); only {
		return true
	}
	if !v.hidden || status != http.StatusOK || !v.conditional() {
		return false
	}
	made := v.c.policy.Storing.GenerateETag && len(h.Values("Etag"))+len(h.Values("Last-Modified")) == 0
	if made {
		return true
	}
	_, has := v.has(h)
	return has
}

// refuses is why a response with that header will not be stored, as far as that shows.
func (v *visit) refuses(status int, h adapter.Header) string {
	if v.leaves || v.run.dealtWith() {
		return adapter.ReasonInner
	}
	verdict := v.judge(status, h, v.c.cfg.Now())
	if v.admissible(&verdict) {
		return ""
	}
	v.refused = &refused{status, verdict}
	return verdict.Reason
}

// refused is a response that was let go because the rules do not let it be stored.
type refused struct {
	status  int
	verdict httprules.Verdict
}

// letGo deals with a response that is on its way, or with the client already. One that
// was captured meanwhile is stored; of any other, those who wait have been told.
func (v *visit) letGo(resp *adapter.Response) error {
	switch {
	case resp == nil:
	case resp.Left != nil:
		v.keepSent(resp)
	case v.refused != nil:
		v.superseded(v.refused.status, v.refused.verdict)
	}
	return nil
}

// keepSent stores a response that the client has.
func (v *visit) keepSent(resp *adapter.Response) {
	v.sent = int64(len(resp.Body))
	if v.inner || v.leaves {
		resp.Reason = adapter.ReasonInner
	}
	var status httprules.CacheStatus // which the client has seen
	a, reason := v.admit(resp, &status)
	v.unstored, v.personal = reason, a.personal
	v.c.conclude(v.lead, a.outcome, nil)
	if w := v.write; w != nil {
		v.write = nil
		if !v.req.Outer.Hold(w.leaving) {
			w.leaving(resp.Left)
		}
		w.replied(true)
	}
}

// coming is a response whose body is still to come when its request is over: from a
// stream that the server reads. It has what the request is needed for.
type coming struct {
	v    *visit // of its own, in no pool
	resp adapter.Response
	late *time.Timer

	mu    sync.Mutex
	taken bool // resp has its body
	left  http.Header
	over  bool
}

// admitComing is admit for such a response, by its header. The rest is done when the body
// is there, and the response has left as middleware in front has made it, whatever comes
// first.
func (v *visit) admitComing(resp *adapter.Response) (a answer, reason string) {
	if reason = resp.Reason; reason != "" {
		a.outcome = ending(reason)
		a.personal = a.outcome == flight.Pass
		return a, reason
	}
	if resp.Status == http.StatusPartialContent {
		v.announcePart(resp)
	}
	if verdict := v.judge(resp.Status, resp.Effective, v.c.cfg.Now()); !v.admissible(&verdict) {
		v.superseded(resp.Status, verdict)
		return answer{outcome: flight.Pass, personal: true}, verdict.Reason
	}
	v.recoding = v.c.compression.recodes(resp, declaredLength(resp.Effective), v.c.targets)
	c := &coming{v: v.handOn(), resp: *resp}
	c.resp.Header, c.resp.Tee = slices.Clone(resp.Header), nil
	c.late = time.AfterFunc(maxHold, func() { c.giveUp(detailStoreFailed) }) // the claim is good for no longer
	v.coming, v.drain = c, resp.Tee(c.take)
	return answer{}, ""
}

// handOn makes a visit that goes on when v is over, with the duties of v.
func (v *visit) handOn() *visit {
	later := &visit{visitState: v.visitState}
	later.req = *v.req.Keep()
	later.header, later.x = later.req.View(), over{&later.req.Request}
	later.req.Request.Router, later.reply, later.explained = nil, reply{}, nil
	if v.lead != nil {
		v.lead.Leader.writes.Store(true)
	}
	v.lead, v.claim = nil, nil
	v.warming.begin()
	return later
}

// over is the exchange of a request that has its answer.
type over struct{ req *adapter.Request }

func (over) Context() context.Context                        { return context.Background() }
func (o over) Request() *adapter.Request                     { return o.req }
func (over) Next(adapter.Forward) (*adapter.Response, error) { return nil, errDropped }
func (over) Reply(*adapter.Response) error                   { return errDropped }
func (over) Detach() adapter.Refresher                       { return nil }

// take is for [adapter.Response].Tee.
func (c *coming) take(body []byte, reason string) {
	if reason != "" {
		c.giveUp(reason)
		return
	}
	c.mu.Lock()
	c.resp.Body, c.taken = body, true
	c.mu.Unlock()
	c.finish()
}

// body is what has come.
func (c *coming) body() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resp.Body
}

// leaving is for [adapter.Response].Leaving.
func (c *coming) leaving(sent adapter.Header) {
	left := http.Header{}
	for _, name := range append([]string{"Cache-Control", "Set-Cookie", "Content-Encoding", "Vary"}, c.v.c.targets...) {
		left[name] = slices.Clone(sent.Values(name))
	}
	c.mu.Lock()
	c.left = left
	c.mu.Unlock()
	c.finish()
}

// ends reports whether the caller is to end it.
func (c *coming) ends(ready func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || !ready() {
		return false
	}
	c.over = true
	c.late.Stop()
	return true
}

// finish stores the response once everything is there.
func (c *coming) finish() {
	if !c.ends(func() bool { return c.taken && c.left != nil }) {
		return
	}
	v := c.v
	defer c.end()
	v.run.end()
	var status httprules.CacheStatus // which the client has seen
	a, reason := v.admit(&c.resp, &status)
	defer v.warming.end(reason)
	v.personal = a.personal
	if v.lead != nil {
		v.c.end(v.lead, a.outcome, nil)
	}
	if w := v.write; w != nil {
		v.write = nil
		w.leaving(c.left)
		w.replied(true)
	}
}

// giveUp tells those who wait that there is nothing to store.
func (c *coming) giveUp(reason string) {
	if !c.ends(func() bool { return true }) {
		return
	}
	defer c.end()
	defer c.v.warming.end(reason)
	outcome := ending(reason)
	if c.v.personal = outcome == flight.Pass; c.v.lead != nil {
		c.v.c.end(c.v.lead, outcome, nil)
	}
}

// end gives back what c has.
func (c *coming) end() {
	c.v.run.end()
	c.v.unclaim()
	c.v.fill.capture.end()
	c.resp.Body = nil
}
