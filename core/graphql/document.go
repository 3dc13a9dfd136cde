package graphql

import "strings"

// document is an executable one (section 2.2 of the specification).
type document struct {
	normal     string // the same tokens, with what is ignored between them in one form
	operations []operation
}

type operation struct {
	kind string // "query", "mutation" or "subscription"
	name string // empty if it is anonymous
}

// isQuery reports whether the operation that name selects is a query, as section 6.1 finds
// it. Where it is not the only one there is to find, or none, nobody can tell.
func (d *document) isQuery(name string) bool {
	if name == "" {
		return len(d.operations) == 1 && d.operations[0].kind == "query"
	}
	found := 0
	for _, o := range d.operations {
		switch o.name {
		case "":
			if len(d.operations) > 1 {
				return false // section 5.2.2.1: an anonymous operation is alone
			}
		case name:
			if found++; o.kind != "query" {
				return false
			}
		}
	}
	return found == 1
}

// parseDocument finds the operations of a document by the grammar of their heads; what is
// between brackets need only be balanced.
func parseDocument(text string) (document, bool) {
	tokens, normal, ok := lex(text)
	if !ok {
		return document{}, false
	}
	p := parser{tokens: tokens}
	d := document{normal: normal}
	for len(p.tokens) > 0 {
		o, ok := p.definition()
		if !ok {
			return document{}, false
		}
		if o.kind != "" {
			d.operations = append(d.operations, o)
		}
	}
	return d, len(d.operations) > 0
}

type parser struct{ tokens []string }

// peek returns the next token, "" at the end.
func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) take(token string) bool {
	if p.peek() != token {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *parser) name() (string, bool) {
	t := p.peek()
	if t == "" || !isNameStart(t[0]) {
		return "", false
	}
	p.tokens = p.tokens[1:]
	return t, true
}

// definition takes one of an operation (sections 2.3 and 2.4) or of a fragment (2.8), whose
// operation has no kind.
func (p *parser) definition() (o operation, ok bool) {
	if p.peek() == "{" {
		return operation{kind: "query"}, p.group("{", "}")
	}
	if t := p.peek(); t != "" && t[0] == '"' {
		p.take(t) // a description, which September 2025 has
	}
	keyword, ok := p.name()
	if !ok {
		return o, false
	}
	switch keyword {
	case "query", "mutation", "subscription":
		o.kind = keyword
		o.name, _ = p.name()
		if p.peek() == "(" && !p.group("(", ")") {
			return o, false
		}
	case "fragment":
		if name, ok := p.name(); !ok || name == "on" || !p.take("on") {
			return o, false
		}
		if _, ok := p.name(); !ok {
			return o, false
		}
	default:
		return o, false
	}
	for p.take("@") {
		if _, ok := p.name(); !ok || p.peek() == "(" && !p.group("(", ")") {
			return o, false
		}
	}
	return o, p.group("{", "}")
}

// group takes all from a bracket to the one that closes it.
func (p *parser) group(from, to string) bool {
	if p.peek() != from {
		return false
	}
	var open []string
	for i, t := range p.tokens {
		switch t {
		case "{", "(", "[":
			if open = append(open, closing[t]); len(open) > maxDepth {
				return false
			}
		case "}", ")", "]":
			if t != open[len(open)-1] {
				return false
			}
			if open = open[:len(open)-1]; len(open) == 0 {
				p.tokens = p.tokens[i+1:]
				return t == to
			}
		}
	}
	return false
}

var closing = map[string]string{"{": "}", "(": ")", "[": "]"}

// lex splits a document into its tokens (section 2.1), and returns it with one space
// between them. It refuses what is none, and where servers are known to see other tokens
// than the specification.
func lex(text string) (tokens []string, normal string, ok bool) {
	var b strings.Builder
	b.Grow(len(text))
	for text != "" {
		n, kind := next(text)
		if n == 0 {
			return nil, "", false
		}
		if kind != ignored {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(text[:n])
		}
		if kind == comment {
			b.WriteByte('\n')
		}
		if kind == token {
			tokens = append(tokens, text[:n])
		}
		text = text[n:]
	}
	return tokens, b.String(), true
}

// lexeme is what the beginning of a text is.
type lexeme uint8

const (
	token   lexeme = iota
	ignored        // it means nothing, to any server
	comment        // one that not every server may read
)

// next returns the length and kind of what text begins with, 0 if that is none. A byte order
// mark is none, although it is to be ignored: some servers do that at the very beginning
// alone, and others nowhere.
func next(text string) (int, lexeme) {
	switch c := text[0]; {
	case strings.IndexByte(" \t\n,", c) >= 0:
		return 1, ignored
	case c == '\r': // alone, it ends comments and strings for some only
		if !strings.HasPrefix(text, "\r\n") {
			return 0, ignored
		}
		return 2, ignored
	case c == '#':
		return commentLength(text)
	case c == '"':
		return stringLength(text), token
	case isNameStart(c):
		n := 1
		for n < len(text) && (isNameStart(text[n]) || isDigit(text[n])) {
			n++
		}
		return n, token
	case c == '-', isDigit(c):
		n := numberLength(text)
		if n < len(text) && (text[n] == '.' || isNameStart(text[n]) || isDigit(text[n])) {
			return 0, token // sections 2.9.1 and 2.9.2
		}
		return n, token
	case strings.IndexByte("!$&():=@[]{|}", c) >= 0:
		return 1, token
	case strings.HasPrefix(text, "..."):
		return 3, token
	}
	return 0, token
}

func isNameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// commentLength is that of a comment without the end of its line.
func commentLength(text string) (int, lexeme) {
	kind := ignored
	for i, r := range text {
		switch {
		case r == '\n', strings.HasPrefix(text[i:], "\r\n"):
			return i, kind
		case r == '\u2028', r == '\u2029', r < ' ' && r != '\t', 0x7f <= r && r < 0xa0:
			return 0, kind // ends of lines in other views, and what a reader may refuse
		case r > '~':
			kind = comment
		}
	}
	return len(text), kind
}

// stringLength is that of a string or block string (section 2.9.4), 0 if it does not end. A
// quote behind the end is refused: some servers see the end of a block string there.
func stringLength(text string) int {
	if strings.HasPrefix(text, `"""`) {
		return blockLength(text)
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && strings.HasPrefix(text[i+1:], `"`):
			return 0
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(text) || strings.IndexByte(`"\/bfnrtu`, text[i]) < 0 {
				return 0
			}
		case c < ' ' && c != '\t', c == 0x7f:
			return 0
		}
	}
	return 0
}

// blockLength refuses a backslash in front of a quote, too: not every server finds the same
// end there.
func blockLength(text string) int {
	const quotes = `"""`
	n := strings.Index(text[len(quotes):], quotes)
	if n < 0 {
		return 0
	}
	inside, end := text[len(quotes):][:n], 2*len(quotes)+n
	if strings.Contains(inside, `\"`) || strings.HasSuffix(inside, `\`) || strings.HasPrefix(text[end:], `"`) {
		return 0
	}
	for i, r := range inside {
		if r < ' ' && r != '\t' && r != '\n' && (r != '\r' || !strings.HasPrefix(inside[i:], "\r\n")) || r == 0x7f {
			return 0
		}
	}
	return end
}
