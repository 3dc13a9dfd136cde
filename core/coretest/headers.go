package coretest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// What is stored of the header, and whose fields a hit carries.
var headerCases = []testCase{
	{name: "values and their order", run: testMultiValue},
	{name: "many fields", run: testManyFields},
	{name: "ResponseHeaders", run: testResponseHeaders},
	{name: "outer field is not replayed", run: testOuterField},
	{name: "outer field is appended to", run: testOuterAppend},
	{name: "outer field overridden", run: testOuterOverride},
	{name: "outer field deleted", run: testOuterDelete},
	{name: "outer Set-Cookie", run: testOuterCookie},
	{name: "outer Cache-Control", run: testOuterControl},
	{name: "outer Vary", run: testOuterVary},
	{name: "outer tags", run: testOuterTags},
	{name: "inner field is stored", run: testInnerField},
	{name: "response names in any case", run: testSpelling},
	{name: "outer names in any case", run: testOuterSpelling},
	{name: "gzip", run: testGzip},
}

func testMultiValue(c *run) {
	s := c.Site(one(c.Cache(), with("a", "X-M", "2", "X-M", "1", "X-M", "2", "X-N", "b, c", "Link", "</1>", "Link", "</2>")))
	for i := range 3 {
		r := s.Get("/x").Has("X-M", "2", "1", "2").Has("X-N", "b, c").Has("Link", "</1>", "</2>")
		if i > 0 {
			r.Hit()
		}
	}
	s.Handled("/x", 1)
}

func testManyFields(c *run) {
	long := strings.Repeat("v", 4000)
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		for i := range 50 {
			x.SetHeader(fmt.Sprintf("X-F%d", i), strconv.Itoa(i))
		}
		x.SetHeader("X-Long", long)
		x.SetHeader("X-Empty", "")
		return x.Send(200, plain, []byte("a"))
	}))
	first := s.Get("/x").Stored()
	s.Get("/x").Hit().Same(first).Has("X-Long", long).Has("X-Empty", "").Has("X-F49", "49")
}

func testResponseHeaders(c *run) {
	h := with("a", "X-Keep", "1", "X-Drop", "2", "Cache-Control", "max-age=60", "ETag", `"e"`)
	cache := c.Cache()
	s := c.Site(App{Routes: []Route{
		{Path: "/except", Handler: h, Cache: c.With(cache, func(p *cacheaside.Policy) { p.Storing.Headers = cacheaside.Except("x-drop") })},
		{Path: "/only", Handler: h, Cache: c.With(cache, func(p *cacheaside.Policy) { p.Storing.Headers = cacheaside.Only("X-Keep") })},
		{Path: "/none", Handler: h, Cache: c.With(cache, func(p *cacheaside.Policy) { p.Storing.Headers = cacheaside.None() })},
	}})
	for path, keep := range map[string][]string{"/except": {"1"}, "/only": {"1"}, "/none": nil} {
		s.Get(path).Stored().Has("X-Keep", "1").Has("X-Drop", "2")
		s.Get(path).Hit().Is(200, "a").Has("X-Keep", keep...).Has("X-Drop").Has("Content-Type", plain).Has("Etag", `"e"`)
	}
	// What speaks to this cache is needed to apply a 304.
	s = c.Site(App{Global: c.With(cache, func(p *cacheaside.Policy) { p.Storing.Headers = cacheaside.None() }), Routes: []Route{{Path: "/targeted", Handler: func(x Ctx) error {
		x.SetHeader("ETag", `"1"`)
		x.SetHeader("Cache-Control", "max-age=60")
		if x.Header("If-None-Match") != "" {
			return x.NoContent(304)
		}
		x.SetHeader("CDN-Cache-Control", "no-cache")
		return x.Send(200, plain, []byte("a"))
	}}}})
	s.Get("/targeted").Stored()
	for range 2 {
		s.Get("/targeted").NotHit().Is(200, "a")
	}
}

