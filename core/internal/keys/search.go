package keys

import (
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// A response may say which parameters of its URL make no difference (No-Vary-Search). It
// is found for other URLs by two hints under keys of their own, which no request has,
// since no part of its key contains a '|':
//
//	{GET:https://example.com/search|n:}                    the latest such sayings for the path
//	{GET:https://example.com/search?q=a|n:params=^28…}     for one of them, and one query without
//	                                                       what makes no difference: where to look

// Searched is a primary key with the query taken out.
type Searched struct {
	head, tail string
	query      string // as the policy has selected it
}

// SearchedOf takes a primary key apart. It fails where the key has no query of its own,
// as with a generator.
func SearchedOf(primary string) (s Searched, ok bool) {
	end := strings.IndexByte(primary, '|')
	if end < 0 {
		end = len(primary)
	}
	if part := primary[end:]; strings.HasPrefix(part, "|k:") || strings.HasPrefix(part, "|p:") {
		return s, false
	}
	s.head, s.query, _ = strings.Cut(primary[:end], "?") // in host and path it is escaped
	s.tail = primary[end:]
	s.query = unescape(s.query)
	return s, true
}

// Equivalent reports whether the keys differ in nothing but what by variance makes no
// difference.
func (s *Searched) Equivalent(other *Searched, variance httprules.Variance) bool {
	return s.head == other.head && s.tail == other.tail && variance.Equivalent(s.query, other.query)
}

// SayingsKey is the key of what responses for the path have said last.
func (m Maker) SayingsKey(s *Searched) Key {
	return m.KeyOf(s.head + s.tail + "|n:")
}

// HintKey is the key of the hint for the URLs that are equivalent to that of s. It fails
// where there are none.
func (m Maker) HintKey(s *Searched, variance httprules.Variance) (Key, bool) {
	reduced, ok := variance.AppendReduced(make([]byte, 0, len(s.query)+16), s.query)
	if !ok {
		return Key{}, false
	}
	b := make([]byte, 0, len(s.head)+len(reduced)+len(s.tail)+64)
	b = append(append(b, s.head...), '?')
	b = append(append(b, reduced...), s.tail...) // what is unreserved needs no escaping
	b = escape(append(b, "|n:"...), variance.Text(), &valueSafe)
	return m.KeyOf(viewOf(b)), true
}

// KeyOf is the key with this primary key.
func (m Maker) KeyOf(primary string) Key {
	buf := make([]byte, 0, len(m.prefix)+len(primary)+MinBytes)
	view, _ := m.wire(append(append(buf, m.prefix...), primary...))
	return m.Own(view)
}

// appendSearched appends what Search leaves of a query. Equivalent queries, selected and
// ordered by whatever policy has the same selection, give the same.
func (m Maker) appendSearched(buf []byte, raw string) ([]byte, bool) {
	selected := appendQuery(nil, raw, &m.policy.Query, false)
	reduced, ok := m.policy.Search.AppendReduced(nil, unescape(strings.TrimPrefix(viewOf(selected), "?")))
	if ok && len(reduced) > 0 {
		buf = append(append(buf, '?'), reduced...)
	}
	return buf, ok
}

// unescape undoes escape.
func unescape(s string) string {
	i := strings.IndexByte(s, '^')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		if s[i] == '^' && i+2 < len(s) {
			b = append(b, httprules.HexDigit(s[i+1])<<4|httprules.HexDigit(s[i+2]))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return viewOf(b) // nobody else has it
}
