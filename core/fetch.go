package cacheaside

import (
	"net/http"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/observe"
)

// fetch runs the handler and answers with what that gives: its response, which is
// stored where the rules allow it, or what is stored, where it has given a 304 or
// failed.
func (v *visit) fetch() error {
	set, validate := v.conditions()
	v.prepare()
	defer v.unclaim()
	defer v.ended()
	v.noteFlight()
	status := httprules.CacheStatus{Fwd: v.fwd, Key: v.shownKey(), Detail: v.causeDetail()}
	v.forwarded, v.hidden = status, set != nil
	run := v.run
	run.begin(v.c, v.depth, v.lead, &v.req)
	v.began, v.ran, v.result = v.c.cfg.Now(), ranBegun, observe.ResultMiss
	if v.lead != nil { // whoever has joined by now came before the handler was called
		v.lead.ValidBefore(v.lead.Advance())
	}
	resp, panicked, at, err := v.next(adapter.Forward{
		Capture:     true,
		Run:         &run.Run,
		MaxBody:     v.c.policy.Storing.MaxBytes,
		Part:        v.gap.Length > 0,
		Memory:      &v.fill.capture,
		HoldBytes:   v.c.policy.Storing.HoldBytes,
		Stream:      v.streams(),
		Set:         v.plainly(v.looped(set)),
		Linger:      v.linger(),
		Annotate:    v.c.lettingGo(v.lead, run, status),
		HandleError: v.handlingError(),
		Wrap:        v.wrapper(),
	})
	v.noteHandler(resp, at.Sub(v.began))
	v.noteRoute()
	v.endFill()
	v.noteInner(run)
	v.count()
	switch {
	case err != nil: // middleware in front makes the response, for this request alone
		return v.settle(answer{outcome: flight.Pass, personal: true, err: err})
	case !panicked && (resp == nil || resp.Sent): // see lettingGo
		return v.letGo(resp)
	}
	if panicked || serverError(resp.Status) || resp.Reason == adapter.ReasonIncomplete {
		if !panicked {
			v.failure, status.FwdStatus = resp.Status, resp.Status
		}
		if a, ok := v.staleAnswer(at, detailStaleIfError, false); ok {
			a.outcome = flight.Failed
			return v.settle(a)
		}
	}
	if validate && v.notModified(resp) {
		return v.settle(v.validated(resp, status))
	}
	if v.gap.Length > 0 && httprules.IsPart(resp.Status) {
		return v.completed(resp, status)
	}
	return v.settle(v.fetched(resp, status, set != nil))
}

// notModified reports whether resp says that what its conditions named is still good. To
// a QUERY that is 304 (RFC 10008 section 2.6), but who does not know the method answers as
// to any other one: 412 (RFC 9110 section 13.1.2), which becomes a 304.
func (v *visit) notModified(resp *adapter.Response) bool {
	if resp.Status == http.StatusPreconditionFailed && v.req.Method == methodQuery && (resp.Reason == "" || resp.Reason == adapter.ReasonUnwritten) {
		resp.Status, resp.Reason, resp.Header, resp.Body = http.StatusNotModified, "", undescribed(resp.Header), nil
	}
	return resp.Reason == "" && resp.Status == http.StatusNotModified
}

// prepare gets a claim by which the handler's response can be stored. Nobody is waited
// for: if another run holds the lock, its token is used.
func (v *visit) prepare() {
	f := new(fill)
	v.run, v.fill, f.capture.of = &f.run, f, &v.c.captures
	if v.c.coordinator == nil || v.begun || v.claim != nil || !v.fills() && !v.stale {
		return
	}
	if v.leaves = v.leavesToInner(); v.leaves {
		return // the handle further in takes the lock, for which others may wait
	}
	key, start := v.flightKey(), freeStart
	lock := v.key.LockOf(key)
	if v.c.inProcess { // such a store has no tokens
		if since, err := v.c.moment(lock); err == nil {
			f.claim.lock, f.claim.since = lock, since
			v.claim = &f.claim
		}
		return
	}
	if _, pass := v.c.passes.Get(key, v.c.cfg.Now().UnixNano(), passAge); pass { // perhaps only just now
		start = passStart // nothing has to be removed afterwards
	}
	v.claim, _, _ = v.c.claim(v.x.Context(), lock, start, true, nil) // nil: nothing will be stored
}