// counted is an outer middleware that sets a field to a new value for each
// request, and the value.
func counted(name string) (Middleware, func() string) {
	var n atomic.Int64
	value := func() string { return fmt.Sprintf("o%d", n.Load()) }
	return func(x Ctx, next func() error) error {
		n.Add(1)
		x.SetHeader(name, value())
		return next()
	}, value
}

func testOuterField(c *run) {
	mw, value := counted("X-Request-Id")
	app := one(c.Cache(), with("a", "X-H", "1"))
	app.Outer = []Middleware{mw}
	app.Routes = append(app.Routes, Route{Path: "/304", Handler: with("v", "ETag", `"1"`)})
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Request-Id", "o1")
	for range 3 {
		s.Get("/x").Hit().Has("X-Request-Id", value()).Has("X-H", "1")
	}
	s.Head("/x").Hit().Has("X-Request-Id", value())
	s.Get("/304").Stored()
	s.Get("/304", `If-None-Match: "1"`).Is(304, "").Has("X-Request-Id", value())
	if value() != "o7" {
		c.Errorf("the outer middleware ran %s times", value())
	}
}

func testOuterAppend(c *run) {
	mw, value := counted("X-Multi")
	app := one(c.Cache(), with("a", "X-Multi", "h1", "X-Multi", "h2"))
	app.Outer = []Middleware{mw}
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Multi", "o1", "h1", "h2")
	for range 3 {
		s.Get("/x").Hit().Has("X-Multi", value(), "h1", "h2")
	}
}

func testOuterOverride(c *run) {
	mw, _ := counted("X-Over")
	app := one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-Over", "handler")
		return x.Send(200, plain, []byte("a"))
	})
	app.Outer = []Middleware{mw}
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Over", "handler")
	s.Get("/x").Hit().Has("X-Over", "handler")
	s.Get("/x").Hit().Has("X-Over", "handler")
}

func testOuterDelete(c *run) {
	mw, _ := counted("X-Gone")
	app := one(c.Cache(), func(x Ctx) error {
		x.DelHeader("X-Gone")
		return x.Send(200, plain, []byte("a"))
	})
	app.Outer = []Middleware{mw}
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Gone")
	s.Get("/x").Hit().Has("X-Gone")
	s.Get("/x").Hit().Has("X-Gone")
}

// testOuterCookie: nobody may get somebody else's session, whoever set it.
func testOuterCookie(c *run) {
	var n atomic.Int64
	app := one(c.Cache(), text("a"))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.AddHeader("Set-Cookie", fmt.Sprintf("id=%d", n.Add(1)))
		return next()
	}}
	s := c.Site(app)
	for i := range 3 {
		s.Get("/x").Miss().NotStored().Is(200, "a").Has("Set-Cookie", fmt.Sprintf("id=%d", i+1))
	}
	s.Handled("/x", 3)
}

func testOuterControl(c *run) {
	app := one(c.Cache(), text("a"))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SetHeader("Cache-Control", "private")
		return next()
	}}
	s := c.Site(app)
	for range 2 {
		s.Get("/x").Miss().NotStored().Is(200, "a").Has("Cache-Control", "private")
	}
}

// testOuterVary is what a CORS middleware in front of the cache does.
func testOuterVary(c *run) {
	app := one(c.Cache(), func(x Ctx) error {
		x.AddHeader("Vary", "Accept")
		return x.Send(200, plain, []byte(x.Header("Accept")))
	})
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.AddHeader("Vary", "Origin")
		x.SetHeader("Access-Control-Allow-Origin", x.Header("Origin"))
		return next()
	}}
	s := c.Site(app)
	for round := range 3 {
		for _, origin := range []string{"https://a.test", "https://b.test"} {
			for _, accept := range []string{"text/plain", "text/html"} {
				r := s.Get("/x", "Origin: "+origin, "Accept: "+accept).Is(200, accept).
					Has("Access-Control-Allow-Origin", origin).Has("Vary", "Origin", "Accept")
				if round > 0 {
					r.Hit()
				}
			}
		}
	}
}

