package httprules

import (
	"math"
	"net/textproto"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Delta is the argument of a directive in delta-seconds.
type Delta struct {
	D  time.Duration
	OK bool // the directive is present
}

// ResponseControl is what a response says about its storing and use (RFC 9111
// section 5.2.2, RFC 5861, RFC 8246). Where it contradicts itself, the more
// restrictive holds: of several lifetimes the shortest, and one that cannot be
// read is 0 (RFC 9111 section 4.2.1).
type ResponseControl struct {
	Public, Private, NoStore, NoCache, MustRevalidate, ProxyRevalidate bool
	MustUnderstand, Immutable, NoTransform                             bool

	// PrivateFields and NoCacheFields are the arguments of the directives that
	// name fields, in canonical form. Private and NoCache are then false.
	PrivateFields, NoCacheFields []string

	MaxAge, SMaxAge, StaleWhileRevalidate, StaleIfError Delta

	// Targeted says that all this comes from a targeted field (RFC 9213):
	// Cache-Control and Expires do not count.
	Targeted bool
}

// RequestControl is what a request says about the responses that it would
// accept (RFC 9111 section 5.2.1, RFC 5861 section 4).
type RequestControl struct {
	NoCache, NoStore, OnlyIfCached bool

	MaxAge, MinFresh, StaleIfError Delta
	// MaxStale without an argument, any staleness, is math.MaxInt64.
	MaxStale Delta
}

// surrogateControl is the predecessor of targeted fields (W3C Edge
// Architecture): a dictionary before structured fields.
const surrogateControl = "Surrogate-Control"

// ParseResponseControl reads the first field of targets that is valid and not
// empty (RFC 9213 section 2.2), otherwise Cache-Control.
func ParseResponseControl(h Header, targets []string) ResponseControl {
	for _, name := range targets {
		name = textproto.CanonicalMIMEHeaderKey(name)
		lines := h.Values(name)
		if len(lines) == 0 {
			continue
		}
		if name == surrogateControl {
			if c, ok := parseResponseLines(lines); ok {
				c.Targeted = true
				return c
			}
		} else if c, ok := parseTargeted(lines); ok {
			return c
		}
	}
	c, _ := parseResponseLines(h.Values("Cache-Control"))
	return c
}

// NoTransform reports whether a message wants to be passed on as it is (RFC 9111 sections
// 5.2.1.6 and 5.2.2.6): whoever is told so in whatever field.
func NoTransform(h Header, targets []string) bool {
	c, _ := parseResponseLines(h.Values("Cache-Control"))
	return c.NoTransform || len(targets) > 0 && ParseResponseControl(h, targets).NoTransform
}

// parseResponseLines reads lines in the syntax of Cache-Control; the result is
// false where there is no directive.
func parseResponseLines(lines []string) (c ResponseControl, found bool) {
	for _, line := range lines {
		d := directives{rest: line}
		for d.next() {
			found = true
			c.apply(&d)
		}
	}
	return c, found
}

func (c *ResponseControl) apply(d *directives) {
	var buf [nameLen]byte
	switch string(d.lower(&buf)) {
	case "private":
		c.PrivateFields = qualify(d, &c.Private, c.PrivateFields)
	case "no-cache":
		c.NoCacheFields = qualify(d, &c.NoCache, c.NoCacheFields)
	case "no-store":
		c.NoStore = true
	case "must-revalidate":
		c.MustRevalidate = true
	case "proxy-revalidate":
		c.ProxyRevalidate = true
	case "no-transform":
		c.NoTransform = true
	case "public": // these three allow something: not from what is in doubt
		c.Public = c.Public || !d.doubt
	case "must-understand":
		c.MustUnderstand = c.MustUnderstand || !d.doubt
	case "immutable":
		c.Immutable = c.Immutable || !d.doubt
	case "max-age":
		c.MaxAge.shorten(d.delta())
	case "s-maxage":
		c.SMaxAge.shorten(d.delta())
	case "stale-while-revalidate":
		c.StaleWhileRevalidate.shorten(d.delta())
	case "stale-if-error":
		c.StaleIfError.shorten(d.delta())
	}
}

// shorten takes a further value: the smallest counts, and one that is not
// valid is 0.
func (d *Delta) shorten(v time.Duration, valid bool) {
	if !valid {
		v = 0
	}
	if !d.OK || v < d.D {
		*d = Delta{v, true}
	}
}

// qualify takes a private or no-cache directive. Only a quoted list of field
// names limits it to these; an argument in any other form ("private=true")
// must not make the rest of the response public.
func qualify(d *directives, whole *bool, fields []string) []string {
	if d.quoted && !d.bad && !d.doubt {
		if more, ok := appendFieldNames(fields, d.arg); ok {
			return more
		}
	}
	*whole = true
	return fields
}

// appendFieldNames appends the members of a list of field names; false: it is
// none, or empty.
func appendFieldNames(dst []string, list string) ([]string, bool) {
	n := len(dst)
	for list != "" {
		var name string
		name, list, _ = strings.Cut(list, ",")
		if name = trimOWS(name); name == "" {
			continue
		}
		if !IsToken(name) {
			return dst[:n], false
		}
		dst = append(dst, textproto.CanonicalMIMEHeaderKey(name))
	}
	return dst, len(dst) > n
}

// parseTargeted reads a targeted field: a dictionary of structured fields (RFC
// 9213 section 2.1). False: it is to be ignored, because it is empty, is no
// dictionary, or has a lifetime that is no integer. A directive that forbids
// something does so with any value but false: that somebody wanted it is plain.
func parseTargeted(lines []string) (ResponseControl, bool) {
	c := ResponseControl{Targeted: true}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return c, false
	}
	mistyped := false
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		var value any
		if item, ok := member.(httpsfv.Item); ok {
			value = item.Value // parameters are ignored
		}
		delta := func(to *Delta) {
			n, ok := value.(int64)
			mistyped = mistyped || !ok
			*to = Delta{time.Duration(min(max(n, 0), 1<<31)) * time.Second, true}
		}
		switch name {
		case "private":
			c.PrivateFields = qualifyTargeted(value, &c.Private)
		case "no-cache":
			c.NoCacheFields = qualifyTargeted(value, &c.NoCache)
		case "no-store":
			c.NoStore = value != false
		case "must-revalidate":
			c.MustRevalidate = value != false
		case "proxy-revalidate":
			c.ProxyRevalidate = value != false
		case "no-transform":
			c.NoTransform = value != false
		case "public":
			c.Public = value == true
		case "must-understand":
			c.MustUnderstand = value == true
		case "immutable":
			c.Immutable = value == true
		case "max-age":
			delta(&c.MaxAge)
		case "s-maxage":
			delta(&c.SMaxAge)
		case "stale-while-revalidate":
			delta(&c.StaleWhileRevalidate)
		case "stale-if-error":
			delta(&c.StaleIfError)
		}
	}
	// With a lifetime of another type the field does not count, unless it
	// forbids to store or use the response at all.
	return c, !mistyped || c.NoStore || c.Private || c.NoCache
}

