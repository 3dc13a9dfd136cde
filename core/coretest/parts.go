package coretest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Responses that are kept in parts (RFC 9111 sections 3.3 and 3.4).
var partCases = []testCase{
	{name: "a part is reused", run: testPart},
	{name: "parts are combined", run: testPartsCombined},
	{name: "parts are completed", run: testPartsCompleted},
	{name: "parts of another version", run: testPartsOfAnotherVersion},
	{name: "a handler that does not heed If-Range", run: testPartsUnheeded},
	{name: "a handler that fails to complete", run: testPartsFailing},
	{name: "what completes is held back", run: testPartsHeldBack},
	{name: "parts that lie", run: testPartsThatLie},
	{name: "parts and the whole", run: testPartsAndWhole},
	{name: "parts that are stale", run: testStaleParts},
	{name: "parts are purged", run: testPartsPurged},
	{name: "parts of variants", run: testPartsOfVariants},
	{name: "what parts do not answer", run: testPartsUnanswered},
	{name: "many parts", run: testManyParts},
	{name: "the whole for all who wait", run: testPartsCoalesced},
	{name: "lenient with parts", run: testPartsLenient},
}

// file is what answers as a server of files does. What it is changed to counts from the
// next request on.
type file struct {
	mu     sync.Mutex
	body   string
	etag   string
	fields []string                // name, value
	deaf   bool                    // it does not heed If-Range
	other  func(Ctx) (bool, error) // what it does instead
	asked  []string                // the Range and If-Range of its requests
}

func (f *file) set(change func(f *file)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// took returns what the last requests have asked for, with semicolons between them.
func (f *file) took() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := strings.Join(f.asked, "; ")
	f.asked = nil
	return all
}

func (f *file) handle(x Ctx) error {
	f.mu.Lock()
	now := file{body: f.body, etag: f.etag, fields: f.fields, deaf: f.deaf, other: f.other}
	wanted, ifRange := x.Header("Range"), x.Header("If-Range")
	f.asked = append(f.asked, strings.TrimSpace(wanted+" "+ifRange))
	f.mu.Unlock()
	if now.other != nil {
		if done, err := now.other(x); done {
			return err
		}
		wanted = x.Header("Range")
	}
	x.SetHeader("Cache-Control", "max-age=60")
	if now.etag != "" {
		x.SetHeader("Etag", now.etag)
	}
	for i := 0; i < len(now.fields); i += 2 {
		x.SetHeader(now.fields[i], now.fields[i+1])
	}
	if now.etag != "" && x.Header("If-None-Match") == now.etag {
		return x.NoContent(http.StatusNotModified)
	}
	size := int64(len(now.body))
	ranges, verdict := httprules.ParseRange(wanted, size)
	switch {
	case wanted == "", ifRange != "" && ifRange != now.etag && !now.deaf, verdict == httprules.RangeNone, len(ranges) > 1:
		return x.Send(http.StatusOK, plain, []byte(now.body))
	case verdict == httprules.RangeUnsatisfiable:
		x.SetHeader("Content-Range", fmt.Sprintf("bytes */%d", size))
		return x.Send(http.StatusRequestedRangeNotSatisfiable, plain, nil)
	}
	one := ranges[0]
	x.SetHeader("Content-Range", fmt.Sprintf("bytes %d-%d/%d", one.Start, one.Start+one.Length-1, size))
	return x.Send(http.StatusPartialContent, plain, []byte(now.body[one.Start:one.Start+one.Length]))
}

const tenDigits = "0123456789"

// parts is a site with a file of ten digits at /x. It has no TTL for what states none.
func (c *run) parts(change ...func(*cacheaside.Config)) (*site, *file) {
	c.Helper()
	f := &file{body: tenDigits, etag: `"a"`}
	change = append(change, func(cfg *cacheaside.Config) { cfg.Namespace = randomName() })
	return c.Site(one(c.Cache(change...), f.handle)), f
}

// part checks a 206.
func (r *response) part(of, body string) *response {
	r.c.Helper()
	return r.Is(206, body).Has("Content-Range", "bytes "+of).Has("Content-Length", fmt.Sprint(len(body)))
}

func (f *file) want(c *run, asked ...string) {
	c.Helper()
	if got, want := f.took(), strings.Join(asked, "; "); got != want {
		c.Errorf("the handler was asked for %q, want %q", got, want)
	}
}

