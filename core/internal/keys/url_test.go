package keys

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// TestAppendURL: a URL has one text, however a client has written it.
func TestAppendURL(t *testing.T) {
	for _, c := range []struct {
		host, path, query string
		policy            Policy
		want              string
	}{
		{"Example.com", "/a", "b=2&a=1", Policy{}, "//example.com/a?a=1&b=2"},
		{"example.com:80", "/a", "", Policy{}, "//example.com/a"},
		{"example.com.:443", "/a", "", Policy{}, "//example.com/a"},
		{"example.com.:8080", "/a", "", Policy{}, "//example.com:8080/a"},
		{"h", "/%61%2f%c3%a9 ", "q=%20x+y%26", Policy{}, "//h/a%2F%C3%A9%20?q=+x+y%26"},
		{"h", "*", "", Policy{}, "//h|p:*"},
		{"h", "/a", "b=2&a=1", Policy{KeepQueryOrder: true}, "//h/a?a=1&b=2"},
		{"h", "/a", "a=1", Policy{IgnoreHost: true}, "///a?a=1"},
		{"h", "/a", "a=1&b=2", Policy{Query: NewSelector([]string{"b"}, nil)}, "//h/a?b=2"},
	} {
		m := NewMaker("n", c.policy)
		got, ok := m.AppendURL([]byte("x"), &Request{Request: adapter.Request{Scheme: "http", Host: c.host, Path: c.path, RawQuery: c.query}})
		if !ok || string(got) != "x"+c.want {
			t.Errorf("%+v: %q, %t", c, got, ok)
		}
	}
	if _, ok := NewMaker("n", Policy{}).AppendURL(nil, &Request{Request: adapter.Request{Path: "/" + strings.Repeat("a", maxURLBytes)}}); ok {
		t.Error("a URL of more than a MiB has a text")
	}
}

// TestURLKeys: what is stored for a plain URL is under one of the keys that a purge
// names, and only such a key is taken for one.
func TestURLKeys(t *testing.T) {
	whole := NewMaker("n", Policy{})
	for _, policy := range []Policy{{}, {IgnoreScheme: true}} {
		for _, scheme := range []string{"http", "https"} {
			req := &Request{Request: adapter.Request{Scheme: scheme, Host: "h", Path: "/a", RawQuery: "a=1", Header: http.Header{}}}
			policy.MaxBytes = 1 << 10
			key, _ := NewMaker("n", policy).Key(req)
			url, _ := whole.AppendURL(nil, req)
			if !slices.Contains(whole.AppendURLKeys(nil, string(url)), key) {
				t.Errorf("%s is not among the keys of %s", key.Wire, url)
			}
			if got := URLOf(key.Primary); got != string(url) {
				t.Errorf("the URL of %s is %q", key.Primary, got)
			}
		}
	}
	for _, primary := range []string{"", "GET:", "GET:ftp://h/", "x://h/"} {
		if got := URLOf(primary); got != "" {
			t.Errorf("the URL of %q is %q", primary, got)
		}
	}
}

func TestPublicHosts(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		want   []string
	}{
		{http.Header{}, nil},
		{http.Header{"X-Forwarded-Host": {"a, H", `"b"`}}, []string{"a", "b"}},
		{http.Header{"Forwarded": {"for=1;host=a, Host=b;proto=https"}}, []string{"a", "b"}},
		{http.Header{"x-host": {"a"}, "X-Original-Host": {"a"}}, []string{"a"}},
		{http.Header{"X-Host": {"a,b,c,d,e"}}, []string{"a", "b", "c", "d"}},
	} {
		var r Request
		r.Enter(&adapter.Request{Host: "h", Header: c.header})
		if got := r.PublicHosts(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q", c.header, got)
		}
	}
}
