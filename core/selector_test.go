package cacheaside

import (
	"context"
	"testing"

	"pgregory.net/rapid"
)

// TestSelector: it is Selection.has, faster.
func TestSelector(t *testing.T) {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("_ab*")), 1, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			pattern := rapid.StringOfN(rapid.RuneFrom([]rune("_ab")), 0, 3, -1).Draw(t, "pattern")
			if pattern == "" || rapid.Bool().Draw(t, "open") {
				pattern += "*"
			}
			return pattern
		}), 0, 6).Draw(t, "list")
		s := Selection{Deny: list}
		if rapid.Bool().Draw(t, "allow") {
			s = Selection{Allow: append([]string{}, list...)}
		}
		fast := newSelector(s)
		for range 10 {
			if n := name.Draw(t, "name"); fast.has(n) != s.has(n, false) {
				t.Fatalf("%+v: %q is selected: %t", s, n, fast.has(n))
			}
		}
	})
}

func BenchmarkReadsCookies(b *testing.B) {
	c := Must(New(Config{Policy: Policy{Requests: RequestPolicy{Cookies: Except(AnalyticsCookies()...)}}}))
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	h := canonicalHeader{"Cookie": {"_ga=GA1.2.3; _ga_X1=GS1.1; _gid=GA1.2; _gcl_au=1.1; _fbp=fb.1; _hjSessionUser_1=e; _clck=x; _uetvid=1; ajs_anonymous_id=2"}}
	v := &visit{visitState: visitState{c: c, arrived: arrived{header: h}}}
	b.ReportAllocs()
	for b.Loop() {
		if v.readsCookies() {
			b.Fatal("they are of analytics")
		}
	}
}
