package httprules

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRFC9110_14_4_ContentRange(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  ByteRange
		size  int64
		ok    bool
	}{
		{[]string{"bytes 0-0/1"}, ByteRange{0, 1}, 1, true},
		{[]string{"bytes 2-4/10"}, ByteRange{2, 3}, 10, true},
		{[]string{" BYTES 2-9/10\t"}, ByteRange{2, 8}, 10, true},
		{[]string{"bytes 0000-0009/00010"}, ByteRange{0, 10}, 10, true},
		{[]string{fmt.Sprintf("bytes 0-%d/%d", math.MaxInt64-2, math.MaxInt64-1)}, ByteRange{0, math.MaxInt64 - 1}, math.MaxInt64 - 1, true},

		{nil, ByteRange{}, 0, false},
		{[]string{"bytes 0-4/10", "bytes 0-4/10"}, ByteRange{}, 0, false},
		{[]string{""}, ByteRange{}, 0, false},
		{[]string{"bytes"}, ByteRange{}, 0, false},
		{[]string{"bytes "}, ByteRange{}, 0, false},
		{[]string{"bytes 0-4"}, ByteRange{}, 0, false},
		{[]string{"bytes=0-4/10"}, ByteRange{}, 0, false},
		{[]string{"bytes  0-4/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0 - 4/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-4/ 10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-4/10, bytes 5-9/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-4/10/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-1-4/10"}, ByteRange{}, 0, false},
		{[]string{"bytes */10"}, ByteRange{}, 0, false},  // of a 416
		{[]string{"bytes 0-4/*"}, ByteRange{}, 0, false}, // nobody knows where it ends
		{[]string{"bytes -5/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 5-/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 4-2/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-10/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 10-10/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-0/0"}, ByteRange{}, 0, false},
		{[]string{"bytes +0-4/10"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-0x4/10"}, ByteRange{}, 0, false},
		{[]string{"lines 0-4/10"}, ByteRange{}, 0, false},
		{[]string{fmt.Sprintf("bytes 0-4/%d", uint64(math.MaxInt64))}, ByteRange{}, 0, false},
		{[]string{"bytes 0-4/99999999999999999999999999"}, ByteRange{}, 0, false},
		{[]string{"bytes 0-99999999999999999999999999/999999999999999999999999999"}, ByteRange{}, 0, false},
		{[]string{"bytes " + strings.Repeat("0", 1<<16) + "-4/10"}, ByteRange{0, 5}, 10, true},
	} {
		got, size, ok := ParseContentRange(tt.lines)
		if got != tt.want || ok != tt.ok || ok && size != tt.size {
			t.Errorf("ParseContentRange(%.60q) = %v, %d, %t; want %v, %d, %t", tt.lines, got, size, ok, tt.want, tt.size, tt.ok)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 2-4/10")
	f.Add("bytes 0-99999999999999999999/99999999999999999999")
	f.Fuzz(func(t *testing.T, value string) {
		r, size, ok := ParseContentRange([]string{value})
		switch {
		case !ok && r != ByteRange{}:
			t.Fatalf("%v, and not ok", r)
		case ok && (r.Start < 0 || r.Length < 1 || r.Start >= size || r.Length > size-r.Start || size == math.MaxInt64):
			t.Fatalf("%v of %d", r, size)
		case ok:
			again, of, _ := ParseContentRange([]string{fmt.Sprintf("bytes %d-%d/%d", r.Start, r.Start+r.Length-1, size)})
			if again != r || of != size {
				t.Fatalf("%v of %d became %v of %d", r, size, again, of)
			}
		}
	})
}

func TestRFC9111_3_4_SameVersion(t *testing.T) {
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ago time.Duration) string {
		return date.Add(-ago).Format(time.RFC1123[:len(time.RFC1123)-3] + "GMT")
	}
	version := func(etag, modified string) Version { return Version{etag, modified, date} }
	for _, tt := range []struct {
		name        string
		a, b        Version
		same, other bool
	}{
		{"nothing", version("", ""), version("", ""), false, false},
		{"one strong ETag", version(`"a"`, ""), version(`"a"`, ""), true, false},
		{"with blanks around", version(`"a" `, ""), version(` "a"`, ""), true, false},
		{"two strong ETags", version(`"a"`, ""), version(`"b"`, ""), false, true},
		{"one weak ETag", version(`W/"a"`, ""), version(`W/"a"`, ""), false, false},
		{"a weak and a strong one", version(`W/"a"`, ""), version(`"a"`, ""), false, false},
		{"another weak one", version(`W/"a"`, ""), version(`W/"b"`, ""), false, true},
		{"an ETag in another form", version(`a`, ""), version(`a`, ""), false, false},
		{"an ETag on one side", version(`"a"`, at(time.Hour)), version("", at(time.Hour)), false, false},
		{"an ETag on one side, another date", version(`"a"`, at(time.Hour)), version("", at(time.Minute)), false, true},
		{"other ETags, one date", version(`"a"`, at(time.Hour)), version(`"b"`, at(time.Hour)), false, true},
		{"one date", version("", at(time.Hour)), version("", at(time.Hour)), true, false},
		{"one date, a second old", version("", at(time.Second)), version("", at(time.Second)), true, false},
		{"one date, of just now", version("", at(0)), version("", at(0)), false, false},
		{"other dates", version("", at(time.Hour)), version("", at(time.Minute)), false, true},
		{"a date on one side", version("", at(time.Hour)), version("", ""), false, false},
		{"no date", version("", "0"), version("", "0"), false, false},
	} {
		if same, other := SameVersion(tt.a, tt.b), OtherVersion(tt.a, tt.b); same != tt.same || other != tt.other {
			t.Errorf("%s: same %t, other %t; want %t, %t", tt.name, same, other, tt.same, tt.other)
		}
		if tt.same && (tt.a.IfRange() == "" || !IfRangeMatch(tt.a.IfRange(), tt.b.ETag, tt.b.LastModified, tt.b.Date)) {
			t.Errorf("%s: If-Range %q", tt.name, tt.a.IfRange())
		}
		if SameVersion(tt.a, tt.b) != SameVersion(tt.b, tt.a) || OtherVersion(tt.a, tt.b) != OtherVersion(tt.b, tt.a) {
			t.Errorf("%s: the order counts", tt.name)
		}
	}
	young := Version{LastModified: at(time.Second), Date: date.Add(-time.Second)}
	if old := version("", at(time.Second)); SameVersion(old, young) || SameVersion(young, old) {
		t.Error("a date that was weak in one response is taken for strong")
	}
}

func TestRFC9111_3_3_PartsAreStoredByTheirOwnFreshness(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	judge := func(part bool, status int, rules Rules, fields ...string) Verdict {
		h := http.Header{}
		for i := 0; i < len(fields); i += 2 {
			h[fields[i]] = append(h[fields[i]], fields[i+1])
		}
		return Judge(Fill{Method: "GET", Status: status, Part: part, ResponseHeader: h, RequestTime: now, ResponseTime: now, Rules: rules})
	}
	generous := Rules{TTL: time.Hour, Listed: true, Heuristic: true}
	const place = "bytes 0-4/10"
	for _, tt := range []struct {
		name   string
		got    Verdict
		reason string
	}{
		{"max-age", judge(true, 206, Rules{}, "Content-Range", place, "Cache-Control", "max-age=60"), ""},
		{"s-maxage", judge(true, 206, Rules{}, "Content-Range", place, "Cache-Control", "s-maxage=60"), ""},
		{"Expires", judge(true, 206, Rules{}, "Content-Range", place, "Expires", now.Add(time.Hour).Format("Mon, 02 Jan 2006 15:04:05 GMT")), ""},
		{"must-understand", judge(true, 206, Rules{}, "Content-Range", place, "Cache-Control", "max-age=60, no-store, must-understand"), ""},
		{"nothing", judge(true, 206, Rules{}, "Content-Range", place), "no-freshness"},
		{"the policy's TTL", judge(true, 206, generous, "Content-Range", place), "no-freshness"},
		{"a heuristic", judge(true, 206, generous, "Content-Range", place, "Last-Modified", "Mon, 02 Jan 2023 15:04:05 GMT", "Cache-Control", "public"), "no-freshness"},
		{"no-store", judge(true, 206, generous, "Content-Range", place, "Cache-Control", "max-age=60, no-store"), "no-store"},
		{"private", judge(true, 206, generous, "Content-Range", place, "Cache-Control", "max-age=60, private"), "private"},
		{"Vary: *", judge(true, 206, generous, "Content-Range", place, "Cache-Control", "max-age=60", "Vary", "*"), "vary-any"},
		{"no part of known place", judge(false, 206, generous, "Content-Range", place, "Cache-Control", "max-age=60"), "partial"},
		{"a 200 with Content-Range", judge(false, 200, generous, "Content-Range", place, "Cache-Control", "max-age=60"), "partial"},
		{"416", judge(false, 416, generous, "Content-Range", "bytes */10", "Cache-Control", "max-age=60"), "partial"},
	} {
		if tt.got.Reason != tt.reason || tt.got.Store != (tt.reason == "") {
			t.Errorf("%s: %q, want %q", tt.name, tt.got.Reason, tt.reason)
		}
	}
}
