package coretest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/store"
)

// Tags, and what removes responses before they expire.
var purgeCases = []testCase{
	{name: "tag fields", run: testTagFields},
	{name: "AddTags", run: testAddTags},
	{name: "refused tags", run: testRefusedTags},
	{name: "purges", run: testPurges},
	{name: "soft purges", run: testSoftPurges},
	{name: "invalidated targets", run: testTargets},
	{name: "raw URLs", run: testRawURLs},
	{name: "cache groups", run: testGroups},
	{name: "purge endpoint", run: testEndpoint},
	{name: "purge access", run: testAccess},
	{name: "purge without stamps", run: testEndpointWithout, once: true},
	{name: "purge while the store is down", run: testEndpointDown},
	{name: "NewPurge", run: testNewPurge, once: true},
}

// testTagFields: clients see the fields with tags only where they are to, by
// whatever way a response goes.
func testTagFields(c *run) {
	tagged := func(x Ctx) {
		x.SetHeader("Cache-Tag", "a, b")
		x.SetHeader("Surrogate-Key", "c d")
	}
	reply := func(status int, more ...string) Handler {
		return func(x Ctx) error {
			tagged(x)
			return answered(x, status, more...)
		}
	}
	for _, forward := range []bool{false, true} {
		cache := c.Cache(func(cfg *cacheaside.Config) {
			cfg.Policy.Storing.ForwardTags, cfg.Namespace = forward, fmt.Sprint(c.namespace, forward)
			cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute}
			cfg.Policy.Skip = func(r *cacheaside.Request) bool { return r.Path == "/skip" }
			cfg.Policy.Storing.MaxBytes = 1 << 20
		})
		s := c.Site(App{Global: cache, Routes: []Route{
			{Path: "/x", Handler: reply(200)},
			{Path: "/v", Handler: reply(200, "Vary", "Accept")},
			{Path: "/etag", Handler: reply(200, "Etag", `"1"`)},
			{Path: "/404", Handler: reply(404)},
			{Path: "/500", Handler: reply(500)},
			{Path: "/private", Handler: reply(200, "Cache-Control", "private")},
			{Path: "/skip", Handler: reply(200)},
			{Path: "/stream", Handler: func(x Ctx) error {
				tagged(x)
				return x.Stream(200, c.live(), streamThree)
			}},
			{Path: "/large", Handler: func(x Ctx) error {
				tagged(x)
				return x.Send(200, plain, make([]byte, 2<<20))
			}},
			{Path: "/post", Methods: []string{http.MethodPost}, Handler: reply(200)},
		}})
		check := func(r *response) *response {
			c.Helper()
			if forward {
				return r.Has("Cache-Tag", "a, b").Has("Surrogate-Key", "c d")
			}
			return r.Has("Cache-Tag").Has("Surrogate-Key")
		}
		for _, path := range []string{"/x", "/v", "/404"} {
			check(s.Get(path).Stored())
			check(s.Get(path).Hit())
			check(s.Head(path).Hit())
		}
		check(s.Get("/etag").Stored())
		if r := s.Get("/etag", `If-None-Match: "1"`).Is(304, ""); !forward {
			check(r)
		}
		for _, path := range []string{"/500", "/private", "/skip", "/stream", "/large"} {
			for range 2 {
				check(s.Get(path).NotHit().NotStored())
			}
		}
		check(s.Get("/x", "Cache-Control: no-cache").NotHit())
		check(s.Head("/x?not-stored").NotHit())
		check(s.Do(http.MethodPost, "/post", "body").Fwd("method"))
	}
}

// answered answers with a status and header fields: name, value, ...
func answered(x Ctx, status int, fields ...string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		x.AddHeader(fields[i], fields[i+1])
	}
	return x.Send(status, plain, []byte("body"))
}

