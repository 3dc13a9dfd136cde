package cacheaside

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

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
	if resp.Status == http.StatusPartialContent {
		if reason = v.takePart(resp); reason != "" {
			return private, reason
		}
	}
	verdict := v.judge(resp.Status, resp.Effective, now)
	if !v.admissible(&verdict) {
		v.superseded(resp.Status, verdict)
		if v.rerun != nil && temporary(resp.Status) { // what is stored stays, and so does its window
			private.outcome = flight.Failed
		}
		return private, verdict.Reason
	}
	names, anyOrigin := v.selectingNames(resp.Header, resp.Effective)
	if len(mergeNames(names, v.selecting.Names)) > maxVaryNames {
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
	v.recoding = v.c.compression.recodes(resp, int64(len(resp.Body)), v.c.targets)
	header, reason := v.storable(resp, verdict, len(resp.Body))
	if reason != "" {
		return private, reason
	}
	content := entry.Content{
		Meta:   v.meta(verdict, anyOrigin, resp.Status, now),
		Key:    v.key.Primary,
		Tags:   tags,
		Header: header,
		Body:   resp.Body,
	}
	if resp.Implicit {
		content.Flags |= entry.Implicit
	}
	if v.part.Length > 0 {
		if names, reason = v.combine(&content, names, now); reason != "" {
			return private, reason
		}
	}
	if reason, private.outcome = v.rejected(resp, &content, &verdict, now); reason != "" {
		return private, reason
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

func (v *visit) judge(status int, effective adapter.Header, now time.Time) httprules.Verdict {
	ttl, special := v.c.policy.StatusTTL[status]
	if !special && v.c.listed[status] {
		ttl = v.c.policy.TTL
	}
	reqHeader := v.req.Header
	if v.c.policy.Requests.IgnoreDirectives {
		reqHeader = withoutDirectives{reqHeader}
	}
	said := v.run.instructions()
	verdict := httprules.Judge(httprules.Fill{
		Method: http.MethodGet, RequestHeader: reqHeader, Lifetime: said.ttl, NoStore: said.noStore,
		Status: status, ResponseHeader: effective, Part: v.part.Length > 0 || v.updating,
		RequestTime: v.began, ResponseTime: now,
		Rules: httprules.Rules{
			TTL: ttl, Listed: v.c.listed[status], Heuristic: v.c.policy.Storing.Heuristic,
			SetCookie: v.c.policy.Storing.SetCookie, Authorization: v.c.policy.Storing.Authorized,
			AnyStatus: v.c.policy.Storing.AnyStatusCode, Targets: v.c.targets,
			Grace: max(v.c.policy.Stale.WhileRevalidate, v.c.policy.Stale.IfError),
		},
	})
	if v.admissible(&verdict) && verdict.PolicyTTL && v.asked&keys.AskedCookies != 0 && v.readsCookies() {
		if names, _ := httprules.VaryNames(effective); !slices.Contains(names, "Cookie") {
			verdict.Store, verdict.LacksLifetime, verdict.Reason, verdict.OfRequest = false, false, detailCookie, true
			v.c.tellOfCookies()
		}
	}
	v.jittered(&verdict, now)
	return verdict
}

// jittered shortens the lifetime as the policy wants it.
func (v *visit) jittered(verdict *httprules.Verdict, now time.Time) {
	if left := verdict.Lifetime - verdict.InitialAge; v.c.policy.TTLJitter > 0 && left > 0 {
		verdict.Lifetime -= jitter(left, v.c.policy.TTLJitter, v.key.Primary, now)
	}
}

// withoutDirectives hides a request's directives.
type withoutDirectives struct{ adapter.Header }

func (h withoutDirectives) Values(name string) []string {
	if name == "Cache-Control" || name == "Pragma" {
		return nil
	}
	return h.Header.Values(name)
}

// jitter is up to the fraction of lifetime, spread evenly over keys and moments.
func jitter(lifetime time.Duration, fraction float64, key string, now time.Time) time.Duration {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key)
	_ = binary.Write(h, binary.LittleEndian, now.UnixNano())
	return time.Duration(float64(lifetime) * fraction * (float64(h.Sum64()>>11) / (1 << 53)))
}

// selectingNames gives, sorted, the request fields that select the response: those in
// its own Vary, and those that middleware in front has added, but for the fields by
// which that middleware answers anew for each request. AnyOrigin says that the response
// is good for every Origin.
func (v *visit) selectingNames(own adapter.Fields, effective adapter.Header) (names []string, anyOrigin bool) {
	if own.Has("Vary") {
		names, _ = httprules.VaryNames(own)
	}
	all, _ := httprules.VaryNames(effective)
	originInFront := false
	for _, name := range all {
		switch {
		case slices.Contains(names, name):
		case name == "Origin":
			originInFront = true
		case !answeredInFront(name):
			names = mergeNames(names, []string{name})
		}
	}
	if len(own.Values("Content-Encoding")) > 0 {
		// A coding that not every client asked for, even if the handler forgot
		// to say so.
		names = mergeNames(names, []string{"Accept-Encoding"})
	}
	allowed := own.Values("Access-Control-Allow-Origin")
	if len(allowed) == 0 && len(effective.Values("Access-Control-Allow-Origin")) > 0 {
		originInFront = true
	}
	switch {
	case originInFront, len(allowed) > 0 && allowed[0] == "*":
		anyOrigin = true
	case len(allowed) > 0, v.asked&keys.AskedOrigin != 0:
		// What was said to one origin, or not said to it, and the handler forgot to
		// say so.
		names = mergeNames(names, []string{"Origin"})
	}
	if slices.Contains(v.selecting.Names, "Origin") {
		names = mergeNames(names, []string{"Origin"})
	}
	return v.c.withoutOwn(names), anyOrigin
}

// withoutOwn takes out of what selects a response what the cache says to handlers
// itself: CDN-Loop, the locks of caches, which are other ones for each request; and
// Accept-Encoding, where all of them are asked for the same.
func (c *Cache) withoutOwn(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		return name == loopField || name == "Accept-Encoding" && c.compression.on()
	})
}

