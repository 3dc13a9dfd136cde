package httprules

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CacheStatus is one member of the Cache-Status field (RFC 9211).
type CacheStatus struct {
	Name              string
	Hit               bool
	Fwd               string // a token; without it FwdStatus, Stored and Collapsed mean nothing and are left out
	FwdStatus         int
	TTL               int64 // seconds
	HasTTL            bool
	Stored, Collapsed bool
	Key, Detail       string
}

// Append appends the member in its structured form, like
// "cacheaside; hit; ttl=27".
func (s CacheStatus) Append(dst []byte) []byte {
	dst = appendTokenOrString(dst, s.Name)
	switch {
	case s.Hit: // excludes fwd (RFC 9211 section 2.2)
		dst = append(dst, "; hit"...)
	case isSFToken(s.Fwd):
		dst = append(append(dst, "; fwd="...), s.Fwd...)
		if s.FwdStatus != 0 {
			dst = appendInteger(append(dst, "; fwd-status="...), int64(s.FwdStatus))
		}
	}
	if s.HasTTL {
		dst = appendInteger(append(dst, "; ttl="...), s.TTL)
	}
	if !s.Hit && isSFToken(s.Fwd) {
		if s.Stored {
			dst = append(dst, "; stored"...)
		}
		if s.Collapsed {
			dst = append(dst, "; collapsed"...)
		}
	}
	if s.Key != "" {
		dst = appendString(append(dst, "; key="...), s.Key)
	}
	if s.Detail != "" {
		dst = appendTokenOrString(append(dst, "; detail="...), s.Detail)
	}
	return dst
}

func appendTokenOrString(dst []byte, s string) []byte {
	if isSFToken(s) {
		return append(dst, s...)
	}
	return appendString(dst, s)
}

// appendString appends a String of RFC 9651 section 3.3.3. It has no way to
// hold anything but printable ASCII.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
			dst = append(dst, '?')
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		default:
			dst = append(dst, byte(r))
		}
	}
	return append(dst, '"')
}

// appendInteger appends an Integer of RFC 9651 section 3.3.1: 15 digits.
func appendInteger(dst []byte, n int64) []byte {
	const limit = 999_999_999_999_999
	return strconv.AppendInt(dst, min(max(n, -limit), limit), 10)
}

// isSFToken reports whether s is a Token of RFC 9651 section 3.3.4.
func isSFToken(s string) bool {
	if s == "" {
		return false
	}
	if c := lowerByte(s[0]); s[0] != '*' && (c < 'a' || c > 'z') {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != ':' && c != '/' && !isTokenByte(c) {
			return false
		}
	}
	return true
}

// ParseCacheStatus reads the members of the Cache-Status field of which lines are the
// lines, in their order: the last one is of the cache nearest to the client. What RFC 9211
// does not define is left out, a parameter of another type than its own as well. It fails
// where the field is no list by RFC 9651.
func ParseCacheStatus(lines []string) (members []CacheStatus, ok bool) {
	for _, line := range lines {
		s := strings.Trim(line, " ")
		for s != "" { // an empty line is an empty list
			var m CacheStatus
			if m, s, ok = parseMember(s); !ok {
				return nil, false
			}
			members = append(members, m)
			if s = strings.TrimLeft(s, " \t"); s == "" {
				break
			}
			rest, comma := strings.CutPrefix(s, ",")
			if s = strings.TrimLeft(rest, " \t"); !comma || s == "" {
				return nil, false
			}
		}
	}
	return members, true
}

func parseMember(s string) (m CacheStatus, rest string, ok bool) {
	name, s, ok := bareItem(s)
	if m.Name = name.value; !ok || name.kind != sfToken && name.kind != sfString {
		return m, s, false
	}
	for {
		after, more := strings.CutPrefix(s, ";")
		if !more {
			return m, s, true
		}
		after = strings.TrimLeft(after, " ")
		n := 0
		for n < len(after) && isSFKeyByte(after[n], n == 0) {
			n++
		}
		if n == 0 {
			return m, s, false
		}
		key := after[:n]
		s = after[n:]
		value := sfItem{sfBoolean, "1"}
		if given, has := strings.CutPrefix(s, "="); has {
			if value, s, ok = bareItem(given); !ok {
				return m, s, false
			}
		}
		m.set(key, value)
	}
}

