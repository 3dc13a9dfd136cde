package cacheaside

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// Policy says what is answered from the cache, under which key, for how long, and what
// is stored. It may differ per route or group: see [Cache.With]. The zero value stores
// what the responses themselves allow, and nothing else.
type Policy struct {
	// Name is what the policy is called in events, metrics and traces: at most 64
	// letters, digits, spaces and any of ._-/: in it. It is the route as well of
	// requests whose route the framework does not know. [Cache.With] makes a policy of
	// another name, or of the same. Empty: it has none.
	Name string
	// TTL is the freshness lifetime of a response that says nothing of its
	// own. Explicit freshness in the response (s-maxage, max-age, Expires)
	// always wins. Zero: only what the response itself allows is stored.
	TTL time.Duration
	// StatusTTL replaces TTL for single status codes and makes them storable:
	// {404: 5 * time.Second} is negative caching. Zero: with explicit
	// freshness only.
	StatusTTL map[int]time.Duration
	// TTLJitter shortens each lifetime by up to this fraction, differently for
	// each key and fill, so that what was stored together does not expire
	// together. From 0 to 0.9; zero: not at all.
	TTLJitter float64
	// Skip says, before the handler runs, that a request is none of the
	// cache's business.
	Skip func(*Request) bool

	Key         KeyPolicy         // what of a request is part of its key
	Storing     StoringPolicy     // what is stored
	Compression CompressionPolicy // what of it is compressed
	Stale       StalePolicy       // what is renewed, and when a stale response is served
	Coalescing  CoalescingPolicy  // how far requests wait for one another
	Requests    RequestPolicy     // which requests are answered, and how
}

// Request is what a policy's functions are given of a request: see [adapter.Request].
type Request = adapter.Request

// KeyPolicy says what of a request is part of its key. It must differ wherever the
// response may differ.
type KeyPolicy struct {
	// Query selects the query parameters that are part of the key. Parameters
	// that are left out are still seen by the handler, so leave out only those
	// that do not change the response. A name may end in '*'.
	Query Selection
	// NoVarySearch heeds what the responses of a handler say in No-Vary-Search
	// (draft-ietf-httpbis-no-vary-search): which query parameters make no difference to
	// them, and whether their order does. Such a response answers for all URLs that differ
	// in nothing else, and a purge of any of these reaches it. It needs a store that is a
	// [store.Coordinator], and has no effect together with Generator. A cache heeds the
	// first 16 different fields. False: each URL has responses of its own.
	NoVarySearch bool
	// KeepQueryOrder makes the order of the parameters part of the key; otherwise
	// only the order of those of one name is.
	KeepQueryOrder bool
	// Headers names request fields that become part of the key, whatever Vary says.
	Headers []string
	// Cookies names cookies that become part of the key.
	Cookies []string
	// Generator gives, if set, the part of the key that stands for path and query.
	// It must differ wherever the response may differ.
	Generator func(*Request) string
	// Partition gives a part of the key that separates users or tenants. It is
	// added to what the adapter has put into [adapter.Request].Partition.
	Partition func(*Request) string
	// IgnoreHost and IgnoreScheme leave host or scheme out of the key, for a
	// service that answers alike under all its names.
	IgnoreHost, IgnoreScheme bool
	// IgnoreForwarded leaves X-Forwarded-Host, X-Forwarded-Proto and the like out of
	// the key. Only where a proxy in front replaces all of them, or nothing behind
	// the cache looks at them: otherwise anybody can have a response stored that
	// speaks of another host.
	IgnoreForwarded bool
	// MaxBytes is the longest key; a request with a longer one bypasses the
	// cache. Zero: 8 KiB.
	MaxBytes int
}