// testOuterTags: tags that middleware in front adds are tags, and no client sees
// them, on hits neither.
func testOuterTags(c *run) {
	for _, name := range []string{"Cache-Tag", "surrogate-key"} {
		app := App{Spelled: name == "surrogate-key", Outer: []Middleware{func(x Ctx, next func() error) error {
			x.SpellHeader(name, "outer")
			return next()
		}}, Global: c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace += name }), Routes: []Route{
			{Path: "/silent", Handler: text("a")},
			{Path: "/adds", Handler: with("a", name, "inner")},
			{Path: "/sets", Handler: func(x Ctx) error {
				x.DelHeader(name)
				x.SetHeader(name, "outer")
				return x.Send(200, plain, []byte("a"))
			}},
		}}
		s := c.Site(app)
		for _, path := range []string{"/silent", "/adds", "/sets"} {
			s.Get(path).Stored().Has(name)
			s.Get(path).Hit().Has(name)
			s.Get(path, "If-None-Match: *").Hit().Is(304, "").Has(name)
			if err := s.cache.PurgeTags(c.context(), "outer"); err != nil {
				c.Fatal(err)
			}
			s.Get(path).Miss()
		}
	}
}

func testInnerField(c *run) {
	mw, _ := counted("X-Inner")
	app := one(c.Cache(), text("a"))
	app.Inner = []Middleware{mw}
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Inner", "o1")
	s.Get("/x").Hit().Has("X-Inner", "o1")
	c.Clock.Advance(61 * time.Second)
	s.Get("/x").NotHit().Stored().Has("X-Inner", "o2")
	s.Get("/x").Hit().Has("X-Inner", "o2")
}

// testSpelling: what a handler says counts in whatever case it writes the name. The
// client of a miss gets the name as it is, that of a hit the canonical one.
func testSpelling(c *run) {
	refused := map[string][2]string{
		"/private": {"cache-control", "private"}, "/no-store": {"CACHE-CONTROL", "no-store"}, "/cookie": {"set-cookie", "id=1"}, "/any": {"vary", "*"},
		"/targeted": {"cdn-cache-control", "no-store"},
	}
	app := App{Global: c.Cache()}
	spelling := func(fields ...string) Handler {
		return func(x Ctx) error {
			for i := 0; i < len(fields); i += 2 {
				x.SpellHeader(fields[i], fields[i+1])
			}
			return x.Send(200, plain, []byte(x.Header("X-V")))
		}
	}
	for path, f := range refused {
		app.Routes = append(app.Routes, Route{Path: path, Handler: spelling(f[0], f[1])})
	}
	app.Routes = append(app.Routes,
		Route{Path: "/vary", Handler: spelling("vary", "x-v")},
		Route{Path: "/tags", Handler: spelling("cache-tag", "a", "SURROGATE-key", "b\u00a0c d", "ETag", `"1"`, "x-m", "1", "X-M", "2")},
		Route{Path: "/moved", Methods: []string{"POST"}, Handler: spelling("location", "/tags")},
	)
	s := c.Site(app)
	for path, f := range refused {
		for range 2 {
			s.Get(path).NotStored().Is(200, "").Has(f[0], f[1])
		}
	}
	for _, v := range []string{"a", "b"} {
		s.Get("/vary", "X-V: "+v).Miss().Stored().Is(200, v)
	}
	s.Get("/vary", "X-V: a").Hit().Is(200, "a").Has("Vary", "x-v")
	tags := func() {
		c.Helper()
		s.Get("/tags").Miss().Stored().Has("Cache-Tag").Has("Surrogate-Key").Has("Etag", `"1"`)
		r := s.Get("/tags").Hit().Has("Cache-Tag").Has("Surrogate-Key").Has("Etag", `"1"`)
		if m := r.Header.Values("X-M"); len(m) != 2 {
			c.Errorf("%s: X-M is %q", r.What, m)
		}
		s.Get("/tags", `If-None-Match: "1"`).Hit().Is(304, "")
	}
	for _, tag := range []string{"a", "b\u00a0c", "d"} {
		tags()
		if err := s.cache.PurgeTags(c.context(), tag); err != nil {
			c.Fatal(err)
		}
	}
	tags()
	s.Do("POST", "/moved", "x")
	s.Get("/tags").Miss()
}

