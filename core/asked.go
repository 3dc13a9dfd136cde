package cacheaside

import (
	"net/textproto"
	"slices"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// asked says which fields a request has that concern the cache, so that none is
// looked for that is not there.
type asked = uint16

// The bits.
const (
	forwarded    asked = 1 << iota
	override           // of method or path
	precondition       // that only the handler can judge
	directed           // Cache-Control, Pragma
	conditional        // If-None-Match, If-Modified-Since
	ranged             // Range
	upgrade            // Upgrade
	chunked            // Transfer-Encoding
	credentials        // Authorization
	cookies            // Cookie
	origin             // Origin
	spelled            // a name that is not in canonical form
)

// otherFields are those of the other bits.
var otherFields = []string{
	"If-Match", "If-Unmodified-Since", "Cache-Control", "Pragma", "If-None-Match", "If-Modified-Since", "Range",
	"Upgrade", "Transfer-Encoding", "Authorization", "Cookie", "Origin",
}

// bitOf judges a canonical field name.
func bitOf(name string) asked {
	if len(name) < 5 {
		return 0
	}
	switch name[0] {
	case 'A', 'C', 'O', 'P', 'I', 'R', 'U', 'T':
		switch name {
		case "Cookie":
			return cookies
		case "Authorization":
			return credentials
		case "Origin":
			return origin
		case "Cache-Control", "Pragma":
			return directed
		case "If-None-Match", "If-Modified-Since":
			return conditional
		case "If-Match", "If-Unmodified-Since":
			return precondition
		case "Range":
			return ranged
		case "Upgrade":
			return upgrade
		case "Transfer-Encoding":
			return chunked
		}
		return 0
	case 'X', 'F':
	default:
		return 0
	}
	switch name {
	case "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Ssl",
		"X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Path", "X-Forwarded-Uri",
		"X-Url-Scheme", "X-Scheme", "X-Host", "X-Original-Host", "X-Http-Host-Override", "Front-End-Https", "Forwarded":
		return forwarded
	case "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return override
	}
	return 0
}

// judge is bitOf for names in any case.
func judge(name string) asked {
	if httprules.CanonicalName(name) {
		return bitOf(name)
	}
	return spelled | bitOf(textproto.CanonicalMIMEHeaderKey(name))
}

// askedBy tells what there is of these fields.
func askedBy(h adapter.Header) (all asked) {
	switch h := h.(type) {
	case canonicalHeader:
		for name := range h {
			all |= judge(name)
		}
	case adapter.NamesHeader:
		all = h.Names(judge)
	default:
		for _, name := range slices.Concat(forwardedFields, overrideFields, otherFields) {
			if len(h.Values(name)) > 0 {
				all |= bitOf(name)
			}
		}
	}
	return all
}