// StoringPolicy says what is stored.
type StoringPolicy struct {
	// StatusCodes are the codes that TTL applies to. Nil: 200, 203, 204, 300,
	// 301 and 308. With explicit freshness 302, 303, 307, 404, 405, 410, 414 and
	// 501 are stored as well, and any other code only if it is listed here.
	StatusCodes []int
	// AnyStatusCode stores responses of any final status code that state their
	// own freshness, as RFC 9111 section 3 allows.
	AnyStatusCode bool
	// MaxBytes is the largest body that is captured and stored, in bytes; a longer one
	// passes through. Zero: it has no limit but its share of
	// [Config].MaxCaptureBytes, a quarter: 16 MiB, where that says nothing else. It may
	// have up to seven eighths of that; more is no limit either.
	MaxBytes int64
	// HoldBytes is how much of a body is held back, in bytes, in the hope that it is
	// complete: then it leaves with all that the cache can say of it, and in its place a
	// 304 may. When more comes, or the handler has taken 25 ms for more than the first
	// 4 KiB, the client gets what there is, and the rest as it comes, while the
	// capture goes on. What is needed whole is held back all the same: an error of the
	// handler that a stale response may replace, and a response that the client may have
	// already. Zero: 256 KiB; math.MaxInt64: a body is held back until it is complete.
	HoldBytes int64
	// MaxHeaderBytes is how long the header fields of a stored response may be
	// together, in bytes; one with longer ones is not stored. Zero: 64 KiB.
	MaxHeaderBytes int
	// Headers selects the fields of the response that are stored. Content-Type,
	// Content-Encoding and whatever caching needs are always kept.
	Headers Selection
	// Post stores the 200 that answers a POST for later GETs, where its Content-Location
	// is the URI of the request (the same host, path and query), it states its freshness
	// itself, and does not depend on fields of the request (RFC 9110 section 9.3.3).
	// What was stored for that URI is removed all the same. Only for URIs whose key a
	// purge can name, with a store that is a [store.Coordinator], and where GET is among
	// RequestPolicy.Methods. A response that is longer than HoldBytes, or flushed, passes
	// through. Each POST then asks the store once before its handler runs.
	Post bool
	// SetCookie stores responses with Set-Cookie and replays the cookie to
	// everybody. Hardly ever right.
	SetCookie bool
	// Authorized stores responses to requests with Authorization even where the
	// response does not allow it (RFC 9111 section 3.5). Only for credentials that do
	// not change the answer, or together with a Partition.
	Authorized bool
	// Heuristic gives responses with Last-Modified and no explicit freshness a
	// tenth of their age as lifetime (RFC 9111 section 4.2.2), one day at most,
	// where TTL gives none.
	Heuristic bool
	// GenerateETag gives stored 200 responses of up to 1 MiB that have neither
	// ETag nor Last-Modified an ETag made from the body, so that clients can
	// validate.
	GenerateETag bool
	// MaxVariants is how many responses are kept for one URL where they differ
	// by Vary; the oldest goes first. Zero: 64.
	MaxVariants int
	// MaxTags is how many tags a response may have; one with more is not stored,
	// because it could not be purged. Zero: 64.
	MaxTags int
	// ForwardTags lets clients see Cache-Tag and Surrogate-Key, for another cache
	// in front that uses them.
	ForwardTags bool
	// TargetedFields are the fields that speak to this cache in place of
	// Cache-Control and Expires, most specific first (RFC 9213). Surrogate-Control
	// may be one of them. Nil: CDN-Cache-Control.
	TargetedFields []string
	// Decide, if not nil, is asked for each response that would be stored, before it is:
	// once its body is complete, also if it was sent as it came, or in the background, or is
	// still stored and was updated by a 304. It may forbid that, or say for how long. It is
	// asked as well for one that only lacks a lifetime, but not for what the rules forbid to
	// store, nor for what a framework's handler returns as an error if there is no StatusTTL
	// for it. Of a response in parts it is asked for each part, a 206 whose
	// Content-Range says which, and for the whole when it is complete.
	//
	// Whoever waits for the response waits for Decide too, so it is to be quick, and must
	// not wait for requests of its own. It may be called concurrently. A panic is logged,
	// and counted in [Stats]; the response is not stored.
	Decide func(*Request, *Response) Decision
}

