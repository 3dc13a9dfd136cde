package httprules

import (
	"math"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

func TestRFC9211_2_CacheStatus(t *testing.T) {
	for _, tt := range []struct {
		in   CacheStatus
		want string
	}{
		{CacheStatus{Name: "cacheaside", Hit: true, TTL: 27, HasTTL: true}, "cacheaside; hit; ttl=27"},
		{CacheStatus{Name: "cacheaside", Hit: true, TTL: -412, HasTTL: true}, "cacheaside; hit; ttl=-412"},
		{CacheStatus{Name: "cacheaside", Fwd: "miss"}, "cacheaside; fwd=miss"},
		{CacheStatus{Name: "cacheaside", Fwd: "uri-miss", Stored: true, Collapsed: true, TTL: 60, HasTTL: true},
			"cacheaside; fwd=uri-miss; ttl=60; stored; collapsed"},
		{CacheStatus{Name: "cacheaside", Fwd: "stale", FwdStatus: 304, Key: "/a b", Detail: "no-store"},
			`cacheaside; fwd=stale; fwd-status=304; key="/a b"; detail=no-store`},
		{CacheStatus{Name: "my cache", Fwd: "bypass", Detail: "too large"}, `"my cache"; fwd=bypass; detail="too large"`},
		{CacheStatus{Name: "c", Detail: `a"b\c`}, `c; detail="a\"b\\c"`},
		{CacheStatus{Name: "c", Detail: "\u00fc\r\nX: y\x7f"}, `c; detail="???X: y?"`},
		{CacheStatus{Name: "c", Detail: "1st"}, `c; detail="1st"`},
		{CacheStatus{Name: "*:/", Detail: "a/b:c*"}, `*:/; detail=a/b:c*`},
		{CacheStatus{}, `""`},
		// What only means something when forwarded.
		{CacheStatus{Name: "c", Hit: true, Fwd: "miss", FwdStatus: 200, Stored: true, Collapsed: true}, "c; hit"},
		{CacheStatus{Name: "c", Stored: true, FwdStatus: 200}, "c"},
		{CacheStatus{Name: "c", Fwd: "not a token", Stored: true}, "c"},
		{CacheStatus{Name: "c", Hit: true, TTL: math.MinInt64, HasTTL: true}, "c; hit; ttl=-999999999999999"},
	} {
		if got := string(tt.in.Append(nil)); got != tt.want {
			t.Errorf("%+v:\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
	if got := string(CacheStatus{Name: "b", Hit: true}.Append([]byte("a; hit, "))); got != "a; hit, b; hit" {
		t.Errorf("appended: %s", got)
	}
}

func FuzzCacheStatus(f *testing.F) {
	f.Add("cacheaside", "miss", "no-store", "/key", 200, int64(60), uint8(255))
	f.Add("a b", "", "\u00fc\"\\\x00", "\xff", -1, int64(math.MinInt64), uint8(0))
	f.Fuzz(func(t *testing.T, name, fwd, detail, key string, status int, ttl int64, bits uint8) {
		s := CacheStatus{
			Name: name, Fwd: fwd, Detail: detail, Key: key, FwdStatus: status, TTL: ttl,
			Hit: bits&1 != 0, HasTTL: bits&2 != 0, Stored: bits&4 != 0, Collapsed: bits&8 != 0,
		}
		text := string(s.Append(nil))
		list, err := httpsfv.UnmarshalList([]string{text})
		if err != nil || len(list) != 1 {
			t.Fatalf("%q: %v, %d members", text, err, len(list))
		}
		item := list[0].(httpsfv.Item)
		readable := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '?'
				}
				return r
			}, s)
		}
		check := func(what string, got any, want string) {
			if token, ok := got.(httpsfv.Token); ok {
				got = string(token)
			}
			if got != readable(want) {
				t.Fatalf("%q: %s is %v, want %q", text, what, got, want)
			}
		}
		check("name", item.Value, name)
		if v, ok := item.Params.Get("detail"); ok != (detail != "") {
			t.Fatalf("%q: detail %v", text, ok)
		} else if ok {
			check("detail", v, detail)
		}
		if v, ok := item.Params.Get("key"); ok {
			if _, isString := v.(string); !isString {
				t.Fatalf("%q: key is no String", text)
			}
			check("key", v, key)
		}
		if v, ok := item.Params.Get("fwd"); ok {
			check("fwd", v, fwd)
		}
		_, hit := item.Params.Get("hit")
		_, forwarded := item.Params.Get("fwd")
		if hit != s.Hit || hit && forwarded {
			t.Fatalf("%q: hit %v, fwd %v", text, hit, forwarded)
		}
	})
}
