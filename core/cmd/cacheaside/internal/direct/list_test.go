package direct_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// TestListKinds: each thing says what it is, and nothing of another namespace is listed.
func TestListKinds(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/vary" {
			rw.Header().Set("Vary", "Accept-Language")
		}
		rw.Header().Set("Cache-Tag", "blog-1")
		fmt.Fprint(rw, "hello")
	}
	for _, path := range []string{"/a", "/vary", "/damaged", "/version"} {
		w.get("http://example.com" + path)
	}
	key := func(path string) string { return "cacheaside:2:{GET:http://example.com" + path + "}" }
	if err := w.cache.Purge(t.Context(), cacheaside.Purge{All: true, Tags: []string{"blog-1"}}); err != nil {
		t.Fatal(err)
	}
	w.do("SETRANGE", key("/damaged"), "50", "xxxx")
	w.do("SETRANGE", key("/version"), "2", "\x01")
	w.do("SET", key("/a")+":lock", "token", "PX", "60000")
	w.do("SET", key("/a")+":what", "x")
	w.do("LPUSH", key("/type"), "x")
	w.do("SET", key("/huge"), strings.Repeat("x", 300<<10))
	w.do("SET", "cacheaside:1:{GET:http://example.com/a}", "old")
	w.do("SET", "cacheaside:sessions:1", "x")
	w.do("SET", "cacheaside:inspect:inspect:instance:1", "{}")
	w.do("SET", "cacheaside:2:{doctor:0123}:clock", "x", "PX", "60000")
	for _, other := range []string{"cacheaside2:2:{GET:http://example.com/a}", "cacheasid:2:{GET:http://example.com/a}", "other", "cacheaside"} {
		w.do("SET", other, "x")
	}
	s := open(t, w.addr, "cacheaside")
	items, _ := all(t, s, "", 3)
	got := map[string]int{}
	for _, it := range items {
		got[string(it.Kind)+" | "+it.Key.Text]++
		if it.What == "" || it.Gone == 0 || it.Size == 0 {
			t.Errorf("%+v", it)
		}
		if it.Kind == direct.Response && (it.Of != 200 || it.TTL <= 0 || it.Size < 100 || it.Gone <= 0) {
			t.Errorf("%+v", it)
		}
		if it.Kind == direct.Variants && it.More != 1 {
			t.Errorf("%+v", it)
		}
	}
	want := map[string]int{
		"response | http://example.com/a":             1,
		"variants | http://example.com/vary":          1,
		"variant | http://example.com/vary (variant)": 1,
		"corrupt | http://example.com/damaged":        1,
		"corrupt | http://example.com/huge":           1,
		"other format | http://example.com/version":   1,
		"lock | http://example.com/a (lock)":          1,
		"foreign | http://example.com/a (…)":          1,
		"foreign | http://example.com/type":           1,
		"other format | cacheaside:1:…":               1,
		"foreign | cacheaside:sessions:…":             1,
		"snapshot | cacheaside:inspect:…":             1,
		"probe | cacheaside:2:…":                      1,
		"stamp | tag blog-1":                          1,
		"stamp | url //example.com/vary":              1,
		"clock | (clock)":                             1, "ring | (ring)": 1, "journal | (journal)": 1,
	}
	if !maps.Equal(got, want) {
		for k := range want {
			if got[k] == 0 {
				t.Errorf("%s is missing", k)
			}
		}
		for k := range got {
			if want[k] == 0 {
				t.Errorf("%s is listed", k)
			}
		}
	}
}

