package cacheaside

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
)

// The response to a POST may say that it is what a GET of the same URI would have given:
// then it can be stored for that (RFC 9110 section 9.3.3). But the request is unsafe, and
// ends the life of all that is stored for the URI. The order is this:
//
//  1. Before the handler runs the request takes a claim, as any fill does.
//  2. The handler has returned, and the client does not have its answer. The token of the
//     claim is exchanged for a new one. That fails where somebody has purged the URL, or
//     stored something, since step 1. Runs of the handler that had begun before share the
//     old token, which is good for nothing any more: what they give may be older.
//  3. All that is stored for the URL is removed, and other claims with it, as after any
//     unsafe request. Only the lock with the new token stays.
//  4. The response goes to the client, and to the store by that token. A purge deletes
//     that like any other.
//
// These are steps that fills and purges consist of, so the model in internal/protocol has
// no scenario of its own for them. What is new is that a token is younger than the moment
// since which nothing may have been purged. That holds by step 2: whoever purges the URL
// deletes whatever token is there, and the exchange finds the one of step 1 or fails. Tags
// and prefixes are compared with the moment of step 1 when the response is written.
//
// What goes wrong on the way ends in step 3 without the exception. A store in this process
// has no tokens; there a lock that only such requests have stands for the new one, and one
// request at a time may have it.

// postLock is the lock of a POST where the store has no tokens.
func postLock(wire string) string { return keys.LockKey(wire) + ":post" }

// posting are the POST requests that hold a postLock, by the key. Other caches of this
// process may be on the same store.
var posting sync.Map

// posts prepares a request whose response may be stored for GET; false: it cannot be, and
// the request is like any other that is unsafe.
func (v *visit) posts() bool {
	c, req := v.c, &v.req
	if !c.policy.Storing.Post || req.Method != http.MethodPost || c.coordinator == nil || c.answers&answersGet == 0 {
		return false
	}
	switch {
	case req.Rerun != nil, servedBy(req, c.shared): // there is a handle further out
		return false
	case req.Upgrade, v.asked&(keys.AskedUpgrade|keys.AskedOverride|keys.AskedPrecondition) != 0:
		return false
	case c.policy.Key.Generator != nil, c.policy.Key.Partition != nil: // no purge can name such a key
		return false
	}
	key, wire, ok := c.keys.View(v.wire, req)
	if v.wire = wire; !ok || !c.named(key.Primary, req) {
		return false
	}
	f := new(fill)
	f.capture.of = &c.captures
	key = c.keys.Own(key)
	if c.inProcess {
		since, err := c.moment(key.Lock)
		if _, other := posting.LoadOrStore(key.Wire, f); other || err != nil {
			posting.CompareAndDelete(key.Wire, f)
			return false
		}
		f.claim.lock, f.claim.since = key.Lock, since
		v.claim = &f.claim
	} else if v.claim = c.claimPost(v.x.Context(), key); v.claim == nil {
		return false
	}
	v.key, v.fill, v.run = key, f, &f.run
	return true
}

// claimPost takes the claim of a POST; nil: the store has failed. The journal of purges
// has to have begun before that: one that begins with what the POST removes would not tell
// what was purged before.
func (c *Cache) claimPost(ctx context.Context, key keys.Key) *claim {
	at := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
	err := c.ledger.BeginJournal(at)
	c.deadlines.end(at)
	if err != nil {
		return nil
	}
	cl, _, _ := c.claim(ctx, key.Lock, freeStart, true, nil)
	return cl
}

// post runs the handler of a request that posts has prepared.
func (v *visit) post() error {
	c, f, wire := v.c, v.fill, v.key.Wire
	defer func() {
		if f.write.post == nil { // else the write's end does it
			posting.CompareAndDelete(wire, f)
		}
	}()
	defer v.unclaim()
	defer v.ended()
	run, unsafely := v.run, v.invalidation()
	run.begin(c, v.depth, nil, &v.req)
	v.bypassed, v.result, v.ran, v.began = detailMethod, observe.ResultBypass, ranBegun, c.cfg.Now()
	returned := false
	defer func() {
		if v.inner = run.dealtWith(); !v.inner {
			c.stats.bypasses.Add(1)
			if !returned { // a panic: what it has changed before, nobody knows
				c.invalidate(unsafely.ctx, unsafely.req, "")
			}
		}
	}()
	status := httprules.CacheStatus{Fwd: fwdMethod, Key: v.shownKey()}
	resp, _, at, err := v.next(adapter.Forward{
		Capture:   true,
		Run:       &run.Run,
		MaxBody:   c.policy.Storing.MaxBytes,
		Memory:    &f.capture,
		HoldBytes: c.policy.Storing.HoldBytes,
		Stream:    passedOn,
		Annotate: func(code int, h adapter.Header, reason string) adapter.Fields {
			if run.dealtWith() {
				return c.withoutTags(nil, h)
			}
			unsafely.after(code, h, "")
			if !sameURI(unsafely.req, h) {
				reason = "" // nobody has asked for it to be stored
			}
			return c.withoutTags(noted(run, status, reason), h)
		},
	})
	returned = true
	v.noteHandler(resp, at.Sub(v.began))
	v.noteRoute()
	if err != nil || resp == nil || resp.Sent {
		return err
	}
	resp.Extra = v.extra[:0]
	if !run.dealtWith() {
		if reason := v.posted(resp, &status, unsafely); reason != "" {
			status.Detail, v.unstored = reason, reason
		}
		resp.Extra = withXCache(append(resp.Extra, adapter.Field{Name: "Cache-Status", Value: statusValue(status), Op: adapter.OpAdd}), v.req.XCache, xcacheBypass)
	}
	resp.Extra = c.withoutTags(resp.Extra, resp.Effective)
	return v.send(resp)
}

