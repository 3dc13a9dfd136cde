package httprules

// IsToken reports whether s is a token (RFC 9110 section 5.6.2), as names of
// fields and cookies are.
func IsToken(s string) bool { return isToken(s) }
