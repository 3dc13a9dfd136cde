package keys

import "strings"

// The bytes that stand for themselves; all others become '^' and two hex
// digits. '^', '|' and the braces are never among them: they are the key's own.
var (
	valueSafe = safeBytes("")
	querySafe = safeBytes("")
	pathSafe  = safeBytes("?")
	hostSafe  = safeBytes("?/")
)

func safeBytes(but string) (t [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		t[c] = strings.IndexByte("^|{}"+but, c) < 0
	}
	return t
}

const upperHex = "0123456789ABCDEF"

// AppendEscaped appends s as a part of a key: printable ASCII without '|' and braces.
func AppendEscaped(buf []byte, s string) []byte { return escape(buf, s, &valueSafe) }

func escape(buf []byte, s string, safe *[256]bool) []byte {
	i := 0
	for i < len(s) && safe[s[i]] {
		i++
	}
	buf = append(buf, s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; safe[c] {
			buf = append(buf, c)
		} else {
			buf = append(buf, '^', upperHex[c>>4], upperHex[c&15])
		}
	}
	return buf
}

// escapeLower is escape for a host, whose case means nothing (RFC 9110 section 4.2.3).
func escapeLower(buf []byte, s string) []byte {
	n := len(buf)
	buf = escape(buf, s, &hostSafe)
	for i := n; i < len(buf); i++ {
		if c := buf[i]; 'A' <= c && c <= 'Z' {
			if i >= 1 && buf[i-1] == '^' || i >= 2 && buf[i-2] == '^' {
				continue // a hex digit of ours
			}
			buf[i] = c + 'a' - 'A'
		}
	}
	return buf
}
