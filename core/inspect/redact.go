package inspect

import (
	"hash/maphash"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden stands for what is not shown.
const hidden = "…"

// maxKeyText is how much of a key is shown, in bytes.
const maxKeyText = 512

// seed makes the IDs of keys good for this process only: with a plain hash, what is
// hidden could be guessed.
var seed = maphash.MakeSeed()

func keyHash(wire string) uint64 { return maphash.String(seed, wire) }

func keyOf(wire string, hash uint64) Key {
	id := strconv.FormatUint(hash>>16|1<<48, 16) // of one length
	return Key{Text: keyText(wire), ID: id[1:]}
}

// keyText is what may be shown of a key in the store, or of its beginning: not the values
// of parameters, fields and cookies, no partition, nothing that a generator has made, and
// no checksum of any of them.
func keyText(wire string) string {
	primary, rest := wire, ""
	if _, after, ok := strings.Cut(wire, ":2:{"); ok { // braces are escaped in parts
		primary, rest, _ = strings.Cut(after, "}")
	}
	primary, long := cutSum(strings.TrimPrefix(primary, "GET:"))
	parts := strings.Split(primary, "|")
	var b strings.Builder
	b.WriteString(redactURL(parts[0]))
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, ":")
		switch name {
		case "p":
			b.WriteString(redactURL(value))
		case "t":
			b.WriteString(" as " + redactURL(value))
		case "k":
			b.WriteString(" generated=" + hidden)
		case "u", "v":
			b.WriteString(" partition=" + hidden)
		case "h", "f":
			field, _, _ := strings.Cut(value, "=")
			b.WriteString(" " + field + ": " + hidden)
		case "c":
			cookie, _, _ := strings.Cut(value, "=")
			b.WriteString(" cookie " + cookie + "=" + hidden)
		}
	}
	if long {
		b.WriteString("~" + hidden)
	}
	switch {
	case strings.HasSuffix(rest, ":lock"):
		b.WriteString(" (lock)")
	case strings.HasPrefix(rest, ":"):
		b.WriteString(" (variant)")
	}
	return clean(b.String(), maxKeyText)
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

// redactURL leaves of a URL, or of a part of one, what is no secret by its place: no user
// and password, no values of parameters, no fragment.
func redactURL(u string) string {
	u, _, _ = strings.Cut(u, "#")
	u, query, asks := strings.Cut(u, "?")
	scheme, rest, ok := strings.Cut(u, "//")
	if ok && (scheme == "" || strings.HasSuffix(scheme, ":")) {
		authority, path := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			authority = hidden + authority[i:]
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
			b.WriteString(name + "=" + hidden)
		case !ok && len(name) <= maxBare:
			b.WriteString(name)
		default:
			b.WriteString(hidden)
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

// redactText is for what a library says: URLs and keys in it are redacted.
func redactText(s string) string {
	s = keyInText.ReplaceAllStringFunc(s, keyText)
	s = urlInText.ReplaceAllStringFunc(s, redactURL)
	return asking.ReplaceAllStringFunc(s, redactURL)
}

// redactField is what may be shown of a field of a stored response.
func redactField(f Field) Field {
	f.Name = clean(f.Name, 100)
	switch http.CanonicalHeaderKey(f.Name) {
	case "Set-Cookie", "Set-Cookie2", "Cookie", "Authorization", "Proxy-Authorization", "Www-Authenticate", "Proxy-Authenticate",
		"Authentication-Info", "Proxy-Authentication-Info":
		f.Value = hidden
	case "Location", "Content-Location", "Refresh", "Link", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Report-To", "Reporting-Endpoints", "Cache-Status":
		f.Value = clean(redactText(f.Value), 1000)
	default:
		f.Value = clean(f.Value, 1000)
	}
	return f
}

func redactFields(fields []Field) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = redactField(f)
	}
	return out
}

func redactKey(k *Key) {
	if k != nil {
		*k = keyOf(k.Text, keyHash(k.Text))
	}
}

// maxEntries is how many variants are shown.
const maxEntries = 100

func redactLookup(l *Lookup) {
	if l.Found == nil {
		l.Found = []Found{}
	}
	l.URL = clean(redactURL(l.URL), maxKeyText)
	for i := range l.Found {
		f := &l.Found[i]
		redactKey(&f.Key)
		if n := len(f.Entries); n > maxEntries {
			f.Entries, f.More = f.Entries[:maxEntries], n-maxEntries
		} else if n == 0 {
			f.Entries = []Entry{}
		}
		f.Because = clean(redactText(f.Because), 500)
		for j := range f.Vary {
			f.Vary[j] = clean(f.Vary[j], 100)
		}
		for j := range f.Entries {
			e := &f.Entries[j]
			redactKey(&e.Key)
			e.Because, e.Problem = clean(redactText(e.Because), 500), clean(redactText(e.Problem), 500)
			e.Header = redactFields(e.Header)
			for k, s := range e.Selecting { // of the request that was stored: values may be anybody's
				e.Selecting[k] = Field{Name: clean(s.Name, 100), Value: hidden}
			}
			for k := range e.Tags {
				t := &e.Tags[k]
				if t.Kind == "url" {
					t.Name = redactURL(t.Name)
				}
				t.Name = clean(t.Name, 256)
			}
		}
	}
}

func redactExplanation(x *Explanation) {
	x.URL = clean(redactURL(x.URL), maxKeyText)
	redactKey(x.Key)
	x.Route, x.Policy = clean(x.Route, 200), clean(x.Policy, 100)
	x.Because = clean(redactText(x.Because), 500)
	x.Header = redactFields(x.Header)
	for i := range x.Steps {
		s := &x.Steps[i]
		s.Step, s.Result = clean(s.Step, 100), clean(redactText(s.Result), 500)
	}
}

// clean makes visible what would not be, or would turn text around: control characters,
// bidirectional ones, and bytes that are none. It cuts what is longer than most bytes.
func clean(s string, most int) string {
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
			b.WriteString(hidden + " (" + strconv.Itoa(len(s)) + " bytes)")
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

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
