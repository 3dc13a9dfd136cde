package cacheaside

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unsafe"
)

// A key on the wire looks like
//
//	cacheaside:2:{GET:https://example.com/blogs/1000?page=2}
//	cacheaside:2:{GET:https://example.com/blogs/1000?page=2}:0f3c…   (a variant)
//
// Namespace and format version first, then the primary key in braces: the hash
// tag that puts all keys of one resource into one slot of a cluster. What
// stands in the braces is made of escaped parts with separators that no
// escaped part contains, so that no two requests share it. It is ASCII and
// never shorter than 17 bytes, because Dragonfly does not announce the
// eviction of shorter or non-ASCII keys.
const (
	keyFormat = ":2:{"
	// minWireKey is the shortest key whose expiry Dragonfly announces.
	minWireKey = 17
	// maxReadable is the longest primary key that is written out; a longer one
	// is cut to cutReadable bytes and completed with its SHA-256. The sum
	// exceeds maxReadable, so that a cut key is never equal to a whole one.
	maxReadable = 256
	cutReadable = maxReadable - 2*sha256.Size
	variantLen  = 32 // hex digits of a variant's digest
)

// key names a resource in the store.
type key struct {
	wire    string // as the store sees it
	lock    string // of the resource's lock; only of a key that is owned
	primary string // in full, as the entry carries it
}

// keyer makes keys by one policy. It is immutable.
type keyer struct {
	*KeyPolicy
	prefix string
}

// appendPrimary writes the primary key of req to buf. It fails where the key
// would exceed the limit.
func (k keyer) appendPrimary(buf []byte, req *request) ([]byte, bool) {
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > k.MaxBytes {
		return buf, false
	}
	start := len(buf)
	buf = append(buf, "GET:"...)
	if !k.IgnoreScheme {
		buf = escape(buf, req.Scheme, &hostSafe)
		buf = append(buf, ':')
	}
	buf = append(buf, "//"...)
	if !k.IgnoreHost {
		buf = escapeLower(buf, req.Host)
	}
	if k.Generator != nil {
		buf = escape(append(buf, "|k:"...), k.Generator(&req.Request), &valueSafe)
	} else {
		if !strings.HasPrefix(req.Path, "/") { // "*", or an empty path: not to be mistaken for a part of the host
			buf = append(buf, "|p:"...)
		}
		buf = escape(buf, req.Path, &pathSafe)
		buf = k.appendQuery(buf, req.RawQuery)
	}
	if req.Target != "" {
		buf = escape(append(buf, "|t:"...), req.Target, &valueSafe)
	}
	if req.Partition != "" {
		buf = escape(append(buf, "|u:"...), req.Partition, &valueSafe)
	}
	if k.Partition != nil {
		buf = escape(append(buf, "|v:"...), k.Partition(&req.Request), &valueSafe)
	}
	for _, name := range k.Headers {
		buf = escape(append(buf, "|h:"...), name, &valueSafe)
		buf = appendLines(buf, req, name)
	}
	for _, name := range k.Cookies {
		buf = escape(append(buf, "|c:"...), name, &valueSafe)
		buf = appendCookie(buf, req.lines("Cookie"), name)
	}
	if req.forwarded && !k.IgnoreForwarded {
		buf = appendForwarded(buf, req)
	}
	return buf, len(buf)-start <= k.MaxBytes
}

// key returns the key of req.
func (k keyer) key(req *request) (key, bool) {
	view, _, ok := k.view(nil, req)
	return view, ok // nobody else has the memory
}

// view returns the key of req as a view of buf, which it makes longer if need be:
// what is to outlive that needs a copy, see owned.
func (k keyer) view(buf []byte, req *request) (key, []byte, bool) {
	buf = append(buf[:0], k.prefix...)
	buf, ok := k.appendPrimary(buf, req)
	if !ok {
		return key{}, buf, false
	}
	v, buf := k.wire(buf)
	return v, buf, true
}

// wire makes a key of buf, which is the prefix and a primary key.
func (k keyer) wire(buf []byte) (key, []byte) {
	n := len(k.prefix)
	if len(buf)-n > maxReadable {
		primary := string(buf[n:])
		sum := sha256.Sum256(buf[n:])
		buf = hex.AppendEncode(append(buf[:n+cutReadable], '~'), sum[:])
		buf = append(buf, '}')
		return key{wire: viewOf(buf), primary: primary}, buf
	}
	end := len(buf)
	buf = append(buf, '}')
	for len(buf) < minWireKey {
		buf = append(buf, '.')
	}
	wire := viewOf(buf)
	return key{wire: wire, primary: wire[n:end]}, buf
}

// owned is a copy of a key that view has made.
func (k keyer) owned(view key) key {
	n := len(k.prefix)
	lock := lockKey(view.wire) // both in one allocation
	own := key{wire: lock[:len(view.wire)], lock: lock, primary: view.primary}
	if len(view.primary) <= maxReadable {
		own.primary = own.wire[n : n+len(view.primary)]
	}
	return own
}

// viewOf is a string over b, which must not change while it is in use.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// variant returns the key of the variant that selected describes.
func (k key) variant(selected []byte) string {
	return viewOf(k.appendVariant(make([]byte, 0, len(k.wire)+1+variantLen), selected)) // nobody else has it
}

func (k key) appendVariant(buf, selected []byte) []byte {
	sum := sha256.Sum256(selected)
	buf = append(append(buf, k.wire...), ':')
	return hex.AppendEncode(buf, sum[:variantLen/2])
}

