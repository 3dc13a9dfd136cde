package coretest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Status, body and placement: what a hit must give back.
var answerCases = []testCase{
	{name: "hit", run: testHit},
	{name: "every placement", run: testPlacements},
	{name: "like without the cache", run: testTransparent},
	{name: "empty body", run: testEmptyBody},
	{name: "204", run: testNoContent},
	{name: "301", run: testRedirect},
	{name: "404 with StatusTTL", run: testNegative},
	{name: "statuses", run: testStatuses},
	{name: "unknown path", run: testUnknownPath},
	{name: "large body", run: testLargeBody},
	{name: "binary body", run: testBinaryBody},
	{name: "MaxBytes", run: testMaxBytes},
	{name: "declared length too long", run: func(c *run) { testWrongLength(c, "10") }},
	{name: "declared length too short", run: func(c *run) { testWrongLength(c, "2") }},
	{name: "two statuses", run: testTwoStatuses},
	{name: "HEAD from GET", run: testHeadFromGet},
	{name: "HEAD first", run: testHeadFirst},
	{name: "abort", run: testAbort},
	{name: "outer sees the answer", run: testOuterSees},
	{name: "per-route policy", run: testPerRoute},
	{name: "cache behind cache", run: testNested},
	{name: "New(nil)", run: testNil, once: true},
	{name: "closed cache", run: testClosed, once: true},
}

const plain = "text/plain; charset=utf-8"

// text is a handler that answers 200 with a body.
func text(body string) Handler {
	return func(c Ctx) error { return c.Send(http.StatusOK, plain, []byte(body)) }
}

// with is text with header fields: name, value, name, value, ...
func with(body string, fields ...string) Handler {
	return func(c Ctx) error {
		for i := 0; i < len(fields); i += 2 {
			c.AddHeader(fields[i], fields[i+1])
		}
		return c.Send(http.StatusOK, plain, []byte(body))
	}
}

// one is an app with a handler at /x behind a global cache.
func one(cache *cacheaside.Cache, h Handler) App {
	return App{Global: cache, Routes: []Route{{Path: "/x", Handler: h}}}
}

func testHit(c *run) {
	n := 0
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		n++
		return x.JSON(http.StatusOK, map[string]int{"n": n})
	}))
	first := s.Get("/x").Miss().Stored()
	if first.Status != http.StatusOK || !strings.Contains(first.Body, `"n":1`) {
		c.Fatalf("the first answer is %d %q", first.Status, first.Body)
	}
	if p := first.CacheStatus(); p["fwd-status"] != "" && p["fwd-status"] != "200" {
		c.Errorf("Cache-Status: %v", p)
	}
	for range 3 {
		second := s.Get("/x").Hit().TTL(60).Same(first)
		if got, want := second.Header.Get("Content-Length"), strconv.Itoa(len(first.Body)); got != want {
			c.Errorf("Content-Length of a hit is %q, want %s", got, want)
		}
		if second.Header.Get("Content-Type") == "" {
			c.Errorf("a hit without Content-Type")
		}
	}
	s.Handled("/x", 1)
	if st := s.cache.Stats(); st.Hits != 3 || st.Misses != 1 || st.Stores != 1 {
		c.Errorf("Stats: %+v", st)
	}
}

func testPlacements(c *run) {
	for name, app := range map[string]App{
		"global": {Global: c.Cache(), Routes: []Route{{Path: "/a/b", Handler: text("a")}}},
		"group":  {Group: c.Cache(), Routes: []Route{{Path: "/group/b", Handler: text("a")}}},
		"route":  {Routes: []Route{{Path: "/r/b", Cache: c.Cache(), Handler: text("a")}, {Path: "/r/free", Handler: text("f")}}},
	} {
		path := app.Routes[0].Path
		s := c.Site(app)
		s.Get(path).Miss().Stored().Is(200, "a")
		s.Get(path).Hit().Is(200, "a")
		s.Handled(path, 1)
		if name == "route" {
			s.Get("/r/free").Is(200, "f").Has("Cache-Status")
			s.Get("/r/free").Is(200, "f").Has("Cache-Status")
			s.Handled("/r/free", 2)
		}
	}
}

