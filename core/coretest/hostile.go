package coretest

import (
	"maps"
	"net/http"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// What attackers of caches try: to have a response stored that others should not
// get (web cache poisoning), or one that was for somebody else (web cache
// deception).
var hostileCases = []testCase{
	{name: "pretended host and scheme", run: testPretended},
	{name: "IgnoreForwarded", run: testIgnoreForwarded},
	{name: "method and path overrides", run: testOverrides},
	{name: "reflected origin", run: testReflectedOrigin},
	{name: "private pages under public names", run: testDeception},
	{name: "cloaked parameters", run: testCloaked},
	{name: "hop-by-hop fields name keyed ones", run: testHopByHop},
	{name: "line breaks in a field", run: testSplitting},
	{name: "chunked GET", run: testChunkedGet},
	{name: "hostile entries in the store", run: testPoisonedStore},
	{name: "many ranges", run: testManyRanges},
	{name: "handler changes the request", run: testChangedRequest},
}

// reflecting answers with the fields that a framework may believe.
func reflecting(x Ctx) error {
	var b strings.Builder
	for _, name := range []string{
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Prefix",
		"X-Url-Scheme", "X-Scheme", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Path", "X-Forwarded-Uri", "X-Host",
		"X-Original-Host", "X-Http-Host-Override", "Front-End-Https", "Forwarded", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	} {
		b.WriteString(x.Header(name) + ";")
	}
	return x.Send(200, plain, []byte(b.String()))
}

func testPretended(c *run) {
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: reflecting},
		{Methods: []string{"PUT"}, Path: "/x", Handler: text("changed")},
	}})
	honest := s.Get("/x").Miss().Stored()
	for _, field := range []string{
		"X-Forwarded-Host: evil.test", "X-Forwarded-Host: ", "X-Forwarded-Proto: https", "X-Forwarded-Protocol: https", "X-Forwarded-Scheme: javascript",
		"X-Forwarded-Ssl: on", "X-Forwarded-Prefix: /evil", "X-Url-Scheme: https", "Forwarded: for=1.2.3.4;host=evil.test;proto=https",
		"X-Host: evil.test", "X-Original-Host: evil.test", "X-Http-Host-Override: evil.test", "Front-End-Https: on", "X-Scheme: https",
		"X-Forwarded-Port: 443", "X-Forwarded-Server: evil.test", "X-Forwarded-Path: /evil", "X-Forwarded-Uri: /evil",
	} {
		name, value, _ := strings.Cut(field, ": ")
		evil := s.Get("/x", field).Miss().Stored()
		if !strings.Contains(evil.Body, value) {
			c.Errorf("the handler does not see %s: %q", name, evil.Body)
		}
		s.Get("/x").Hit().Same(honest)
		s.Get("/x", field).Hit().Same(evil)
	}
	// Who says what the connection says as well may still be answered differently.
	for _, field := range []string{"X-Forwarded-Host: " + defaultHost, "X-Forwarded-Proto: http", "X-Forwarded-Proto: HTTP"} {
		s.Get("/x", field).Miss().Stored()
		s.Get("/x").Hit().Same(honest)
	}
	// Nor do parameters change places, or hide in quotes.
	for _, field := range []string{"host=a, proto=https", "host=a;proto=https", `host="a;x"`, `host="a;y"`} {
		s.Get("/x", "Forwarded: "+field).Miss().Stored()
	}
	s.Get("/x", "X-Forwarded-For: 1.2.3.4", "X-Real-Ip: 1.2.3.4", "Forwarded: for=1.2.3.4").Hit().Same(honest)
	// A write is one to all of them.
	s.Do("PUT", "/x", "new", "X-Forwarded-Proto: https").Is(200, "changed")
	s.Get("/x").Miss()
	s.Get("/x", "X-Forwarded-Host: evil.test").Miss()
	s.Do("PUT", "/x", "new").Is(200, "changed")
	s.Get("/x").Miss()
	s.Get("/x", "X-Forwarded-Host: evil.test").Miss()
}

