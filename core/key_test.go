package cacheaside

import (
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

func testKeyer(t testing.TB, change func(*Policy)) keyer {
	t.Helper()
	var c Config
	if change != nil {
		change(&c.Policy)
	}
	c, err := c.validated()
	if err != nil {
		t.Fatal(err)
	}
	return keyer{&c.Policy.Key, c.Namespace + keyFormat}
}

func keyOf(t testing.TB, k keyer, req *request) key {
	t.Helper()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	got, ok := k.key(req)
	if !ok {
		t.Fatalf("no key for %+v", req)
	}
	return got
}

func TestKeyIsReadable(t *testing.T) {
	req := func() *request {
		return &request{Request: adapter.Request{Method: "GET", Scheme: "https", Host: "Example.com", Path: "/blogs/1000", RawQuery: "b=2&a=1&b=1"}}
	}
	for _, c := range []struct {
		name   string
		change func(*Policy)
		req    func(*request)
		want   string
	}{
		{"plain", nil, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1}"},
		{"HEAD has GET's key", nil, func(r *request) { r.Method = "HEAD" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1}"},
		{"query as it came", func(c *Policy) { c.Key.KeepQueryOrder = true }, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?b=2&a=1&b=1}"},
		{"no query", nil, func(r *request) { r.RawQuery = "" }, "cacheaside:2:{GET:https://example.com/blogs/1000}"},
		{"without host and scheme", func(c *Policy) { c.Key.IgnoreHost, c.Key.IgnoreScheme = true, true }, nil, "cacheaside:2:{GET:///blogs/1000?a=1&b=2&b=1}"},
		{"allowed parameters", func(c *Policy) { c.Key.Query = Only("a") }, nil, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1}"},
		{"no parameters", func(c *Policy) { c.Key.Query = None() }, nil, "cacheaside:2:{GET:https://example.com/blogs/1000}"},
		{"denied parameters", func(c *Policy) { c.Key.Query = Except(TrackingParameters()...) },
			func(r *request) { r.RawQuery = "utm_source=x&a=1&utm%5Fcampaign=y&gclid=3" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1}"},
		{"a semicolon is never dropped", func(c *Policy) { c.Key.Query = Except("utm_*") },
			func(r *request) { r.RawQuery = "utm_source=x;callback=evil" }, "cacheaside:2:{GET:https://example.com/blogs/1000?utm_source=x;callback=evil}"},
		{"header fields", func(c *Policy) { c.Key.Headers = []string{"x-b", "X-A", "x-c"} },
			func(r *request) { r.Header = http.Header{"X-A": {"1", "2"}, "X-C": {""}} },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|h:X-A=1|=2|h:X-B|h:X-C=}"},
		{"cookies", func(c *Policy) { c.Key.Cookies = []string{"lang"} },
			func(r *request) { r.Header = http.Header{"Cookie": {"sid=5; lang=de", "lang=en"}} },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|c:lang=lang=de;lang=en}"},
		{"partition", func(c *Policy) { c.Key.Partition = func(*Request) string { return "tenant 7" } },
			func(r *request) { r.Partition = "u" }, "cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|u:u|v:tenant^207}"},
		{"generator", func(c *Policy) { c.Key.Generator = func(*Request) string { return "front page" } }, nil,
			"cacheaside:2:{GET:https://example.com|k:front^20page}"},
		{"rewritten", nil, func(r *request) { r.Target = "/v1/blogs/1000" },
			"cacheaside:2:{GET:https://example.com/blogs/1000?a=1&b=2&b=1|t:/v1/blogs/1000}"},
		{"hostile bytes", nil, func(r *request) { r.Path, r.RawQuery = "/\x00\r\n{a}|^é%2f", "" },
			"cacheaside:2:{GET:https://example.com/^00^0D^0A^7Ba^7D^7C^5E^C3^A9%2f}"},
		{"not a path", nil, func(r *request) { r.Path, r.RawQuery = "*", "" }, "cacheaside:2:{GET:https://example.com|p:*}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := req()
			if c.req != nil {
				c.req(r)
			}
			if got := keyOf(t, testKeyer(t, c.change), r); got.wire != c.want {
				t.Errorf("\n got %s\nwant %s", got.wire, c.want)
			}
		})
	}
}

func TestLongKeysAreCutAndStayDistinct(t *testing.T) {
	k := testKeyer(t, nil)
	long := strings.Repeat("a", 3000)
	a := keyOf(t, k, &request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/" + long, RawQuery: "x=1"}})
	b := keyOf(t, k, &request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/" + long, RawQuery: "x=2"}})
	if a.wire == b.wire {
		t.Error("two long requests share a key")
	}
	if a.primary == b.primary || len(a.primary) < 3000 {
		t.Error("the full key is not kept")
	}
	if n := len(a.wire); n > 300 {
		t.Errorf("the key has %d bytes", n)
	}
	// What a cut key looks like cannot be had by asking for it.
	inner := a.wire[strings.Index(a.wire, "/a") : len(a.wire)-1]
	if c := keyOf(t, k, &request{Request: adapter.Request{Scheme: "http", Host: "h", Path: inner}}); c.wire == a.wire {
		t.Error("a request can name the digest of another")
	}
	if _, ok := k.key(&request{Request: adapter.Request{Host: "h", Path: "/", RawQuery: strings.Repeat("q", 100<<10), Header: http.Header{}}}); ok {
		t.Error("a query of 100 KiB got a key")
	}
}

func TestVariantSharesTheSlot(t *testing.T) {
	k := keyOf(t, testKeyer(t, nil), &request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/x{y}z"}})
	v := k.variant([]byte("de"))
	if !strings.HasPrefix(v, k.wire+":") || !validDigest(v[len(v)-variantLen:]) {
		t.Errorf("variant %s of %s", v, k.wire)
	}
	if strings.Count(v, "{") != 1 || strings.Count(v, "}") != 1 {
		t.Errorf("not exactly one hash tag in %s", v)
	}
	if v == k.variant([]byte("en")) {
		t.Error("two variants share a key")
	}
}

// normal is what two requests must have in common to share a key, written
// without any of the escaping.
func normal(r *request) []string {
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

// FuzzForwarded: two requests share a key only if they say the same of host and
// scheme, in the same fields.
func FuzzForwarded(f *testing.F) {
	f.Add("X-Forwarded-Host", "a", "b", "X-Forwarded-Host", "a,b", "")
	f.Add("Forwarded", "for=1;host=a", "", "Forwarded", "host=a;for=2", "")
	f.Add("X-Forwarded-Host", "h|f:X-Url-Scheme|=https", "", "X-Url-Scheme", "https", "")
	f.Add("X-Forwarded-Proto", "http", "", "X-Forwarded-Host", "h", "")
	f.Fuzz(func(t *testing.T, nameA, a1, a2, nameB, b1, b2 string) {
		k := testKeyer(t, func(*Policy) {})
		request := func(name, one, two string) (*request, string) {
			h := http.Header{name: {one}}
			if two != "" {
				h[name] = append(h[name], two)
			}
			r := &request{Request: adapter.Request{Scheme: "http", Host: "h", Path: "/", Header: h}}
			r.forwarded = askedBy(canonicalHeader(h))&forwarded != 0
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
		ka, okA := k.key(a)
		kb, okB := k.key(b)
		if !okA || !okB || strings.Contains(a1+a2+b1+b2, "\x00") {
			t.Skip()
		}
		if (saidA == saidB) != (ka.wire == kb.wire) {
			t.Fatalf("%q and %q have the keys\n%s\n%s", saidA, saidB, ka.wire, kb.wire)
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
		k := testKeyer(t, func(c *Policy) { c.Key.Headers = []string{"X-A", "X-B"} })
		request := func(host, path, query, target, part, field string) *request {
			h := http.Header{}
			if field != "" {
				h["X-A"] = []string{field}
			}
			if strings.HasPrefix(field, "b") {
				h["X-B"] = []string{field[1:]}
			}
			return &request{Request: adapter.Request{Scheme: "http", Host: host, Path: path, RawQuery: query, Target: target, Partition: part, Header: h}}
		}
		a, b := request(hostA, pathA, queryA, targetA, partA, fieldA), request(hostB, pathB, queryB, targetB, partB, fieldB)
		ka, okA := k.key(a)
		kb, okB := k.key(b)
		if !okA || !okB {
			t.Skip()
		}
		if same := slices.Equal(normal(a), normal(b)); same != (ka.wire == kb.wire) || same != (ka.primary == kb.primary) {
			t.Fatalf("same request %v, but keys\n%s\n%s", same, ka.wire, kb.wire)
		}
		for _, w := range []string{ka.wire, kb.wire} {
			if len(w) < minWireKey || strings.Count(w, "{") != 1 || strings.Count(w, "}") != 1 {
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
	k := testKeyer(b, nil)
	req := &request{Request: adapter.Request{Method: "GET", Scheme: "https", Host: "example.com", Path: "/blogs/1000", RawQuery: "a=1&b=2", Header: http.Header{}}}
	var scratch []byte
	b.ReportAllocs()
	for b.Loop() {
		var ok bool
		if _, scratch, ok = k.view(scratch, req); !ok {
			b.Fatal("no key")
		}
	}
}
