package fiberadapter

import (
	"net/http"
	"net/url"
	"strings"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/gofiber/fiber/v2"

	"github.com/cacheaside/cacheaside/core"
)

// reset describes the request of c. Its strings are views of Fiber's memory,
// which stays as it is until the handler runs: see keep.
func (x *exchange) reset(c *fiber.Ctx) {
	x.c = c
	x.header.h = &c.Request().Header
	uri := c.Request().URI()
	q := &x.req
	// Not Fiber's accessors for scheme and host: they trust X-Forwarded fields.
	q.Method, q.Host, q.Path, q.RawQuery = c.Method(), view(uri.Host()), escapedPath(c.Path()), view(uri.QueryString())
	q.Scheme = "http"
	if c.Context().IsTLS() {
		q.Scheme = "https"
	}
	q.Target = core.RewrittenTarget(c.OriginalURL(), q.Host, q.Path, q.RawQuery)
	// The absolute form replaces Host (RFC 9112 section 3.2.2), but a handler may
	// look at what it has replaced.
	if host := view(x.header.h.Host()); !strings.EqualFold(host, q.Host) {
		q.Target = c.OriginalURL() + " " + host
	}
	q.Header = &x.header
	// Core sees Upgrade and Transfer-Encoding by their names. -2: nothing is said.
	length := x.header.h.ContentLength()
	q.HasBody = length != 0 && length != -2
	q.Outer = core.FlightIn(c.Context())
	q.Rerun, _ = c.Context().UserValue(rerunKey{}).(*core.Rerun)
}

// keep makes x.req what it is whatever the handler does to its request: Fiber
// writes a new path or query where the old one was.
func (x *exchange) keep(header bool) {
	q := &x.req
	for _, s := range []*string{&q.Host, &q.Path, &q.RawQuery, &q.Target, &q.Partition} {
		*s = strings.Clone(*s)
	}
	if header {
		if x.saved == nil {
			x.saved = new(fasthttp.RequestHeader)
		}
		x.header.h.CopyTo(x.saved)
		x.header.h = x.saved
	}
}

// escapedPath is path as net/url writes it, which is how a URL to be purged is
// read: few clients encode all that they should. The Target still tells apart
// what was sent.
func escapedPath(path string) string {
	for i := range len(path) {
		if !pathByte[path[i]] {
			if plain, err := url.PathUnescape(path); err == nil {
				return (&url.URL{Path: plain, RawPath: path}).EscapedPath()
			}
			return path
		}
	}
	return path
}

// pathByte are those of a path that is written as it should be (RFC 3986 section
// 3.3, and what net/url takes besides).
var pathByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range []byte("-._~!$&'()*+,;=:@[]%/") {
		t[c] = true
	}
	return t
}()

// requestHeader is a core.Header over Fiber's request.
type requestHeader struct {
	h      *fasthttp.RequestHeader
	values []string
}

func (r *requestHeader) Values(name string) []string {
	r.values = r.values[:0]
	for _, v := range r.h.PeekAll(name) {
		r.values = append(r.values, view(v))
	}
	return r.values
}

// Names is core.NamesHeader's.
func (r *requestHeader) Names(judge func(name string) uint8) (all uint8) {
	r.h.VisitAll(func(name, _ []byte) { all |= judge(view(name)) })
	return all
}

// responseHeader copies the header of res. The Content-Type that
// fasthttp makes up, but does not send without a body, is not part of it.
func responseHeader(c *fiber.Ctx, res *fasthttp.Response) http.Header {
	h := make(http.Header)
	res.Header.VisitAll(func(k, v []byte) {
		name := http.CanonicalHeaderKey(string(k))
		h[name] = append(h[name], string(v))
	})
	if !core.BodyAllowed(res.StatusCode()) || !res.IsBodyStream() && len(res.Body()) == 0 {
		res.Header.SetNoDefaultContentType(true)
		if len(res.Header.ContentType()) == 0 {
			delete(h, "Content-Type")
		}
		res.Header.SetNoDefaultContentType(c.App().Config().DisableDefaultContentType)
	}
	return h
}

// setRequest sets the fields and returns a function that takes it back.
func setRequest(h *fasthttp.RequestHeader, set http.Header) (undo func()) {
	old := make(http.Header, len(set))
	replace := func(with http.Header) {
		for name, values := range with {
			h.Del(name)
			for _, v := range values {
				h.Add(name, v)
			}
		}
	}
	for name := range set {
		old[name] = nil
		for _, v := range h.PeekAll(name) {
			old[name] = append(old[name], string(v))
		}
	}
	replace(set)
	return func() { replace(old) }
}

// apply sets fields; date says whether the app sends that of its handlers.
func apply(res *fasthttp.Response, fields core.Fields, date bool) {
	for i := range fields {
		switch f := &fields[i]; {
		case f.Op == core.OpDel:
			res.Header.Del(f.Name)
		case f.Op == core.OpAdd:
			res.Header.Add(f.Name, f.Value)
		case f.Name != fiber.HeaderDate:
			res.Header.SetCanonical(raw(f.Name), raw(f.Value)) // copies both
		case date:
			setDate(&res.Header, f.Value)
		}
	}
}

// sendsDate reports whether the app sends the Date of its handlers. Its Config is
// long, and would be copied for each hit.
func (x *exchange) sendsDate() bool {
	if app := x.c.App(); app != x.app {
		x.app, x.ownDate = app, app.Config().DisableDefaultDate
	}
	return x.ownDate
}

// SetDate sets the Date of the response, which is not to be had by fasthttp's own
// methods: for handlers that pass on the response of somebody else. Only an app
// with DisableDefaultDate sends it; the others send the time of sending.
func SetDate(c *fiber.Ctx, date string) { setDate(&c.Response().Header, date) }

// setDate sets the field under a name of the same length, and renames it.
func setDate(h *fasthttp.ResponseHeader, date string) {
	const name = "Dat-"
	h.Del(fiber.HeaderDate)
	h.Set(name, date)
	h.VisitAll(func(k, _ []byte) {
		if string(k) == name {
			copy(k, fiber.HeaderDate)
		}
	})
}

// raw are the bytes of s, to be read only.
func raw(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// view is a string over b, for as long as Fiber keeps b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
