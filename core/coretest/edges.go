package coretest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// What is right for most requests and wrong for one; and what middleware in front
// of the cache makes of a response.
var edgeCases = []testCase{
	{name: "nothing written", run: testNothingWritten},
	{name: "errors in front", run: testErrorsInFront},
	{name: "errors that are stored", run: testErrorsStored},
	{name: "cookie set in front", run: testCookieSetInFront},
	{name: "cookie set in front of two handles", run: testCookieInFrontOfTwo},
	{name: "cookie named by no-cache", run: testCookieNamed},
	{name: "fields of a 304 for its client", run: testOwnFieldsOf304},
	{name: "fields of the representation", run: testRepresentationFields},
	{name: "requests with cookies", run: testRequestCookies},
	{name: "requests with selected cookies", run: testSelectedCookies},
	{name: "anonymous for authorized", run: testAnonymousForAuthorized},
	{name: "Vary in front", run: testVaryInFront},
	{name: "CORS behind", run: testCORSBehind},
	{name: "policy nearest to the handler", run: testNearestPolicy},
	{name: "one Cache-Status, one count", run: testOneCount},
	{name: "Skip of unsafe methods", run: testSkipUnsafe},
	{name: "TTL counts from the response", run: testTTLFromResponse},
	{name: "entry of the future", run: testFuture},
}

// testNothingWritten: what a handler that returns without a word leaves to
// middleware in front is no response of the cache's.
func testNothingWritten(c *run) {
	for i, fields := range [][2]string{
		{}, {"X-Request-Id", "1"}, {"Cache-Control", "max-age=60"}, // of the handler
		{"Content-Type", plain}, {"Cache-Control", "public, max-age=60"}, // of middleware in front
	} {
		set := func(x Ctx, here bool) {
			if here && fields[0] != "" {
				x.SetHeader(fields[0], fields[1])
			}
		}
		app := one(c.Cache(), func(x Ctx) error {
			set(x, i < 3)
			return nil
		})
		app.Outer = []Middleware{func(x Ctx, next func() error) error {
			set(x, i >= 3)
			err := next()
			if _, size := x.Written(); err != nil || size > 0 {
				return err
			}
			return x.Send(http.StatusGatewayTimeout, plain, []byte("rendered"))
		}}
		bare, s := c.Plain(app), c.Site(app)
		for range 3 {
			s.Get("/x").Same(bare.Get("/x")).NotStored().Is(http.StatusGatewayTimeout, "rendered")
		}
		s.Handled("/x", 3)
	}
}

// testErrorsInFront: middleware in front maps a handler's error to a response of
// its own, as it does without the cache.
func testErrorsInFront(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute} }),
		func(x Ctx) error { return x.Error(http.StatusServiceUnavailable, "no such row") })
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		if next() != nil {
			return x.Send(http.StatusTeapot, plain, []byte("mapped"))
		}
		return nil
	}}
	bare, s := c.Plain(app), c.Site(app)
	for range 2 {
		want := bare.Get("/x")
		s.Get("/x").Same(want).NotStored()
		if status := want.Header.Get("Cache-Status"); status != "" {
			c.Errorf("without a cache: Cache-Status %q", status)
		}
	}
	s.Handled("/x", 2)
}

// testErrorsStored: an error is stored as the response that the framework makes of
// it, where the policy wants that, and replaced by a stale response.
func testErrorsStored(c *run) {
	fails := false
	s := c.Site(App{Global: c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute}
		cfg.Policy.Stale.IfError = time.Hour
	}), Routes: []Route{
		{Path: "/404", Handler: func(x Ctx) error { return x.Error(http.StatusNotFound, "none") }},
		{Path: "/x", Handler: func(x Ctx) error {
			if fails {
				return x.Error(http.StatusServiceUnavailable, "later")
			}
			return x.Send(200, plain, []byte("good"))
		}},
	}})
	first := s.Get("/404").Stored()
	s.Get("/404").Hit().Same(first)
	s.Get("/x").Stored()
	fails = true
	c.Clock.Advance(2 * time.Minute)
	s.Get("/x").Is(200, "good").Detail("stale-if-error")
}