// appendLines writes the lines of a field, as they are: what a framework trims is
// gone by now. Each stands for itself, for who reads them takes the first, or the
// last; and an absent field differs from an empty one.
func appendLines(buf []byte, req *request, name string) []byte {
	sep := "="
	for _, v := range req.lines(name) {
		buf = escape(append(buf, sep...), v, &valueSafe)
		sep = "|="
	}
	if req.folded != nil {
		for _, as := range req.folded.spelling(name) {
			buf = escape(append(buf, "|s="...), as, &valueSafe)
		}
	}
	return buf
}

// maxParams is how many parameters are taken apart. Servers have limits of their
// own (that of net/url may be set from outside), beyond which the handler sees none
// of them: so more go into the key as they came, dropped ones included.
const maxParams = 256

// appendQuery writes the selected parameters, sorted by name; those of one
// name keep their order. Names and values stay as the client encoded them.
func (k keyer) appendQuery(buf []byte, raw string) []byte {
	if raw == "" {
		return buf
	}
	all := k.Query.Allow == nil && len(k.Query.Deny) == 0
	if all && (k.KeepQueryOrder || sortedQuery(raw)) || len(raw) > maxParams && strings.Count(raw, "&") >= maxParams {
		return escape(append(buf, '?'), raw, &querySafe)
	}
	var few [16]param
	pairs := few[:0]
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		// A ';' may start another parameter for the handler: such a pair is
		// never left out, or its rest would be unkeyed input.
		p := param{paramName(pair), pair}
		if all || k.Query.has(p.name, false) || strings.IndexByte(pair, ';') >= 0 {
			pairs = append(pairs, p)
		}
	}
	if !k.KeepQueryOrder && strings.IndexByte(raw, ';') < 0 {
		slices.SortStableFunc(pairs, func(a, b param) int { return strings.Compare(a.name, b.name) })
	}
	sep := byte('?')
	for _, p := range pairs {
		buf = escape(append(buf, sep), p.text, &querySafe)
		sep = '&'
	}
	return buf
}

// param is one parameter of a query: its name as handlers decode it, and all of it
// as it came.
type param struct{ name, text string }

// sortedQuery reports whether raw is as appendQuery would write it, as far as that
// can be told without decoding.
func sortedQuery(raw string) bool {
	last := ""
	for {
		pair, rest, more := strings.Cut(raw, "&")
		name, _, _ := strings.Cut(pair, "=")
		if pair == "" || name < last || more && strings.ContainsAny(name, "%+") {
			return false
		}
		if !more {
			return last == "" || !strings.ContainsAny(name, "%+")
		}
		last, raw = name, rest
	}
}

// paramName is the name as the handler decodes it. What is no escape sequence
// stays, as with fasthttp; net/url leaves such a parameter out, and agrees on all
// others.
func paramName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	i := strings.IndexAny(name, "%+")
	if i < 0 {
		return name
	}
	b := append(make([]byte, 0, len(name)), name[:i]...)
	for ; i < len(name); i++ {
		switch c := name[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(name) && unhex(name[i+1]) < 16 && unhex(name[i+2]) < 16:
			b = append(b, unhex(name[i+1])<<4|unhex(name[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return viewOf(b) // nobody else has it
}

// unhex is the value of a hex digit, or 16.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// maxCookies is how many cookies are taken apart. Readers have limits of their own
// (that of net/http may be set from outside), beyond which they see none: so more
// go into the key as they came.
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
			if cookieName(pair) == name {
				buf = escape(append(buf, sep), strings.Trim(pair, " "), &valueSafe) // all trim spaces
				sep = ';'
			}
		}
	}
	return buf
}

// cookieName is the name of the cookie that a reader could take pair for. An '=' in
// front may get lost where fasthttp has put a field together again.
func cookieName(pair string) string {
	for pair != "" && (pair[0] <= ' ' || pair[0] == '=') {
		pair = pair[1:]
	}
	name, _, _ := strings.Cut(pair, "=")
	for name != "" && name[len(name)-1] <= ' ' {
		name = name[:len(name)-1]
	}
	return name
}

// The bytes that stand for themselves; all others become '^' and two hex
// digits. '^', '|' and the braces are never among them: they are the key's own.
var (
	valueSafe = safeBytes("")
	querySafe = safeBytes("")
	pathSafe  = safeBytes("?")
	hostSafe  = safeBytes("?/")
)

func safeBytes(but string) (t [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		t[c] = !bytes.ContainsRune([]byte("^|{}"+but), rune(c))
	}
	return t
}

const upperHex = "0123456789ABCDEF"

func escape(buf []byte, s string, safe *[256]bool) []byte {
	i := 0
	for i < len(s) && safe[s[i]] {
		i++
	}
	buf = append(buf, s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; safe[c] {
			buf = append(buf, c)
		} else {
			buf = append(buf, '^', upperHex[c>>4], upperHex[c&15])
		}
	}
	return buf
}

// escapeLower is escape for a host, whose case means nothing (RFC 9110 section 4.2.3).
func escapeLower(buf []byte, s string) []byte {
	n := len(buf)
	buf = escape(buf, s, &hostSafe)
	for i := n; i < len(buf); i++ {
		if c := buf[i]; 'A' <= c && c <= 'Z' {
			if i >= 1 && buf[i-1] == '^' || i >= 2 && buf[i-2] == '^' {
				continue // a hex digit of ours
			}
			buf[i] = c + 'a' - 'A'
		}
	}
	return buf
}
