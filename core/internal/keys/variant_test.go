package keys

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// TestSelecting: generation, names, values and their spelling all tell variants apart.
func TestSelecting(t *testing.T) {
	seen := map[string]string{}
	add := func(what string, s Selecting, h http.Header) {
		var r Request
		r.Enter(&adapter.Request{Host: "h", Header: h})
		text := string(s.AppendValues(nil, &r))
		if before, twice := seen[text]; twice {
			t.Errorf("%s is as %s", what, before)
		}
		seen[text] = what
	}
	one := Selecting{Names: []string{"X-A"}, Generation: 1}
	add("absent", one, http.Header{})
	add("empty", one, http.Header{"X-A": {""}})
	add("a value", one, http.Header{"X-A": {"b"}})
	add("in small letters", one, http.Header{"x-a": {"b"}})
	add("of another generation", Selecting{one.Names, 2}, http.Header{"X-A": {"b"}})
	add("of another name", Selecting{[]string{"X-B"}, 1}, http.Header{"X-B": {"b"}})
	add("of two names", Selecting{[]string{"X-A", "X-B"}, 1}, http.Header{"X-A": {"b"}})
}

func TestDigest(t *testing.T) {
	k := Key{Wire: "n:2:{GET:http://h/}"}
	variant := k.Variant([]byte("de"))
	if d := DigestOf(variant); WithDigest(k.Wire, d) != variant || !IsDigest(d) {
		t.Errorf("the digest of %s is %s", variant, d)
	}
	for _, s := range []string{"", "lock", strings.Repeat("x", digestLen), strings.Repeat("0", digestLen+2)} {
		if IsDigest(s) {
			t.Errorf("%q is taken for a digest", s)
		}
	}
}

// TestOwn: an owned key stays as it is when the buffer of its view is used again.
func TestOwn(t *testing.T) {
	for _, path := range []string{"/short", "/" + strings.Repeat("long", maxReadable)} {
		m := testMaker(Policy{})
		req := &Request{Request: adapter.Request{Scheme: "http", Host: "h", Path: path, Header: http.Header{}}}
		want := keyOf(t, m, req)
		view, buf, _ := m.View(nil, req)
		own := m.Own(view)
		clear(buf[:cap(buf)])
		if own.Wire != want.Wire || own.Primary != want.Primary || own.Lock != want.Wire+":lock" {
			t.Errorf("%+v, want %+v", own, want)
		}
		if own.LockOf(own.Wire) != own.Lock || own.LockOf("x") != LockKey("x") {
			t.Errorf("the locks of %s", own.Wire)
		}
	}
}

// TestCopy: a copy stays as it is when the request is another one.
func TestCopy(t *testing.T) {
	var r Request
	r.Enter(&adapter.Request{Host: "a", Path: "/a", Header: http.Header{"X-Forwarded-Host": {"b"}}})
	c := r.Copy()
	r = Request{}
	r.Enter(&adapter.Request{Host: "c", Path: "/c", Header: http.Header{}})
	if c.Path != "/a" || len(c.Header.Values("x-forwarded-host")) != 1 || c.Header.Values("host")[0] != "a" || len(c.PublicHosts()) != 1 {
		t.Errorf("%+v", c)
	}
}