// testCookieSetInFront: what a session in front adds when the handler has returned
// makes the response one client's, where it still reaches the client.
func testCookieSetInFront(c *run) {
	app := one(c.Cache(), text("form with a token"))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		err := next()
		x.AddHeader("Set-Cookie", "session=1")
		return err
	}}
	s := c.Site(app)
	calls := 0
	for range 3 {
		if calls++; len(s.Get("/x").Header.Values("Set-Cookie")) == 0 {
			return // it was too late
		}
		s.Handled("/x", calls)
	}
}

// testCookieInFrontOfTwo: what the handle further in gives to the other one has not
// reached the client yet, who may get a cookie with it.
func testCookieInFrontOfTwo(c *run) {
	cache := c.Cache()
	for name, inner := range map[string]*cacheaside.Cache{
		"the same": cache, "its own policy": c.With(cache, func(p *cacheaside.Policy) { p.TTL = 30 * time.Second }), "another cache": c.Cache(),
	} {
		app := App{Global: cache, Routes: []Route{{Path: "/x", Cache: inner, Handler: text("form of " + name)}}}
		app.Outer = []Middleware{func(x Ctx, next func() error) error {
			x.Late("Set-Cookie", "session=1")
			return next()
		}}
		s := c.Site(app)
		s.caches = 2
		for range 3 {
			r, err := s.Try(c.context(), http.MethodGet, "/x", "")
			if err != nil {
				c.Fatal(err)
			}
			r.Is(200, "form of "+name).Has("Set-Cookie", "session=1")
		}
		s.Handled("/x", 3)
	}
}

func testCookieNamed(c *run) {
	for i, control := range []string{`no-cache="Set-Cookie"`, `max-age=60, no-cache="set-cookie"`, `private="Set-Cookie"`} {
		s := c.Site(one(c.Cache(), with("form", "Set-Cookie", "session=1", "Cache-Control", control, "ETag", fmt.Sprintf(`"%d"`, i))))
		for range 2 {
			s.Get("/x?"+fmt.Sprint(i)).NotHit().NotStored().Has("Set-Cookie", "session=1")
		}
		s.Handled("/x", 2)
	}
}

// testOwnFieldsOf304: what the handler says to this client, though it has nothing
// new, goes to this client, and to nobody else.
func testOwnFieldsOf304(c *run) {
	n := 0
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		n++
		x.SetHeader("ETag", `"a"`)
		x.SetHeader("Cache-Control", `max-age=10, private="X-Own"`)
		x.SetHeader("X-Own", fmt.Sprint(n))
		if x.Header("If-None-Match") == "" {
			return x.Send(200, plain, []byte("a"))
		}
		x.SetHeader("Set-Cookie", fmt.Sprintf("session=%d", n))
		return x.NoContent(http.StatusNotModified)
	}))
	s.Get("/x").Stored().Has("X-Own", "1")
	s.Get("/x").Hit().Has("X-Own")
	c.Clock.Advance(11 * time.Second)
	s.Get("/x").Is(200, "a").Has("Set-Cookie", "session=2").Has("X-Own", "2")
	s.Get("/x").Is(200, "a").Has("Set-Cookie", "session=3").Has("X-Own", "3") // a cookie keeps it from being stored
}

// testRepresentationFields: a handler that by chance says of its response what
// somebody in front had said as well has said it.
func testRepresentationFields(c *run) {
	app := one(c.Cache(), with("hello", "Content-Language", "en"))
	app.Routes[0].Handler = func(x Ctx) error {
		x.SetHeader("Content-Language", "en")
		return x.Send(200, plain, []byte("hello"))
	}
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SetHeader("Content-Language", x.Header("Accept-Language"))
		return next()
	}}
	s := c.Site(app)
	s.Get("/x", "Accept-Language: en").Stored()
	s.Get("/x", "Accept-Language: de").Hit().Has("Content-Language", "en")
}

