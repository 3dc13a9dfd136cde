package httprules

import (
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRFC9111_5_2_2_ResponseDirectives(t *testing.T) {
	sec := func(n int) Delta { return Delta{time.Duration(n) * second, true} }
	for _, tt := range []struct {
		name  string
		lines []string
		want  ResponseControl
	}{
		{"none", nil, ResponseControl{}},
		{"empty", []string{"", " , ,\t,"}, ResponseControl{}},
		{"all", []string{
			"public, private, no-store, no-cache, must-revalidate, proxy-revalidate",
			"must-understand, immutable, no-transform, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4",
		}, ResponseControl{
			Public: true, Private: true, NoStore: true, NoCache: true, MustRevalidate: true, ProxyRevalidate: true,
			MustUnderstand: true, Immutable: true, NoTransform: true,
			MaxAge: sec(1), SMaxAge: sec(2), StaleWhileRevalidate: sec(3), StaleIfError: sec(4),
		}},
		{"5.2 any case", []string{"MaX-aGe=60, No-StOrE"}, ResponseControl{MaxAge: sec(60), NoStore: true}},
		{"5.2 quoted delta", []string{`max-age="60"`}, ResponseControl{MaxAge: sec(60)}},
		{"5.2 unknown and with unknown argument", []string{`foobar, max-age=60, x="a,b", no-store=1`}, ResponseControl{MaxAge: sec(60), NoStore: true}},
		{"5.2 comma in a quoted string", []string{`extension="max-age=3600, no-store", max-age=1`}, ResponseControl{MaxAge: sec(1)}},
		{"5.2 escapes in a quoted string", []string{`extension="a\", no-store", max-age=1`}, ResponseControl{MaxAge: sec(1)}},
		{"4.2.1 first longer", []string{"max-age=1800, max-age=1"}, ResponseControl{MaxAge: sec(1)}},
		{"4.2.1 second longer, other line", []string{"max-age=1", "max-age=1800"}, ResponseControl{MaxAge: sec(1)}},
		{"4.2.1 one invalid", []string{"max-age=60, max-age=x"}, ResponseControl{MaxAge: sec(0)}},
		{"4.2.1 negative", []string{"max-age=-60"}, ResponseControl{MaxAge: sec(0)}},
		{"4.2.1 decimal", []string{"max-age=3600.0"}, ResponseControl{MaxAge: sec(0)}},
		{"4.2.1 no argument", []string{"max-age, s-maxage="}, ResponseControl{MaxAge: sec(0), SMaxAge: sec(0)}},
		{"4.2.1 single quotes", []string{"max-age='60'"}, ResponseControl{MaxAge: sec(0)}},
		{"4.2.1 escape in the number", []string{`max-age="6\0"`}, ResponseControl{MaxAge: sec(0)}},
		{"4.2.1 space in the number", []string{`max-age=6 0`, `s-maxage=" 60"`}, ResponseControl{MaxAge: sec(0), SMaxAge: sec(0)}},
		{"space before =", []string{"max-age =60"}, ResponseControl{MaxAge: sec(0)}},
		{"space after =", []string{"max-age= 60"}, ResponseControl{MaxAge: sec(0)}},
		{"space around directives", []string{" \tmax-age=60\t ,\tno-store "}, ResponseControl{MaxAge: sec(60), NoStore: true}},
		{"1.2.2 huge", []string{"max-age=99999999999"}, ResponseControl{MaxAge: Delta{maxDelta, true}}},
		{"junk after a quoted string", []string{`max-age="60"x, s-maxage=5`}, ResponseControl{MaxAge: sec(0), SMaxAge: sec(5)}},

		{"5.2.2.7 private with fields", []string{`private="set-cookie, X-USER"`}, ResponseControl{PrivateFields: []string{"Set-Cookie", "X-User"}}},
		{"5.2.2.7 both forms", []string{`private="a", private`}, ResponseControl{Private: true, PrivateFields: []string{"A"}}},
		{"5.2.2.4 no-cache with fields", []string{`no-cache="a", max-age=9`, `no-cache=" b ,, c"`},
			ResponseControl{NoCacheFields: []string{"A", "B", "C"}, MaxAge: sec(9)}},
		{"no field names", []string{`private="", no-cache=" , "`}, ResponseControl{Private: true, NoCache: true}},
		{"no such names", []string{`private="a b", no-cache="a\"b"`}, ResponseControl{Private: true, NoCache: true}},
		{"names without quotes", []string{`private=true, no-cache=1`}, ResponseControl{Private: true, NoCache: true}},
		{"names with space at =", []string{`private ="a", no-cache= "b"`}, ResponseControl{Private: true, NoCache: true}},

		{"unbalanced: what follows may forbid", []string{`x="a, no-store`}, ResponseControl{NoStore: true}},
		{"unbalanced: what follows cannot allow", []string{`x="a, max-age=60, public, must-understand, immutable`}, ResponseControl{MaxAge: sec(0)}},
		{"unbalanced: not over the line", []string{`x="a`, `max-age=60`}, ResponseControl{MaxAge: sec(60)}},
		{"unbalanced: what came before stays", []string{`max-age=60, x="a`}, ResponseControl{MaxAge: sec(60)}},
		{"unbalanced: fields", []string{`private="a, b`}, ResponseControl{Private: true}},
		{"misplaced mark", []string{`x"y, no-store, max-age=5"`}, ResponseControl{NoStore: true, MaxAge: sec(0)}},
		{"all of it quoted", []string{`"max-age=60, no-store"`}, ResponseControl{NoStore: true, MaxAge: sec(0)}},
		{"semicolons", []string{`no-cache; private;max-age=60`}, ResponseControl{NoCache: true, Private: true, MaxAge: sec(0)}},
		{"semicolon after an argument", []string{`max-age=60; no-store`}, ResponseControl{MaxAge: sec(0), NoStore: true}},
		{"semicolon after a quoted string", []string{`private="x-a";no-store, public`}, ResponseControl{Private: true, NoStore: true}},
		{"semicolon in a quoted string", []string{`ext="a;private", max-age=5`}, ResponseControl{MaxAge: sec(5)}},
		{"mark in junk", []string{`max-age="60"x"no-store, y", private`}, ResponseControl{MaxAge: sec(0), Private: true}},
		{"mark in a token", []string{`x=a"b, no-store, c"`}, ResponseControl{NoStore: true}},
		{"control bytes", []string{"max-age=60\x00, no\x01-store, \x7f"}, ResponseControl{MaxAge: sec(0)}},
		{"only '='", []string{"=, =60, max-age==60"}, ResponseControl{MaxAge: sec(0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ParseResponseControl(http.Header{"Cache-Control": tt.lines}, nil)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q:\n got %+v\nwant %+v", tt.lines, got, tt.want)
			}
		})
	}
}

func TestRFC9213_Targeted(t *testing.T) {
	sec := func(n int) Delta { return Delta{time.Duration(n) * second, true} }
	other := ResponseControl{MaxAge: sec(7)} // what Cache-Control says
	targets := []string{"My-Cache-Control", "CDN-Cache-Control", "Surrogate-Control"}
	for _, tt := range []struct {
		name   string
		header http.Header
		want   ResponseControl
	}{
		{"2.2 present", fields("CDN-Cache-Control", "max-age=60"), ResponseControl{Targeted: true, MaxAge: sec(60)}},
		{"2.2 the first of the list", fields("CDN-Cache-Control", "max-age=60", "My-Cache-Control", "no-store"), ResponseControl{Targeted: true, NoStore: true}},
		{"2.2 the first valid one", fields("CDN-Cache-Control", "max-age=60", "My-Cache-Control", "&"), ResponseControl{Targeted: true, MaxAge: sec(60)}},
		{"2.2 the first not empty", fields("CDN-Cache-Control", "max-age=60", "My-Cache-Control", ""), ResponseControl{Targeted: true, MaxAge: sec(60)}},
		{"2.2 not on the list", fields("Other-Cache-Control", "max-age=60"), other},
		{"2.1 several lines", fields("CDN-Cache-Control", "max-age=60", "CDN-Cache-Control", "must-revalidate"), ResponseControl{Targeted: true, MaxAge: sec(60), MustRevalidate: true}},
		{"2.1 the last of duplicates", fields("CDN-Cache-Control", "max-age=60, max-age=5"), ResponseControl{Targeted: true, MaxAge: sec(5)}},
		{"2.1 all", fields("CDN-Cache-Control", "public, private, no-store, no-cache, must-revalidate, proxy-revalidate, "+
			"must-understand, immutable, no-transform, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4"),
			ResponseControl{
				Targeted: true, Public: true, Private: true, NoStore: true, NoCache: true, MustRevalidate: true, ProxyRevalidate: true,
				MustUnderstand: true, Immutable: true, NoTransform: true,
				MaxAge: sec(1), SMaxAge: sec(2), StaleWhileRevalidate: sec(3), StaleIfError: sec(4),
			}},
		{"2.1 parameters are ignored", fields("CDN-Cache-Control", "max-age=60;a=b, foobar"), ResponseControl{Targeted: true, MaxAge: sec(60)}},
		{"2.1 huge and negative", fields("CDN-Cache-Control", "max-age=99999999999, s-maxage=-1"), ResponseControl{Targeted: true, MaxAge: Delta{maxDelta, true}, SMaxAge: sec(0)}},
		{"2.1 field names", fields("CDN-Cache-Control", `private="a, b", no-cache="c"`), ResponseControl{Targeted: true, PrivateFields: []string{"A", "B"}, NoCacheFields: []string{"C"}}},
		{"2.1 no field names", fields("CDN-Cache-Control", `private="", no-cache=("c")`), ResponseControl{Targeted: true, Private: true, NoCache: true}},
		{"2.1 forbidding with an odd value", fields("CDN-Cache-Control", "no-store=1, must-revalidate=x"), ResponseControl{Targeted: true, NoStore: true, MustRevalidate: true}},
		{"2.1 false", fields("CDN-Cache-Control", "no-store=?0, private=?0, no-cache=?0, public=?0, max-age=1"), ResponseControl{Targeted: true, MaxAge: sec(1)}},
		{"2.1 allowing with an odd value", fields("CDN-Cache-Control", "public=1, must-understand=1, immutable=x, max-age=1"), ResponseControl{Targeted: true, MaxAge: sec(1)}},
		{"2.1 invalid: unknown type", fields("CDN-Cache-Control", "max-age=10000, &&&&&"), other},
		{"2.1 invalid: wrong type", fields("CDN-Cache-Control", `max-age="10000"`), other},
		{"2.1 invalid: decimal", fields("CDN-Cache-Control", `max-age=1.5`), other},
		{"2.1 invalid: no value", fields("CDN-Cache-Control", `max-age`), other},
		{"2.1 invalid: inner list", fields("CDN-Cache-Control", `max-age=(1 2)`), other},
		{"2.1 wrong type, but forbidden", fields("CDN-Cache-Control", `max-age=1.5, no-store`), ResponseControl{Targeted: true, NoStore: true, MaxAge: sec(0)}},
		{"2.1 invalid: capitals", fields("CDN-Cache-Control", "MaX-aGe=3600"), other},
		{"2.1 invalid: space before =", fields("CDN-Cache-Control", "max-age =100"), other},
		{"2.1 invalid: space after =", fields("CDN-Cache-Control", "max-age= 100"), other},
		{"2.1 invalid: empty", fields("CDN-Cache-Control", "", "CDN-Cache-Control", " "), other},

		{"Surrogate-Control", fields("Surrogate-Control", "MaX-aGe=3600, foobar"), ResponseControl{Targeted: true, MaxAge: sec(3600)}},
		{"Surrogate-Control no-store", fields("Surrogate-Control", "no-store"), ResponseControl{Targeted: true, NoStore: true}},
		{"Surrogate-Control with spaces", fields("Surrogate-Control", "max-age =100"), ResponseControl{Targeted: true, MaxAge: sec(0)}},
		{"Surrogate-Control empty", fields("Surrogate-Control", " "), other},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.header.Set("Cache-Control", "max-age=7")
			if got := ParseResponseControl(tt.header, targets); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v:\n got %+v\nwant %+v", tt.header, got, tt.want)
			}
		})
	}
}

