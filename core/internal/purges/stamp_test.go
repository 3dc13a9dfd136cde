package purges

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// testKeys do not escape.
var testKeys = Keys{Prefix: "n:{t}:", MinBytes: 17, Escape: func(dst []byte, text string) []byte { return append(dst, text...) }}

func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		testKeys.Clock():                         "n:{t}:clock||||||",
		testKeys.Stamp("t:a"):                    "n:{t}:t:a||||||||",
		testKeys.Stamp("t:a longer tag"):         "n:{t}:t:a longer tag",
		testKeys.Stamp(strings.Repeat("t", 256)): "n:{t}:" + strings.Repeat("t", 256),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	a, b := testKeys.Stamp("g:"+strings.Repeat("a", 255)), testKeys.Stamp("g:"+strings.Repeat("a", 256))
	if len(a) != len("n:{t}:g:")+64 || !strings.HasPrefix(a, "n:{t}:g:") || a == b {
		t.Errorf("the keys of long tags are %s and %s", a, b)
	}
}

// TestTagSetOf: the set is that of an entry with the same tags in the same order.
func TestTagSetOf(t *testing.T) {
	for _, c := range []struct {
		set, entry []string
		want       bool
	}{
		{nil, nil, true},
		{[]string{"t:a", "t:b"}, []string{"t:a", "t:b"}, true},
		{[]string{"t:a"}, nil, false},
		{nil, []string{"t:a"}, false},
		{[]string{"t:a"}, []string{"t:a", "t:b"}, false},
		{[]string{"t:a", "t:b"}, []string{"t:a"}, false},
		{[]string{"t:a", "t:b"}, []string{"t:b", "t:a"}, false},
	} {
		if got := testKeys.tagSet(c.set).isOf(tagged(t, c.entry...)); got != c.want {
			t.Errorf("%q of an entry with %q: %t", c.set, c.entry, got)
		}
	}
}

// tagged is an entry with tags.
func tagged(t *testing.T, tags ...string) *entry.Entry {
	t.Helper()
	b, err := entry.Encode(entry.Content{Meta: entry.Meta{Kind: entry.KindResponse, Status: 200}, Key: "//h/a", Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	e := new(entry.Entry)
	if err := entry.Decode(b, e); err != nil {
		t.Fatal(err)
	}
	return e
}