func testIgnoreForwarded(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.IgnoreForwarded = true }), text("a")))
	s.Get("/x", "X-Forwarded-Host: a.test", "X-Forwarded-Proto: https").Miss().Stored()
	s.Get("/x", "X-Forwarded-Host: b.test").Hit()
	s.Get("/x").Hit()
}

func testOverrides(c *run) {
	s := c.Site(one(c.Cache(), reflecting))
	for range 2 {
		for _, field := range []string{
			"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: POST", "X-HTTP-Method: DELETE", "X-Method-Override: PUT",
		} {
			s.Get("/x", field).Fwd("bypass").Detail("override").NotStored()
		}
		s.Get("/x").Is(200, strings.Repeat(";", 22))
	}
	s.Get("/x").Hit()
}

// testReflectedOrigin: an answer to one origin is not given to another, even if
// the handler forgets Vary.
func testReflectedOrigin(c *run) {
	reflect := func(x Ctx) error {
		if origin := x.Header("Origin"); origin != "" {
			x.SetHeader("Access-Control-Allow-Origin", origin)
			x.SetHeader("Access-Control-Allow-Credentials", "true")
		}
		return x.Send(200, plain, []byte("a"))
	}
	s := c.Site(App{Global: c.Cache(), Routes: []Route{
		{Path: "/x", Handler: reflect},
		{Path: "/public", Handler: with("a", "Access-Control-Allow-Origin", "*")},
	}})
	s.Get("/x", "Origin: https://evil.test").Miss().Stored().Has("Access-Control-Allow-Origin", "https://evil.test")
	s.Get("/x", "Origin: https://good.test").NotHit().Has("Access-Control-Allow-Origin", "https://good.test")
	s.Get("/x").NotHit().Has("Access-Control-Allow-Origin")
	for _, origin := range []string{"https://evil.test", "https://good.test"} {
		s.Get("/x", "Origin: "+origin).Hit().Has("Access-Control-Allow-Origin", origin)
	}
	s.Get("/public", "Origin: https://a.test").Miss().Stored()
	s.Get("/public").Hit()
}