func TestRFC9111_5_2_1_RequestDirectives(t *testing.T) {
	sec := func(n int) Delta { return Delta{time.Duration(n) * second, true} }
	for _, tt := range []struct {
		name   string
		header http.Header
		want   RequestControl
	}{
		{"none", fields(), RequestControl{}},
		{"all", fields("Cache-Control", "no-cache, no-store, only-if-cached, max-age=1", "Cache-Control", `min-fresh="2", max-stale=3, stale-if-error=4`),
			RequestControl{NoCache: true, NoStore: true, OnlyIfCached: true, MaxAge: sec(1), MinFresh: sec(2), MaxStale: sec(3), StaleIfError: sec(4)}},
		{"any case", fields("Cache-Control", "NO-Cache, Max-Age=1"), RequestControl{NoCache: true, MaxAge: sec(1)}},
		{"5.2.1.1 invalid max-age", fields("Cache-Control", "max-age=x"), RequestControl{MaxAge: sec(0)}},
		{"5.2.1.1 several", fields("Cache-Control", "max-age=9, max-age=5"), RequestControl{MaxAge: sec(5)}},
		{"5.2.1.2 max-stale without argument", fields("Cache-Control", "max-stale"), RequestControl{MaxStale: Delta{math.MaxInt64, true}}},
		{"5.2.1.2 both forms", fields("Cache-Control", "max-stale, max-stale=5"), RequestControl{MaxStale: sec(5)}},
		{"5.2.1.2 invalid", fields("Cache-Control", `max-stale=x, max-stale=, max-stale="", max-stale=-1`), RequestControl{}},
		{"5.2.1.3 several", fields("Cache-Control", "min-fresh=5, min-fresh=9, min-fresh=7"), RequestControl{MinFresh: sec(9)}},
		{"5.2.1.3 invalid", fields("Cache-Control", "min-fresh=x, min-fresh"), RequestControl{}},
		{"5861 4 invalid", fields("Cache-Control", "stale-if-error=x"), RequestControl{}},
		{"unbalanced", fields("Cache-Control", `x="a, no-cache, max-stale, only-if-cached`), RequestControl{NoCache: true}},
		{"5.4 Pragma", fields("Pragma", "x=y, No-Cache"), RequestControl{NoCache: true}},
		{"5.4 Pragma beside Cache-Control", fields("Pragma", "no-cache", "Cache-Control", "max-age=5"), RequestControl{MaxAge: sec(5)}},
		{"5.4 Pragma, other", fields("Pragma", "extension, no-store, max-age=1"), RequestControl{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseRequestControl(tt.header); got != tt.want {
				t.Errorf("%v:\n got %+v\nwant %+v", tt.header, got, tt.want)
			}
		})
	}
}

