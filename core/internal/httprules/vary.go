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
			if name == "*" || !IsToken(name) {
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

// Lists reports whether a line of Vary, or another list of field names, has one, given in
// any case, among them.
func Lists(line, name string) bool {
	for one := range strings.SplitSeq(line, ",") {
		if EqualFold(trimOWS(one), name) {
			return true
		}
	}
	return false
}

// AppendSelected appends the lines of a request field by which a variant is
// chosen: "-" where the field is absent, otherwise each line, normalised, as
// "<length>:<value>", and in front of more than one their number and '*', so that
// values in a row cannot be taken for others.
//
// Lines stay apart, though RFC 9110 section 5.3 lets them be joined by commas:
// handlers take the first, or the last. Within a line requests that differ only in
// what is known to have no meaning get the same value (RFC 9111 section 4.1):
//
//   - Accept and Accept-Charset: whitespace around commas is dropped, outside of
//     quoted strings (RFC 9110 section 5.6.1).
//   - Accept-Encoding and Accept-Language: see there.
//
// All else is taken as it came: nobody can know what a handler makes of it.
func AppendSelected(dst []byte, name string, lines []string) []byte {
	if len(lines) == 0 {
		return append(dst, '-')
	}
	if len(lines) > 1 {
		dst = append(strconv.AppendInt(dst, int64(len(lines)), 10), '*')
	}
	for _, line := range lines {
		start := len(dst)
		switch name {
		case "Accept-Encoding":
			dst = appendCodings(dst, line)
		case "Accept-Language":
			dst = appendLanguages(dst, line)
		case "Accept", "Accept-Charset":
			dst = appendList(dst, line)
		default:
			dst = append(dst, line...)
		}
		var buf [20]byte
		length := append(strconv.AppendInt(buf[:0], int64(len(dst)-start), 10), ':')
		dst = slices.Insert(dst, start, length...)
	}
	return dst
}

// appendList writes every comma outside of a quoted string as ", ".
func appendList(dst []byte, line string) []byte {
	start := len(dst)
	quoted := false
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
func parsePreferences(buf *[maxPreferences]preference, line string) ([]preference, bool) {
	out := buf[:0]
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
		if !ok || !IsToken(p.name) || len(out) == len(buf) {
			return nil, false
		}
		out = append(out, p)
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
func appendCodings(dst []byte, line string) []byte {
	var buf [maxPreferences]preference
	list, ok := parsePreferences(&buf, line)
	if !ok {
		return appendUnread(dst, line)
	}
	anyElse, noneElse := false, false
	for i, p := range list {
		switch p.name[0] {
		case '*':
			if p.name == "*" {
				anyElse, noneElse = anyElse || p.weight > 0, noneElse || p.weight == 0
			}
		case 'x', 'X': // RFC 9110 section 8.4.1
			if EqualFold(p.name, "x-gzip") || EqualFold(p.name, "x-compress") {
				list[i].name = p.name[len("x-"):]
			}
		}
	}
	sortPreferences(list, func(a, b *preference) bool { return compareFold(a.name, b.name) < 0 })
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; compareFold(a.name, b.name) == 0 && (a.weight == 0) != (b.weight == 0) {
			return appendUnread(dst, line) // it contradicts itself
		}
	}
	start := len(dst)
	for i, p := range list {
		identity := EqualFold(p.name, "identity")
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
// what a choice is made by; the weights themselves are left out. Ranges of equal
// weight keep their order, by which many handlers choose. What is not wanted comes
// last, and is kept: it may be a part of what is.
func appendLanguages(dst []byte, line string) []byte {
	var buf [maxPreferences]preference
	list, ok := parsePreferences(&buf, line)
	if !ok {
		return appendUnread(dst, line)
	}
	sortPreferences(list, func(a, b *preference) bool { return a.weight > b.weight })
	for i, p := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPreference(dst, p)
	}
	return dst
}

// appendUnread takes a list as it came. The mark in front keeps it apart from
// lists that could be read.
func appendUnread(dst []byte, line string) []byte {
	return append(append(dst, '?'), line...)
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

// sortPreferences sorts by insertion, which keeps the order of equals: these lists
// are short, and this happens on every hit.
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