// StalePolicy says what is renewed, and when a stale response is served.
type StalePolicy struct {
	// IfError is how long beyond its freshness a stored response answers where the
	// handler gives 500, 502, 503 or 504, unless the response forbids it
	// (must-revalidate and the like) or says how long itself (RFC 5861 section 4).
	// Zero: only where the response says so.
	IfError time.Duration
	// WhileRevalidate is how long beyond its freshness a stored response is still
	// served at once, while one request is run again in the background to renew it,
	// unless the response forbids it or says how long itself (RFC 5861 section 3).
	// Zero: only where the response says so. Where a request cannot be run again, it
	// waits for the handler.
	WhileRevalidate time.Duration
	// SoftTimeout is how long the handler may take while there is a stale response
	// that IfError allows: after it that is served, and what the handler gives later
	// is stored. Such a handler runs in the background, so RefreshTimeout is its hard
	// limit, and requests share it, whatever [CoalescingPolicy] says. Zero: the
	// client waits for the handler.
	SoftTimeout time.Duration
	// RefreshAhead is the fraction of its lifetime after which a response that
	// is asked for is renewed in the background while it is still fresh: with
	// 0.5 and a lifetime of 100 s, from second 50 on. Between 0 and 1; zero: never.
	RefreshAhead float64
	// RefreshTimeout ends the context of a handler that runs in the background.
	// One that goes on all the same gives its place among [Background].Runs back
	// then, as long as there are no more than Runs of its kind. Zero: 30 s.
	RefreshTimeout time.Duration
}

// CoalescingPolicy says how far requests that miss at the same time wait for one of
// them to run the handler.
type CoalescingPolicy struct {
	// Scope says which requests do. The zero value, [CoalesceAll], lets one run the
	// handler among all processes that share the store.
	Scope CoalescingScope
	// Wait bounds the wait; after it a request runs the handler itself, and later
	// ones wait for that one: a handler that hangs delays nobody for longer. Zero:
	// 10 s.
	Wait time.Duration
	// MaxWaiting is how many requests may wait for others at a time; those beyond
	// run the handler themselves. Zero: 10,000.
	MaxWaiting int
}

// CoalescingScope says which requests wait for one another where nothing usable is
// stored, so that the handler runs once for all of them.
type CoalescingScope uint8

// The scopes of coalescing.
const (
	// CoalesceAll makes the requests of all processes on one store wait for one
	// of them, if the store is a [store.Coordinator] that is shared; otherwise it is
	// CoalesceProcess. It costs a miss nothing: the lock is what guards its write.
	CoalesceAll CoalescingScope = iota
	// CoalesceProcess makes only requests of one process wait for each other.
	CoalesceProcess
	// CoalesceNone lets every request run the handler.
	CoalesceNone
)

// String returns "all", "process" or "none".
func (s CoalescingScope) String() string {
	switch s {
	case CoalesceAll:
		return "all"
	case CoalesceProcess:
		return "process"
	case CoalesceNone:
		return "none"
	}
	return "CoalescingScope(" + strconv.Itoa(int(s)) + ")"
}

// RequestPolicy says which requests are answered, and how.
type RequestPolicy struct {
	// Methods that are answered from the cache: of GET, HEAD, QUERY and POST. A HEAD is
	// answered from what a GET has stored and stores nothing. QUERY (RFC 10008) and POST
	// have their content in the key, as Content says; listing POST declares it safe for
	// the requests of this policy, so that one whose content is part of a key does not
	// remove what is stored for its URL. Nil: GET and HEAD.
	Methods []string
	// Content says what content of requests is part of their keys.
	Content ContentPolicy
	// Cookies selects the cookies that handlers may read. What nothing but TTL or
	// StatusTTL makes storable is neither stored from nor given to a request with
	// one of them, unless it is among [KeyPolicy].Cookies or the response says Vary:
	// Cookie: a cache cannot see who reads what. A response that says public,
	// s-maxage, max-age or Expires goes by RFC 9111, which lets it be shared. The zero
	// value selects all cookies; Except(AnalyticsCookies()...) leaves out those that
	// only scripts in browsers read, and None() is for services whose handlers read
	// none. Names are case-sensitive, and may end in '*'.
	Cookies Selection
	// IgnoreDirectives ignores Cache-Control and Pragma of requests, so that clients
	// cannot reach the handler at will. RFC 9111 section 5.2.1 makes them advisory.
	IgnoreDirectives bool
	// ForwardConditions lets the handler see the If-None-Match and
	// If-Modified-Since of a client where nothing is stored. Its 304 is of no use
	// to others, so such requests are not coalesced. Otherwise the handler gives a
	// whole response, and the cache answers 304 where the client has it already.
	ForwardConditions bool
	// ValidateVariants offers the handler, where none of the stored variants is
	// for the request, the ETags of up to four of them at once, and uses the one
	// that its 304 names (RFC 9111 section 4.3.1). Only for handlers whose ETags
	// tell variants apart and whose 304 has the ETag, as RFC 9110 sections 8.8.3
	// and 15.4.5 demand but many do not.
	ValidateVariants bool
	// AcceptRanges answers Range from any stored 200. Otherwise only those whose
	// handler says Accept-Ranges: bytes are cut, because middleware in front may
	// encode what it is given, and a part of one representation is no part of
	// another (RFC 9110 section 14.4).
	AcceptRanges bool
	// LenientParts makes more of a handler's partial responses than is sure: who wants all
	// of one without any validator has the handler asked for what is missing, though what
	// comes cannot be combined with it (RFC 9111 section 3.4), so that unless it is all
	// the handler runs once more; and the last bytes that a client has asked for (bytes=-5) are
	// kept though their Content-Range ends one byte too far.
	LenientParts bool
	// BackgroundFill lets the handler of a GET go on when its client leaves, so
	// that a response for which no client has the patience is stored all the same:
	// its context does not end then, but [StalePolicy].RefreshTimeout later, when a
	// deadline of middleware in front is over, or when the handler returns. Once a
	// response streams that is not captured (it was flushed, is too long, or an event
	// stream), its client counts again; what is captured while it is sent goes on, except
	// for Fiber's body streams, which nobody reads then. It is off by default because long polls, and streams before their
	// first byte, live by knowing that their client has left. Without it a response is
	// stored where that cannot have made a difference: the handler has not asked its
	// context, or had begun a 200 of a declared Content-Length before, and has
	// written just that.
	BackgroundFill bool
	// ShowKey says whether Cache-Status tells a request the key of its entry, for
	// debugging. Nil: never.
	ShowKey func(*Request) bool
}