// fill is what a run of the handler needs that outlives the visit, in one allocation.
type fill struct {
	run     run
	claim   claim // where the store has no tokens
	write   write
	capture capture
	text    [64]byte // of a field, which is a view of it
}

// ended is called when the request has its answer: what the handler's run had is given
// back, unless its response is still to come.
func (v *visit) ended() {
	if v.coming == nil {
		v.run.end()
		v.fill.capture.end()
	}
}

// next runs the handler. Where a stale response may take the place of an error,
// a panic counts as one, unless the client has seen something of the handler's already.
// The moment returned is when the handler ended: whether a stale response may still be
// used is decided for that moment.
func (v *visit) next(f adapter.Forward) (resp *adapter.Response, panicked bool, at time.Time, err error) {
	defer func() {
		if resp == nil || resp.Tee == nil {
			v.run.end()
		}
	}()
	if v.stale && v.decide(v.began).MaySIE {
		note, stream, sent := f.Annotate, f.Stream, false
		f.Annotate = func(status int, h adapter.Header, reason string) adapter.Fields {
			sent = true
			return note(status, h, reason)
		}
		if stream != nil {
			f.Stream = func(status int, h adapter.Header) adapter.Streaming {
				how := stream(status, h)
				sent = !how.Hold
				return how
			}
		}
		defer func() {
			if at = v.c.cfg.Now(); sent || !v.decide(at).MaySIE {
				return
			}
			if p := recover(); p != nil {
				v.c.panicked(p)
				panicked = true
			}
		}()
	}
	resp, err = v.x.Next(f)
	return resp, false, v.c.cfg.Now(), err
}

// handlesError reports whether an error of the handler is to become a response at once:
// one that may be stored, or in whose place a stale one may be sent. Any other error
// is for middleware in front to see, as without a cache.
func (v *visit) handlesError(status int, h adapter.Header) bool {
	if serverError(status) && v.stale && v.decide(v.c.cfg.Now()).MaySIE || v.gap.Length > 0 && httprules.IsPart(status) {
		return true
	}
	return v.fills() && v.judge(status, h, v.c.cfg.Now()).Store
}

// handlingError is handlesError for Forward, made once for each visit that the pool has.
func (v *visit) handlingError() func(status int, h adapter.Header) bool {
	if v.onError == nil {
		v.onError = v.handlesError
	}
	return v.onError
}

// lettingGo gives the Cache-Status of a response that cannot be held back, and
// tells those who wait for it that they wait in vain.
func (c *Cache) lettingGo(l *inFlight, run *run, s httprules.CacheStatus) func(int, adapter.Header, string) adapter.Fields {
	return func(_ int, h adapter.Header, reason string) adapter.Fields {
		run.goes()
		c.conclude(l, ending(reason), nil)
		return c.withoutTags(noted(run, s, reason), h)
	}
}

// linger is for Forward.
func (v *visit) linger() time.Duration {
	if !v.c.policy.Requests.BackgroundFill || !v.fills() || v.req.Rerun != nil {
		return 0
	}
	return v.c.policy.Stale.RefreshTimeout
}

// answer is how a request is answered once it is known what the handler gives, and how
// the flight ends that it leads.
type answer struct {
	outcome  flight.Outcome
	personal bool  // for requests in other processes, too, there is nothing to wait for
	err      error // the framework's, instead of a response
	code     int   // an error of the cache's own, if not 0
	// resp is the handler's; nil: what is stored is sent, of the age that it has at the
	// time now.
	resp   *adapter.Response
	now    time.Time
	status httprules.CacheStatus // of all but resp, which has its own
}

