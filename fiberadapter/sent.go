package fiberadapter

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// unwritten reports whether the handler has left the response as it was, Fiber's
// empty 200 as a rule, which says nothing of its own. Middleware in front may make a
// page of what the handler has put into the locals.
func (x *exchange) unwritten(res *fasthttp.Response) bool {
	return res.StatusCode() == x.bare.StatusCode() && adapter.BodyAllowed(res.StatusCode()) && len(res.Body()) == 0 && typed(x.c, res) == x.typed &&
		(!x.typed || string(res.Header.ContentType()) == string(x.bare.ContentType()))
}

// leaving has f called when the response has been sent, as middleware in front has
// left it: fasthttp closes the values of a request then. Where no server has the
// request, nobody would.
func (x *exchange) leaving(f func(adapter.Header)) {
	if c := x.c.Context(); f != nil && !(held{c, x.req.Rerun != nil}).OnLeave(f) {
		f(sentHeader{&c.Response.Header})
	}
}

// held is a [core.Held].
type held struct {
	c     *fasthttp.RequestCtx
	rerun bool
}

func (h held) OnLeave(f func(adapter.Header)) bool {
	if h.c.ConnRequestNum() == 0 && !h.rerun {
		return false
	}
	s := &sent{h.c, f}
	h.c.SetUserValue(s, s) // a key of its own: there may be several caches
	return true
}

type sent struct {
	c *fasthttp.RequestCtx
	f func(adapter.Header)
}

// Close is called by fasthttp.
func (s *sent) Close() error {
	s.f(sentHeader{&s.c.Response.Header})
	return nil
}

// sentHeader is a core.Header over Fiber's response.
type sentHeader struct{ h *fasthttp.ResponseHeader }

func (s sentHeader) Values(name string) (values []string) {
	s.h.VisitAll(func(k, v []byte) {
		if strings.EqualFold(view(k), name) {
			values = append(values, string(v))
		}
	})
	return values
}
