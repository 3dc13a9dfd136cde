package coretest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Which requests and responses the cache may use.
var ruleCases = []testCase{
	{name: "expiry and Age", run: testExpiry},
	{name: "lifetime below a second", run: testShortLife, once: true},
	{name: "freshness", run: testFreshness},
	{name: "Expires", run: testExpires},
	{name: "response directives", run: testResponseDirectives},
	{name: "no-cache in the response", run: testResponseNoCache},
	{name: "request directives", run: testRequestDirectives},
	{name: "only-if-cached", run: testOnlyIfCached},
	{name: "IgnoreRequestDirectives", run: testIgnoreDirectives},
	{name: "Set-Cookie", run: testSetCookie},
	{name: "Authorization", run: testAuthorization},
	{name: "unsafe methods", run: testUnsafe},
	{name: "invalidation by unsafe methods", run: testInvalidation},
	{name: "StaleIfError", run: testStaleIfError},
	{name: "Methods", run: testMethods},
	{name: "GET with a body", run: testGetBody},
	{name: "preconditions", run: testPreconditions},
	{name: "Skip", run: testSkip},
	{name: "If-None-Match", run: testIfNoneMatch},
	{name: "If-Modified-Since", run: testIfModifiedSince},
	{name: "304 of the handler's own", run: testOwn304},
	{name: "validation", run: testValidation},
	{name: "Range", run: testRange},
	{name: "AcceptRanges", run: testRangePolicy},
	{name: "Vary", run: testVary},
	{name: "Vary of several fields", run: testVarySeveral},
	{name: "Vary: *", run: testVaryStar},
	{name: "Vary that appears later", run: testVaryLater},
	{name: "MaxVariants", run: testMaxVariants},
}

func testExpiry(c *run) {
	s := c.Site(one(c.Cache(), text("a")))
	s.Get("/x").Miss().Stored().Has("Age")
	s.Get("/x").Hit().TTL(60).Has("Age", "0")
	c.Clock.Advance(10 * time.Second)
	s.Get("/x").Hit().TTL(50).Has("Age", "10")
	c.Clock.Advance(49 * time.Second)
	s.Get("/x").Hit().TTL(1).Has("Age", "59")
	s.Head("/x").Hit().Has("Age", "59")
	s.Handled("/x", 1)
	c.Clock.Advance(2 * time.Second)
	s.Get("/x").NotHit().Stored().Is(200, "a").Has("Age")
	s.Handled("/x", 2)
	s.Get("/x").Hit().TTL(60).Has("Age", "0")
	c.Clock.Advance(24 * time.Hour)
	s.Get("/x").NotHit()
}

func testShortLife(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.TTL = 500 * time.Millisecond }), text("a")))
	s.Get("/x").Stored()
	c.Clock.Advance(400 * time.Millisecond)
	s.Get("/x").Hit().TTL(0)
	c.Clock.Advance(200 * time.Millisecond)
	s.Get("/x").NotHit()
	s.Handled("/x", 2)
}

// saying is a handler that answers with the Cache-Control of the query's cc,
// several lines being separated by a bar.
func saying(x Ctx) error {
	for _, v := range strings.Split(x.Query("cc"), "|") {
		if v != "" {
			x.AddHeader("Cache-Control", v)
		}
	}
	return x.Send(200, plain, []byte("a"))
}

func cc(value string) string {
	return "/x?cc=" + strings.NewReplacer(" ", "%20", `"`, "%22", "|", "%7C", ";", "%3B", "\t", "%09", "+", "%2B").Replace(value)
}

func testFreshness(c *run) {
	cache := c.Cache()
	s := c.Site(one(cache, saying))
	for value, ttl := range map[string]int{
		"":                          60,
		"public":                    60,
		"max-age=20":                20,
		"max-age=100":               100,
		"MAX-AGE=20":                20,
		"s-maxage=30, max-age=20":   30,
		"max-age=20|s-maxage=30":    30,
		"max-age=20, s-maxage=3000": 3000,
		`max-age="20"`:              20,
		"must-revalidate":           60,
	} {
		s.Get(cc(value)).Miss().Stored()
		s.Get(cc(value)).Hit().TTL(ttl)
	}
	none := c.Site(one(c.With(cache, func(p *cacheaside.Policy) { p.TTL, p.Key.Headers = 0, []string{"X-Own-Keys"} }), saying))
	for range 2 {
		none.Get(cc("")).Miss().NotStored()
		none.Get(cc("public")).Miss().NotStored()
	}
	none.Get(cc("max-age=9")).Miss().Stored()
	none.Get(cc("max-age=9")).Hit().TTL(9)
}

