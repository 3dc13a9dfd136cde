package cacheaside_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// decoded is a body without its coding, as a client would read it.
func decoded(t testing.TB, r *http.Response) []byte {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := coretest.Decode(r.Header.Get("Content-Encoding"), raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func send(b []byte, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		_, _ = w.Write(b)
	}
}

// TestCompressedOnce: one run of the handler is good for all that clients accept.
func TestCompressedOnce(t *testing.T) {
	page := bodies.JSON(30 << 10)
	var asked []string
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, strings.Join(r.Header.Values("Accept-Encoding"), "|"))
		send(page, "Content-Type", "application/json", "Etag", `"v1"`, "Content-Length", strconv.Itoa(len(page)),
			"Content-Digest", "sha-256=:AAAA:", "Repr-Digest", "sha-256=:AAAA:")(w, r)
	}, coretest.Compressing("br", "gzip", "zstd"))
	for i, c := range []struct{ accept, coding, tag, status string }{
		{"gzip, deflate, br, zstd", "", `"v1"`, "fwd=miss"},
		{"gzip, deflate, br, zstd", "br", `"v1-br"`, "hit"},
		{"gzip, deflate, br", "br", `"v1-br"`, "hit"},
		{"gzip, deflate", "gzip", `"v1-gzip"`, "hit"},
		{"GZIP;q=0.5", "gzip", `"v1-gzip"`, "hit"},
		{"x-gzip", "gzip", `"v1-gzip"`, "hit"},
		{"zstd", "zstd", `"v1-zstd"`, "hit"},
		{"br;q=0.5, gzip", "gzip", `"v1-gzip"`, "hit"},
		{"br;q=0.5, gzip;q=0.5", "br", `"v1-br"`, "hit"},
		{"*", "br", `"v1-br"`, "hit"},
		{"*, br;q=0", "gzip", `"v1-gzip"`, "hit"},
		{"gzip;q=0.5, identity", "", `"v1"`, "hit"},
		{"", "", `"v1"`, "hit"},
		{"-", "", `"v1"`, "hit"},
		{"deflate", "", `"v1"`, "hit"},
		{"identity;q=0, gzip", "gzip", `"v1-gzip"`, "hit"},
		{"identity;q=0, deflate", "", `"v1"`, "hit"},
		{"br;q=2, gzip;q=0.1", "gzip", `"v1-gzip"`, "hit"},
		{strings.Repeat("a, ", 20_000) + "gzip", "gzip", `"v1-gzip"`, "hit"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if i == 0 && method == "HEAD" {
				continue
			}
			var fields []string
			if c.accept != "-" {
				fields = []string{"Accept-Encoding", c.accept}
			}
			r := s.do(method, "/", fields...)
			accept := fmt.Sprintf("%s %.60q", method, c.accept)
			wantStatus(t, r, c.status)
			if got := r.Header.Get("Content-Encoding"); got != c.coding {
				t.Errorf("%s: Content-Encoding %q, not %q", accept, got, c.coding)
			}
			if got := r.Header.Get("Etag"); got != c.tag {
				t.Errorf("%s: ETag %s, not %s", accept, got, c.tag)
			}
			if got := strings.Join(r.Header.Values("Vary"), ", "); got != "Accept-Encoding" {
				t.Errorf("%s: Vary %q", accept, got)
			}
			if digest := r.Header.Get("Content-Digest") + r.Header.Get("Repr-Digest"); (digest == "") != (c.coding != "") {
				t.Errorf("%s: digests %q", accept, digest)
			}
			raw, _ := io.ReadAll(r.Body)
			if got := r.Header.Get("Content-Length"); method == "GET" && got != strconv.Itoa(len(raw)) || got == "" {
				t.Errorf("%s: Content-Length %s of %d", accept, got, len(raw))
			}
			if r.Body = io.NopCloser(bytes.NewReader(raw)); method == "GET" && !bytes.Equal(decoded(t, r), page) {
				t.Errorf("%s: another body", accept)
			}
		}
	}
	if n := s.calls.Load(); n != 1 || asked[0] != "identity" {
		t.Errorf("%d runs, asked for %q", n, asked)
	}
}