// scripts are answers of all kinds.
var scripts = map[string]Handler{
	"text":       text("hello"),
	"html":       func(c Ctx) error { return c.Send(200, "text/html; charset=utf-8", []byte("<p>hi</p>")) },
	"untyped":    func(c Ctx) error { return c.Send(200, "", []byte("<!doctype html><p>hi</p>")) },
	"json":       func(c Ctx) error { return c.JSON(200, map[string]any{"a": 1, "b": []string{"x", "<y>"}}) },
	"created":    func(c Ctx) error { return c.JSON(201, []int{1}) },
	"empty":      func(c Ctx) error { return c.Send(200, plain, nil) },
	"nothing":    func(Ctx) error { return nil },
	"no-content": func(c Ctx) error { return c.NoContent(204) },
	"redirect":   func(c Ctx) error { return c.Redirect(301, "/s/text?a=1&b=ä") },
	"found":      func(c Ctx) error { return c.Redirect(302, "https://example.com/") },
	"not-found":  func(c Ctx) error { return c.Send(404, plain, []byte("none")) },
	"teapot":     func(c Ctx) error { return c.JSON(418, "short and stout") },
	"failing":    func(c Ctx) error { return c.Error(503, "later") },
	"unknown":    func(c Ctx) error { return c.Error(404, "no such thing") },
	"multi":      with("m", "X-M", "1", "X-M", "2", "X-M", "", "Link", "<a>", "Link", "<b>"),
	"latin":      with("l", "X-L", "gr\xfc\xdfe", "X-U", "grüße"),
	"language":   with("l", "Content-Language", "de", "Content-Disposition", `attachment; filename="a;b.txt"`),
	"validators": with("v", "ETag", `W/"1"`, "Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
	"private":    with("p", "Cache-Control", "private, max-age=60"),
	"cookies":    with("c", "Set-Cookie", "a=1; Path=/", "Set-Cookie", "b=2; HttpOnly"),
	"encoded": func(c Ctx) error {
		c.SetHeader("Content-Encoding", "gzip")
		return c.Send(200, "application/json", []byte("\x1f\x8b not really"))
	},
	"pieces": func(c Ctx) error {
		c.SetHeader("Content-Type", plain)
		c.Status(203)
		for i := range 100 {
			if _, err := fmt.Fprintf(c, "%d\n", i); err != nil {
				return err
			}
		}
		return nil
	},
	"unsent-status": func(c Ctx) error {
		c.SetHeader("X-A", "1")
		_, err := c.Write([]byte("w"))
		return err
	},
	"big":    func(c Ctx) error { return c.Send(200, plain, bytes.Repeat([]byte("0123456789"), 10000)) },
	"stream": func(c Ctx) error { return c.Stream(200, plain, streamThree) },
	"echo": func(c Ctx) error {
		b, err := c.Body()
		if err != nil {
			return err
		}
		return c.Send(200, plain, fmt.Appendf(nil, "%q %q %q", b, c.Query("q"), c.Header("X-Q")))
	},
}

func streamThree(w Stream) error {
	for _, p := range []string{"one ", "two ", "three"} {
		if _, err := w.Write([]byte(p)); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// testTransparent compares every kind of answer, as a miss, as a hit and in
// methods that the cache leaves alone, with what the app gives without it.
func testTransparent(c *run) {
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	var app App
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		app.Routes = append(app.Routes, Route{Methods: methods, Path: "/s/" + name, Handler: scripts[name]})
	}
	app.Global = c.Cache(func(cfg *cacheaside.Config) {
		cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute, 418: time.Minute}
	})
	bare, s := c.Plain(app), c.Site(app)
	for _, r := range app.Routes {
		target := r.Path + "?q=1"
		want := bare.Get(target, "X-Q: z")
		for range 3 {
			s.Get(target, "X-Q: z").Same(want)
		}
		// fasthttp ends a stream's HEAD with a stray line: not on a shared connection.
		head := s.Head(target, "X-Q: z", "Connection: close")
		if head.CacheStatus()["hit"] != "" {
			want.Body = "" // else HEAD is the framework's matter
		} else {
			want = bare.Head(target, "X-Q: z", "Connection: close")
		}
		head.Same(want)
		for _, m := range methods[2:] {
			s.Do(m, target, "data", "X-Q: z").Same(bare.Do(m, target, "data", "X-Q: z"))
		}
		want = bare.Get(target, "X-Q: z")
		s.Get(target, "X-Q: z").Same(want)
	}
	for _, hits := range []string{"text", "html", "untyped", "json", "empty", "no-content", "redirect",
		"not-found", "teapot", "unknown", "multi", "latin", "validators", "encoded", "pieces", "unsent-status", "big"} {
		s.Get("/s/"+hits+"?q=1", "X-Q: z").Hit()
	}
	s.Get("/s/nothing?q=1", "X-Q: z").NotHit().NotStored()
}

func testEmptyBody(c *run) {
	s := c.Site(one(c.Cache(), text("")))
	s.Get("/x").Miss().Stored().Is(200, "")
	s.Get("/x").Hit().Is(200, "").Has("Content-Length", "0").Has("Content-Type", plain)
	s.Handled("/x", 1)
}

func testNoContent(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-A", "1")
		return x.NoContent(http.StatusNoContent)
	}))
	s.Get("/x").Miss().Stored().Is(204, "").Has("X-A", "1").Has("Content-Length")
	s.Get("/x").Hit().Is(204, "").Has("X-A", "1").Has("Content-Length")
	s.Handled("/x", 1)
}

