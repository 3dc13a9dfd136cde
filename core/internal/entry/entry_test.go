package entry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func samples() map[string]Content {
	return map[string]Content{
		"minimal": {Meta: Meta{Kind: KindResponse, Status: 204}},
		"response": {
			Meta: Meta{
				Kind: KindResponse, Status: 200, Flags: MustRevalidate,
				Born: 1_700_000_000_123_456_789, Date: 1_700_000_000_000_000_000,
				Lifetime: 30_000_000_000, SWR: 5, SIE: 7, Epoch: 1<<63 | 7, Stamp: 1 << 63, Took: 1234,
			},
			Key:  "GET:https://example.com/blogs/1000?page=2",
			Vary: []Field{{Name: "Accept", Value: "\x01json"}},
			Tags: []string{"blog", "blog-1000", ""},
			Header: []Field{
				{Name: "Content-Type", Value: "application/json"},
				{Name: "Link", Value: "</a>; rel=next"},
				{Name: "Link", Value: "", Op: 1},
			},
			Body: []byte("{\"id\":1000}\n\x00\xff"),
		},
		"coded": {
			Meta:   Meta{Kind: KindResponse, Status: 200, Coding: 3, Size: 1 << 40},
			Header: []Field{{Name: "Content-Length", Value: "1099511627776"}},
			Body:   []byte("coded"),
		},
		"parts": {
			Meta:  Meta{Kind: KindResponse, Status: 206, Size: 100},
			Parts: []Part{{0, 3}, {3, 1}, {98, 2}},
			Body:  []byte("abcdef"),
		},
		"vary": {
			Meta:   Meta{Kind: KindVary, Born: -1},
			Key:    "GET:https://example.com/",
			Vary:   []Field{{Name: "Accept"}, {Name: "Accept-Language"}},
			Header: []Field{{Name: strings.Repeat("ab", 16), Value: "1700000000000000000"}},
		},
	}
}

// content is what a decoded entry says, for comparison.
func content(e *Entry) Content {
	c := Content{Meta: e.Meta, Key: e.Key, Body: e.Body}
	for f := range e.Vary {
		c.Vary = append(c.Vary, f)
	}
	for f := range e.Header {
		c.Header = append(c.Header, f)
	}
	for t := range e.Tags {
		c.Tags = append(c.Tags, t)
	}
	for p := range e.Parts {
		c.Parts = append(c.Parts, p)
	}
	return c
}

func equal(a, b Content) bool {
	return a.Meta == b.Meta && a.Key == b.Key && bytes.Equal(a.Body, b.Body) &&
		slices.Equal(a.Vary, b.Vary) && slices.Equal(a.Header, b.Header) && slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Parts, b.Parts)
}

