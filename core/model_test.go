package cacheaside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// The tests of this file compare the engine with a model of RFC 9111. The
// model never parses: what is sent is made from values that it knows. Every
// origin response has a number in X-Fresh; X-Serial is the number of the
// response whose body it has, which differs once a 304 or a HEAD has updated
// the header.

// value is a request field in one spelling; spellings with one class mean the
// same.
type value struct {
	lines []string
	class int
	gzip  bool // Accept-Encoding only: gzip was asked for
}

var spellings = map[string][]value{
	"Accept": {
		{class: 0}, {lines: []string{"text/html"}, class: 1}, {lines: []string{"  text/html "}, class: 1},
		{lines: []string{"text/html, text/css"}, class: 2}, {lines: []string{"text/html ,text/css"}, class: 2},
		{lines: []string{"text/html", "text/css"}, class: 2}, {lines: []string{""}, class: 3},
	},
	"Accept-Language": {
		{class: 0}, {lines: []string{"de"}, class: 1}, {lines: []string{"DE"}, class: 1},
		{lines: []string{"de, en;q=0.5"}, class: 2}, {lines: []string{"en;q=0.2,de"}, class: 2},
		{lines: []string{"de;q=0.5, en"}, class: 3}, {lines: []string{"de", "en;q=0.5"}, class: 2},
	},
	"Accept-Encoding": {
		{}, {lines: []string{"gzip"}, gzip: true}, {lines: []string{"br, gzip;q=0.1"}, gzip: true},
		{lines: []string{"gzip;q=0"}}, {lines: []string{"identity"}}, {lines: []string{"*"}, gzip: true},
		{lines: []string{"*, gzip;q=0"}}, {lines: []string{"br"}}, {lines: []string{""}},
	},
	"Cookie": {{class: 0}, {lines: []string{"a=1"}, class: 1}, {lines: []string{"a=2"}, class: 2}},
	"X-Any":  {{class: 0}, {lines: []string{"1"}, class: 1}, {lines: []string{"2"}, class: 2}},
}

var varying = slices.Sorted(maps.Keys(spellings))

// resources are spellings of request targets; those with one class are one, and
// the class is the one that keys have.
var resources = []struct{ target, class string }{
	{"/a", "/a"}, {"/a", "/a"}, {"/a", "/a"}, {"/b", "/b"}, {"/a?x=1&y=2", "/a?x=1&y=2"}, {"/a?y=2&x=1", "/a?x=1&y=2"},
	{"/a?x=1&y=1&x=2", "/a?x=1&x=2&y=1"}, {"/a?y=1&x=2&x=1", "/a?x=2&x=1&y=1"},
}

type ask struct {
	id                                   int
	method, target, class                string
	fields                               map[string]value
	authorized                           bool
	noStore, noCache, only               bool
	maxAge, minFresh, maxStale, sie, inm int // -1: absent; inm 0: "*"
	first, last                          int // Range, if first >= 0
}

func (q *ask) request() *http.Request {
	r := httptest.NewRequest(q.method, q.target, nil)
	for name, v := range q.fields {
		for _, line := range v.lines {
			r.Header.Add(name, line)
		}
	}
	if q.authorized {
		r.Header.Set("Authorization", "Bearer "+strconv.Itoa(q.id))
	}
	var cc []string
	for name, on := range map[string]bool{"no-store": q.noStore, "no-cache": q.noCache, "only-if-cached": q.only} {
		if on {
			cc = append(cc, name)
		}
	}
	for name, n := range map[string]int{"max-age": q.maxAge, "min-fresh": q.minFresh, "max-stale": q.maxStale, "stale-if-error": q.sie} {
		if n >= 0 {
			cc = append(cc, name+"="+strconv.Itoa(n))
		}
	}
	if len(cc) > 0 {
		r.Header.Set("Cache-Control", strings.Join(cc, ", "))
	}
	switch {
	case q.inm == 0:
		r.Header.Set("If-None-Match", "*")
	case q.inm > 0:
		r.Header.Set("If-None-Match", `"none", W/`+tag(q.inm))
	}
	if q.first >= 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.first, q.last))
	}
	return r
}

