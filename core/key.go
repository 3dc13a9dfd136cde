package core

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"unsafe"
)

// A key on the wire looks like
//
//	cacheaside:1:{GET:https://example.com/blogs/1000?page=2}
//	cacheaside:1:{GET:https://example.com/blogs/1000?page=2}:0f3c…   (a variant)
//
// Namespace and format version first, then the primary key in braces: the hash
// tag that puts all keys of one resource into one slot of a cluster. What
// stands in the braces is made of escaped parts with separators that no
// escaped part contains, so that no two requests share it. It is ASCII and
// never shorter than 17 bytes, because Dragonfly does not announce the
// eviction of shorter or non-ASCII keys.
const (
	keyFormat = ":1:{"
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
	primary string // in full, as the entry carries it
}

// keyer makes keys by one policy. It is immutable.
type keyer struct {
	*Config
	prefix string
}

func newKeyer(c *Config) keyer { return keyer{c, c.Namespace + keyFormat} }

// appendPrimary writes the primary key of req to buf. It fails where the key
// would exceed the limit.
func (k keyer) appendPrimary(buf []byte, req *Request) ([]byte, bool) {
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > k.MaxKeyBytes {
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
	if k.KeyGenerator != nil {
		buf = escape(append(buf, "|k:"...), k.KeyGenerator(req), &valueSafe)
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
		buf = escape(append(buf, "|v:"...), k.Partition(req), &valueSafe)
	}
	for _, name := range k.KeyHeaders {
		buf = escape(append(buf, "|h:"...), name, &valueSafe)
		for i, v := range req.Header.Values(name) {
			if i == 0 {
				buf = append(buf, '=') // absent differs from empty
			} else {
				buf = append(buf, ',') // RFC 9110 section 5.3: lines combine with commas
			}
			buf = escape(buf, strings.TrimSpace(v), &valueSafe)
		}
	}
	for _, name := range k.KeyCookies {
		buf = escape(append(buf, "|c:"...), name, &valueSafe)
		buf = appendCookie(buf, req.Header.Values("Cookie"), name)
	}
	if req.forwarded && !k.IgnoreForwarded {
		buf = appendForwarded(buf, req)
	}
	return buf, len(buf)-start <= k.MaxKeyBytes
}

// key returns the key of req.
func (k keyer) key(req *Request) (key, bool) {
	view, _, ok := k.view(nil, req)
	return view, ok // nobody else has the memory
}

// view returns the key of req as a view of buf, which it makes longer if need be:
// what is to outlive that needs a copy, see owned.
func (k keyer) view(buf []byte, req *Request) (key, []byte, bool) {
	buf = append(buf[:0], k.prefix...)
	n := len(buf)
	buf, ok := k.appendPrimary(buf, req)
	if !ok {
		return key{}, buf, false
	}
	if len(buf)-n > maxReadable {
		primary := string(buf[n:])
		sum := sha256.Sum256(buf[n:])
		buf = hex.AppendEncode(append(buf[:n+cutReadable], '~'), sum[:])
		buf = append(buf, '}')
		return key{wire: viewOf(buf), primary: primary}, buf, true
	}
	end := len(buf)
	buf = append(buf, '}')
	for len(buf) < minWireKey {
		buf = append(buf, '.')
	}
	wire := viewOf(buf)
	return key{wire: wire, primary: wire[n:end]}, buf, true
}

// owned is a copy of a key that view has made.
func (k keyer) owned(view key) key {
	n := len(k.prefix)
	own := key{wire: strings.Clone(view.wire), primary: view.primary}
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

// appendQuery writes the selected parameters, sorted by name; those of one
// name keep their order. Names and values stay as the client encoded them.
func (k keyer) appendQuery(buf []byte, raw string) []byte {
	if raw == "" {
		return buf
	}
	all := k.Query.Allow == nil && len(k.Query.Deny) == 0
	if all && (k.KeepQueryOrder || sortedQuery(raw)) {
		return escape(append(buf, '?'), raw, &querySafe)
	}
	var few [16]string
	pairs := few[:0]
	for pair := range strings.SplitSeq(raw, "&") {
		// A ';' may start another parameter for the handler: such a pair is
		// never left out, or its rest would be unkeyed input.
		if pair != "" && (all || k.Query.has(paramName(pair), false) || strings.IndexByte(pair, ';') >= 0) {
			pairs = append(pairs, pair)
		}
	}
	if !k.KeepQueryOrder {
		slices.SortStableFunc(pairs, func(a, b string) int { return strings.Compare(rawName(a), rawName(b)) })
	}
	sep := byte('?')
	for _, p := range pairs {
		buf = escape(append(buf, sep), p, &querySafe)
		sep = '&'
	}
	return buf
}

// sortedQuery reports whether raw is as appendQuery would write it.
func sortedQuery(raw string) bool {
	last := ""
	for {
		pair, rest, more := strings.Cut(raw, "&")
		name := rawName(pair)
		if pair == "" || name < last {
			return false
		}
		if !more {
			return true
		}
		last, raw = name, rest
	}
}

func rawName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return name
}

// paramName is the name as the handler decodes it.
func paramName(pair string) string {
	name := rawName(pair)
	if strings.ContainsAny(name, "%+") {
		if decoded, err := url.QueryUnescape(name); err == nil {
			return decoded
		}
	}
	return name
}

// appendCookie writes the values of all cookies with the name, because
// frameworks differ in which of them they take.
func appendCookie(buf []byte, lines []string, name string) []byte {
	sep := byte('=')
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			n, v, ok := strings.Cut(strings.TrimSpace(part), "=")
			if ok && n == name {
				buf = escape(append(buf, sep), v, &valueSafe)
				sep = ';'
			}
		}
	}
	return buf
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