// testOuterSpelling: what a stored response replaces or removes of middleware in
// front, it does in whatever case.
func testOuterSpelling(c *run) {
	app := one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-Over", "handler")
		return x.Send(200, plain, []byte("a"))
	})
	app.Spelled = true
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SpellHeader("x-other", "outer")
		return next()
	}}
	app.Routes = append(app.Routes, Route{Path: "/private", Handler: text("a")})
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Over", "handler").Has("X-Other", "outer")
	s.Get("/x").Hit().Has("X-Over", "handler").Has("X-Other", "outer")
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SpellHeader("cache-control", "private")
		return next()
	}}
	s = c.Site(app)
	for range 2 {
		s.Get("/private").NotStored().Has("Cache-Control", "private")
	}
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SpellHeader("x-over", "outer")
		return next()
	}}
	c.Site(app).Get("/x").Hit().Has("X-Over", "handler")
}

// testGzip: a body that the handler has compressed never reaches a client that
// did not ask for it.
func testGzip(c *run) {
	body := strings.Repeat("compress me ", 100)
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.AddHeader("Vary", "Accept-Encoding")
		accept := strings.ReplaceAll(x.Header("Accept-Encoding"), " ", "")
		if !strings.Contains(accept, "gzip") || strings.Contains(accept, "gzip;q=0") && !strings.Contains(accept, "gzip;q=0.") {
			return x.Send(200, plain, []byte(body))
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, body); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		x.SetHeader("Content-Encoding", "gzip")
		return x.Send(200, plain, b.Bytes())
	}))
	for round := range 3 {
		for accept, zipped := range map[string]bool{
			"": false, "gzip": true, "gzip, deflate, br": true, "identity": false, "gzip;q=0": false, "br;q=1.0, gzip;q=0.8": true, "deflate": false,
		} {
			var fields []string
			if accept != "" {
				fields = []string{"Accept-Encoding: " + accept}
			}
			r := s.Get("/x", fields...)
			if round > 0 {
				r.Hit()
			}
			if !zipped {
				r.Is(200, body).Has("Content-Encoding")
				continue
			}
			r.Has("Content-Encoding", "gzip")
			z, err := gzip.NewReader(strings.NewReader(r.Body))
			if err != nil {
				c.Fatalf("%s: %v", r.What, err)
			}
			if got, err := io.ReadAll(z); err != nil || string(got) != body {
				c.Errorf("%s: unpacks to %s, %v", r.What, brief(string(got)), err)
			}
		}
	}
}

// CheckCompression asks for a resource that a framework's own middleware
// compresses, in front of the cache or behind it: every client must get what
// it can read, and compressed where it can, unless the middleware does not
// announce Vary on what it leaves as it is.
func CheckCompression(tb testing.TB, body string, always bool, get func(fields ...string) *http.Response) {
	tb.Helper()
	for round := range 3 {
		for _, accept := range []string{"gzip", "", "identity", "gzip"} {
			var fields []string
			if accept != "" {
				fields = []string{"Accept-Encoding: " + accept}
			}
			res := get(fields...)
			if round > 0 && !IsHit(res) {
				tb.Errorf("Accept-Encoding %q: no hit: %q", accept, res.Header.Get("Cache-Status"))
			}
			var r io.Reader = res.Body
			switch encoding := res.Header.Get("Content-Encoding"); {
			case encoding == "" && (accept != "gzip" || !always):
			case encoding == "gzip" && accept == "gzip":
				z, err := gzip.NewReader(r)
				if err != nil {
					tb.Fatal(err)
				}
				r = z
			default:
				tb.Errorf("Accept-Encoding %q: Content-Encoding %q", accept, encoding)
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != body {
				tb.Errorf("Accept-Encoding %q: %s, %v", accept, brief(string(b)), err)
			}
			_ = res.Body.Close()
		}
	}
}
