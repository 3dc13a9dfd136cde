package cacheaside

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/store"
)

// Defaults of the fields of [Config] that are left at zero.
const (
	DefaultNamespace      = "cacheaside"
	DefaultMemoryBytes    = 64 << 20 // of the embedded store
	DefaultLookupTimeout  = 50 * time.Millisecond
	DefaultStoreTimeout   = 250 * time.Millisecond
	DefaultMaxBytes       = 8 << 20
	DefaultMaxHeaderBytes = 64 << 10
	DefaultMaxWaiting     = 10_000
	DefaultMaxKeyBytes    = 8 << 10
	DefaultMaxVariants    = 64

	DefaultPurgeTimeout    = time.Second
	DefaultBreakerPause    = time.Second
	DefaultBreakerFailures = 5
	DefaultWriteBuffer     = 32 << 20
	DefaultMaxTags         = 64
	DefaultWaitTimeout     = 10 * time.Second
	DefaultLockTTL         = 3 * time.Second
	DefaultRefreshTimeout  = 30 * time.Second
	DefaultMaxRefreshes    = 16
	DefaultRefreshQueue    = 1024
)

// Config is what [New] makes a [Cache] from. The zero value is valid: it keeps
// in this process what the responses themselves allow, and nothing else.
// Slices, maps and functions belong to the cache once New has them. Durations
// below a millisecond are refused, a TTL or StatusTTL of more than a year as well;
// any other that is longer counts as a year.
type Config struct {
	// The first group is the same for all handles of a cache: [Cache.With]
	// cannot change it.

	// Store keeps the entries. Nil: a memory store of 64 MiB in this process.
	Store store.Store
	// Namespace begins every key, so that services can share a server: letters,
	// digits, '.', '_' and '-', 64 bytes at most. Empty: "cacheaside".
	Namespace string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger takes the cache's own trouble, never anything of a response's
	// body. Nil: slog.Default().
	Logger *slog.Logger
	// LookupTimeout bounds a read from the store; after it the request is a
	// miss. A value of 256 KiB and more has a second for every 10 MiB beyond that.
	// Zero: 50 ms.
	LookupTimeout time.Duration
	// StoreTimeout bounds a write to the store; one of 256 KiB and more has a second
	// for every 10 MiB beyond that. Zero: 250 ms.
	StoreTimeout time.Duration
	// PurgeTimeout bounds a purge; one of many tags, each 1,024 of them. Zero: 1 s.
	PurgeTimeout time.Duration
	// WriteBuffer is how many bytes of responses may be on their way to a store that
	// is not in this process: a client does not wait for its response to arrive
	// there. What exceeds it is not stored. Zero: 32 MiB.
	WriteBuffer int64
	// BreakerFailures is how many calls in a row must fail, or get no answer in
	// time, over LookupTimeout at least, for the circuit breaker to open: then requests are answered as if
	// nothing were stored, without asking the store. Zero: 5; negative: never.
	// A write that the store refuses (see [ErrRefused]) is no failure, and a store
	// in this process needs no breaker.
	BreakerFailures int
	// BreakerPause is how often the cache asks the store meanwhile, by itself,
	// whether it answers again. Zero: 1 s.
	BreakerPause time.Duration
	// LockTTL is how long other processes wait for one that has died while it
	// asked the handler; it is prolonged while the handler runs, for up to a
	// minute. Zero: 3 s.
	LockTTL time.Duration
	// MaxRefreshes is how many handlers run in the background at once, and
	// RefreshQueue how many more may wait for their turn; beyond that a refresh
	// is left to a later request. Handlers that go on after RefreshTimeout do not
	// count, but there are never more than twice MaxRefreshes. Zero: 16 and 1024.
	MaxRefreshes, RefreshQueue int

	// The second group is the policy: it may differ per route or group.

	// TTL is the freshness lifetime of a response that says nothing of its
	// own. Explicit freshness in the response (s-maxage, max-age, Expires)
	// always wins. Zero: only what the response itself allows is stored.
	TTL time.Duration
	// StatusTTL replaces TTL for single status codes and makes them storable:
	// {404: 5 * time.Second} is negative caching. Zero: with explicit
	// freshness only.
	StatusTTL map[int]time.Duration
	// StatusCodes are the codes that TTL applies to. Nil: 200, 203, 204, 300,
	// 301 and 308. With explicit freshness 302, 303, 307, 404, 405, 410, 414 and
	// 501 are stored as well, and any other code only if it is listed here.
	StatusCodes []int
	// Methods that are answered from the cache: GET and HEAD, or a part of
	// them. A HEAD is answered from what a GET has stored and stores nothing.
	// Nil: both.
	Methods []string
	// MaxBytes is the largest body that is held back and stored, in bytes; a
	// longer one streams through. Zero: 8 MiB; math.MaxInt64 is no limit.
	MaxBytes int64
	// MaxHeaderBytes is how long the header fields of a stored response may be
	// together, in bytes; one with longer ones is not stored. Zero: 64 KiB.
	MaxHeaderBytes int
	// ResponseHeaders selects the fields of the response that are stored.
	// Content-Type, Content-Encoding and whatever caching needs are always kept.
	ResponseHeaders Selection
	// Query selects the query parameters that are part of the key. Parameters
	// that are left out are still seen by the handler, so leave out only those
	// that do not change the response. A name may end in '*'.
	Query Selection
	// KeepQueryOrder makes the order of the parameters part of the key; otherwise
	// only the order of those of one name is.
	KeepQueryOrder bool
	// KeyHeaders names request fields that become part of the key, whatever
	// Vary says.
	KeyHeaders []string
	// KeyCookies names cookies that become part of the key.
	KeyCookies []string
	// Cookies selects the cookies that handlers may read. What nothing but TTL or
	// StatusTTL makes storable is neither stored from nor given to a request with
	// one of them, unless it is among KeyCookies or the response says Vary: Cookie:
	// a cache cannot see who reads what. A response that says public, s-maxage,
	// max-age or Expires goes by RFC 9111, which lets it be shared. The zero value
	// selects all cookies; Except(AnalyticsCookies()...) leaves out those that only
	// scripts in browsers read, and None() is for services whose handlers read none.
	// Names are case-sensitive, and may end in '*'.
	Cookies Selection
	// KeyGenerator gives, if set, the part of the key that stands for path and
	// query. It must differ wherever the response may differ.
	KeyGenerator func(*adapter.Request) string
	// Partition gives a part of the key that separates users or tenants. It is
	// added to what the adapter has put into [Request.Partition].
	Partition func(*adapter.Request) string
	// IgnoreHost and IgnoreScheme leave host or scheme out of the key, for a
	// service that answers alike under all its names.
	IgnoreHost, IgnoreScheme bool
	// IgnoreForwarded leaves X-Forwarded-Host, X-Forwarded-Proto and the like (see
	// the README) out of the key. Only where a proxy in front replaces all of them,
	// or nothing behind the cache looks at them: otherwise anybody can have a
	// response stored that speaks of another host.
	IgnoreForwarded bool
	// MaxKeyBytes is the longest key; a request with a longer one bypasses the
	// cache. Zero: 8 KiB.
	MaxKeyBytes int
	// MaxVariants is how many responses are kept for one URL where they differ
	// by Vary; the oldest goes first. Zero: 64.
	MaxVariants int
	// TargetedFields are the fields that speak to this cache in place of
	// Cache-Control and Expires, most specific first (RFC 9213). Surrogate-Control
	// may be one of them. Nil: CDN-Cache-Control.
	TargetedFields []string
	// MaxTags is how many tags a response may have; one with more is not stored,
	// because it could not be purged. Zero: 64.
	MaxTags int
	// ForwardTags lets clients see Cache-Tag and Surrogate-Key, for another cache
	// in front that uses them.
	ForwardTags bool
	// Skip says, before the handler runs, that a request is none of the
	// cache's business.
	Skip func(*adapter.Request) bool
	// ShowKey says whether Cache-Status tells a request the key of its entry, for
	// debugging. Nil: never.
	ShowKey func(*adapter.Request) bool
	// IgnoreRequestDirectives ignores Cache-Control and Pragma of requests, so
	// that clients cannot reach the handler at will. RFC 9111 section 5.2.1
	// makes them advisory.
	IgnoreRequestDirectives bool
	// StoreSetCookie stores responses with Set-Cookie and replays the cookie to
	// everybody. Hardly ever right.
	StoreSetCookie bool
	// StoreAuthorized stores responses to requests with Authorization even
	// where the response does not allow it (RFC 9111 section 3.5). Only for
	// fields that do not select the answer, or together with Partition.
	StoreAuthorized bool
	// AllStatusCodes stores responses of any final status code that state their
	// own freshness, as RFC 9111 section 3 allows.
	AllStatusCodes bool
	// StaleIfError is how long beyond its freshness a stored response answers
	// where the handler gives 500, 502, 503 or 504, unless the response forbids
	// it (must-revalidate and the like) or says how long itself (RFC 5861
	// section 4). Zero: only where the response says so.
	StaleIfError time.Duration
	// StaleWhileRevalidate is how long beyond its freshness a stored response is
	// still served at once, while one request is run again in the background to
	// renew it, unless the response forbids it or says how long itself (RFC 5861
	// section 3). Zero: only where the response says so. Where a request cannot be
	// run again, it waits for the handler.
	StaleWhileRevalidate time.Duration
	// RefreshAhead is the fraction of its lifetime after which a response that
	// is asked for is renewed in the background while it is still fresh: with
	// 0.5 and a lifetime of 100 s, from second 50 on. Between 0 and 1; zero: never.
	RefreshAhead float64
	// RefreshTimeout ends the context of a handler that runs in the background.
	// One that goes on all the same gives its place among MaxRefreshes back then,
	// as long as there are no more than MaxRefreshes of its kind. Zero: 30 s.
	RefreshTimeout time.Duration
	// BackgroundFill lets the handler of a GET go on when its client leaves, so
	// that a response for which no client has the patience is stored all the same:
	// its context does not end then, but RefreshTimeout later, when a deadline of
	// middleware in front is over, or when the handler returns. Once a response
	// streams (it was flushed, is too long, or an event stream), its client counts
	// again. It is off by default because long polls, and streams before their
	// first byte, live by knowing that their client has left. Without it a response is
	// stored where that cannot have made a difference: the handler has not asked its
	// context, or had begun a 200 of a declared Content-Length before, and has
	// written just that.
	BackgroundFill bool
	// SoftTimeout is how long the handler may take while there is a stale
	// response that StaleIfError allows: after it that is served, and what the
	// handler gives later is stored. Such a handler runs in the background, so
	// RefreshTimeout is its hard limit, and requests share it, whatever Coalesce
	// says. Zero: the client waits for the handler.
	SoftTimeout time.Duration
	// TTLJitter shortens each lifetime by up to this fraction, differently for
	// each key and fill, so that what was stored together does not expire
	// together. From 0 to 0.9; zero: not at all.
	TTLJitter float64
	// Coalesce says whether requests that miss at the same time wait for one of
	// them to ask the handler. The zero value, CoalesceAll, lets one ask among all
	// processes that share the store.
	Coalesce Coalescing
	// WaitTimeout bounds that wait; after it a request asks the handler itself, and
	// later ones wait for that one: a handler that hangs delays nobody for longer.
	// Zero: 10 s.
	WaitTimeout time.Duration
	// MaxWaiting is how many requests may wait for others at a time; those beyond
	// ask the handler themselves. Zero: 10,000.
	MaxWaiting int
	// ValidateVariants offers the handler, where none of the stored variants is
	// for the request, the ETags of up to four of them at once, and uses the one
	// that its 304 names (RFC 9111 section 4.3.1). Only for handlers whose ETags
	// tell variants apart and whose 304 has the ETag, as RFC 9110 sections 8.8.3
	// and 15.4.5 demand but many do not.
	ValidateVariants bool
	// ForwardConditions lets the handler see the If-None-Match and
	// If-Modified-Since of a client where nothing is stored. Its 304 is of no use
	// to others, so such requests are not coalesced. Otherwise the handler gives a
	// whole response, and the cache answers 304 where the client has it already.
	ForwardConditions bool
	// AcceptRanges answers Range from any stored 200. Otherwise only those whose
	// handler says Accept-Ranges: bytes are cut, because middleware in front may
	// encode what it is given, and a part of one representation is no part of
	// another (RFC 9110 section 14.4).
	AcceptRanges bool
	// GenerateETag gives stored 200 responses of up to 1 MiB that have neither
	// ETag nor Last-Modified an ETag made from the body, so that clients can
	// validate.
	GenerateETag bool
	// Heuristic gives responses with Last-Modified and no explicit freshness a
	// tenth of their age as lifetime (RFC 9111 section 4.2.2), one day at most,
	// where TTL gives none.
	Heuristic bool
}

