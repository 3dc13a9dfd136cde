package keys

import (
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

func testMaker(policy Policy) Maker {
	policy.MaxBytes = 8 << 10
	return NewMaker("cacheaside", policy)
}

func keyOf(t testing.TB, m Maker, req *Request) Key {
	t.Helper()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	got, ok := m.Key(req)
	if !ok {
		t.Fatalf("no key for %+v", req)
	}
	return got
}

func TestKeyIsReadable(t *testing.T) {
	req := func() *Request {
		return &Request{Request: adapter.Request{Method: "GET", Scheme: "https", Host: "Example.com", Path: "/blogs/1000", RawQuery: "b=2&a=1&b=1"}}
	}
	for _, c := range []struct {
		name   string
		policy Policy
		req    func(*Request)
		want   string
	}{
		{"plain", Policy{}, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1}"},
		{"HEAD has GET's key", Policy{}, func(r *Request) { r.Method = "HEAD" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1}"},
		{"query as it came", Policy{KeepQueryOrder: true}, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?b=2&a=1&b=1}"},
		{"no query", Policy{}, func(r *Request) { r.RawQuery = "" }, "cacheaside:2:{GET:https://example.com/blogs/1000}"},
		{"without host and scheme", Policy{IgnoreHost: true, IgnoreScheme: true}, nil, "cacheaside:2:{GET:///blogs/1000?a=1&b=2&b=1}"},
		{"allowed parameters", Policy{Query: NewSelector([]string{"a"}, nil)}, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1}"},
		{"no parameters", Policy{Query: NewSelector([]string{}, nil)}, nil, "cacheaside:2:{GET:https://example.com/blogs/1000}"},
		{"denied parameters", Policy{Query: NewSelector(nil, []string{"utm_*", "gclid"})},
			func(r *Request) { r.RawQuery = "utm_source=x&a=1&utm%5Fcampaign=y&gclid=3" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1}"},
		{"a semicolon is never dropped", Policy{Query: NewSelector(nil, []string{"utm_*"})},
			func(r *Request) { r.RawQuery = "utm_source=x;callback=evil" }, "cacheaside:2:{GET:https://example.com/blogs/1000?utm_source=x;callback=evil}"},
		{"header fields", Policy{Headers: []string{"X-A", "X-B", "X-C"}},
			func(r *Request) { r.Header = http.Header{"X-A": {"1", "2"}, "X-C": {""}} },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|h:X-A=1|=2|h:X-B|h:X-C=}"},
		{"cookies", Policy{Cookies: []string{"lang"}},
			func(r *Request) { r.Header = http.Header{"Cookie": {"sid=5; lang=de", "lang=en"}} },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|c:lang=lang=de;lang=en}"},
		{"partition", Policy{Partition: func(*adapter.Request) string { return "tenant 7" }},
			func(r *Request) { r.Partition = "u" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|u:u|v:tenant^207}"},
		{"generator", Policy{Generator: func(*adapter.Request) string { return "front page" }}, nil,
			"cacheaside:2:{GET:https://example.com|k:front^20page}"},
		{"rewritten", Policy{}, func(r *Request) { r.Target = "/v1/blogs/1000" },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|t:/v1/blogs/1000}"},
		{"hostile bytes", Policy{}, func(r *Request) { r.Path, r.RawQuery = "/\x00\r\n{a}|^é%2f", "" },
			"cacheaside:2:{GET:https://example.com/^00^0D^0A^7Ba^7D^7C^5E^C3^A9%2f}"},
		{"not a path", Policy{}, func(r *Request) { r.Path, r.RawQuery = "*", "" }, "cacheaside:2:{GET:https://example.com|p:*}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := req()
			if c.req != nil {
				c.req(r)
			}
			if got := keyOf(t, testMaker(c.policy), r); got.Wire != c.want {
				t.Errorf("\n got %s\nwant %s", got.Wire, c.want)
			}
		})
	}
}

func TestLongKeysAreCutAndStayDistinct(t *testing.T) {
	k := testMaker(Policy{})
	long := strings.Repeat("a", 3000)
	a := keyOf(t, k, &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/" + long, RawQuery: "x=1"}})
	b := keyOf(t, k, &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/" + long, RawQuery: "x=2"}})
	if a.Wire == b.Wire {
		t.Error("two long requests share a key")
	}
	if a.Primary == b.Primary || len(a.Primary) < 3000 {
		t.Error("the full key is not kept")
	}
	if n := len(a.Wire); n > 300 {
		t.Errorf("the key has %d bytes", n)
	}
	// What a cut key looks like cannot be had by asking for it.
	inner := a.Wire[strings.Index(a.Wire, "/a") : len(a.Wire)-1]
	if c := keyOf(t, k, &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: inner}}); c.Wire == a.Wire {
		t.Error("a request can name the digest of another")
	}
	if _, ok := k.Key(&Request{Request: adapter.Request{Host: "h", Path: "/", RawQuery: strings.Repeat("q", 100<<10), Header: http.Header{}}}); ok {
		t.Error("a query of 100 KiB got a key")
	}
}

func TestVariantSharesTheSlot(t *testing.T) {
	k := keyOf(t, testMaker(Policy{}), &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/x{y}z"}})
	v := k.Variant([]byte("de"))
	if !strings.HasPrefix(v, k.Wire+":") || !IsDigest(DigestOf(v)) {
		t.Errorf("variant %s of %s", v, k.Wire)
	}
	if strings.Count(v, "{") != 1 || strings.Count(v, "}") != 1 {
		t.Errorf("not exactly one hash tag in %s", v)
	}
	if v == k.Variant([]byte("en")) {
		t.Error("two variants share a key")
	}
}

// normal is what two requests must have in common to share a key, written
// without any of the escaping.
func normal(r *Request) []string {
	lower := []byte(r.Host)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	out := []string{r.Scheme, string(lower), r.Path, r.Target, r.Partition}
	for _, h := range []string{"X-A", "X-B"} {
		v := r.Header.Values(h)
		if len(v) == 0 {
			out = append(out, "absent", "")
		} else {
			out = append(out, "present", v[0])
		}
	}
	type pair struct{ name, raw string }
	var pairs []pair
	for p := range strings.SplitSeq(r.RawQuery, "&") {
		if p != "" {
			n, _, _ := strings.Cut(p, "=")
			pairs = append(pairs, pair{decoded(n), p})
		}
	}
	if !strings.Contains(r.RawQuery, ";") {
		slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	}
	for _, p := range pairs {
		out = append(out, p.raw)
	}
	return out
}

var escapes = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// decoded is a name as fasthttp reads it.
func decoded(name string) string {
	return escapes.ReplaceAllStringFunc(strings.ReplaceAll(name, "+", " "), func(s string) string {
		b, err := hex.DecodeString(s[1:])
		if err != nil {
			panic(err)
		}
		return string(b)
	})
}

// FuzzKeys: two requests share a key exactly if they are the same request.
func FuzzKeys(f *testing.F) {
	f.Add("h", "/a", "b=1", "", "", "x", "h", "/a", "b=1", "", "", "x")
	f.Add("h", "/a", "b", "", "", "", "h", "/a?b", "", "", "", "")
	f.Add("h/a", "", "", "", "", "", "h", "/a", "", "", "", "")
	f.Add("h", "/a", "", "t", "", "", "h", "/a|t:t", "", "", "", "")
	f.Add("h", "/a", "q|u:x", "", "", "", "h", "/a", "q", "", "x", "")
	f.Add("h", "/^7B", "", "", "", "", "h", "/{", "", "", "", "")
	f.Add("H^C", "/", "", "", "", "", "h^c", "/", "", "", "", "")
	f.Add("h", "/", "b=2&a=1&b=1", "", "", "a", "h", "/", "a=1&b=2&b=1", "", "", "a|h:X-B=")
	f.Add("h", "/", "", "", "", "a=b", "h", "/", "&&", "", "", "a=b")
	f.Add("h", "/", "id=1&%69d=2", "", "", "", "h", "/", "%69d=2&id=1", "", "", "")
	f.Add("h", "/", "b+%zz=1&b%20%zz=2&a", "", "", "", "h", "/", "a&b+%zz=1&b%20%zz=2", "", "", "")
	f.Add("h", "/", "b&a;b=1", "", "", "", "h", "/", "a;b=1&b", "", "", "")
	f.Add("h", "/", "", "", "", "x", "h", "/", "", "", "", "x\u00a0")
	f.Fuzz(func(t *testing.T, hostA, pathA, queryA, targetA, partA, fieldA, hostB, pathB, queryB, targetB, partB, fieldB string) {
		k := testMaker(Policy{Headers: []string{"X-A", "X-B"}})
		request := func(host, path, query, target, part, field string) *Request {
			h := http.Header{}
			if field != "" {
				h["X-A"] = []string{field}
			}
			if strings.HasPrefix(field, "b") {
				h["X-B"] = []string{field[1:]}
			}
			return &Request{Request: adapter.Request{Scheme: "http", Host: host, Path: path, RawQuery: query, Target: target, Partition: part, Header: h}}
		}
		a, b := request(hostA, pathA, queryA, targetA, partA, fieldA), request(hostB, pathB, queryB, targetB, partB, fieldB)
		ka, okA := k.Key(a)
		kb, okB := k.Key(b)
		if !okA || !okB {
			t.Skip()
		}
		if same := slices.Equal(normal(a), normal(b)); same != (ka.Wire == kb.Wire) || same != (ka.Primary == kb.Primary) {
			t.Fatalf("same request %v, but keys\n%s\n%s", same, ka.Wire, kb.Wire)
		}
		for _, w := range []string{ka.Wire, kb.Wire} {
			if len(w) < MinBytes || strings.Count(w, "{") != 1 || strings.Count(w, "}") != 1 {
				t.Fatalf("bad key %q", w)
			}
			for i := range len(w) {
				if w[i] <= ' ' || w[i] > '~' {
					t.Fatalf("byte %#x in key %q", w[i], w)
				}
			}
		}
	})
}

func BenchmarkKey(b *testing.B) {
	k := testMaker(Policy{})
	req := &Request{Request: adapter.Request{Method: "GET", Scheme: "https", Host: "example.com", Path: "/blogs/1000", RawQuery: "a=1&b=2", Header: http.Header{}}}
	var scratch []byte
	b.ReportAllocs()
	for b.Loop() {
		var ok bool
		if _, scratch, ok = k.View(scratch, req); !ok {
			b.Fatal("no key")
		}
	}
}
