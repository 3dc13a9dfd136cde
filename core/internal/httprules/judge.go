package httprules

import (
	"net/http"
	"slices"
	"time"
)

// Rules are what a policy adds to RFC 9111.
type Rules struct {
	TTL       time.Duration // lifetime where the response says nothing; 0: none
	Listed    bool          // the policy lists this status code
	AnyStatus bool          // any final status with explicit freshness may be stored
	// Heuristic allows a lifetime made from Last-Modified (RFC 9111 section
	// 4.2.2), SetCookie to store responses that set cookies, and Authorization
	// to store what RFC 9111 section 3.5 does not allow.
	Heuristic, SetCookie, Authorization bool
	Targets                             []string // targeted fields, most specific first (RFC 9213)
	// Grace is how long a response that forbids nothing may be served stale.
	Grace time.Duration
}

// Fill is a response that might be stored, and the request it answers.
type Fill struct {
	Method         string
	RequestHeader  Header
	Status         int
	ResponseHeader Header // all fields that the client would see
	// Part says that the response is a 206 with one part of known place, which can be
	// kept as an incomplete response (RFC 9111 section 3.3).
	Part bool
	// Lifetime is what the handler itself has said beside the response, in code: it takes
	// the place of all freshness that the response states, and counts from ResponseTime.
	// 0: it has said nothing.
	Lifetime time.Duration
	// NoStore says that the handler has forbidden storing, in the same way.
	NoStore bool
	// RequestTime is when the handler was called, ResponseTime when it had
	// answered.
	RequestTime, ResponseTime time.Time
	Rules                     Rules
}

// Verdict says whether a response is stored, and how it may be used then.
type Verdict struct {
	Store  bool
	Reason string // why not, as a token
	// OfRequest says that the reason lies in the request, so that the response
	// to another one might be stored.
	OfRequest bool
	// LacksLifetime says that nothing speaks against storing but that there is no lifetime,
	// or none that is left: [Verdict.For] gives it one.
	LacksLifetime bool

	Lifetime   time.Duration // freshness_lifetime (RFC 9111 section 4.2.1)
	InitialAge time.Duration // corrected_initial_age (RFC 9111 section 4.2.3)
	Date       time.Time     // Date of the response, otherwise its time of arrival

	NoCache        bool // validate before every use
	MustRevalidate bool // never serve stale
	// StatedStale says that the response grants stale-while-revalidate or
	// stale-if-error with nothing against it but s-maxage. RFC 9111 section
	// 5.2.2.10 has s-maxage imply proxy-revalidate, but an origin that writes
	// both in one field means both, and so do all who document it.
	StatedStale bool

	// Explicit and Heuristic say where Lifetime comes from; neither: from
	// Rules.TTL, or from nowhere.
	Explicit, Heuristic bool
	// PolicyTTL says that Lifetime comes from Rules.TTL, or is lacking and could only
	// come from the policy, and that the response does not say public either: nothing of
	// its own lets it be shared.
	PolicyTTL bool

	StaleWhileRevalidate, StaleIfError Delta

	// Strip holds the fields that are not stored, in canonical form. The slice
	// is not to be written to.
	Strip []string
}

// Why a response is not stored.
const (
	reasonMethod         = "method"
	reasonStatus         = "status"
	reasonPartial        = "partial"
	reasonRequestNoStore = "request-no-store"
	reasonNoStore        = "no-store"
	reasonPrivate        = "private"
	reasonAuthorization  = "authorization"
	reasonSetCookie      = "set-cookie"
	reasonVaryAny        = "vary-any"
	reasonNoFreshness    = "no-freshness"
	reasonNoCache        = "no-cache" // and without a validator
	reasonExpired        = "expired"  // stale on arrival, of no use without a validator
)

// maxHeuristic bounds a lifetime that the origin has not stated.
const maxHeuristic = 24 * time.Hour

