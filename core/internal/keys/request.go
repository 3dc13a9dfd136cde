package keys

import (
	"net/http"
	"net/textproto"
	"strings"
	"unsafe"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Request is an [adapter.Request] with what is known of its header.
type Request struct {
	adapter.Request
	// Forwarded says that the request has a field by which a proxy, or anybody, tells
	// what it has seen.
	Forwarded bool
	// Content is the digest of the content in hex, empty where that is no part of the key: see
	// [Request.SetContent].
	Content string

	view   adapter.Header // for canonical names; nil: the request has not entered
	folded *folded        // nil: all names came in canonical form
	public publicHeader
}

// Enter makes r of what came, with the names of its fields canonical. The header that it
// returns is for canonical names alone, and has no Host.
func (r *Request) Enter(came *adapter.Request) (adapter.Header, Asked) {
	r.Request = *came
	h := r.Header
	var all Asked
	r.folded = nil
	if m, ok := h.(http.Header); ok {
		r.view = canonicalHeader(m) // does not do again what http.Header does for other names
		if all = askedBy(r.view); all&askedSpelled != 0 {
			r.folded = foldMap(m)
			r.view = r.folded
		}
	} else {
		r.view = h
		if all = askedBy(h); all&askedSpelled != 0 {
			r.folded = foldLines(h.(adapter.NamesHeader))
			r.view = r.folded
		}
	}
	r.Forwarded = all&askedForwarded != 0
	r.public.Header, r.public.of = h, r
	r.Header = &r.public
	return r.view, all
}

// Copy returns a copy that does not point to r.
func (r *Request) Copy() *Request {
	c := *r
	if c.public.of == r {
		c.public.of, c.Header = &c, &c.public
	}
	return &c
}

// View is the header that Enter has returned.
func (r *Request) View() adapter.Header { return r.view }

// Keep returns a copy that is good when the request is over: it has nothing of the
// framework's memory.
func (r *Request) Keep() *Request {
	c := r.Copy()
	for _, s := range []*string{&c.Method, &c.Scheme, &c.Host, &c.Path, &c.RawQuery, &c.Target, &c.Partition, &c.Route} {
		*s = strings.Clone(*s)
	}
	if h, ok := r.public.Header.(http.Header); ok {
		h = h.Clone()
		if c.public.Header = h; c.folded == nil {
			c.view = canonicalHeader(h)
		}
		return c
	}
	kept := &keptHeader{values: map[string][]string{}}
	r.came().Lines(func(name, value string) {
		kept.lines = append(kept.lines, [2]string{strings.Clone(name), strings.Clone(value)})
	})
	for _, line := range kept.lines {
		name := textproto.CanonicalMIMEHeaderKey(line[0])
		if kept.values[name] != nil {
			continue
		}
		for _, value := range r.view.Values(name) {
			kept.values[name] = append(kept.values[name], strings.Clone(value))
		}
	}
	if c.public.Header = kept; c.folded == nil { // which has copies
		c.view = kept
	}
	return c
}

// keptHeader is a copy of a header.
type keptHeader struct {
	lines  [][2]string
	values map[string][]string
}

func (h *keptHeader) Values(name string) []string { return h.values[name] }

func (h *keptHeader) Names(judge func(name string) uint16) (all uint16) {
	for _, line := range h.lines {
		all |= judge(line[0])
	}
	return all
}

func (h *keptHeader) Lines(yield func(name, value string)) {
	for _, line := range h.lines {
		yield(line[0], line[1])
	}
}

// Lines are the values of a field, named in canonical form. Host is where the
// framework keeps it.
func (r *Request) Lines(name string) []string {
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
func (r *Request) came() adapter.NamesHeader {
	h, _ := r.public.Header.(adapter.NamesHeader)
	return h
}

// AppendSelected appends the normalised value of a selecting field.
func (r *Request) AppendSelected(dst []byte, name string) []byte {
	if r.folded != nil {
		for _, as := range r.folded.spelling(name) {
			dst = append(append(append(dst, '~'), as...), '~') // no token in canonical form, so in no other selection
		}
	}
	return httprules.AppendSelected(dst, name, r.Lines(name))
}

// canonicalHeader is an http.Header that is only asked for canonical names.
type canonicalHeader http.Header

func (h canonicalHeader) Values(name string) []string { return h[name] }

// publicHeader is a request's header for the functions of a policy.
type publicHeader struct {
	adapter.Header
	of *Request
}

func (h *publicHeader) Values(name string) []string {
	if !httprules.CanonicalName(name) {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return h.of.Lines(name)
}