// passedOn is for Forward.Stream: what has to be complete before all that is stored is
// removed is not sent as it comes.
func passedOn(int, adapter.Header) adapter.Streaming {
	return adapter.Streaming{Reason: adapter.ReasonStream}
}

// posted removes what is stored for the URL of a POST, and prepares the write of its
// response, or says why there is none.
func (v *visit) posted(resp *adapter.Response, status *httprules.CacheStatus, unsafely invalidation) (reason string) {
	if !sameURI(&v.req, resp.Effective) {
		unsafely.after(resp.Status, resp.Effective, "")
		return ""
	}
	said := *status
	if reason = v.admitPost(resp, status); reason == "" {
		if spared := v.write.renew(); spared == "" {
			reason = detailPurged
		} else if !unsafely.after(resp.Status, resp.Effective, spared) {
			reason = detailStoreFailed
		} else {
			return ""
		}
		v.write.abandon()
		v.write, v.kept = nil, false
		*status = said
	}
	unsafely.after(resp.Status, resp.Effective, "")
	return reason
}

// admitPost is admit for the response to a POST. Of what may be stored for GET only that
// is which needs nothing of the request, and says itself how long it is fresh.
func (v *visit) admitPost(resp *adapter.Response, status *httprules.CacheStatus) (reason string) {
	switch {
	case resp.Tee != nil:
		return adapter.ReasonStream
	case resp.Reason != "":
		return resp.Reason
	case resp.Status != http.StatusOK: // a redirection to the result might lead to itself
		return detailStatus
	}
	now := v.c.cfg.Now()
	verdict := v.judge(resp.Status, resp.Effective, now)
	names, _ := v.selectingNames(resp.Header, resp.Effective)
	switch {
	case !verdict.Store:
		return verdict.Reason
	case !verdict.Explicit, verdict.NoCache, verdict.Lifetime <= verdict.InitialAge:
		return detailNoFreshness
	case len(names) > 0, resp.Header.Has("Vary"), resp.Header.Has("Content-Encoding"):
		return detailVary
	}
	if _, reason = v.admit(resp, status); reason != "" {
		return reason
	}
	v.write.post = v.fill
	return ""
}

// renew lets the write have a claim that no run has shared until now, and returns the
// lock of it; "": the old one is void.
func (w *write) renew() (lock string) {
	c, old := w.c, w.claim
	if c.inProcess {
		old.lock = postLock(w.wire)
		return old.lock
	}
	next := c.claims.renew(old)
	if next == nil {
		return ""
	}
	w.claim = next
	return next.lock
}

// renew puts a new token in the place of that of a claim, which is used up; nil: it was
// not there any more, or the store has not answered.
func (c *claims) renew(old *claim) *claim {
	token := freeStart + c.token()
	c.live.add(token)
	held, err := c.swapOnce(old.lock, old.token, token)
	if err != nil && !errors.Is(err, breaker.ErrOpen) {
		c.report.storeError("renewing a token", err)
	}
	if !held || err != nil {
		c.live.leave(token, true)
		return nil
	}
	c.used(old)
	next := &claim{lock: old.lock, token: token, since: old.since, own: true}
	c.prolong(next, c.timeouts.Lock/3, time.Now().Add(maxHold))
	return next
}

// sameURI reports whether a response says that it is what a GET of the URI of req would
// have given: its Content-Location, one line that is not empty, is that URI.
func sameURI(req *keys.Request, h adapter.Header) bool {
	lines := h.Values("Content-Location")
	if len(lines) != 1 || httprules.TrimOWS(lines[0]) == "" {
		return false
	}
	ref, err := url.Parse(httprules.TrimOWS(lines[0]))
	if err != nil || ref.User != nil || ref.Fragment != "" || ref.Opaque != "" {
		return false
	}
	named, ok := sameHost(*req, ref.String())
	return ok && named.Path == req.Path && named.RawQuery == req.RawQuery
}
