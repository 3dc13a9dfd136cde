package keys

import (
	"slices"
	"strings"
)

// Selector is a list of case-sensitive names to allow or to deny, in a form that is
// fast to ask: a browser has many cookies, and a ready-made list many patterns. The
// zero value selects all names.
type Selector struct {
	listed   bool // whether what is on the list is selected
	names    map[string]struct{}
	prefixes []string // sorted, and none begins with another one
}

// NewSelector makes a selector of the names to allow, or of those to deny where allow
// is nil. A name may end in '*', which stands for whatever follows.
func NewSelector(allow, deny []string) Selector {
	list, listed := deny, false
	if allow != nil {
		list, listed = allow, true
	}
	out := Selector{listed: listed, names: make(map[string]struct{})}
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

// All reports whether s has no list, and selects all names.
func (s *Selector) All() bool { return !s.listed && len(s.names) == 0 && len(s.prefixes) == 0 }

// Has reports whether name is selected.
func (s *Selector) Has(name string) bool {
	if _, ok := s.names[name]; ok {
		return s.listed
	}
	at, ok := slices.BinarySearch(s.prefixes, name)
	if ok || at > 0 && strings.HasPrefix(name, s.prefixes[at-1]) {
		return s.listed
	}
	return !s.listed
}