func TestRoundTrip(t *testing.T) {
	for name, want := range samples() {
		b, err := Encode(want)
		if err != nil {
			t.Fatal(name, err)
		}
		var e Entry
		if err := Decode(b, &e); err != nil {
			t.Fatal(name, err)
		}
		if got := content(&e); !equal(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

// The golden files hold their version for ever: a change of the format needs a new
// version, or services that share a store would misread one another.
func TestGolden(t *testing.T) {
	for name, c := range samples() {
		file := filepath.Join("testdata", fmt.Sprintf("%s.v%d.hex", name, Version))
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(b) != string(want) {
			t.Errorf("%s: the stored form has changed: use a new Version", name)
		}
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	for name, c := range samples() {
		b, _ := Encode(c)
		for i := range len(b) * 8 {
			flipped := slices.Clone(b)
			flipped[i/8] ^= 1 << (i % 8)
			var e Entry
			if Decode(flipped, &e) == nil {
				t.Errorf("%s: accepted with bit %d of byte %d flipped", name, i%8, i/8)
			}
		}
	}
}

func TestTruncatedAndExtended(t *testing.T) {
	b, _ := Encode(samples()["response"])
	for n := range b {
		var e Entry
		if Decode(b[:n:n], &e) == nil {
			t.Errorf("accepted when cut to %d bytes", n)
		}
	}
	var e Entry
	if Decode(append(slices.Clone(b), 0), &e) == nil {
		t.Error("accepted with a byte too many")
	}
}

func TestErrors(t *testing.T) {
	good, _ := Encode(samples()["response"])
	edit := func(f func([]byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	resum := func(b []byte) {
		s := crc32.Update(crc32.Update(0, table, b[:4]), table, b[8:])
		b[4], b[5], b[6], b[7] = byte(s), byte(s>>8), byte(s>>16), byte(s>>24)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrFormat},
		{"text", []byte(strings.Repeat("hello ", 50)), ErrFormat},
		{"version", edit(func(b []byte) { b[offVersion]++; resum(b) }), ErrVersion},
		{"checksum", edit(func(b []byte) { b[len(b)-1]++ }), ErrChecksum},
		{"kind", edit(func(b []byte) { b[offKind] = 9; resum(b) }), ErrCorrupt},
		{"status", edit(func(b []byte) { b[offStatus], b[offStatus+1] = 100, 0; resum(b) }), ErrCorrupt},
		{"body length", edit(func(b []byte) { b[offBodyLen]++; resum(b) }), ErrCorrupt},
		// What a later version means by them would be lost without a word.
		{"unused byte", edit(func(b []byte) { b[offCoding+1] = 1; resum(b) }), ErrCorrupt},
		{"another", edit(func(b []byte) { b[offCoding+2] = 1; resum(b) }), ErrCorrupt},
		{"last unused byte", edit(func(b []byte) { b[fixedLen-1] = 1; resum(b) }), ErrCorrupt},
		{"huge body length", edit(func(b []byte) { b[offBodyLen+7] = 0xff; resum(b) }), ErrCorrupt},
		{"key length", edit(func(b []byte) { b[offKeyLen+3] = 0xff; resum(b) }), ErrCorrupt},
		{"list", edit(func(b []byte) { b[offKeyLen]--; b[offVaryLen]++; resum(b) }), ErrCorrupt},
	} {
		var e Entry
		if err := Decode(c.b, &e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := Encode(Content{Header: []Field{{Name: strings.Repeat("n", 1<<16)}}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a name of 64 KiB: %v", err)
	}
	if _, err := Encode(Content{Tags: []string{strings.Repeat("t", 1<<16)}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a tag of 64 KiB: %v", err)
	}
}

func TestBodyIsAView(t *testing.T) {
	b, _ := Encode(samples()["response"])
	var e Entry
	if err := Decode(b, &e); err != nil {
		t.Fatal(err)
	}
	if &e.Body[0] != &b[len(b)-len(e.Body)] {
		t.Error("the body was copied")
	}
	if n := testing.AllocsPerRun(100, func() { _ = Decode(b, &e) }); n != 0 {
		t.Errorf("Decode allocates %v times", n)
	}
}

// FuzzDecode gives Decode anything, with the checksum made right, so that the
// checks behind it are reached.
func FuzzDecode(f *testing.F) {
	for _, c := range samples() {
		b, _ := Encode(c)
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= fixedLen {
			b = slices.Clone(b)
			b[0], b[1], b[offVersion] = 'c', 'a', Version
			s := sum(b)
			b[4], b[5], b[6], b[7] = byte(s), byte(s>>8), byte(s>>16), byte(s>>24)
		}
		var e Entry
		if Decode(b, &e) != nil {
			return
		}
		again, err := Encode(content(&e))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("decoded and encoded again:\n%x\n%x", b, again)
		}
	})
}

// FuzzFlip flips one bit of a valid entry.
func FuzzFlip(f *testing.F) {
	f.Add("key", "Name", "value", []byte("body"), uint(77))
	f.Fuzz(func(t *testing.T, key, name, value string, body []byte, bit uint) {
		if len(name) > 1000 {
			t.Skip()
		}
		c := Content{Meta: Meta{Kind: KindResponse, Status: 200}, Key: key, Header: []Field{{Name: name, Value: value}}, Body: body}
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		if err := Decode(b, &e); err != nil {
			t.Fatal(err)
		}
		if got := content(&e); !equal(got, c) && !reflect.DeepEqual(got, c) {
			t.Fatalf("got %+v, want %+v", got, c)
		}
		bit %= uint(len(b)) * 8
		b[bit/8] ^= 1 << (bit % 8)
		if Decode(b, &e) == nil {
			t.Fatalf("accepted with bit %d flipped", bit)
		}
		if Sound(b) && recognise(b) == nil {
			t.Fatalf("sound with bit %d flipped", bit)
		}
		if View(b, &e) == nil { // which does not look, but finds its way
			_ = content(&e)
		}
	})
}

func TestSound(t *testing.T) {
	whole := func(fields ...Field) []byte {
		b, err := Encode(Content{Meta: Meta{Kind: KindResponse, Status: 200}, Key: "key", Header: fields, Body: []byte("body")})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		value []byte
		want  bool
	}{
		"an entry":           {whole(), true},
		"of two fields":      {whole(Field{Name: "A", Value: "a"}, Field{Name: "B", Value: "b"}), true},
		"nothing":            {nil, true},
		"of somebody else":   {[]byte("12345678901234567890"), true},
		"cut":                {whole()[:fixedLen+2], false},
		"followed by more":   {append(whole(), 'x'), false},
		"a line break":       {whole(Field{Name: "A", Value: "a\r\nB: b"}), false},
		"another framing":    {whole(Field{Name: "Transfer-Encoding", Value: "chunked"}), false},
		"a length of lies":   {whole(Field{Name: "Content-Length", Value: "5"}), false},
		"the right length":   {whole(Field{Name: "Content-Length", Value: "4"}), true},
		"not a field's name": {whole(Field{Name: "A B", Value: "c"}), false},
	} {
		if got := Sound(c.value); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func BenchmarkDecode1KiB(b *testing.B) {
	c := samples()["response"]
	c.Body = bytes.Repeat([]byte("x"), 1024)
	raw, _ := Encode(c)
	b.ReportAllocs()
	var e Entry
	for b.Loop() {
		if err := Decode(raw, &e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestParts: what an incomplete body says of itself has to be so.
func TestParts(t *testing.T) {
	for name, parts := range map[string][]Part{
		"empty":         {{0, 0}, {0, 6}},
		"overlapping":   {{0, 3}, {2, 3}},
		"out of order":  {{50, 3}, {0, 3}},
		"beyond":        {{98, 6}},
		"starts beyond": {{101, 6}},
		"overflow":      {{1<<64 - 2, 6}},
		"too few":       {{0, 5}},
		"too many":      {{0, 7}},
	} {
		b, err := Encode(Content{Meta: Meta{Kind: KindResponse, Status: 206, Size: 100}, Parts: parts, Body: []byte("abcdef")})
		if err != nil {
			t.Fatal(name, err)
		}
		if err := Decode(b, new(Entry)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, _ := Encode(Content{Meta: Meta{Kind: KindResponse, Status: 206, Size: 100, Coding: 1}, Parts: []Part{{0, 6}}, Body: []byte("abcdef")})
	if err := Decode(b, new(Entry)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("in a coding: %v", err)
	}
}
