package keys

import (
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// A purge names a public URL, and knows nothing of policies. Its text is host without
// a default port, path and whole query, in one spelling, but no scheme, which is
// another one behind a proxy that ends TLS.

// maxURLBytes is the longest URL for which anything is stored, by whatever policy.
const maxURLBytes = 1 << 20

// schemes begin the primary keys that are made of a URL alone: none is for
// IgnoreScheme.
var schemes = [...]string{"http:", "https:", ""}

// AppendURL appends the URL of req as purges name it, as far as host and parameters
// are part of the policy's keys. It fails where the URL is too long for anything to be
// stored, and where Search says of none that it is equivalent.
func (m Maker) AppendURL(buf []byte, req *Request) ([]byte, bool) {
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > maxURLBytes {
		return buf, false
	}
	buf = append(buf, "//"...)
	if !m.policy.IgnoreHost {
		buf = escapeLower(buf, plainHost(req.Host))
	}
	if !strings.HasPrefix(req.Path, "/") {
		buf = append(buf, "|p:"...)
	}
	buf = escape(buf, respelled(req.Path, &inPath), &pathSafe)
	if m.policy.Search != nil {
		return m.appendSearched(buf, req.RawQuery)
	}
	return appendQuery(buf, respelled(req.RawQuery, &inQuery), &m.policy.Query, false), true
}

// AppendURLKeys appends the keys that may be made of a URL alone, by a policy that
// leaves nothing out. The URL is as AppendURL writes it.
func (m Maker) AppendURLKeys(keys []Key, url string) []Key {
	for _, scheme := range schemes {
		k, _ := m.wire([]byte(m.prefix + "GET:" + scheme + url))
		keys = append(keys, k)
	}
	return keys
}

// URLOf is what follows the scheme of a primary key, "" where a key of that beginning
// is never made of a URL alone.
func URLOf(primary string) string {
	rest, _ := strings.CutPrefix(primary, "GET:")
	for _, scheme := range schemes {
		if url, ok := strings.CutPrefix(rest, scheme); ok && strings.HasPrefix(url, "//") {
			return url
		}
	}
	return ""
}

// plainHost is a host without a default port and the dot of a fully qualified name.
func plainHost(host string) string {
	for _, port := range [...]string{":", ":80", ":443"} {
		if short, ok := strings.CutSuffix(host, port); ok {
			host = short
			break
		}
	}
	if name, port, ok := strings.Cut(host, ".:"); ok {
		return name + ":" + port
	}
	return strings.TrimSuffix(host, ".")
}

// spelling says which bytes of a part of a URL stand for themselves, and which of
// these mean something else where they are escaped.
type spelling struct{ plain, delimiter [256]bool }

var inPath, inQuery = spellingOf("!$&'()*+,;=:@/[]", "/"), spellingOf("!$&'()*+,;=:@/[]?", "&;=+")

func spellingOf(plain, delimiters string) (s spelling) {
	for c := range 256 {
		s.plain[c] = '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.IndexByte("-._~"+plain, byte(c)) >= 0
		s.delimiter[c] = strings.IndexByte(delimiters, byte(c)) >= 0
	}
	return s
}

// respelled is part in the one spelling that purges use: handlers see the same in %61
// and a, %c3 and %C3, and in a query in %20 and +.
func respelled(part string, as *spelling) string {
	i := 0
	for i < len(part) && as.plain[part[i]] {
		i++
	}
	if i == len(part) {
		return part
	}
	b := append(make([]byte, 0, len(part)+16), part[:i]...)
	for ; i < len(part); i++ {
		c, escaped := part[i], false
		if c == '%' && i+2 < len(part) && httprules.HexDigit(part[i+1]) < 16 && httprules.HexDigit(part[i+2]) < 16 {
			c, escaped = httprules.HexDigit(part[i+1])<<4|httprules.HexDigit(part[i+2]), true
			i += 2
		}
		switch {
		case as.plain[c] && !(escaped && as.delimiter[c]):
			b = append(b, c)
		case c == ' ' && as == &inQuery:
			b = append(b, '+')
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return viewOf(b) // nobody else has it
}