// greeting answers with the cookies and credentials that it sees.
func greeting(fields ...string) Handler {
	return func(x Ctx) error {
		for i := 0; i < len(fields); i += 2 {
			x.SetHeader(fields[i], fields[i+1])
		}
		return x.Send(200, plain, []byte("hello "+x.Header("Cookie")+x.Header("Authorization")))
	}
}

// testRequestCookies: what only the policy lets be shared is not shared where there are
// cookies, which any handler may read.
func testRequestCookies(c *run) {
	s := c.Site(App{Global: c.Cache(), Routes: []Route{
		{Path: "/silent", Handler: greeting()},
		{Path: "/public", Handler: greeting("Cache-Control", "public")},
		{Path: "/max-age", Handler: greeting("Cache-Control", "max-age=60")},
		{Path: "/vary", Handler: greeting("Vary", "Cookie")},
	}})
	for range 2 { // nothing is stored, then something is
		s.Get("/silent", "Cookie: user=alice").Is(200, "hello user=alice").NotStored().Detail("cookie")
		s.Get("/silent", "Cookie: user=bob").Is(200, "hello user=bob").NotStored().Detail("cookie")
		s.Get("/silent").Is(200, "hello ")
		s.Get("/silent").Hit().Is(200, "hello ")
	}
	s.Head("/silent", "Cookie: user=alice").NotHit()
	for _, path := range []string{"/public", "/max-age"} {
		s.Get(path, "Cookie: user=alice").Stored()
		s.Get(path, "Cookie: user=bob").Hit()
		s.Get(path).Hit()
	}
	for _, user := range []string{"alice", "bob"} {
		s.Get("/vary", "Cookie: user="+user).Is(200, "hello user="+user).Stored()
		s.Get("/vary", "Cookie: user="+user).Is(200, "hello user="+user).Hit()
	}
	s.Get("/vary").Is(200, "hello ").Stored()
}

func testSelectedCookies(c *run) {
	for name, tc := range map[string]struct {
		cookies cacheaside.Selection
		keyed   []string
		shared  string // by requests without cookies
		apart   string
	}{
		"analytics": {cookies: cacheaside.Except(cacheaside.AnalyticsCookies()...), shared: "_ga=GA1.2.3; _ga_X1=2; _gid=3", apart: "_ga=GA1.2.3; user=alice"},
		"some":      {cookies: cacheaside.Only("user", "sess_*"), shared: "other=1", apart: "sess_1=a"},
		"none":      {cookies: cacheaside.None(), shared: "user=alice; b"},
		"keyed":     {cookies: cacheaside.Only("lang", "user"), keyed: []string{"lang"}, shared: "theme=dark", apart: "lang=de; user=alice"},
	} {
		s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
			cfg.Policy.Requests.Cookies, cfg.Policy.Key.Cookies = tc.cookies, tc.keyed
		}), text("page of "+name)))
		target := "/x?" + name
		s.Get(target).Stored()
		s.Get(target, "Cookie: "+tc.shared).Hit()
		if name == "some" { // in whatever spelling a reader could take for one of them
			for _, odd := range []string{"user", "user =alice", "=user=alice", "other=1;user=alice", "\tuser\t=alice"} {
				r := s.Raw("GET " + target + " HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\nCookie: " + odd + "\r\n\r\n")
				if r == nil {
					c.Fatalf("no answer to %q", odd)
				}
				r.NotHit().NotStored().Detail("cookie")
			}
		}
		if tc.apart != "" {
			s.Get(target, "Cookie: "+tc.apart).NotHit().NotStored().Detail("cookie")
		}
		if tc.keyed != nil {
			s.Get(target, "Cookie: lang=de").Stored()
			s.Get(target, "Cookie: theme=dark; lang=de").Hit()
		}
	}
}

