package cacheaside_test

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// FuzzCodings plays requests of all kinds of Accept-Encoding, Range and conditions against
// a handler of any kind, through a cache of any policy, and compares what the client has
// when it has decoded the answers with what the handler gives, and the ETags with the
// rules: one strong ETag is one sequence of bytes (RFC 9110 section 8.8.1).
func FuzzCodings(f *testing.F) {
	f.Add([]byte("compress me"))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	for seed := range 40 {
		b := make([]byte, 120)
		x := uint32(seed)*2654435761 + 1
		for i := range b {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { playCodings(t, &fuzzDice{data}) })
}

// fuzzDice takes choices from the input of a fuzz test.
type fuzzDice struct{ data []byte }

func (d *fuzzDice) n(n int) int {
	if len(d.data) == 0 {
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return int(b) % n
}

func chosen[T any](d *fuzzDice, of ...T) T { return of[d.n(len(of))] }

// codedSite is a handler of one kind behind a cache, and what clients have had of it.
type codedSite struct {
	*service
	page   []byte
	raw    string // what the handler writes
	coding string // in which it does
	etag   string
	tags   map[string]string // strong ETags that were seen, with the bytes
}

func playCodings(t *testing.T, d *fuzzDice) {
	codings := chosen(d, []string{"gzip"}, []string{"br", "gzip"}, []string{"zstd", "br", "gzip"}, []string{"gzip", "zstd"}, nil)
	s := &codedSite{
		page: chosen(d, bodies.JSON, bodies.HTML)(chosen(d, 1500, 6000, 200)),
		etag: chosen(d, `"v"`, `W/"v"`, "", `"a-gzip"`, "bare"), tags: map[string]string{},
	}
	s.coding = chosen(d, "", "", "", "gzip", "br", "zstd")
	s.raw = string(coded(t, s.coding, s.page))
	fields := []string{"Content-Type", chosen(d, "application/json", "text/html", "image/png")}
	for _, extra := range [][]string{
		{"Etag", s.etag}, {"Content-Encoding", s.coding}, {"Accept-Ranges", chosen(d, "bytes", "")}, {"Content-Length", chosen(d, "", strconv.Itoa(len(s.raw)))},
		{"Vary", chosen(d, "", "Accept-Encoding", "Accept")}, {"Cache-Control", chosen(d, "", "no-transform", "max-age=60")},
		{"Last-Modified", chosen(d, "", "Thu, 01 Jan 2026 00:00:00 GMT")}, {"Repr-Digest", chosen(d, "", "sha-256=:AAAA:")},
	} {
		if extra[1] != "" {
			fields = append(fields, extra...)
		}
	}
	s.service = newService(t, send([]byte(s.raw), fields...), coretest.Compressing(codings...))
	for range 12 {
		var ask []string
		for _, one := range [][]string{
			{"Accept-Encoding", chosen(d, "-", "gzip", "br, gzip", "zstd, br, gzip", "", "*", "gzip;q=0, *", "identity;q=0, gzip", "identity;q=0", "identity, gzip;q=0.5", "gzip;q=9", "x-gzip", "*;q=0", "br;q=0.001")},
			{"Range", chosen(d, "-", "-", "-", "bytes=0-9", "bytes=-5", "bytes=5-", "bytes=100000-", "bytes=0-1,4-5", "bytes=9-1", "lines=1-2")},
			{"If-Range", chosen(d, "-", "-", "-", s.etag, `"v-gzip"`, `"v-identity"`)},
			{"If-None-Match", chosen(d, "-", "-", "-", "-", s.etag, `"v-gzip"`, `"v-br", "v-zstd"`, "*", `"v-identity"`)},
			{"Cache-Control", chosen(d, "-", "-", "-", "-", "no-transform")},
		} {
			if one[1] != "-" {
				ask = append(ask, one...)
			}
		}
		if d.n(30) == 0 {
			s.clock.Advance(31e9)
		}
		s.check(t, chosen(d, "GET", "GET", "GET", "HEAD"), ask)
	}
}

// check sends a request and looks at the answer.
func (s *codedSite) check(t *testing.T, method string, ask []string) {
	t.Helper()
	r := s.do(method, "/", ask...)
	raw, _ := io.ReadAll(r.Body)
	coding, tag := r.Header.Get("Content-Encoding"), r.Header.Get("Etag")
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s %q: %d %v\nhandler: %q %s\n%s", method, ask, r.StatusCode, r.Header, s.coding, s.etag, fmt.Sprintf(format, args...))
	}
	if n := r.Header.Get("Content-Length"); n != "" && method == "GET" && n != strconv.Itoa(len(raw)) && r.StatusCode != 304 {
		fail("Content-Length of %d bytes", len(raw))
	}
	if coding != s.coding && coding != "" && r.Header.Get("Repr-Digest") != "" {
		fail("the digest of another representation")
	}
	if coding != s.coding && !slices.Contains(r.Header.Values("Vary"), "Accept-Encoding") && r.StatusCode == 200 {
		fail("no Vary")
	}
	switch r.StatusCode {
	case 200:
		if method == "HEAD" {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		if got := decoded(t, r); !bytes.Equal(got, s.page) {
			fail("another body: %d bytes for %d", len(got), len(s.page))
		}
		if coding != "" && coding != s.coding && !mayGet(ask, coding) {
			fail("a coding that is not accepted")
		}
		if coding == "" && s.coding == "" && refuses(ask) && s.couldCode(ask, r) {
			fail("the plain form is not accepted")
		}
		s.same(fail, tag, string(raw))
	case 206:
		if s.coding == "" && refuses(ask) && s.couldCode(ask, r) {
			fail("parts of the plain form, which is not accepted")
		}
		s.part(fail, r, tag, raw)
	case 304:
		if len(raw) > 0 || !strings.Contains(strings.Join(ask, " "), "If-None-Match") {
			fail("304 with %d bytes", len(raw))
		}
	case 416:
		if want := fmt.Sprintf("bytes */%d", len(s.raw)); r.Header.Get("Content-Range") != want {
			fail("Content-Range is not %s", want)
		}
	default:
		fail("status")
	}
}

// same holds one strong ETag to one sequence of bytes.
func (s *codedSite) same(fail func(string, ...any), tag, bytes string) {
	if !strings.HasPrefix(tag, `"`) {
		return
	}
	if old, ok := s.tags[tag]; ok && old != bytes {
		fail("%s was %d other bytes", tag, len(old))
	}
	s.tags[tag] = bytes
}

// part compares ranges with the whole that has the same ETag.
func (s *codedSite) part(fail func(string, ...any), r *http.Response, tag string, raw []byte) {
	if tag != s.etag || r.Header.Get("Content-Encoding") != s.coding {
		fail("parts of a form that only the cache has made")
	}
	mediaType, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "multipart/byteranges" {
		s.onePart(fail, r.Header.Get("Content-Range"), raw)
		return
	}
	for parts := multipart.NewReader(bytes.NewReader(raw), params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(p)
		s.onePart(fail, p.Header.Get("Content-Range"), b)
	}
}

func (s *codedSite) onePart(fail func(string, ...any), contentRange string, b []byte) {
	var first, last, size int
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil || size != len(s.raw) ||
		last >= size || first > last || string(b) != s.raw[first:last+1] {
		fail("part %s", contentRange)
	}
}

// mayGet reports whether a client can read a coding, by the plain text of its request.
func mayGet(ask []string, coding string) bool {
	return wants(ask, map[string][]string{
		"gzip": {"gzip", "br, gzip", "zstd, br, gzip", "*", "identity;q=0, gzip", "identity, gzip;q=0.5", "x-gzip"},
		"br":   {"br, gzip", "zstd, br, gzip", "*", "gzip;q=0, *", "br;q=0.001"},
		"zstd": {"zstd, br, gzip", "*", "gzip;q=0, *"},
	}[coding])
}

// refuses reports whether a client does not take the plain form.
func refuses(ask []string) bool { return wants(ask, []string{"identity;q=0, gzip"}) }

func wants(ask, accepts []string) bool {
	for i := 0; i < len(ask); i += 2 {
		if ask[i] == "Accept-Encoding" {
			return slices.Contains(accepts, ask[i+1])
		}
	}
	return false
}

// couldCode reports whether there is a coded form for the client.
func (s *codedSite) couldCode(ask []string, r *http.Response) bool {
	return slices.Contains(r.Header.Values("Vary"), "Accept-Encoding") && !slices.Contains(ask, "no-transform") && s.cachedGzip()
}

// cachedGzip reports whether gzip is among what the cache sends here.
func (s *codedSite) cachedGzip() bool {
	r := s.get("/", "Accept-Encoding", "gzip")
	_, _ = io.Copy(io.Discard, r.Body)
	return r.Header.Get("Content-Encoding") == "gzip"
}
