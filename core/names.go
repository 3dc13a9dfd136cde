package cacheaside

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"unsafe"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Field names have no case (RFC 9110 section 5.1), but a handler may be given them
// as they came: Fiber's with DisableHeaderNormalizing, or in the map of net/http,
// where middleware may put any. Names are made canonical once, as a request enters
// the engine; the spelling of what is selected by counts as well, because such a
// handler may look for one spelling and not see another.

// request is a [adapter.Request] with what the engine has found out of its header.
type request struct {
	adapter.Request
	view   adapter.Header // for canonical names; nil: the request has not entered
	folded *folded        // if there are other spellings; or nil
	public publicHeader
	// forwarded says that there is a field by which a proxy, or anybody, says what
	// it has seen.
	forwarded bool
}

// enter makes r of what came, with the names of its fields canonical. The header that it
// returns is for canonical names alone, and has no Host.
func (r *request) enter(came *adapter.Request) (adapter.Header, asked) {
	r.Request = *came
	h := r.Header
	var all asked
	r.folded = nil
	if m, ok := h.(http.Header); ok {
		r.view = canonicalHeader(m) // spares the engine the work that http.Header does for other names
		if all = askedBy(r.view); all&spelled != 0 {
			r.folded = foldMap(m)
			r.view = r.folded
		}
	} else {
		r.view = h
		if all = askedBy(h); all&spelled != 0 {
			r.folded = foldLines(h.(adapter.NamesHeader))
			r.view = r.folded
		}
	}
	r.forwarded = all&forwarded != 0
	r.public.Header, r.public.of = h, r
	r.Header = &r.public
	return r.view, all
}

// lines are the values of a field, named in canonical form. Host is where the
// framework keeps it.
func (r *request) lines(name string) []string {
	switch {
	case name == "Host" && r.Host == "":
		return nil
	case name == "Host":
		return unsafe.Slice(&r.Host, 1)
	case r.view != nil:
		return r.view.Values(name)
	case r.Header != nil:
		return r.Header.Values(name)
	}
	return nil
}

// came is the header as it came, if it has an order.
func (r *request) came() adapter.NamesHeader {
	h, _ := r.public.Header.(adapter.NamesHeader)
	return h
}

// appendSelected appends what a variant is chosen by of one field.
func (r *request) appendSelected(dst []byte, name string) []byte {
	if r.folded != nil {
		for _, as := range r.folded.spelling(name) {
			dst = append(append(append(dst, '~'), as...), '~') // no token in canonical form, so in no other selection
		}
	}
	return httprules.AppendSelected(dst, name, r.lines(name))
}

// canonicalHeader is an http.Header that is only asked for canonical names.
type canonicalHeader http.Header

func (h canonicalHeader) Values(name string) []string { return h[name] }

// publicHeader is a request's header for the functions of a policy.
type publicHeader struct {
	adapter.Header
	of *request
}

func (h *publicHeader) Values(name string) []string {
	if !httprules.CanonicalName(name) {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return h.of.lines(name)
}

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