// clone copies what a change of the one would change in the other.
func (c Config) clone() Config {
	c.StatusTTL = maps.Clone(c.StatusTTL)
	for _, s := range []*[]string{
		&c.Methods, &c.KeyHeaders, &c.KeyCookies, &c.TargetedFields,
		&c.Query.Allow, &c.Query.Deny, &c.Cookies.Allow, &c.Cookies.Deny, &c.ResponseHeaders.Allow, &c.ResponseHeaders.Deny,
	} {
		*s = slices.Clone(*s)
	}
	c.StatusCodes = slices.Clone(c.StatusCodes)
	return c
}

// Selection is a list of names to allow or one to deny; the zero value allows
// everything. Names of query parameters and cookies are case-sensitive, those of
// header fields are not. See [Only], [Except] and [None].
type Selection struct {
	Allow []string // if not nil, only these; empty but not nil: none
	Deny  []string // all but these
}

// Only selects the names given.
func Only(names ...string) Selection { return Selection{Allow: append([]string{}, names...)} }

// Except selects everything but the names given.
func Except(names ...string) Selection { return Selection{Deny: names} }

// None selects nothing.
func None() Selection { return Selection{Allow: []string{}} }

// TrackingParameters are query parameters that advertising and mail tools add
// to links and that handlers do not read: Query: Except(TrackingParameters()...).
func TrackingParameters() []string {
	return []string{
		"utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "fbclid", "msclkid",
		"ttclid", "twclid", "yclid", "igshid", "li_fat_id", "mc_cid", "mc_eid",
		"_ga", "_gl", "_hsenc", "_hsmi", "vero_id", "wickedid",
	}
}