func testPart(c *run) {
	s, f := c.parts()
	f.fields = []string{"X-Version", "1", "Content-Disposition", "inline"}
	s.Get("/x", "Range: bytes=2-6").Miss().Stored().TTL(60).part("2-6/10", "23456").Has("Age")
	f.want(c, "bytes=2-6")
	for wanted, want := range map[string][2]string{
		"bytes=2-6": {"2-6/10", "23456"}, "bytes=2-2": {"2-2/10", "2"}, "bytes=6-6": {"6-6/10", "6"}, "BYTES=3-5": {"3-5/10", "345"}, "bytes=4-6,": {"4-6/10", "456"},
	} {
		s.Get("/x", "Range: "+wanted).Hit().TTL(60).part(want[0], want[1]).Has("Age", "0").
			Has("Etag", `"a"`).Has("X-Version", "1").Has("Content-Disposition", "inline").Has("Content-Type", plain)
	}
	r := s.Get("/x", "Range: bytes=2-3, 6-6").Hit()
	if r.Status != 206 || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/byteranges; boundary=") ||
		strings.Count(r.Body, "Content-Range: bytes ") != 2 || !strings.Contains(r.Body, "bytes 2-3/10\r\n") || !strings.Contains(r.Body, "\r\n\r\n23\r\n") {
		c.Errorf("%s: %d %q %q", r.What, r.Status, r.Header.Get("Content-Type"), r.Body)
	}
	r.Has("Content-Range")
	s.Get("/x", "Range: bytes=2-3", `If-Range: "a"`).Hit().part("2-3/10", "23")
	s.Get("/x", "Range: bytes=2-3", `If-None-Match: "a"`).Hit().Is(304, "").Has("Content-Range")
	s.Get("/x", "Range: bytes=2-3", `If-None-Match: "b"`).Hit().part("2-3/10", "23")
	f.want(c)

	// Also at the end, of which the whole length tells where it is.
	s, f = c.parts()
	s.Get("/x", "Range: bytes=-4").Stored().part("6-9/10", "6789")
	s.Get("/x", "Range: bytes=-4").Hit().part("6-9/10", "6789")
	s.Get("/x", "Range: bytes=-1").Hit().part("9-9/10", "9")
	s.Get("/x", "Range: bytes=7-").Hit().part("7-9/10", "789")
	s.Get("/x", "Range: bytes=8-1000").Hit().part("8-9/10", "89")
	f.want(c, "bytes=-4")

	// Without a validator as well; but a weak one or none is not combined.
	for _, etag := range []string{"", `W/"a"`} {
		s, f = c.parts()
		f.etag = etag
		s.Get("/x", "Range: bytes=0-4").Stored().part("0-4/10", "01234")
		s.Get("/x", "Range: bytes=1-3").Hit().part("1-3/10", "123")
		s.Get("/x", "Range: bytes=5-9").Fwd("partial").Stored().part("5-9/10", "56789")
		s.Get("/x", "Range: bytes=6-8").Hit().part("6-8/10", "678")
		f.want(c, "bytes=0-4", "bytes=5-9")
		s.Get("/x", "Range: bytes=1-3").Fwd("partial")
		s.Get("/x").Fwd("partial").Stored().Is(200, tenDigits)
		f.want(c, "bytes=1-3", "")
	}
}

func testPartsCombined(c *run) {
	s, f := c.parts()
	s.Get("/x", "Range: bytes=0-2").Stored().part("0-2/10", "012")
	s.Get("/x", "Range: bytes=6-7").Fwd("partial").Stored().part("6-7/10", "67")
	s.Get("/x", "Range: bytes=1-2").Hit().part("1-2/10", "12")
	s.Get("/x", "Range: bytes=7-7").Hit().part("7-7/10", "7")
	f.want(c, "bytes=0-2", "bytes=6-7")

	// Only what is missing is asked for, and the newest fields win.
	f.set(func(f *file) { f.fields = []string{"X-New", "1"} })
	c.Clock.Advance(10e9)
	s.Get("/x", "Range: bytes=1-7").Fwd("partial").Stored().part("1-7/10", "1234567").Has("X-New", "1").Has("Age", "0")
	f.want(c, `bytes=3-5 "a"`)
	s.Get("/x", "Range: bytes=0-7").Hit().TTL(60).part("0-7/10", "01234567").Has("X-New", "1")

	// With the last part it is whole.
	s.Get("/x", "Range: bytes=8-").Fwd("partial").Stored().part("8-9/10", "89")
	f.want(c, "bytes=8-")
	s.Get("/x").Hit().Is(200, tenDigits).Has("Content-Range").Has("Content-Length", "10").Has("X-New", "1")
	s.Head("/x").Hit().Is(200, "").Has("Content-Length", "10")
	s.Get("/x", "Range: bytes=2-4").Hit().part("2-4/10", "234")
	s.Get("/x", "Range: bytes=20-").Hit().Is(416, "").Has("Content-Range", "bytes */10")
	f.want(c)
}

