package fiberadapter

import (
	"net/http"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/gofiber/fiber/v2"

	"github.com/cacheaside/cacheaside/core"
)

// reset describes the request of c. Its strings are views of Fiber's memory,
// which is valid until the middleware returns.
func (x *exchange) reset(c *fiber.Ctx) {
	x.c = c
	x.header.h = &c.Request().Header
	uri := c.Request().URI()
	q := &x.req
	// Not Fiber's accessors for scheme and host: they trust X-Forwarded fields.
	q.Method, q.Host, q.Path, q.RawQuery = c.Method(), view(uri.Host()), c.Path(), view(uri.QueryString())
	q.Scheme = "http"
	if c.Context().IsTLS() {
		q.Scheme = "https"
	}
	q.Target = core.RewrittenTarget(c.OriginalURL(), q.Host, q.Path, q.RawQuery)
	q.Header = &x.header
	length := x.header.h.Peek("Content-Length")
	q.HasBody = len(length) > 0 && string(length) != "0" || len(x.header.h.Peek("Transfer-Encoding")) > 0
	q.Upgrade = len(x.header.h.Peek("Upgrade")) > 0
	q.Outer, _ = c.Context().UserValue(flightKey{}).(*core.Flight)
	q.Rerun, _ = c.Context().UserValue(rerunKey{}).(*core.Rerun)
}

// flightKey is where a request finds the flight that it is part of.
type flightKey struct{}

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

// responseHeader copies the header of the response. The Content-Type that
// fasthttp makes up, but does not send without a body, is not part of it.
func responseHeader(c *fiber.Ctx) http.Header {
	h := make(http.Header)
	res := c.Response()
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

func apply(res *fasthttp.Response, fields core.Fields) {
	for i := range fields {
		switch f := &fields[i]; f.Op {
		case core.OpSet:
			if f.Name == fiber.HeaderDate {
				setDate(&res.Header, f.Value)
				continue
			}
			res.Header.SetCanonical(raw(f.Name), raw(f.Value)) // copies both
		case core.OpDel:
			res.Header.Del(f.Name)
		case core.OpAdd:
			res.Header.Add(f.Name, f.Value)
		}
	}
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