// answeredInFront names the request fields that middleware in front answers by
// without the handler: CORS and compression. What it has said in Vary of others
// (a language, a session) may have reached the handler by way of a context.
func answeredInFront(name string) bool {
	switch name {
	case "Accept-Encoding", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Access-Control-Request-Private-Network":
		return true
	}
	return false
}

// superseded removes the stale entry when the handler has answered with
// something newer that is not stored: nobody is to be given the old one any more
// (RFC 9111 section 4.3.3).
func (v *visit) superseded(status int, verdict httprules.Verdict) {
	if !v.stale && (v.gap.Length == 0 || httprules.IsPart(status)) || verdict.OfRequest || temporary(status) {
		return
	}
	v.remove()
}

// remove removes the entry found.
func (v *visit) remove() {
	v.c.fates.forget(v.entryKey)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.x.Context()), v.c.cfg.Timeouts.Write)
	defer cancel()
	if err := v.c.store.Delete(ctx, v.entryKey); err != nil {
		v.c.reportError("deleting", err)
	}
}

// temporary reports whether a status says nothing of the resource itself.
func temporary(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

// serverError are the codes that RFC 5861 section 4 calls an error.
func serverError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// ending says what those who wait shall do where a response is not stored for a reason
// other than the rules.
func ending(reason string) flight.Outcome {
	switch reason {
	case adapter.ReasonIncomplete, adapter.ReasonStatusTwice, adapter.ReasonHandler, adapter.ReasonClientGone:
		return flight.Retry // the next run may go better
	case adapter.ReasonInner:
		return flight.Retry // the handle further in has it, or knows better
	}
	return flight.Pass
}