func testPartsCompleted(c *run) {
	for _, tt := range []struct{ first, asked string }{
		{"bytes=0-4", `bytes=5- "a"`}, {"bytes=5-9", `bytes=0-4 "a"`}, {"bytes=-1", `bytes=0-8 "a"`}, {"bytes=0-0", `bytes=1- "a"`},
	} {
		s, f := c.parts()
		s.Get("/x", "Range: "+tt.first).Stored()
		s.Get("/x").Fwd("partial").Stored().Is(200, tenDigits).Has("Content-Range").Has("Content-Length", "10").Has("Age", "0")
		f.want(c, tt.first, tt.asked)
		s.Get("/x").Hit().Is(200, tenDigits).Has("Content-Range")
	}
	// Parts in the middle save nothing.
	s, f := c.parts()
	s.Get("/x", "Range: bytes=4-5").Stored()
	s.Get("/x").Fwd("partial").Stored().Is(200, tenDigits)
	f.want(c, "bytes=4-5", "")
	// A client's own conditions are judged by the cache.
	s, f = c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	s.Get("/x", `If-None-Match: "a"`).Fwd("partial").Is(304, "")
	f.want(c, "bytes=0-4", `bytes=5- "a"`)
	s.Get("/x").Hit().Is(200, tenDigits)
	// What the handler says to one client goes to that one.
	s, f = c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) { f.fields = []string{"Set-Cookie", "a=1"} })
	s.Get("/x").Fwd("partial").NotStored().Detail("set-cookie").Is(200, tenDigits).Has("Set-Cookie", "a=1")
	f.set(func(f *file) { f.fields = nil })
	s.Get("/x", "Range: bytes=0-1").Has("Set-Cookie")
	s.Get("/x").Is(200, tenDigits).Has("Set-Cookie")
}

func testPartsOfAnotherVersion(c *run) {
	s, f := c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored().part("0-4/10", "01234")
	f.set(func(f *file) { f.body, f.etag = "abcdefghij", `"b"` })
	// A part of the new one takes the place of the old.
	s.Get("/x", "Range: bytes=6-7").Fwd("partial").Stored().part("6-7/10", "gh")
	s.Get("/x", "Range: bytes=0-4").Fwd("partial").Stored().part("0-4/10", "abcde")
	s.Get("/x", "Range: bytes=0-7").Fwd("partial").Stored().part("0-7/10", "abcdefgh")
	f.want(c, "bytes=0-4", "bytes=6-7", "bytes=0-4", `bytes=5-5 "b"`)

	// So does the new whole, which the handler gives in place of what is missing.
	f.set(func(f *file) { f.body, f.etag = "ABCDE", `"c"` })
	s.Get("/x").Fwd("partial").Stored().Is(200, "ABCDE").Has("Etag", `"c"`)
	f.want(c, `bytes=8- "b"`)
	s.Get("/x").Hit().Is(200, "ABCDE")

	// Another length under the same ETag belongs to nothing.
	s, f = c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) { f.body = "0123456789ab" })
	s.Get("/x", "Range: bytes=6-7").Stored().part("6-7/12", "67")
	s.Get("/x", "Range: bytes=0-4").Fwd("partial").Stored().part("0-4/12", "01234")
	s.Get("/x").Fwd("partial").Stored().Is(200, "0123456789ab")
}

// testPartsUnheeded: the handler's part of another version is thrown away, and the whole
// is asked for anew.
func testPartsUnheeded(c *run) {
	s, f := c.parts()
	for i, change := range []func(f *file){
		func(f *file) { f.body, f.etag = "abcdefghij", `"b"` },
		func(f *file) { f.body, f.etag = "abc", `"c"` }, // for which there is no such part
		func(f *file) { f.body, f.etag = "abcdefghijkl", `"c"` },
		func(f *file) { f.body = "abcdefghijkl" }, // it lies
		func(f *file) { f.body, f.etag = "ABCDEFGHIJ", "" },
	} {
		f.set(func(f *file) { f.body, f.etag, f.deaf = tenDigits, `"a"`, true })
		if err := s.cache.Purge(c.context(), cacheaside.Purge{URLs: []string{"http://" + defaultHost + "/x"}}); err != nil {
			c.Fatal(err)
		}
		s.Get("/x", "Range: bytes=0-4").Stored().part("0-4/10", "01234")
		f.took()
		f.set(change)
		r := s.Get("/x").Is(200, f.body)
		if r.CacheStatus()["collapsed"] != "?1" {
			c.Errorf("%d: Cache-Status %q", i, r.Header.Get("Cache-Status"))
		}
		r.Has("Content-Range")
		f.want(c, `bytes=5- "a"`, "")
		s.Get("/x").Hit().Is(200, f.body)
	}
	// The same where the client wants a range of which a part is there.
	f.set(func(f *file) { f.body, f.etag, f.deaf = tenDigits, `"a"`, true })
	if err := s.cache.Purge(c.context(), cacheaside.Purge{URLs: []string{"http://" + defaultHost + "/x"}}); err != nil {
		c.Fatal(err)
	}
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) { f.body, f.etag = "abcdefghij", `"b"` })
	r := s.Get("/x", "Range: bytes=3-6")
	if r.Status != 206 && r.Status != 200 || r.Status == 206 && r.Body != "defg" || r.Status == 200 && r.Body != "abcdefghij" {
		c.Errorf("%s: %d %q", r.What, r.Status, r.Body)
	}
}