// AnalyticsCookies are cookies that analytics and advertising scripts set for
// themselves in the browser and that handlers do not read:
// Cookies: Except(AnalyticsCookies()...).
func AnalyticsCookies() []string {
	return []string{
		"_ga", "_ga_*", "_gid", "_gat", "_gat_*", "_gac_*", "_gcl_*", "_dc_gtm_*", "__utm*", "__gads", "__gpi", // Google
		"_fbp", "_fbc", // Meta
		"_uetsid", "_uetvid", "_clck", "_clsk", // Microsoft
		"_pk_id*", "_pk_ses*", "_pk_ref*", "_pk_cvar*", "_pk_hsr*", "mtm_*", // Matomo
		"__hstc", "__hssc", "__hssrc", "hubspotutk", // HubSpot
		"_hj*",                                      // Hotjar
		"AMCV_*", "AMCVS_*", "s_cc", "s_sq", "s_vi", // Adobe
		"ajs_*", "amplitude_id*", "AMP_*", "mp_*", "ph_*", "_sp_id*", "_sp_ses*", // Segment, Amplitude, Mixpanel, PostHog, Snowplow
		"_ttp", "_tt_*", "_scid*", "_rdt_uuid", "_pin_unauth", "_twpid", "_li_*", // TikTok, Snapchat, Reddit, Pinterest, X, LinkedIn
		"__qca", "_parsely*", "_mkto_trk", "_vwo*", "_vis_opt_*", "optimizely*",
	}
}

