package httprules

import (
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields that belong to one connection (RFC 9110 section
// 7.6.1) or that RFC 9111 section 3.1 keeps out of a cache.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// HopByHop reports whether a field is never stored or passed on, whatever
// Connection says. The name may be in any case.
func HopByHop(name string) bool {
	for _, n := range hopByHop {
		if EqualFold(n, name) {
			return true
		}
	}
	return false
}

// ConnectionFields gives the fields that Connection names, which are as little
// stored as itself: in canonical form, sorted, each once.
func ConnectionFields(h Header) []string {
	var out []string
	for _, line := range h.Values("Connection") {
		for line != "" {
			var name string
			name, line, _ = strings.Cut(line, ",")
			// "close" is an option of the connection and no field.
			if name = trimOWS(name); IsToken(name) && !EqualFold(name, "close") {
				out = append(out, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// IsToken reports whether s is a token (RFC 9110 section 5.6.2), as names of fields and
// cookies are.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool { return tokenBytes[c] }

var tokenBytes = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()