// testPartsFailing: what is neither a part nor the whole goes to the client, as without a
// cache.
func testPartsFailing(c *run) {
	for _, tt := range []struct {
		status int
		gone   bool // what was stored is
	}{{404, true}, {403, true}, {500, false}, {503, false}, {429, false}} {
		s, f := c.parts()
		s.Get("/x", "Range: bytes=0-4").Stored()
		f.set(func(f *file) {
			f.other = func(x Ctx) (bool, error) { return true, x.Send(tt.status, plain, []byte("no")) }
		})
		s.Get("/x").Fwd("partial").NotStored().Is(tt.status, "no").Has("Content-Range")
		f.set(func(f *file) { f.other = nil })
		f.took()
		if r := s.Get("/x", "Range: bytes=0-4").part("0-4/10", "01234"); (f.took() != "") != tt.gone {
			c.Errorf("after %d: Cache-Status %q", tt.status, r.Header.Get("Cache-Status"))
		}
	}
}

// testPartsHeldBack: nothing of what only the cache has asked for reaches the client,
// however the handler sends it.
func testPartsHeldBack(c *run) {
	const size = 1 << 20
	whole := strings.Repeat(tenDigits, size/10)
	stream := func(after int) func(Ctx) (bool, error) {
		return func(x Ctx) (bool, error) {
			wanted := x.Header("Range")
			if wanted == "" {
				return false, nil
			}
			ranges, _ := httprules.ParseRange(wanted, int64(len(whole)))
			one := ranges[0]
			x.SetHeader("Cache-Control", "max-age=60")
			x.SetHeader("Etag", `"a"`)
			x.SetHeader("Content-Range", fmt.Sprintf("bytes %d-%d/%d", one.Start, one.Start+one.Length-1, len(whole)))
			return true, x.Stream(http.StatusPartialContent, plain, func(w Stream) error {
				part := whole[one.Start : one.Start+one.Length]
				for len(part) > 0 {
					n := min(after, len(part))
					if _, err := w.Write([]byte(part[:n])); err != nil {
						return err
					}
					if err := w.Flush(); err != nil {
						return err
					}
					part = part[n:]
				}
				return nil
			})
		}
	}
	s, f := c.parts()
	f.body = whole
	s.Get("/x", "Range: bytes=0-99").Stored()
	f.set(func(f *file) { f.other = stream(size / 4) })
	f.took()
	if r := s.Get("/x").Fwd("partial").Stored(); r.Status != 200 || r.Body != whole {
		c.Errorf("%s: %d, %d bytes", r.What, r.Status, len(r.Body))
	}
	f.want(c, `bytes=100- "a"`)
	f.set(func(f *file) { f.other = nil })

	// What is longer than MaxBytes cannot be held back.
	s, f = c.parts(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxBytes = 20 })
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) {
		f.other = func(x Ctx) (bool, error) {
			if x.Header("Range") == "" {
				return false, nil
			}
			x.SetHeader("Cache-Control", "max-age=60")
			x.SetHeader("Etag", `"a"`)
			x.SetHeader("Content-Range", "bytes 5-9/10")
			return true, x.Send(http.StatusPartialContent, plain, []byte(strings.Repeat("x", 100)))
		}
	})
	s.Get("/x").Is(200, tenDigits).Has("Content-Range")
	// Nor is more asked for than may be stored.
	s, f = c.parts(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxBytes = 6 })
	s.Get("/x", "Range: bytes=0-4").Stored()
	s.Get("/x").Fwd("partial").Is(200, tenDigits)
	f.want(c, "bytes=0-4", "")
	s.Get("/x", "Range: bytes=0-4").part("0-4/10", "01234")
}

