package httprules

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRFC9110_13_1_2_IfNoneMatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		etag  string
		want  bool
	}{
		{"strong", []string{`"a"`}, `"a"`, true},
		{"weak", []string{`W/"a"`}, `W/"a"`, true},
		{"weak in the request", []string{`W/"a"`}, `"a"`, true},
		{"weak in the response", []string{`"a"`}, `W/"a"`, true},
		{"other", []string{`"b"`}, `"a"`, false},
		{"case", []string{`"A"`}, `"a"`, false},
		{"first of several", []string{`"a", "b", "c"`}, `"a"`, true},
		{"middle", []string{`"b", "a", "c"`}, `"a"`, true},
		{"last, no spaces", []string{`"b","c",W/"a"`}, `"a"`, true},
		{"on another line", []string{`"b"`, `"c", "a"`}, `"a"`, true},
		{"none of several", []string{`"b", "c"`, `"d"`}, `"a"`, false},
		{"empty members", []string{`,, "b",, "a",`}, `"a"`, true},
		{"*", []string{" * "}, `"a"`, true},
		{"* without ETag", []string{"*"}, "", true},
		{"* in a list", []string{`"b", *`}, `"a"`, false},
		{"empty", []string{""}, `"a"`, false},
		{"no ETag", []string{`"a"`}, "", false},
		{"empty tag", []string{`""`}, `""`, true},
		{"comma in the tag", []string{`"b", "a,c"`}, `"a,c"`, true},
		{"part of a tag with comma", []string{`"x,a,y"`}, `a`, false},
		{"obs-text", []string{"\"abcdef\u00fc\""}, "\"abcdef\u00fc\"", true},
		{"backslash is no escape", []string{`"a\", "b"`}, `"b"`, true},
		{"unquoted", []string{"abc"}, "abc", true},
		{"unquoted in a list", []string{`"b", abc`}, "abc", true},
		{"unquoted with comma", []string{"a,b"}, "a,b", true},
		{"unquoted against quoted", []string{"abc"}, `"abc"`, false},
		{"quoted against unquoted", []string{`"abc"`}, "abc", false},
		{"lower-case weak", []string{`w/"a"`}, `w/"a"`, true},
		{"lower-case weak is no weak tag", []string{`w/"a"`}, `"a"`, false},
		{"backslash for slash", []string{`W\"a"`}, `W\"a"`, true},
		{"mark of weakness alone", []string{"W/"}, `"a"`, false},
		{"without slash", []string{`W"a"`}, `W"a"`, true},
		{"unbalanced", []string{`"a, "b`}, `"b`, false},
		{"unbalanced at the end", []string{`"b", "a`}, `"a`, true},
		{"junk after the tag", []string{`"a"b, "c"`}, `"a"`, false},
		{"after junk", []string{`"a"b, "c"`}, `"c"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"If-None-Match": tt.lines}
			equal(t, strings.Join(tt.lines, " | "), NotModified(h, tt.etag, "", noon), tt.want)
		})
	}
}

func TestRFC9110_13_1_3_IfModifiedSince(t *testing.T) {
	modified := httpDate(-time.Hour)
	for _, tt := range []struct {
		name         string
		since        []string
		lastModified string
		date         time.Time
		want         bool
	}{
		{"equal", []string{modified}, modified, noon, true},
		{"later", []string{httpDate(-time.Minute)}, modified, noon, true},
		{"earlier", []string{httpDate(-2 * time.Hour)}, modified, noon, false},
		{"in RFC 850 format", []string{noon.Add(-time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT")}, modified, noon, true},
		{"in asctime format", []string{noon.Add(-time.Hour).Format(time.ANSIC)}, modified, noon, true},
		{"invalid", []string{"x"}, modified, noon, false},
		{"invalid, equal text", []string{"x"}, "x", noon, false},
		{"two lines", []string{modified, modified}, modified, noon, false},
		{"9111 4.3.2 Date instead", []string{httpDate(0)}, "", noon.Add(time.Second / 2), true},
		{"9111 4.3.2 before Date", []string{httpDate(-second)}, "", noon, false},
		{"9111 4.3.2 invalid Last-Modified", []string{httpDate(0)}, "x", noon, true},
		{"no date at all", []string{httpDate(0)}, "", time.Time{}, false},
		{"a Date of a clock that was never set", []string{httpDate(0)}, "", time.Unix(300, 0), false},
		{"Last-Modified of the epoch", []string{httpDate(0)}, time.Unix(0, 0).UTC().Format(http.TimeFormat), noon, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"If-Modified-Since": tt.since}
			equal(t, "not modified", NotModified(h, "", tt.lastModified, tt.date), tt.want)
		})
	}
}

func TestRFC9110_13_2_2_Precedence(t *testing.T) {
	modified := httpDate(-time.Hour)
	equal(t, "ETag matches, date does not",
		NotModified(fields("If-None-Match", `"a"`, "If-Modified-Since", httpDate(-2*time.Hour)), `"a"`, modified, noon), true)
	equal(t, "date matches, ETag does not",
		NotModified(fields("If-None-Match", `"b"`, "If-Modified-Since", modified), `"a"`, modified, noon), false)
	equal(t, "unconditional", NotModified(fields(), `"a"`, modified, noon), false)
}

func TestRFC9110_8_8_3_2_Comparison(t *testing.T) {
	for _, tt := range []struct {
		a, b         string
		strong, weak bool
	}{
		{`W/"1"`, `W/"1"`, false, true},
		{`W/"1"`, `W/"2"`, false, false},
		{`W/"1"`, `"1"`, false, true},
		{`"1"`, `"1"`, true, true},
		{`"1"`, `"2"`, false, false},
		{`""`, `""`, true, true},
		{"", "", false, false},
		{"1", "1", false, true},
		{"1", `"1"`, false, false},
		{`"`, `"`, false, true},
		{`"a"b"`, `"a"b"`, false, true},
		{`W/1`, `1`, false, false},
	} {
		equal(t, tt.a+" strong "+tt.b, ETagStrongMatch(tt.a, tt.b), tt.strong)
		equal(t, tt.b+" strong "+tt.a, ETagStrongMatch(tt.b, tt.a), tt.strong)
		equal(t, tt.a+" weak "+tt.b, ETagWeakMatch(tt.a, tt.b), tt.weak)
		equal(t, tt.b+" weak "+tt.a, ETagWeakMatch(tt.b, tt.a), tt.weak)
	}
}

func TestRFC9110_13_1_5_IfRange(t *testing.T) {
	modified := httpDate(-time.Hour)
	for _, tt := range []struct {
		name, ifRange, etag, lastModified string
		date                              time.Time
		want                              bool
	}{
		{"strong", `"a"`, `"a"`, "", noon, true},
		{"spaces", ` "a" `, `"a"`, "", noon, true},
		{"other", `"b"`, `"a"`, "", noon, false},
		{"weak", `W/"a"`, `W/"a"`, "", noon, false},
		{"weak in the request", `W/"a"`, `"a"`, "", noon, false},
		{"weak in the response", `"a"`, `W/"a"`, "", noon, false},
		{"unquoted", `a`, `a`, "", noon, false},
		{"no ETag", `"a"`, "", modified, noon, false},
		{"empty", "", "", "", noon, false},
		{"date", modified, `"a"`, modified, noon, true},
		{"later date", httpDate(0), "", modified, noon, false},
		{"earlier date", httpDate(-2 * time.Hour), "", modified, noon, false},
		{"no Last-Modified", modified, "", "", noon, false},
		{"the Date is no validator", httpDate(0), "", "", noon, false},
		{"8.8.2.2 weak: of the second of Date", httpDate(0), "", httpDate(0), noon, false},
		{"8.8.2.2 strong: a second before Date", httpDate(-second), "", httpDate(-second), noon, true},
		{"8.8.2.2 weak: after Date", httpDate(time.Hour), "", httpDate(time.Hour), noon, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, tt.ifRange, IfRangeMatch(tt.ifRange, tt.etag, tt.lastModified, tt.date), tt.want)
		})
	}
}

func FuzzNotModified(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`, "x")
	f.Add(`"a,b`, `a`, `"`)
	f.Add("*", "", ", ,")
	f.Add(`W/"a`, `W/`, `"b"`)
	f.Fuzz(func(t *testing.T, inm, etag, other string) {
		matches := NotModified(http.Header{"If-None-Match": {inm}}, etag, "", noon)
		if strings.Trim(inm, " \t") == "*" != matches && strings.Trim(etag, " \t") == "" {
			t.Fatalf("%q matches no tag at all", inm)
		}
		// A match has the tag's text somewhere in the list.
		if text := opaque(trimOWS(etag)); matches && trimOWS(inm) != "*" && !strings.Contains(inm, text) {
			t.Fatalf("%q matches %q", inm, etag)
		}
		// A match stays one whatever else is asked for.
		if matches && trimOWS(inm) != "*" && !NotModified(http.Header{"If-None-Match": {other, inm}}, etag, "", noon) {
			t.Fatalf("%q then %q does not match %q", other, inm, etag)
		}
		// What a client sends back as it came matches.
		if trimOWS(etag) != "" && !NotModified(http.Header{"If-None-Match": {etag}}, etag, "", noon) {
			t.Fatalf("%q does not match itself", etag)
		}
		if ETagStrongMatch(inm, etag) && !ETagWeakMatch(inm, etag) {
			t.Fatalf("%q matches %q strongly only", inm, etag)
		}
		if IfRangeMatch(inm, etag, other, noon) && IfRangeMatch(inm, "", "", noon) {
			t.Fatalf("If-Range %q matches nothing", inm)
		}
	})
}

func BenchmarkNotModified(b *testing.B) {
	modified := httpDate(-time.Hour)
	for name, h := range map[string]http.Header{
		"absent":            fields("Accept", "*/*"),
		"If-None-Match":     fields("If-None-Match", `"aaaa", W/"bbbb", "cccc"`),
		"If-Modified-Since": fields("If-Modified-Since", modified),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NotModified(h, `"cccc"`, modified, noon)
			}
		})
	}
}

func TestNotModifiedAllocs(t *testing.T) {
	modified := httpDate(-time.Hour)
	for _, h := range []Header{fields(), fields("If-None-Match", `"b", W/"a"`), fields("If-Modified-Since", modified)} {
		if n := testing.AllocsPerRun(100, func() { NotModified(h, `"a"`, modified, noon) }); n != 0 {
			t.Errorf("%v: %v allocations", h, n)
		}
	}
}