// answer is an origin response.
type answer struct {
	serial, body                                                int // X-Fresh and X-Serial
	by                                                          *ask
	base                                                        *answer // what a 304 or a HEAD updates
	status                                                      int
	at                                                          time.Time
	delay                                                       int
	noStore, private, noCache, mustRevalidate, proxyRevalidate  bool
	public, cookie, gzip, etag, varyAny, secretPrivate, foreign bool
	secretNoCache, cookiePrivate, hasDate, badExpires           bool
	maxAge, sMaxAge, sie, expires, age, dateBack, modified      int // -1: absent; dateBack always counts where hasDate
	vary                                                        []string
	first, last                                                 int  // of a 206: what it has of the body
	gap                                                         bool // the cache has asked for a part of its own
}

func tag(n int) string { return fmt.Sprintf(`"v%d"`, n) }

// bodyOf gives every serial a body of its own, of a length of its own.
func bodyOf(n int) []byte {
	return append(fmt.Appendf(nil, "%08d", n), bytes.Repeat([]byte{'.'}, n)...)
}

func (a *answer) date() time.Time {
	if a.hasDate {
		return a.at.Add(-time.Duration(a.dateBack) * time.Second)
	}
	return a.at
}

func (a *answer) header(h http.Header, style int) {
	h.Set("X-Fresh", strconv.Itoa(a.serial))
	h.Set("X-Secret", strconv.Itoa(a.serial))
	var cc []string
	flag := func(on bool, s string) {
		if on {
			cc = append(cc, s)
		}
	}
	flag(a.noStore, "no-store")
	flag(a.private, "Private")
	flag(a.noCache, "no-cache")
	flag(a.mustRevalidate, "must-revalidate")
	flag(a.proxyRevalidate, "proxy-revalidate")
	flag(a.public, "PUBLIC")
	flag(a.secretPrivate && !a.cookiePrivate, `private="x-secret"`)
	flag(a.cookiePrivate && !a.secretPrivate, `private="Set-Cookie"`)
	flag(a.cookiePrivate && a.secretPrivate, `private="X-Secret, set-cookie"`)
	flag(a.secretNoCache, `no-cache="X-Secret"`)
	flag(a.foreign, `ext="a, max-age=999999, public"`)
	for name, n := range map[string]int{"max-age": a.maxAge, "s-maxage": a.sMaxAge, "stale-if-error": a.sie} {
		flag(n >= 0, name+"="+strconv.Itoa(n))
	}
	switch {
	case len(cc) == 0:
	case style == 0:
		h["Cache-Control"] = cc
	case style == 1:
		h.Set("Cache-Control", " "+strings.Join(cc, " ,, "))
	default:
		h.Set("Cache-Control", strings.Join(cc, ","))
	}
	if a.hasDate {
		h.Set("Date", a.date().UTC().Format(http.TimeFormat))
	}
	if a.badExpires {
		h.Set("Expires", "0")
	} else if a.expires >= 0 {
		h.Set("Expires", a.date().Add(time.Duration(a.expires)*time.Second).UTC().Format(http.TimeFormat))
	}
	if a.age >= 0 {
		h.Set("Age", strconv.Itoa(a.age))
	}
	if a.modified >= 0 {
		h.Set("Last-Modified", a.date().Add(-time.Duration(a.modified)*time.Second).UTC().Format(http.TimeFormat))
	}
	if a.etag {
		h.Set("Etag", tag(a.body))
	}
	if a.cookie {
		h.Set("Set-Cookie", "id="+strconv.Itoa(a.serial))
	}
	if a.base != nil {
		return // the selecting fields stay those of the body
	}
	if a.gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if a.varyAny {
		h.Add("Vary", "*")
	}
	for i, n := range a.vary {
		if i%2 == 0 {
			n = strings.ToLower(n)
		}
		h.Add("Vary", n)
	}
}

type policy struct {
	name         string
	ttl, sie     int
	cookies, rfc bool
}

// shareable: may anybody but the asker get it?
func (p policy) shareable(a *answer) bool {
	if a.base != nil && !p.shareable(a.base) {
		return false
	}
	switch {
	case a.noStore, a.private, a.varyAny, a.by.noStore:
		return false
	case a.status == 206 && !a.stated():
		return false
	case a.cookie && !p.cookies:
		return false
	case a.by.authorized:
		return a.public || a.mustRevalidate || a.sMaxAge >= 0
	}
	return !p.byTTLAlone(a) || !a.by.reads(a)
}

// stated: does it say itself how long it may be used?
func (a *answer) stated() bool {
	return a.noCache || a.sMaxAge >= 0 || a.maxAge >= 0 || a.badExpires || a.expires >= 0
}