func testPartsThatLie(c *run) {
	s, f := c.parts()
	for _, tt := range []struct {
		detail string
		status int
		wanted string
		fields []string
	}{
		{"content-range", 206, "bytes=0-3", nil},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-4/10"}}, // and 4 bytes
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-2/10"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-3/3"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 3-0/10"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-3/*"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes */10"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "lines 0-3/10"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-3/99999999999999999999"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 99999999999999999996-99999999999999999999/999999999999999999999"}},
		{"content-range", 206, "bytes=0-3", []string{"Content-Range", "bytes 0-3/10", "Content-Range", "bytes 4-7/10"}},
		{"multipart", 206, "bytes=0-0,2-2", []string{"Content-Type", "multipart/byteranges; boundary=x"}},
		{"multipart", 206, "bytes=0-3", []string{"Content-Type", "Multipart/ByteRanges; boundary=x", "Content-Range", "bytes 0-3/10"}},
		{"partial", 206, "", []string{"Content-Range", "bytes 0-3/10"}}, // nobody has asked
		{"partial", 200, "", []string{"Content-Range", "bytes 0-3/10"}},
		{"partial", 200, "bytes=0-3", []string{"Content-Range", "bytes 0-3/10"}},
		{"partial", 416, "bytes=20-", []string{"Content-Range", "bytes */10"}},
	} {
		f.set(func(f *file) {
			f.other = func(x Ctx) (bool, error) {
				x.SetHeader("Cache-Control", "max-age=60")
				x.SetHeader("Etag", `"a"`)
				contentType := plain
				for i := 0; i < len(tt.fields); i += 2 {
					if tt.fields[i] == "Content-Type" {
						contentType = tt.fields[i+1]
						continue
					}
					x.AddHeader(tt.fields[i], tt.fields[i+1])
				}
				return true, x.Send(tt.status, contentType, []byte("0123"))
			}
		})
		var fields []string
		if tt.wanted != "" {
			fields = append(fields, "Range: "+tt.wanted)
		}
		for range 2 {
			r := s.Get("/x", fields...).Miss().NotStored().Detail(tt.detail).Is(tt.status, "0123")
			if r.CacheStatus()["detail"] != tt.detail {
				c.Logf("of %q", tt.fields)
			}
		}
		f.set(func(f *file) { f.other = nil })
		if r := s.Get("/x", "Range: bytes=1000-2000"); r.Status != 416 { // nothing of it was stored
			c.Errorf("%q: %d %q", tt.fields, r.Status, r.Header.Get("Cache-Status"))
		}
	}
	// Only what is stated makes a part fresh.
	for _, fields := range [][]string{
		{"Cache-Control", "public"}, {"Cache-Control", "no-store"}, {"Cache-Control", "private, max-age=60"}, {"Cache-Control", "max-age=60", "Vary", "*"},
		{"Cache-Control", "max-age=60", "Set-Cookie", "a=1"}, {"Cache-Control", "public", "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"},
	} {
		f.set(func(f *file) { f.fields = fields })
		s.Get("/x", "Range: bytes=0-3").Miss().NotStored().part("0-3/10", "0123")
		s.Get("/x", "Range: bytes=0-3").Miss()
	}
}

func testPartsAndWhole(c *run) {
	s, f := c.parts()
	s.Get("/x").Stored().Is(200, tenDigits)
	// A part that says nothing else leaves it alone.
	s.Get("/x", "Range: bytes=0-4", "Cache-Control: no-cache").Is(200, tenDigits) // validated
	unasked := func(x Ctx) (bool, error) {                                        // as a handler that looks at no conditions
		x.SetRequestHeader("If-None-Match", "")
		x.SetRequestHeader("Range", "bytes=2-4")
		return false, nil
	}
	f.set(func(f *file) { f.other = unasked })
	s.Get("/x", "Range: bytes=2-4", "Cache-Control: no-cache").Fwd("request").NotStored().Detail("whole").part("2-4/10", "234")
	s.Get("/x").Hit().Is(200, tenDigits)

	// One of another version, or with other bytes, takes its place.
	for _, change := range []func(f *file){
		func(f *file) { f.body, f.etag = "abcdefghij", `"b"` },
		func(f *file) { f.body = "01x3456789" }, // it lies
		func(f *file) { f.body, f.etag = "0123456789a", `"b"` },
	} {
		f.set(func(f *file) { f.other, f.body, f.etag = nil, tenDigits, `"a"` })
		if err := s.cache.Purge(c.context(), cacheaside.Purge{URLs: []string{"http://" + defaultHost + "/x"}}); err != nil {
			c.Fatal(err)
		}
		s.Get("/x").Stored().Is(200, tenDigits)
		f.set(change)
		f.set(func(f *file) { f.other = unasked })
		s.Get("/x", "Range: bytes=2-4", "Cache-Control: no-cache").Fwd("request").Stored().Is(206, f.body[2:5])
		f.set(func(f *file) { f.other = nil })
		s.Get("/x", "Range: bytes=2-4").Hit().Is(206, f.body[2:5])
		s.Get("/x").Fwd("partial").Is(200, f.body)
	}
}

