package httprules

import (
	"strings"
	"unsafe"
)

// The encoding of application/x-www-form-urlencoded, which queries have.

// FormDecoded undoes the encoding of a name or a value in a query. What is no escape
// sequence stays as it is, as with fasthttp, and makes it false; net/url leaves such a
// parameter out, and agrees on all others.
func FormDecoded(s string) (string, bool) {
	i := strings.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	valid := true
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c != '%':
			b = append(b, c)
		case i+2 < len(s) && HexDigit(s[i+1]) < 16 && HexDigit(s[i+2]) < 16:
			b = append(b, HexDigit(s[i+1])<<4|HexDigit(s[i+2]))
			i += 2
		default:
			b, valid = append(b, c), false
		}
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), valid // nobody else has it
}

// appendFormEncoded escapes everything but the unreserved (RFC 3986 section 2.3).
func appendFormEncoded(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// HexDigit is the value of a hex digit, or 16.
func HexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
