package keys

import (
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

func heed(tb testing.TB, field string) httprules.Variance {
	tb.Helper()
	v, ok := httprules.ParseNoVarySearch([]string{field})
	if !ok {
		tb.Fatalf("%s says nothing", field)
	}
	return v
}

func TestSearched(t *testing.T) {
	m := NewMaker("x", Policy{MaxBytes: 8 << 10})
	of := func(primary string) *Searched {
		s, ok := SearchedOf(primary)
		if !ok {
			t.Fatalf("%s has no query of its own", primary)
		}
		return &s
	}
	params := heed(t, `params=("a")`)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"GET:http://h/p?a=1&b=2", "GET:http://h/p?b=2", true},
		{"GET:http://h/p?a=1", "GET:http://h/p", true},
		{"GET:http://h/p?a=1&b=^7C", "GET:http://h/p?b=^7C&a", true},
		{"GET:http://h/p?b=1", "GET:http://h/p?b=2", false},
		{"GET:http://h/p?b=^7C", "GET:http://h/p?b=^7B", false},
		{"GET:http://h/p?a=1", "GET:https://h/p?a=1", false},
		{"GET:http://h/p?a=1", "GET:http://h/q?a=1", false},
		{"GET:http://h/p^3Fa=1", "GET:http://h/p?a=1", false},
		{"GET:http://h/p?a=1|u:x", "GET:http://h/p?a=2|u:x", true},
		{"GET:http://h/p?a=1|u:x", "GET:http://h/p?a=2|u:y", false},
		{"GET:http://h/p?a=1|u:?a=1", "GET:http://h/p|u:?a=1", true},
		{"GET:http://h/p|u:?a=1", "GET:http://h/p|u:?a=2", false},
		{"POST:http://h/p?a=1|b:1", "GET:http://h/p?a=1", false},
		{"GET:http://h/p?a=1;", "GET:http://h/p?a=1;", false},
	} {
		a, b := of(c.a), of(c.b)
		if a.Equivalent(b, params) != c.want || b.Equivalent(a, params) != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.want)
		}
		first, ok := m.HintKey(a, params)
		second, also := m.HintKey(b, params)
		if alike := ok && also && first == second; alike != c.want {
			t.Errorf("%s and %s: hints under %s and %s", c.a, c.b, first.Wire, second.Wire)
		}
	}
	for _, primary := range []string{"GET:http://h|k:a?a=1", "GET:http://h|p:*?a=1", "GET:http://h|p:?a=1"} {
		if _, ok := SearchedOf(primary); ok {
			t.Errorf("%s is taken apart", primary)
		}
	}
	a := of("GET:http://h/p?a=1|u:x")
	if k := m.SayingsKey(a); k.Primary != "GET:http://h/p|u:x|n:" || k.Wire != "x:2:{"+k.Primary+"}" {
		t.Errorf("%+v", k)
	}
	if k, _ := m.HintKey(a, params); k.Primary != `GET:http://h/p?|u:x|n:params=("a")` {
		t.Errorf("%+v", k)
	}
	long := of("GET:http://h/p?b=" + strings.Repeat("x", 300))
	if k, _ := m.HintKey(long, params); k.Lock != LockKey(k.Wire) || len(k.Wire) > 300 || !strings.HasSuffix(k.Primary, `|n:params=("a")`) {
		t.Errorf("%+v", k)
	}
}

// TestSearchedTogether: queries that are equivalent, as whatever policy has written them,
// are the same to a purge, and no request has the key of a hint.
func TestSearchedTogether(t *testing.T) {
	fields := []string{`params=("a" "b*")`, `key-order, except=("a" "c")`, `key-order`, `except=()`, `params=("%7C" "^")`}
	pair := rapid.SampledFrom([]string{"a", "a=1", "%61=2", "b*=1", "b%2A", "c=3", "c=|", "c=%7c", "c={}", "d=^7C", "utm_x=1", "", "d=%zz", "e;f", "=1", "c=%20", "c=+"})
	query := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(pair, 0, 4).Draw(t, "pairs"), "&") })
	selections := []Selector{{}, NewSelector(nil, []string{"utm_*", "b*"}), NewSelector([]string{"a", "c", "d*"}, nil)}
	alike := 0
	rapid.Check(t, func(t *rapid.T) {
		variance, _ := httprules.ParseNoVarySearch([]string{rapid.SampledFrom(fields).Draw(t, "field")})
		unordered := variance
		unordered.Unordered = true
		selection := rapid.SampledFrom(selections).Draw(t, "selection")
		m := NewMaker("x", Policy{Query: selection, KeepQueryOrder: rapid.Bool().Draw(t, "kept"), MaxBytes: 8 << 10})
		way := NewMaker("", Policy{Query: selection, Search: &unordered})
		var of [2]Searched
		var texts [2]string
		for i := range of {
			req := &Request{Request: adapter.Request{Method: http.MethodGet, Scheme: "http", Host: "h", Path: "/p", RawQuery: query.Draw(t, "query"), Header: http.Header{}}}
			k, _ := m.Key(req)
			if strings.Contains(k.Primary, "|n:") {
				t.Fatalf("%s is the key of a hint", k.Primary)
			}
			of[i], _ = SearchedOf(k.Primary)
			text, ok := way.AppendURL(nil, req)
			if texts[i] = string(text); !ok {
				texts[i] = ""
			}
		}
		if of[0].Equivalent(&of[1], variance) {
			alike++
			if texts[0] == "" || texts[0] != texts[1] {
				t.Fatalf("%+v and %+v are %q and %q to a purge", of[0], of[1], texts[0], texts[1])
			}
		}
	})
	if alike == 0 {
		t.Error("none were equivalent")
	}
}