func testAddTags(c *run) {
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error {
			cacheaside.AddTags(x.Context(), "one", "übung 💡")
			cacheaside.AddTags(x.Context(), "two")
			return x.Send(200, plain, []byte("x"))
		}},
		{Path: "/y", Handler: func(x Ctx) error {
			cacheaside.AddTags(x.Context(), "two")
			return answered(x, 200, "Cache-Tag", "three", "Surrogate-Key", "four")
		}},
		{Path: "/post", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error {
			cacheaside.AddTags(x.Context(), "nowhere")
			return x.NoContent(204)
		}},
	}})
	for tag, gone := range map[string][2]bool{
		"one": {true, false}, "übung 💡": {true, false}, "two": {true, true}, "three": {false, true}, "four": {false, true}, "five": {},
	} {
		for _, path := range []string{"/x", "/y"} {
			s.Get(path)
			c.flush(cache)
			s.Get(path).Hit()
		}
		s.Do(http.MethodPost, "/post", "")
		c.purged(cache.PurgeTags(c.context(), tag))
		for i, path := range []string{"/x", "/y"} {
			if gone[i] {
				s.Get(path).Miss().Stored()
			}
			s.Get(path).Hit()
		}
	}
}

func (c *run) purged(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// testRefusedTags: a response whose tags cannot be kept is not stored, and good
// all the same.
func testRefusedTags(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxTags = 4 })
	long := strings.Repeat("t", cacheaside.MaxTagBytes)
	answer := func(fields ...string) Handler { return with("body", append(fields, "X-H", "1")...) }
	adding := func(tags ...string) Handler {
		return func(x Ctx) error {
			cacheaside.AddTags(x.Context(), tags...)
			return answered(x, 200, "X-H", "1")
		}
	}
	app := App{Global: cache}
	for i, h := range []Handler{
		answer("Cache-Tag", "a,b,c,d,e"), answer("Cache-Tag", "a,b", "Cache-Tag", "c,d,e"), answer("Surrogate-Key", "a b c d e"),
		answer("Cache-Tag", "a,b", "Surrogate-Key", "c d e"), answer("Cache-Tag", "a", "Cache-Groups", `"b", "c", "d", "e"`),
		answer("Cache-Tag", long+"t"), answer("Surrogate-Key", "a "+long+"t"),
		adding("a", "b", "c", "d", "e"), adding(""), adding("a", long+"t"), adding(strings.Repeat("ü", cacheaside.MaxTagBytes/2+1)),
	} {
		app.Routes = append(app.Routes, Route{Path: fmt.Sprint("/refused/", i), Handler: h})
	}
	refused := len(app.Routes)
	for i, h := range []Handler{
		answer("Cache-Tag", "a,b,c,d"), answer("Cache-Tag", ",, a ,,b, ,c,d,"), answer("Surrogate-Key", "  a  b "), answer("Cache-Tag", ""),
		answer("Cache-Tag", long), adding(), adding("ü\x00\xff\n,"), adding(strings.Repeat("ü", cacheaside.MaxTagBytes/2)),
	} {
		app.Routes = append(app.Routes, Route{Path: fmt.Sprint("/taken/", i), Handler: h})
	}
	s := c.Site(app)
	for i, route := range app.Routes {
		if i >= refused {
			s.Get(route.Path).Stored().Is(200, "body")
			s.Get(route.Path).Hit().Is(200, "body").Has("X-H", "1")
			continue
		}
		before := cache.Stats().TagsRefused
		for range 2 {
			s.Get(route.Path).Fwd("miss").NotStored().Detail("tags").Is(200, "body").Has("X-H", "1").Has("Cache-Tag").Has("Surrogate-Key")
		}
		if n := cache.Stats().TagsRefused - before; n != 2 {
			c.Errorf("%s: %d of 2 were counted as refused", route.Path, n)
		}
	}
}

// pair is two caches on one store, as of two processes, with one handler of
// rows: a version for each path, and the path as a tag.
func (c *run) pair(change ...func(*cacheaside.Config)) (sites [2]*site, version *atomic.Int64) {
	c.Helper()
	store := c.Store()
	change = append(change, func(cfg *cacheaside.Config) { cfg.Store = store })
	version = new(atomic.Int64)
	row := func(x Ctx) error {
		path, _, _ := strings.Cut(x.Path(), " ")
		return answered(x, 200, "Cache-Tag", "rows, row"+path, "X-Version", fmt.Sprint(version.Load()))
	}
	for i := range sites {
		sites[i] = c.Site(App{Global: c.Cache(change...), Routes: []Route{{Path: "/a", Handler: row}, {Path: "/a/*", Handler: row}, {Path: "/ab", Handler: row}}})
	}
	return sites, version
}

