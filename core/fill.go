package cacheaside

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// miss answers with what the handler gives.
func (v *visit) miss() error {
	v.counter = &v.c.stats.misses
	defer v.count()
	if v.control.OnlyIfCached {
		return v.gatewayTimeout()
	}
	return v.ask()
}

// fetch runs the handler and answers with what that gives: its response, which is
// stored where the rules allow it, or what is stored, where it has given a 304 or
// failed.
func (v *visit) fetch() error {
	set, validate := v.conditions()
	v.prepare()
	defer v.unclaim()
	status := httprules.CacheStatus{Fwd: v.fwd, Key: v.shownKey()}
	run := v.run
	run.begin(v.c, v.depth, v.lead, &v.req)
	v.began = v.c.cfg.Now()
	if v.lead != nil { // what the handler gives is new to who has joined by now
		v.lead.ValidBefore(v.lead.Advance())
	}
	resp, panicked, at, err := v.next(adapter.Forward{
		Capture:     true,
		Run:         &run.Run,
		MaxBody:     v.c.policy.Storing.MaxBytes,
		Set:         v.looped(set),
		Linger:      v.linger(),
		Annotate:    v.c.lettingGo(v.lead, run, status),
		HandleError: v.handlingError(),
	})
	v.noteInner(run)
	v.count()
	switch {
	case err != nil: // the response is somebody else's to make, for this request alone
		return v.settle(answer{outcome: flight.Pass, personal: true, err: err})
	case !panicked && (resp == nil || resp.Sent): // see lettingGo
		return nil
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
	if validate && resp.Status == http.StatusNotModified && resp.Reason == "" {
		return v.settle(v.validated(resp, status))
	}
	return v.settle(v.fetched(resp, status, set != nil))
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
	if v.req.Method == http.MethodHead {
		if v.stale {
			v.headAnswered(resp)
		}
	} else {
		var reason string
		if a, reason = v.admit(resp, &status); reason != "" {
			status.Detail = reason
		}
	}
	if !v.inner {
		if resp.Extra == nil {
			resp.Extra = v.extra[:0]
		}
		resp.Extra = append(resp.Extra, adapter.Field{Name: "Cache-Status", Value: viewOf(appendStatus(v.fill.text[:0], status)), Op: adapter.OpAdd})
	}
	resp.Extra = v.c.withoutTags(resp.Extra, resp.Effective)
	if a.resp = resp; conditions && resp.Status == http.StatusOK && v.notModified(resp) {
		a.resp = &adapter.Response{Status: http.StatusNotModified, Extra: resp.Extra, Header: undescribed(resp.Header)}
	}
	return a
}

// handlesError reports whether an error of the handler is to become a response at once:
// one that may be stored, or in whose place a stale one may be sent. Any other error
// is for middleware in front to see, as without a cache.
func (v *visit) handlesError(status int, h adapter.Header) bool {
	if serverError(status) && v.stale && v.decide(v.c.cfg.Now()).MaySIE {
		return true
	}
	return v.req.Method == http.MethodGet && v.judge(status, h, v.c.cfg.Now()).Store
}

// handlingError is handlesError for Forward, made once for each visit that the pool has.
func (v *visit) handlingError() func(status int, h adapter.Header) bool {
	if v.onError == nil {
		v.onError = v.handlesError
	}
	return v.onError
}

// prepare sees to it that the handler's response can be stored: with what is under the
// lock, where others are not waited for.
func (v *visit) prepare() {
	f := new(fill)
	v.run, v.fill = &f.run, f
	if v.c.coordinator == nil || v.begun || v.claim != nil || v.req.Method != http.MethodGet && !v.stale {
		return
	}
	if v.leaves = v.leavesToInner(); v.leaves {
		return // others may wait for the lock of the handle further in
	}
	key, start := v.flightKey(), freeStart
	lock := v.key.lockOf(key)
	if v.c.inProcess { // which has no tokens
		if since, err := v.c.moment(lock); err == nil {
			f.claim.lock, f.claim.since = lock, since
			v.claim = &f.claim
		}
		return
	}
	if _, pass := v.c.passes.Get(key, v.c.cfg.Now().UnixNano(), passAge); pass { // perhaps since a moment
		start = passStart // nothing has to be removed afterwards
	}
	v.claim, _, _ = v.c.begin(v.x.Context(), lock, start, true, nil) // nil: nothing will be stored
}

// fill is what a run of the handler needs that outlives the visit, in one allocation.
type fill struct {
	run   run
	claim claim // where the store has no tokens
	write write
	text  [64]byte // of a field, which is a view of it
}

// withoutTags takes the fields with tags out of what the client sees.
func (c *Cache) withoutTags(extra adapter.Fields, h adapter.Header) adapter.Fields {
	if c.policy.Storing.ForwardTags {
		return extra
	}
	for _, name := range httprules.TagFields {
		if len(h.Values(name)) > 0 {
			extra = append(extra, adapter.Field{Name: name, Op: adapter.OpDel})
		}
	}
	return extra
}

// lettingGo gives the Cache-Status of a response that cannot be held back, and
// tells those who wait for it that they wait in vain.
func (c *Cache) lettingGo(l *inFlight, run *run, s httprules.CacheStatus) func(int, adapter.Header, string) adapter.Fields {
	return func(_ int, h adapter.Header, reason string) adapter.Fields {
		c.conclude(l, ending(reason), nil)
		return c.withoutTags(noted(run, s, reason), h)
	}
}

// ending says what those who wait shall do when a response is not stored for a
// reason that is not the rules'.
func ending(reason string) flight.Outcome {
	switch reason {
	case adapter.ReasonIncomplete, adapter.ReasonStatusTwice, adapter.ReasonHandler, adapter.ReasonClientGone:
		return flight.Retry // the next run may go better
	case adapter.ReasonInner:
		return flight.Retry // the handle further in has it, or knows better
	}
	return flight.Pass
}

// next runs the handler. Where a stale response may take the place of an error,
// a panic is one, unless the client has seen something of the handler's already.
// It ended at the moment that is returned: whether a stale response may still be
// used is decided for that alone.
func (v *visit) next(f adapter.Forward) (resp *adapter.Response, panicked bool, at time.Time, err error) {
	defer v.run.end()
	if v.stale && v.decide(v.began).MaySIE {
		note, sent := f.Annotate, false
		f.Annotate = func(status int, h adapter.Header, reason string) adapter.Fields {
			sent = true
			return note(status, h, reason)
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

// notModified reports whether the client, whose own conditions the handler has
// not seen, has resp already.
func (v *visit) notModified(resp *adapter.Response) bool {
	first := func(name string) string {
		if s := resp.Effective.Values(name); len(s) > 0 {
			return s[0]
		}
		return ""
	}
	return httprules.NotModified(v.header, first("Etag"), first("Last-Modified"), v.c.cfg.Now())
}

// admit stores resp where the rules allow it, and says in status what became of it. The
// answer says how the flight ends, if a write does not see to that; the reason is why
// resp was not stored.
func (v *visit) admit(resp *adapter.Response, status *httprules.CacheStatus) (a answer, reason string) {
	now := v.c.cfg.Now()
	private := answer{outcome: flight.Pass, personal: true}
	if reason = resp.Reason; reason != "" {
		a.outcome = ending(reason)
		a.personal = a.outcome == flight.Pass
		if reason == adapter.ReasonUnwritten { // which matters only to what would be stored
			if verdict := v.judge(resp.Status, resp.Effective, now); !verdict.Store {
				return a, verdict.Reason
			}
		}
		return a, reason
	}
	verdict := v.judge(resp.Status, resp.Effective, now)
	if !verdict.Store {
		v.superseded(resp.Status, verdict)
		if v.rerun != nil && temporary(resp.Status) { // what is stored stays, and so does its window
			private.outcome = flight.Failed
		}
		return private, verdict.Reason
	}
	names, anyOrigin := v.selectingNames(resp.Header, resp.Effective)
	if len(mergeNames(names, v.by.names)) > maxVaryNames {
		return private, detailVary
	}
	if v.c.policy.Storing.GenerateETag {
		generateETag(resp)
	}
	tags, ok := v.tagsOf(resp.Effective, len(names) > 0)
	if !ok {
		v.c.stats.tagsRefused.Add(1)
		return private, detailTags
	}
	header, reason := v.storable(resp, verdict)
	if reason != "" {
		return private, reason
	}
	content := entry.Content{
		Meta:   v.meta(verdict, anyOrigin, resp.Status, now),
		Key:    v.key.primary,
		Tags:   tags,
		Header: header,
		Body:   resp.Body,
	}
	if resp.Implicit {
		content.Flags |= entry.Implicit
	}
	if reason = v.startWrite(content, names, verdict, now); reason != "" {
		return answer{outcome: flight.Retry}, reason
	}
	status.Stored = true
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		status.TTL, status.HasTTL = seconds(ttl), true
	}
	return answer{}, ""
}

// superseded removes the stale entry when the handler has answered with
// something newer that is not stored: nobody is to be given the old one any more
// (RFC 9111 section 4.3.3).
func (v *visit) superseded(status int, verdict httprules.Verdict) {
	if !v.stale || verdict.OfRequest || temporary(status) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.x.Context()), v.c.cfg.Timeouts.Write)
	defer cancel()
	if err := v.c.store.Delete(ctx, v.at); err != nil {
		v.c.reportError("deleting", err)
	}
}

// temporary reports whether a status says nothing of the resource itself.
func temporary(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

func (v *visit) judge(status int, effective adapter.Header, now time.Time) httprules.Verdict {
	ttl, special := v.c.policy.StatusTTL[status]
	if !special && v.c.listed[status] {
		ttl = v.c.policy.TTL
	}
	reqHeader := v.req.Header
	if v.c.policy.Requests.IgnoreDirectives {
		reqHeader = withoutDirectives{reqHeader}
	}
	verdict := httprules.Judge(httprules.Fill{
		Method: http.MethodGet, RequestHeader: reqHeader,
		Status: status, ResponseHeader: effective,
		RequestTime: v.began, ResponseTime: now,
		Rules: httprules.Rules{
			TTL: ttl, Listed: v.c.listed[status], Heuristic: v.c.policy.Storing.Heuristic,
			SetCookie: v.c.policy.Storing.SetCookie, Authorization: v.c.policy.Storing.Authorized,
			AnyStatus: v.c.policy.Storing.AnyStatusCode, Targets: v.c.targets,
			Grace: max(v.c.policy.Stale.WhileRevalidate, v.c.policy.Stale.IfError),
		},
	})
	if verdict.Store && verdict.PolicyTTL && v.asked&cookies != 0 && v.c.readsCookies(v.header) {
		if names, _ := httprules.VaryNames(effective); !slices.Contains(names, "Cookie") {
			verdict.Store, verdict.Reason, verdict.OfRequest = false, detailCookie, true
			v.c.tellOfCookies()
		}
	}
	if left := verdict.Lifetime - verdict.InitialAge; v.c.policy.TTLJitter > 0 && left > 0 {
		verdict.Lifetime -= jitter(left, v.c.policy.TTLJitter, v.key.primary, now)
	}
	return verdict
}

// jitter is up to the fraction of lifetime, spread evenly over keys and moments.
func jitter(lifetime time.Duration, fraction float64, key string, now time.Time) time.Duration {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key)
	_ = binary.Write(h, binary.LittleEndian, now.UnixNano())
	return time.Duration(float64(lifetime) * fraction * (float64(h.Sum64()>>11) / (1 << 53)))
}

// withoutDirectives hides a request's directives.
type withoutDirectives struct{ adapter.Header }

func (h withoutDirectives) Values(name string) []string {
	if name == "Cache-Control" || name == "Pragma" {
		return nil
	}
	return h.Header.Values(name)
}

func (v *visit) meta(verdict httprules.Verdict, anyOrigin bool, status int, now time.Time) entry.Meta {
	m := entry.Meta{
		Kind: entry.KindResponse, Status: uint16(status), Flags: entry.Flags(0).WithDepth(v.depth),
		Born: now.UnixNano() - int64(verdict.InitialAge), Date: verdict.Date.UnixNano(),
		Lifetime: int64(verdict.Lifetime), SWR: int64(verdict.StaleWhileRevalidate.D), SIE: int64(verdict.StaleIfError.D),
		Took: uint32(min(max(now.Sub(v.began).Milliseconds(), 0), math.MaxUint32)),
	}
	if verdict.PolicyTTL {
		m.Flags |= entry.PolicyTTL
	}
	if anyOrigin {
		m.Flags |= entry.AnyOrigin
	}
	switch {
	case verdict.StatedStale && verdict.MustRevalidate: // no other window than what is stated
		m.Flags |= entry.StatedStale
	default:
		if !verdict.StaleIfError.OK {
			m.SIE = int64(v.c.policy.Stale.IfError)
		}
		if !verdict.StaleWhileRevalidate.OK {
			m.SWR = int64(v.c.policy.Stale.WhileRevalidate)
		}
	}
	if verdict.NoCache {
		m.Flags |= entry.NoCache
	}
	if verdict.MustRevalidate {
		m.Flags |= entry.MustRevalidate
	}
	return m
}

// storable gives the fields of resp that are kept, or says why they cannot be. They
// are good while visit is.
func (v *visit) storable(resp *adapter.Response, verdict httprules.Verdict) (fields []entry.Field, reason string) {
	out := v.stored[:0]
	hasDate := false
fields:
	for _, f := range resp.Header {
		switch f.Name {
		case "Age": // made anew for every reply
			continue
		case "Content-Length":
			// Only where the handler says so: others may have more to add, or the server
			// says it.
			if f.Op == adapter.OpDel || !adapter.BodyAllowed(resp.Status) {
				continue
			}
			f.Value = strconv.Itoa(len(resp.Body))
		case "Cache-Tag", "Surrogate-Key":
			if !v.c.policy.Storing.ForwardTags && f.Op != adapter.OpDel {
				continue
			}
		case "Date":
			hasDate = true
		case "Content-Type", "Content-Encoding", "Vary", "Cache-Control", "Expires", "Etag", "Last-Modified", "Location":
		default:
			if !v.c.policy.Storing.Headers.has(f.Name, true) && !v.c.targeted(f.Name) {
				continue
			}
		}
		for _, s := range verdict.Strip {
			if s == f.Name {
				continue fields
			}
		}
		out = append(out, entry.Field{Name: f.Name, Value: f.Value, Op: uint8(f.Op)})
	}
	if !v.c.policy.Storing.ForwardTags && resp.Effective != nil {
		for _, name := range httprules.TagFields { // those that somebody in front adds to hits as well
			if len(resp.Effective.Values(name)) > len(resp.Header.Values(name)) {
				out = append(out, entry.Field{Name: name, Op: uint8(adapter.OpDel)})
			}
		}
	}
	if !hasDate { // RFC 9110 section 6.6.1
		date := verdict.Date.UTC().AppendFormat(v.date[:0], http.TimeFormat)
		out = append(out, entry.Field{Name: "Date", Value: viewOf(date)})
	}
	v.stored = out
	size := 0
	for i := range out {
		size += len(out[i].Name) + len(out[i].Value)
		if !entry.ValidField(out[i].Name, out[i].Value) {
			return nil, detailHeader
		}
	}
	if size > v.c.policy.Storing.MaxHeaderBytes {
		return nil, detailHeaderTooLarge
	}
	return out, ""
}

// targeted reports whether a field, named in canonical form, speaks to this cache.
func (c *Cache) targeted(name string) bool {
	return slices.Contains(c.targets, name)
}

// maxGeneratedETag bounds the bodies that are hashed.
const maxGeneratedETag = 1 << 20

// generateETag gives a response without a validator one; it goes to the client
// of the miss as well.
func generateETag(resp *adapter.Response) {
	h := resp.Effective
	if resp.Status != http.StatusOK || len(resp.Body) > maxGeneratedETag ||
		len(h.Values("Etag")) > 0 || len(h.Values("Last-Modified")) > 0 {
		return
	}
	sum := sha256.Sum256(resp.Body)
	f := adapter.Field{Name: "Etag", Value: `"` + hex.EncodeToString(sum[:16]) + `"`}
	resp.Header = append(resp.Header, f)
	resp.Extra = append(resp.Extra, f)
}

// serverError are the codes that RFC 5861 section 4 calls an error.
func serverError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
