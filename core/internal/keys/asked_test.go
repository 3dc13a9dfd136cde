package keys

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// named is a header that can go through its names, as that of Fiber can.
type named struct{ http.Header }

func (h named) Names(judge func(string) uint16) (all uint16) {
	for name := range h.Header {
		all |= judge(name)
	}
	return all
}

func (h named) Lines(yield func(name, value string)) {
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		for _, value := range h.Header[name] {
			yield(name, value)
		}
	}
}

// TestAskedBy: whatever form the header has, the same is found in it.
func TestAskedBy(t *testing.T) {
	want := map[string]Asked{
		"If-Match": AskedPrecondition, "If-Unmodified-Since": AskedPrecondition, "Cache-Control": AskedDirected, "Pragma": AskedDirected,
		"If-None-Match": AskedConditional, "If-Modified-Since": AskedConditional, "Range": AskedRanged, "Upgrade": AskedUpgrade,
		"Transfer-Encoding": AskedChunked,
		"Authorization":     AskedCredentials, "Cookie": AskedCookies, "Origin": AskedOrigin,
		"Accept": 0, "If-Range": 0, "Host": 0, "User-Agent": 0, "X-Request-Id": 0, "From": 0, "": 0,
		"Cache-Contro": 0, "X-Forwarded-For": 0, "Content-Range": 0,
	}
	for _, name := range forwardedFields {
		want[name] = askedForwarded
	}
	for _, name := range overrideFields {
		want[name] = AskedOverride
	}
	for _, name := range otherFields {
		if want[name] == 0 {
			t.Errorf("%s is looked for, but for what?", name)
		}
	}
	for name, bit := range want {
		h := http.Header{name: {"x"}, "Accept": {"y"}}
		for kind, header := range map[string]adapter.Header{"canonical": canonicalHeader(h), "named": named{h}, "plain": h} {
			if got := askedBy(header); got != bit {
				t.Errorf("%s in a %s header: %b, want %b", name, kind, got, bit)
			}
		}
		for kind, header := range map[string]adapter.Header{"map": http.Header{strings.ToLower(name): {"x"}}, "named": named{http.Header{strings.ToLower(name): {"x"}}}} {
			if name == "" {
				continue
			}
			var r Request
			got, all := r.Enter(&adapter.Request{Header: header, Host: "h"})
			if all&^askedSpelled != bit || len(got.Values(name)) != 1 || r.Forwarded != (bit == askedForwarded) {
				t.Errorf("%s in small letters in a %s header: %b, want %b; %q", name, kind, all, bit, got.Values(name))
			}
			for _, as := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				if lines := r.Header.Values(as); len(lines) != 1 || (lines[0] != "x") != (name == "Host") {
					t.Errorf("%s in small letters in a %s header: policies find %q under %s", name, kind, lines, as)
				}
			}
		}
		listed := slices.Concat(forwardedFields, overrideFields, otherFields)
		if bit != 0 && !slices.Contains(listed, name) {
			t.Errorf("%s is not found in a plain header", name)
		}
	}
	if got := askedBy(http.Header{"Range": {"x"}, "Forwarded": {"y"}, "Pragma": {"z"}}); got != AskedRanged|askedForwarded|AskedDirected {
		t.Errorf("three fields: %b", got)
	}
}