// settle ends the flight, unless a write has to do that, and sends the answer: those
// who wait do not wait for this client as well.
func (v *visit) settle(a answer) error {
	v.personal = a.personal
	v.rerun.keep(a.resp)
	v.c.conclude(v.lead, a.outcome, nil)
	switch {
	case a.err != nil:
		return a.err
	case a.code != 0:
		return v.noAnswer(a.code, a.status)
	case a.resp == nil:
		return v.replyStored(a.now, a.status)
	}
	return v.send(a.resp)
}

// fetched is the answer with the handler's response, which is stored if that may be.
// Where the handler was not shown the client's own conditions, they are judged here.
func (v *visit) fetched(resp *adapter.Response, status httprules.CacheStatus, conditions bool) (a answer) {
	if v.fwd == fwdStale {
		status.FwdStatus = resp.Status
	}
	if (v.inner || v.leaves) && resp.Reason == "" {
		resp.Reason = adapter.ReasonInner
	}
	if !v.fills() {
		v.unstored = detailMethod
		v.recoding = v.c.compression.recodes(resp, declaredLength(resp.Effective), v.c.targets)
		if v.stale {
			v.headAnswered(resp)
		}
	} else {
		var reason string
		if resp.Tee != nil {
			a, reason = v.admitComing(resp)
		} else {
			a, reason = v.admit(resp, &status)
		}
		if reason != "" {
			status.Detail, v.unstored = reason, reason
		}
	}
	if !v.inner {
		if resp.Extra == nil {
			resp.Extra = v.extra[:0]
		}
		resp.Extra = append(resp.Extra, adapter.Field{Name: "Cache-Status", Value: viewOf(appendStatus(v.fill.text[:0], status)), Op: adapter.OpAdd})
		resp.Extra = withXCache(resp.Extra, v.req.XCache, xcacheMiss)
	}
	resp.Extra = v.c.withoutTags(resp.Extra, resp.Effective)
	a.resp = v.negotiable(resp, conditions && resp.Status == http.StatusOK)
	return a
}

// firstOf is the first value of a field, or "".
func firstOf(h adapter.Header, name string) string {
	if lines := h.Values(name); len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// unclaim gives up the claim of a run, unless a write or the flight has it.
func (v *visit) unclaim() {
	if v.claim != nil && (v.lead == nil || !v.lead.Leader.has(v.claim)) {
		v.c.claims.release(v.claim, v.personal)
	}
	v.claim = nil
}

// conditions gives the request fields for the handler, nil for those that the
// request has, and whether they make a 304 speak of v.entry.
func (v *visit) conditions() (set http.Header, validate bool) {
	switch {
	case v.req.Method == http.MethodPost: // where Range means nothing, and conditions lead to 412
		if v.asked&keys.AskedRanged != 0 {
			set = http.Header{"Range": nil, "If-Range": nil}
		}
		return set, false
	case !v.fills():
		return nil, false
	}
	if v.gap.Length > 0 {
		return v.askForGap(), false
	}
	var etag, modified string
	if v.stale {
		version := parts.VersionOf(&v.entry)
		etag, modified = version.ETag, version.LastModified
	} else if v.candidates = v.readCandidates(v.x.Context()); len(v.candidates) > 0 {
		var tags []string
		for i := range v.candidates {
			tags = append(tags, parts.VersionOf(&v.candidates[i]).ETag)
		}
		etag = strings.Join(tags, ", ")
	}
	if etag == "" && modified == "" {
		// A response for all who wait is not to depend on what this client has.
		if v.lead != nil && v.conditional() {
			return http.Header{"If-None-Match": nil, "If-Modified-Since": nil}, false
		}
		return nil, false
	}
	set = http.Header{"If-None-Match": nil, "If-Modified-Since": nil, "Range": nil, "If-Range": nil}
	if etag != "" {
		set["If-None-Match"] = []string{etag}
	}
	if modified != "" {
		set["If-Modified-Since"] = []string{modified}
	}
	return set, true
}