// Parsing time must grow with the length of the input and no faster.
func TestLinearTime(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"commas": ",", "marks": `"`, "open strings": `a="`, "escapes": `a="\`, "directives": "max-age=1,",
		"fields": `private="a,b`, "spaces": " ", "equals": "=", "tags": `W/"`, "weights": "gzip;q=0.5,", "ranges": "0-1,",
	} {
		t.Run(name, func(t *testing.T) {
			line := strings.Repeat(unit, size/len(unit))
			h := fields("Cache-Control", line, "CDN-Cache-Control", line, "Vary", line, "If-None-Match", line,
				"Accept-Encoding", line, "Accept-Language", line, "Foo", line, "Connection", line)
			began := time.Now()
			ParseResponseControl(h, []string{"CDN-Cache-Control"})
			ParseRequestControl(h)
			VaryNames(h)
			NotModified(h, `"x"`, "", noon)
			ParseRange("bytes="+line, 100)
			ConnectionFields(h)
			for _, n := range []string{"Accept-Encoding", "Accept-Language", "Foo"} {
				AppendSelected(nil, n, h.Values(n))
			}
			// A quadratic scan of a megabyte takes minutes.
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func FuzzParseResponseControl(f *testing.F) {
	for _, s := range []string{
		"max-age=60, s-maxage=5", `private="a, b", no-cache="c"`, `x="a, no-store`, `max-age="60"x"`, "max-age =60",
		"public, must-revalidate", `"no-store"`, "max-age=99999999999999999999", "max-age=1;a=(1 2), x=@5, y=:YQ==:",
	} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, cc, cc2, targeted string) {
		h := http.Header{"Cache-Control": {cc, cc2}, "Cdn-Cache-Control": {targeted}}
		for _, targets := range [][]string{nil, {"CDN-Cache-Control"}, {"Surrogate-Control"}} {
			c := ParseResponseControl(h, targets)
			for _, d := range []Delta{c.MaxAge, c.SMaxAge, c.StaleWhileRevalidate, c.StaleIfError} {
				if d.D < 0 || d.D > maxDelta || !d.OK && d.D != 0 {
					t.Fatalf("%q %q: %+v", h, targets, d)
				}
			}
			for _, n := range append(c.PrivateFields, c.NoCacheFields...) {
				if !IsToken(n) || n != http.CanonicalHeaderKey(n) {
					t.Fatalf("%q %q: field name %q", h, targets, n)
				}
			}
			if c.Targeted {
				continue
			}
			// Whatever surrounds it, a directive on a line of its own that
			// forbids holds.
			strict := http.Header{"Cache-Control": {cc, "no-store", cc2, "private, max-age=0"}}
			if s := ParseResponseControl(strict, nil); !s.NoStore || !s.Private || s.MaxAge != (Delta{0, true}) {
				t.Fatalf("%q: %+v", strict, s)
			}
			// The order of the lines does not matter, but for field names.
			other := ParseResponseControl(http.Header{"Cache-Control": {cc2, cc}}, nil)
			c.PrivateFields, c.NoCacheFields, other.PrivateFields, other.NoCacheFields = nil, nil, nil, nil
			if !reflect.DeepEqual(c, other) {
				t.Fatalf("%q: %+v in the other order %+v", h, c, other)
			}
		}
	})
}

func FuzzParseRequestControl(f *testing.F) {
	for _, s := range []string{"no-cache", "max-age=0, max-stale", `max-stale="5", min-fresh=3`, `x="a, no-cache`, "only-if-cached"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, cc, pragma string) {
		c := ParseRequestControl(http.Header{"Cache-Control": {cc}, "Pragma": {pragma}})
		for _, d := range []Delta{c.MaxAge, c.MinFresh, c.StaleIfError, c.MaxStale} {
			if d.D < 0 || d.D > maxDelta && d.D != math.MaxInt64 || !d.OK && d.D != 0 {
				t.Fatalf("%q: %+v", cc, c)
			}
		}
		if c != ParseRequestControl(http.Header{"Cache-Control": {cc}}) {
			t.Fatalf("%q: Pragma %q counts beside Cache-Control", cc, pragma)
		}
		p := ParseRequestControl(http.Header{"Pragma": {pragma}})
		if p != (RequestControl{NoCache: p.NoCache}) {
			t.Fatalf("Pragma %q: %+v", pragma, p)
		}
	})
}

func BenchmarkParseRequestControl(b *testing.B) {
	for name, h := range map[string]http.Header{
		"absent":   fields("Accept", "*/*"),
		"no-cache": fields("Cache-Control", "no-cache"),
		"several":  fields("Cache-Control", "max-age=60, max-stale=10, min-fresh=5, only-if-cached"),
		"pragma":   fields("Pragma", "no-cache"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ParseRequestControl(h)
			}
		})
	}
}

func TestParseRequestControlAllocs(t *testing.T) {
	for _, h := range []Header{fields(), fields("Pragma", "no-cache"), fields("Cache-Control", `max-age=60, x="y", max-stale`)} {
		if n := testing.AllocsPerRun(100, func() { ParseRequestControl(h) }); n != 0 {
			t.Errorf("%v: %v allocations", h, n)
		}
	}
}