// ContentPolicy says for which content requests are answered from the cache. It becomes
// part of the key by its SHA-256, together with the fields that describe it (Content-Type,
// Content-Encoding and the like), all as they came. The content is read before the
// handler is called, as fast as the client sends it; the handler reads the same afterwards.
// What is no part of a key passes the cache, and where its method is unsafe, it removes
// what is stored for its URL.
type ContentPolicy struct {
	// MaxBytes is the longest content that becomes part of a key, in bytes; a request
	// with more bypasses the cache (detail=content-too-long), and the handler gets all of
	// it as it comes. Each request that is being served may take so much memory. At most
	// 16 MiB. Zero: 64 KiB.
	MaxBytes int64
	// OfGet answers a GET with content, too. Otherwise it bypasses the cache
	// (detail=request-body). A GET has its content for no reason that HTTP knows (RFC
	// 9110 section 9.3.1), so this is for services that are known to read it.
	OfGet bool
	// Normalize gives the form of the content that becomes part of the key, so that what
	// means the same to the handler shares a key; the handler gets the content as it
	// came. Not ok: the request bypasses the cache (detail=content-refused). A panic
	// counts as that, and is logged the first time. It must not write to content, nor
	// keep it, and two contents of one form must be alike to the handler. Concurrent calls
	// must be safe. Nil: the content as it came.
	Normalize func(r *Request, content []byte) (normal []byte, ok bool)
}

// RFC9111 is a policy that stores all that RFC 9111 lets a shared cache store,
// and nothing else: any status code, responses with Set-Cookie (section 7.3),
// heuristic freshness, responses to QUERY (RFC 10008), those to POST that say that they are
// for GET, and No-Vary-Search; no lifetime where the response gives none. It is for a cache
// in front of an origin that knows HTTP caching.
func RFC9111() Policy {
	return Policy{
		Key:     KeyPolicy{KeepQueryOrder: true, NoVarySearch: true},
		Storing: StoringPolicy{AnyStatusCode: true, Post: true, SetCookie: true, Heuristic: true},
		Stale:   StalePolicy{IfError: 24 * time.Hour}, // section 4.2.4: disconnected
		Requests: RequestPolicy{
			Methods:           []string{http.MethodGet, http.MethodHead, methodQuery}, // RFC 10008
			ForwardConditions: true, ValidateVariants: true, AcceptRanges: true, LenientParts: true,
		},
	}
}

