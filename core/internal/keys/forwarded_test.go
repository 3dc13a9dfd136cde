package keys

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// FuzzForwarded: two requests share a key only if they say the same of host and
// scheme, in the same fields.
func FuzzForwarded(f *testing.F) {
	f.Add("X-Forwarded-Host", "a", "b", "X-Forwarded-Host", "a,b", "")
	f.Add("Forwarded", "for=1;host=a", "", "Forwarded", "host=a;for=2", "")
	f.Add("X-Forwarded-Host", "h|f:X-Url-Scheme|=https", "", "X-Url-Scheme", "https", "")
	f.Add("X-Forwarded-Proto", "http", "", "X-Forwarded-Host", "h", "")
	f.Fuzz(func(t *testing.T, nameA, a1, a2, nameB, b1, b2 string) {
		k := testMaker(Policy{})
		request := func(name, one, two string) (*Request, string) {
			h := http.Header{name: {one}}
			if two != "" {
				h[name] = append(h[name], two)
			}
			r := &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/", Header: h}}
			r.Forwarded = askedBy(canonicalHeader(h))&askedForwarded != 0
			said := []string{name}
			for _, v := range h[name] {
				if name == "Forwarded" {
					v = hostAndProto(v)
				}
				said = append(said, v)
			}
			if !slices.Contains(forwardedFields, name) || two == "" && name == "Forwarded" && hostAndProto(one) == "" {
				said = nil
			}
			return r, strings.Join(said, "\x00")
		}
		a, saidA := request(nameA, a1, a2)
		b, saidB := request(nameB, b1, b2)
		ka, okA := k.Key(a)
		kb, okB := k.Key(b)
		if !okA || !okB || strings.Contains(a1+a2+b1+b2, "\x00") {
			t.Skip()
		}
		if (saidA == saidB) != (ka.Wire == kb.Wire) {
			t.Fatalf("%q and %q have the keys\n%s\n%s", saidA, saidB, ka.Wire, kb.Wire)
		}
	})
}

// TestHostAndProto: two values of Forwarded that any parser tells apart are not
// taken for one, and addresses are not looked at.
func TestHostAndProto(t *testing.T) {
	for _, differ := range [][2]string{
		{`host="a;x"`, `host="a;y"`},
		{`host="a,x"`, `host="a,y"`},
		{`host="a\";x"`, `host="a\";y"`},
		{`host="a`, `host="a;`},
		{"host=a, proto=https", "host=a;proto=https"},
		{"host=a, for=1;proto=https", "host=a;proto=https, for=1"},
		{`for="x;host=evil"`, "for=x"},
	} {
		if a, b := hostAndProto(differ[0]), hostAndProto(differ[1]); a == b {
			t.Errorf("%s and %s are both %q", differ[0], differ[1], a)
		}
	}
	for _, same := range []string{"for=1", "for=1, for=2", `for="[2001:db8::1]:4711";by=x`} {
		if got := hostAndProto(same); got != "" {
			t.Errorf("%s: %q", same, got)
		}
	}
	if a, b := hostAndProto(`for="[::1]:1";host=a`), hostAndProto("for=2;host=a"); a != b {
		t.Errorf("the address selects: %q, %q", a, b)
	}
}
