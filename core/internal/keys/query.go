package keys

import (
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// maxParams is how many parameters are taken apart. Servers have limits of their own
// (that of net/url may be set from outside), beyond which the handler sees none of the
// parameters. So a query of more goes into the key as it came, with those that the
// policy leaves out.
const maxParams = 256

// appendQuery writes the selected parameters, sorted by name; those of one
// name keep their order. Names and values stay as the client encoded them.
func appendQuery(buf []byte, raw string, selected *Selector, keepOrder bool) []byte {
	if raw == "" {
		return buf
	}
	all := selected.All()
	if all && (keepOrder || sortedQuery(raw)) || len(raw) > maxParams && strings.Count(raw, "&") >= maxParams {
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
		if all || selected.Has(p.name) || strings.IndexByte(pair, ';') >= 0 {
			pairs = append(pairs, p)
		}
	}
	if !keepOrder && strings.IndexByte(raw, ';') < 0 {
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

// paramName is the name as the handler decodes it.
func paramName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	name, _ = httprules.FormDecoded(name)
	return name
}
