package coretest

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Which requests share an entry.
var keyCases = []testCase{
	{name: "query", run: testQuery},
	{name: "query selection", run: testQuerySelection},
	{name: "KeyHeaders and KeyCookies", run: testKeyFields},
	{name: "odd blanks", run: testBlanks},
	{name: "odd cookies", run: testCookies},
	{name: "lines of a field", run: testLines},
	{name: "names in another case", run: testNames},
	{name: "Host selects", run: testHostSelects},
	{name: "KeyGenerator", run: testKeyGenerator},
	{name: "Partition", run: testPartition},
	{name: "host", run: testHost},
	{name: "scheme", run: testScheme},
	{name: "oversized key", run: testOversized},
	{name: "long key", run: testLongKey},
	{name: "hostile paths", run: testHostile},
	{name: "two instances", run: testInstances},
	{name: "namespaces", run: testNamespaces},
}

// params is a handler that answers with what it reads of the query.
func params(x Ctx) error {
	return x.Send(200, plain, fmt.Appendf(nil, "a=%q b=%q c=%q", x.Query("a"), x.Query("b"), x.Query("c")))
}

func testQuery(c *run) {
	s := c.Site(one(c.Cache(), params))
	s.Get("/x?a=1&b=2&c=3").Miss().Stored().Is(200, `a="1" b="2" c="3"`)
	for _, q := range []string{"a=1&c=3&b=2", "b=2&a=1&c=3", "c=3&b=2&a=1"} {
		s.Get("/x?"+q).Hit().Is(200, `a="1" b="2" c="3"`)
	}
	s.Get("/x?a=1&%61=2&%61=3").Miss().Stored().Is(200, `a="1" b="" c=""`)
	s.Get("/x?%61=2&%61=3&a=1").Miss().Stored().Is(200, `a="2" b="" c=""`)
	s.Get("/x?b=1&a=1&%61=2&%61=3").Miss().Stored()
	s.Get("/x?a=1&b=1&%61=2&%61=3").Hit()
	for _, q := range []string{
		"", "?a=1", "?a=2&b=1", "?a=1&b=2", "?a=1%26b=2", "?a=1&a=2", "?a=2&a=1", "?b=1&a=1&a=2", "?b=1&a=2&a=1", "?A=1", "?a=1%2526b%3D2", "?b=1", "?a=&b=1", "?ab=1", "?a=%C3%A4", "?a=ae",
	} {
		s.Get("/x" + q).Miss().Stored()
		s.Get("/x" + q).Hit()
	}
}

func testQuerySelection(c *run) {
	cache := c.Cache()
	route := func(path string, sel cacheaside.Selection) Route {
		return Route{Path: path, Handler: params, Cache: c.With(cache, func(p *cacheaside.Policy) { p.Key.Query = sel })}
	}
	s := c.Site(App{Routes: []Route{
		route("/only", cacheaside.Only("a")), route("/except", cacheaside.Except("b", "utm_*")),
		route("/none", cacheaside.None()), route("/tracking", cacheaside.Except(cacheaside.TrackingParameters()...)),
	}})
	for _, pair := range []struct {
		first, second string
		same          bool
	}{
		{"/only?a=1&b=1", "/only?b=2&a=1", true},
		{"/only?a=4", "/only?a=5", false},
		{"/only?a=3", "/only?%61=3&b=1", false}, // spelled differently: never wrong to ask again
		{"/except?a=1&b=1", "/except?a=1&b=2&utm_source=x", true},
		{"/except?a=2&c=1", "/except?a=2&c=2", false},
		{"/none?a=1", "/none?b=2", true},
		{"/tracking?a=1", "/tracking?a=1&utm_source=x&fbclid=y&gclid=z", true},
		{"/tracking?a=2", "/tracking?a=3&utm_source=x", false},
	} {
		first := s.Get(pair.first).Stored()
		if second := s.Get(pair.second); pair.same {
			second.Hit().Same(first)
		} else {
			second.NotHit()
		}
	}
}

