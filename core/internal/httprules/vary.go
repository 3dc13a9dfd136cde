package httprules

import (
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// maxVaryNames bounds what one response can make a key of.
const maxVaryNames = 16

// VaryNames gives the names in Vary, over all lines: in canonical form, sorted,
// each once. Unmatchable is true where no request can be known to match (RFC 9111
// section 4.1): "*", something that is no field name, or more than 16 names.
func VaryNames(h Header) (names []string, unmatchable bool) {
	for _, line := range h.Values("Vary") {
		for line != "" {
			var name string
			name, line, _ = strings.Cut(line, ",")
			if name = trimOWS(name); name == "" {
				continue
			}
			if name == "*" || !isToken(name) {
				return nil, true
			}
			if name = textproto.CanonicalMIMEHeaderKey(name); slices.Contains(names, name) {
				continue
			}
			if len(names) == maxVaryNames {
				return nil, true
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, false
}

// AppendSelected appends the value of a request field by which a variant is
// chosen: "-" where the field is absent, otherwise the normalised value as
// "<length>:<value>", so that values in a row cannot be taken for others.
//
// Requests that differ only in what has no meaning get the same value (RFC 9111
// section 4.1). What normalising does, and why a response to the one request is
// right for the other:
//
//   - Lines are joined by commas: RFC 9110 section 5.3 makes that the same.
//   - Whitespace around commas is dropped, outside of quoted strings: RFC 9110
//     section 5.6.1 gives it no meaning in a list. Fields that are known to be
//     no lists keep it.
//   - Accept-Encoding and Accept-Language: see there.
//
// A value that cannot be read is taken as it came.
func AppendSelected(dst []byte, name string, req Header) []byte {
	lines := req.Values(name)
	if len(lines) == 0 {
		return append(dst, '-')
	}
	start := len(dst)
	switch name {
	case "Accept-Encoding":
		dst = appendCodings(dst, lines)
	case "Accept-Language":
		dst = appendLanguages(dst, lines)
	case "Cookie":
		dst = appendJoined(dst, lines, "; ") // RFC 9113 section 8.2.3
	case "Authorization", "Proxy-Authorization", "From", "Host", "Origin", "Referer", "User-Agent":
		dst = appendJoined(dst, lines, ", ")
	default:
		dst = appendList(dst, lines)
	}
	var buf [20]byte
	length := append(strconv.AppendInt(buf[:0], int64(len(dst)-start), 10), ':')
	return slices.Insert(dst, start, length...)
}

// appendJoined joins lines and changes nothing else.
func appendJoined(dst []byte, lines []string, sep string) []byte {
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, sep...)
		}
		dst = append(dst, trimOWS(line)...)
	}
	return dst
}

// appendList joins lines and writes every comma outside of a quoted string as
// ", ". Quoting goes on over the end of a line, as it does in the joined value.
func appendList(dst []byte, lines []string) []byte {
	start := len(dst)
	quoted := false
	for n, line := range lines {
		if n > 0 {
			if !quoted {
				dst = trimEnd(dst, start)
			}
			dst = append(dst, ", "...)
		}
		line = trimOWS(line)
		for i := 0; i < len(line); i++ {
			c := line[i]
			switch {
			case c == '"':
				quoted = !quoted
			case quoted && c == '\\' && i+1 < len(line):
				dst = append(dst, c)
				i++
				c = line[i]
			case !quoted && c == ',':
				dst = append(trimEnd(dst, start), ',')
				c = ' '
				for i+1 < len(line) && isOWS(line[i+1]) {
					i++
				}
			}
			dst = append(dst, c)
		}
	}
	return dst
}

func trimEnd(dst []byte, start int) []byte {
	for len(dst) > start && isOWS(dst[len(dst)-1]) {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// preference is a member of Accept-Encoding or Accept-Language.
type preference struct {
	name   string // in any case
	weight int    // in thousandths
}

// maxPreferences is what is sorted; a longer list is taken as it came.
const maxPreferences = 24

// parsePreferences reads a list of tokens with optional weights (RFC 9110
// section 12.4.2). False: it is none, or too long.
func parsePreferences(buf *[maxPreferences]preference, lines []string) ([]preference, bool) {
	out := buf[:0]
	for _, line := range lines {
		for line != "" {
			var member string
			member, line, _ = strings.Cut(line, ",")
			if member = trimOWS(member); member == "" {
				continue
			}
			name, param, weighted := strings.Cut(member, ";")
			p := preference{trimOWS(name), 1000}
			ok := true
			if weighted {
				p.weight, ok = parseWeight(trimOWS(param))
			}
			if !ok || !isToken(p.name) || len(out) == len(buf) {
				return nil, false
			}
			out = append(out, p)
		}
	}
	return out, true
}

// parseWeight parses "q=0.123" into thousandths.
func parseWeight(s string) (int, bool) {
	if len(s) < 3 || len(s) > 7 || lowerByte(s[0]) != 'q' || s[1] != '=' || s[2] != '0' && s[2] != '1' ||
		len(s) > 3 && s[3] != '.' {
		return 0, false
	}
	n := int(s[2]-'0') * 1000
	unit := 100
	for i := 4; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n += int(c) * unit
		unit /= 10
	}
	return n, n <= 1000
}

// appendCodings appends the set of the codings that the client accepts (RFC
// 9110 section 12.5.3), sorted. Weights are left out: a coding with a lower one
// is still accepted, so that no client gets what it cannot decode. A coding
// with weight 0 is not accepted, just as one that is not mentioned: it is left
// out too, but for identity and "*", which change what is accepted without
// being mentioned, and where "*" accepts all others.
func appendCodings(dst []byte, lines []string) []byte {
	var buf [maxPreferences]preference
	list, ok := parsePreferences(&buf, lines)
	if !ok {
		return appendUnread(dst, lines)
	}
	anyElse, noneElse := false, false
	for i, p := range list {
		switch p.name[0] {
		case '*':
			if p.name == "*" {
				anyElse, noneElse = anyElse || p.weight > 0, noneElse || p.weight == 0
			}
		case 'x', 'X': // RFC 9110 section 8.4.1
			if strings.EqualFold(p.name, "x-gzip") || strings.EqualFold(p.name, "x-compress") {
				list[i].name = p.name[len("x-"):]
			}
		}
	}
	sortPreferences(list, func(a, b *preference) bool { return compareFold(a.name, b.name) < 0 })
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; compareFold(a.name, b.name) == 0 && (a.weight == 0) != (b.weight == 0) {
			return appendUnread(dst, lines) // it contradicts itself
		}
	}
	start := len(dst)
	for i, p := range list {
		identity := strings.EqualFold(p.name, "identity")
		switch {
		case i > 0 && compareFold(list[i-1].name, p.name) == 0:
			continue
		case p.weight == 0 && !identity && p.name != "*" && !anyElse:
			continue
		case p.weight > 0 && identity && !noneElse: // accepted in any case
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = appendPreference(dst, p)
	}
	return dst
}

// appendLanguages appends the language ranges of Accept-Language (RFC 9110
// section 12.5.4) in lower case and in the order of their weights, which is
// what a choice is made by; the weights themselves are left out. Equal weights
// are equal preference whatever their order: such ranges are sorted and joined
// by '=' so that they are not taken for an order. What is not wanted comes
// last, and is kept: it may be a part of what is.
func appendLanguages(dst []byte, lines []string) []byte {
	var buf [maxPreferences]preference
	list, ok := parsePreferences(&buf, lines)
	if !ok {
		return appendUnread(dst, lines)
	}
	sortPreferences(list, func(a, b *preference) bool {
		if a.weight != b.weight {
			return a.weight > b.weight
		}
		return compareFold(a.name, b.name) < 0
	})
	for i, p := range list {
		if i > 0 {
			sep := byte(',')
			if p.weight == list[i-1].weight {
				sep = '='
			}
			dst = append(dst, sep)
		}
		dst = appendPreference(dst, p)
	}
	return dst
}

// appendUnread takes a list as it came. The mark in front keeps it apart from
// lists that could be read.
func appendUnread(dst []byte, lines []string) []byte {
	return appendList(append(dst, '?'), lines)
}

func appendPreference(dst []byte, p preference) []byte {
	for i := range len(p.name) {
		dst = append(dst, lowerByte(p.name[i]))
	}
	if p.weight == 0 {
		dst = append(dst, ";q=0"...)
	}
	return dst
}

// sortPreferences sorts by insertion: these lists are short, and this happens
// on every hit.
func sortPreferences(list []preference, less func(a, b *preference) bool) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && less(&list[j], &list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := lowerByte(a[i]), lowerByte(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}
