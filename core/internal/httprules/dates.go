package httprules

import (
	"strings"
	"time"
)

// maxDelta is the longest time that delta-seconds stand for: 2^31 seconds, as
// RFC 9111 section 1.2.2 has it. Four of them still fit into a Duration, so
// that sums of them need no check.
const maxDelta = (1 << 31) * time.Second

// ParseDelta parses delta-seconds (RFC 9111 section 1.2.2): digits and nothing
// else. What is larger than 2^31 seconds is that.
func ParseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := time.Duration(0)
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + time.Duration(c); n > 1<<31 {
			n = 1 << 31
		}
	}
	return n * time.Second, true
}

// ParseDate parses an HTTP-date in any of its three formats (RFC 9110 section
// 5.6.7). Letters match in any case, as RFC 9111 section 4.2 asks of a cache;
// otherwise the form is exact, and another zone than GMT is no date. The
// two-digit year of the RFC 850 format is taken as 1969 to 2068.
func ParseDate(s string) (time.Time, bool) {
	return ParseDateAt(s, time.Date(2018, time.December, 31, 23, 59, 59, 0, time.UTC))
}

// ParseDateAt is [ParseDate] with the rule of RFC 9110 for two-digit years: the
// latest year with these digits that is no more than 50 years after now.
func ParseDateAt(s string, now time.Time) (time.Time, bool) {
	s = trimOWS(s)
	switch {
	case len(s) == len("Sun, 06 Nov 1994 08:49:37 GMT") && s[3] == ',':
		if !weekday(s[:3], 3) || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' {
			return time.Time{}, false
		}
		return makeDate(s[12:16], s[8:11], s[5:7], s[17:25], s[25:])
	case len(s) == len("Sun Nov  6 08:49:37 1994") && s[3] == ' ':
		if !weekday(s[:3], 3) || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
			return time.Time{}, false
		}
		day := s[8:10]
		if day[0] == ' ' {
			day = day[1:]
		}
		return makeDate(s[20:24], s[4:7], day, s[11:19], " GMT")
	}
	name, rest, ok := strings.Cut(s, ",")
	if !ok || !weekday(name, 0) || len(rest) != len(" 06-Nov-94 08:49:37 GMT") ||
		rest[0] != ' ' || rest[3] != '-' || rest[7] != '-' || rest[10] != ' ' {
		return time.Time{}, false
	}
	yy, ok := digits(rest[8:10])
	if !ok {
		return time.Time{}, false
	}
	limit := now.UTC().AddDate(50, 0, 0)
	year := limit.Year() - (limit.Year()-yy)%100
	t, ok := dateOf(year, rest[4:7], rest[1:3], rest[11:19], rest[19:])
	if ok && !t.After(limit) {
		return t, true
	}
	// Too far in the future, or no day of that year.
	return dateOf(year-100, rest[4:7], rest[1:3], rest[11:19], rest[19:])
}

func makeDate(year, month, day, clock, zone string) (time.Time, bool) {
	y, ok := digits(year)
	if !ok {
		return time.Time{}, false
	}
	return dateOf(y, month, day, clock, zone)
}

func dateOf(year int, month, day, clock, zone string) (time.Time, bool) {
	m := monthOf(month)
	d, okD := digits(day)
	if m == 0 || !okD || d < 1 || d > daysIn(m, year) || len(clock) != 8 || clock[2] != ':' || clock[5] != ':' ||
		len(zone) != 4 || zone[0] != ' ' || !strings.EqualFold(zone[1:], "GMT") {
		return time.Time{}, false
	}
	hour, okH := digits(clock[:2])
	minute, okM := digits(clock[3:5])
	sec, okS := digits(clock[6:])
	if !okH || !okM || !okS || hour > 23 || minute > 59 || sec > 60 {
		return time.Time{}, false
	}
	// A leap second is the nearest time before it, which is what RFC 9111
	// section 4.2 asks for where the resolution is less.
	return time.Date(year, m, d, hour, minute, min(sec, 59), 0, time.UTC), true
}

func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, s != ""
}

// weekday reports whether s is the name of a day, or its first n letters where
// n is not 0. Whether the date fell on that day is not asked: the rest says all.
func weekday(s string, n int) bool {
	var day time.Weekday
	var buf [3]byte
	switch string(lower3(&buf, s)) {
	case "sun":
		day = time.Sunday
	case "mon":
		day = time.Monday
	case "tue":
		day = time.Tuesday
	case "wed":
		day = time.Wednesday
	case "thu":
		day = time.Thursday
	case "fri":
		day = time.Friday
	case "sat":
		day = time.Saturday
	default:
		return false
	}
	return len(s) == n || n == 0 && len(s) == len(day.String()) && strings.EqualFold(s, day.String())
}

// monthOf gives 0 for what is no month.
func monthOf(s string) time.Month {
	if len(s) != 3 {
		return 0
	}
	var buf [3]byte
	switch string(lower3(&buf, s)) {
	case "jan":
		return time.January
	case "feb":
		return time.February
	case "mar":
		return time.March
	case "apr":
		return time.April
	case "may":
		return time.May
	case "jun":
		return time.June
	case "jul":
		return time.July
	case "aug":
		return time.August
	case "sep":
		return time.September
	case "oct":
		return time.October
	case "nov":
		return time.November
	case "dec":
		return time.December
	}
	return 0
}

func daysIn(m time.Month, year int) int {
	switch m {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// lower3 gives the first three letters in lower case.
func lower3(buf *[3]byte, s string) []byte {
	b := buf[:copy(buf[:], s)]
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return b
}

// trimOWS removes optional whitespace (RFC 9110 section 5.6.3) on both sides.
func trimOWS(s string) string {
	for s != "" && isOWS(s[0]) {
		s = s[1:]
	}
	for s != "" && isOWS(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isOWS(c byte) bool { return c == ' ' || c == '\t' }