var pairPaths = []string{"/a", "/a?q=1", "/a/1", "/ab"}

const pairURL = "http://" + defaultHost

// testPurges: what one process has purged, none answers with, and the rest stays.
func testPurges(c *run) {
	sites, version := c.pair()
	one, two := sites[0], sites[1]
	ctx := c.context()
	for _, p := range []struct {
		name  string
		purge func() error
		gone  string // of pairPaths
	}{
		{"a tag", func() error { return one.cache.PurgeTags(ctx, "row/a") }, "/a /a?q=1"},
		{"a tag of all", func() error { return one.cache.PurgeTags(ctx, "rows", "other") }, "/a /a?q=1 /a/1 /ab"},
		{"no tags", func() error { return one.cache.PurgeTags(ctx) }, ""},
		{"a URL", func() error { return one.cache.PurgeURL(ctx, pairURL+"/a") }, "/a"},
		{"a URL with a query", func() error { return one.cache.PurgeURL(ctx, pairURL+"/a?q=1") }, "/a?q=1"},
		{"a URL of another host", func() error { return one.cache.PurgeURL(ctx, "http://other.test/a") }, ""},
		{"a URL of another scheme", func() error { return one.cache.PurgeURL(ctx, "https://"+defaultHost+"/a") }, "/a"},
		{"a prefix", func() error { return one.cache.Purge(ctx, cacheaside.Purge{Prefixes: []string{pairURL + "/a"}}) }, "/a /a?q=1 /a/1"},
		{"all", func() error { return one.cache.Purge(ctx, cacheaside.Purge{All: true}) }, "/a /a?q=1 /a/1 /ab"},
	} {
		for _, path := range pairPaths {
			one.Get(path)
			c.flush(one.cache)
			two.Get(path).Hit()
		}
		old := version.Add(1) - 1
		c.purged(p.purge())
		c.Clock.Advance(time.Second) // what is known of prefixes and all is read anew
		for _, path := range pairPaths {
			want := old
			if strings.Contains(" "+p.gone+" ", " "+path+" ") {
				want = version.Load()
			}
			for _, s := range []*site{two, one} {
				if got := s.Get(path).Header.Get("X-Version"); got != fmt.Sprint(want) {
					c.Errorf("%s: %s is version %s, want %d", p.name, path, got, want)
				}
			}
		}
		c.flush(two.cache)
		c.purged(one.cache.PurgeTags(ctx, "rows")) // the versions are the same again
	}
}

// testSoftPurges: a stale response answers while it is renewed.
func testSoftPurges(c *run) {
	sites, version := c.pair()
	one, two := sites[0], sites[1]
	ctx := c.context()
	for name, purge := range map[string]func() error{
		"tags": func() error { return one.cache.Purge(ctx, cacheaside.Purge{Tags: []string{"row/a"}, Soft: true}) },
		"prefix": func() error {
			return one.cache.Purge(ctx, cacheaside.Purge{Prefixes: []string{pairURL + "/a"}, Soft: true})
		},
		"all": func() error { return one.cache.Purge(ctx, cacheaside.Purge{All: true, Soft: true}) },
	} {
		c.Clock.Advance(time.Hour)
		one.Get("/a").Stored()
		two.Get("/a").Hit()
		old := version.Add(1) - 1
		c.purged(purge())
		c.Clock.Advance(time.Second)
		before := two.cache.Stats().Refreshed
		two.Get("/a").Hit().Detail("stale-while-revalidate").Has("X-Version", fmt.Sprint(old))
		c.Eventually(name+": it is renewed", func() bool { return two.cache.Stats().Refreshed > before })
		one.Get("/a").Hit().Detail("").Has("X-Version", fmt.Sprint(version.Load()))
	}
}