func testExpires(c *run) {
	at := func(d time.Duration) string { return c.Clock.Now().Add(d).UTC().Format(http.TimeFormat) }
	var value atomic.Value
	app := one(c.Cache(), func(x Ctx) error {
		if v := x.Query("cc"); v != "" {
			x.SetHeader("Cache-Control", v)
		}
		x.SetHeader("Date", at(0))
		x.SetHeader("Expires", value.Load().(string))
		return x.Send(200, plain, []byte("a"))
	})
	s := c.Site(app)
	value.Store(at(100 * time.Second))
	s.Get("/x").Miss().Stored()
	s.Get("/x").Hit().TTL(100)
	s.Get("/x?cc=max-age=20").Stored()
	s.Get("/x?cc=max-age=20").Hit().TTL(20)
	c.Clock.Advance(101 * time.Second)
	value.Store(at(-time.Second))
	for range 2 {
		s.Get("/x").NotHit().NotStored()
	}
	value.Store("0") // RFC 9111 section 5.3: invalid is in the past
	for range 2 {
		s.Get("/x?a=1").NotHit().NotStored()
	}
}

func testResponseDirectives(c *run) {
	s := c.Site(one(c.Cache(), saying))
	for _, value := range []string{
		"no-store", "private", "private, max-age=60", "max-age=60, private", "PRIVATE", "max-age=60|private", "max-age=60|no-store",
		"no-store, max-age=60", "s-maxage=60, no-store", "max-age=0", "s-maxage=0", "s-maxage=0, max-age=60", "max-age=-1", "private,max-age=60,public",
		"private; max-age=60", "no-cache;no-store", "max-age=60; private", // malformed, but plain enough
	} {
		n := s.Calls("/x")
		for range 2 {
			s.Get(cc(value)).NotHit().Is(200, "a")
		}
		s.Handled("/x", n+2)
	}
}

// testResponseNoCache: such a response may be kept, but not used unasked.
func testResponseNoCache(c *run) {
	s := c.Site(one(c.Cache(), saying))
	for range 3 {
		s.Get(cc("no-cache")).NotHit().Is(200, "a")
		s.Get(cc("no-cache, max-age=60")).NotHit().Is(200, "a")
	}
	s.Handled("/x", 6)
}

func testRequestDirectives(c *run) {
	var n atomic.Int64
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		return x.Send(200, plain, []byte(strconv.FormatInt(n.Add(1), 10)))
	}))
	for i := range 2 {
		s.Get("/x", "Cache-Control: no-store").NotStored().Is(200, strconv.Itoa(i+1))
	}
	s.Get("/x").Miss().Stored().Is(200, "3")
	s.Get("/x").Hit().Is(200, "3")
	for i, field := range []string{"Cache-Control: no-cache", "Cache-Control: max-age=0", "Pragma: no-cache"} {
		want := strconv.Itoa(4 + i)
		s.Get("/x", field).NotHit().Stored().Is(200, want)
		s.Get("/x").Hit().Is(200, want) // the newer answer replaces the stored one
	}
	c.Clock.Advance(30 * time.Second)
	s.Get("/x", "Cache-Control: max-age=40").Hit()
	s.Get("/x", "Cache-Control: min-fresh=20").Hit()
	s.Get("/x", "Cache-Control: max-age=20").NotHit().Stored().Is(200, "7")
	c.Clock.Advance(30 * time.Second)
	s.Get("/x", "Cache-Control: min-fresh=40").NotHit().Is(200, "8")
}

func testOnlyIfCached(c *run) {
	s := c.Site(one(c.Cache(), text("a")))
	for range 2 {
		s.Get("/x", "Cache-Control: only-if-cached").Is(504, "")
	}
	s.Handled("/x", 0)
	s.Get("/x").Miss().Stored().Is(200, "a")
	s.Get("/x", "Cache-Control: only-if-cached").Hit().Is(200, "a")
	s.Handled("/x", 1)
}