func testAnonymousForAuthorized(c *run) {
	s := c.Site(App{Global: c.Cache(), Routes: []Route{
		{Path: "/silent", Handler: greeting()},
		{Path: "/public", Handler: greeting("Cache-Control", "public")},
	}})
	s.Get("/silent").Stored()
	s.Get("/silent", "Authorization: Bearer alice").Is(200, "hello Bearer alice").NotStored().Detail("authorization")
	s.Get("/silent").Hit().Is(200, "hello ")
	s.Get("/public").Stored()
	s.Get("/public", "Authorization: Bearer alice").Hit()
}

// testVaryInFront: CORS and compression in front answer by themselves, request by
// request; a language that somebody in front has chosen may have reached the
// handler.
func testVaryInFront(c *run) {
	app := one(c.Cache(), text("page"))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.AddHeader("Vary", "Origin")
		if origin := x.Header("Origin"); origin != "" {
			x.SetHeader("Access-Control-Allow-Origin", origin)
		}
		x.AddHeader("Vary", "Accept-Encoding")
		return next()
	}}
	app.Routes = append(app.Routes, Route{Path: "/lang", Handler: func(x Ctx) error { return x.Send(200, plain, []byte(x.Header("Accept-Language"))) }})
	s := c.Site(app)
	for i, origin := range []string{"https://a.test", "https://b.test", "https://c.test", "https://d.test"} {
		r := s.Get("/x", "Origin: "+origin, "Accept-Encoding: "+strings.Repeat("x", i+1)).Is(200, "page").Has("Access-Control-Allow-Origin", origin)
		if i > 0 {
			r.Hit()
		}
	}
	s.Get("/x").Hit().Has("Access-Control-Allow-Origin")
	s.Handled("/x", 1)
	app.Global = c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Partition = func(*cacheaside.Request) string { return "lang" }
	})
	app.Outer = []Middleware{func(x Ctx, next func() error) error { x.AddHeader("Vary", "Accept-Language"); return next() }}
	s = c.Site(app)
	for _, lang := range []string{"de", "fr", "de"} {
		s.Get("/lang", "Accept-Language: "+lang).Is(200, lang)
	}
	s.Handled("/lang", 2)
}

// testCORSBehind says nothing to who names no origin, and must not keep those out
// who do.
func testCORSBehind(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if origin := x.Header("Origin"); strings.HasSuffix(origin, ".good") {
			x.SetHeader("Access-Control-Allow-Origin", origin)
		}
		return x.Send(200, plain, []byte("page"))
	}))
	s.Get("/x").Stored()
	s.Get("/x").Hit()
	for range 2 {
		for _, origin := range []string{"https://a.good", "https://evil.bad", "https://b.good"} {
			var allowed []string
			if strings.HasSuffix(origin, ".good") {
				allowed = []string{origin}
			}
			s.Get("/x", "Origin: "+origin).Is(200, "page").Has("Access-Control-Allow-Origin", allowed...)
		}
		s.Get("/x").Is(200, "page").Has("Access-Control-Allow-Origin")
	}
	s.Handled("/x", 5) // once more without an origin, since when it is known to matter
}

// testNearestPolicy: of two handles the one nearest to the handler decides, of hits
// as well.
func testNearestPolicy(c *run) {
	cache := c.Cache()
	inner := c.With(cache, func(p *cacheaside.Policy) {
		p.TTL = 5 * time.Second
		p.Skip = func(r *cacheaside.Request) bool { return len(r.Header.Values("X-Preview")) > 0 }
		p.Storing.SetCookie = true
	})
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/x", Cache: inner, Handler: func(x Ctx) error {
		x.SetHeader("Set-Cookie", "consent=asked")
		return x.Send(200, plain, []byte("page"+x.Header("X-Preview")))
	}}}})
	for range 3 {
		s.Get("/x", "X-Preview: draft").NotHit().Is(200, "pagedraft")
		s.Get("/x").Is(200, "page").Has("Set-Cookie", "consent=asked")
		s.Get("/x").Hit().Is(200, "page").Has("Set-Cookie", "consent=asked")
	}
	s.Handled("/x", 4)
	c.Clock.Advance(6 * time.Second)
	s.Get("/x").Is(200, "page")
	s.Handled("/x", 5)
}