// TestNotCompressed: what the policy does not name, and what must not be touched.
func TestNotCompressed(t *testing.T) {
	page := bodies.JSON(30 << 10)
	for name, c := range map[string]struct {
		body   []byte
		fields []string
	}{
		"too short":           {page[:1023], []string{"Content-Type", "application/json"}},
		"image":               {page, []string{"Content-Type", "image/png"}},
		"no-transform":        {page, []string{"Content-Type", "text/html", "Cache-Control", "max-age=60, no-transform"}},
		"no-transform for us": {page, []string{"Content-Type", "text/html", "CDN-Cache-Control", "max-age=60, no-transform"}},
		"no type":             {append([]byte("\x89PNG\r\n\x1a\n"), page...), nil},
	} {
		s := newService(t, send(c.body, c.fields...), coretest.Compressing("gzip"))
		for i, status := range []string{"fwd=miss", "hit"} {
			r := s.get("/", "Accept-Encoding", "gzip")
			wantStatus(t, r, status)
			if r.Header.Get("Content-Encoding") != "" || r.Header.Get("Vary") != "" || !bytes.Equal(decoded(t, r), c.body) {
				t.Errorf("%s, %d: %q %q", name, i, r.Header.Get("Content-Encoding"), r.Header.Get("Vary"))
			}
		}
	}
	for name, c := range map[string]struct {
		body   []byte
		fields []string
	}{
		"guessed":   {bodies.HTML(4 << 10), nil},
		"parameter": {page, []string{"Content-Type", " Application/JSON ;charset=utf-8"}},
		"suffix":    {page, []string{"Content-Type", "application/problem+json"}},
		"1 KiB":     {page[:1024], []string{"Content-Type", "text/plain"}},
	} {
		s := newService(t, send(c.body, c.fields...), coretest.Compressing("gzip"))
		first := s.get("/", "Accept-Encoding", "gzip")
		r := s.get("/", "Accept-Encoding", "gzip")
		if r.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(decoded(t, r), c.body) || r.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
			t.Errorf("%s: %q, %q after %q", name, r.Header.Get("Content-Encoding"), r.Header.Get("Content-Type"), first.Header.Get("Content-Type"))
		}
	}
}

// TestRequestNoTransform: who asks for that gets what the handler gave (RFC 9111 section
// 5.2.1.6).
func TestRequestNoTransform(t *testing.T) {
	page := bodies.HTML(4 << 10)
	s := newService(t, send(page, "Content-Type", "text/html"), coretest.Compressing("gzip"))
	s.get("/")
	r := s.get("/", "Accept-Encoding", "gzip", "Cache-Control", "no-transform")
	wantStatus(t, r, "hit")
	if r.Header.Get("Content-Encoding") != "" || body(r) != string(page) {
		t.Error(r.Header)
	}
}