// byTTLAlone: does nothing but the policy let it be shared?
func (p policy) byTTLAlone(a *answer) bool {
	return p.ttl > 0 && !a.public && !a.noCache && a.sMaxAge < 0 && a.maxAge < 0 && !a.badExpires && a.expires < 0
}

// reads: does q have cookies that the handler of a may have read without saying so?
func (q *ask) reads(a *answer) bool {
	return len(q.fields["Cookie"].lines) > 0 && !slices.Contains(a.root().vary, "Cookie")
}

func (p policy) lifetime(a *answer) time.Duration {
	n := 0
	switch {
	case a.sMaxAge >= 0:
		n = a.sMaxAge
	case a.maxAge >= 0:
		n = a.maxAge
	case a.badExpires:
	case a.expires >= 0:
		n = a.expires
	case slices.Contains([]int{200, 203, 204, 301}, a.status) && p.ttl > 0:
		return time.Duration(p.ttl)*time.Second + a.ageAt(a.at) // it begins with the response
	case p.rfc && a.modified >= 0 && a.status != 206:
		return time.Duration(min(a.modified, 864000)) * time.Second / 10
	}
	return time.Duration(n) * time.Second
}

func (a *answer) ageAt(t time.Time) time.Duration {
	initial := time.Duration(max(a.age, 0)+a.delay) * time.Second
	return max(initial, a.at.Sub(a.date())) + t.Sub(a.at)
}

func (a *answer) neverStale() bool {
	return a.noCache || a.mustRevalidate || a.proxyRevalidate || a.sMaxAge >= 0
}

// root is the answer whose body and selection a has.
func (a *answer) root() *answer {
	for a.base != nil {
		a = a.base
	}
	return a
}

// selects says why q must not get a, though both are of one resource.
func (a *answer) selects(q *ask) string {
	a = a.root()
	if a.by.class != q.class {
		return "another resource: " + a.by.target
	}
	if a.gzip && !q.fields["Accept-Encoding"].gzip {
		return "gzip was not asked for"
	}
	for _, n := range a.vary {
		if n != "Accept-Encoding" && a.by.fields[n].class != q.fields[n].class {
			return fmt.Sprintf("%s was %q", n, a.by.fields[n].lines)
		}
	}
	return ""
}

// rough is a store that breaks.
type rough struct {
	mu            sync.Mutex
	now           func() time.Time
	m             map[string]kept
	get, set, del bool // what fails
	troubled      bool // something has failed since
}

type kept struct {
	b   []byte
	end time.Time
}

var errRough = errors.New("rough")

func (s *rough) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.get {
		s.troubled = true
		return nil, false, errRough
	}
	k, ok := s.m[key]
	return k.b, ok && k.end.After(s.now()), nil
}

func (s *rough) Set(_ context.Context, key string, b []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set {
		return errRough
	}
	s.m[key] = kept{b, s.now().Add(ttl)}
	return nil
}

func (s *rough) Delete(_ context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.del {
		s.troubled = true
		return errRough
	}
	for _, key := range keys {
		delete(s.m, key)
	}
	return nil
}

func (s *rough) Close() error { return nil }

func (s *rough) keys() []string { return slices.Sorted(maps.Keys(s.m)) }

type world struct {
	cache  *cacheaside.Cache
	thrown any // by the handler
	t      interface {
		Logf(format string, args ...any)
		Fatalf(format string, args ...any)
	}
	p       policy
	clock   *clock
	store   *rough
	handler http.Handler

	mu      sync.Mutex
	server  *http.Server
	asks    map[string]*ask // by X-Ask
	answers []*answer       // by serial; the first is nil
	calls   map[int]int     // by request
	byCall  map[int]int     // serial by request
	gone    map[string]int  // what is older was invalidated, by resource
	swapped map[string]bool // an older value may have come back, by resource
	ages    map[int]int     // the last Age by X-Fresh
	log     []string

	plan                                func(*ask, *answer) (update bool)
	hits, stale, freshened, invalidated int
	parts, completed                    int // answered from parts, and from them and a further one
}

var policies = []policy{
	{name: "default", ttl: 30},
	{name: "TTL 0"},
	{name: "RFC 9111", cookies: true, rfc: true, sie: 24 * 3600},
}