// Judge applies RFC 9111 section 3, with the policy on top.
func Judge(f Fill) Verdict {
	if f.RequestHeader == nil {
		f.RequestHeader = noHeader{}
	}
	if f.ResponseHeader == nil {
		f.ResponseHeader = noHeader{}
	}
	c := ParseResponseControl(f.ResponseHeader, f.Rules.Targets)
	if f.Lifetime > 0 {
		c.overrule(len(f.RequestHeader.Values("Authorization")) > 0)
	}
	// A response without its type, coding or Vary is another one, so it cannot
	// be kept without these.
	c.Private = c.Private || slices.ContainsFunc(c.PrivateFields, essential)
	c.NoCache = c.NoCache || slices.ContainsFunc(c.NoCacheFields, essential)

	v := Verdict{
		NoCache:        c.NoCache,
		MustRevalidate: c.MustRevalidate || c.ProxyRevalidate || c.SMaxAge.OK || c.NoCache,
		StatedStale: (c.StaleWhileRevalidate.OK || c.StaleIfError.OK) &&
			!c.MustRevalidate && !c.ProxyRevalidate && !c.NoCache,
		StaleWhileRevalidate: c.StaleWhileRevalidate,
		StaleIfError:         c.StaleIfError,
		Strip:                slices.Clip(hopByHop),
	}
	v.Strip = append(v.Strip, c.PrivateFields...)
	v.Strip = append(v.Strip, c.NoCacheFields...)
	v.Strip = append(v.Strip, ConnectionFields(f.ResponseHeader)...)
	v.age(&f)
	v.freshness(&f, &c)
	v.Reason = v.refuse(&f, &c)
	v.Store = v.Reason == ""
	switch v.Reason {
	case reasonNoFreshness:
		v.LacksLifetime, v.PolicyTTL = !f.Part, !c.Public // parts are stored by their own freshness
	case reasonExpired:
		v.LacksLifetime = true
	case reasonMethod, reasonRequestNoStore, reasonAuthorization, reasonPartial:
		v.OfRequest = true
	}
	return v
}

// overrule takes back what the response says of its freshness, most of which is for
// browsers, where the handler has given a lifetime itself. What forbids storing stays, and
// so does what says how it is used once it is stale if that is for shared caches, or what
// allows a response to a request with credentials to be stored at all (RFC 9111 section
// 3.5).
func (c *ResponseControl) overrule(credentials bool) {
	c.NoCache = false
	c.MustRevalidate = c.MustRevalidate && (c.Targeted || credentials)
	c.SMaxAge.OK = c.SMaxAge.OK && credentials
}

// For is the verdict with a lifetime of d, counted from the arrival of the response, that
// the policy gives in place of any other. It is for a response that is stored by the rules,
// or [Verdict.LacksLifetime].
func (v Verdict) For(d time.Duration) Verdict {
	v.Store, v.Reason, v.LacksLifetime = true, "", false
	v.Lifetime = min(d, maxDelta) + v.InitialAge
	return v
}

// age sets Date and InitialAge (RFC 9111 section 4.2.3). Clocks that differ
// make nothing younger than it is.
func (v *Verdict) age(f *Fill) {
	v.Date = f.ResponseTime
	apparent := time.Duration(0)
	if date, ok := firstDate(f.ResponseHeader, "Date", f.ResponseTime); ok {
		v.Date = date
		// Date has no finer resolution than a second.
		apparent = f.ResponseTime.Truncate(time.Second).Sub(date)
	}
	delay := time.Duration(0)
	if !f.RequestTime.IsZero() {
		delay = f.ResponseTime.Sub(f.RequestTime)
	}
	age, _ := ageValue(f.ResponseHeader)
	v.InitialAge = min(max(apparent, age+clampDelta(delay), 0), maxDelta)
}

// ageValue reads Age (RFC 9111 section 5.1): of a list the first member; what
// is no number of seconds is ignored.
func ageValue(h Header) (time.Duration, bool) {
	lines := h.Values("Age")
	if len(lines) == 0 {
		return 0, false
	}
	first := lines[0]
	return ParseDelta(trimOWS(first[:commaOrLen(first)]))
}

// freshness sets Lifetime and where it comes from (RFC 9111 section 4.2.1).
func (v *Verdict) freshness(f *Fill, c *ResponseControl) {
	expires := []string(nil)
	if !c.Targeted {
		expires = f.ResponseHeader.Values("Expires")
	}
	switch {
	case f.Lifetime > 0:
		v.Lifetime, v.Explicit = min(f.Lifetime, maxDelta)+v.InitialAge, true
	case c.SMaxAge.OK:
		v.Lifetime, v.Explicit = c.SMaxAge.D, true
	case c.MaxAge.OK:
		v.Lifetime, v.Explicit = c.MaxAge.D, true
	case len(expires) > 0:
		v.Lifetime, v.Explicit = maxDelta, true
		for _, line := range expires { // of several the earliest
			at, ok := ParseDateAt(line, f.ResponseTime)
			if !ok { // RFC 9111 section 5.3: in the past, "0" above all
				at = v.Date
			}
			v.Lifetime = min(v.Lifetime, clampDelta(at.Sub(v.Date)))
		}
	case c.NoCache:
		v.Explicit = true // an answer to how long as well: not at all
	case f.Part: // only what the response states
	case f.Rules.Listed && f.Rules.TTL > 0:
		// The policy's own lifetime begins with the response, whatever its Date and
		// Age say, or a handler that takes as long would never be cached. The sum
		// may be longer than delta-seconds can say: no field states it.
		v.Lifetime = min(f.Rules.TTL, maxDelta) + v.InitialAge
		v.PolicyTTL = !c.Public
	case f.Rules.Heuristic && (c.Public || heuristicStatus(f.Status)):
		v.Lifetime = heuristicLifetime(f.ResponseHeader, v.Date)
		v.Heuristic = v.Lifetime > 0
	}
}

