package direct_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/storetest"
)

func TestFind(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Tag", "blog, blog-1")
		rw.Header().Set("Content-Type", "text/x-test")
		fmt.Fprint(rw, "hello")
	}
	w.get("http://example.com/blogs/1?page=2&a=1")
	w.get("http://example.com/blogs/10")
	s := open(t, w.addr, "cacheaside")

	f, e := one(t, find(t, s, "https://Example.com:80/blogs/1?a=1&page=2")) // in any order, with https alike
	if f.Result != "hit" || f.Cause != "" || !contains(f.Because, "it is fresh for another") || !e.Selected || e.Result != "hit" {
		t.Errorf("%+v", f)
	}
	if f.Key.Text != "http://example.com/blogs/1?a=…&page=…" || e.Key != f.Key {
		t.Errorf("the key is %+v, of the entry %+v", f.Key, e.Key)
	}
	if e.Status != 200 || e.BodyBytes != 5 || e.Size < 100 || int(e.Lifetime) != 3600 || e.TTL <= 0 || e.TTL > 3601 || e.Age < 0 ||
		e.Gone <= 0 || e.StoredAt < time.Now().Add(-time.Hour).UnixMilli() {
		t.Errorf("%+v", e)
	}
	var tags []string
	for _, tag := range e.Tags {
		tags = append(tags, tag.Kind+" "+tag.Name+" "+tag.State)
	}
	if !slices.Equal(tags, []string{"handler blog valid", "handler blog-1 valid"}) {
		t.Errorf("tags %q", tags)
	}
	var fields []string
	for _, field := range e.Header {
		fields = append(fields, field.Name+": "+field.Value)
	}
	if !slices.Contains(fields, "Content-Type: text/x-test") {
		t.Errorf("fields %q", fields)
	}
	b, ok, err := s.Body(t.Context(), e.Key)
	if !ok || err != nil || string(b.Body) != "hello" || b.Status != 200 || len(b.Header) != len(e.Header) {
		t.Errorf("%+v, %v, %v", b, ok, err)
	}

	for _, absent := range []string{"http://example.com/blogs/1?page=2", "http://example.com/blogs", "http://example.org/blogs/10", "http://example.com/blogs/100"} {
		if got := find(t, s, absent); len(got) != 0 {
			t.Errorf("%s: %+v", absent, got)
		}
	}
	// A request may rule it out, or be answered with what is stale.
	f, _ = one(t, find(t, s, "http://example.com/blogs/10", "Cache-Control", "no-cache"))
	if f.Result != "miss" || f.Cause != "request" {
		t.Errorf("with no-cache: %+v", f)
	}
	late := open(t, w.addr, "cacheaside", func() time.Time { return time.Now().Add(61 * time.Minute) })
	f, e = one(t, find(t, late, "http://example.com/blogs/10"))
	if f.Result != "miss" || f.Cause != "expired" || e.TTL >= 0 {
		t.Errorf("an hour later: %+v", f)
	}
	if f, _ = one(t, find(t, late, "http://example.com/blogs/10", "Cache-Control", "max-stale=600")); f.Result != "stale" {
		t.Errorf("an hour later, with max-stale: %+v", f)
	}
	w.do("DEL", "cacheaside:2:{GET:http://example.com/blogs/10}")
	if _, ok, err := s.Body(t.Context(), find(t, s, "http://example.com/blogs/1?a=1&page=2")[0].Key); !ok || err != nil {
		t.Error(ok, err)
	}
}

// TestFindPurged: what is said of an entry is what a request would be told.
// What is stored in parts is shown as that, and never as a body.
func TestFindParts(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Etag", `"a"`)
		rw.Header().Set("Cache-Control", "max-age=3600")
		first := 0
		if r.Header.Get("Range") == "bytes=6-8" {
			first = 6
		}
		rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/10", first, first+2))
		rw.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(rw, "0123456789"[first:first+3])
	}
	w.get("http://example.com/film", "Range", "bytes=0-2")
	w.get("http://example.com/film", "Range", "bytes=6-8")
	s := open(t, w.addr, "cacheaside")
	f, e := one(t, find(t, s, "http://example.com/film"))
	if f.Result != "miss" || f.Cause != "partial" || e.Status != 206 || e.BodyBytes != 6 || e.Parts != "bytes 0-2, 6-8 of 10" {
		t.Errorf("%+v %+v", f, e)
	}
	for wanted, want := range map[string]string{"bytes=1-2": "hit", "bytes=0-0, 7-8": "hit", "bytes=2-6": "miss", "bytes=9-": "miss", "bytes=20-": "miss"} {
		if f, _ := one(t, find(t, s, "http://example.com/film", "Range", wanted)); f.Result != want {
			t.Errorf("%s: %+v", wanted, f)
		}
	}
	if b, ok, err := s.Body(t.Context(), e.Key); !ok || err != nil || b.Parts != e.Parts || string(b.Body) != "012678" {
		t.Errorf("%+v, %t, %v", b, ok, err)
	}
	items, _ := all(t, s, "http://example.com/film", 10)
	if len(items) != 1 || items[0].Of != 206 || items[0].Parts != e.Parts {
		t.Errorf("%+v", items)
	}
}

