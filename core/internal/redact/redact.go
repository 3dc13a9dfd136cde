// Package redact makes what clients, handlers and libraries have said fit to be shown to an
// operator: without what may be a secret by its place, and readable whatever is in it.
package redact

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden stands for what is not shown.
const Hidden = "…"

// MaxKey is how much of a key is shown, in bytes.
const MaxKey = 512

// Key is what may be shown of a key in the store, or of its beginning: not the values
// of parameters, fields and cookies, no partition, nothing that a generator has made, and
// no checksum of any of them.
func Key(wire string) string {
	primary, rest := wire, ""
	if _, after, ok := strings.Cut(wire, ":2:{"); ok { // braces are escaped in parts
		primary, rest, _ = strings.Cut(after, "}")
	}
	primary, long := cutSum(strings.TrimPrefix(primary, "GET:"))
	var b strings.Builder
	for _, method := range [...]string{"QUERY", "POST"} {
		if rest, ok := strings.CutPrefix(primary, method+":"); ok {
			b.WriteString(method + " ")
			primary = rest
		}
	}
	parts := strings.Split(primary, "|")
	b.WriteString(URL(parts[0]))
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, ":")
		switch name {
		case "p":
			b.WriteString(URL(value))
		case "t":
			b.WriteString(" as " + URL(value))
		case "k":
			b.WriteString(" generated=" + Hidden)
		case "b":
			b.WriteString(" content=" + Hidden)
		case "u", "v":
			b.WriteString(" partition=" + Hidden)
		case "h", "f":
			field, _, _ := strings.Cut(value, "=")
			b.WriteString(" " + field + ": " + Hidden)
		case "c":
			cookie, _, _ := strings.Cut(value, "=")
			b.WriteString(" cookie " + cookie + "=" + Hidden)
		}
	}
	if long {
		b.WriteString("~" + Hidden)
	}
	switch {
	case strings.HasSuffix(rest, ":lock"):
		b.WriteString(" (lock)")
	case strings.HasPrefix(rest, ":"):
		b.WriteString(" (variant)")
	}
	return Clean(b.String(), MaxKey)
}

// cutSum takes off the checksum that ends a key which was too long.
func cutSum(s string) (string, bool) {
	const sum = 1 + 64
	if n := len(s) - sum; n >= 0 && s[n] == '~' && strings.Trim(s[n+1:], "0123456789abcdef") == "" {
		return s[:n], true
	}
	return s, false
}

// maxBare is how long a parameter without a value may be that is shown: one that is
// longer is perhaps no name.
const maxBare = 16

// URL leaves of a URL, or of a part of one, what is no secret by its place: no user
// and password, no values of parameters, no fragment.
func URL(u string) string {
	u, _, _ = strings.Cut(u, "#")
	u, query, asks := strings.Cut(u, "?")
	scheme, rest, ok := strings.Cut(u, "//")
	if ok && (scheme == "" || strings.HasSuffix(scheme, ":")) {
		authority, path := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			authority = Hidden + authority[i:]
		}
		u = scheme + "//" + authority + path
	}
	if !asks {
		return u
	}
	var b strings.Builder
	b.WriteString(u)
	sep := byte('?')
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, ok := strings.Cut(pair, "=")
		b.WriteByte(sep)
		sep = '&'
		switch {
		case ok && len(name) <= 2*maxBare:
			b.WriteString(name + "=" + Hidden)
		case !ok && len(name) <= maxBare:
			b.WriteString(name)
		default:
			b.WriteString(Hidden)
		}
	}
	if sep == '?' {
		b.WriteByte(sep)
	}
	return b.String()
}

var (
	keyInText = regexp.MustCompile(`[\w.-]*:2:\{[^}\s]*(\}(:[0-9a-z]+)?)?`)
	urlInText = regexp.MustCompile(`(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//[^\s"'<>\x60]+`)
	asking    = regexp.MustCompile(`\?[^\s"'<>\x60]+`)
)

// Text is for what a library says: URLs and keys in it are redacted, and no more than
// most bytes are shown.
func Text(s string, most int) string {
	s = keyInText.ReplaceAllStringFunc(s, Key)
	s = urlInText.ReplaceAllStringFunc(s, URL)
	s = asking.ReplaceAllStringFunc(s, URL)
	return Clean(strings.ReplaceAll(s, "\n", "; "), most) // of errors that were joined
}

// Field is what may be shown of the value of a stored response's field.
func Field(name, value string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Set-Cookie", "Set-Cookie2", "Cookie", "Authorization", "Proxy-Authorization", "Www-Authenticate", "Proxy-Authenticate",
		"Authentication-Info", "Proxy-Authentication-Info":
		return Hidden
	case "Location", "Content-Location", "Refresh", "Link", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Report-To", "Reporting-Endpoints", "Cache-Status":
		return Text(value, 1000)
	}
	return Clean(value, 1000)
}

// Clean makes visible what would not be, or would turn text around: control characters,
// bidirectional ones, and bytes that are none. It cuts what is longer than most bytes.
func Clean(s string, most int) string {
	plain := len(s) <= most
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if b.Len() >= most {
			b.WriteString(Hidden + " (" + strconv.Itoa(len(s)) + " bytes)")
			break
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case !unicode.IsPrint(r): // also what turns text around
			b.WriteString(`\u{` + strconv.FormatInt(int64(r), 16) + "}")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