// testDeception: what is private stays private, whatever its path looks like.
func testDeception(c *run) {
	cache := c.Cache()
	page := func(x Ctx) error {
		user := x.Header("Cookie")
		switch x.Query("how") {
		case "cookie":
			x.SetHeader("Set-Cookie", "seen=1")
		case "private":
			x.SetHeader("Cache-Control", "private, max-age=60")
		case "no-store":
			x.SetHeader("Cache-Control", "no-store")
		case "vary":
			x.SetHeader("Vary", "Cookie")
		}
		return x.Send(200, plain, []byte("page of "+user+x.Header("Authorization")))
	}
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/account/*", Handler: page}}})
	for _, path := range []string{"x.css", "logo.png", "a%2fb.js", "a;x.css", "a%3b.css", "%2e%2e%2fstatic%2fx.css", "x.css%00", "robots.txt"} {
		for _, how := range []string{"cookie", "private", "no-store", "vary"} {
			target := "/account/" + path + "?how=" + how
			if s.Get(target, "Cookie: alice").Status != 200 {
				continue // the framework does not take such a path
			}
			s.Get(target, "Cookie: mallory").NotHit().Is(200, "page of mallory")
		}
		target := "/account/" + path
		if r := s.Get(target, "Authorization: Basic alice"); r.Status == 200 {
			r.NotStored()
			s.Get(target, "Authorization: Basic mallory").NotHit().Is(200, "page of Basic mallory")
		}
	}
}

// testCloaked: a parameter that is left out of the key cannot carry another one.
func testCloaked(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.Query = cacheaside.Except("utm_*") })
	s := c.Site(one(cache, func(x Ctx) error { return x.Send(200, plain, []byte(x.Query("a"))) }))
	s.Get("/x?utm_source=1;a=evil").Stored()
	s.Get("/x?utm_source=1%26a=evil").Stored()
	s.Get("/x?utm_source=1&a=evil").Stored()
	s.Get("/x?utm_source=1").Is(200, "")
	s.Get("/x?a=good&utm_source=1;a=evil").Stored()
	s.Get("/x?a=good").Is(200, "good")
	s.Get("/x?a=good&a=evil").Stored()
	s.Get("/x?a=good").Is(200, "good")
}

// testHopByHop: a client cannot have fields ignored by calling them the
// connection's own (RFC 9110 section 7.6.1).
func testHopByHop(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.Headers = []string{"X-Tenant"} })
	s := c.Site(one(cache, func(x Ctx) error {
		return x.Send(200, plain, []byte(x.Header("X-Tenant")+x.Header("Authorization")))
	}))
	const named = "Connection: keep-alive, X-Tenant, Authorization, Cookie, Cache-Control"
	s.Get("/x", "X-Tenant: a", named).Miss().Stored().Is(200, "a")
	s.Get("/x", "X-Tenant: b").Miss().Stored().Is(200, "b")
	s.Get("/x", named).Miss().Is(200, "")
	s.Get("/y", "Authorization: Basic alice", named).NotStored()
	s.Get("/x", "X-Tenant: c", "Authorization: Basic alice", named).NotStored()
	s.Get("/x", "X-Tenant: c").NotHit().Is(200, "c")
}

// testSplitting: what a handler takes from a client ends no header, on a miss or
// on a hit.
func testSplitting(c *run) {
	app := one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-Reflected", "a\r\nSet-Cookie: evil=1\r\n\r\n<script>")
		x.SetHeader("Etag", "\"a\nX-Evil: 1\"")
		return x.Send(200, plain, []byte("a"))
	})
	bare, s := c.Plain(app), c.Site(app)
	want := bare.Get("/x")
	for range 3 {
		r := s.Get("/x").Same(want)
		if r.Header["Set-Cookie"] != nil || r.Header["X-Evil"] != nil {
			c.Errorf("a line break went through: %v", r.Header)
		}
	}
}

// testChunkedGet: a body that the key does not know keeps the response out.
func testChunkedGet(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		b, _ := x.Body()
		return x.Send(200, plain, append([]byte("body: "), b...))
	}))
	for _, request := range []string{
		"GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil",
	} {
		if r := s.Raw(request); r != nil && r.Status == 200 {
			r.NotHit().NotStored()
		}
	}
	s.Get("/x").Miss().Stored().Is(200, "body: ")
}

// testPoisonedStore: who can write to the store cannot make more of an entry than
// a response.
func testPoisonedStore(c *run) {
	cache, rec := c.recording()
	s := c.Site(one(cache, with("good", "Content-Length", "4")))
	for name, change := range map[string]func(*entry.Content){
		"line break":         func(e *entry.Content) { e.Header[0].Value = "text/html\r\nSet-Cookie: evil=1" },
		"line break in name": func(e *entry.Content) { e.Header[0].Name = "X-A: 1\r\nX-Evil" },
		"transfer coding": func(e *entry.Content) {
			e.Header = append(e.Header, entry.Field{Name: "Transfer-Encoding", Value: "chunked"})
		},
		"content length": func(e *entry.Content) { e.Body = append(e.Body, "HTTP/1.1 200 OK\r\n\r\n"...) },
		"interim status": func(e *entry.Content) { e.Status = 101 },
		"no status":      func(e *entry.Content) { e.Status = 0 },
		"another key":    func(e *entry.Content) { e.Key += "x" },
	} {
		poison(s, rec, change)
		before, calls := s.cache.Stats().Corrupt, s.Calls("/x")
		r := s.Get("/x").Is(200, "good")
		if s.Calls("/x") == calls || s.cache.Stats().Corrupt == before {
			c.Errorf("%s: it was served, or not counted: %v", name, r.Header)
		}
	}
	// A cookie is not shared, wherever it comes from.
	poison(s, rec, func(e *entry.Content) {
		e.Header = append(e.Header, entry.Field{Name: "Set-Cookie", Value: "session=evil"})
	})
	if r := s.Get("/x").Hit(); r.Header["Set-Cookie"] != nil {
		c.Errorf("a cookie from the store: %v", r.Header)
	}
}

// poison stores a response at /x and changes it in the store.
func poison(s *site, rec *recorder, change func(*entry.Content)) {
	c := s.c
	c.Helper()
	s.Get("/x")
	for key, value := range maps.All(rec.kept()) {
		var e entry.Entry
		if err := entry.Decode(value, &e); err != nil {
			c.Fatal(err)
		}
		content := entry.Content{Meta: e.Meta, Key: e.Key, Body: append([]byte(nil), e.Body...)}
		for f := range e.Header {
			content.Header = append(content.Header, f)
		}
		change(&content)
		b, err := entry.Encode(content)
		if err != nil {
			c.Fatal(err)
		}
		if err := rec.Store.Set(c.context(), key, b, time.Minute); err != nil {
			c.Fatal(err)
		}
	}
}

// testManyRanges: they cost no more than the whole.
func testManyRanges(c *run) {
	s := c.Site(one(c.Cache(), text(strings.Repeat("0123456789", 100))))
	want := s.Get("/x").Stored()
	for _, ranges := range []string{
		"bytes=" + strings.TrimSuffix(strings.Repeat("0-,", 1000), ","), "bytes=" + strings.TrimSuffix(strings.Repeat("1-1,", 1000), ","),
		"bytes=0-18446744073709551616", "bytes=18446744073709551615-", "bytes=-18446744073709551616", "bytes=--1", "bytes=9223372036854775807-9223372036854775807",
	} {
		r := s.Get("/x", "Range: "+ranges)
		if len(r.Body) > len(want.Body) || r.Status != http.StatusOK && r.Status != http.StatusPartialContent && r.Status != http.StatusRequestedRangeNotSatisfiable {
			c.Errorf("%.40s: status %d with %d bytes", ranges, r.Status, len(r.Body))
		}
	}
	s.Handled("/x", 1)
}

// testChangedRequest: what counts is the request as it came, not what a proxy or a
// middleware behind the cache has made of it since.
func testChangedRequest(c *run) {
	app := App{Global: c.Cache(), Routes: []Route{{Path: "/auth", Handler: func(x Ctx) error {
		user := x.Header("Authorization")
		x.SetRequestHeader("Authorization", "")
		return x.Send(200, plain, []byte("page of "+user))
	}}, {Path: "/cookie", Handler: func(x Ctx) error {
		user := x.Header("Cookie")
		x.SetRequestHeader("Cookie", "")
		x.SetHeader("Vary", "Cookie")
		return x.Send(200, plain, []byte("page of "+user))
	}}, {Path: "/language", Handler: func(x Ctx) error {
		language := x.Header("X-Language")
		x.SetRequestHeader("X-Language", "en")
		x.SetHeader("Vary", "X-Language")
		return x.Send(200, plain, []byte("in "+language))
	}}, {Path: "/no-store", Handler: func(x Ctx) error {
		x.SetRequestHeader("Cache-Control", "")
		return x.Send(200, plain, []byte("mine"))
	}}, {Path: "/validator", Handler: func(x Ctx) error {
		x.SetRequestHeader("If-None-Match", "")
		x.SetHeader("Etag", `"1"`)
		return x.Send(200, plain, []byte("whole"))
	}}}}
	s := c.Site(app)
	s.Get("/auth", "Authorization: alice").Miss().NotStored().Is(200, "page of alice")
	s.Get("/auth").Miss().Is(200, "page of ")
	s.Get("/cookie", "Cookie: id=alice").Is(200, "page of id=alice")
	s.Get("/cookie").NotHit().Is(200, "page of ")
	s.Get("/cookie", "Cookie: id=alice").Hit().Is(200, "page of id=alice")
	for round := range 2 {
		for _, language := range []string{"de", "en"} {
			r := s.Get("/language", "X-Language: "+language).Is(200, "in "+language)
			if round > 0 {
				r.Hit()
			}
		}
	}
	s.Get("/no-store", "Cache-Control: no-store").NotStored().Is(200, "mine")
	s.Get("/validator", `If-None-Match: "1"`).Miss().Stored().Is(304, "")
	s.Get("/validator").Hit().Is(200, "whole")
}