// testTargets: what an unsafe request removes besides its own target, and what
// not (RFC 9111 section 4.4).
func testTargets(c *run) {
	var status atomic.Int64
	var field, value atomic.Value
	page := with("page", "Vary", "Accept")
	change := Route{Path: "/a", Methods: []string{"POST", "PUT", "PATCH", "DELETE"}, Handler: func(x Ctx) error {
		if f := field.Load().(string); f != "" {
			x.SetHeader(f, value.Load().(string))
		}
		return x.Send(int(status.Load()), plain, []byte("done"))
	}}
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/a", Handler: page}, {Path: "/b", Handler: page}, change}})
	paths := []string{"/a", "/a?q=1", "/b"}
	for _, u := range []struct {
		method, target string
		status         int
		field, value   string
		gone           string
	}{
		{"DELETE", "/a?q=1", 303, "", "", "/a?q=1"},
		{"PUT", "/a", 404, "Location", "/b", ""},
		{"POST", "/a", 201, "Location", "/b", "/a /b"},
		{"POST", "/a", 201, "Location", pairURL + "/b", "/a /b"},
		{"POST", "/a", 201, "Location", "http://other.test/b", "/a"},
		{"POST", "/a", 201, "Location", "https://" + defaultHost + "/b", "/a"},
		{"POST", "/a", 201, "Location", "//other.test/b", "/a"},
		{"PUT", "/a", 200, "Content-Location", "b", "/a /b"},
		{"PUT", "/a", 200, "Content-Location", "?q=1", "/a /a?q=1"},
		{"PUT", "/a", 200, "Content-Location", "http://other.test/b", "/a"},
		{"PUT", "/a", 200, "Content-Location", "::", "/a"},
	} {
		for _, path := range paths {
			for _, accept := range []string{"Accept: 1", "Accept: 2"} {
				s.Get(path, accept)
				c.flush(cache)
				s.Get(path, accept).Hit()
			}
		}
		status.Store(int64(u.status))
		field.Store(u.field)
		value.Store(u.value)
		before := cache.Stats().Invalidated
		s.Do(u.method, u.target, "body").Fwd("method")
		for _, path := range paths {
			for _, accept := range []string{"Accept: 1", "Accept: 2"} {
				if r := s.Get(path, accept); strings.Contains(" "+u.gone+" ", " "+path+" ") {
					r.Miss()
				} else {
					r.Hit()
				}
			}
		}
		if n := int(cache.Stats().Invalidated - before); n != len(strings.Fields(u.gone)) {
			c.Errorf("%+v: %d URLs were counted as invalidated", u, n)
		}
		c.flush(cache)
	}
	// Another host's is untouched, also where the path is the same.
	status.Store(200)
	field.Store("")
	s.Do("PUT", "/a", "body", "Host: other.test").Fwd("method")
	s.Get("/a", "Accept: 1").Hit()
}

// testGroups is RFC 9875.
func testGroups(c *run) {
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/1", Handler: with("1", "Cache-Groups", `"one", "both"`)},
		{Path: "/2", Handler: with("2", "Cache-Groups", `"two";x=1`, "Cache-Groups", `"both"`)},
		{Path: "/t", Handler: with("t", "Cache-Tag", "one")},
		{Path: "/safe", Handler: with("s", "Cache-Group-Invalidation", `"both"`, "Cache-Control", "no-store")},
		{Path: "/change", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error {
			return answered(x, 200, "Cache-Group-Invalidation", x.Query("g"))
		}},
		{Path: "/fail", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error {
			return answered(x, 400, "Cache-Group-Invalidation", `"both"`)
		}},
	}})
	for _, g := range []struct{ method, target, gone string }{
		{"GET", "/safe", ""},
		{"POST", "/fail", ""},
		{"POST", "/change?g=%22none%22", ""},
		{"POST", "/change?g=one", ""}, // a token is no string
		{"POST", "/change?g=%22one%22", "/1"},
		{"POST", "/change?g=%22ONE%22,%22two%22", "/2"},
		{"POST", "/change?g=%22both%22%3Bp", "/1 /2"},
	} {
		for _, path := range []string{"/1", "/2", "/t"} {
			s.Get(path)
			c.flush(cache)
			s.Get(path).Hit()
		}
		s.Get("/1").Has("Cache-Groups", `"one", "both"`)
		s.Do(g.method, g.target, "", "Host: other.test") // other groups of the same names
		for _, path := range []string{"/1", "/2", "/t"} {
			s.Get(path).Hit()
		}
		s.Do(g.method, g.target, "")
		for _, path := range []string{"/1", "/2", "/t"} {
			if r := s.Get(path); strings.Contains(" "+g.gone+" ", " "+path+" ") {
				r.Miss()
			} else {
				r.Hit()
			}
		}
		c.flush(cache)
	}
}

