package httprules

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// FuzzNames: what is canonical is what net/http takes for it, case is that of
// ASCII, and folding loses no line.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"", "Etag", "ETag", "etag", "X-Forwarded-Host", "x-forwarded-host", "X-Forwarded-host", "X-ForwardEd-Host", "Sec-Ch-Ua-Platform-Version",
		"X--A", "X--a", "Www-Authenticate", "WWW-Authenticate", "-a", "a-", "12345678a", "1234567-a", "1234567-A", "coo\u212aie", "X-\x80a",
	} {
		f.Add(name, strings.ToUpper(name))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, name := range []string{a, b} {
			if got, want := CanonicalName(name), textproto.CanonicalMIMEHeaderKey(name) == name; got != want && IsToken(name) {
				t.Fatalf("%q is canonical: %v", name, got)
			}
		}
		if got, want := EqualFold(a, b), ToLower(a) == ToLower(b); got != want {
			t.Fatalf("%q and %q are equal: %v", a, b, got)
		}
		if IsToken(a) && IsToken(b) && EqualFold(a, b) != (http.CanonicalHeaderKey(a) == http.CanonicalHeaderKey(b)) {
			t.Fatalf("%q and %q are one name, or not", a, b)
		}
		h := http.Header{a: {"1", "2"}, b: {"3"}}
		before := maps.Clone(h)
		folded := Fold(h)
		if !maps.EqualFunc(before, h, slices.Equal) {
			t.Fatalf("%v became %v", before, h)
		}
		var lines, want []string
		for name, l := range folded {
			lines = append(lines, l...)
			if IsToken(name) && !CanonicalName(name) {
				t.Fatalf("%q in %v", name, folded)
			}
		}
		for _, l := range h {
			want = append(want, l...)
		}
		slices.Sort(lines)
		slices.Sort(want)
		if !slices.Equal(lines, want) {
			t.Fatalf("%v became %v", h, folded)
		}
	})
}

func BenchmarkCanonicalName(b *testing.B) {
	for b.Loop() {
		for _, name := range [...]string{"Accept", "User-Agent", "Accept-Encoding", "Upgrade-Insecure-Requests"} {
			if !CanonicalName(name) {
				b.Fatal(name)
			}
		}
	}
}