func TestFindPurged(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Tag", strings.TrimPrefix(r.URL.Path, "/"))
		fmt.Fprint(rw, "hello")
	}
	s := open(t, w.addr, "cacheaside")
	for _, c := range []struct {
		name                  string
		purge                 func(url, tag string) error
		result, cause, tagged string
	}{
		{"hard", func(_, tag string) error { return s.Purge(t.Context(), cacheaside.Purge{Tags: []string{tag}}) }, "miss", "purged", "purged"},
		{"soft", func(_, tag string) error {
			return s.Purge(t.Context(), cacheaside.Purge{Tags: []string{tag}, Soft: true})
		}, "stale", "", "soft"},
		{"lost", func(_, tag string) error { w.do("DEL", "cacheaside:2:{tags}:t:"+tag); return nil }, "miss", "lost", "lost"},
		{"prefix", func(url, _ string) error {
			return s.Purge(t.Context(), cacheaside.Purge{Prefixes: []string{url}})
		}, "miss", "purged", "valid"},
		{"all", func(string, string) error { return s.Purge(t.Context(), cacheaside.Purge{All: true}) }, "miss", "purged", "valid"},
		{"journal", func(string, string) error { w.do("DEL", "cacheaside:2:{tags}:clock:journal"); return nil }, "miss", "lost", "valid"},
	} {
		url := "http://example.com/" + c.name
		w.get(url)
		if f, _ := one(t, find(t, s, url)); f.Result != "hit" {
			t.Fatalf("%s, before: %+v", c.name, f)
		}
		if err := c.purge(url, c.name); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		f, e := one(t, find(t, open(t, w.addr, "cacheaside"), url))
		if f.Result != c.result || f.Cause != c.cause || len(e.Tags) != 1 || e.Tags[0].State != c.tagged || f.Because == "" {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	url := "http://example.com/by-url"
	w.get(url)
	if err := s.Purge(t.Context(), cacheaside.Purge{URLs: []string{url}}); err != nil {
		t.Fatal(err)
	}
	if found := find(t, s, url); len(found) != 0 {
		t.Errorf("a purged URL: %+v", found)
	}
}

// TestFindAllKeys: partitions, fields and cookies in keys, variants, long URLs, policies
// that leave something out.
func TestFindAllKeys(t *testing.T) {
	addr := storetest.StartServer(t).Addr
	w := newSite(t, addr, "", cacheaside.KeyPolicy{
		Partition: func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("X-User"), ",") },
		Headers:   []string{"X-Device"}, Cookies: []string{"theme"},
		Query: cacheaside.Selection{Deny: []string{"utm_*"}},
	})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/vary" {
			rw.Header().Set("Vary", "Accept-Language")
		}
		fmt.Fprint(rw, "for ", r.Header.Get("Accept-Language"))
	}
	s := open(t, addr, "cacheaside")
	longPath := "/" + strings.Repeat("long/", 80)
	for _, path := range []string{"/a", longPath} {
		url := "http://example.com" + path
		w.get(url, "X-User", secret+"-1")
		w.get(url, "X-User", secret+"-2", "X-Device", secret, "Cookie", "theme="+secret)
		w.get(url+"x", "X-User", secret+"-1")
		found := find(t, s, url+"?utm_source=mail") // which the policy leaves out
		if len(found) != 2 {
			t.Fatalf("%.20s: %+v", path, found)
		}
		for _, f := range found {
			if f.Result != "hit" || len(f.Entries) != 1 || path == "/a" && !contains(f.Key.Text, "example.com/a partition=… X-Device: …") {
				t.Errorf("%.20s: %+v", path, f)
			}
		}
	}
	if f := find(t, s, "http://example.com/a"); !contains(strings.Join(texts(f), "\n"), " cookie theme=…") {
		t.Errorf("%q", texts(f))
	}

	w.get("http://example.com/vary", "X-User", "u", "Accept-Language", "de")
	w.get("http://example.com/vary", "X-User", "u", "Accept-Language", "en")
	found := find(t, s, "http://example.com/vary", "Accept-Language", "en")
	if len(found) != 1 || !slices.Equal(found[0].Vary, []string{"Accept-Language"}) || len(found[0].Entries) != 2 || found[0].Result != "hit" {
		t.Fatalf("%+v", found)
	}
	for _, e := range found[0].Entries {
		b, ok, err := s.Body(t.Context(), e.Key)
		if want := map[bool]string{true: "for en", false: "for de"}[e.Selected]; !ok || err != nil || string(b.Body) != want {
			t.Errorf("selected %v: %q, %v, %v", e.Selected, b.Body, ok, err)
		}
		if len(e.Selecting) != 1 || e.Selecting[0].Value != "…" {
			t.Errorf("%+v", e.Selecting)
		}
	}
	if f := find(t, s, "http://example.com/vary", "Accept-Language", "fr")[0]; f.Result != "miss" || f.Cause != "vary" || len(f.Entries) != 2 {
		t.Errorf("another language: %+v", f)
	}

	hostless := newSite(t, addr, "hostless", cacheaside.KeyPolicy{IgnoreHost: true, IgnoreScheme: true, Query: cacheaside.Selection{Allow: []string{"page"}}})
	hostless.get("http://a.example/x?page=1&b=2")
	f, _ := one(t, find(t, open(t, addr, "hostless"), "https://b.example/x?c=3&page=1"))
	if f.Key.Text != "////x?page=…" && f.Key.Text != "///x?page=…" {
		t.Errorf("without a host: %+v", f.Key)
	}
	if got := find(t, open(t, addr, "hostless"), "https://b.example/x?page=2"); len(got) != 0 {
		t.Errorf("another page: %+v", got)
	}
}

