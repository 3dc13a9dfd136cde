package purges

import (
	"fmt"
	"hash/fnv"
	"slices"
)

const (
	// maxWays bounds the ways in the journal. With one too many, the oldest is dropped, and
	// entries that were stored by it are not used any more.
	maxWays = 64
	// maxSearches bounds those of them with Search, which responses bring about. There is
	// not one too many, so that they never drop a policy's.
	maxSearches = 16
)

// Way says what a policy leaves out of the URLs in its keys. Whoever purges a URL has to
// know it, in whatever process: so a way is in the journal before anything is stored by
// it, and each purge of a URL reads the journal. An entry older than its way's place in
// the journal, because the journal was lost meanwhile, is not used.
type Way struct {
	NoHost bool     `json:"no_host,omitempty"`
	Only   bool     `json:"only,omitempty"` // nothing but Allow, which may be empty
	Allow  []string `json:"allow,omitempty"`
	Deny   []string `json:"deny,omitempty"`
	Search string   `json:"search,omitempty"` // what a response's No-Vary-Search leaves out of the rest
	Since  uint64   `json:"since"`            // the number with which it came into the journal
	id     uint64
}

// NewWay returns the way that leaves out the host, if noHost, and query parameters: all
// but allow, where that is not nil, and deny.
func NewWay(noHost bool, allow, deny []string) *Way {
	w := &Way{NoHost: noHost, Only: allow != nil, Allow: sorted(allow), Deny: sorted(deny)}
	w.identify()
	return w
}

// Searching returns w with a No-Vary-Search in its one spelling.
func (w *Way) Searching(search string) *Way {
	out := *w
	out.Search, out.Since = search, 0
	out.identify()
	return &out
}

// ID is the same for ways that leave out the same.
func (w *Way) ID() uint64 { return w.id }

func (w *Way) identify() {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%t %t %q %q", w.NoHost, w.Only, w.Allow, w.Deny)
	if w.Search != "" {
		_, _ = fmt.Fprintf(h, " %q", w.Search)
	}
	w.id = h.Sum64()
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