// testOneCount: a response that passes two handles is told of once.
func testOneCount(c *run) {
	cache := c.Cache()
	inner := c.With(cache, func(p *cacheaside.Policy) { p.TTL = 30 * time.Second })
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Cache: inner, Handler: text("x")},
		{Methods: []string{"POST"}, Path: "/x", Cache: inner, Handler: text("posted")},
	}})
	status := func(r *response, want string) {
		c.Helper()
		if got := r.Header.Values("Cache-Status"); len(got) != 1 || !strings.Contains(got[0], want) {
			c.Errorf("%s: Cache-Status %q, want one with %q", r.What, got, want)
		}
	}
	status(s.Get("/x"), "fwd=miss; ttl=30; stored")
	s.Get("/x").Hit()
	status(s.Get("/x"), "hit; ttl=30")
	status(s.Do("POST", "/x", ""), "fwd=method")
	_ = cache.Flush(context.Background())
	got := cache.Stats()
	if got.Misses != 1 || got.Hits != 2 || got.Bypasses != 1 || got.Stores != 1 || got.Invalidated != 1 {
		c.Errorf("%+v", got)
	}
}

func testSkipUnsafe(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Skip = func(r *cacheaside.Request) bool { return r.Method == "POST" }
	})
	s := c.Site(App{Global: cache, Routes: []Route{{Methods: []string{"GET", "POST"}, Path: "/x", Handler: text("x")}}})
	s.Get("/x").Stored()
	s.Do("POST", "/x", "").Fwd("bypass").Detail("skip")
	s.Get("/x").Hit()
	if n := cache.Stats().Invalidated; n > 0 {
		c.Errorf("%d invalidated by a request that was to be skipped", n)
	}
}

// testTTLFromResponse: the policy's lifetime begins with the response, whatever it
// says of its age; its own lifetime goes by RFC 9111 section 4.2.3.
func testTTLFromResponse(c *run) {
	s := c.Site(App{Global: c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.TTL = 30 * time.Second }), Routes: []Route{
		{Path: "/silent", Handler: with("a", "Age", "60")},
		{Path: "/old", Handler: with("a", "Age", "9999999999")},
		{Path: "/explicit", Handler: with("b", "Age", "60", "Cache-Control", "max-age=70")},
	}})
	s.Get("/silent").Stored().TTL(30)
	s.Get("/old").Stored().TTL(30)
	s.Get("/explicit").Stored().TTL(10)
	c.Clock.Advance(29 * time.Second)
	s.Get("/silent").Hit().TTL(1).Has("Age", "89")
	s.Get("/old").Hit().TTL(1)
	s.Get("/explicit").NotHit()
	c.Clock.Advance(2 * time.Second)
	s.Get("/silent").NotHit()
	s.Get("/old").NotHit()
}

// testFuture: nobody knows how old an entry is whose writer's clock is ahead.
func testFuture(c *run) {
	store := c.Store()
	handler := greeting("Cache-Control", "max-age=2, stale-if-error=600")
	writer := func(ahead time.Duration) *site {
		return c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
			cfg.Store, cfg.Now = store, func() time.Time { return c.Clock.Now().Add(ahead) }
		}), handler))
	}
	writer(5 * time.Minute).Get("/x?far").Stored()
	writer(time.Second).Get("/x?near").Stored()
	s := writer(0)
	s.Get("/x?near").Hit()
	s.Get("/x?far").NotHit().Fwd("stale")
}