func testIgnoreDirectives(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Requests.IgnoreDirectives = true }), text("a")))
	s.Get("/x", "Cache-Control: no-store").Miss().Stored()
	for _, field := range []string{"Cache-Control: no-cache", "Cache-Control: no-store", "Cache-Control: max-age=0", "Pragma: no-cache"} {
		s.Get("/x", field).Hit()
	}
	s.Handled("/x", 1)
}

func testSetCookie(c *run) {
	h := with("a", "Set-Cookie", "a=1; Path=/", "Set-Cookie", "b=2", "Cache-Control", "max-age=60")
	cache := c.Cache()
	s := c.Site(App{Routes: []Route{
		{Path: "/x", Handler: h, Cache: cache},
		{Path: "/y", Handler: h, Cache: c.With(cache, func(p *cacheaside.Policy) { p.Storing.SetCookie = true })},
	}})
	for i := range 2 {
		s.Get("/x").Miss().NotStored().Has("Set-Cookie", "a=1; Path=/", "b=2")
		s.Handled("/x", i+1)
	}
	s.Get("/y").Miss().Stored()
	s.Get("/y").Hit().Has("Set-Cookie", "a=1; Path=/", "b=2")
}

func testAuthorization(c *run) {
	cache := c.Cache()
	mine := func(x Ctx) error {
		if v := x.Query("cc"); v != "" {
			x.SetHeader("Cache-Control", v)
		}
		return x.Send(200, plain, []byte("for "+x.Header("Authorization")))
	}
	s := c.Site(App{Routes: []Route{
		{Path: "/x", Handler: mine, Cache: cache},
		{Path: "/y", Handler: mine, Cache: c.With(cache, func(p *cacheaside.Policy) {
			p.Storing.Authorized = true
			p.Key.Partition = func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("Authorization"), ",") }
		})},
	}})
	for _, who := range []string{"Basic a", "Basic b", "Basic a"} {
		for _, cc := range []string{"", "max-age=60"} {
			s.Get("/x?cc="+cc, "Authorization: "+who).Miss().NotStored().Is(200, "for "+who)
		}
	}
	s.Handled("/x", 6)
	for _, allowed := range []string{"public", "public,max-age=60", "s-maxage=60"} {
		s.Get("/x?cc="+allowed, "Authorization: Basic a").Miss().Stored().Is(200, "for Basic a")
		s.Get("/x?cc="+allowed, "Authorization: Basic b").Hit().Is(200, "for Basic a")
	}
	for i, who := range []string{"Basic a", "Basic b", "Basic a", "Basic b"} {
		r := s.Get("/y", "Authorization: "+who).Is(200, "for "+who)
		if i >= 2 {
			r.Hit()
		}
	}
}

func testUnsafe(c *run) {
	methods := []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	app := one(c.Cache(), text("got"))
	app.Routes[0].Methods = []string{"GET", "HEAD"}
	app.Routes = append(app.Routes, Route{Methods: methods, Path: "/do", Handler: func(x Ctx) error {
		b, err := x.Body()
		if err != nil {
			return err
		}
		x.SetHeader("Cache-Control", "public, max-age=60")
		return x.Send(200, plain, append([]byte(x.Method()+" "), b...))
	}})
	s := c.Site(app)
	big := strings.Repeat("b", 100_000)
	n := 0
	for range 2 {
		for _, m := range methods {
			for _, body := range []string{"", "one", big} {
				s.Do(m, "/do", body).Is(200, m+" "+body).Fwd("method").NotStored()
				n++
			}
		}
	}
	s.Handled("/do", n)
	s.Get("/x").Stored()
	r := s.Do("POST", "/x", "data") // no such route: the framework's own answer
	if r.Status < 400 || r.Body == "got" {
		c.Errorf("a POST was answered with %d %q", r.Status, r.Body)
	}
	s.Get("/x").Is(200, "got")
}