// TestFindWrongValues: what is no entry is said to be none, and what it is.
func TestFindWrongValues(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	s := open(t, w.addr, "cacheaside")
	key := func(path string) string { return "cacheaside:2:{GET:http://example.com" + path + "}" }
	for _, path := range []string{"/damaged", "/other", "/version"} {
		w.get("http://example.com" + path)
	}
	w.do("SETRANGE", key("/damaged"), "50", "xxxx")
	w.do("SET", key("/foreign"), "<html>")
	w.do("RENAME", key("/other"), key("/others"))
	w.do("SETRANGE", key("/version"), "2", "\x01")
	for path, want := range map[string]string{
		"/damaged": "checksum", "/foreign": "not a cacheaside value", "/others": "of another resource", "/version": "another format version",
	} {
		f, e := one(t, find(t, s, "http://example.com"+path))
		if !contains(e.Problem, want) || f.Result != "miss" || f.Cause != "corrupt" || e.Selected {
			t.Errorf("%s: %+v", path, f)
		}
		if _, ok, err := s.Body(t.Context(), e.Key); ok || err != nil {
			t.Errorf("%s has a body: %v, %v", path, ok, err)
		}
	}
	w.do("DEL", key("/list"))
	w.do("LPUSH", key("/list"), "x")
	if got := find(t, s, "http://example.com/list"); len(got) != 0 { // as the cache sees it
		t.Errorf("a list: %+v", got)
	}
}

func TestFindLarge(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	body := strings.Repeat("0123456789abcdef", 32<<10)
	w.answer = func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, body) }
	w.get("http://example.com/large")
	s := open(t, w.addr, "cacheaside")
	_, e := one(t, find(t, s, "http://example.com/large"))
	if b, ok, err := s.Body(t.Context(), e.Key); !ok || err != nil || string(b.Body) != body || e.BodyBytes != int64(len(body)) {
		t.Errorf("%d bytes of %d, %v, %v", len(b.Body), len(body), ok, err)
	}
	items, _ := all(t, s, "https://example.com/large", 100)
	kinds := map[direct.Kind]direct.Item{}
	for _, it := range items {
		kinds[it.Kind] = it
	}
	if len(items) != 2 || kinds[direct.Response].Size < int64(len(body)) || kinds[direct.Bytes].Size < int64(len(body)) {
		t.Errorf("%+v", items)
	}
}

