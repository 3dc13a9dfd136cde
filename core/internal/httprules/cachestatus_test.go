package httprules

import (
	"math"
	"slices"
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
		if back, ok := ParseCacheStatus([]string{text}); !ok || len(back) != 1 || string(back[0].Append(nil)) != text {
			t.Fatalf("%q is read as %+v, %v", text, back, ok)
		}
	})
}

func TestRFC9211_2_ParseCacheStatus(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []CacheStatus
	}{
		{"", nil},
		{"cacheaside; hit; ttl=27", []CacheStatus{{Name: "cacheaside", Hit: true, TTL: 27, HasTTL: true}}},
		{`origin;hit;ttl=-412, "edge, \\"2\\"" ;fwd=miss;stored`, nil}, // a space in front of a parameter
		{`origin;hit;ttl=-412, "edge, \"2\"";fwd=miss;stored`, []CacheStatus{{Name: "origin", Hit: true, TTL: -412, HasTTL: true}, {Name: `edge, "2"`, Fwd: "miss", Stored: true}}},
		{"a;fwd=stale;fwd-status=304;collapsed=?0;key=\"k\";detail=no-store", []CacheStatus{{Name: "a", Fwd: "stale", FwdStatus: 304, Key: "k", Detail: "no-store"}}},
		{"a;hit;hit=?0;ttl=x;stored=1;unknown=1.5;b=:YQ==:;c=@12;d=%\"f%c3%bc\"", []CacheStatus{{Name: "a"}}},
		{"a,", nil}, {"a b", nil}, {"a;", nil}, {"a;ttl=", nil}, {`a;key="x`, nil}, {"(a b)", nil}, {"1", nil}, {"a;ttl=1234567890123456", nil},
	} {
		got, ok := ParseCacheStatus([]string{tt.in})
		if !slices.Equal(got, tt.want) || ok != (tt.want != nil || tt.in == "") {
			t.Errorf("%q: %+v, %v", tt.in, got, ok)
		}
	}
	if got, ok := ParseCacheStatus([]string{"a; hit", "b; fwd=miss"}); !ok || len(got) != 2 || got[1].Name != "b" {
		t.Errorf("two lines: %+v", got)
	}
}

// FuzzParseCacheStatus: what is read says the same when it is written and read again.
func FuzzParseCacheStatus(f *testing.F) {
	for _, s := range []string{"", "a;hit;ttl=1, b;fwd=miss", `"a\"";key="\\"`, "a;x=1.5;y=:YQ==:;z=@1;d=%\"%c3%bc\"", "a;ttl=-999999999999999", "a ,\tb", "(a)", "A;a=:=:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		members, ok := ParseCacheStatus([]string{in})
		if !ok && members != nil {
			t.Fatalf("%q is none, and is read as %+v", in, members)
		}
		for _, m := range members {
			text := string(m.Append(nil))
			back, ok := ParseCacheStatus([]string{text})
			if !ok || len(back) != 1 || string(back[0].Append(nil)) != text || back[0].Name != m.Name || back[0].Hit != m.Hit || back[0].Detail != m.Detail {
				t.Fatalf("%q in %q is read as %+v, %v", text, in, back, ok)
			}
		}
	})
}
