package coretest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest/bodies"
	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// Content codings: one run of the handler for all that clients accept (RFC 9110 section
// 12.5.3).
var compressionCases = []testCase{
	{name: "compressed once", run: testCompressedOnce},
	{name: "compressed for those who wait", run: testCompressedTogether},
	{name: "compressed: HEAD", run: testCompressedHead},
	{name: "compressed: conditions and ranges", run: testCompressedConditions},
	{name: "compressed: first client", run: testCompressedFirst},
	{name: "compressed by the handler", run: testCompressedByHandler},
	{name: "compressed: types without a name", run: testCompressedTypes},
	{name: "compressed: cache behind cache", run: testCompressedNested},
	{name: "compressed: other policies", run: testCompressedElsewhere},
	{name: "compressed and purged", run: testCompressedPurged},
	{name: "compressed: damaged in the store", run: testCompressedDamaged},
	{name: "compressed: announced in front", run: testCompressedInFront},
	{name: "compressed when it was sent as it came", run: testCompressedStream},
}

// Compressing is a config whose policy has these codings.
func Compressing(codings ...string) func(*cacheaside.Config) {
	return func(c *cacheaside.Config) { c.Policy.Compression.Codings = codings }
}

// Decode is a body without its content coding, as a client reads it.
func Decode(coding string, body []byte) ([]byte, error) {
	var in io.Reader
	switch coding {
	case "":
		return body, nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		in = z
	case "br":
		in = brotli.NewReader(bytes.NewReader(body))
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		in = z
	default:
		return nil, fmt.Errorf("Content-Encoding: %s", coding)
	}
	return io.ReadAll(in)
}

// Coded checks that a response is in a coding, "" for none, and what it says then.
func (r *response) Coded(coding, want string) *response {
	r.c.Helper()
	if got := r.Header.Get("Content-Encoding"); got != coding {
		r.c.Errorf("Content-Encoding is %q, not %q", got, coding)
	}
	if n := r.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(r.Body)) {
		r.c.Errorf("Content-Length is %s of %d", n, len(r.Body))
	}
	if vary := r.Header.Values("Vary"); !slices.Contains(vary, "Accept-Encoding") {
		r.c.Errorf("Vary: %q", vary)
	}
	if got, err := Decode(r.Header.Get("Content-Encoding"), []byte(r.Body)); err != nil || string(got) != want {
		r.c.Errorf("the body in %q is %s, %v", coding, brief(string(got)), err)
	}
	return r
}

const jsonType = "application/json"

// document is a handler that answers a body, with header fields.
func document(contentType string, body []byte, fields ...string) Handler {
	return func(c Ctx) error {
		for i := 0; i < len(fields); i += 2 {
			c.SetHeader(fields[i], fields[i+1])
		}
		return c.Send(http.StatusOK, contentType, body)
	}
}

func testCompressedOnce(c *run) {
	page := bodies.JSON(30 << 10)
	var accepts atomic.Value
	s := c.Site(one(c.Cache(Compressing("br", "gzip", "zstd")), func(x Ctx) error {
		accepts.Store(x.Header("Accept-Encoding"))
		return document(jsonType, page, "Etag", `"v"`, "Repr-Digest", "sha-256=:AAAA:")(x)
	}))
	s.Get("/x", "Accept-Encoding: gzip, deflate, br, zstd").Miss().Stored().Coded("", string(page)).Has("Etag", `"v"`)
	for accept, coding := range map[string]string{
		"gzip, deflate, br, zstd": "br", "gzip, deflate, br": "br", "gzip, deflate": "gzip", "gzip": "gzip", "zstd": "zstd",
		"br;q=0.1, zstd": "zstd", "*": "br", "gzip;q=0": "", "identity, br;q=0.9": "", "br;q=1.1": "", "": "",
	} {
		r := s.Get("/x", "Accept-Encoding: "+accept).Hit().Coded(coding, string(page))
		tag := `"v"`
		if coding != "" {
			tag = `"v-` + coding + `"`
			r.Has("Repr-Digest")
		}
		r.Has("Etag", tag)
	}
	s.Get("/x").Hit().Coded("", string(page)).Has("Repr-Digest", "sha-256=:AAAA:")
	s.Handled("/x", 1)
	if accepts.Load() != "identity" {
		c.Errorf("the handler has seen Accept-Encoding: %v", accepts.Load())
	}
}