func newWorld(p policy) *world {
	w := &world{asks: map[string]*ask{}, p: p, clock: newClock(), answers: []*answer{nil}, calls: map[int]int{}, byCall: map[int]int{}, gone: map[string]int{}, ages: map[int]int{}, swapped: map[string]bool{}}
	w.store = &rough{now: w.clock.Now, m: map[string]kept{}}
	cfg := cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Duration(p.ttl) * time.Second}}
	if p.rfc {
		cfg.Policy = cacheaside.RFC9111()
		cfg.Policy.Requests.LenientParts = false // with which a request may cost two runs: TestParts has it
		cfg.Policy.Key.KeepQueryOrder = false    // the model has it sorted
	}
	cfg.Store, cfg.Now, cfg.Logger = w.store, w.clock.Now, slog.New(slog.DiscardHandler)
	cfg.Breaker.Failures = -1 // it goes by the time of the machine
	cache, err := cacheaside.New(cfg)
	if err != nil {
		panic(err)
	}
	w.cache = cache
	w.handler = nethttp.New(cache)(http.HandlerFunc(w.origin))
	w.server = &http.Server{Handler: w.handler} // by which requests are made anew
	return w
}

func (w *world) origin(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	q := w.asks[r.Header.Get("X-Ask")]
	a := &answer{serial: len(w.answers), by: q}
	a.body = a.serial
	update := func() bool {
		defer func() { // the cache takes rapid's panics for the handler's
			if w.thrown = recover(); w.thrown != nil {
				w.mu.Unlock()
				panic(w.thrown)
			}
		}()
		return w.plan(q, a)
	}()
	w.clock.Advance(time.Duration(a.delay) * time.Second)
	a.at = w.clock.Now()
	if update {
		a.base = w.known(q, r)
	}
	if a.base != nil {
		a.body, a.status = a.base.body, a.base.status
		a.maxAge = max(a.maxAge, 0) // an Expires of the base then does not count
		a.etag, a.varyAny, a.gzip, a.vary = a.base.etag, false, false, nil
	} else if q.method == http.MethodGet {
		w.cut(q, r, a, update)
	}
	w.answers = append(w.answers, a)
	w.calls[q.id]++
	w.byCall[q.id] = a.serial
	w.mu.Unlock()

	h := rw.Header()
	a.header(h, a.serial%3)
	if a.base != nil && q.method == http.MethodGet {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	b := bodyOf(a.body)
	h.Set("X-Serial", strconv.Itoa(a.body))
	h.Set("Content-Type", "text/plain")
	if a.status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a.first, a.last, len(b)))
		b = b[a.first : a.last+1]
	}
	if adapter.BodyAllowed(a.status) {
		h.Set("Content-Length", strconv.Itoa(len(b)))
	}
	rw.WriteHeader(a.status)
	if q.method != http.MethodHead && adapter.BodyAllowed(a.status) {
		rw.Write(b)
	}
}

// cut makes a, where it is to be a 206, the part that is asked for: of a body of its own,
// or of one that is known.
func (w *world) cut(q *ask, r *http.Request, a *answer, unchanged bool) {
	ifRange := r.Header.Get("If-Range")
	a.gap = ifRange != "" // clients send none
	if a.gap && a.status == http.StatusOK && unchanged {
		a.status = http.StatusPartialContent
	}
	if a.status != http.StatusPartialContent {
		return
	}
	var old *answer
	for _, o := range slices.Backward(w.answers[1:]) {
		if o.base == nil && o.by.class == q.class && o.by.method == http.MethodGet && (o.status == 200 || o.status == 206) &&
			o.etag && w.p.shareable(o) && o.selects(q) == "" && o.body > w.gone[q.class] && (!a.gap || tag(o.body) == ifRange) {
			old = o
			break
		}
	}
	body := a.body
	if old != nil && unchanged {
		body = old.body
	}
	size := len(bodyOf(body))
	from, to, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	a.first, _ = strconv.Atoi(from)
	a.last = size - 1
	if n, err := strconv.Atoi(to); err == nil {
		a.last = min(n, a.last)
	}
	if a.first > a.last || a.gap && (old == nil || !unchanged) {
		a.status = http.StatusOK
	} else if body != a.body {
		a.body, a.etag, a.gzip, a.varyAny, a.vary = body, true, old.gzip, false, old.vary
	}
}

// known is the answer that the origin finds unchanged.
func (w *world) known(q *ask, r *http.Request) *answer {
	for _, a := range slices.Backward(w.answers[1:]) {
		if a.base != nil || a.by.class != q.class || a.by.method != http.MethodGet || a.status != 200 && (a.status != 206 || !w.p.shareable(a)) {
			continue
		}
		if a.selects(q) != "" { // each variant is another representation
			continue
		}
		if q.method == http.MethodHead && a.status == http.StatusOK ||
			q.method == http.MethodGet && a.etag && strings.Contains(r.Header.Get("If-None-Match"), tag(a.body)) {
			return a
		}
	}
	return nil
}

