package cacheaside

import (
	"slices"
	"strings"
)

// selector is a [Selection] of case-sensitive names that is fast to ask: a browser
// has many cookies, and a ready-made list many patterns.
type selector struct {
	listed   bool // whether what is on the list is selected
	names    map[string]struct{}
	prefixes []string // sorted, and none begins with another one
}

func newSelector(s Selection) *selector {
	list, listed := s.Deny, false
	if s.Allow != nil {
		list, listed = s.Allow, true
	}
	out := &selector{listed: listed, names: make(map[string]struct{})}
	for _, pattern := range list {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			out.prefixes = append(out.prefixes, prefix)
		} else {
			out.names[pattern] = struct{}{}
		}
	}
	slices.Sort(out.prefixes)
	kept := out.prefixes[:0]
	for _, p := range out.prefixes {
		if n := len(kept); n == 0 || !strings.HasPrefix(p, kept[n-1]) {
			kept = append(kept, p)
		}
	}
	out.prefixes = kept
	return out
}

// has reports whether name is selected.
func (s *selector) has(name string) bool {
	if _, ok := s.names[name]; ok {
		return s.listed
	}
	at, ok := slices.BinarySearch(s.prefixes, name)
	if ok || at > 0 && strings.HasPrefix(name, s.prefixes[at-1]) {
		return s.listed
	}
	return !s.listed
}
