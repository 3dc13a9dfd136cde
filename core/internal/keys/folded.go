package keys

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Field names have no case (RFC 9110 section 5.1), but a handler may be given them
// as they came: Fiber's with DisableHeaderNormalizing, or in the map of net/http,
// where middleware may put any. Names are made canonical once, when a request enters.
// The spelling of a selecting field counts as well, because such a handler may look
// for one spelling and not see another.

// folded is a header with the lines of all spellings of a name together.
type folded struct {
	values, as map[string][]string // by canonical names: the values, and under which names they came
}

func (f *folded) Values(name string) []string { return f.values[name] }

// spelling are the names of the lines under name, if not all are canonical.
func (f *folded) spelling(name string) []string {
	for _, as := range f.as[name] {
		if as != name {
			return f.as[name]
		}
	}
	return nil
}

func (f *folded) add(name, value string) {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	f.values[canonical] = append(f.values[canonical], value)
	f.as[canonical] = append(f.as[canonical], name)
}

func newFolded() *folded { return &folded{map[string][]string{}, map[string][]string{}} }

// foldMap puts the canonical spelling first, for net/http's own methods see no
// other, and the others in the order of bytes.
func foldMap(h http.Header) *folded {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if x, y := httprules.CanonicalName(a), httprules.CanonicalName(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	f := newFolded()
	for _, name := range names {
		for _, value := range h[name] {
			f.add(name, value)
		}
	}
	return f
}

// foldLines copies what it keeps: the memory may be the framework's.
func foldLines(h adapter.NamesHeader) *folded {
	f := newFolded()
	h.Lines(func(name, value string) { f.add(strings.Clone(name), strings.Clone(value)) })
	return f
}