// testInvalidation: what a request has changed is not answered from the store
// any more, and what it has failed to change still is (RFC 9111 section 4.4).
func testInvalidation(c *run) {
	unsafe := []string{"POST", "PUT", "PATCH", "DELETE"}
	var gen atomic.Int64
	app := App{Global: c.Cache()}
	for _, path := range []string{"/a", "/b", "/v"} {
		app.Routes = append(app.Routes, Route{Path: path, Handler: func(x Ctx) error {
			if path == "/v" {
				x.SetHeader("Vary", "X-V")
			}
			return x.Send(200, plain, fmt.Appendf(nil, "%s%d", x.Header("X-V"), gen.Load()))
		}})
	}
	change := func(x Ctx) error {
		switch x.Header("X-How") {
		case "nothing":
			return nil
		case "refused":
			return x.NoContent(403)
		case "error":
			return x.Error(409, "no")
		case "location":
			x.SetHeader("Location", "/b")
			return x.Send(201, plain, nil)
		case "content-location":
			x.SetHeader("Content-Location", "http://"+defaultHost+"/b")
			return x.NoContent(204)
		case "elsewhere":
			x.SetHeader("Location", "http://other.test/b")
			return x.Send(201, plain, nil)
		}
		return x.NoContent(204)
	}
	app.Routes = append(app.Routes, Route{Methods: unsafe, Path: "/a", Handler: change}, Route{Methods: unsafe, Path: "/v", Handler: change})
	s := c.Site(app)
	fill := func() {
		for _, path := range []string{"/a", "/b"} {
			s.Get(path)
			s.Get(path).Hit()
		}
		for _, v := range []string{"x", "y"} {
			s.Get("/v", "X-V: "+v)
			s.Get("/v", "X-V: "+v).Hit()
		}
	}
	for _, m := range unsafe {
		fill()
		for _, how := range []string{"error", "refused"} {
			s.Do(m, "/a", "data", "X-How: "+how).Fwd("method")
			s.Get("/a").Hit()
		}
		var now string
		for _, how := range []string{"", "nothing"} {
			s.Do(m, "/a", "data", "X-How: "+how).Fwd("method")
			now = strconv.FormatInt(gen.Add(1), 10)
			s.Get("/a").NotHit().Is(200, now)
			s.Get("/a").Hit()
		}
		s.Get("/b").Hit()
		s.Do(m, "/v", "data")
		s.Get("/v", "X-V: x").NotHit().Is(200, "x"+now)
		s.Get("/v", "X-V: y").NotHit().Is(200, "y"+now)
	}
	for how, gone := range map[string]bool{"location": true, "content-location": true, "elsewhere": false} {
		fill()
		s.Do("POST", "/a", "data", "X-How: "+how)
		if r := s.Get("/b"); gone {
			r.NotHit()
		} else {
			r.Hit()
		}
		s.Get("/a").NotHit()
	}
}

// testStaleIfError: where the handler fails, an old answer is better than none.
func testStaleIfError(c *run) {
	var failing atomic.Bool
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Stale.IfError = time.Hour }), func(x Ctx) error {
		if failing.Load() {
			x.SetHeader("X-Failed", "1")
			return x.Error(503, "later")
		}
		return x.Send(200, plain, []byte("good"))
	})
	mw, value := counted("X-Request-Id")
	var status, size int
	app.Outer = []Middleware{mw, func(x Ctx, next func() error) error {
		err := next()
		status, size = x.Written()
		return err
	}}
	s := c.Site(app)
	first := s.Get("/x").Miss().Stored()
	c.Clock.Advance(70 * time.Second)
	failing.Store(true)
	for i := range 2 {
		s.Get("/x").Is(200, "good").Has("X-Failed").Has("X-Request-Id", value()).Has("Content-Type", first.Header.Get("Content-Type")).Has("Age", "70")
		s.Handled("/x", 2+i)
		if status != 200 || size != len("good") {
			c.Errorf("outer middleware sees %d with %d bytes", status, size)
		}
	}
	c.Clock.Advance(2 * time.Hour)
	if r := s.Get("/x"); r.Status != 503 {
		c.Errorf("%s: status %d after the time for stale answers", r.What, r.Status)
	}
	failing.Store(false)
	s.Get("/x").NotHit().Is(200, "good")
	s.Get("/x").Hit()
}

func testMethods(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Requests.Methods = []string{"GET"} }), text("a")))
	s.Get("/x").Stored()
	s.Get("/x").Hit()
	for range 2 {
		s.Head("/x").Fwd("bypass").Is(200, "")
	}
	s.Handled("/x", 3)
}

func testGetBody(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		b, err := x.Body()
		if err != nil {
			return err
		}
		return x.Send(200, plain, append([]byte("body "), b...))
	}))
	s.Get("/x").Stored().Is(200, "body ")
	for i, body := range []string{"1", "2", "1"} {
		s.Do("GET", "/x", body).Fwd("bypass").NotStored().Is(200, "body "+body)
		s.Handled("/x", i+2)
	}
	s.Get("/x").Hit().Is(200, "body ")
}

