package httprules

import (
	"math"
	"strings"
)

// ByteRange is one part of a representation. Length is at least 1.
type ByteRange struct{ Start, Length int64 }

// RangeVerdict says what to do with a Range field.
type RangeVerdict uint8

// The verdicts.
const (
	RangeNone          RangeVerdict = iota // ignore it: send everything
	RangeOK                                // send the ranges
	RangeUnsatisfiable                     // 416
	RangeVoid                              // send everything: If-Range rules it out, or there are several fields
)

// maxRanges bounds the parts of one response (RFC 9110 section 17.15).
const maxRanges = 16

// ParseRange parses a Range field for a representation of the given size (RFC
// 9110 section 14.2). It is ignored when malformed, in another unit than bytes,
// with more than 16 ranges, or when these add up to more than the whole.
// Unsatisfiable ranges beside satisfiable ones are left out.
func ParseRange(value string, size int64) ([]ByteRange, RangeVerdict) {
	unit, list, ok := strings.Cut(trimOWS(value), "=")
	if !ok || !EqualFold(unit, "bytes") || size < 0 {
		return nil, RangeNone
	}
	var ranges []ByteRange
	count, left := 0, size
	for list != "" {
		var spec string
		spec, list, _ = strings.Cut(list, ",")
		if spec = trimOWS(spec); spec == "" {
			continue // RFC 9110 section 5.6.1.2
		}
		if count++; count > maxRanges {
			return nil, RangeNone
		}
		r, satisfiable, ok := parseSpec(spec, size)
		if !ok {
			return nil, RangeNone
		}
		if !satisfiable {
			continue
		}
		if r.Length == 0 || r.Length > left {
			return nil, RangeNone
		}
		left -= r.Length
		ranges = append(ranges, r)
	}
	switch {
	case count == 0:
		return nil, RangeNone
	case len(ranges) == 0:
		return nil, RangeUnsatisfiable
	default:
		return ranges, RangeOK
	}
}

// parseSpec parses an int-range or a suffix-range (RFC 9110 section 14.1.1). Of
// an empty representation the suffix is empty, which no Content-Range can say.
func parseSpec(spec string, size int64) (r ByteRange, satisfiable, ok bool) {
	from, to, ok := strings.Cut(spec, "-")
	if !ok {
		return r, false, false
	}
	if from == "" {
		n, ok := position(to)
		return ByteRange{size - min(n, size), min(n, size)}, n > 0, ok
	}
	first, ok := position(from)
	if !ok {
		return r, false, false
	}
	last := int64(math.MaxInt64)
	if to != "" {
		if last, ok = position(to); !ok || last < first {
			return r, false, false
		}
	}
	if first >= size {
		return r, false, true
	}
	return ByteRange{first, min(last, size-1) - first + 1}, true, true
}

// position parses digits, saturating.
func position(s string) (int64, bool) {
	n := int64(0)
	for i := range len(s) {
		c := int64(s[i] - '0')
		if c > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-c)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + c
	}
	return n, s != ""
}