func TestListPrefix(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{
		Partition: func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("X-User"), "") },
	})
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Tag", "t*1, t-2")
		fmt.Fprint(rw, "hello")
	}
	for _, path := range []string{"/blog", "/blog/1?q=1", "/blogs", "/b*g", "/b[a-z]g", "/b?g", "/a%20b", "/x?u=//example.com/blog", "/other"} {
		w.get("http://example.com"+path, "X-User", "u")
	}
	w.get("http://example.org/blog")
	s := open(t, w.addr, "cacheaside")
	for prefix, want := range map[string][]string{
		"https://example.com/blog":  {"/blog", "/blog/1?q=…", "/blogs"},
		"//EXAMPLE.com/blog/":       {"/blog/1?q=…"},
		"http://example.com/b*":     {"/b*g"},
		"http://example.com/b[":     {"/b[a-z]g"},
		"http://example.com/b?":     {"/b?g"},
		"http://example.com/a b":    {"/a%20b"},
		"http://example.com/x?u=//": {"/x?u=…"},
		"http://example.c":          {"/a%20b", "/b*g", "/b?g", "/b[a-z]g", "/blog", "/blog/1?q=…", "/blogs", "/other", "/x?u=…"},
		"/blog":                     {"/blog", "/blog", "/blog/1?q=…", "/blogs"}, // of both hosts
		"/?":                        nil,
		"tag:t*":                    {"tag t*1"},
		"tag:":                      {"tag t*1", "tag t-2"},
		"tag:nothing":               nil,
	} {
		items, _ := all(t, s, prefix, 100)
		var got []string
		for _, it := range items {
			text, _, _ := strings.Cut(it.Key.Text, " partition")
			text = strings.TrimPrefix(strings.TrimPrefix(text, "http://example.com"), "http://example.org")
			got = append(got, text)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", prefix, got, want)
		}
	}
	for _, wrong := range []string{"blog", "ftp://example.com/", "http://u:" + secret + "@example.com", "tags", "*"} {
		if _, err := s.List(t.Context(), wrong, 10, ""); !errors.Is(err, direct.ErrUsage) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for _, limit := range []int{-1, 0, direct.MaxLimit + 1} {
		if _, err := s.List(t.Context(), "", limit, ""); !errors.Is(err, direct.ErrUsage) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	for _, cursor := range []string{"x", "-1", "1@elsewhere:1", "@"} {
		if _, err := s.List(t.Context(), "", 10, cursor); !errors.Is(err, direct.ErrUsage) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// TestListPages: all pages together have all, none is much longer than it should be, and
// few that match are found among many that do not.
func TestListPages(t *testing.T) {
	w := newSite(t, storetest.StartServer(t).Addr, "", cacheaside.KeyPolicy{})
	const n = 3000
	for i := range n {
		w.do("SET", fmt.Sprintf("other:%d", i), "x")
		if i%10 == 0 {
			w.do("SET", fmt.Sprintf("cacheaside:2:{GET:http://example.com/%d}", i), "x")
		}
	}
	s := open(t, w.addr, "cacheaside")
	items, pages := all(t, s, "http://example.com/", 50)
	if len(items) != n/10 || pages < 3 || pages > 30 {
		t.Errorf("%d items on %d pages", len(items), pages)
	}
	page, err := s.List(t.Context(), "http://example.com/", 50, "")
	if err != nil || len(page.Items) < 50 || len(page.Items) > 200 {
		t.Errorf("%d items on a page, %v", len(page.Items), err)
	}
}

func TestCluster(t *testing.T) {
	storetest.LongOnly(t)
	c := storetest.StartCluster(t)
	w := newSite(t, c.Nodes[0].Addr, "", cacheaside.KeyPolicy{
		Partition: func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("X-User"), "") },
	})
	const n = 40
	for i := range n {
		w.get(fmt.Sprintf("http://example.com/%d", i), "X-User", "u")
	}
	s := open(t, c.Nodes[1].Addr, "cacheaside")
	items, pages := all(t, s, "http://example.com/", 10)
	if len(items) != n || pages < 2 {
		t.Errorf("%d items of %d, on %d pages", len(items), n, pages)
	}
	asked := map[string]bool{}
	for cursor := ""; ; { // replicas have the same keys once more
		p, err := s.List(t.Context(), "http://example.com/", 1, cursor)
		if err != nil {
			t.Fatal(err)
		}
		if cursor = p.Next; cursor == "" {
			break
		}
		_, addr, _ := strings.Cut(cursor, "@")
		asked[addr] = true
	}
	if !asked[c.Nodes[0].Addr] && !asked[c.Nodes[1].Addr] && !asked[c.Nodes[2].Addr] || len(asked) > 3 {
		t.Errorf("asked %v", asked)
	}
	for i := range n {
		one(t, find(t, s, fmt.Sprintf("http://example.com/%d", i)))
	}
	if err := s.Purge(t.Context(), cacheaside.Purge{URLs: []string{"http://example.com/1"}}); err != nil {
		t.Fatal(err)
	}
	if f, _ := one(t, find(t, s, "http://example.com/1")); f.Cause != "purged" {
		t.Errorf("%+v", f)
	}
}

// TestPurgeNotAcknowledged: success is never reported where the server has not said so.
func TestPurgeNotAcknowledged(t *testing.T) {
	p := storetest.StartServer(t, servers.Only("Dragonfly has no min-replicas-to-write", servers.Valkey, servers.Redis))
	w := newSite(t, p.Addr, "", cacheaside.KeyPolicy{})
	w.get("http://example.com/a")
	s := open(t, p.Addr, "cacheaside")
	purges := map[string]cacheaside.Purge{
		"tag": {Tags: []string{"a"}}, "soft": {Tags: []string{"a"}, Soft: true}, "url": {URLs: []string{"http://example.com/a"}},
		"prefix": {Prefixes: []string{"http://example.com/"}}, "all": {All: true},
	}
	for name, purge := range purges {
		if err := s.Purge(t.Context(), purge); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, wrong := range map[string]cacheaside.Purge{
		"nothing": {}, "soft url": {URLs: []string{"http://example.com/a"}, Soft: true}, "star": {Prefixes: []string{"http://example.com/*"}},
		"no url": {URLs: []string{"a"}},
	} {
		if err := s.Purge(t.Context(), wrong); !errors.Is(err, direct.ErrUsage) || errors.Is(err, direct.ErrNotAcknowledged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.do("CONFIG", "SET", "min-replicas-to-write", "1")
	for name, purge := range purges {
		if err := s.Purge(t.Context(), purge); !errors.Is(err, direct.ErrNotAcknowledged) || errors.Is(err, direct.ErrUsage) {
			t.Errorf("%s, and the server refuses to write: %v", name, err)
		}
	}
	w.do("CONFIG", "SET", "min-replicas-to-write", "0")
	p.Pause()
	defer p.Resume()
	for name, purge := range purges {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := s.Purge(ctx, purge); !errors.Is(err, direct.ErrNotAcknowledged) {
			t.Errorf("%s, and the server is silent: %v", name, err)
		}
		cancel()
	}
}

// TestRights: a user of the cache may look at single keys, and is told what a list needs.
func TestRights(t *testing.T) {
	p := storetest.StartServer(t)
	w := newSite(t, p.Addr, "", cacheaside.KeyPolicy{})
	w.get("http://example.com/a")
	w.do("ACL", "SETUSER", "cacheaside", "on", ">"+secret, "resetkeys", "~cacheaside:2:*", "-@all", "+get", "+ping", "+info")
	s := open(t, "redis://cacheaside:"+secret+"@"+p.Addr, "cacheaside")
	found, err := s.Find(t.Context(), "http://example.com/a", nil)
	if f, _ := one(t, found); f.Result != "hit" || !errors.Is(err, direct.ErrIncomplete) || !contains(err.Error(), "+scan") {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := s.List(t.Context(), "", 10, ""); err == nil || !contains(err.Error(), "+scan") {
		t.Errorf("a list: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for url, usage := range map[string]bool{"redis://a:" + secret + "/x@b": true, "": true, "127.0.0.1:1": false} {
		_, err := direct.Open(t.Context(), url, "cacheaside", direct.Options{Timeout: long})
		if err == nil || errors.Is(err, direct.ErrUsage) != usage || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := direct.Open(t.Context(), storetest.StartServer(t).Addr, "a:b", direct.Options{Timeout: long}); !errors.Is(err, direct.ErrUsage) {
		t.Errorf("a namespace: %v", err)
	}
}