func testKeyFields(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Headers = []string{"x-tenant", "X-Beta"}
		cfg.Policy.Key.Cookies = []string{"lang"}
		cfg.Policy.Requests.Cookies = cacheaside.Only("lang")
	}), func(x Ctx) error {
		return x.Send(200, plain, []byte(x.Header("X-Tenant")+"|"+x.Header("X-Beta")+"|"+x.Header("Cookie")))
	}))
	for _, fields := range [][]string{
		nil, {"X-Tenant: a"}, {"X-Tenant: b"}, {"X-Beta: a"}, {"X-Tenant: a", "X-Beta: a"}, {"X-Tenant: "},
		{"Cookie: lang=de"}, {"Cookie: lang=en"}, {"X-Tenant: a", "Cookie: lang=de"}, {"X-Tenant: a|h:X-Beta=a"},
	} {
		first := s.Get("/x", fields...).Miss().Stored()
		s.Get("/x", fields...).Hit().Same(first)
		s.Get("/x", append([]string{"X-Other: 1"}, fields...)...).Hit().Same(first)
	}
	s.Get("/x", "Cookie: session=1; lang=de").Hit().Is(200, "||lang=de")
	s.Get("/x", "Cookie: langs=de").Hit().Is(200, "||") // another cookie: like none
}

// told answers with the values of fields, and may be stored whoever asks.
func told(names ...string) Handler {
	return func(x Ctx) error {
		x.SetHeader("Cache-Control", "public, max-age=60")
		var out []string
		for _, name := range names {
			out = append(out, x.Header(name))
		}
		return x.Send(200, plain, []byte(strings.Join(out, "|")))
	}
}

// apart asks twice for each of the requests, which consist of lines of fields: each
// is answered as without the cache, which knows it the second time.
func apart(bare, s *site, target string, requests ...string) {
	s.c.Helper()
	for round := range 2 {
		for _, lines := range requests {
			text := "GET " + target + " HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\n" + lines + "\r\n"
			want, got := bare.Raw(text), s.Raw(text)
			switch {
			case want == nil && got == nil:
			case want == nil || got == nil || got.Body != want.Body || got.Status != want.Status:
				s.c.Errorf("%s with %q got %+v, and without the cache %+v", target, brief(lines), got, want)
			case round == 1 && got.Status == 200:
				got.What = fmt.Sprintf("%s with %s", target, brief(lines))
				got.Hit()
			}
		}
	}
}

// testBlanks: what HTTP does not trim, the key does not trim.
func testBlanks(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Headers, cfg.Policy.Key.Cookies = []string{"X-Tenant"}, []string{"lang"}
	}), func(x Ctx) error {
		x.SetHeader("Cookie-Lang", strconv.QuoteToASCII(x.Cookie("lang")))
		return told("X-Tenant", "X-Forwarded-Host", "Forwarded")(x)
	})
	bare, s := c.Plain(app), c.Site(app)
	for i, field := range []string{"X-Tenant: ", "X-Forwarded-Host: ", "Cookie: lang=", "Forwarded: host="} {
		target := fmt.Sprint("/x?", i)
		var requests []string
		for _, value := range []string{"acme", "acme\u00a0", "\u00a0acme", "acme\u0085", "acme\u2003", "\tacme"} {
			requests = append(requests, field+value+"\r\n")
		}
		apart(bare, s, target, requests...)
		s.Get(target, field+"acme").Hit()
	}
}

// testCookies: whatever a reader could take for the cookie is part of the key.
func testCookies(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.Cookies = []string{"role"} }), func(x Ctx) error {
		x.SetHeader("Cache-Control", "public, max-age=60")
		return x.Send(200, plain, strconv.AppendQuote(nil, x.Cookie("role")))
	})
	bare, s := c.Plain(app), c.Site(app)
	requests := []string{""}
	for _, cookie := range []string{
		"role=admin", "role =admin", "role\t=admin", "=role=admin", "role", "role=", "role= admin x", "role=admin; role=x", "role=x; role=admin",
		"role=a%20b", "role=a b", "role=a+b", "role=\"admin\"", "role=admin" + strings.Repeat(";x", 2000),
	} {
		requests = append(requests, "Cookie: "+cookie+"\r\n")
	}
	requests = append(requests, "Cookie: role=a\r\nCookie: role=b\r\n", "Cookie: role=b\r\nCookie: role=a\r\n")
	apart(bare, s, "/x", requests...)
	s.Get("/x", "Cookie: a=1; role=admin; b=2").Hit()
	s.Get("/x", "Cookie: roles=admin; Role=admin").Hit().Is(200, `""`)
}