func testStaleParts(c *run) {
	s, f := c.parts(func(cfg *cacheaside.Config) { cfg.Policy.Stale.IfError = 300e9 })
	s.Get("/x", "Range: bytes=0-4").Stored()
	c.Clock.Advance(70e9)
	f.set(func(f *file) { f.fields = []string{"X-New", "1"} })
	s.Get("/x", "Range: bytes=1-3").Fwd("stale").part("1-3/10", "123").Has("X-New", "1")
	s.Get("/x", "Range: bytes=0-4").Hit().TTL(60).part("0-4/10", "01234")
	f.took()
	// For more than is there, they are as good as nothing; but a part of the same
	// version makes them fresh again.
	c.Clock.Advance(70e9)
	s.Get("/x", "Range: bytes=3-7").Fwd("stale").Stored().part("3-7/10", "34567")
	f.want(c, "bytes=3-7")
	s.Get("/x", "Range: bytes=0-7").Hit().part("0-7/10", "01234567")
	// In place of an error: what they have, and nothing else.
	c.Clock.Advance(70e9)
	f.set(func(f *file) {
		f.other = func(x Ctx) (bool, error) { return true, x.Send(503, plain, []byte("down")) }
	})
	s.Get("/x", "Range: bytes=2-6").Detail("stale-if-error").part("2-6/10", "23456")
	s.Get("/x", "Range: bytes=2-8").Is(503, "down")
	s.Get("/x").Is(503, "down")
	// Changed meanwhile.
	f.set(func(f *file) { f.other, f.body, f.etag = nil, "abcdefghij", `"b"` })
	s.Get("/x", "Range: bytes=2-6").Fwd("stale").Stored().Is(200, "abcdefghij")
	s.Get("/x", "Range: bytes=2-6").Hit()
}

func testPartsPurged(c *run) {
	s, f := c.parts()
	f.fields = []string{"Cache-Tag", "t"}
	part := func() *response { return s.Get("/x", "Range: bytes=0-4").part("0-4/10", "01234").Has("Cache-Tag") }
	for _, p := range []cacheaside.Purge{{Tags: []string{"t"}}, {URLs: []string{"http://" + defaultHost + "/x"}}, {Prefixes: []string{"http://" + defaultHost + "/"}}, {All: true}} {
		part()
		part().Hit()
		if err := s.cache.Purge(c.context(), p); err != nil {
			c.Fatal(err)
		}
		part().Miss().Stored()
	}
	// A tag of any part purges all of them.
	f.set(func(f *file) { f.fields = []string{"Cache-Tag", "u"} })
	s.Get("/x", "Range: bytes=5-7").Fwd("partial").Stored()
	s.Get("/x", "Range: bytes=2-6").Hit().part("2-6/10", "23456")
	if err := s.cache.Purge(c.context(), cacheaside.Purge{Tags: []string{"t"}}); err != nil {
		c.Fatal(err)
	}
	s.Get("/x", "Range: bytes=5-7").Miss().Stored()
	// Softly: they are validated.
	s.Get("/x", "Range: bytes=5-6").Hit()
	if err := s.cache.Purge(c.context(), cacheaside.Purge{Tags: []string{"u"}, Soft: true}); err != nil {
		c.Fatal(err)
	}
	s.Get("/x", "Range: bytes=5-6").part("5-6/10", "56")
	// What completes is not combined with what was purged while it was made. (The site is
	// a new one: a run in the background may still renew what was purged softly.)
	s, f = c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) {
		f.other = func(x Ctx) (bool, error) {
			return false, s.cache.Purge(x.Context(), cacheaside.Purge{All: true})
		}
	})
	s.Get("/x").Is(200, tenDigits)
	f.set(func(f *file) { f.other = nil })
	s.Get("/x", "Range: bytes=0-4").NotHit()
}

