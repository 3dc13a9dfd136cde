package cacheaside

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// codedEntry is an entry whose body is kept in zstd.
func codedEntry(t *testing.T, key string, born int64, plain []byte) *entry.Entry {
	t.Helper()
	body, err := coding.Encode(coding.Zstd, 0, plain)
	if err != nil {
		t.Fatal(err)
	}
	b, err := entry.Encode(entry.Content{
		Meta: entry.Meta{Kind: entry.KindResponse, Status: 200, Born: born, Coding: uint8(coding.Zstd), Size: uint64(len(plain))},
		Key:  key, Body: body,
	})
	if err != nil {
		t.Fatal(err)
	}
	var e entry.Entry
	if err := entry.Decode(b, &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// TestDerived: a body is made of the stored one once, for all who ask at once, is bounded
// in bytes, and is made again when it is gone.
func TestDerived(t *testing.T) {
	d := &derived{max: 64 << 10}
	plain := bodies.JSON(30 << 10)
	e := codedEntry(t, "GET:a", 1, plain)
	var all sync.WaitGroup
	got := make([][]byte, 50)
	for i := range got {
		all.Go(func() {
			b, err := d.body(e, coding.Gzip, 0, 1<<20)
			if err != nil {
				t.Error(err)
			}
			got[i] = b
		})
	}
	all.Wait()
	for _, b := range got {
		if &b[0] != &got[0][0] {
			t.Fatal("it was made more than once")
		}
	}
	if b, err := coding.Decode(coding.Gzip, got[0], uint64(len(plain))); err != nil || !bytes.Equal(b, plain) {
		t.Fatalf("another body: %v", err)
	}
	if b, err := d.body(e, coding.Identity, 0, 1<<20); err != nil || !bytes.Equal(b, plain) {
		t.Fatalf("another plain body: %v", err)
	}
	// Entries under one key, of other times or with other bodies, are others.
	for i, other := range []*entry.Entry{codedEntry(t, "GET:a", 2, plain[1:]), codedEntry(t, "GET:a", 1, plain[2:])} {
		if b, err := d.body(other, coding.Identity, 0, 1<<20); err != nil || !bytes.Equal(b, plain[i+1:]) {
			t.Errorf("%d: another entry's body, %v", i, err)
		}
	}
	// More of them than there is room for.
	for i := range 100 {
		one := codedEntry(t, "GET:"+strings.Repeat("x", i), 1, plain)
		if b, err := d.body(one, coding.Identity, 0, 1<<20); err != nil || !bytes.Equal(b, plain) {
			t.Errorf("%d: %v", i, err)
		}
	}
	d.bodies.CleanUp()
	if n := d.bodies.WeightedSize(); n > uint64(d.max) {
		t.Errorf("%d bytes are kept", n)
	}
	if b, err := d.body(e, coding.Gzip, 0, 1<<20); err != nil || !bytes.Equal(b, got[0]) {
		t.Errorf("made again, it is another one: %v", err)
	}
	if _, err := d.body(e, coding.Brotli, 0, 1000); err == nil {
		t.Error("a body over the limit")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = d.body(e, coding.Gzip, 0, 1<<20) }); n > 0 {
		t.Errorf("%v allocations where it is there", n)
	}
}