// testLines: handlers take the first line of a field, or the last.
func testLines(c *run) {
	key := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.Headers = []string{"X-F"} })
	vary := func(name string) Handler {
		return func(x Ctx) error {
			x.SetHeader("Vary", name)
			return told(name)(x)
		}
	}
	app := App{Routes: []Route{
		{Path: "/key", Handler: told("X-F"), Cache: key},
		{Path: "/vary", Handler: vary("X-F"), Cache: c.Cache()},
		{Path: "/accept", Handler: vary("Accept"), Cache: c.Cache()},
		{Path: "/language", Handler: vary("Accept-Language"), Cache: c.Cache()},
		{Path: "/encoding", Handler: vary("Accept-Encoding"), Cache: c.Cache()},
	}}
	bare, s := c.Plain(app), c.Site(app)
	for path, name := range map[string]string{"/key": "X-F", "/vary": "X-F", "/accept": "Accept", "/language": "Accept-Language", "/encoding": "Accept-Encoding"} {
		field := name + ": "
		apart(bare, s, path, field+"a\r\n"+field+"b\r\n", field+"b\r\n"+field+"a\r\n", field+"a,b\r\n", field+"a\r\n", field+"\r\n"+field+"a\r\n", "")
	}
	s.Get("/accept", "Accept: a ,  b").Hit()
	s.Get("/language", "Accept-Language: A, B;q=0.3").Hit()
	s.Get("/encoding", "Accept-Encoding: b, a").Hit()
}

// testNames: names of request fields have no case, also where the framework hands
// them on as they came.
func testNames(c *run) {
	for _, spelled := range []bool{false, true} {
		cache := c.Cache(func(cfg *cacheaside.Config) {
			cfg.Policy.Key.Headers = []string{"X-Tenant"}
			cfg.Policy.Key.Partition = func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("x-PART"), ",") }
			cfg.Namespace += fmt.Sprint(spelled)
		})
		var fails atomic.Bool
		app := App{Global: cache, Spelled: spelled, Routes: []Route{
			{Path: "/x", Handler: told("x-tenant", "X-Tenant", "x-part", "x-forwarded-host")},
			{Path: "/me", Handler: func(x Ctx) error { return x.Send(200, plain, []byte(x.Header("authorization"))) }},
			{Path: "/lang", Handler: func(x Ctx) error {
				x.SetHeader("Vary", "x-LANG")
				return told("x-lang", "X-Lang", "X-LANG")(x)
			}},
			{Path: "/etag", Handler: func(x Ctx) error {
				for _, name := range []string{"If-None-Match", "if-none-match"} {
					if x.Header(name) == "*" {
						fails.Store(true)
					}
				}
				x.SetHeader("ETag", `"1"`)
				x.SetHeader("Cache-Control", "max-age=0")
				return x.Send(200, plain, []byte("x"))
			}},
		}}
		bare, s := c.Plain(app), c.Site(app)
		apart(bare, s, "/x", "x-tenant: a\r\n", "x-tenant: b\r\n", "X-Tenant: a\r\n", "", "x-forwarded-host: evil\r\n", "x-part: 1\r\n", "x-part: 2\r\n")
		apart(bare, s, "/lang", "x-lang: a\r\n", "x-lang: b\r\n", "")
		ask := func(path, lines string) *response {
			r := s.Raw("GET " + path + " HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\n" + lines + "\r\n\r\n")
			if r == nil {
				c.Fatalf("no answer to %q", lines)
			}
			return r
		}
		if p := ask("/x", "x-tenant: a\r\nx-part: 3").CacheStatus(); p["hit"] != "" {
			c.Errorf("spelled %v: a partition is not seen", spelled)
		}
		ask("/me", "authorization: alice").NotStored()
		ask("/me", "AUTHORIZATION: bob").NotStored()
		ask("/x", "x-http-method-override: DELETE").Fwd("bypass")
		ask("/x", "x-tenant: a\r\ncache-control: no-cache").Fwd("request")
		ask("/x", "x-tenant: a\r\nrange: bytes=0-0").Hit()
		ask("/etag", "x: 1").Stored()
		ask("/etag", "if-none-match: *")
		if fails.Load() {
			c.Errorf("spelled %v: the handler has judged a client's condition in place of the cache's", spelled)
		}
	}
}