func qualifyTargeted(value any, whole *bool) []string {
	if list, ok := value.(string); ok {
		if fields, ok := appendFieldNames(nil, list); ok {
			return fields
		}
	}
	*whole = value != false
	return nil
}

// ParseRequestControl reads Cache-Control, or Pragma where that is absent (RFC
// 9111 section 5.4). Of several values that of the more demanding holds; a
// max-age that cannot be read is 0, other directives that cannot be read are
// ignored.
func ParseRequestControl(h Header) (c RequestControl) {
	lines := h.Values("Cache-Control")
	if len(lines) == 0 {
		for _, line := range h.Values("Pragma") {
			d := directives{rest: line}
			for d.next() {
				var buf [nameLen]byte
				if string(d.lower(&buf)) == "no-cache" {
					c.NoCache = true
				}
			}
		}
		return c
	}
	for _, line := range lines {
		d := directives{rest: line}
		for d.next() {
			c.apply(&d)
		}
	}
	return c
}

func (c *RequestControl) apply(d *directives) {
	var buf [nameLen]byte
	switch string(d.lower(&buf)) {
	case "no-cache":
		c.NoCache = true
	case "no-store":
		c.NoStore = true
	case "only-if-cached":
		c.OnlyIfCached = c.OnlyIfCached || !d.doubt
	case "max-age":
		c.MaxAge.shorten(d.delta())
	case "min-fresh":
		if v, ok := d.delta(); ok {
			c.MinFresh = Delta{max(v, c.MinFresh.D), true}
		}
	case "max-stale":
		if v, ok := d.delta(); ok {
			c.MaxStale.shorten(v, true)
		} else if !d.hasArg && !d.doubt {
			c.MaxStale.shorten(math.MaxInt64, true)
		}
	case "stale-if-error":
		if v, ok := d.delta(); ok {
			c.StaleIfError.shorten(v, true)
		}
	}
}