// TestConditionsOnCodings: a client that has any form that it accepts is told so; ranges
// are those of the response as the handler gave it.
func TestConditionsOnCodings(t *testing.T) {
	page := bodies.HTML(8 << 10)
	for _, etag := range []string{`"v"`, `W/"v"`, ``} {
		s := newService(t, send(page, "Content-Type", "text/html", "Etag", etag, "Accept-Ranges", "bytes"), coretest.Compressing("zstd", "gzip"))
		s.get("/")
		coded := func(c string) string {
			if etag == `"v"` {
				return `"v-` + c + `"`
			}
			return etag
		}
		for _, c := range []struct {
			name, coding, tag string
			status            int
			fields            []string
		}{
			{"stored", "", coded("zstd"), 304, []string{"Accept-Encoding", "gzip, zstd", "If-None-Match", coded("zstd")}},
			{"other", "", coded("gzip"), 304, []string{"Accept-Encoding", "gzip, zstd", "If-None-Match", coded("gzip")}},
			{"of the handler", "", etag, 304, []string{"Accept-Encoding", "gzip, zstd", "If-None-Match", etag}},
			{"not accepted any more", "zstd", coded("zstd"), 200, []string{"Accept-Encoding", "zstd", "If-None-Match", coded("gzip")}},
			{"range", "", etag, 206, []string{"Accept-Encoding", "gzip, zstd", "Range", "bytes=5-104"}},
			{"If-Range", "", etag, 206, []string{"Accept-Encoding", "gzip, zstd", "Range", "bytes=5-104", "If-Range", etag}},
			{"If-Range, coded", "zstd", coded("zstd"), 200, []string{"Accept-Encoding", "gzip, zstd", "Range", "bytes=5-104", "If-Range", coded("zstd")}},
			{"range, but no plain form", "zstd", coded("zstd"), 200, []string{"Accept-Encoding", "zstd, identity;q=0", "Range", "bytes=5-104"}},
			{"beyond", "", etag, 416, []string{"Accept-Encoding", "gzip, zstd", "Range", "bytes=9000000-"}},
			{"malformed", "zstd", coded("zstd"), 200, []string{"Accept-Encoding", "gzip, zstd", "Range", "bytes=9-5"}},
		} {
			// Without a strong ETag all forms are the same to a client, and no If-Range matches.
			if etag == "" && c.status == 304 || etag != `"v"` && (strings.HasPrefix(c.name, "If-Range") || c.name == "not accepted any more") {
				continue
			}
			r := s.get("/", c.fields...)
			wantStatus(t, r, "hit")
			if r.StatusCode != c.status || r.Header.Get("Etag") != c.tag || r.Header.Get("Content-Encoding") != c.coding || r.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, %s: %d %v", etag, c.name, r.StatusCode, r.Header)
			}
			if r.StatusCode == 206 && body(r) != string(page[5:105]) {
				t.Errorf("%s, %s: another part", etag, c.name)
			}
		}
		if s.calls.Load() != 1 {
			t.Errorf("%d runs", s.calls.Load())
		}
	}
}

// TestFirstClient: the client of the miss gets the plain response at once, unless it takes
// no other than a coded one, or has one.
func TestFirstClient(t *testing.T) {
	page := bodies.HTML(8 << 10)
	for _, c := range []struct {
		name, coding, tag string
		status            int
		fields            []string
	}{
		{"plain", "", `"v"`, 200, []string{"Accept-Encoding", "br"}},
		{"coded only", "br", `"v-br"`, 200, []string{"Accept-Encoding", "br, identity;q=0"}},
		{"none of ours", "", `"v"`, 200, []string{"Accept-Encoding", "deflate, identity;q=0"}},
		{"has it coded", "", `"v-br"`, 304, []string{"Accept-Encoding", "br", "If-None-Match", `"x", "v-br"`}},
		{"has it", "", `"v"`, 304, []string{"Accept-Encoding", "br", "If-None-Match", `"v"`}},
	} {
		s := newService(t, send(page, "Content-Type", "text/html", "Etag", `"v"`, "Content-Length", strconv.Itoa(len(page))), coretest.Compressing("br"))
		r := s.get("/", c.fields...)
		wantStatus(t, r, "fwd=miss")
		if r.StatusCode != c.status || r.Header.Get("Etag") != c.tag || r.Header.Get("Content-Encoding") != c.coding || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %d %v", c.name, r.StatusCode, r.Header)
		}
		if r.StatusCode == 200 && !bytes.Equal(decoded(t, r), page) {
			t.Errorf("%s: another body", c.name)
		}
		wantStatus(t, s.get("/", "Accept-Encoding", "br"), "hit")
	}
}