// TestFindCompressed: a body that the cache keeps in a coding is shown as the handler gave
// it, with what it takes.
func TestFindCompressed(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.with(func(p *cacheaside.Policy) { p.Compression.Codings = []string{"br"} })
	body := strings.Repeat("0123456789abcdef", 1<<10)
	w.answer = func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, body) }
	w.get("http://example.com/page")
	s := open(t, w.addr, "cacheaside")
	_, e := one(t, find(t, s, "http://example.com/page"))
	if b, ok, err := s.Body(t.Context(), e.Key); !ok || err != nil || string(b.Body) != body {
		t.Errorf("%d bytes of %d, %v, %v", len(b.Body), len(body), ok, err)
	}
	if e.Coding != "br" || e.Plain != int64(len(body)) || e.BodyBytes >= e.Plain/10 || e.Size >= e.Plain/10 {
		t.Errorf("%+v", e)
	}
}

// TestLookingWritesNothing: not even where the clock and the journal are missing.
func TestLookingWritesNothing(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.get("http://example.com/a")
	w.do("DEL", "cacheaside:2:{tags}:clock")
	w.do("DEL", "cacheaside:2:{tags}:clock:journal")
	before := w.dump()
	s := open(t, w.addr, "cacheaside")
	f, e := one(t, find(t, s, "http://example.com/a"))
	if f.Result != "miss" || f.Cause != "lost" {
		t.Errorf("without a clock: %+v", f)
	}
	if _, ok, err := s.Body(t.Context(), e.Key); !ok || err != nil {
		t.Error(ok, err)
	}
	all(t, s, "", 10)
	if after := w.dump(); !slices.Equal(before, after) || len(before) != 1 {
		t.Errorf("%q has become %q", before, after)
	}
}

func TestFindRefuses(t *testing.T) {
	s := open(t, storetest.StartServer(t).Addr, "cacheaside")
	for _, url := range []string{"", "/a", "example.com/a", "ftp://example.com/", "http:///a", "http://u:" + secret + "@example.com/", "http://example.com/%zz", "http:a", "://"} {
		if _, err := s.Find(t.Context(), url, nil); !errors.Is(err, direct.ErrUsage) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestSecrets: nothing that may be one is in any answer.
func TestSecrets(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{
		Partition: func(*cacheaside.Request) string { return secret },
		Headers:   []string{"X-Key"}, Cookies: []string{"sid"},
	})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Vary", "X-Vary")
		rw.Header().Set("Location", "http://u:"+secret+"@example.com/?token="+secret)
		rw.Header().Set("Cache-Tag", "a\u202eb")
		fmt.Fprint(rw, "hello")
	}
	url := "http://example.com/a?token=" + secret
	w.get(url, "X-Key", secret, "X-Vary", secret, "Cookie", "sid="+secret)
	w.do("SET", "cacheaside:session:"+secret, secret)
	w.do("SET", "cacheaside:"+strings.Repeat("x", 20)+secret, secret)
	w.do("SET", "cacheaside:1:{GET:http://example.com/a#u="+secret+"}", secret)
	w.do("SET", "cacheaside:2:{GET:http://example.com/b?x="+secret+"}:more:"+secret, secret)
	s := open(t, w.addr, "cacheaside")
	found := find(t, s, url)
	items, _ := all(t, s, "", 100)
	if len(found) != 1 || len(items) < 8 {
		t.Errorf("%d found, %d items", len(found), len(items))
	}
	shown, err := json.Marshal([]any{found, items})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), secret) || strings.Contains(string(shown), "\u202e") {
		t.Errorf("%s", shown)
	}
}

// TestFindSpellings: a URL is found as it was asked for, whatever is escaped in its key.
func TestFindSpellings(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	s := open(t, w.addr, "cacheaside")
	for _, path := range []string{"/%c3%bc", "/a%20b", "/a*b", "/a[1]?x=[2]", "/a|b", "/a^b", "/a{b}", "/?a=1;b=2", "/~", "/a//b", "/%2F"} {
		url := "http://example.com" + path
		w.get(url)
		if found := find(t, s, url); len(found) != 1 || found[0].Result != "hit" {
			t.Errorf("%s: %+v of %q", path, found, w.dump())
		}
	}
}