func testPartsOfVariants(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		f := file{body: strings.Repeat(x.Header("X-Letter"), 10), etag: `"same"`}
		f.fields = []string{"Vary", "X-Letter"}
		return f.handle(x)
	}))
	for _, letter := range []string{"a", "b"} {
		s.Get("/x", "X-Letter: "+letter, "Range: bytes=0-4").Stored().part("0-4/10", strings.Repeat(letter, 5))
	}
	for _, letter := range []string{"a", "b"} {
		s.Get("/x", "X-Letter: "+letter, "Range: bytes=1-2").Hit().part("1-2/10", strings.Repeat(letter, 2))
		s.Get("/x", "X-Letter: "+letter, "Range: bytes=5-6").Fwd("partial").Stored().part("5-6/10", strings.Repeat(letter, 2))
		s.Get("/x", "X-Letter: "+letter, "Range: bytes=4-5").Hit().part("4-5/10", strings.Repeat(letter, 2))
		s.Get("/x", "X-Letter: "+letter).Fwd("partial").Stored().Is(200, strings.Repeat(letter, 10))
		s.Get("/x", "X-Letter: "+letter).Hit().Is(200, strings.Repeat(letter, 10))
	}
	s.Get("/x", "X-Letter: c", "Range: bytes=1-2").Fwd("vary-miss").part("1-2/10", "cc")

	// A coding that not everybody asked for, though the handler forgets to say so.
	s = c.Site(one(c.Cache(), func(x Ctx) error {
		f := file{body: tenDigits, etag: `"plain"`}
		if strings.Contains(x.Header("Accept-Encoding"), "gzip") {
			f = file{body: "a body in a coding", etag: `"coded"`, fields: []string{"Content-Encoding", "gzip"}}
		}
		return f.handle(x)
	}))
	s.Get("/x", "Range: bytes=0-4", "Accept-Encoding: gzip").Stored().part("0-4/18", "a bod").Has("Content-Encoding", "gzip")
	s.Get("/x", "Range: bytes=0-4", "Accept-Encoding: gzip").Hit().part("0-4/18", "a bod").Has("Content-Encoding", "gzip")
	s.Get("/x", "Range: bytes=0-4").NotHit().part("0-4/10", "01234").Has("Content-Encoding")
}

// testPartsUnanswered: RFC 9111 section 3.3 has parts answer ranges within them alone.
func testPartsUnanswered(c *run) {
	s, f := c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.took()
	check := func(asked string, r *response) *response {
		c.Helper()
		r.Fwd("partial")
		f.want(c, asked)
		return r
	}
	check("", s.Head("/x").Is(200, "").Has("Content-Length", "10"))
	check("bytes=2-3", s.Head("/x", "Range: bytes=2-3"))
	check("bytes=20-", s.Get("/x", "Range: bytes=20-").Is(416, ""))
	check(`bytes=0-4 "other"`, s.Get("/x", "Range: bytes=0-4", `If-Range: "other"`).Is(200, tenDigits))

	s, f = c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.took()
	s.Get("/x", "Cache-Control: only-if-cached").Is(504, "")
	s.Get("/x", "Range: bytes=0-5", "Cache-Control: only-if-cached").Is(504, "")
	s.Get("/x", "Range: bytes=0-4", "Cache-Control: only-if-cached").Hit().part("0-4/10", "01234")
	f.want(c)
	s.Get("/x", "Range: bytes=3-7", "Cache-Control: no-cache").Fwd("request").part("3-7/10", "34567")
	f.want(c, "bytes=3-7")
	s.Get("/x", "Range: bytes=0-7").Hit()
	// A range that is ignored asks for the whole.
	for _, wanted := range []string{"lines=0-1", "bytes=4-2", "bytes=" + strings.Repeat("0-0,", 999) + "0-0"} {
		if err := s.cache.Purge(c.context(), cacheaside.Purge{URLs: []string{"http://" + defaultHost + "/x"}}); err != nil {
			c.Fatal(err)
		}
		s.Get("/x", "Range: bytes=0-4").Stored()
		s.Get("/x", "Range: "+wanted).Fwd("partial").Is(200, tenDigits)
	}
}

func testManyParts(c *run) {
	body := strings.Repeat(tenDigits, 30)
	s, f := c.parts()
	f.body = body
	for i := range 30 { // the shortest come first
		s.Get("/x", fmt.Sprintf("Range: bytes=%d-%d", i*10, i*10+i%5+1)).Stored()
	}
	f.took()
	hits := 0
	for i := range 30 {
		r := s.Get("/x", fmt.Sprintf("Range: bytes=%d-%d", i*10, i*10+i%5+1), "Cache-Control: only-if-cached")
		if r.Status == 206 {
			hits++
			r.Hit().Is(206, body[i*10:i*10+i%5+2])
		}
	}
	f.want(c)
	if hits != 16 {
		c.Errorf("%d parts are kept, want 16", hits)
	}
	s.Get("/x").Is(200, body)
	s.Get("/x").Hit().Is(200, body)
	// A byte at a time is not worth that all is written again, unless it is the last one.
	s, f = c.parts()
	f.body = strings.Repeat(tenDigits, 100)
	s.Get("/x", "Range: bytes=0-899").Stored()
	s.Get("/x", "Range: bytes=905-906").Fwd("partial").NotStored().Detail("small-part").Is(206, "56")
	s.Get("/x", "Range: bytes=899-900").Fwd("partial").NotStored().Detail("small-part").Is(206, "90")
	s.Get("/x", "Range: bytes=0-998").Fwd("partial").Stored()
	s.Get("/x", "Range: bytes=999-999").Fwd("partial").Stored().Is(206, "9")
	s.Get("/x").Hit().Is(200, f.body)
	// Bounded in bytes as well.
	s, f = c.parts(func(cfg *cacheaside.Config) { cfg.Policy.Storing.MaxBytes = 12 })
	f.body = body
	s.Get("/x", "Range: bytes=0-3").Stored()
	s.Get("/x", "Range: bytes=10-16").Stored()
	s.Get("/x", "Range: bytes=20-24").Stored()
	s.Get("/x", "Range: bytes=10-16").Hit()
	s.Get("/x", "Range: bytes=20-24").Hit()
	s.Get("/x", "Range: bytes=0-3").Fwd("partial")
}

