package httprules

import (
	"encoding/binary"
	"net/http"
	"net/textproto"
	"slices"
	"unsafe"
)

// CanonicalName reports whether the letters of a field name are in the canonical
// case: capital at the beginning and behind a hyphen, small everywhere else. It
// is asked of every field of every request, so it looks at eight bytes at a time.
func CanonicalName(name string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(name), len(name))
	begins := uint64(0x80) // in the lowest byte: the next one begins a word
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		low := x &^ high
		// The high bit of each byte says what it is.
		small := (low + (0x80-'a')*ones) &^ (low + (0x80-'z'-1)*ones) &^ x & high
		capital := (low + (0x80-'A')*ones) &^ (low + (0x80-'Z'-1)*ones) &^ x & high
		other := low ^ '-'*ones
		hyphen := ^(other + 0x7f*ones) &^ x & high
		first := hyphen<<8 | begins
		if small&first|capital&^first != 0 {
			return false
		}
		begins = hyphen >> 56
		b = b[8:]
	}
	begin := begins != 0
	for _, c := range b {
		if begin && 'a' <= c && c <= 'z' || !begin && 'A' <= c && c <= 'Z' {
			return false
		}
		begin = c == '-'
	}
	return true
}

// Fold returns a header whose names are canonical, with the lines of all
// spellings of a name together: h itself where there is nothing to do. The
// canonical spelling comes first, for net/http's own methods see no other, then
// the others in the order of bytes.
func Fold(h http.Header) http.Header {
	var odd []string
	for name := range h {
		if !CanonicalName(name) {
			odd = append(odd, name)
		}
	}
	if len(odd) == 0 {
		return h
	}
	slices.Sort(odd)
	out := make(http.Header, len(h))
	for name, lines := range h {
		if CanonicalName(name) {
			out[name] = slices.Clip(lines)
		}
	}
	for _, name := range odd {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		out[canonical] = append(out[canonical], h[name]...)
	}
	return out
}

// EqualFold is strings.EqualFold for ASCII alone: names and hosts in HTTP have
// no other case, and U+212A (KELVIN SIGN) is no k.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// ToLower is strings.ToLower for ASCII alone.
func ToLower(s string) string {
	for i := range len(s) {
		if lowerByte(s[i]) != s[i] {
			b := []byte(s)
			for i, c := range b {
				b[i] = lowerByte(c)
			}
			return string(b)
		}
	}
	return s
}

// TrimOWS removes optional whitespace (RFC 9110 section 5.6.3: spaces and tabs,
// and nothing else) on both sides.
func TrimOWS(s string) string { return trimOWS(s) }