func (w *world) do(q *ask) {
	r := q.request()
	r.Header.Set("X-Ask", strconv.Itoa(q.id))
	w.mu.Lock()
	w.asks[r.Header.Get("X-Ask")] = q
	w.mu.Unlock()
	began := w.clock.Now()
	w.store.mu.Lock()
	w.store.troubled = false
	w.store.mu.Unlock()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, w.server)))
	_ = w.cache.Flush(context.Background())
	w.mu.Lock()
	thrown := w.thrown
	w.mu.Unlock()
	if thrown != nil {
		panic(thrown)
	}
	res := rec.Result()
	body, _ := io.ReadAll(res.Body)
	if q.method == http.MethodHead {
		body = nil // a server does not send it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%d: %s %s %v -> %d %v", q.id, q.method, q.target, r.Header, res.StatusCode, res.Header))
	w.check(q, res, body, began)
	if mine := w.byCall[q.id]; mine > 0 && q.method != "GET" && q.method != "HEAD" && w.answers[mine].status < 400 && !w.store.troubled {
		w.gone[q.class] = mine
		w.invalidated++
	}
}

func (w *world) check(q *ask, res *http.Response, body []byte, began time.Time) {
	fail := func(format string, args ...any) {
		if len(w.log) < 200 {
			w.t.Logf("%s", strings.Join(w.log, "\n"))
		}
		w.t.Logf("%d: "+format, append([]any{q.id}, args...)...)
		w.t.Fatalf("%s", format) // the same for every sequence, or rapid does not shorten it
	}
	mine := w.byCall[q.id]
	if w.calls[q.id] > 1 {
		fail("%d calls", w.calls[q.id])
	}
	h := res.Header
	// (7)
	hit := strings.Contains(h.Get("Cache-Status"), "; hit") || strings.Contains(h.Get("Cache-Status"), "; collapsed")
	if mine == 0 && !hit {
		if res.StatusCode != http.StatusGatewayTimeout || !q.only || len(body) > 0 {
			fail("no call and no hit")
		}
		return
	}
	if mine > 0 && hit {
		if !strings.Contains(h.Get("Cache-Status"), "fwd=partial") { // whose part others have completed meanwhile
			fail("a hit that called the handler")
		}
		mine = 0
	}
	serial, err := strconv.Atoi(h.Get("X-Fresh"))
	if err != nil || serial <= 0 || serial >= len(w.answers) {
		fail("an answer of nobody: X-Fresh %q", h.Get("X-Fresh"))
	}
	a := w.answers[serial]
	now := began
	if mine > 0 {
		now = w.answers[mine].at
	}
	own := serial == mine
	w.checkBody(q, a, res, body, own, fail)

	// (1), (3), (5): what did not come from this very call.
	stored := a
	if own {
		stored = nil
		if a.base != nil && q.method == http.MethodGet && h.Get("X-Serial") != "" {
			stored = a.base // freshened
			w.freshened++
		}
	}
	if stored != nil {
		if !w.p.shareable(stored) {
			fail("%d is not to be shared", serial)
		}
		// What this very call has validated may have been updated before.
		if !own && w.p.byTTLAlone(stored) && (q.authorized || q.reads(stored)) {
			fail("%d is not for a request with credentials or cookies", serial)
		}
		if why := stored.selects(q); why != "" {
			fail("%d is not for this request: %s", serial, why)
		}
		if stored.body <= w.gone[stored.by.class] && !w.swapped[stored.by.class] {
			fail("%d was invalidated by %d", stored.body, w.gone[stored.by.class])
		}
	}
	for _, name := range []string{"X-Secret", "Set-Cookie"} {
		n, _ := strconv.Atoi(strings.TrimPrefix(h.Get(name), "id="))
		if n == 0 || n == mine {
			continue
		}
		from := w.answers[n]
		if name == "X-Secret" && (from.secretPrivate || from.secretNoCache) ||
			name == "Set-Cookie" && (from.cookiePrivate || !w.p.cookies) {
			fail("%s of %d", name, n)
		}
	}
	if own {
		answered := (a.status == 200 || a.gap) && res.StatusCode == 304 && q.inm >= 0 || // by the cache
			a.gap && a.status == 206 && (res.StatusCode == 206 || res.StatusCode == 200 && q.first < 0)
		if a.gap && a.status == 206 {
			w.completed++
		}
		if a.base == nil && res.StatusCode != a.status && !answered {
			fail("the status became %d", res.StatusCode)
		}
		if stored == nil {
			return
		}
	}
	// (4)
	age, err := strconv.Atoi(h.Get("Age"))
	want := int(a.ageAt(now) / time.Second)
	if err != nil || age < want-1 || age > want+1 || age < w.ages[serial] {
		fail("Age %q of %d, want %d after %d", h.Get("Age"), serial, want, w.ages[serial])
	}
	w.ages[serial] = age
	if !own {
		// Another request's call may have failed for all who waited for it.
		instead := mine > 0 || strings.Contains(h.Get("Cache-Status"), "; collapsed; detail=stale-if-error")
		w.checkFresh(q, a, now, mine, instead, fail)
	}
}