// directives goes through one field line of directives (RFC 9111 section 5.2)
// in one pass, without allocating.
//
// A semicolon in place of a comma, a quotation mark where none belongs or without its
// partner leave it open what is meant. From there on marks are ordinary characters and directives
// are in doubt: those that forbid something hold, those that allow something
// do not.
type directives struct {
	rest string // not read yet

	name   string
	arg    string // without its quotation marks
	hasArg bool
	quoted bool
	bad    bool // the argument is malformed, or has whitespace around '='
	doubt  bool
}

// next reads the next directive; empty members of the list are skipped.
func (d *directives) next() bool {
	s := d.rest
	for s != "" && (s[0] == ',' || s[0] == ';' || isOWS(s[0])) {
		s = s[1:]
	}
	d.rest, d.name, d.arg, d.hasArg, d.quoted, d.bad = "", "", "", false, false, false
	if s == "" {
		return false
	}
	i := 0
	for i < len(s) && s[i] != ',' && s[i] != '=' && s[i] != ';' {
		if s[i] == '"' {
			d.doubt = true
		}
		i++
	}
	d.name = s[:i]
	switch {
	case i == len(s) || s[i] == ',':
		d.rest = s[i:]
	case s[i] == ';':
		d.doubt, d.rest = true, s[i:]
	default:
		d.hasArg = true
		s = s[i+1:]
		// "max-age = 60" is malformed. It is taken as a lifetime that cannot
		// be read and not as an unknown directive: 0 is the safe side.
		d.bad = i > 0 && isOWS(d.name[i-1]) || s != "" && isOWS(s[0])
		d.argument(s)
	}
	d.name = trimOWS(d.name)
	if d.doubt {
		d.name = strings.Trim(d.name, `"`)
	}
	return true
}

// argument reads what follows '='.
func (d *directives) argument(s string) {
	for s != "" && isOWS(s[0]) {
		s = s[1:]
	}
	if s != "" && s[0] == '"' && !d.doubt {
		if end := closingQuote(s); end > 0 {
			d.arg, d.quoted = s[1:end], true
			s = s[end+1:]
			end = commaOrLen(s)
			if i := strings.IndexByte(s[:end], ';'); i >= 0 {
				end, d.doubt = i, true
			}
			if junk := trimOWS(s[:end]); junk != "" {
				d.bad = true
				d.doubt = d.doubt || strings.IndexByte(junk, '"') >= 0
			}
			d.rest = s[end:]
			return
		}
	}
	end := commaOrLen(s)
	if i := strings.IndexByte(s[:end], ';'); i >= 0 {
		end, d.doubt = i, true
	}
	d.arg, d.rest = trimOWS(s[:end]), s[end:]
	d.doubt = d.doubt || strings.IndexByte(d.arg, '"') >= 0
}

// closingQuote finds the end of the quoted-string that s begins with (RFC 9110
// section 5.6.4); 0: there is none. Escapes are stepped over and left in place:
// no argument of a known directive has a use for them.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return 0
}

// delta reads the argument as delta-seconds, as a token or quoted.
func (d *directives) delta() (time.Duration, bool) {
	if !d.hasArg || d.bad || d.doubt {
		return 0, false
	}
	return ParseDelta(d.arg)
}

// nameLen is longer than the longest known directive.
const nameLen = 24

// lower gives the name in lower case; a name that is too long for buf is none
// that is known.
func (d *directives) lower(buf *[nameLen]byte) []byte {
	if len(d.name) > len(buf) {
		return nil
	}
	b := buf[:copy(buf[:], d.name)]
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return b
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func commaOrLen(s string) int {
	if i := strings.IndexByte(s, ','); i >= 0 {
		return i
	}
	return len(s)
}
