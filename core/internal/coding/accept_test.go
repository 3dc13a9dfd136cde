package coding

import (
	"strings"
	"testing"
)

// The rules are tested where they are, in httprules: here is that they are those of
// these codings.
func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  Accepted
	}{
		{nil, Accepted{Identity: 1}},
		{[]string{""}, Accepted{Identity: 1}},
		{[]string{"gzip, deflate, br;q=0.9", "zstd;q=0.2"}, Accepted{Identity: 1, Gzip: 1000, Brotli: 900, Zstd: 200}},
		{[]string{"X-GZIP;q=0.001"}, Accepted{Identity: 1, Gzip: 1}},
		{[]string{"identity;q=0.5, *;q=0"}, Accepted{Identity: 500}},
		{[]string{"*;q=0"}, Accepted{}},
		{[]string{"*"}, Accepted{Identity: 1000, Gzip: 1000, Brotli: 1000, Zstd: 1000}},
		{[]string{"br;q=1.1, identity;q=0"}, Accepted{}},
	} {
		if got := Accept(tt.lines); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.lines, got, tt.want)
		}
	}
}

// TestAcceptUsual: what is not read at every hit means what it says.
func TestAcceptUsual(t *testing.T) {
	for _, lines := range [][]string{
		{"gzip"}, {"gzip, deflate"}, {"gzip, deflate, br"}, {"gzip, deflate, br, zstd"},
		{"gzip", "br"}, {"gzip;q=0"}, {"identity"}, {"GZIP"}, {"gzip, deflate, br, zstd, *"}, // nearly those
	} {
		if got, want := Accept(lines), read(lines); got != want {
			t.Errorf("%q: %v, want %v", lines, got, want)
		}
	}
}

func TestAcceptAllocations(t *testing.T) {
	for name, lines := range map[string][]string{
		"none":    nil,
		"browser": {"gzip, deflate, br, zstd"},
		"long":    {strings.Repeat("x-gzip;q=0.5, a , *;q=2,", 2700)},
	} {
		if n := testing.AllocsPerRun(20, func() { accepted = Accept(lines) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var accepted Accepted