func coded(t testing.TB, coding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// TestCodedByHandler: what comes coded, though it was not asked for, goes as it came to
// those who accept it, and is decoded for others; what cannot be decoded goes as it came
// to all, as it would without a cache.
func TestCodedByHandler(t *testing.T) {
	page := bodies.JSON(20 << 10)
	for _, coding := range []string{"gzip", "br", "zstd"} {
		raw := coded(t, coding, page)
		s := newService(t, send(raw, "Content-Type", "application/json", "Content-Encoding", coding, "Etag", `"v"`, "Accept-Ranges", "bytes",
			"Vary", "Accept-Encoding", "Content-Length", strconv.Itoa(len(raw)), "Repr-Digest", "sha-256=:AAAA:"), coretest.Compressing("br", "gzip"))
		first := s.get("/", "Accept-Encoding", "gzip, br, zstd")
		if got := body(first); got != string(raw) || first.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: first %v", coding, first.Header)
		}
		r := s.get("/", "Accept-Encoding", "gzip, br, zstd")
		wantStatus(t, r, "hit")
		if got := body(r); got != string(raw) || r.Header.Get("Etag") != `"v"` || r.Header.Get("Repr-Digest") == "" || r.Header.Get("Content-Length") != strconv.Itoa(len(raw)) {
			t.Errorf("%s: as it came %v", coding, r.Header)
		}
		r = s.get("/", "Accept-Encoding", coding, "Range", "bytes=1-5")
		if got := body(r); r.StatusCode != 206 || got != string(raw[1:6]) || r.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: range %d %v", coding, r.StatusCode, r.Header)
		}
		r = s.get("/")
		wantStatus(t, r, "hit")
		if got := body(r); got != string(page) || r.Header.Get("Content-Encoding") != "" || r.Header.Get("Etag") != `"v-identity"` || r.Header.Get("Repr-Digest") != "" || r.Header.Get("Content-Length") != strconv.Itoa(len(page)) {
			t.Errorf("%s: decoded %v", coding, r.Header)
		}
		if r = s.get("/", "Range", "bytes=1-5"); r.StatusCode != 200 || body(r) != string(page) {
			t.Errorf("%s: range of what was decoded: %d", coding, r.StatusCode)
		}
		if s.calls.Load() != 1 {
			t.Errorf("%s: %d runs", coding, s.calls.Load())
		}
	}
	for name, c := range map[string]struct{ coding, body string }{
		"lie":       {"gzip", string(page)},
		"cut":       {"gzip", string(coded(t, "gzip", page)[:1000])},
		"unknown":   {"deflate", "xxxx"},
		"two":       {"gzip, br", "xxxx"},
		"identity":  {"identity", "xxxx"},
		"too large": {"gzip", string(coded(t, "gzip", make([]byte, 20<<20)))},
	} {
		s := newService(t, send([]byte(c.body), "Content-Type", "text/plain", "Content-Encoding", c.coding), coretest.Compressing("br", "gzip"))
		for i, accept := range []string{"gzip", "", "br", "gzip;q=0"} {
			r := s.get("/", "Accept-Encoding", accept)
			wantStatus(t, r, map[bool]string{true: "fwd=miss", false: "hit"}[i == 0])
			if got := body(r); got != c.body || r.Header.Get("Content-Encoding") != c.coding {
				t.Errorf("%s, %q: %v", name, accept, r.Header)
			}
		}
	}
}

// TestCodingValidated: a 304 of the handler makes what is stored fresh, in its coding.
func TestCodingValidated(t *testing.T) {
	page, transform := bodies.HTML(8<<10), ""
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=30"+transform)
		w.Header().Set("Etag", `"v"`)
		if r.Header.Get("If-None-Match") == `"v"` {
			w.Header().Set("Vary", "X-Other")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.Header.Get("If-None-Match") != "" {
			t.Errorf("If-None-Match: %s", r.Header.Get("If-None-Match"))
		}
		send(page, "Content-Type", "text/html", "Content-Length", strconv.Itoa(len(page)))(w, r)
	}, coretest.Compressing("gzip"))
	s.get("/")
	defer func() { // what the handler wants to be left alone from now on
		transform = ", no-transform"
		s.clock.Advance(31e9)
		for _, status := range []string{"fwd=stale; fwd-status=304", "hit"} {
			r := s.get("/", "Accept-Encoding", "gzip")
			wantStatus(t, r, status)
			if r.Header.Get("Content-Encoding") != "" || r.Header.Get("Etag") != `"v"` || body(r) != string(page) {
				t.Errorf("no-transform: %v", r.Header)
			}
		}
	}()
	for i, status := range []string{"fwd=stale; fwd-status=304", "hit", "hit"} {
		if i == 0 {
			s.clock.Advance(31e9)
		}
		r := s.get("/", "Accept-Encoding", "gzip")
		wantStatus(t, r, status)
		if vary := strings.Join(r.Header.Values("Vary"), ","); r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Etag") != `"v-gzip"` ||
			!strings.Contains(vary, "Accept-Encoding") || !bytes.Equal(decoded(t, r), page) {
			t.Errorf("%d: %v", i, r.Header)
		}
	}
}