// testCompressedTogether: clients that ask at once, in as many spellings.
func testCompressedTogether(c *run) {
	page := bodies.HTML(20 << 10)
	s := c.Site(one(c.Cache(Compressing("zstd", "gzip")), document("text/html", page)))
	accepts := []string{"gzip", "gzip, br", "zstd, gzip", "br", "", "*", "gzip;q=0.2, zstd;q=0.1", "identity"}
	got := make([]*response, 24)
	atOnce(len(got), func(i int) { got[i] = s.Get("/x", "Accept-Encoding: "+accepts[i%len(accepts)]) })
	for i, r := range got {
		if b, err := Decode(r.Header.Get("Content-Encoding"), []byte(r.Body)); err != nil || !bytes.Equal(b, page) {
			c.Errorf("%q: %v, %s", accepts[i%len(accepts)], err, brief(string(b)))
		}
	}
	s.Handled("/x", 1)
}

func testCompressedHead(c *run) {
	page := bodies.HTML(20 << 10)
	s := c.Site(one(c.Cache(Compressing("gzip")), document("text/html", page, "Etag", `"v"`)))
	s.Head("/x", "Accept-Encoding: gzip").Miss().Has("Vary", "Accept-Encoding").Has("Etag", `"v"`).Has("Content-Encoding")
	s.Get("/x", "Accept-Encoding: gzip")
	want := s.Get("/x", "Accept-Encoding: gzip").Hit().Coded("gzip", string(page))
	for name, values := range withoutMoving(want.Header) {
		if name != "Content-Length" || s.Head("/x", "Accept-Encoding: gzip").Header.Get(name) != "" {
			s.Head("/x", "Accept-Encoding: gzip").Hit().Has(name, values...)
		}
	}
}

func testCompressedConditions(c *run) {
	page := bodies.HTML(20 << 10)
	s := c.Site(one(c.Cache(Compressing("br", "gzip")), document("text/html", page, "Etag", `"v"`, "Accept-Ranges", "bytes")))
	s.Get("/x")
	for tag, coding := range map[string]string{`"v-br"`: "gzip, br", `"v-gzip"`: "gzip, br", `"v"`: "gzip", `W/"v-gzip"`: "gzip"} {
		r := s.Get("/x", "Accept-Encoding: "+coding, "If-None-Match: "+tag).Hit().Is(304, "").Has("Vary", "Accept-Encoding").Has("Content-Encoding")
		r.Has("Etag", strings.TrimPrefix(tag, "W/"))
	}
	s.Get("/x", "Accept-Encoding: br", `If-None-Match: "v-gzip"`).Hit().Coded("br", string(page))
	s.Get("/x", "Accept-Encoding: br", "Range: bytes=10-19").Hit().Is(206, string(page[10:20])).Has("Etag", `"v"`).Has("Content-Encoding")
	s.Get("/x", "Accept-Encoding: br", "Range: bytes=10-19", `If-Range: "v"`).Hit().Is(206, string(page[10:20]))
	s.Get("/x", "Accept-Encoding: br", "Range: bytes=10-19", `If-Range: "v-br"`).Hit().Coded("br", string(page))
	s.Get("/x", "Accept-Encoding: br, identity;q=0", "Range: bytes=10-19").Hit().Coded("br", string(page))
	s.Get("/x", "Accept-Encoding: br", "Cache-Control: no-transform").Hit().Coded("", string(page))
	s.Handled("/x", 1)
}

func testCompressedFirst(c *run) {
	page := bodies.HTML(20 << 10)
	s := c.Site(one(c.Cache(Compressing("br", "gzip")), document("text/html", page, "Etag", `"v"`)))
	s.Get("/x?1", "Accept-Encoding: gzip, identity;q=0").Miss().Stored().Coded("gzip", string(page)).Has("Etag", `"v-gzip"`)
	s.Get("/x?1", "Accept-Encoding: br").Hit().Coded("br", string(page))
	s.Get("/x?2", "Accept-Encoding: br", `If-None-Match: "v-br"`).Miss().Stored().Is(304, "").Has("Etag", `"v-br"`).Has("Vary", "Accept-Encoding")
	s.Get("/x?2", "Accept-Encoding: br").Hit().Coded("br", string(page))
	s.Get("/x?3", "Accept-Encoding: deflate, identity;q=0").Miss().Coded("", string(page))
}