func testRedirect(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error { return x.Redirect(http.StatusMovedPermanently, "/elsewhere?a=b") }))
	first := s.Get("/x").Miss().Stored().Has("Location", "/elsewhere?a=b")
	if first.Status != 301 {
		c.Errorf("status %d", first.Status)
	}
	s.Get("/x").Hit().Same(first)
	s.Handled("/x", 1)
}

func testNegative(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{404: 5 * time.Second} }),
		func(x Ctx) error { return x.Send(404, plain, []byte("none")) })
	app.Routes = append(app.Routes,
		Route{Path: "/returned", Handler: func(x Ctx) error { return x.Error(404, "no such thing") }},
		Route{Path: "/other", Handler: func(x Ctx) error { return x.Error(410, "gone") }})
	s := c.Site(app)
	for _, path := range []string{"/x", "/returned"} {
		first := s.Get(path).Miss().Stored().TTL(5)
		if first.Status != 404 || first.Body == "" {
			c.Errorf("%d %q", first.Status, first.Body)
		}
		s.Get(path).Hit().Same(first)
		s.Handled(path, 1)
	}
	s.Get("/other").Miss().NotStored()
	s.Get("/other").Miss()
	c.Clock.Advance(6 * time.Second)
	s.Get("/x").NotHit().Stored()
	s.Handled("/x", 2)
}

func testStatuses(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if cc := x.Query("cc"); cc != "" {
			x.SetHeader("Cache-Control", cc)
		}
		code, err := strconv.Atoi(x.Query("s"))
		if err != nil {
			return err
		}
		if code == 204 || code == 304 {
			return x.NoContent(code)
		}
		return x.Send(code, plain, []byte("body"))
	}))
	byTTL := []int{200, 203, 204, 300, 301, 308}
	explicit := append([]int{302, 303, 307, 404, 405, 410, 414, 501}, byTTL...)
	for _, code := range []int{
		200, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 305, 307, 308,
		400, 401, 403, 404, 405, 406, 409, 410, 412, 414, 416, 418, 422, 425, 429, 451, 500, 501, 502, 503, 504, 599,
	} {
		for _, cc := range []string{"", "max-age=100"} {
			storable := byTTL
			if cc != "" {
				storable = explicit
			}
			target := "/x?cc=" + cc + "&s=" + strconv.Itoa(code)
			first := s.Get(target).Miss()
			if first.Status != code {
				c.Errorf("%s: status %d", target, first.Status)
			}
			if slices.Contains(storable, code) {
				first.Stored()
				s.Get(target).Hit().Same(first)
			} else {
				first.NotStored()
				s.Get(target).NotHit().Same(first)
			}
		}
	}
}

func testUnknownPath(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute} }), text("a"))
	bare, s := c.Plain(app), c.Site(app)
	for _, target := range []string{"/none", "/none?a=1", "/x/", "/X", "/"} {
		for range 3 {
			s.Get(target).Same(bare.Get(target))
			s.Do("POST", target, "b").Same(bare.Do("POST", target, "b"))
		}
	}
	s.Get("/x").Is(200, "a")
}

func testLargeBody(c *run) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	s := c.Site(one(c.Cache(), text(body)))
	s.Get("/x").Miss().Stored().Is(200, body)
	length := s.Get("/x").Hit().Is(200, body).Header.Values("Content-Length")
	s.Head("/x").Hit().Is(200, "").Has("Content-Length", length...) // what the handler has not declared is the server's
	s.Get("/x").Hit().Is(200, body)
	s.Handled("/x", 1)
}

func testBinaryBody(c *run) {
	all := make([]byte, 1024)
	for i := range all {
		all[i] = byte(i)
	}
	s := c.Site(one(c.Cache(), func(x Ctx) error { return x.Send(200, "application/octet-stream", all) }))
	s.Get("/x").Miss().Stored().Is(200, string(all))
	s.Get("/x").Hit().Is(200, string(all))
}