// has reports whether name is selected. Patterns end in '*' at most.
func (s Selection) has(name string, fold bool) bool {
	list, want := s.Deny, false
	if s.Allow != nil {
		list, want = s.Allow, true
	}
	for _, p := range list {
		if matchName(p, name, fold) {
			return want
		}
	}
	return !want
}

func matchName(pattern, name string, fold bool) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		if len(name) < len(p) {
			return false
		}
		pattern, name = p, name[:len(p)]
	}
	if fold {
		return strings.EqualFold(pattern, name)
	}
	return pattern == name
}

// RFC9111 is a policy that stores all that RFC 9111 lets a shared cache store,
// and nothing else: any status code, responses with Set-Cookie (section 7.3),
// heuristic freshness; no lifetime where the response gives none. It is for a
// cache in front of an origin that knows HTTP caching; set Store on it.
func RFC9111() Config {
	return Config{
		AllStatusCodes: true, StoreSetCookie: true, Heuristic: true, KeepQueryOrder: true,
		StaleIfError:      24 * time.Hour, // section 4.2.4: disconnected
		ForwardConditions: true, ValidateVariants: true, AcceptRanges: true,
	}
}

// validated returns the config with its defaults filled in, or one error that
// names every wrong field.
func (c Config) validated() (Config, error) {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("cacheaside: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}

	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if !validNamespace(c.Namespace) {
		bad("Namespace", "%q: use 1 to 64 letters, digits, '.', '_' or '-'", c.Namespace)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"LookupTimeout", &c.LookupTimeout, DefaultLookupTimeout},
		{"StoreTimeout", &c.StoreTimeout, DefaultStoreTimeout},
		{"TTL", &c.TTL, 0},
		{"StaleIfError", &c.StaleIfError, 0},
		{"StaleWhileRevalidate", &c.StaleWhileRevalidate, 0},
		{"SoftTimeout", &c.SoftTimeout, 0},
		{"RefreshTimeout", &c.RefreshTimeout, DefaultRefreshTimeout},
		{"WaitTimeout", &c.WaitTimeout, DefaultWaitTimeout},
		{"LockTTL", &c.LockTTL, DefaultLockTTL},
		{"PurgeTimeout", &c.PurgeTimeout, DefaultPurgeTimeout},
		{"BreakerPause", &c.BreakerPause, DefaultBreakerPause},
	} {
		switch {
		case *d.v < 0:
			bad(d.name, "%v is negative: use 0 for the default or a positive duration", *d.v)
		case *d.v == 0:
			*d.v = d.def
		case *d.v < minDuration:
			bad(d.name, "%s", unitless(*d.v))
		case *d.v > maxLifetime && d.v != &c.TTL:
			*d.v = maxLifetime // for ever: as long as what is stored, and no sum overflows
		}
	}
	if c.WriteBuffer == 0 {
		c.WriteBuffer = DefaultWriteBuffer
	}
	if c.WriteBuffer < 0 {
		bad("WriteBuffer", "%d is negative: use 0 for 32 MiB or a number of bytes", c.WriteBuffer)
	}
	if c.BreakerFailures == 0 {
		c.BreakerFailures = DefaultBreakerFailures
	}
	if c.TTL > maxLifetime {
		bad("TTL", "%v is longer than a year: shorten it", c.TTL)
	}
	if c.SoftTimeout > c.RefreshTimeout {
		bad("SoftTimeout", "%v exceeds RefreshTimeout, %v: the handler would be ended first", c.SoftTimeout, c.RefreshTimeout)
	}
	if c.LockTTL < 100*time.Millisecond {
		bad("LockTTL", "%v: use 100ms or more, or 0 for 3s", c.LockTTL)
	}
	if !(c.RefreshAhead >= 0 && c.RefreshAhead < 1) {
		bad("RefreshAhead", "%v is no fraction of a lifetime: use a number between 0 and 1, or 0 for none", c.RefreshAhead)
	}
	if !(c.TTLJitter >= 0 && c.TTLJitter <= 0.9) {
		bad("TTLJitter", "%v: use a fraction from 0 to 0.9", c.TTLJitter)
	}
	if c.Coalesce > CoalesceNone {
		bad("Coalesce", "%d: use CoalesceAll, CoalesceProcess or CoalesceNone", c.Coalesce)
	}
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxHeaderBytes", &c.MaxHeaderBytes, DefaultMaxHeaderBytes},
		{"MaxTags", &c.MaxTags, DefaultMaxTags},
		{"MaxWaiting", &c.MaxWaiting, DefaultMaxWaiting},
		{"MaxRefreshes", &c.MaxRefreshes, DefaultMaxRefreshes},
		{"RefreshQueue", &c.RefreshQueue, DefaultRefreshQueue},
	} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < 0 || *n.v > 1<<20 {
			bad(n.name, "%d: use 1 to 1048576, or 0 for %d", *n.v, n.def)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(c.StatusTTL)) {
		checkStatus(bad, "StatusTTL", code)
		switch ttl := c.StatusTTL[code]; {
		case ttl < 0 || ttl > maxLifetime:
			bad("StatusTTL", "%v for %d: use 0 to a year", ttl, code)
		case ttl > 0 && ttl < minDuration:
			bad("StatusTTL", "%d: %s", code, unitless(ttl))
		}
	}
	if c.StatusCodes == nil {
		c.StatusCodes = []int{
			http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
			http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		}
	}
	for _, code := range c.StatusCodes {
		checkStatus(bad, "StatusCodes", code)
	}
	if c.Methods == nil {
		c.Methods = []string{http.MethodGet, http.MethodHead}
	}
	for _, m := range c.Methods {
		if m != http.MethodGet && m != http.MethodHead {
			bad("Methods", "%q: only GET and HEAD can be answered from a cache", m)
		}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxBytes < 0 {
		bad("MaxBytes", "%d is negative: use a number of bytes, or 0 for 8 MiB", c.MaxBytes)
	}
	checkSelection(bad, "Query", c.Query)
	checkSelection(bad, "Cookies", c.Cookies)
	checkSelection(bad, "ResponseHeaders", c.ResponseHeaders)
	c.KeyHeaders = slices.Clone(c.KeyHeaders)
	for i, n := range c.KeyHeaders {
		if !httprules.IsToken(n) {
			bad("KeyHeaders", "%q is no field name", n)
		}
		c.KeyHeaders[i] = textproto.CanonicalMIMEHeaderKey(n)
	}
	slices.Sort(c.KeyHeaders)
	c.KeyHeaders = slices.Compact(c.KeyHeaders)
	c.KeyCookies = slices.Clone(c.KeyCookies)
	for _, n := range c.KeyCookies {
		if !httprules.IsToken(n) {
			bad("KeyCookies", "%q is no cookie name", n)
		}
	}
	slices.Sort(c.KeyCookies)
	c.KeyCookies = slices.Compact(c.KeyCookies)
	if c.TargetedFields == nil {
		c.TargetedFields = []string{"CDN-Cache-Control"}
	}
	for _, n := range c.TargetedFields {
		if !httprules.IsToken(n) {
			bad("TargetedFields", "%q is no field name", n)
		}
	}
	if c.MaxKeyBytes == 0 {
		c.MaxKeyBytes = DefaultMaxKeyBytes
	}
	if c.MaxKeyBytes < minKeyBytes || c.MaxKeyBytes > 1<<20 {
		bad("MaxKeyBytes", "%d: use %d to 1048576, or 0 for 8 KiB", c.MaxKeyBytes, minKeyBytes)
	}
	if c.MaxVariants == 0 {
		c.MaxVariants = DefaultMaxVariants
	}
	if c.MaxVariants < 0 || c.MaxVariants > 1024 {
		bad("MaxVariants", "%d: use 1 to 1024, or 0 for 64", c.MaxVariants)
	}
	return c, errors.Join(errs...)
}