// testHostSelects: the Host is a field like others.
func testHostSelects(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.IgnoreHost = true })
	s := c.Site(App{Routes: []Route{
		{Path: "/key", Handler: text("x"), Cache: c.With(cache, func(p *cacheaside.Policy) { p.Key.Headers = []string{"host"} })},
		{Path: "/vary", Handler: with("x", "Vary", "host"), Cache: cache},
		{Path: "/part", Handler: text("x"), Cache: c.With(cache, func(p *cacheaside.Policy) {
			p.Key.Partition = func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("Host"), ",") }
		})},
	}})
	for _, path := range []string{"/key", "/vary", "/part"} {
		for _, host := range []string{"a.test", "b.test"} {
			s.Get(path, "Host: "+host).Miss().Stored()
		}
		for _, host := range []string{"a.test", "b.test"} {
			s.Get(path, "Host: "+host).Hit()
		}
		s.Handled(path, 2)
	}
}

func testKeyGenerator(c *run) {
	s := c.Site(App{Global: c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Generator = func(r *cacheaside.Request) string { return strings.TrimSuffix(r.Path, ".html") }
	}), Routes: []Route{{Path: "/p/*", Handler: text("p")}}})
	s.Get("/p/a").Miss().Stored()
	s.Get("/p/a.html?b=1").Hit()
	s.Get("/p/b").Miss()
}

func testPartition(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Partition = func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("X-Tenant"), ",") }
	}), func(x Ctx) error { return x.Send(200, plain, []byte(x.Header("X-Tenant"))) }))
	for round := range 2 {
		for _, tenant := range []string{"a", "b", "|v:a", "é"} {
			r := s.Get("/x", "X-Tenant: "+tenant).Is(200, tenant)
			if round > 0 {
				r.Hit()
			}
		}
	}
	s.Handled("/x", 4)
}

func testHost(c *run) {
	cache := c.Cache()
	s := c.Site(App{Routes: []Route{
		{Path: "/x", Handler: text("a"), Cache: cache},
		{Path: "/any", Handler: text("a"), Cache: c.With(cache, func(p *cacheaside.Policy) { p.Key.IgnoreHost = true })},
	}})
	s.Get("/x", "Host: a.test").Miss().Stored()
	s.Get("/x", "Host: b.test").Miss().Stored()
	s.Get("/x", "Host: a.test:8080").Miss().Stored()
	s.Get("/x", "Host: A.Test").Hit()
	s.Get("/x", "Host: b.test").Hit()
	s.Handled("/x", 3)
	s.Get("/any", "Host: a.test").Miss().Stored()
	s.Get("/any", "Host: b.test").Hit()
}

func testScheme(c *run) {
	store := c.Store()
	app := func(ignore bool) App {
		return one(c.Cache(func(cfg *cacheaside.Config) { cfg.Store, cfg.Policy.Key.IgnoreScheme = store, ignore }), text("a"))
	}
	s, secure := c.Site(app(false)), c.TLSSite(app(false))
	s.Get("/x").Miss().Stored()
	secure.Get("/x").Miss().Stored()
	secure.Get("/x").Hit()
	s.Get("/x").Hit()
	s, secure = c.Site(app(true)), c.TLSSite(app(true))
	s.Get("/x").Miss().Stored()
	secure.Get("/x").Hit()
}

func testOversized(c *run) {
	s := c.Site(one(c.Cache(), text("a")))
	long := strings.Repeat("0123456789", 10_240)
	for i := range 2 {
		s.Get("/x?q="+long).Fwd("bypass").NotStored().Is(200, "a")
		s.Handled("/x", i+1)
	}
	small := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Key.MaxBytes, cfg.Policy.Key.Headers = 100, []string{"X-Key"} }), text("a")))
	for range 2 {
		small.Get("/x?q="+long[:100]).Fwd("bypass").Is(200, "a")
		small.Get("/x", "X-Key: "+long[:100]).Fwd("bypass").Is(200, "a")
	}
	small.Get("/x?q=1").Miss().Stored()
	small.Get("/x?q=1").Hit()
}

// testLongKey: keys that are cut for the store differ by what was cut off.
func testLongKey(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		q := x.Query("a")
		return x.Send(200, plain, []byte(q[len(q)-1:]))
	}))
	long := strings.Repeat("0123456789", 300)
	for round := range 2 {
		for _, end := range []string{"a", "b"} {
			r := s.Get("/x?a="+long+end).Is(200, end)
			if round > 0 {
				r.Hit()
			}
		}
	}
}

