package graphql

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how many levels of objects and lists JSON or a document may have.
const maxDepth = 128

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is one of JSON. The readers of encoding/json would not do: they take the members
// of an object twice and in any case, and replace what is not UTF-8.
type value struct {
	kind     kind
	text     string // of a string, decoded; otherwise as it is written
	elements []value
	members  []member // sorted by name
}

type member struct {
	name   string
	folded string // the same for names that differ in case only
	value  value
}

var literals = []value{{kind: kindNull, text: "null"}, {kind: kindBool, text: "true"}, {kind: kindBool, text: "false"}}

// member returns the value of a member, nil if there is none.
func (v *value) member(name string) *value {
	i, found := slices.BinarySearchFunc(v.members, name, func(m member, name string) int { return cmp.Compare(m.name, name) })
	if !found {
		return nil
	}
	return &v.members[i].value
}

// is reports whether v is of one of the kinds, or absent.
func (v *value) is(kinds ...kind) bool { return v == nil || slices.Contains(kinds, v.kind) }

// parseJSON reads content that is one value by RFC 8259, in UTF-8.
func parseJSON(content []byte) (value, bool) {
	if !utf8.Valid(content) {
		return value{}, false
	}
	p := jsonParser{rest: string(content)}
	v, ok := p.value(maxDepth)
	p.space()
	return v, ok && p.rest == ""
}

type jsonParser struct{ rest string }

func (p *jsonParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take takes c, which white space may precede.
func (p *jsonParser) take(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *jsonParser) value(depth int) (value, bool) {
	p.space()
	if p.rest == "" {
		return value{}, false
	}
	switch c := p.rest[0]; {
	case depth == 0 && (c == '{' || c == '['):
		return value{}, false
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, ok := p.string()
		return value{kind: kindString, text: s}, ok
	}
	for _, l := range literals {
		if rest, ok := strings.CutPrefix(p.rest, l.text); ok {
			p.rest = rest
			return l, true
		}
	}
	n := numberLength(p.rest)
	v := value{kind: kindNumber, text: p.rest[:n]}
	p.rest = p.rest[n:]
	return v, n > 0
}

func (p *jsonParser) array(depth int) (value, bool) {
	v := value{kind: kindArray}
	p.take('[')
	if p.take(']') {
		return v, true
	}
	for {
		e, ok := p.value(depth - 1)
		if !ok {
			return v, false
		}
		v.elements = append(v.elements, e)
		if p.take(']') {
			return v, true
		}
		if !p.take(',') {
			return v, false
		}
	}
}

func (p *jsonParser) object(depth int) (value, bool) {
	v := value{kind: kindObject}
	p.take('{')
	if p.take('}') {
		return v, true
	}
	for {
		p.space()
		name, ok := p.string()
		if !ok || !p.take(':') {
			return v, false
		}
		m, ok := p.value(depth - 1)
		if !ok {
			return v, false
		}
		v.members = append(v.members, member{name: name, folded: fold(name), value: m})
		if p.take('}') {
			return v, v.sort()
		}
		if !p.take(',') {
			return v, false
		}
	}
}

// sort reports false if a name is there twice, in any case: servers differ in which they
// take.
func (v *value) sort() bool {
	slices.SortFunc(v.members, func(a, b member) int { return cmp.Compare(a.folded, b.folded) })
	for i := 1; i < len(v.members); i++ {
		if v.members[i].folded == v.members[i-1].folded {
			return false
		}
	}
	slices.SortFunc(v.members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return true
}

// fold maps all that strings.EqualFold takes for equal to one string.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// string takes a string and decodes it.
func (p *jsonParser) string() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		return "", false
	}
	p.rest = p.rest[1:]
	var b strings.Builder
	for {
		n := strings.IndexFunc(p.rest, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' })
		if n < 0 || p.rest[n] < ' ' {
			return "", false
		}
		b.WriteString(p.rest[:n])
		p.rest = p.rest[n:]
		if p.rest[0] == '"' {
			p.rest = p.rest[1:]
			return b.String(), true
		}
		r, ok := p.escape()
		if !ok {
			return "", false
		}
		b.WriteRune(r)
	}
}

// escape takes an escape sequence, or two of them that are a pair of surrogates.
func (p *jsonParser) escape() (rune, bool) {
	const short, means = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if len(p.rest) < 2 {
		return 0, false
	}
	if i := strings.IndexByte(short, p.rest[1]); i >= 0 {
		p.rest = p.rest[2:]
		return rune(means[i]), true
	}
	r, ok := p.unit()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	low, ok := p.unit()
	r = utf16.DecodeRune(r, low)
	return r, ok && r != utf8.RuneError
}

// unit takes \uXXXX.
func (p *jsonParser) unit() (rune, bool) {
	if len(p.rest) < 6 || p.rest[0] != '\\' || p.rest[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.rest[2:6], 16, 16)
	p.rest = p.rest[6:]
	return rune(n), err == nil
}

// numberLength is that of a number at the beginning, which JSON and GraphQL write alike
// (sections 2.9.1 and 2.9.2); 0 if there is none.
func numberLength(s string) int {
	n := 0
	digits := func() bool {
		begin := n
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		return n > begin
	}
	at := func(set string) bool {
		if n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
			n++
			return true
		}
		return false
	}
	at("-")
	if !at("0") && !digits() {
		return 0
	}
	if at(".") && !digits() {
		return 0
	}
	if at("eE") {
		at("+-")
		if !digits() {
			return 0
		}
	}
	return n
}

// appendJSON writes a value in the one way there is.
func appendJSON(b []byte, v value) []byte {
	switch v.kind {
	case kindString:
		return appendString(b, v.text)
	case kindArray:
		b = append(b, '[')
		for i, e := range v.elements {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case kindObject:
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, m.name), ':')
			b = appendJSON(b, m.value)
		}
		return append(b, '}')
	}
	return append(b, v.text...)
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