const (
	purgeToken = "a token of 16 bytes or more"
	bearer     = "Authorization: Bearer " + purgeToken
	purgeDone  = "{\"purged\":true}\n"
)

// purgeSite has a tagged resource at /a, the endpoint for all methods at /purge,
// and for PURGE at /a.
func (c *run) purgeSite(access cacheaside.PurgeAccess, change ...func(*cacheaside.Config)) *site {
	c.Helper()
	s := c.Site(App{Purge: &access, Global: c.Cache(change...), Routes: []Route{{Path: "/a", Handler: with("a", "Cache-Tag", "row")}}})
	s.Get("/a").Stored()
	return s
}

// order sends a request to the endpoint and checks its answer, and whether /a
// has been purged.
func (s *site) order(method, target, body string, status int, gone bool, fields ...string) *response {
	s.c.Helper()
	s.Get("/a")
	s.c.flush(s.cache)
	s.Get("/a").Hit()
	r := s.Do(method, target, body, fields...)
	if r.Status != status {
		s.c.Errorf("%s %.80q: status %d %s, want %d", r.What, body, r.Status, r.Body, status)
	}
	if method != http.MethodHead && method != http.MethodGet || target == "/purge" {
		r.Has("Content-Type", "application/json").Has("Cache-Control", "no-store")
		if ok := r.Body == purgeDone; method != http.MethodHead && ok != (status == 200) || !ok && method != http.MethodHead && !strings.HasPrefix(r.Body, `{"error":"`) {
			s.c.Errorf("%s %.80q: %d with %q", r.What, body, r.Status, r.Body)
		}
	}
	if next := s.Get("/a").Is(200, "a"); gone {
		next.Miss()
	} else {
		next.Hit()
	}
	return r
}