func testCompressedByHandler(c *run) {
	page := bodies.JSON(20 << 10)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(page)
	_ = z.Close()
	raw := packed.String()
	s := c.Site(App{Global: c.Cache(Compressing("br", "gzip")), Routes: []Route{
		{Path: "/coded", Handler: document(jsonType, []byte(raw), "Content-Encoding", "gzip", "Etag", `"v"`)},
		{Path: "/lie", Handler: document(jsonType, page, "Content-Encoding", "gzip")},
		{Path: "/unknown", Handler: document(jsonType, page, "Content-Encoding", "deflate")},
		{Path: "/untouched", Handler: document(jsonType, page, "Cache-Control", "no-transform")},
	}})
	s.Get("/coded", "Accept-Encoding: gzip").Miss().Stored().Is(200, raw)
	s.Get("/coded", "Accept-Encoding: gzip").Hit().Is(200, raw).Coded("gzip", string(page)).Has("Etag", `"v"`)
	s.Get("/coded").Hit().Coded("", string(page)).Has("Etag", `"v-identity"`)
	s.Get("/coded", "Accept-Encoding: br").Hit().Coded("br", string(page)).Has("Etag", `"v-br"`)
	s.Handled("/coded", 1)
	for path, coding := range map[string]string{"/lie": "gzip", "/unknown": "deflate"} {
		s.Get(path).Miss().Is(200, string(page)).Has("Content-Encoding", coding)
		s.Get(path, "Accept-Encoding: gzip").Hit().Is(200, string(page)).Has("Content-Encoding", coding)
		s.Handled(path, 1)
	}
	s.Get("/untouched").Miss().Has("Vary")
	s.Get("/untouched", "Accept-Encoding: gzip").Hit().Is(200, string(page)).Has("Vary").Has("Content-Encoding")
}

// testCompressedTypes: a server that guesses the type of a body cannot do so of a coded
// one.
func testCompressedTypes(c *run) {
	page := bodies.HTML(20 << 10)
	s := c.Site(one(c.Cache(Compressing("gzip")), document("", page)))
	want := s.Get("/x").Miss().Stored().Header.Get("Content-Type")
	s.Get("/x").Hit().Is(200, string(page)).Has("Content-Type", want)
	s.Get("/x", "Accept-Encoding: gzip").Hit().Coded("gzip", string(page)).Has("Content-Type", want)
}

func testCompressedNested(c *run) {
	page := bodies.JSON(20 << 10)
	outer := c.Cache(Compressing("gzip"))
	inner := c.With(outer, func(p *cacheaside.Policy) { p.Compression.Codings = []string{"br", "gzip"} })
	s := c.Site(App{Global: outer, Routes: []Route{{Path: "/x", Cache: inner, Handler: document(jsonType, page)}}})
	s.Get("/x", "Accept-Encoding: br").Is(200, string(page))
	for accept, coding := range map[string]string{"br": "br", "gzip, br": "br", "gzip": "gzip", "": ""} {
		s.Get("/x", "Accept-Encoding: "+accept).Hit().Coded(coding, string(page))
	}
	s.Handled("/x", 1)
}

// testCompressedElsewhere: what one policy has stored is good for others, as a service
// whose processes are replaced one after the other has them.
func testCompressedElsewhere(c *run) {
	page := bodies.JSON(20 << 10)
	zstd := c.Cache(Compressing("zstd"))
	gzip := c.With(zstd, func(p *cacheaside.Policy) { p.Compression.Codings = []string{"gzip"} })
	none := c.With(zstd, func(p *cacheaside.Policy) { p.Compression.Codings = nil })
	with := func(cache *cacheaside.Cache) *site { return c.Site(one(cache, document(jsonType, page))) }
	a, b, d := with(zstd), with(gzip), with(none)
	a.Get("/x").Stored()
	b.Get("/x", "Accept-Encoding: gzip, zstd").Hit().Coded("zstd", string(page))
	b.Get("/x", "Accept-Encoding: gzip").Hit().Coded("gzip", string(page))
	d.Get("/x", "Accept-Encoding: gzip, zstd").Hit().Coded("zstd", string(page))
	d.Get("/x", "Accept-Encoding: gzip").Hit().Coded("", string(page))
	d.Get("/x?plain").Stored()
	a.Get("/x?plain", "Accept-Encoding: zstd").Hit().Is(200, string(page))
}

