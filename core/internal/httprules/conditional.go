package httprules

import (
	"strings"
	"time"
)

// NotModified evaluates the preconditions of a GET or HEAD request against a
// stored response (RFC 9110 section 13.2.2, RFC 9111 section 4.3.2): true is a
// 304. A missing Last-Modified is stood in for by date: that of the response, or of its
// arrival. Nobody knows when it was modified before that, so a client whose copy is older
// than date gets it anew. A date from before there was HTTP is that of an origin without
// a clock, which would make everything unmodified.
func NotModified(req Header, etag, lastModified string, date time.Time) bool {
	if lines := req.Values("If-None-Match"); len(lines) > 0 {
		return matchesAny(lines, trimOWS(etag))
	}
	lines := req.Values("If-Modified-Since")
	if len(lines) != 1 { // RFC 9110 section 13.1.3: a list is no date
		return false
	}
	since, ok := ParseDateAt(lines[0], date)
	if !ok {
		return false
	}
	if modified, ok := ParseDateAt(lastModified, date); ok {
		return !modified.After(since)
	}
	return date.Year() >= 1990 && !date.Truncate(time.Second).After(since)
}

// matchesAny compares etag weakly with the list in If-None-Match. A stored
// response always matches "*".
func matchesAny(lines []string, etag string) bool {
	if len(lines) == 1 && trimOWS(lines[0]) == "*" {
		return true
	}
	if etag == "" {
		return false
	}
	for _, line := range lines {
		// A tag with a comma outside quotation marks is no list to us if it
		// came back just as it was sent.
		if trimOWS(line) == etag {
			return true
		}
		for line != "" {
			var tag string
			if tag, line = cutTag(line); ETagWeakMatch(tag, etag) {
				return true
			}
		}
	}
	return false
}

// cutTag cuts the first member off a list of entity tags. The comma may occur
// within a tag, so quotation marks count; there are no escapes (RFC 9110
// section 8.8.3). What is no entity tag goes up to the next comma.
func cutTag(s string) (tag, rest string) {
	for s != "" && (s[0] == ',' || isOWS(s[0])) {
		s = s[1:]
	}
	end := 0
	if open := len(s) - len(strings.TrimPrefix(s, "W/")); open < len(s) && s[open] == '"' {
		// Without a partner in the rest of the line this is looked for once
		// only, as there is no further mark to begin a tag with.
		if n := strings.IndexByte(s[open+1:], '"'); n >= 0 {
			end = open + 1 + n + 1
		}
	}
	end += commaOrLen(s[end:])
	return trimOWS(s[:end]), s[end:]
}

// ETagWeakMatch compares two entity tags by RFC 9110 section 8.8.3.2. Tags in
// another form than that of the RFC match if they are the same text.
func ETagWeakMatch(a, b string) bool {
	return a != "" && opaque(a) == opaque(b)
}

// ETagStrongMatch compares two entity tags by RFC 9110 section 8.8.3.2. Tags in
// another form match nothing: they might have been meant as weak.
func ETagStrongMatch(a, b string) bool {
	return a == b && len(a) >= 2 && a[0] == '"' && strings.IndexByte(a[1:], '"') == len(a)-2
}

func opaque(tag string) string {
	if strings.HasPrefix(tag, `W/"`) {
		return tag[len("W/"):]
	}
	return tag
}

// IfRangeMatch evaluates If-Range (RFC 9110 section 13.1.5): false means that
// Range is to be ignored. A date counts only if it is a strong validator, which
// takes a Date at least a second after Last-Modified (section 8.8.2.2).
func IfRangeMatch(ifRange, etag, lastModified string, date time.Time) bool {
	ifRange = trimOWS(ifRange)
	if strings.IndexByte(ifRange, '"') >= 0 {
		return ETagStrongMatch(ifRange, trimOWS(etag))
	}
	at, ok := ParseDateAt(ifRange, date)
	if !ok {
		return false
	}
	modified, ok := ParseDateAt(lastModified, date)
	return ok && at.Equal(modified) && date.Sub(modified) >= time.Second
}