func testEndpoint(c *run) {
	s := c.purgeSite(cacheaside.PurgeAccess{Token: purgeToken})
	url := pairURL + "/a"
	for _, o := range []struct {
		method, target, body string
		status               int
		gone                 bool
		more                 string // a field
	}{
		{"PURGE", "/a", "", 200, true, ""},
		{"PURGE", "/a", "", 200, false, "Host: other.test"},
		{"PURGE", "/a?q=1", "", 200, false, ""},
		{"POST", "/purge", `{"tags":["row"]}`, 200, true, ""},
		{"POST", "/purge", ` {"tags":["nobody","row"],"all":false} ` + "\n", 200, true, "Content-Type: text/plain"},
		{"POST", "/purge", `{"tags":["nobody"]}`, 200, false, ""},
		{"POST", "/purge", `{"urls":["` + url + `"]}`, 200, true, ""},
		{"POST", "/purge", `{"urls":["http://other.test/a"]}`, 200, false, ""},
		{"POST", "/purge", `{"prefixes":["` + pairURL + `/"]}`, 200, true, ""},
		{"POST", "/purge", `{"all":true}`, 200, true, ""},
		{"POST", "/purge", `{"all":true}`, 200, true, "Host: other.test"},
		{"POST", "/purge", `{"tags":["row"]}` + strings.Repeat(" ", cacheaside.MaxPurgeBody-16), 200, true, ""},

		{"POST", "/purge", "", 400, false, ""},
		{"POST", "/purge", "", 400, false, "X-Http-Method-Override: PURGE"},
		{"POST", "/purge?tags=row&all=true", "", 400, false, ""},
		{"POST", "/purge", "{}", 400, false, ""},
		{"POST", "/purge", "null", 400, false, ""},
		{"POST", "/purge", "[]", 400, false, ""},
		{"POST", "/purge", `{"tags":["row"`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"]} {}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"]}x`, 400, false, ""},
		{"POST", "/purge", `{"tags":"row"}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],"al":true}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],"tags":["nobody"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["nobody"],"Tags":["row"]}`, 400, false, ""},
		{"POST", "/purge", `{"TAGS":["row"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row","\ud800"]}`, 400, false, ""},
		{"POST", "/purge", "{\"tags\":[\"row\",\"\xfc\"]}", 400, false, ""},
		{"POST", "/purge", "\ufeff" + `{"tags":["row"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row",null]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],}`, 400, false, ""},
		{"POST", "/purge", `"tags"`, 400, false, ""},
		{"POST", "/purge", `{"tags":null,"urls":null,"prefixes":[],"all":null,"soft":null}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row",""]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row","` + strings.Repeat("x", cacheaside.MaxTagBytes+1) + `"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],"urls":["/a"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],"prefixes":["//` + defaultHost + `/a"]}`, 400, false, ""},
		{"POST", "/purge", `{"tags":["row"],"urls":["http://u:p@` + defaultHost + `/a"]}`, 400, false, ""},
		{"POST", "/purge", `{"urls":["` + url + `"],"soft":true}`, 400, false, ""},
		{"POST", "/purge", `{"soft":true}`, 400, false, ""},
		{"POST", "/purge", `tags=row&all=true`, 400, false, "Content-Type: application/x-www-form-urlencoded"},
		{"POST", "/purge", zipped(`{"all":true}`), 400, false, "Content-Encoding: gzip"},
		{"POST", "/purge", zipped(strings.Repeat(" ", 4<<20)), 400, false, "Content-Encoding: gzip"},

		{"POST", "/purge", `{"tags":["row"]}` + strings.Repeat(" ", cacheaside.MaxPurgeBody-15), 413, false, ""},
		{"PUT", "/purge", `{"tags":["row"]}`, 405, false, ""},
		{"DELETE", "/purge", "", 405, false, ""},
		{"GET", "/purge?all=true", "", 405, false, ""},
	} {
		fields := []string{bearer}
		if o.more != "" {
			fields = append(fields, o.more)
		}
		r := s.order(o.method, o.target, o.body, o.status, o.gone, fields...)
		if o.status == 405 {
			r.Has("Allow", "PURGE, POST")
		}
	}
	if r := s.order("POST", "/purge", `{"tags":["row"],"soft":true}`, 200, false, bearer); r.Status != 200 {
		return
	}
	c.Eventually("it is renewed", func() bool { return s.cache.Stats().Refreshed == 1 })
	s.Get("/a").Hit().Detail("")
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}

