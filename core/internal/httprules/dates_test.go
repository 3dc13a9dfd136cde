package httprules

import (
	"net/http"
	"testing"
	"time"
)

func TestRFC9111_1_2_2_DeltaSeconds(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"0", 0, true},
		{"60", 60 * second, true},
		{"003600", 3600 * second, true},
		{"2147483647", 2147483647 * second, true},
		{"2147483648", 2147483648 * second, true},
		{"2147483649", 2147483648 * second, true},
		{"99999999999", 2147483648 * second, true},
		{"99999999999999999999999999999999999999999999", 2147483648 * second, true},
		{"", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"3600.0", 0, false},
		{"3600.5", 0, false},
		{"1e3", 0, false},
		{"0x10", 0, false},
		{" 1", 0, false},
		{"1 ", 0, false},
		{"a3600", 0, false},
		{"3600a", 0, false},
		{"'3600'", 0, false},
		{"\u0663", 0, false},
		{"1\x00", 0, false},
	} {
		got, ok := ParseDelta(tt.in)
		if got != tt.want || ok != tt.ok {
			t.Errorf("ParseDelta(%q) = %v, %v; want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestRFC9110_5_6_7_HTTPDate(t *testing.T) {
	example := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	later := time.Date(2050, time.August, 18, 2, 1, 18, 0, time.UTC)
	for _, tt := range []struct {
		in   string
		want time.Time // zero: no date
	}{
		// The three formats of the RFC.
		{"Sun, 06 Nov 1994 08:49:37 GMT", example},
		{"Sunday, 06-Nov-94 08:49:37 GMT", example},
		{"Sun Nov  6 08:49:37 1994", example},
		{"Sun Nov 06 08:49:37 1994", example},
		{" Sun, 06 Nov 1994 08:49:37 GMT\t", example},
		// RFC 9111 section 4.2: in any case.
		{"THU, 18 Aug 2050 02:01:18 GMT", later},
		{"Thu, 18 AUG 2050 02:01:18 GMT", later},
		{"Thu, 18 Aug 2050 02:01:18 gMT", later},
		{"thursday, 18-aug-50 02:01:18 gmt", later},
		{"Tue, 29 Feb 2000 00:00:00 GMT", time.Date(2000, time.February, 29, 0, 0, 0, 0, time.UTC)},
		{"Sat, 31 Dec 2016 23:59:60 GMT", time.Date(2016, time.December, 31, 23, 59, 59, 0, time.UTC)},

		{"", time.Time{}},
		{"0", time.Time{}},
		{"-1", time.Time{}},
		{"3600", time.Time{}},
		{"foo", time.Time{}},
		{"Thu, 18 Aug 2050 02:01:18 UTC", time.Time{}},
		{"Thu, 18 Aug 2050 02:01:18 +00", time.Time{}},
		{"Thu, 18 Aug 2050 02:01:18", time.Time{}},
		{"Thu, 18 Aug 50 02:01:18 GMT", time.Time{}},
		{"Thu 18 Aug 2050 02:01:18 GMT", time.Time{}},
		{"Thu, 18  Aug  2050 02:01:18 GMT", time.Time{}},
		{"Thu, 18-Aug-2050 02:01:18 GMT", time.Time{}},
		{"Thu, 18 Aug 2050 02.01.18 GMT", time.Time{}},
		{"Thu, 18 Aug 2050 2:01:18 GMT", time.Time{}},
		{"Thu, 18 Aug 2050 24:00:00 GMT", time.Time{}},
		{"Thu, 18 Aug 2050 02:60:18 GMT", time.Time{}},
		{"Thu, 18 Aug 2050 02:01:61 GMT", time.Time{}},
		{"Xxx, 18 Aug 2050 02:01:18 GMT", time.Time{}},
		{"Thu, 18 Xxx 2050 02:01:18 GMT", time.Time{}},
		{"Wed, 29 Feb 2100 00:00:00 GMT", time.Time{}},
		{"Thu, 31 Apr 2050 00:00:00 GMT", time.Time{}},
		{"Thu, 00 Aug 2050 00:00:00 GMT", time.Time{}},
		{"Thu, 1\x00 Aug 2050 02:01:18 GMT", time.Time{}},
		{"Sun, 06-Nov-94 08:49:37 GMT", time.Time{}},
		{"Sunday, 06-Nov-94 08:49:37 UTC", time.Time{}},
		{"Sun Nov 6 08:49:37 1994", time.Time{}},
		{"Sun Nov  6 08:49:37 94", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", time.Time{}},
	} {
		got, ok := ParseDate(tt.in)
		if !got.Equal(tt.want) || ok != !tt.want.IsZero() {
			t.Errorf("ParseDate(%q) = %v, %v; want %v", tt.in, got, ok, tt.want)
		}
	}
}

// Every character of a date counts.
func TestRFC9110_5_6_7_EveryCharacter(t *testing.T) {
	for _, date := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"} {
		for i := range date {
			for _, c := range []string{"x", "\x00", ";", ""} {
				changed := date[:i] + c + date[i+1:]
				if got, ok := ParseDate(changed); ok {
					t.Errorf("ParseDate(%q) = %v", changed, got)
				}
			}
		}
	}
}

func TestRFC9110_5_6_7_TwoDigitYear(t *testing.T) {
	for _, tt := range []struct {
		now  int
		in   string
		want int
	}{
		{2026, "Sunday, 06-Nov-94 08:49:37 GMT", 1994},
		{2026, "Sunday, 06-Nov-26 08:49:37 GMT", 2026},
		{2026, "Sunday, 06-Nov-75 08:49:37 GMT", 2075},
		{2026, "Sunday, 01-Mar-76 08:49:37 GMT", 2076}, // less than 50 years
		{2026, "Sunday, 06-Nov-76 08:49:37 GMT", 1976}, // more
		{2090, "Sunday, 06-Nov-10 08:49:37 GMT", 2110},
		{2060, "Sunday, 29-Feb-00 08:49:37 GMT", 2000}, // 2100 has none
	} {
		now := time.Date(tt.now, time.March, 4, 12, 0, 0, 0, time.UTC)
		got, ok := ParseDateAt(tt.in, now)
		if !ok || got.Year() != tt.want {
			t.Errorf("ParseDateAt(%q, %d) = %v, %v; want %d", tt.in, tt.now, got, ok, tt.want)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Tuesday, 29-Feb-00 08:49:37 GMT", "Sat, 31 Dec 2016 23:59:60 GMT", "0", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s)
		if !ok {
			return
		}
		if got.Location() != time.UTC || got.Nanosecond() != 0 {
			t.Fatalf("%q: %v is no HTTP time", s, got)
		}
		if again, ok := ParseDate(got.Format(http.TimeFormat)); !ok || !again.Equal(got) {
			t.Fatalf("%q: %v does not survive formatting: %v", s, got, again)
		}
		if std, err := http.ParseTime(s); err == nil && !std.Equal(got) {
			t.Fatalf("%q: got %v, net/http %v", s, got, std)
		}
	})
}