func testMaxBytes(c *run) {
	const limit = 1000
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxBytes = limit }), func(x Ctx) error {
		n, err := strconv.Atoi(x.Query("n"))
		if err != nil {
			return err
		}
		x.SetHeader("Content-Type", plain)
		x.SetHeader("X-N", strconv.Itoa(n))
		if x.Query("declared") != "" {
			x.SetHeader("Content-Length", strconv.Itoa(n))
		}
		x.Status(200)
		for n > 0 {
			part := min(n, 100)
			if _, err := x.Write(bytes.Repeat([]byte("a"), part)); err != nil {
				return err
			}
			n -= part
		}
		return nil
	}))
	for _, how := range []string{"", "&declared=1"} {
		for _, n := range []int{limit - 1, limit} {
			target := fmt.Sprintf("/x?n=%d%s", n, how)
			s.Get(target).Miss().Stored().Is(200, strings.Repeat("a", n))
			s.Get(target).Hit().Is(200, strings.Repeat("a", n))
		}
		for _, n := range []int{limit + 1, 2 * limit, 1 << 16} {
			target := fmt.Sprintf("/x?n=%d%s", n, how)
			for range 2 {
				s.Get(target).Miss().NotStored().Detail(adapter.ReasonTooLarge).
					Is(200, strings.Repeat("a", n)).Has("X-N", strconv.Itoa(n))
			}
		}
	}
}

// A response that is not what its Content-Length says is broken: repeating
// that to everybody is worse than asking again.
func testWrongLength(c *run, declared string) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if x.Header("X-Right") == "" {
			x.SetHeader("Content-Length", declared)
		}
		x.SetHeader("Content-Type", plain)
		x.Status(200)
		_, err := x.Write([]byte("hello"))
		return err
	}))
	_, _ = s.Try(c.context(), http.MethodGet, "/x", "") // the server may end the connection
	s.Get("/x", "X-Right: 1").Miss().Stored().Is(200, "hello")
	s.Handled("/x", 2)
	s.Get("/x").Hit().Is(200, "hello")
}

func testTwoStatuses(c *run) {
	app := one(c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{500: time.Minute} }), func(x Ctx) error {
		x.Status(200)
		if _, err := x.Write([]byte("a")); err != nil {
			return err
		}
		x.Status(500)
		_, err := x.Write([]byte("b"))
		return err
	})
	bare, s := c.Plain(app), c.Site(app)
	want := bare.Get("/x")
	for range 3 {
		s.Get("/x").Same(want)
	}
}

func testHeadFromGet(c *run) {
	s := c.Site(one(c.Cache(), with("hello", "X-A", "1")))
	s.Get("/x").Miss().Stored()
	for range 2 {
		s.Head("/x").Hit().Is(200, "").Has("Content-Length", "5").Has("Content-Type", plain).Has("X-A", "1")
		s.Get("/x").Hit().Is(200, "hello") // on the same connection: nothing of a body was left there
	}
	s.Handled("/x", 1)
	r := s.Raw("HEAD /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\n\r\n")
	if r == nil {
		c.Fatal("no answer to a HEAD")
	}
	r.Hit().Has("Content-Length", "5")
	c.Clock.Advance(61 * time.Second)
	s.Head("/x").NotHit().Is(200, "")
	s.Handled("/x", 2)
}

func testHeadFirst(c *run) {
	s := c.Site(one(c.Cache(), text("hello")))
	for i := range 2 {
		s.Head("/x").Miss().NotStored().Is(200, "")
		s.Handled("/x", i+1)
	}
	s.Get("/x").Miss().Stored().Is(200, "hello")
	s.Head("/x").Hit().Is(200, "").Has("Content-Length", "5")
	s.Get("/x").Hit().Is(200, "hello")
	s.Handled("/x", 3)
}

// testAbort: on a hit nothing behind the cache runs, and all in front of it.
func testAbort(c *run) {
	var log []string
	note := func(name string) Middleware {
		return func(_ Ctx, next func() error) error {
			log = append(log, name)
			err := next()
			log = append(log, "/"+name)
			return err
		}
	}
	app := one(c.Cache(), func(x Ctx) error {
		log = append(log, "handler")
		return x.Send(200, plain, []byte("a"))
	})
	app.Outer = []Middleware{note("outer1"), note("outer2")}
	app.Inner = []Middleware{note("inner1"), note("inner2")}
	s := c.Site(app)
	for _, want := range []string{
		"outer1 outer2 inner1 inner2 handler /inner2 /inner1 /outer2 /outer1",
		"outer1 outer2 /outer2 /outer1",
		"outer1 outer2 /outer2 /outer1",
	} {
		log = nil
		s.Get("/x").Is(200, "a")
		if got := strings.Join(log, " "); got != want {
			c.Errorf("ran %s, want %s", got, want)
		}
	}
}

