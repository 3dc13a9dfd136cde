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
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// miss answers with what the handler gives.
func (c *Cache) miss(x adapter.Exchange, v *visit) error {
	v.counter = &c.stats.misses
	defer v.count()
	if v.control.OnlyIfCached {
		return c.gatewayTimeout(x)
	}
	return c.ask(x, v)
}

// fetch runs the handler, stores its response where the rules allow it and
// sends it. A 304 freshens the stored entry, a failure may bring it back.
func (c *Cache) fetch(x adapter.Exchange, v *visit) error {
	set, validate := c.conditions(x, v)
	c.prepare(x.Context(), v)
	defer v.unclaim(c)
	status := httprules.CacheStatus{Fwd: v.fwd, Key: c.shownKey(v)}
	run := v.run
	run.begin(c, v.depth, v.lead, &v.req)
	v.began = c.cfg.Now()
	if v.lead != nil { // what the handler gives is new to who has joined by now
		v.lead.Vouch(v.lead.Advance())
	}
	resp, panicked, at, err := c.next(x, v, adapter.Forward{
		Capture:  true,
		Run:      &run.Run,
		MaxBody:  c.policy.Storing.MaxBytes,
		Set:      v.looped(set),
		Linger:   c.linger(v),
		Annotate: c.lettingGo(v.lead, run, status),
		Settle:   v.settling(c),
	})
	c.noteInner(v, run)
	v.count()
	if err != nil { // the response is somebody else's to make, for this request alone
		c.unshared(v)
		return err
	}
	if !panicked && (resp == nil || resp.Sent) {
		return nil
	}
	if panicked || serverError(resp.Status) || resp.Reason == adapter.ReasonIncomplete {
		if !panicked {
			v.failure, status.FwdStatus = resp.Status, resp.Status
		}
		if ok, err := c.failed(x, v, at); ok {
			return err
		}
	}
	if validate && resp.Status == http.StatusNotModified && resp.Reason == "" {
		if len(v.candidates) > 0 && !v.selected(resp.Effective) {
			c.conclude(v.lead, flight.Retry, nil)
			status.FwdStatus, status.Detail = resp.Status, "other-validator"
			return c.noAnswer(x, http.StatusBadGateway, status)
		}
		return c.freshened(x, v, resp)
	}
	if v.fwd == "stale" {
		status.FwdStatus = resp.Status
	}
	if (v.inner || v.leaves) && resp.Reason == "" {
		resp.Reason = adapter.ReasonInner
	}
	if v.req.Method == http.MethodHead {
		if v.stale {
			c.headAnswered(x, v, resp)
		}
	} else if reason := c.storeResponse(x, v, resp, &status); reason != "" {
		status.Detail = reason
	}
	if !v.inner {
		if resp.Extra == nil {
			resp.Extra = v.extra[:0]
		}
		resp.Extra = append(resp.Extra, adapter.Field{Name: "Cache-Status", Value: viewOf(appendStatus(v.fill.text[:0], status)), Op: adapter.OpAdd})
	}
	resp.Extra = c.untagged(resp.Extra, resp.Effective)
	if set != nil && resp.Status == http.StatusOK && c.notModified(v, resp) {
		return c.reply(x, v, &adapter.Response{
			Status: http.StatusNotModified, Extra: resp.Extra,
			Header: undescribed(resp.Header),
		})
	}
	return c.reply(x, v, resp)
}

// settles reports whether an error of the handler is to become a response at once:
// one that may be stored, or in whose place a stale one may be sent. Any other error
// is for middleware in front to see, as without a cache.
func (c *Cache) settles(v *visit, status int, h adapter.Header) bool {
	if serverError(status) && v.stale && v.decide(c.cfg.Now()).MaySIE {
		return true
	}
	return v.req.Method == http.MethodGet && c.judge(v, status, h, c.cfg.Now()).Store
}

// settling is settles for Forward, which does not keep it: so the visit does.
func (v *visit) settling(c *Cache) func(status int, h adapter.Header) bool {
	if v.handle = c; v.settle == nil {
		v.settle = func(status int, h adapter.Header) bool { return v.handle.settles(v, status, h) }
	}
	return v.settle
}

// prepare sees to it that the handler's response can be stored: with what is under the
// lock, where others are not waited for.
func (c *Cache) prepare(ctx context.Context, v *visit) {
	f := new(fill)
	v.run, v.fill = &f.run, f
	if c.coordinator == nil || v.begun || v.claim != nil || v.req.Method != http.MethodGet && !v.stale {
		return
	}
	if v.leaves = c.leavesToInner(v); v.leaves {
		return // others may wait for the lock of the handle further in
	}
	key, start := c.flightKey(v), freeStart
	lock := v.key.LockOf(key)
	if c.inProcess { // which has no tokens
		if since, err := c.moment(lock); err == nil {
			f.claim.lock, f.claim.since = lock, since
			v.claim = &f.claim
		}
		return
	}
	if _, pass := c.passes.get(key, c.cfg.Now().UnixNano(), passAge); pass { // perhaps since a moment
		start = passStart // nothing has to be removed afterwards
	}
	v.claim, _, _ = c.begin(ctx, lock, start, true, nil) // nil: nothing will be stored
}