// heuristicLifetime is a tenth of the time since Last-Modified (RFC 9111
// section 4.2.2). The epoch stands for a time that is not known.
func heuristicLifetime(h Header, date time.Time) time.Duration {
	modified, ok := firstDate(h, "Last-Modified", date)
	if !ok || modified.Unix() <= 0 {
		return 0
	}
	return min(max(date.Sub(modified)/10, 0), maxHeuristic)
}

// refuse says why the response must not be stored, or "".
func (v *Verdict) refuse(f *Fill, c *ResponseControl) string {
	switch {
	case f.Method != http.MethodGet:
		return reasonMethod
	case f.Status < 200 || f.Status > 599 || f.Status == http.StatusNotModified || f.Status == http.StatusPreconditionFailed:
		return reasonStatus // not final, or the answer to one client's condition
	case !f.Part && (IsPart(f.Status) || len(f.ResponseHeader.Values("Content-Range")) > 0):
		return reasonPartial
	case c.MustUnderstand && !understood(f.Status):
		return reasonStatus
	case ParseRequestControl(f.RequestHeader).NoStore:
		return reasonRequestNoStore
	case f.NoStore, c.NoStore && !c.MustUnderstand: // RFC 9111 section 5.2.2.3
		return reasonNoStore
	case c.Private:
		return reasonPrivate
	case !f.Rules.Authorization && len(f.RequestHeader.Values("Authorization")) > 0 &&
		!c.Public && !c.MustRevalidate && !c.SMaxAge.OK: // RFC 9111 section 3.5
		return reasonAuthorization
	case !f.Rules.SetCookie && len(f.ResponseHeader.Values("Set-Cookie")) > 0:
		// Also where it is named by no-cache or private, so that it could be left out:
		// the body may have a form of the same session.
		return reasonSetCookie
	}
	if _, unmatchable := VaryNames(f.ResponseHeader); unmatchable {
		return reasonVaryAny
	}
	if !v.Explicit && v.Lifetime == 0 {
		if f.Rules.Listed || explicitStatus(f.Status) {
			return reasonNoFreshness
		}
		return reasonStatus
	}
	if v.Explicit && !f.Rules.Listed && !f.Rules.AnyStatus && !explicitStatus(f.Status) {
		return reasonStatus
	}
	if hasValidator(f.ResponseHeader, v.Date) {
		return ""
	}
	if v.NoCache {
		return reasonNoCache
	}
	// Stale on arrival it can only be of use where it may be served stale.
	grace := time.Duration(0)
	if !v.MustRevalidate || v.StatedStale {
		grace = max(v.StaleWhileRevalidate.D, v.StaleIfError.D)
	}
	if !v.MustRevalidate {
		grace = max(grace, f.Rules.Grace)
	}
	if v.Lifetime+grace <= v.InitialAge {
		return reasonExpired
	}
	return ""
}

// understood are the status codes whose caching requirements are known (RFC
// 9111 section 5.2.2.3): those of RFC 9110 and the registered ones that have no
// requirements of their own.
func understood(status int) bool {
	switch {
	case status >= 200 && status <= 206, status >= 300 && status <= 303, status == 307, status == 308,
		status >= 400 && status <= 417, status >= 421 && status <= 426, status == 428, status == 429, status == 431,
		status == 451, status >= 500 && status <= 505, status == 511:
		return true
	}
	return false
}

// explicitStatus are the codes that are stored when the response states its
// lifetime and the policy says nothing of them.
func explicitStatus(status int) bool {
	switch status {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPartialContent:
		return true
	}
	return heuristicStatus(status)
}

// heuristicStatus are the heuristically cacheable codes of RFC 9110 section
// 15.1, without 206.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

func essential(name string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Vary", "Location":
		return true
	}
	return false
}

// hasValidator reports whether the response can be validated later (RFC 9111
// section 4.3.1).
func hasValidator(h Header, now time.Time) bool {
	if tags := h.Values("Etag"); len(tags) > 0 && trimOWS(tags[0]) != "" {
		return true
	}
	_, ok := firstDate(h, "Last-Modified", now)
	return ok
}

// firstDate reads a field that is one date. A date that does not fit into Unix
// nanoseconds is none: no clock was ever that wrong.
func firstDate(h Header, name string, now time.Time) (time.Time, bool) {
	lines := h.Values(name)
	if len(lines) == 0 {
		return time.Time{}, false
	}
	t, ok := ParseDateAt(lines[0], now)
	return t, ok && t.Year() >= 1678 && t.Year() <= 2261
}

func clampDelta(d time.Duration) time.Duration { return min(max(d, 0), maxDelta) }

type noHeader struct{}

func (noHeader) Values(string) []string { return nil }