func testPartsCoalesced(c *run) {
	s, f := c.parts()
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.took()
	release := make(chan struct{})
	f.set(func(f *file) {
		f.other = func(Ctx) (bool, error) {
			<-release
			return false, nil
		}
	})
	const clients = 8
	done := make(chan *response, clients)
	for range clients {
		go func() {
			r, err := s.Try(c.context(), "GET", "/x", "")
			if err != nil {
				r = &response{c: c, What: err.Error()}
			}
			done <- r
		}()
	}
	c.Eventually("all but one wait", func() bool { return s.cache.Stats().Waiting == clients-1 })
	close(release)
	for range clients {
		await(c, "an answer", done).Is(200, tenDigits).Has("Content-Range")
	}
	f.want(c, `bytes=5- "a"`)
}

// testPartsLenient: what is not sure is made use of where the policy says so, and then
// nobody gets what does not belong together.
func testPartsLenient(c *run) {
	lenient := func(cfg *cacheaside.Config) { cfg.Policy.Requests.LenientParts = true }
	miscounted := func(x Ctx) (bool, error) {
		x.SetHeader("Cache-Control", "max-age=60")
		x.SetHeader("Content-Range", "bytes 4-9/10")
		return true, x.Send(http.StatusPartialContent, plain, []byte("01234"))
	}
	s, f := c.parts()
	f.other = miscounted
	s.Get("/x", "Range: bytes=-5").NotStored().Detail("content-range")
	s, f = c.parts(lenient)
	f.other = miscounted
	s.Get("/x", "Range: bytes=4-9").NotStored().Detail("content-range") // another range than the last bytes
	s.Get("/x", "Range: bytes=-6").NotStored().Detail("content-range")
	s.Get("/x", "Range: bytes=-5").Stored().Is(206, "01234")
	s.Get("/x", "Range: bytes=-5").Hit().part("4-8/9", "01234")
	s.Get("/x", "Range: bytes=6-8").Hit().part("6-8/9", "234")

	// Without a validator: asked for in one policy only, and never combined.
	for _, asks := range []bool{false, true} {
		var change []func(*cacheaside.Config)
		want := []string{"bytes=0-4", ""}
		if asks {
			change, want = append(change, lenient), []string{"bytes=0-4", "bytes=5-", ""}
		}
		s, f = c.parts(change...)
		f.etag = ""
		s.Get("/x", "Range: bytes=0-4").Stored()
		f.set(func(f *file) { f.body = "abcdefghij" })
		s.Get("/x").Fwd("partial").Is(200, "abcdefghij")
		f.want(c, want...)
		s.Get("/x").Hit().Is(200, "abcdefghij")
	}
	s, f = c.parts(lenient)
	f.etag = ""
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) {
		f.other = func(x Ctx) (bool, error) {
			x.SetHeader("Cache-Control", "max-age=60")
			return true, x.Send(http.StatusOK, plain, []byte(tenDigits)) // whatever Range says
		}
	})
	s.Get("/x").Fwd("partial").Stored().Is(200, tenDigits)
	f.want(c, "bytes=0-4", "bytes=5-")

	// What is for one client reaches it.
	s, f = c.parts(lenient)
	f.etag = ""
	s.Get("/x", "Range: bytes=0-4").Stored()
	f.set(func(f *file) { f.fields = []string{"Cache-Control", "private"} })
	f.other = func(x Ctx) (bool, error) { x.SetHeader("X-Client", x.Header("Cookie")); return false, nil }
	s.Get("/x", "Cookie: a=1").Fwd("partial").NotStored().Is(200, tenDigits).Has("X-Client", "a=1")
	f.want(c, "bytes=0-4", "bytes=5-", "")
	s.Get("/x").Miss().NotStored().Is(200, tenDigits)
}