// fill is what a run of the handler needs that outlives the visit, in one allocation.
type fill struct {
	run   run
	claim claim // where the store has no tokens
	write write
	text  [64]byte // of a field, which is a view of it
}

// untagged takes the fields with tags out of what the client sees.
func (c *Cache) untagged(extra adapter.Fields, h adapter.Header) adapter.Fields {
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
func (c *Cache) lettingGo(l *lead, run *run, s httprules.CacheStatus) func(int, adapter.Header, string) adapter.Fields {
	return func(_ int, h adapter.Header, reason string) adapter.Fields {
		c.conclude(l, ending(reason), nil)
		return c.untagged(noted(run, s, reason), h)
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
func (c *Cache) next(x adapter.Exchange, v *visit, f adapter.Forward) (resp *adapter.Response, panicked bool, at time.Time, err error) {
	defer v.run.end()
	if v.stale && v.decide(v.began).MaySIE {
		note, sent := f.Annotate, false
		f.Annotate = func(status int, h adapter.Header, reason string) adapter.Fields {
			sent = true
			return note(status, h, reason)
		}
		defer func() {
			if at = c.cfg.Now(); sent || !v.decide(at).MaySIE {
				return
			}
			if p := recover(); p != nil {
				c.panicked(p)
				panicked = true
			}
		}()
	}
	resp, err = x.Next(f)
	return resp, false, c.cfg.Now(), err
}

// failed puts the stale entry in the place of an error, where that was allowed
// when it came. Otherwise the error is a response like others.
func (c *Cache) failed(x adapter.Exchange, v *visit, at time.Time) (ok bool, err error) {
	if !v.stale || !v.decide(at).MaySIE {
		return false, nil
	}
	c.conclude(v.lead, flight.Failed, nil)
	return c.replyStale(x, v, at, "stale-if-error", false)
}

// notModified reports whether the client, whose own conditions the handler has
// not seen, has resp already.
func (c *Cache) notModified(v *visit, resp *adapter.Response) bool {
	first := func(name string) string {
		if s := resp.Effective.Values(name); len(s) > 0 {
			return s[0]
		}
		return ""
	}
	return httprules.NotModified(v.header, first("Etag"), first("Last-Modified"), c.cfg.Now())
}

// storeResponse stores resp and says in status what became of it; the result
// is why it was not stored.
func (c *Cache) storeResponse(x adapter.Exchange, v *visit, resp *adapter.Response, status *httprules.CacheStatus) (reason string) {
	now := c.cfg.Now()
	if reason = resp.Reason; reason != "" {
		outcome := ending(reason)
		v.passes = outcome == flight.Pass
		c.conclude(v.lead, outcome, nil)
		if reason == adapter.ReasonUnwritten { // which matters only to what would be stored
			if verdict := c.judge(v, resp.Status, resp.Effective, now); !verdict.Store {
				return verdict.Reason
			}
		}
		return reason
	}
	verdict := c.judge(v, resp.Status, resp.Effective, now)
	if !verdict.Store {
		if v.req.Rerun != nil && temporary(resp.Status) { // what is stored stays, and so does its window
			c.conclude(v.lead, flight.Failed, nil)
		}
		c.unshared(v)
		c.superseded(x, v, resp.Status, verdict)
		return verdict.Reason
	}
	names, anyOrigin := c.selectingNames(v, resp.Header, resp.Effective)
	if len(mergeNames(names, v.by.Names)) > maxVaryNames {
		c.unshared(v)
		return "vary"
	}
	if c.policy.Storing.GenerateETag {
		generateETag(resp)
	}
	tags, ok := c.tagsOf(v, resp.Effective, len(names) > 0)
	if !ok {
		c.stats.tagsRefused.Add(1)
		c.unshared(v)
		return "tags"
	}
	header, reason := c.storable(v, resp, verdict)
	if reason != "" {
		c.unshared(v)
		return reason
	}
	content := entry.Content{
		Meta:   c.meta(v, verdict, anyOrigin, resp.Status, now),
		Key:    v.key.Primary,
		Tags:   tags,
		Header: header,
		Body:   resp.Body,
	}
	if resp.Implicit {
		content.Flags |= entry.Implicit
	}
	reason = c.send(x, v, content, names, verdict, now)
	if reason != "" {
		return reason
	}
	status.Stored = true
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		status.TTL, status.HasTTL = seconds(ttl), true
	}
	return ""
}

// unshared tells others that what the handler gives is not for them.
func (c *Cache) unshared(v *visit) {
	v.passes = true
	c.conclude(v.lead, flight.Pass, nil)
}

// superseded removes the stale entry when the handler has answered with
// something newer that is not stored: nobody is to be given the old one any more
// (RFC 9111 section 4.3.3).
func (c *Cache) superseded(x adapter.Exchange, v *visit, status int, verdict httprules.Verdict) {
	if !v.stale || verdict.OfRequest || temporary(status) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.Context()), c.cfg.Timeouts.Write)
	defer cancel()
	if err := c.store.Delete(ctx, v.at); err != nil {
		c.trouble("deleting", err)
	}
}

