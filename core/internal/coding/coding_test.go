package coding

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, want := range map[string]Coding{
		"gzip": Gzip, "GZIP": Gzip, "x-gzip": Gzip, "X-GZip": Gzip, "br": Brotli, "Br": Brotli, "zstd": Zstd, "ZStd": Zstd,
	} {
		if c, ok := Parse(name); !ok || c != want {
			t.Errorf("%q: got %v, %v, want %v", name, c, ok, want)
		}
	}
	for _, name := range []string{"", "identity", "Identity", "deflate", "compress", "x-br", "gzip ", "gzi", "gzipp", "*", "dcb", "zstd\u0000"} {
		if c, ok := Parse(name); ok {
			t.Errorf("%q: got %v, want none", name, c)
		}
	}
}

// Numbers are in stored entries, names in fields.
func TestNumbers(t *testing.T) {
	for i, name := range []string{"identity", "gzip", "br", "zstd"} {
		if got := Coding(i).String(); got != name {
			t.Errorf("coding %d is %s, not %s", i, got, name)
		}
	}
	if Count != 4 || Coding(4).String() != "Coding(4)" {
		t.Errorf("%d codings, and then %s", Count, Coding(4))
	}
}

func TestCheckLevel(t *testing.T) {
	for _, tt := range []struct {
		c      Coding
		levels int
		rule   string
	}{
		{Identity, 0, "must be 0"},
		{Gzip, 9, "1 to 9"},
		{Brotli, 11, "1 to 11"},
		{Zstd, 22, "1 to 22"},
	} {
		for level := -2; level < 30; level++ {
			err := CheckLevel(tt.c, level)
			if ok := level >= 0 && level <= tt.levels; ok != (err == nil) {
				t.Errorf("%s, level %d: %v", tt.c, level, err)
			} else if err != nil && (!strings.Contains(err.Error(), tt.rule) || !strings.Contains(err.Error(), tt.c.String())) {
				t.Errorf("%s, level %d: %v does not say %q", tt.c, level, err, tt.rule)
			}
			if _, encoded := Encode(tt.c, level, nil); (encoded == nil) != (err == nil) {
				t.Errorf("%s, level %d: Encode says %v, CheckLevel %v", tt.c, level, encoded, err)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, c := range []Coding{Count, 255} {
		_, encode := Encode(c, 0, []byte("a"))
		_, decode := Decode(c, []byte("a"), 1)
		_, size := Size(c, []byte("a"), 1)
		for what, err := range map[string]error{"CheckLevel": CheckLevel(c, 0), "Encode": encode, "Decode": decode, "Size": size} {
			if err == nil {
				t.Errorf("%s of %v is no error", what, c)
			}
		}
	}
}