// testCompressedPurged: no form of what was purged comes back.
func testCompressedPurged(c *run) {
	n := atomic.Int64{}
	page := func() string { return fmt.Sprintf(`{"n":%d,"rest":"%s"}`, n.Load(), strings.Repeat("page ", 1000)) }
	cache := c.Cache(Compressing("zstd", "gzip"))
	s := c.Site(one(cache, func(x Ctx) error { return document(jsonType, []byte(page()), "Cache-Tag", "t")(x) }))
	for range 5 {
		n.Add(1)
		s.Get("/x").Miss().Stored()
		for _, coding := range []string{"zstd", "gzip", ""} {
			s.Get("/x", "Accept-Encoding: "+coding).Hit().Coded(coding, page())
		}
		if err := cache.PurgeTags(c.context(), "t"); err != nil {
			c.Fatal(err)
		}
	}
}

// testCompressedDamaged: a body that is not what it claims to be is a miss, however large
// it would become, and is stored anew.
func testCompressedDamaged(c *run) {
	page := bodies.JSON(20 << 10)
	cache, rec := c.recording(Compressing("gzip"))
	s := c.Site(one(cache, document(jsonType, page)))
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	for range 64 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Close()
	for name, change := range map[string]func(*entry.Content){
		"garbage":         func(e *entry.Content) { e.Body = []byte("no gzip at all") },
		"cut":             func(e *entry.Content) { e.Body = e.Body[:len(e.Body)/2] },
		"trailing":        func(e *entry.Content) { e.Body = append(e.Body, "more"...) },
		"empty":           func(e *entry.Content) { e.Body = nil },
		"longer":          func(e *entry.Content) { e.Size-- },
		"shorter":         func(e *entry.Content) { e.Size++ },
		"bomb":            func(e *entry.Content) { e.Body = bomb.Bytes() },
		"bomb that tells": func(e *entry.Content) { e.Body, e.Size = bomb.Bytes(), 64<<20 },
		"endless":         func(e *entry.Content) { e.Size = 1 << 62 },
		"other coding":    func(e *entry.Content) { e.Coding = 2 },
		"unknown coding":  func(e *entry.Content) { e.Coding = 200 },
	} {
		poison(s, rec, change)
		before, calls := s.cache.Stats().Corrupt, s.Calls("/x")
		r := s.Get("/x", "Accept-Encoding: identity").Is(200, string(page)) // who accepts gzip decodes it
		if s.Calls("/x") == calls || s.cache.Stats().Corrupt == before {
			c.Errorf("%s: it was served, or not counted: %v", name, r.Header)
		}
		c.flush(cache)
		s.Get("/x", "Accept-Encoding: gzip").Hit().Coded("gzip", string(page))
	}
}

// testCompressedInFront: middleware in front that has announced a coding of its own gets
// plain bodies.
func testCompressedInFront(c *run) {
	page := bodies.JSON(20 << 10)
	app := one(c.Cache(Compressing("gzip")), document(jsonType, page))
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SetHeader("Content-Encoding", "x-front")
		return next()
	}}
	s := c.Site(app)
	s.Get("/x", "Accept-Encoding: gzip").Miss().Stored().Is(200, string(page))
	s.Get("/x", "Accept-Encoding: gzip").Hit().Is(200, string(page)).Has("Content-Encoding", "x-front")
}

// testCompressedStream: what is sent as it comes is plain, and compressed once it is
// complete.
func testCompressedStream(c *run) {
	page := bodies.JSON(600 << 10)
	proceed := make(chan struct{}, 1)
	cache := c.Cache(Compressing("br", "gzip"))
	s := c.Site(one(cache, func(x Ctx) error {
		x.SetHeader("Etag", `"v"`)
		x.SetHeader("Content-Type", jsonType)
		return c.pieces(x, interrupted(page, proceed))
	}))
	b := s.Begin(c.context(), 1, "/x?1", "Accept-Encoding: br")
	proceed <- struct{}{}
	b.End().Miss().Is(200, string(page)).Coded("", string(page)).Has("Etag", `"v"`)
	c.stored(cache, 1)
	for _, coding := range []string{"br", "gzip", ""} {
		s.Get("/x?1", "Accept-Encoding: "+coding).Hit().Coded(coding, string(page))
	}
	// What the whole is needed for is held back.
	for i, ask := range [][]string{{"Accept-Encoding: br", `If-None-Match: "v-br"`}, {"Accept-Encoding: gzip, identity;q=0"}} {
		proceed <- struct{}{}
		r := s.Get("/x?2"+strconv.Itoa(i), ask...).Miss()
		if !c.fw.Streams { // which nobody knows to be complete when the header leaves
			r.Stored()
		}
		if i == 0 {
			r.Is(304, "").Has("Etag", `"v-br"`)
		} else {
			r.Coded("gzip", string(page)).Has("Etag", `"v-gzip"`)
		}
	}
}