const (
	maxLifetime = 365 * 24 * time.Hour
	minDuration = time.Millisecond // of a store's expiry; what is shorter is a forgotten unit
	minKeyBytes = 64
)

// unitless says what is wrong with a duration like TTL: 30.
func unitless(d time.Duration) string {
	return fmt.Sprintf("%v is less than a millisecond: was the unit forgotten, as in %d * time.Second?", d, int64(d))
}

func checkStatus(bad func(field, format string, args ...any), field string, code int) {
	switch {
	case code < 200 || code > 599:
		bad(field, "%d is no final status code: use 200 to 599", code)
	case code == http.StatusPartialContent || code == http.StatusNotModified:
		bad(field, "%d answers one client's range or condition and cannot be stored: leave it out", code)
	}
}

func checkSelection(bad func(field, format string, args ...any), field string, s Selection) {
	if s.Allow != nil && s.Deny != nil {
		bad(field, "both Allow and Deny are set: use one of them")
	}
	for _, n := range slices.Concat(s.Allow, s.Deny) {
		switch i := strings.IndexByte(n, '*'); {
		case n == "":
			bad(field, "an empty name: remove it")
		case i >= 0 && i != len(n)-1:
			bad(field, "%q: '*' may only be the last character", n)
		}
	}
}

func validNamespace(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// Request is what a policy's functions are given of a request: see [adapter.Request].
type Request = adapter.Request