// testAccess: nothing but the Authorization field, or the service's own
// decision, lets anybody purge.
func testAccess(c *run) {
	const all, other = `{"all":true}`, "another token, of equal len."
	s := c.purgeSite(cacheaside.PurgeAccess{Token: purgeToken})
	for _, forged := range [][]string{
		nil,
		{"Authorization: Bearer " + other}, {"Authorization: Bearer " + purgeToken[:len(purgeToken)-1]}, {bearer + "x"},
		{"Authorization: Bearer"}, {"Authorization: Bearer "}, {"Authorization: " + purgeToken}, {"Authorization: Basic " + purgeToken},
		{"Authorization: Bearer, Bearer " + purgeToken}, {bearer + ", " + bearer}, {"Authorization: Bearer " + other, bearer}, {bearer, bearer},
		{"Proxy-Authorization: Bearer " + purgeToken}, {"X-Authorization: Bearer " + purgeToken}, {"X-Forwarded-Authorization: Bearer " + purgeToken},
		{"X-Purge-Token: " + purgeToken}, {"Cookie: Authorization=Bearer " + purgeToken + "; token=" + purgeToken},
		{"X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1"}, {"X-Http-Method-Override: PURGE"},
	} {
		s.order("POST", "/purge", all, 401, false, forged...).Has("Www-Authenticate", `Bearer realm="purge"`)
		s.order("PURGE", "/a", "", 401, false, forged...)
	}
	token := "?token=a%20token%20of%2016%20bytes%20or%20more&access_token=a%20token%20of%2016%20bytes%20or%20more&Authorization=Bearer"
	s.order("POST", "/purge"+token, all, 401, false)
	s.order("PURGE", "/a"+token, "", 401, false)
	s.order("POST", "/purge", `{"all":true,"token":"`+purgeToken+`"}`, 401, false)
	s.order("POST", "/purge", "", 401, false)
	s.order("POST", "/purge", strings.Repeat(" ", cacheaside.MaxPurgeBody+1), 401, false)
	s.order("GET", "/purge", "", 401, false)
	// Fields that other servers take for the method: this is a GET of /a.
	if r := s.order("GET", "/a", "", 200, false, bearer, "X-Http-Method-Override: PURGE", "X-Method-Override: PURGE", "X-Http-Method: PURGE"); r.Body != "a" {
		c.Errorf("got %q", r.Body)
	}
	s.order("PURGE", "/a", "", 200, true, "Authorization: bearer   "+purgeToken+" ")

	admin := func(_ context.Context, r *cacheaside.Request) bool {
		user := r.Header.Values("X-User")
		return len(user) == 1 && user[0] == "admin" && r.Host == defaultHost
	}
	s = c.purgeSite(cacheaside.PurgeAccess{Authorize: admin}, func(cfg *cacheaside.Config) { cfg.Namespace += "-2" })
	s.order("POST", "/purge", all, 401, false)
	s.order("POST", "/purge", all, 401, false, "X-User: guest")
	s.order("POST", "/purge", all, 401, false, bearer)
	s.order("POST", "/purge", all, 401, false, "Authorization: Bearer ")
	s.order("PURGE", "/a", "", 401, false, "X-User: admin", "X-User: guest")
	s.order("PURGE", "/a", "", 200, true, "X-User: admin")
	s = c.purgeSite(cacheaside.PurgeAccess{Token: purgeToken, Authorize: admin}, func(cfg *cacheaside.Config) { cfg.Namespace += "-3" })
	s.order("PURGE", "/a", "", 401, false)
	s.order("PURGE", "/a", "", 200, true, "X-User: admin")
	s.order("PURGE", "/a", "", 200, true, bearer, "X-User: guest")
}

// unstamped hides what a store can do beyond keeping values.
type unstamped struct{ store.Store }

func testEndpointWithout(c *run) {
	s := c.purgeSite(cacheaside.PurgeAccess{Token: purgeToken}, func(cfg *cacheaside.Config) { cfg.Store = unstamped{c.Store()} })
	for _, body := range []string{`{"tags":["row"]}`, `{"prefixes":["` + pairURL + `/"]}`, `{"all":true}`, `{"all":true,"soft":true}`, `{"urls":["` + pairURL + `/a"],"tags":["row"]}`} {
		s.order("POST", "/purge", body, 501, false, bearer)
	}
	s.order("POST", "/purge", `{"urls":["`+pairURL+`/a"]}`, 200, true, bearer)
	s.order("PURGE", "/a", "", 200, true, bearer)
}

// unwritable is a store that acknowledges no purge while it is down.
type unwritable struct {
	store.Coordinator
	down atomic.Bool
}

var errDown = errors.New("down")

func (s *unwritable) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if s.down.Load() {
		return store.Mark{}, errDown
	}
	return s.Coordinator.Bump(ctx, clock, keys, soft, at, ttl)
}

func (s *unwritable) Delete(ctx context.Context, keys ...string) error {
	if s.down.Load() {
		return errDown
	}
	return s.Coordinator.Delete(ctx, keys...)
}

func (s *unwritable) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if s.down.Load() {
		return store.Journal{}, false, errDown
	}
	return s.Coordinator.WriteJournal(ctx, clock, old, text)
}

