package entry

import (
	"strings"
	"testing"
)

// TestHostileFields: a value that is whole, but that we would not have written.
func TestHostileFields(t *testing.T) {
	good := Content{
		Meta: Meta{Kind: KindResponse, Status: 200}, Key: "k", Body: []byte("body"),
		Header: []Field{{Name: "Content-Type", Value: "text/plain; charset=\"utf-8\""}, {Name: "X-Text", Value: "a\tb \xff\x80"}, {Name: "Content-Length", Value: "4"}},
	}
	harmless := func(f ...Field) bool {
		c := good
		c.Header = append(append([]Field{}, good.Header...), f...)
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		if err := Decode(b, &e); err != nil {
			t.Fatal(err)
		}
		return e.Harmless()
	}
	if !harmless() {
		t.Fatal("an ordinary header counts as hostile")
	}
	for _, f := range []Field{
		{Name: "X-A", Value: "a\r\nSet-Cookie: x=1"},
		{Name: "X-A", Value: "a\nb"},
		{Name: "X-A", Value: "a\rb"},
		{Name: "X-A", Value: "a\x00b"},
		{Name: "X-A", Value: "a\x7fb"},
		{Name: "X-A\r\nX-B", Value: "a"},
		{Name: "X-A: b", Value: "a"},
		{Name: "X A", Value: "a"},
		{Name: "", Value: "a"},
		{Name: "Transfer-Encoding", Value: "chunked"},
		{Name: "transfer-encoding", Value: "chunked"},
		{Name: "Connection", Value: "close"},
		{Name: "Keep-Alive", Value: "1"},
		{Name: "Proxy-Connection", Value: "close"},
		{Name: "Upgrade", Value: "h2c"},
		{Name: "Trailer", Value: "X-A"},
		{Name: "TE", Value: "trailers"},
		{Name: "Content-Length", Value: "3"},
		{Name: "content-length", Value: "40000"},
		{Name: "Content-Length", Value: "-1"},
		{Name: "Content-Length", Value: "4, 4"},
	} {
		if harmless(f) {
			t.Errorf("%q: %q counts as harmless", f.Name, f.Value)
		}
		if ok := ValidField(f.Name, f.Value); ok && !strings.EqualFold(f.Name, "Content-Length") {
			t.Errorf("%q: %q may be stored", f.Name, f.Value)
		}
	}
}

func TestPrintable(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte("abcdefghijklmnopqrst")
			b[at] = byte(c)
			if got, want := printable(string(b)), c == '\t' || c >= 0x20 && c != 0x7f; got != want {
				t.Fatalf("byte %#x at %d: %v, want %v", c, at, got, want)
			}
		}
	}
}

func BenchmarkHarmless(b *testing.B) {
	c := Content{Meta: Meta{Kind: KindResponse, Status: 200}, Key: "k", Header: []Field{
		{Name: "Content-Type", Value: "application/json; charset=utf-8"}, {Name: "Cache-Control", Value: "public, max-age=60"},
		{Name: "Etag", Value: `"0123456789abcdef0123456789abcdef"`}, {Name: "Last-Modified", Value: "Mon, 23 Nov 2026 05:00:00 GMT"},
		{Name: "Vary", Value: "Accept-Encoding"}, {Name: "Content-Encoding", Value: "gzip"}, {Name: "Date", Value: "Mon, 23 Nov 2026 05:00:00 GMT"},
		{Name: "X-Request-Id", Value: "0123456789abcdef"}, {Name: "Strict-Transport-Security", Value: "max-age=63072000"},
		{Name: "X-Content-Type-Options", Value: "nosniff"}, {Name: "Referrer-Policy", Value: "same-origin"}, {Name: "Content-Length", Value: "0"},
	}}
	buf, err := Encode(c)
	if err != nil {
		b.Fatal(err)
	}
	var e Entry
	if err := Decode(buf, &e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Harmless() {
			b.Fatal("it is")
		}
	}
}