// clone copies what a change of the one would change in the other.
func (p Policy) clone() Policy {
	p.StatusTTL = maps.Clone(p.StatusTTL)
	p.Storing.StatusCodes = slices.Clone(p.Storing.StatusCodes)
	for _, s := range []*[]string{
		&p.Requests.Methods, &p.Key.Headers, &p.Key.Cookies, &p.Storing.TargetedFields,
		&p.Key.Query.Allow, &p.Key.Query.Deny, &p.Requests.Cookies.Allow, &p.Requests.Cookies.Deny, &p.Storing.Headers.Allow, &p.Storing.Headers.Deny,
	} {
		*s = slices.Clone(*s)
	}
	p.Compression.clone()
	return p
}

const minKeyBytes = 64

// validated returns the policy with its defaults filled in, and adds to wrong what is
// wrong with it.
func (p Policy) validated(wrong *problems) Policy {
	if !validName(p.Name) {
		wrong.add("Name", "%.80q: use at most 64 letters, digits, spaces and . _ - / :", p.Name)
	}
	switch {
	case p.TTL > maxLifetime:
		wrong.add("TTL", "%v is longer than a year: shorten it", p.TTL)
	default:
		wrong.duration("TTL", &p.TTL, 0)
	}
	for _, code := range slices.Sorted(maps.Keys(p.StatusTTL)) {
		wrong.status("StatusTTL", code)
		switch ttl := p.StatusTTL[code]; {
		case ttl < 0 || ttl > maxLifetime:
			wrong.add("StatusTTL", "%v for %d: use 0 to a year", ttl, code)
		case ttl > 0 && ttl < minDuration:
			wrong.add("StatusTTL", "%d: %s", code, unitless(ttl))
		}
	}
	if !(p.TTLJitter >= 0 && p.TTLJitter <= 0.9) {
		wrong.add("TTLJitter", "%v: use a fraction from 0 to 0.9", p.TTLJitter)
	}
	p.Key.validate(wrong)
	p.Storing.validate(wrong)
	p.Compression.validate(wrong)
	p.Stale.validate(wrong)
	p.Coalescing.validate(wrong)
	p.Requests.validate(wrong)
	return p
}

// selected is the policy in the form that makes keys.
func (k *KeyPolicy) selected() keys.Policy {
	return keys.Policy{
		Query: k.Query.selector(), KeepQueryOrder: k.KeepQueryOrder, Headers: k.Headers, Cookies: k.Cookies,
		Generator: k.Generator, Partition: k.Partition,
		IgnoreHost: k.IgnoreHost, IgnoreScheme: k.IgnoreScheme, IgnoreForwarded: k.IgnoreForwarded, MaxBytes: k.MaxBytes,
	}
}

func (k *KeyPolicy) validate(wrong *problems) {
	wrong.selection("Key.Query", k.Query)
	k.Headers = slices.Clone(k.Headers)
	for i, n := range k.Headers {
		if !httprules.IsToken(n) {
			wrong.add("Key.Headers", "%q is no field name", n)
		}
		k.Headers[i] = textproto.CanonicalMIMEHeaderKey(n)
	}
	slices.Sort(k.Headers)
	k.Headers = slices.Compact(k.Headers)
	k.Cookies = slices.Clone(k.Cookies)
	for _, n := range k.Cookies {
		if !httprules.IsToken(n) {
			wrong.add("Key.Cookies", "%q is no cookie name", n)
		}
	}
	slices.Sort(k.Cookies)
	k.Cookies = slices.Compact(k.Cookies)
	if k.MaxBytes == 0 {
		k.MaxBytes = 8 << 10
	}
	if k.MaxBytes < minKeyBytes || k.MaxBytes > 1<<20 {
		wrong.add("Key.MaxBytes", "%d: use %d to 1048576, or 0 for 8 KiB", k.MaxBytes, minKeyBytes)
	}
}