// testHostile: no two paths share an entry unless the framework itself cannot
// tell them apart.
func testHostile(c *run) {
	app := App{Global: c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute, 400: time.Minute}
	}), Routes: []Route{{Path: "/h/*", Handler: func(x Ctx) error {
		return x.Send(200, plain, fmt.Appendf(nil, "%q a=%q b=%q", x.Path(), x.Query("a"), x.Query("b")))
	}}}}
	bare, s := c.Plain(app), c.Site(app)
	targets := []string{
		"/h/a", "/h/a%00", "/h/a%00b", "/h/a%0a", "/h/a%0Ab", "/h/a%0d%0ab", "/h/a%0d%0aX-Y:%20z", "/h//a", "//h/a", "/h/a/", "/h/a//",
		"/h/./a", "/h/../a", "/h/../h/a", "/h/b/../a", "/h/%2e%2e/a", "/h/b/..%2fa", "/h/a%2fb", "/h/a%2Fb", "/h/a/b", "/h/a%252fb",
		"/h/%61", "/h/ä", "/h/%C3%A4", "/h/%c3%a4", "/h/a%CC%88", "/h/%FF", "/h/a%3Fa=1", "/h/a?a=1", "/h/a%3Fa%3D1", "/h/a%23b", "/h/a;b", "/h/a%3Bb",
		"/h/a%20b", "/h/a+b", "/h/a%2Bb", "/h/a\\b", "/h/a%5Cb", "/h/a|b", "/h/a%7Cb", "/h/a{b}", "/h/a^b", "/h/a%5Eb", "/h/a^7Cb", "/h/a~b", "/h/%", "/h/%zz", "/h/a:b",
		"/h/a?", "/h/a??", "/h/a?a=1;b=2", "/h/a?a=%00", "/h/a?a=1%0ab=2", "/h/a?a=1%26b=2", "/h/a?a=1&b=2", "/h/a?a", "/h/a?a=", "/h/a?=1", "/h/a?%61=1", "/h/a?a=+", "/h/a?a=%2B",
		"/h/a?a=1&a=2", "/h/a?a=2&a=1", "/h/a?a=%", "/h/a?a=ä", "/h/a|p:b", "/h/a|u:x", "/h/", "/h", "/H/a", "/", "*",
	}
	send := func(s *site, target string) *response {
		return s.Raw("GET " + target + " HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\n\r\n")
	}
	want := make(map[string]*response)
	for _, t := range targets {
		want[t] = send(bare, t)
	}
	for range 3 {
		for _, t := range targets {
			got := send(s, t)
			switch {
			case got == nil && want[t] == nil:
			case got == nil || want[t] == nil:
				c.Errorf("%s: the answer is %v, without the cache %v", t, got, want[t])
			default:
				got.Same(want[t])
			}
		}
	}
	send(s, "/h/a%00b").Hit()
	send(s, "/h/a").Hit()
}

// testInstances: two processes of a service share what one of them has stored.
func testInstances(c *run) {
	store := c.Store()
	app := func() App {
		cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Store = store })
		return App{Global: cache, Routes: []Route{
			{Path: "/x", Handler: with("a", "X-M", "1", "X-M", "2")},
			{Path: "/v", Handler: func(x Ctx) error {
				x.SetHeader("Vary", "X-V")
				return x.Send(200, plain, []byte(x.Header("X-V")))
			}},
		}}
	}
	a, b := c.Site(app()), c.Site(app())
	first := a.Get("/x").Miss().Stored()
	b.Get("/x").Hit().Same(first)
	b.Head("/x").Hit()
	b.Handled("/x", 0)
	b.Get("/v", "X-V: 1").Miss().Stored().Is(200, "1")
	a.Get("/v", "X-V: 2").Miss().Stored().Is(200, "2")
	a.Get("/v", "X-V: 1").Hit().Is(200, "1")
	b.Get("/v", "X-V: 2").Hit().Is(200, "2")
	b.Get("/v", "X-V: 1").Hit().Is(200, "1")
	restarted := c.Site(app())
	restarted.Get("/x").Hit().Same(first)
	restarted.Get("/v", "X-V: 2").Hit().Is(200, "2")
}

func testNamespaces(c *run) {
	store := c.Store()
	site := func(ns, body string) *site {
		return c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Store, cfg.Namespace = store, c.namespace+ns }), text(body)))
	}
	a, b := site(".a", "a"), site(".b", "b")
	a.Get("/x").Stored().Is(200, "a")
	b.Get("/x").Miss().Stored().Is(200, "b")
	a.Get("/x").Hit().Is(200, "a")
	b.Get("/x").Hit().Is(200, "b")
}