func testPreconditions(c *run) {
	s := c.Site(one(c.Cache(), with("a", "ETag", `"1"`)))
	s.Get("/x").Stored()
	for i, field := range []string{`If-Match: "2"`, "If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT"} {
		s.Get("/x", field).Fwd("bypass").Is(200, "a") // the handler knows nothing of them
		s.Handled("/x", i+2)
	}
	s.Get("/x").Hit()
}

func testSkip(c *run) {
	var calls atomic.Int64
	var early atomic.Bool
	early.Store(true)
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Skip = func(r *cacheaside.Request) bool {
			if calls.Load() != 0 {
				early.Store(false)
			}
			return len(r.Header.Values("X-Skip")) > 0 && r.Path == "/x"
		}
	}), func(x Ctx) error {
		calls.Add(1)
		return x.Send(200, plain, []byte("a"))
	}))
	s.Get("/x", "X-Skip: 1").Fwd("bypass").NotStored().Is(200, "a")
	if !early.Load() {
		c.Errorf("Skip was asked after the handler")
	}
	s.Get("/x", "X-Skip: 1").Fwd("bypass").NotStored()
	s.Get("/x").Miss().Stored()
	s.Get("/x").Hit()
	s.Get("/x", "X-Skip: 1").Fwd("bypass")
	s.Handled("/x", 4)
}

func testIfNoneMatch(c *run) {
	s := c.Site(one(c.Cache(), with("body", "ETag", `"v1"`, "X-A", "1", "Cache-Control", "max-age=60")))
	s.Get("/x").Stored()
	for _, tag := range []string{`"v1"`, `W/"v1"`, `"v0", "v1"`, `*`} {
		r := s.Get("/x", "If-None-Match: "+tag).Hit().Is(304, "").Has("Etag", `"v1"`).Has("Cache-Control", "max-age=60")
		if n := r.Header.Get("Content-Length"); n != "" && n != "4" {
			c.Errorf("a 304 with Content-Length %s", n)
		}
		s.Head("/x", "If-None-Match: "+tag).Hit().Is(304, "")
	}
	s.Get("/x", `If-None-Match: "v2"`).Hit().Is(200, "body")
	s.Get("/x", `If-None-Match: "v2"`, "If-Modified-Since: "+time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)).Hit().Is(200, "body")
	s.Get("/x").Hit().Is(200, "body")
	s.Handled("/x", 1)
}

func testIfModifiedSince(c *run) {
	s := c.Site(one(c.Cache(), with("body", "Last-Modified", "Mon, 01 Jan 2024 12:00:00 GMT")))
	s.Get("/x").Stored()
	s.Get("/x", "If-Modified-Since: Mon, 01 Jan 2024 12:00:00 GMT").Hit().Is(304, "")
	s.Get("/x", "If-Modified-Since: Tue, 02 Jan 2024 12:00:00 GMT").Hit().Is(304, "")
	s.Get("/x", "If-Modified-Since: Sun, 31 Dec 2023 12:00:00 GMT").Hit().Is(200, "body")
	s.Get("/x", "If-Modified-Since: yesterday").Hit().Is(200, "body")
	s.Handled("/x", 1)
}

// conditional is a handler that answers conditional requests itself.
func conditional(tag func() string, body func() string) Handler {
	return func(x Ctx) error {
		x.SetHeader("ETag", tag())
		x.SetHeader("Cache-Control", "max-age=60")
		x.SetHeader("X-Seen", x.Header("If-None-Match"))
		if x.Header("If-None-Match") == tag() {
			return x.NoContent(http.StatusNotModified)
		}
		return x.Send(200, plain, []byte(body()))
	}
}

// testOwn304: what the handler says to one client's condition is no answer for
// others.
func testOwn304(c *run) {
	s := c.Site(one(c.Cache(), conditional(func() string { return `"1"` }, func() string { return "body" })))
	r := s.Get("/x", `If-None-Match: "1"`)
	if r.Status != 304 && r.Status != 200 || r.Status == 304 && r.Body != "" {
		c.Errorf("%d %q", r.Status, r.Body)
	}
	s.Get("/x").Is(200, "body")
	s.Get("/x").Hit().Is(200, "body")
	s.Get("/x", `If-None-Match: "1"`).Hit().Is(304, "")
	s.Get("/x").Hit().Is(200, "body")
}

