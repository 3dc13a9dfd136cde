package cacheaside

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
)

func cacheNamed(t testing.TB, namespace string, change ...func(*Config)) *Cache {
	t.Helper()
	cfg := Config{Namespace: namespace}
	for _, f := range change {
		f(&cfg)
	}
	c := Must(New(cfg))
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	return c
}

// onTheWire checks what every key must be for Dragonfly to tell of its end.
func onTheWire(t interface{ Errorf(string, ...any) }, key string) {
	if len(key) < keys.MinBytes {
		t.Errorf("the key %q is shorter than %d bytes", key, keys.MinBytes)
	}
	if strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		t.Errorf("the key %q is not printable ASCII", key)
	}
}

// TestStampKeys: no two tags share a stamp, all stamps share a slot, and the
// clock, or what belongs to it, cannot be taken for one.
func TestStampKeys(t *testing.T) {
	for _, namespace := range []string{"a", "cacheaside", strings.Repeat("n", 64)} {
		spelled := purgeKeys(namespace)
		onTheWire(t, spelled.Clock())
		for _, tag := range []string{"x.", "x|", "x..", "x||||||||||"} { // as if it were made longer
			if spelled.Stamp(purges.OfHandler+tag) == spelled.Stamp(purges.OfHandler+"x") {
				t.Errorf("%q shares its key with x", tag)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			tag := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c.|^{}%]{0,4}`), rapid.StringN(200, 400, -1))
			of := rapid.SampledFrom([]string{purges.OfHandler, purges.OfGroup, purges.OfURL})
			a, b := of.Draw(t, "a")+tag.Draw(t, "a"), of.Draw(t, "b")+tag.Draw(t, "b")
			ka, kb := spelled.Stamp(a), spelled.Stamp(b)
			if (a == b) != (ka == kb) {
				t.Fatalf("%q and %q have the keys %q and %q", a, b, ka, kb)
			}
			for _, key := range []string{ka, kb} {
				onTheWire(t, key)
				if !strings.HasPrefix(key, namespace+":2:{tags}:") || strings.HasPrefix(key, spelled.Clock()) || len(key) > len(spelled.Prefix)+3*MaxTagBytes {
					t.Errorf("the key %q of a stamp", key)
				}
			}
		})
	}
}

// TestURLTags: one for all that is stored for a URL, with whatever scheme and spelling,
// and another one for any other URL.
func TestURLTags(t *testing.T) {
	c := cacheNamed(t, "", func(c *Config) {
		c.Policy.Key.Headers, c.Policy.Key.Cookies = []string{"X-A"}, []string{"a"}
		c.Policy.Key.Partition = func(r *adapter.Request) string { return first(r.Header.Values("X-P")) }
	})
	rapid.Check(t, func(t *rapid.T) {
		path, word := rapid.SampledFrom([]string{"/", "/a", "/A", "/a/", "/%61"}), rapid.SampledFrom([]string{"", "a=1", "a=2", "b=1&a=1", "a=1&b=1"})
		draw := func() *keys.Request {
			r := &keys.Request{Request: adapter.Request{
				Method: "GET", Scheme: rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme"),
				Host: rapid.SampledFrom([]string{"a", "A", "b", "a:80", "a:8080"}).Draw(t, "host"), Path: path.Draw(t, "path"), RawQuery: word.Draw(t, "query"),
			}}
			h := map[string][]string{}
			for _, name := range []string{"X-A", "X-P", "Cookie"} {
				if rapid.Bool().Draw(t, name) {
					h[name] = []string{"a=" + word.Draw(t, name)}
				}
			}
			r.Header = http.Header(h)
			r.Partition = word.Draw(t, "partition")
			return r
		}
		a, b := draw(), draw()
		url := func(r *keys.Request) string {
			q := strings.Split(r.RawQuery, "&")
			slices.Sort(q)
			return "//" + strings.TrimSuffix(strings.ToLower(r.Host), ":80") + strings.ReplaceAll(r.Path, "%61", "a") + "?" + strings.Join(q, "&")
		}
		tags := func(r *keys.Request) string {
			of := c.urlTags(nil, r)
			slices.Sort(of)
			if of = slices.Compact(of); len(of) != 1 || !strings.HasPrefix(of[0], purges.OfURL) {
				t.Fatalf("%s has the tags %q", url(r), of)
			}
			return of[0]
		}
		if (url(a) == url(b)) != (tags(a) == tags(b)) {
			t.Fatalf("%s and %s have the tags %s and %s", url(a), url(b), tags(a), tags(b))
		}
		if (a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)) != (groupTag(a, "x|y") == groupTag(b, "x|y")) {
			t.Fatalf("the groups of %s and %s are %s and %s", url(a), url(b), groupTag(a, "x|y"), groupTag(b, "x|y"))
		}
		if groupTag(a, "x") == groupTag(a, "y") {
			t.Fatalf("%s is the group of x and y", groupTag(a, "x"))
		}
	})
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// FuzzDecodePurge: whatever is taken says what to purge, and nothing is lost of
// it.
func FuzzDecodePurge(f *testing.F) {
	for _, s := range []string{`{"tags":["a","b"],"soft":true}`, `{"urls":["http://h/"],"prefixes":["http://h/a"]}`, `{"all":true}`, `{"all":true}{}`, `{"urls":["http://h/"],"soft":true}`, `null`, `{"tags":null}`, `{"TAGS":["a"]}`, `{"x":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodePurge(b)
		if err != nil || o.sensible() != nil {
			return
		}
		if !o.All && len(o.Tags)+len(o.URLs)+len(o.Prefixes) == 0 || o.Soft && len(o.URLs) > 0 {
			t.Fatalf("%+v of %q", o, b)
		}
		if !json.Valid(b) {
			t.Fatalf("%q is no JSON", b)
		}
		again, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if o, err = decodePurge(again); err != nil {
			t.Fatalf("%q, then %q: %+v, %v", b, again, o, err)
		}
	})
}

// FuzzVaryRecord decodes records of any names and variants, and puts one more
// variant into them.
func FuzzVaryRecord(f *testing.F) {
	f.Add("Accept", "X-A", "0123456789abcdef0123456789abcdef", "1700000000000000000", uint64(7), int64(1))
	f.Add("", "", "x", "y", uint64(0), int64(-1))
	f.Fuzz(func(t *testing.T, name1, name2, digest, expires string, generation uint64, now int64) {
		b, err := entry.Encode(entry.Content{
			Meta: entry.Meta{Kind: entry.KindVary, Stamp: generation}, Key: "GET://",
			Vary:   []entry.Field{{Name: name1}, {Name: name2}},
			Header: []entry.Field{{Name: digest, Value: expires}, {Name: digest + "2", Value: "9000000000000000000"}},
		})
		if err != nil {
			t.Skip(err)
		}
		var e entry.Entry
		if err := entry.Decode(b, &e); err != nil {
			t.Skip(err)
		}
		r := decodeVaryRecord(&e)
		if !slices.Equal(r.Names, []string{name1, name2}) || r.Generation != generation || len(r.variants) == 0 || len(r.variants) > 2 {
			t.Fatalf("%+v", r)
		}
		dropped := r.add(variantRef{"mine", 8e18}, now, 1)
		if len(r.variants) != 1 || r.variants[0].digest != "mine" || len(dropped) > 2 {
			t.Fatalf("%+v, dropped %q", r, dropped)
		}
		again, _, err := r.encode("GET://", now)
		if err != nil {
			t.Skip(err)
		}
		if err := entry.Decode(again, &e); err != nil || !slices.Equal(decodeVaryRecord(&e).Names, r.Names) {
			t.Fatalf("%+v, %v", decodeVaryRecord(&e), err)
		}
	})
}
