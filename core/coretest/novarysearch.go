package coretest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Responses that answer for other URLs than their own.
var searchCases = []testCase{
	{name: "No-Vary-Search", run: testNoVarySearch},
	{name: "No-Vary-Search: purges", run: testNoVarySearchPurges},
	{name: "No-Vary-Search: another one later", run: testNoVarySearchChanges},
	{name: "No-Vary-Search: hostile fields", run: testNoVarySearchHostile},
	{name: "No-Vary-Search: off", run: testNoVarySearchOff},
}

// searching makes a cache that heeds No-Vary-Search.
func (c *run) searching(change ...func(*cacheaside.Config)) *cacheaside.Cache {
	c.Helper()
	return c.Cache(append(change, func(cfg *cacheaside.Config) {
		cfg.Policy.Key.NoVarySearch, cfg.Policy.Key.KeepQueryOrder = true, true
	})...)
}

// declaring answers with what it reads of the query, and with No-Vary-Search. What it has
// said first is announced, for which a path of its own is asked.
func declaring(field string, read ...string) Handler {
	return func(x Ctx) error {
		x.SetHeader("No-Vary-Search", field)
		x.SetHeader("Etag", `"1"`)
		x.SetHeader("Accept-Ranges", "bytes")
		var b strings.Builder
		for _, name := range read {
			fmt.Fprintf(&b, "%s=%q ", name, x.Query(name))
		}
		return x.Send(200, plain, []byte(b.String()+"."))
	}
}

// searchSite serves a handler under /x, whose No-Vary-Search is announced.
func (c *run) searchSite(cache *cacheaside.Cache, h Handler) *site {
	c.Helper()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: h}, {Path: "/y", Handler: h}, {Path: "/x", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error { return x.NoContent(204) }},
	}})
	s.Get("/y?first").Miss().Stored()
	c.flush(cache)
	return s
}

func testNoVarySearch(c *run) {
	for i, k := range []struct {
		field        string
		read         []string
		first        string
		alike, other []string
	}{
		{`params=("a" "%C3%A9+b")`, []string{"c"}, "?a=1&c=1", []string{"?c=1", "?c=1&a", "?%61=2&c=1&%C3%A9%20b=1", "?&c=1&", "?c=%31"}, []string{"", "?c=2", "?c=1&c=1", "?c=1&A=1", "?c=1&d", "?c=1;a=1"}},
		{`except=("c")`, []string{"c"}, "?a=1&c=1", []string{"?c=1", "?b&c=1&d=7", "?c=1&=3"}, []string{"", "?c", "?c=1&c=2"}},
		{`except=()`, nil, "", []string{"?a", "?a=1&b=2"}, []string{"?a=%zz", "?;"}},
		{`key-order`, []string{"a", "b"}, "?a=1&b=2", []string{"?b=2&a=1", "?b=2&&a=1"}, []string{"?a=1", "?a=2&b=1", "?b=2&a=1&c"}},
		{`key-order, params=("u")`, []string{"a", "b"}, "?a=1&b=2&u=1", []string{"?b=2&u=3&a=1", "?b=2&a=1"}, []string{"?a=1", "?a=1&b=2&v"}},
		{`key-order, except=("a" "b")`, []string{"a", "b"}, "?a=1&b=2&u=1", []string{"?b=2&v&a=1", "?b=2&a=1"}, []string{"?u=1&a=1", "?a=1&a=1&b=2"}},
		{`params=("a"), key-order=?0`, []string{"b", "c"}, "?b=1&a&c=2", []string{"?b=1&c=2&a"}, []string{"?c=2&b=1"}},
	} {
		store := c.Store()
		shared := func(cfg *cacheaside.Config) { cfg.Store, cfg.Namespace = store, fmt.Sprint(c.namespace, i) }
		cache := c.searching(shared)
		s, two := c.searchSite(cache, declaring(k.field, k.read...)), c.Site(one(c.searching(shared), declaring(k.field, k.read...)))
		first := s.Get("/x" + k.first).Stored()
		c.flush(cache)
		for range 2 {
			for _, q := range k.alike {
				s.Get("/x"+q).Hit().Detail("no-vary-search").Is(200, first.Body)
				two.Get("/x"+q).Hit().Detail("no-vary-search").Is(200, first.Body)
			}
		}
		s.Head("/x" + k.alike[0]).Hit().Detail("no-vary-search")
		s.Get("/x"+k.alike[0], "Range: bytes=0-0").Hit().Detail("no-vary-search").Is(206, first.Body[:1])
		s.Get("/x"+k.alike[0], `If-None-Match: "1"`).Hit().Detail("no-vary-search").Is(304, "")
		s.Get("/x"+k.alike[0], "Cache-Control: only-if-cached").Hit().Is(200, first.Body)
		s.Get("/x"+k.first).Hit().Has("No-Vary-Search", k.field)
		for _, q := range k.other {
			s.Get("/x" + q).NotHit()
		}
		s.Get("/y" + k.alike[0]).Miss()
	}
}