func (s *StoringPolicy) validate(wrong *problems) {
	if s.StatusCodes == nil {
		s.StatusCodes = []int{
			http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
			http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		}
	}
	for _, code := range s.StatusCodes {
		wrong.status("Storing.StatusCodes", code)
	}
	if s.MaxBytes < 0 {
		wrong.add("Storing.MaxBytes", "%d is negative: use a number of bytes, or 0 for a quarter of Config.MaxCaptureBytes", s.MaxBytes)
	}
	if s.HoldBytes == 0 {
		s.HoldBytes = 256 << 10
	}
	if s.HoldBytes < 0 {
		wrong.add("Storing.HoldBytes", "%d is negative: use a number of bytes, or 0 for 256 KiB", s.HoldBytes)
	}
	wrong.number("Storing.MaxHeaderBytes", &s.MaxHeaderBytes, 64<<10)
	wrong.selection("Storing.Headers", s.Headers)
	if s.MaxVariants == 0 {
		s.MaxVariants = 64
	}
	if s.MaxVariants < 0 || s.MaxVariants > 1024 {
		wrong.add("Storing.MaxVariants", "%d: use 1 to 1024, or 0 for 64", s.MaxVariants)
	}
	wrong.number("Storing.MaxTags", &s.MaxTags, 64)
	if s.TargetedFields == nil {
		s.TargetedFields = []string{"CDN-Cache-Control"}
	}
	for _, n := range s.TargetedFields {
		if !httprules.IsToken(n) {
			wrong.add("Storing.TargetedFields", "%q is no field name", n)
		}
	}
}

func (s *StalePolicy) validate(wrong *problems) {
	wrong.duration("Stale.IfError", &s.IfError, 0)
	wrong.duration("Stale.WhileRevalidate", &s.WhileRevalidate, 0)
	wrong.duration("Stale.SoftTimeout", &s.SoftTimeout, 0)
	wrong.duration("Stale.RefreshTimeout", &s.RefreshTimeout, 30*time.Second)
	if s.SoftTimeout > s.RefreshTimeout {
		wrong.add("Stale.SoftTimeout", "%v exceeds Stale.RefreshTimeout, %v: the handler would be ended first", s.SoftTimeout, s.RefreshTimeout)
	}
	if !(s.RefreshAhead >= 0 && s.RefreshAhead < 1) {
		wrong.add("Stale.RefreshAhead", "%v is no fraction of a lifetime: use a number between 0 and 1, or 0 for none", s.RefreshAhead)
	}
}

func (c *CoalescingPolicy) validate(wrong *problems) {
	if c.Scope > CoalesceNone {
		wrong.add("Coalescing.Scope", "%d: use CoalesceAll, CoalesceProcess or CoalesceNone", c.Scope)
	}
	wrong.duration("Coalescing.Wait", &c.Wait, 10*time.Second)
	wrong.number("Coalescing.MaxWaiting", &c.MaxWaiting, 10_000)
}

func (r *RequestPolicy) validate(wrong *problems) {
	if r.Methods == nil {
		r.Methods = []string{http.MethodGet, http.MethodHead}
	}
	for _, m := range r.Methods {
		if methodBit(m) == 0 {
			wrong.add("Requests.Methods", "%q: only GET, HEAD, QUERY and POST can be answered from a cache", m)
		}
	}
	r.Content.validate(wrong, methodsOf(r.Methods))
	wrong.selection("Requests.Cookies", r.Cookies)
}

const (
	defaultContentBytes = 64 << 10
	maxContentBytes     = 16 << 20
)

func (c *ContentPolicy) validate(wrong *problems, answered methods) {
	if c.MaxBytes < 0 || c.MaxBytes > maxContentBytes {
		wrong.add("Requests.Content.MaxBytes", "%d: use 1 to %d, or 0 for 64 KiB", c.MaxBytes, maxContentBytes)
	}
	switch {
	case c.OfGet && answered&answersGet == 0:
		wrong.add("Requests.Content.OfGet", "GET is not among Requests.Methods: add it, or leave OfGet out")
	case c.OfGet || answered&(answersQuery|answersPost) != 0:
	case c.Normalize != nil:
		wrong.add("Requests.Content.Normalize", "no request with content is answered: add QUERY or POST to Requests.Methods, or set Requests.Content.OfGet")
	case c.MaxBytes != 0 && c.MaxBytes != defaultContentBytes: // which the policy may have from another one
		wrong.add("Requests.Content.MaxBytes", "no request with content is answered: add QUERY or POST to Requests.Methods, or set Requests.Content.OfGet")
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultContentBytes
	}
}

func (p *problems) status(field string, code int) {
	switch {
	case code < 200 || code > 599:
		p.add(field, "%d is no final status code: use 200 to 599", code)
	case code == http.StatusPartialContent || code == http.StatusNotModified:
		p.add(field, "%d answers one client's range or condition and cannot be stored: leave it out", code)
	}
}
