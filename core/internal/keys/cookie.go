package keys

import "strings"

// maxCookies is how many cookies are taken apart. Readers have limits of their own
// (that of net/http may be set from outside), beyond which they see none. So a field
// with more goes into the key as it came.
const maxCookies = 128

// appendCookie writes all of the field that any reader could take for the cookie,
// as it came: frameworks differ in which of several they take, in what they trim
// and in whether there has to be an '='.
func appendCookie(buf []byte, lines []string, name string) []byte {
	n := len(lines)
	for _, line := range lines {
		n += strings.Count(line, ";")
	}
	sep := byte('=')
	for _, line := range lines {
		if n > maxCookies {
			buf = escape(append(buf, "|="...), line, &valueSafe)
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			if CookieName(pair) == name {
				buf = escape(append(buf, sep), strings.Trim(pair, " "), &valueSafe) // all trim spaces
				sep = ';'
			}
		}
	}
	return buf
}

// CookieName is the name of the cookie that a reader could take pair for, a part of a
// Cookie field between semicolons. An '=' in front may get lost where fasthttp has put
// a field together again.
func CookieName(pair string) string {
	for pair != "" && (pair[0] <= ' ' || pair[0] == '=') {
		pair = pair[1:]
	}
	name, _, _ := strings.Cut(pair, "=")
	for name != "" && name[len(name)-1] <= ' ' {
		name = name[:len(name)-1]
	}
	return name
}