// temporary reports whether a status says nothing of the resource itself.
func temporary(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

func (c *Cache) judge(v *visit, status int, effective adapter.Header, now time.Time) httprules.Verdict {
	ttl, special := c.policy.StatusTTL[status]
	if !special && c.listed[status] {
		ttl = c.policy.TTL
	}
	reqHeader := v.req.Header
	if c.policy.Requests.IgnoreDirectives {
		reqHeader = withoutDirectives{reqHeader}
	}
	verdict := httprules.Judge(httprules.Fill{
		Method: http.MethodGet, RequestHeader: reqHeader,
		Status: status, ResponseHeader: effective,
		RequestTime: v.began, ResponseTime: now,
		Rules: httprules.Rules{
			TTL: ttl, Listed: c.listed[status], Heuristic: c.policy.Storing.Heuristic,
			SetCookie: c.policy.Storing.SetCookie, Authorization: c.policy.Storing.Authorized,
			AnyStatus: c.policy.Storing.AnyStatusCode, Targets: c.targets,
			Grace: max(c.policy.Stale.WhileRevalidate, c.policy.Stale.IfError),
		},
	})
	if verdict.Store && verdict.PolicyTTL && v.asked&keys.AskedCookies != 0 && c.readsCookies(v.header) {
		if names, _ := httprules.VaryNames(effective); !slices.Contains(names, "Cookie") {
			verdict.Store, verdict.Reason, verdict.OfRequest = false, detailCookie, true
			c.tellOfCookies()
		}
	}
	if left := verdict.Lifetime - verdict.InitialAge; c.policy.TTLJitter > 0 && left > 0 {
		verdict.Lifetime -= jitter(left, c.policy.TTLJitter, v.key.Primary, now)
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

func (c *Cache) meta(visit *visit, v httprules.Verdict, anyOrigin bool, status int, now time.Time) entry.Meta {
	m := entry.Meta{
		Kind: entry.KindResponse, Status: uint16(status), Flags: entry.Flags(0).WithDepth(visit.depth),
		Born: now.UnixNano() - int64(v.InitialAge), Date: v.Date.UnixNano(),
		Lifetime: int64(v.Lifetime), SWR: int64(v.StaleWhileRevalidate.D), SIE: int64(v.StaleIfError.D),
		Took: uint32(min(max(now.Sub(visit.began).Milliseconds(), 0), math.MaxUint32)),
	}
	if v.PolicyTTL {
		m.Flags |= entry.PolicyTTL
	}
	if anyOrigin {
		m.Flags |= entry.AnyOrigin
	}
	switch {
	case v.StatedStale && v.MustRevalidate: // no other window than what is stated
		m.Flags |= entry.StatedStale
	default:
		if !v.StaleIfError.OK {
			m.SIE = int64(c.policy.Stale.IfError)
		}
		if !v.StaleWhileRevalidate.OK {
			m.SWR = int64(c.policy.Stale.WhileRevalidate)
		}
	}
	if v.NoCache {
		m.Flags |= entry.NoCache
	}
	if v.MustRevalidate {
		m.Flags |= entry.MustRevalidate
	}
	return m
}

// storable gives the fields of resp that are kept, or says why they cannot be. They
// are good while visit is.
func (c *Cache) storable(visit *visit, resp *adapter.Response, v httprules.Verdict) (fields []entry.Field, reason string) {
	out := visit.stored[:0]
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
			if !c.policy.Storing.ForwardTags && f.Op != adapter.OpDel {
				continue
			}
		case "Date":
			hasDate = true
		case "Content-Type", "Content-Encoding", "Vary", "Cache-Control", "Expires", "Etag", "Last-Modified", "Location":
		default:
			if !c.policy.Storing.Headers.hasField(f.Name) && !c.targeted(f.Name) {
				continue
			}
		}
		for _, s := range v.Strip {
			if s == f.Name {
				continue fields
			}
		}
		out = append(out, entry.Field{Name: f.Name, Value: f.Value, Op: uint8(f.Op)})
	}
	if !c.policy.Storing.ForwardTags && resp.Effective != nil {
		for _, name := range httprules.TagFields { // those that somebody in front adds to hits as well
			if len(resp.Effective.Values(name)) > len(resp.Header.Values(name)) {
				out = append(out, entry.Field{Name: name, Op: uint8(adapter.OpDel)})
			}
		}
	}
	if !hasDate { // RFC 9110 section 6.6.1
		date := v.Date.UTC().AppendFormat(visit.date[:0], http.TimeFormat)
		out = append(out, entry.Field{Name: "Date", Value: viewOf(date)})
	}
	visit.stored = out
	size := 0
	for i := range out {
		size += len(out[i].Name) + len(out[i].Value)
		if !entry.ValidField(out[i].Name, out[i].Value) {
			return nil, "header"
		}
	}
	if size > c.policy.Storing.MaxHeaderBytes {
		return nil, "header-too-large"
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
