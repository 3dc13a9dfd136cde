package keys

import (
	"net/textproto"
	"slices"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Asked is a set of bits that say which fields a request has that concern the cache,
// so that none is looked for that is not there.
type Asked uint16

// The bits.
const (
	askedForwarded    Asked = 1 << iota // see [Request].Forwarded
	AskedOverride                       // a field puts another method or path in place of the request's
	AskedPrecondition                   // If-Match, If-Unmodified-Since: only the handler can judge them
	AskedDirected                       // Cache-Control, Pragma
	AskedConditional                    // If-None-Match, If-Modified-Since
	AskedRanged                         // Range
	AskedUpgrade                        // Upgrade
	AskedChunked                        // Transfer-Encoding
	AskedCredentials                    // Authorization
	AskedCookies                        // Cookie
	AskedOrigin                         // Origin
	askedSpelled                        // a name that is not in canonical form
)

// otherFields are those whose bits are neither askedForwarded nor AskedOverride.
var otherFields = []string{
	"If-Match", "If-Unmodified-Since", "Cache-Control", "Pragma", "If-None-Match", "If-Modified-Since", "Range",
	"Upgrade", "Transfer-Encoding", "Authorization", "Cookie", "Origin",
}

// bitOf returns the bit of a canonical field name, 0 where it has none.
func bitOf(name string) Asked {
	if len(name) < 5 {
		return 0
	}
	switch name[0] {
	case 'A', 'C', 'O', 'P', 'I', 'R', 'U', 'T':
		switch name {
		case "Cookie":
			return AskedCookies
		case "Authorization":
			return AskedCredentials
		case "Origin":
			return AskedOrigin
		case "Cache-Control", "Pragma":
			return AskedDirected
		case "If-None-Match", "If-Modified-Since":
			return AskedConditional
		case "If-Match", "If-Unmodified-Since":
			return AskedPrecondition
		case "Range":
			return AskedRanged
		case "Upgrade":
			return AskedUpgrade
		case "Transfer-Encoding":
			return AskedChunked
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
		return askedForwarded
	case "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return AskedOverride
	}
	return 0
}

// judge is bitOf for names in any case, as [adapter.NamesHeader] takes it.
func judge(name string) uint16 {
	if httprules.CanonicalName(name) {
		return uint16(bitOf(name))
	}
	return uint16(askedSpelled | bitOf(textproto.CanonicalMIMEHeaderKey(name)))
}

// askedBy returns the bits of the fields in h.
func askedBy(h adapter.Header) (all Asked) {
	switch h := h.(type) {
	case canonicalHeader:
		for name := range h {
			all |= Asked(judge(name))
		}
	case adapter.NamesHeader:
		all = Asked(h.Names(judge))
	default:
		for _, name := range slices.Concat(forwardedFields, overrideFields, otherFields) {
			if len(h.Values(name)) > 0 {
				all |= bitOf(name)
			}
		}
	}
	return all
}