// checkFresh is (2).
func (w *world) checkFresh(q *ask, a *answer, now time.Time, mine int, instead bool, fail func(string, ...any)) {
	sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
	age, lifetime := a.ageAt(now), w.p.lifetime(a)
	if instead {
		w.stale++
		window := a.sie
		if window < 0 {
			window = w.p.sie
		}
		status := 500 // of another request's call
		if mine > 0 {
			status = w.answers[mine].status
		}
		switch {
		case status != 500 && status != 503:
			fail("%d in place of status %d", a.serial, status)
		case a.neverStale() && (a.mustRevalidate || a.proxyRevalidate || a.noCache || a.sie <= 0) || q.noCache:
			fail("%d must not be served stale", a.serial)
		case age-lifetime > sec(max(window, q.sie)):
			fail("%d is stale for %v, after an error", a.serial, age-lifetime)
		}
		return
	}
	w.hits++
	switch {
	case a.noCache || q.noCache:
		fail("%d without validation", a.serial)
	case age >= lifetime && (a.neverStale() || q.maxStale < 0 || age-lifetime > sec(q.maxStale)):
		fail("%d is %v old and was fresh for %v", a.serial, age, lifetime)
	case q.maxAge >= 0 && q.maxStale < 0 && age > sec(q.maxAge):
		fail("%d is %v old", a.serial, age)
	case q.minFresh >= 0 && lifetime-age < sec(q.minFresh):
		fail("%d is fresh for %v only", a.serial, lifetime-age)
	}
}

// checkBody is (6), and (8) for what is answered from the store.
func (w *world) checkBody(q *ask, a *answer, res *http.Response, body []byte, own bool, fail func(string, ...any)) {
	h := res.Header
	whole := bodyOf(a.body)
	if s := h.Get("X-Serial"); s != strconv.Itoa(a.body) && (s != "" || res.StatusCode != 304 || !own) {
		fail("X-Serial %q with X-Fresh %d", s, a.serial)
	}
	length := h.Get("Content-Length")
	want := whole
	switch res.StatusCode {
	case 206:
		first, last := a.first, a.last // of the origin
		if !own && a.status == 206 {
			w.parts++
		}
		if !own || a.status != 206 || a.gap || a.base != nil {
			first, last = q.first, min(q.last, len(whole)-1)
		}
		if q.first < 0 || h.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", first, last, len(whole)) {
			fail("Content-Range %q", h.Get("Content-Range"))
		}
		want = whole[first : last+1]
	case 416:
		if q.first < len(whole) {
			fail("416 for %d-%d of %d", q.first, q.last, len(whole))
		}
		want = nil
	case 304:
		if q.inm != 0 && (q.inm != a.body || !a.etag) {
			fail("304 for a client with %d", q.inm)
		}
		fallthrough
	case 204:
		if len(body) > 0 || length != "" {
			fail("a body with status %d", res.StatusCode)
		}
		return
	default:
		if !own && res.StatusCode != a.status && (a.root().status != 206 || res.StatusCode != 200) {
			fail("status %d of %d became %d", a.status, a.serial, res.StatusCode)
		}
	}
	if length != strconv.Itoa(len(want)) {
		fail("Content-Length %q, want %d", length, len(want))
	}
	if q.method == http.MethodHead {
		want = nil
	}
	if !bytes.Equal(body, want) {
		fail("body %q of %d", body, a.body)
	}
}

// dice are rapid's or, in the concurrent test, random.
type dice interface {
	n(what string, n int) int // 0 to n-1; small ones are simple
}

