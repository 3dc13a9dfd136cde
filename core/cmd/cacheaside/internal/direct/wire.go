package direct

import (
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// Kind is what a key is for. The value says whether it is.
type Kind string

// The kinds.
const (
	Response  Kind = "response"
	Variant   Kind = "variant"  // a response that request fields select
	Variants  Kind = "variants" // the list of them
	Bytes     Kind = "bytes"    // of a large response
	Lock      Kind = "lock"
	Stamp     Kind = "stamp"
	Clock     Kind = "clock"
	Ring      Kind = "ring"
	Journal   Kind = "journal"
	Snapshot  Kind = "snapshot"
	Probe     Kind = "probe"
	Foreign   Kind = "foreign"
	Corrupt   Kind = "corrupt"
	OtherForm Kind = "other format"
)

// what says it in words.
var what = map[Kind]string{
	Response: "a stored response", Variant: "a response for requests with certain fields", Variants: "which fields and variants there are",
	Bytes: "the body of a large response, and its fields", Lock: "a request is asking the handler, or was of late",
	Stamp: "when this was purged last", Clock: "the number of the last purge", Ring: "the last purges",
	Journal: "purges of prefixes and of everything", Snapshot: "what an inspector shares with others", Probe: "left by cacheaside doctor; it will expire",
	Foreign: "nothing that the cache has written", Corrupt: "no entry, or a damaged one: it counts as absent, and will be overwritten",
	OtherForm: "of another version of the cache, whose services alone read and purge it",
}

// name is a key of the namespace, taken apart.
type name struct {
	wire    string
	kind    Kind   // as far as the key tells
	primary string // in full, unless cut
	cut     bool   // the primary key was too long, and goes on in the entry
}

// nameOf takes a key apart that begins with the namespace and a colon.
func (s *Store) nameOf(wire string) name {
	n := name{wire: wire, kind: Foreign}
	version, rest, _ := strings.Cut(wire[len(s.namespace)+1:], ":")
	tagged, braced := strings.CutPrefix(rest, "{")
	primary, rest, closed := strings.Cut(tagged, "}") // braces are escaped in parts
	switch {
	case version == "inspect":
		n.kind = Snapshot
	case !braced || !closed || version == "" || strings.Trim(version, "0123456789") != "":
	case version != keys.Format:
		n.kind = OtherForm
	case primary == "tags":
		n.kind = kindOfTags(rest)
	case strings.HasPrefix(primary, ProbePrefix):
		n.kind = Probe
	case ours(primary):
		n.kind, n.primary = kindOfEntry(rest), primary
		if i := len(primary) - 65; i >= 0 && primary[i] == '~' && strings.Trim(primary[i+1:], "0123456789abcdef") == "" {
			n.primary, n.cut = primary[:i], true
		}
	}
	return n
}

// ProbePrefix begins what keys of a probe have in braces.
const ProbePrefix = "doctor:"

func kindOfTags(rest string) Kind {
	rest = strings.TrimRight(rest, "|")
	switch {
	case rest == ":clock":
		return Clock
	case rest == ":clock:ring" || strings.HasPrefix(rest, ":clock|") && strings.HasSuffix(rest, ":ring"):
		return Ring
	case rest == ":clock:journal" || strings.HasPrefix(rest, ":clock|") && strings.HasSuffix(rest, ":journal"):
		return Journal
	}
	for _, prefix := range []string{":t:", ":g:", ":u:"} {
		if strings.HasPrefix(rest, prefix) {
			return Stamp
		}
	}
	return Foreign
}

func kindOfEntry(rest string) Kind {
	of := strings.TrimLeft(rest, ".") // what makes a key long enough
	digest, more, _ := strings.Cut(strings.TrimPrefix(of, ":"), ":")
	if keys.IsDigest(digest) {
		of = ""
		if more != "" {
			of = ":" + more
		}
	} else {
		digest = ""
	}
	switch {
	case of == "" && digest != "":
		return Variant
	case of == "":
		return Response
	case of == ":lock" || of == ":auth:lock":
		return Lock
	case of == ":body:0" || of == ":body:1":
		return Bytes
	}
	return Foreign
}

// text is what may be shown of it.
func (s *Store) text(n name) string {
	switch n.kind {
	case Response, Variant, Variants, Lock, Corrupt:
		return redact.Key(n.wire)
	case Bytes:
		return redact.Key(n.wire[:len(n.wire)-len(":body:0")]) + " (bytes)"
	case Stamp:
		return stampText(strings.TrimPrefix(n.wire, s.keys.Prefix))
	case Clock, Ring, Journal:
		return "(" + string(n.kind) + ")"
	}
	if i := strings.IndexByte(n.wire, '}'); n.primary != "" && i >= 0 { // named like an entry, or even under its key
		text := redact.Key(n.wire[:i+1])
		if i+1 < len(n.wire) && n.kind == Foreign {
			text += " (" + redact.Hidden + ")"
		}
		return text
	}
	// Of what others have named, the first part: the rest may be anything.
	first, _, more := strings.Cut(n.wire[len(s.namespace)+1:], ":")
	if more && len(first) <= 2*maxBare || len(first) <= maxBare {
		if more {
			first += ":" + redact.Hidden
		}
		return s.namespace + ":" + first
	}
	return s.namespace + ":" + redact.Hidden
}

// maxBare is how long a word is that is perhaps no secret.
const maxBare = 16

func stampText(tag string) string {
	tag = unescape(strings.TrimRight(tag, "|"))
	kind, rest, _ := strings.Cut(tag, ":")
	switch kind {
	case "u":
		return "url " + redact.URL(rest)
	case "g":
		return "group " + redact.Text(rest, redact.MaxKey)
	}
	return "tag " + redact.Text(rest, redact.MaxKey) // which may be a URL
}

// unescape is the reverse of [keys.AppendEscaped].
func unescape(s string) string {
	if !strings.Contains(s, "^") {
		return s
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '^' && i+2 < len(s) {
			hi, lo := strings.IndexByte(digits, s[i+1]), strings.IndexByte(digits, s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// ours reports whether primary begins like one of our keys.
func ours(primary string) bool {
	_, _, ok := keys.CutMethod(primary)
	return ok
}

// base is what of a primary key is made of the URL, from the host on, and whether there is
// more in it.
func base(primary string) (url string, more, ok bool) {
	_, rest, ok := keys.CutMethod(primary)
	i := strings.Index(rest, "//")
	if !ok || i < 0 || i > 0 && rest[i-1] != ':' {
		return "", false, false
	}
	url, _, more = strings.Cut(rest[i:], "|")
	return url, more, true
}

// glob is s as a part of a pattern that stands for nothing else.
func glob(s string) string {
	return globs.Replace(s)
}

var globs = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)