func testOuterSees(c *run) {
	var status, size int
	var failed error
	app := one(c.Cache(), text("hello"))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		failed = next()
		status, size = x.Written()
		return failed
	}}
	app.Routes = append(app.Routes,
		Route{Path: "/404", Handler: func(x Ctx) error { return x.Send(404, plain, []byte("none")) }},
		Route{Path: "/error", Handler: func(x Ctx) error { return x.Error(503, "later") }},
		Route{Path: "/stream", Handler: scripts["pieces"]},
		Route{Path: "/301", Handler: scripts["redirect"]},
	)
	type sight struct {
		status, size int
		failed       bool
	}
	bare, s := c.Plain(app), c.Site(app)
	for _, path := range []string{"/x", "/x", "/404", "/404", "/error", "/error", "/stream", "/stream", "/301", "/301"} {
		want := bare.Get(path)
		wanted := sight{status, size, failed != nil}
		s.Get(path).Same(want)
		if got := (sight{status, size, failed != nil}); got != wanted {
			c.Errorf("%s: outer middleware sees %+v, without the cache %+v", path, got, wanted)
		}
	}
	s.Get("/x").Hit()
}

func testPerRoute(c *run) {
	cache := c.Cache()
	short := c.With(cache, func(p *cacheaside.Policy) { p.TTL = 10 * time.Second })
	explicitOnly := c.With(cache, func(p *cacheaside.Policy) { p.TTL = 0 })
	s := c.Site(App{
		Group: short,
		Routes: []Route{
			{Path: "/long", Cache: cache, Handler: text("l")},
			{Path: "/explicit", Cache: explicitOnly, Handler: text("e")},
			{Path: "/says", Cache: explicitOnly, Handler: with("s", "Cache-Control", "max-age=7")},
			{Path: "/free", Handler: text("f")},
			{Path: "/group/a", Handler: text("a")},
		},
	})
	for path, ttl := range map[string]int{"/long": 60, "/says": 7, "/group/a": 10} {
		s.Get(path).Miss().Stored()
		s.Get(path).Hit().TTL(ttl)
	}
	for range 2 {
		s.Get("/explicit").Miss().NotStored()
		s.Get("/free").Is(200, "f").Has("Cache-Status")
	}
	c.Clock.Advance(11 * time.Second)
	s.Get("/long").Hit().TTL(49).Has("Age", "11")
	s.Get("/group/a").NotHit()
	s.Handled("/long", 1)
	s.Handled("/group/a", 2)
}

// testNested: a cache for everything and one for the route is easily written.
func testNested(c *run) {
	cache := c.Cache()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Cache: c.With(cache, func(p *cacheaside.Policy) { p.TTL = 5 * time.Second }), Handler: with("a", "X-M", "1", "X-M", "2")},
		{Path: "/free", Handler: text("f")},
	}})
	s.caches = 2
	for range 3 {
		r, err := s.Try(c.context(), "GET", "/x", "")
		if err != nil {
			c.Fatal(err)
		}
		r.Is(200, "a").Has("X-M", "1", "2")
	}
	s.Handled("/x", 1)
	s.Get("/free").Miss().Stored()
	s.Get("/free").Hit()
	// The policy nearest to the handler decides how long.
	c.Clock.Advance(6 * time.Second)
	if _, err := s.Try(c.context(), "GET", "/x", ""); err != nil {
		c.Fatal(err)
	}
	s.Handled("/x", 2)
	s.Get("/free").Hit()
}

func testNil(c *run) {
	defer func() {
		v := recover()
		msg, _ := v.(string)
		if err, ok := v.(error); ok {
			msg = err.Error()
		}
		if !strings.Contains(msg, c.fw.Name+".New") || !strings.Contains(msg, "core.New") {
			c.Errorf("New(nil) panics with %v: name %s.New, and core.New as the remedy", v, c.fw.Name)
		}
	}()
	c.fw.New(nil)
}

func testClosed(c *run) {
	cache := c.Cache()
	s := c.Site(one(cache, text("a")))
	s.Get("/x").Miss().Stored()
	s.Get("/x").Hit()
	if err := cache.Close(c.context()); err != nil {
		c.Errorf("Close: %v", err)
	}
	for range 3 {
		s.Get("/x").Is(200, "a")
	}
}
