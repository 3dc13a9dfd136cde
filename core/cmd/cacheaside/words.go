package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count is n with separators: 1,234,567.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// percent is a share.
func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) + " %" }

// share is one that there may not be.
func share(f *float64) string {
	if f == nil {
		return "–"
	}
	return percent(*f)
}

// span is a duration in seconds, with two or three digits that matter.
func span(s float64) string {
	if s < 0 {
		return "-" + span(-s)
	}
	short := func(f float64, unit string) string {
		digits := 0
		if f < 9.95 {
			digits = 1
		}
		return strings.TrimSuffix(strconv.FormatFloat(f, 'f', digits, 64), ".0") + unit
	}
	switch d := time.Duration(math.Round(s * float64(time.Second))); {
	case d == 0:
		return "0s"
	case s < 0.9995e-3:
		return short(s*1e6, "µs")
	case s < 0.9995:
		return short(s*1e3, "ms")
	case s < 59.5:
		return short(s, "s")
	case s < 3600-0.5:
		return joined(int(math.Round(s)), 60, "m", "s")
	case s < 24*3600-30:
		return joined(int(math.Round(s/60)), 60, "h", "m")
	default:
		return joined(int(math.Round(s/3600)), 24, "d", "h")
	}
}

// joined is 90 as 1m30s.
func joined(n, per int, whole, rest string) string {
	out := strconv.Itoa(n/per) + whole
	if n%per != 0 {
		out += strconv.Itoa(n%per) + rest
	}
	return out
}

// at is a time in milliseconds since 1970, here.
func at(ms int64, layout string) string { return time.UnixMilli(ms).Format(layout) }

// largest are the names of what is counted, the largest first.
func largest(counts map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
}

// listed is "ok 12, timeout 3"; none is "none".
func listed(counts map[string]uint64) string {
	var all []string
	for _, name := range largest(counts) {
		if counts[name] > 0 {
			all = append(all, name+" "+count(counts[name]))
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// plural is "1 event", "2 events".
func plural[T int | int64 | uint64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