func testNoVarySearchPurges(c *run) {
	store := c.Store()
	shared := func(cfg *cacheaside.Config) { cfg.Store = store }
	cache, another := c.searching(shared), c.Cache(shared)
	n := 0
	s := c.searchSite(cache, func(x Ctx) error {
		n++
		x.SetHeader("No-Vary-Search", `key-order, except=("c" "d")`)
		x.SetHeader("Cache-Tag", "x")
		return x.Send(200, plain, fmt.Append(nil, n))
	})
	for name, purge := range map[string]func(){
		"its URL":           func() { c.purged(cache.PurgeURL(c.context(), pairURL+"/x?a=1&c=1&d=1")) },
		"another URL":       func() { c.purged(another.PurgeURL(c.context(), pairURL+"/x?d=1&e=7&c=1")) },
		"the bare one":      func() { c.purged(another.PurgeURL(c.context(), pairURL+"/x?c=%31&d=1")) },
		"a prefix":          func() { c.purged(another.Purge(c.context(), cacheaside.Purge{Prefixes: []string{pairURL + "/x"}})) },
		"a tag":             func() { c.purged(another.PurgeTags(c.context(), "x")) },
		"an unsafe request": func() { s.Do(http.MethodPost, "/x?d=1&c=1&z", "") },
	} {
		s.Get("/x?a=1&c=1&d=1")
		c.flush(cache)
		s.Get("/x?b=1&d=1&c=1").Hit()
		was := s.Get("/x?d=1&c=1").Hit().Body
		purge()
		c.Clock.Advance(time.Second) // by which copies of the journal are old
		for _, q := range []string{"?b=1&d=1&c=1", "?d=1&c=1", "?a=1&c=1&d=1"} {
			if now := s.Get("/x" + q); now.Body == was {
				c.Errorf("%s: %s is answered by what was purged: %s", name, q, now.Header.Get("Cache-Status"))
			}
			c.flush(cache)
		}
	}
}

func testNoVarySearchChanges(c *run) {
	cache := c.searching()
	field := `params=("a")`
	s := c.searchSite(cache, func(x Ctx) error { return declaring(field)(x) })
	s.Get("/x?a=1").Stored()
	c.flush(cache)
	s.Get("/x?a=2").Hit().Detail("no-vary-search")
	field = `except=("c")`
	s.Get("/x?b=1").Miss().Stored() // what it says is new
	c.flush(cache)
	s.Get("/x?b=2").Miss().Stored()
	c.flush(cache)
	s.Get("/x?b=3").Hit().Detail("no-vary-search")
	s.Get("/x?a=3&b=4").Hit().Detail("no-vary-search")
	s.Get("/x?c=1&a=3").Miss()
	field = ""
	s.Get("/x?c=2").Miss().Stored()
	c.flush(cache)
	s.Get("/x?c=2&b").Miss()
}

func testNoVarySearchHostile(c *run) {
	cache := c.searching()
	field := ""
	h := func(x Ctx) error { return declaring(field)(x) }
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/x/*", Handler: h}}})
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf(`"a%d"`, i))
	}
	for i, hostile := range []string{
		"params=(" + strings.Join(many[:300], " ") + ")", "params=(" + strings.Join(many[:3000], " ") + ")", `params=("` + strings.Repeat("a", 2000) + `")`,
		"params", `params, except=("x")`, `params=("a"), except=("b")`, `params=(a)`, `params=("a"`, `except="a"`, `key-order=1`, `,`, `params=("%FF")`,
		strings.Repeat("(", 100), "unknown", "params=()", "key-order=?0",
	} {
		field = hostile
		for n := range 3 {
			target := fmt.Sprintf("/x/%d?a0=%d", i, n)
			if s.Get(target).Miss(); len(hostile) < 20_000 {
				c.flush(cache)
				s.Get(target).Hit()
			}
		}
	}
	// One field for each response: no more than the first are heeded.
	shared := 0
	for i := range 40 {
		field = fmt.Sprintf(`params=("a%d")`, i)
		for n := range 3 {
			if s.Get(fmt.Sprintf("/x/many/%d?a%d=%d", i, i, n)).CacheStatus()["hit"] != "" {
				shared++
			}
			c.flush(cache)
		}
	}
	if shared != 16 {
		c.Errorf("%d of 40 different fields are heeded", shared)
	}
}

func testNoVarySearchOff(c *run) {
	cache := c.Cache()
	s := c.searchSite(cache, declaring(`except=()`))
	for _, q := range []string{"", "?a=1", "?a=2"} {
		s.Get("/x" + q).Miss().Stored()
		c.flush(cache)
		s.Get("/x" + q).Hit()
	}
}