// set sets a parameter: of several with one name the last one counts.
func (s *CacheStatus) set(key string, v sfItem) {
	number := func() int64 {
		n, _ := strconv.ParseInt(v.value, 10, 64) // 15 digits
		return n
	}
	text := func() string {
		if v.kind == sfToken || v.kind == sfString {
			return v.value
		}
		return ""
	}
	flag := v.kind == sfBoolean && v.value == "1"
	switch key {
	case "hit":
		s.Hit = flag
	case "fwd":
		s.Fwd = ""
		if v.kind == sfToken {
			s.Fwd = v.value
		}
	case "fwd-status":
		s.FwdStatus = 0
		if v.kind == sfInteger {
			s.FwdStatus = int(number())
		}
	case "ttl":
		s.TTL, s.HasTTL = 0, v.kind == sfInteger
		if s.HasTTL {
			s.TTL = number()
		}
	case "stored":
		s.Stored = flag
	case "collapsed":
		s.Collapsed = flag
	case "key":
		s.Key = ""
		if v.kind == sfString {
			s.Key = v.value
		}
	case "detail":
		s.Detail = text()
	}
}

// sfItem is a bare item of RFC 9651 section 3.3.
type sfItem struct {
	kind  sfKind
	value string
}

type sfKind uint8

const (
	sfOther sfKind = iota
	sfToken
	sfString
	sfInteger
	sfBoolean // "0" or "1"
)

// bareItem reads one (RFC 9651 section 4.2.3.1).
func bareItem(s string) (item sfItem, rest string, ok bool) {
	if s == "" {
		return item, s, false
	}
	switch c := s[0]; {
	case c == '"':
		text, rest, ok := sfText(s[1:])
		return sfItem{sfString, text}, rest, ok
	case c == '-' || isDigit(c):
		return sfNumber(s)
	case c == '?':
		if len(s) < 2 || s[1] != '0' && s[1] != '1' {
			return item, s, false
		}
		return sfItem{sfBoolean, s[1:2]}, s[2:], true
	case c == ':':
		inside, rest, ok := strings.Cut(s[1:], ":")
		for i := range len(inside) {
			if c := inside[i]; c != '+' && c != '/' && c != '=' && !isAlnum(c) {
				return item, s, false
			}
		}
		if ok {
			_, err := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(inside, "="))
			ok = err == nil
		}
		return sfItem{}, rest, ok
	case c == '@':
		n, rest, ok := sfNumber(s[1:])
		return sfItem{}, rest, ok && n.kind == sfInteger
	case c == '%':
		return sfDisplay(s[1:])
	case c == '*' || lowerByte(c) >= 'a' && lowerByte(c) <= 'z':
		n := 1
		for n < len(s) && (s[n] == ':' || s[n] == '/' || isTokenByte(s[n])) {
			n++
		}
		return sfItem{sfToken, s[:n]}, s[n:], true
	}
	return item, s, false
}

// sfText reads what follows the quotation mark of a String.
func sfText(s string) (text, rest string, ok bool) {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return string(b), s[i+1:], true
		case c < ' ' || c > '~':
			return "", s, false
		case c == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", s, false
			}
			b = append(b, s[i])
		default:
			b = append(b, c)
		}
	}
	return "", s, false
}

// sfNumber reads an Integer, or a Decimal, of which only the end matters.
func sfNumber(s string) (item sfItem, rest string, ok bool) {
	n := 0
	if strings.HasPrefix(s, "-") {
		n = 1
	}
	start := n
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	whole := n - start
	if whole == 0 || n == len(s) || s[n] != '.' {
		return sfItem{sfInteger, s[:n]}, s[n:], whole > 0 && whole <= 15
	}
	start = n + 1
	for n = start; n < len(s) && isDigit(s[n]); {
		n++
	}
	return sfItem{}, s[n:], whole <= 12 && n > start && n-start <= 3
}

// sfDisplay skips what follows the percent sign of a Display String.
func sfDisplay(s string) (item sfItem, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, `"`)
	if !ok {
		return item, s, false
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return item, s[i+1:], utf8.Valid(b)
		case c < ' ' || c > '~':
			return item, s, false
		case c == '%':
			if i+2 >= len(s) || !isLowerHex(s[i+1]) || !isLowerHex(s[i+2]) {
				return item, s, false
			}
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b = append(b, byte(n))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return item, s, false
}

func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isLowerHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' }
func isAlnum(c byte) bool    { return isDigit(c) || lowerByte(c) >= 'a' && lowerByte(c) <= 'z' }

// isSFKeyByte reports whether c is one of a key of RFC 9651 section 3.1.2.
func isSFKeyByte(c byte, first bool) bool {
	return c >= 'a' && c <= 'z' || c == '*' || !first && (isDigit(c) || c == '_' || c == '-' || c == '.')
}
