package httprules

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// ParseContentRange parses the Content-Range of a 206 with one part (RFC 9110 section
// 14.4): which bytes it holds, and how long the whole representation is. It is not ok
// where there is no line or several, where the unit is another than bytes or the
// complete length unknown, and where the numbers contradict one another or are too
// large.
func ParseContentRange(lines []string) (r ByteRange, size int64, ok bool) {
	if len(lines) != 1 {
		return r, 0, false
	}
	unit, rest, ok := strings.Cut(trimOWS(lines[0]), " ")
	if !ok || !EqualFold(unit, "bytes") {
		return r, 0, false
	}
	of, complete, ok := strings.Cut(rest, "/")
	if !ok {
		return r, 0, false
	}
	from, to, ok := strings.Cut(of, "-")
	if !ok {
		return r, 0, false
	}
	first, ok1 := position(from)
	last, ok2 := position(to)
	size, ok3 := position(complete)
	if !ok1 || !ok2 || !ok3 || first > last || last >= size || size == math.MaxInt64 { // which stands for more
		return r, 0, false
	}
	return ByteRange{first, last - first + 1}, size, true
}

// IsPart reports whether a status is that of an answer to Range alone (RFC 9110 sections
// 15.3.7 and 15.5.17).
func IsPart(status int) bool {
	return status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable
}

// Version is what a response says of the state of its representation. Date is that of
// the response.
type Version struct {
	ETag, LastModified string
	Date               time.Time
}

// SameVersion reports whether two responses have the same strong validator, so that
// parts of them may be combined (RFC 9110 section 15.3.7.3, RFC 9111 section 3.4).
// Last-Modified is looked at only where neither has an ETag, and is strong if the dates
// of both are at least a second later (section 8.8.2.2).
func SameVersion(a, b Version) bool {
	if a.ETag != "" || b.ETag != "" {
		return ETagStrongMatch(trimOWS(a.ETag), trimOWS(b.ETag))
	}
	x, ok1 := ParseDateAt(a.LastModified, a.Date)
	y, ok2 := ParseDateAt(b.LastModified, b.Date)
	return ok1 && ok2 && x.Equal(y) && a.Date.Sub(x) >= time.Second && b.Date.Sub(y) >= time.Second
}

// OtherVersion reports whether the validators of two responses say that they are of
// different states. What only one of them has says nothing.
func OtherVersion(a, b Version) bool {
	if a.ETag != "" && b.ETag != "" {
		return !ETagWeakMatch(trimOWS(a.ETag), trimOWS(b.ETag))
	}
	x, ok1 := ParseDateAt(a.LastModified, a.Date)
	y, ok2 := ParseDateAt(b.LastModified, b.Date)
	return ok1 && ok2 && !x.Equal(y)
}

// IfRange is the strong validator of a version, as If-Range has it (RFC 9110 section
// 13.1.5); "" if there is none.
func (v Version) IfRange() string {
	switch {
	case !SameVersion(v, v):
		return ""
	case v.ETag != "":
		return trimOWS(v.ETag)
	}
	return trimOWS(v.LastModified)
}

// IsByteranges reports whether a Content-Type is that of several parts in one body (RFC
// 9110 section 14.6).
func IsByteranges(contentType string) bool {
	const name = "multipart/byteranges"
	return len(contentType) >= len(name) && EqualFold(contentType[:len(name)], name)
}

// WantedRanges are those that a GET with this header asks for of a representation in that
// version, of size bytes (RFC 9110 sections 13.1.5 and 14.2).
func WantedRanges(header Header, of Version, size int64) ([]ByteRange, RangeVerdict) {
	lines := header.Values("Range")
	switch len(lines) {
	case 0:
		return nil, RangeNone
	case 1:
	default:
		return nil, RangeVoid
	}
	wanted := lines[0] // a view: the next look at the header may overwrite lines
	if cond := header.Values("If-Range"); len(cond) > 0 &&
		(len(cond) > 1 || !IfRangeMatch(cond[0], of.ETag, of.LastModified, of.Date)) {
		return nil, RangeVoid
	}
	return ParseRange(wanted, size)
}
