package fiberadapter

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// New returns a middleware for Fiber that answers requests from cache: GET and HEAD,
// and what else its policy says. Use it on an app (Use), a group or a single route. It panics if cache
// is nil.
func New(cache *cacheaside.Cache, opts ...Option) fiber.Handler {
	if cache == nil {
		panic("fiberadapter.New: the cache is nil: make one with cacheaside.New")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	table := new(routeTable)
	return func(c *fiber.Ctx) error {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.reset(c)
		x.table, x.req.Router = table, x
		o.prepare(c, &x.req)
		return cache.Serve(x)
	}
}

type exchange struct {
	c        *fiber.Ctx
	req      adapter.Request
	header   requestHeader
	saved    *fasthttp.RequestHeader // header, as it was before the handler
	before   http.Header             // the response header when the handler was called; nil where that is empty
	captured bool
	bare     *fasthttp.ResponseHeader // the same, with what the server has set for all its responses
	typed    bool                     // there was a Content-Type then
	begun    bool                     // and a body
	sent     *adapter.Response
	resp     adapter.Response
	content  []byte          // of the request
	keyed    bool            // which is part of the key
	streamed bool            // and was read from a stream
	own      context.Context //nolint:containedctx // the request's, when the handler was called

	config appConfig
	table  *routeTable
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	header := x.resp.Header
	clear(header)
	*x = exchange{resp: adapter.Response{Header: header[:0]}, header: requestHeader{values: x.header.values[:0], cookies: x.header.cookies[:0]}, saved: x.saved, bare: x.bare, config: x.config}
	exchanges.Put(x)
}

func (x *exchange) Context() context.Context {
	if x.own != nil {
		return x.own
	}
	return x.c.UserContext()
}

func (x *exchange) Request() *adapter.Request { return &x.req }

func (x *exchange) Next(f adapter.Forward) (*adapter.Response, error) {
	c := x.c
	res := c.Response()
	x.keep(f.Capture, f.Part)
	if f.Capture {
		x.before, x.captured = responseHeader(c, res), true
		if x.bare == nil {
			x.bare = new(fasthttp.ResponseHeader)
		}
		res.Header.CopyTo(x.bare)
		x.typed, x.begun = typed(c, res), res.IsBodyStream() || len(res.Body()) > 0
	}
	var run *adapter.RunContext
	if f.Run != nil {
		f.Run.Target = string(c.Context().RequestURI())
		if f.Capture {
			f.Run.Held = held{c.Context(), x.req.Rerun != nil}
		}
		ctx, old := x.Context(), c.Context().UserValue(adapter.RunKey)
		run, x.own = f.Context(ctx), ctx
		defer func() {
			if !res.IsBodyStream() { // else the handler goes on
				run.Close()
			}
		}()
		c.SetUserContext(run)
		defer func() {
			if c.UserContext() == run { // else middleware in front sees what it was replaced by, as without a cache
				c.SetUserContext(ctx)
			}
		}()
		c.Context().SetUserValue(adapter.RunKey, f.Run) // for who takes c.Context() for the context
		defer c.Context().SetUserValue(adapter.RunKey, old)
	}
	if f.Set != nil {
		defer setRequest(&c.Request().Header, f.Set)()
	}
	err := c.Next()
	if err != nil && f.HandleError != nil && f.HandleError(errorStatus(err), responseHeader(c, res)) {
		if err = c.App().ErrorHandler(c, err); err != nil {
			_ = c.SendStatus(fiber.StatusInternalServerError)
		}
		err = nil
	}
	late := c.Context().LastTimeoutErrorResponse()
	if late != nil { // it is sent instead, and a goroutine of the handler may still write into the other
		res = late
	}
	resp := &x.resp
	*resp = adapter.Response{Status: res.StatusCode(), Sent: true, Header: resp.Header[:0]}
	switch {
	case late != nil:
		resp.Reason = adapter.ReasonHandler
	case c.Context().Hijacked():
		resp.Reason = adapter.ReasonHijack
	case !f.Capture:
	case err != nil: // for middleware in front, and then for the app's error handler
		resp.Reason = adapter.ReasonHandler
	case f.OfPart(resp.Status):
		resp.Sent = false
		resp.Body, resp.Reason = x.part(res, f.MaxBody)
	case adapter.IsEventStream(view(res.Header.ContentType())), res.IsBodyStream() && streamAt == 0:
		resp.Reason = adapter.ReasonStream
	case len(res.Header.PeekTrailerKeys()) > 0:
		resp.Reason = adapter.ReasonTrailers
	case f.MaxBody > 0 && bodySize(res) > f.MaxBody:
		resp.Reason = adapter.ReasonTooLarge
	case x.begun: // whose bytes are whose, nobody knows
		resp.Reason = adapter.ReasonBegun
	case res.IsBodyStream():
		resp.Sent, resp.Tee = false, x.teeing(f, run)
	case x.unwritten(res):
		resp.Reason = adapter.ReasonUnwritten
	default:
		resp.Sent, resp.Body = false, res.Body()
	}
	if resp.Sent {
		if f.Annotate != nil {
			status := resp.Status
			if err != nil { // the app's error handler will set it
				status = 0
			}
			apply(res, f.Annotate(status, responseHeader(c, res), resp.Reason), false)
		}
		return resp, err
	}
	if run != nil && run.Knows() { // the handler may have ended one of its own
		resp.Reason = adapter.ReasonClientGone
	}
	after := responseHeader(c, res)
	resp.Header, resp.Effective = adapter.AppendAdded(resp.Header, x.before, after), after
	x.sent = resp
	return resp, nil
}

func (x *exchange) Reply(resp *adapter.Response) error {
	res := x.c.Response()
	if resp != x.sent {
		if x.captured { // take back what the handler has set
			res.Reset()
			x.c.Context().Hijack(nil)
			x.bare.CopyTo(&res.Header)
		}
		if x.config.of(x.c.App()); x.config.exact {
			applyExact(res, resp.Header, x.config.date)
		} else {
			apply(res, resp.Header, x.config.date)
		}
		res.SetStatusCode(resp.Status)
		res.SetBody(resp.Body) // a copy: middleware in front may write into it
	}
	apply(res, resp.Extra, false)
	x.leaving(resp.Leaving)
	return nil
}

// part is the body of a response that only the cache has asked for, or says why it cannot
// be kept; nothing of it is sent. A stream is read.
func (x *exchange) part(res *fasthttp.Response, limit int64) (body []byte, reason string) {
	switch {
	case len(res.Header.PeekTrailerKeys()) > 0:
		return nil, adapter.ReasonTrailers
	case x.begun:
		return nil, adapter.ReasonBegun
	}
	if res.IsBodyStream() {
		from := res.BodyStream()
		if limit > 0 {
			from = io.LimitReader(from, limit+1)
		}
		b, err := io.ReadAll(from)
		if cerr := res.CloseBodyStream(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, adapter.ReasonIncomplete
		}
		res.SetBodyRaw(b)
	}
	if body = res.Body(); limit > 0 && int64(len(body)) > limit {
		return nil, adapter.ReasonTooLarge
	}
	return body, ""
}

// bodySize is how long the body is, -1 where nobody knows.
func bodySize(res *fasthttp.Response) int64 {
	if res.IsBodyStream() {
		return streamSize(res)
	}
	return int64(len(res.Body()))
}

// errorStatus is what Fiber's own error handler makes of err.
func errorStatus(err error) int {
	var e *fiber.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fiber.StatusInternalServerError
}