type rapidDice struct{ *rapid.T }

func (d rapidDice) n(what string, n int) int { return rapid.IntRange(0, n-1).Draw(d.T, what) }

type randDice struct{ *rand.Rand }

func (d randDice) n(_ string, n int) int { return d.IntN(n) }

func one[T any](d dice, what string, of ...T) T { return of[d.n(what, len(of))] }

func rarely(d dice, what string, in int) bool { return d.n(what, in) == in-1 }

func seldom(d dice, what string, in int, of ...int) int {
	if rarely(d, what, in) {
		return one(d, what, of...)
	}
	return -1
}

func rollAnswer(d dice, q *ask, a *answer) (update bool) {
	a.status = one(d, "status", 200, 200, 200, 200, 200, 203, 204, 301, 404, 302, 500, 503, 503, 418)
	if q.first >= 0 && d.n("206", 2) == 1 {
		a.status = http.StatusPartialContent
	}
	a.noStore, a.private = rarely(d, "no-store", 12), rarely(d, "private", 12)
	a.noCache, a.mustRevalidate = rarely(d, "no-cache", 10), rarely(d, "must-revalidate", 8)
	a.proxyRevalidate, a.public = rarely(d, "proxy-revalidate", 12), rarely(d, "public", 5)
	a.secretPrivate, a.cookiePrivate = rarely(d, "private=X-Secret", 10), rarely(d, "private=Set-Cookie", 20)
	a.secretNoCache, a.foreign = rarely(d, "no-cache=", 15), rarely(d, "extension", 8)
	a.cookie, a.gzip = rarely(d, "Set-Cookie", 8), rarely(d, "gzip", 8) && q.fields["Accept-Encoding"].gzip
	a.etag, a.varyAny, a.hasDate = d.n("ETag", 2) == 0, rarely(d, "Vary: *", 25), d.n("Date", 2) == 0
	a.badExpires = rarely(d, "bad Expires", 20)
	a.maxAge, a.sMaxAge = seldom(d, "max-age", 2, 10, 20, 60, 0), seldom(d, "s-maxage", 6, 15, 40, 0)
	a.sie, a.expires = seldom(d, "stale-if-error", 4, 10, 100, 0), seldom(d, "Expires", 5, 10, 60, 0)
	a.age, a.modified = seldom(d, "Age", 5, 0, 5, 30), seldom(d, "Last-Modified", 4, 100, 1000, 0)
	a.dateBack, a.delay = one(d, "Date back", 0, 0, 3, 20, -5), one(d, "delay", 0, 0, 0, 2)
	switch d.n("Vary", 4) {
	case 1, 2:
		a.vary = []string{"Accept"}
	case 3:
		for _, n := range varying {
			if rarely(d, "Vary: "+n, 3) {
				a.vary = append(a.vary, n)
			}
		}
	}
	return d.n("unchanged", 2) == 0
}

func rollAsk(d dice, id, answers int) *ask {
	u := resources[d.n("target", len(resources))]
	q := &ask{id: id, target: u.target, class: u.class, fields: map[string]value{}}
	q.method = one(d, "method", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "DELETE", "M-SEARCH")
	for _, n := range varying {
		if rarely(d, n, 3) {
			q.fields[n] = one(d, n, spellings[n]...)
		}
	}
	q.authorized = rarely(d, "Authorization", 8)
	q.noStore, q.noCache, q.only = rarely(d, "no-store", 20), rarely(d, "no-cache", 12), rarely(d, "only-if-cached", 20)
	q.maxAge, q.minFresh = seldom(d, "max-age", 15, 0, 5, 20), seldom(d, "min-fresh", 15, 0, 5, 20)
	q.maxStale, q.sie = seldom(d, "max-stale", 8, 0, 5, 1000), seldom(d, "stale-if-error", 10, 5, 1000)
	q.inm = -1
	if rarely(d, "If-None-Match", 6) {
		q.inm = d.n("If-None-Match", answers)
	}
	q.first = seldom(d, "Range", 3, 0, 3, 7, 40)
	q.last = q.first + one(d, "Range length", 0, 2, 50)
	if q.method != http.MethodGet {
		q.first = -1
	}
	return q
}

// rounds of rapid.checks sequences (100 by default, 20 with -short) for each policy, and
// how many more there may be until something of each kind has happened.
const rounds, moreRounds = 5, 100