// testValidation: a stale entry is validated, and neither the condition nor
// the 304 is ever seen by a client that did not ask for it, nor by middleware
// in front.
func testValidation(c *run) {
	var version atomic.Int64
	tag := func() string { return fmt.Sprintf(`"%d"`, version.Load()) }
	answer := conditional(tag, func() string { return fmt.Sprintf("body %d", version.Load()) })
	app := one(c.Cache(), func(x Ctx) error {
		x.AddHeader("X-Multi", "h")
		x.SetHeader("X-Over", tag())
		return answer(x)
	})
	multi, o := counted("X-Multi")
	var status, size int
	app.Outer = []Middleware{multi, func(x Ctx, next func() error) error {
		x.SetHeader("X-Over", "outer")
		err := next()
		status, size = x.Written()
		return err
	}}
	s := c.Site(app)
	get := func(body, tag string) *response {
		c.Helper()
		r := s.Get("/x").Is(200, body).Has("Etag", tag).Has("X-Multi", o(), "h").Has("X-Over", tag).Has("Content-Type", plain)
		if status != 200 || size != len(body) {
			c.Errorf("outer middleware sees %d with %d bytes", status, size)
		}
		return r
	}
	get("body 0", `"0"`).Miss().Stored()
	for i := range 3 {
		c.Clock.Advance(70 * time.Second)
		get("body 0", `"0"`).NotHit()
		s.Handled("/x", 2+i)
		get("body 0", `"0"`).Hit()
	}
	c.Clock.Advance(70 * time.Second)
	s.Get("/x", `If-None-Match: "0"`).Is(304, "") // the client's own condition is answered all the same
	s.Get("/x", `If-None-Match: "7"`).Is(200, "body 0")
	s.Handled("/x", 5)
	version.Store(1)
	c.Clock.Advance(70 * time.Second)
	get("body 1", `"1"`).NotHit()
	get("body 1", `"1"`).Hit()
	s.Handled("/x", 6)
}

func testRange(c *run) {
	const body = "0123456789"
	s := c.Site(App{Global: c.Cache(), Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error { // answers ranges itself
			x.SetHeader("Cache-Control", "max-age=60")
			x.SetHeader("Accept-Ranges", "bytes")
			if x.Header("Range") == "" {
				return x.Send(200, plain, []byte(body))
			}
			x.SetHeader("Content-Range", "bytes 2-4/10")
			return x.Send(206, plain, []byte(body[2:5]))
		}},
		{Path: "/plain", Handler: with(body, "Accept-Ranges", "bytes")},
		{Path: "/silent", Handler: text(body)},
	}})
	check := func(r *response) {
		c.Helper()
		switch {
		case r.Status == 206 && r.Body == "234" && r.Header.Get("Content-Range") == "bytes 2-4/10":
		case r.Status == 200 && r.Body == body:
		default:
			c.Errorf("%s: %d %q %q", r.What, r.Status, r.Body, r.Header.Get("Content-Range"))
		}
	}
	for _, path := range []string{"/x", "/plain"} {
		check(s.Get(path, "Range: bytes=2-4"))
		s.Get(path).Is(200, body).Has("Content-Range")
		s.Get(path).Hit().Is(200, body)
		s.Get(path, "Range: bytes=2-4").Hit().Is(206, "234").Has("Content-Range", "bytes 2-4/10").Has("Content-Length", "3")
		s.Get(path, "Range: bytes=-3").Hit().Is(206, "789").Has("Content-Range", "bytes 7-9/10")
		s.Get(path, "Range: bytes=20-").Hit().Is(416, "").Has("Content-Range", "bytes */10")
		s.Get(path, "Range: lines=1-2").Hit().Is(200, body)
		s.Get(path, "Range: bytes=2-4", `If-Range: "other"`).Hit().Is(200, body)
		s.Head(path, "Range: bytes=2-4").Hit().Is(200, "").Has("Content-Length", "10")
		s.Get(path).Hit().Is(200, body).Has("Content-Range")
	}
	// Who says nothing of ranges sends no parts: middleware in front may encode them.
	s.Get("/silent", "Range: bytes=2-4").Is(200, body)
	s.Get("/silent").Is(200, body)
	s.Get("/silent", "Range: bytes=2-4").Hit().Is(200, body).Has("Content-Range")
}

