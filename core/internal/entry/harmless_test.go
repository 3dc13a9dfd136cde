package entry

import (
	"errors"
	"strings"
	"testing"
)

// TestHostileFields: a value that is whole, but that we would not have written.
func TestHostileFields(t *testing.T) {
	good := Content{
		Meta: Meta{Kind: KindResponse, Status: 200}, Key: "k", Body: []byte("body"),
		Header: []Field{{Name: "Content-Type", Value: "text/plain; charset=\"utf-8\""}, {Name: "X-Text", Value: "a\tb \xff\x80"}, {Name: "Content-Length", Value: "4"}},
	}
	decode := func(f ...Field) error {
		c := good
		c.Header = append(append([]Field{}, good.Header...), f...)
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		return Decode(b, &e)
	}
	if err := decode(); err != nil {
		t.Fatal(err)
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
		if err := decode(f); !errors.Is(err, ErrHostile) {
			t.Errorf("%q: %q: %v, want ErrHostile", f.Name, f.Value, err)
		}
		if ok := ValidField(f.Name, f.Value); ok && !strings.EqualFold(f.Name, "Content-Length") {
			t.Errorf("%q: %q may be stored", f.Name, f.Value)
		}
	}
}