func TestModel(t *testing.T) {
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			var hits, stale, freshened, invalidated, parts, completed int
			little := func() bool { return hits == 0 || freshened == 0 || invalidated == 0 || parts == 0 || completed == 0 }
			for i := 0; i < rounds || little() && i < rounds+moreRounds; i++ {
				rapid.Check(t, func(rt *rapid.T) {
					w := newWorld(p)
					w.t = rt
					d := rapidDice{rt}
					w.plan = func(q *ask, a *answer) bool { return rollAnswer(d, q, a) }
					asks := 0
					ask := func(*rapid.T) {
						asks++
						w.do(rollAsk(d, asks, len(w.answers)))
					}
					rt.Repeat(map[string]func(*rapid.T){
						"ask": ask, "ask again": ask, "and again": ask, "once more": ask, "ask for more": ask,
						"wait": func(*rapid.T) {
							n := one(d, "seconds", 1, 5, 12, 31, 61)
							w.log = append(w.log, fmt.Sprintf("-- %d s", n))
							w.clock.Advance(time.Duration(n) * time.Second)
						},
						"harm": func(*rapid.T) { w.harm(d) },
					})
					parts, completed = parts+w.parts, completed+w.completed
					hits, stale, freshened, invalidated = hits+w.hits, stale+w.stale, freshened+w.freshened, invalidated+w.invalidated
				})
			}
			t.Logf("%d hits, %d in place of an error, %d freshened, %d invalidations, %d from parts, %d completed",
				hits, stale, freshened, invalidated, parts, completed)
			if little() {
				t.Error("too little happened")
			}
		})
	}
}

// harm does something to the store.
func (w *world) harm(d dice) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	what := one(d, "harm", "mend", "evict", "flip", "cut", "swap", "fail")
	if what == "mend" || what == "fail" {
		s.get, s.set, s.del = false, false, false
		if what == "fail" {
			s.get, s.set, s.del = d.n("get", 2) == 1, d.n("set", 2) == 1, d.n("delete", 2) == 1
		}
		w.log = append(w.log, fmt.Sprintf("-- get, set, delete fail: %t %t %t", s.get, s.set, s.del))
		return
	}
	keys := s.keys()
	if len(keys) == 0 {
		return
	}
	key := keys[d.n("key", len(keys))]
	w.log = append(w.log, "-- "+what+" "+key)
	k := s.m[key]
	if len(k.b) == 0 {
		return
	}
	at := d.n("at", len(k.b))
	switch what {
	case "evict":
		delete(s.m, key)
	case "flip":
		b := bytes.Clone(k.b)
		b[at] ^= byte(1 << d.n("bit", 8))
		s.m[key] = kept{b, k.end}
	case "cut":
		s.m[key] = kept{k.b[:at:at], k.end}
	case "swap":
		other := keys[d.n("other", len(keys))]
		w.swap(key)
		w.swap(other)
		s.m[key], s.m[other] = s.m[other], k
	}
}

// swap notes whose values may come back after they were invalidated.
func (w *world) swap(key string) {
	class, _, _ := strings.Cut(strings.TrimPrefix(key, "cacheaside:2:{GET:http://example.com"), "}")
	w.swapped[class] = true
}

// TestModelConcurrently has many requests at once under the same rules. What
// the order of requests decides (the clock, the invalidations) stands still.
func TestModelConcurrently(t *testing.T) {
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			w := newWorld(p)
			w.t = t
			var roll sync.Mutex
			d := randDice{rand.New(rand.NewPCG(1, uint64(len(p.name))))}
			w.plan = func(q *ask, a *answer) bool {
				roll.Lock()
				defer roll.Unlock()
				update := rollAnswer(d, q, a)
				a.delay, a.dateBack = 0, 0
				return update
			}
			var wg sync.WaitGroup
			for g := range 16 {
				wg.Go(func() {
					for i := range 150 {
						w.mu.Lock()
						n := len(w.answers)
						w.mu.Unlock()
						roll.Lock()
						q := rollAsk(d, 1+g*150+i, n)
						roll.Unlock()
						if q.method != http.MethodGet && q.method != http.MethodHead {
							q.method = http.MethodGet
						}
						w.do(q)
					}
				})
			}
			wg.Wait()
			t.Logf("%d hits, %d in place of an error, %d freshened, %d from parts, %d completed", w.hits, w.stale, w.freshened, w.parts, w.completed)
			if w.hits == 0 {
				t.Error("too little happened")
			}
		})
	}
}