// testRangePolicy: or the policy says it for them.
func testRangePolicy(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Requests.AcceptRanges = true }), text("0123456789")))
	s.Get("/x").Miss().Stored()
	s.Get("/x", "Range: bytes=2-4").Hit().Is(206, "234").Has("Content-Range", "bytes 2-4/10")
}

func testVary(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.SetHeader("Vary", "Accept")
		return x.Send(200, plain, []byte("<"+x.Header("Accept")+">"))
	}))
	kinds := []string{"", "text/html", "application/json", "text/html, */*;q=0.1", strings.Repeat("a", 3000)}
	for round := range 3 {
		for _, kind := range kinds {
			var fields []string
			if kind != "" {
				fields = []string{"Accept: " + kind}
			}
			r := s.Get("/x", fields...).Is(200, "<"+kind+">").Has("Vary", "Accept")
			if round == 0 {
				r.Miss().Stored()
			} else {
				r.Hit()
				s.Head("/x", fields...).Hit().Has("Content-Length", r.Header.Values("Content-Length")...)
			}
		}
	}
	s.Handled("/x", len(kinds))
}

func testVarySeveral(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.AddHeader("Vary", "Accept-Language, X-Device")
		x.AddHeader("Vary", "x-flag")
		return x.Send(200, plain, []byte(x.Header("Accept-Language")+"|"+x.Header("X-Device")+"|"+x.Header("X-Flag")))
	}))
	for round := range 2 {
		for _, lang := range []string{"en", "de"} {
			for _, device := range []string{"phone", "tv"} {
				for _, flag := range []string{"a", "b"} {
					r := s.Get("/x", "Accept-Language: "+lang, "X-Device: "+device, "X-Flag: "+flag).Is(200, lang+"|"+device+"|"+flag)
					if round > 0 {
						r.Hit()
					}
				}
			}
		}
	}
	s.Handled("/x", 8)
}

func testVaryStar(c *run) {
	s := c.Site(one(c.Cache(), saysVary))
	for _, vary := range []string{"*", "Accept, *"} {
		for range 2 {
			s.Get("/x", "X-Vary: "+vary).NotHit().NotStored()
		}
	}
	s.Handled("/x", 4)
}

func saysVary(x Ctx) error {
	x.SetHeader("Vary", x.Header("X-Vary"))
	return x.Send(200, plain, []byte("a"))
}

// testVaryLater: a resource that begins to differ by a field, or by another
// one, answers nobody with what was meant for somebody else.
func testVaryLater(c *run) {
	var vary atomic.Value
	vary.Store("")
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		v := vary.Load().(string)
		if v == "" {
			return x.Send(200, plain, []byte("same"))
		}
		x.SetHeader("Vary", v)
		return x.Send(200, plain, []byte(v+" "+x.Header(v)))
	}))
	get := func(a, b string) *response { return s.Get("/x", "X-A: "+a, "X-B: "+b) }
	get("1", "1").Stored().Is(200, "same")
	get("2", "2").Hit().Is(200, "same")
	for _, name := range []string{"X-A", "X-B"} {
		c.Clock.Advance(61 * time.Second)
		vary.Store(name)
		for range 3 {
			get("1", "2").Is(200, name+" "+map[string]string{"X-A": "1", "X-B": "2"}[name])
			get("2", "1").Is(200, name+" "+map[string]string{"X-A": "2", "X-B": "1"}[name])
			get("1", "1").Is(200, name+" 1")
			get("2", "2").Is(200, name+" 2")
		}
		get("1", "2").Hit()
		get("2", "1").Hit()
	}
	c.Clock.Advance(61 * time.Second)
	vary.Store("")
	get("3", "3").NotHit().Is(200, "same")
	get("3", "3").Hit().Is(200, "same")
}

func testMaxVariants(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxVariants = 4 }), func(x Ctx) error {
		x.SetHeader("Vary", "X-V")
		return x.Send(200, plain, []byte(x.Header("X-V")))
	}))
	for i := range 10 {
		v := strconv.Itoa(i)
		s.Get("/x", "X-V: "+v).Miss().Stored().Is(200, v)
		s.Get("/x", "X-V: "+v).Hit().Is(200, v)
	}
	s.Get("/x", "X-V: 0").NotHit().Is(200, "0")
}