func testEndpointDown(c *run) {
	down := &unwritable{Coordinator: c.Store().(store.Coordinator)}
	s := c.purgeSite(cacheaside.PurgeAccess{Token: purgeToken}, func(cfg *cacheaside.Config) { cfg.Store, cfg.Breaker.Failures = down, -1 })
	for i, body := range []string{`{"tags":["row"]}`, `{"urls":["` + pairURL + `/a"]}`, `{"prefixes":["` + pairURL + `/"]}`, `{"all":true}`, ""} {
		method, target := "POST", "/purge"
		if body == "" {
			method, target = "PURGE", "/a"
		}
		down.down.Store(true)
		s.order(method, target, body, 503, false, bearer)
		if n := s.cache.Stats().PurgeErrors; n != uint64(i+1) {
			c.Errorf("%d purges were counted as failed, want %d", n, i+1)
		}
		down.down.Store(false)
		s.order(method, target, body, 200, true, bearer)
	}
}

func testNewPurge(c *run) {
	cache := c.Cache()
	for _, access := range []cacheaside.PurgeAccess{{}, {Token: "short"}, {Token: purgeToken + " "}, {Token: strings.Repeat(" ", 20)}} {
		if err := c.fw.NewPurge(cache, access); err == nil || !strings.Contains(err.Error(), "PurgeAccess") {
			c.Errorf("NewPurge takes the token %q: %v", access.Token, err)
		}
	}
	if err := c.fw.NewPurge(nil, cacheaside.PurgeAccess{Token: purgeToken}); err == nil || !strings.Contains(err.Error(), "NewPurge") {
		c.Errorf("NewPurge takes no cache: %v", err)
	}
	if err := c.fw.NewPurge(cache, cacheaside.PurgeAccess{Token: purgeToken[:16]}); err != nil {
		c.Error(err)
	}
}

// testRawURLs: who purges a URL reaches what is stored for it, in whatever
// spelling clients have sent it: few of them encode all that they should.
func testRawURLs(c *run) {
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/a/*", Handler: with("a")},
		{Path: "/a/*", Methods: []string{http.MethodPut}, Handler: func(x Ctx) error { return x.NoContent(204) }},
	}})
	send := func(method, target string) *response {
		c.Helper()
		r := s.Raw(method + " " + target + " HTTP/1.1\r\nHost: " + defaultHost + "\r\nContent-Length: 0\r\n\r\n")
		if r == nil || r.Status >= 300 {
			c.Fatalf("%s %q: %+v", method, target, r)
		}
		return r
	}
	stored := func(target string) bool {
		c.Helper()
		hit := send(http.MethodGet, target).CacheStatus()["hit"] != ""
		c.flush(cache)
		return hit
	}
	targets := []string{
		"/a/b|c", "/a/ü", "/a/\"<b>\"", "/a/{b}", "/a/b^`\\c", "/a/b%7Cc|d", "/a/b%7Cc", "/a/b%2Fc", "/a/b!$&'()*+,;=:@[]-_.~", "/a/b%20c?q=1|2&ü=%C3%BC",
	}
	for _, target := range targets {
		for how, purge := range map[string]func(){
			"PurgeURL": func() { c.purged(cache.PurgeURL(c.context(), pairURL+target)) },
			"PUT":      func() { send(http.MethodPut, target) },
			"absolute": func() { send(http.MethodPut, pairURL+target) },
		} {
			stored(target)
			if !stored(target) {
				c.Fatalf("%q is not stored", target)
			}
			if purge(); stored(target) {
				c.Errorf("%s does not reach %q", how, target)
			}
		}
	}
	order := struct {
		Prefixes []string `json:"prefixes"`
	}{}
	for _, target := range targets {
		order.Prefixes = append(order.Prefixes, pairURL+target)
	}
	body, err := json.Marshal(order)
	if err != nil {
		c.Fatal(err)
	}
	endpoint, err := cache.PurgeEndpoint(cacheaside.PurgeAccess{Token: purgeToken})
	if err != nil {
		c.Fatal(err)
	}
	r := endpoint.Serve(c.context(), &cacheaside.Request{Method: http.MethodPost, Header: http.Header{"Authorization": {"Bearer " + purgeToken}}}, body)
	if r.Status != http.StatusOK {
		c.Fatalf("%d %s", r.Status, r.Body)
	}
	c.Clock.Advance(time.Second) // what is known of prefixes is read anew
	for _, target := range targets {
		if stored(target) {
			c.Errorf("PurgePrefix does not reach %q", target)
		}
	}
}
