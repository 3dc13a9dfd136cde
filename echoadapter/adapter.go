package echoadapter

import (
	"errors"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for Echo that answers requests from cache: GET and HEAD,
// and what else its policy says. Use it on the Echo (Use), a group or a single route. It panics if
// cache is nil.
func New(cache *cacheaside.Cache, opts ...Option) echo.MiddlewareFunc {
	if cache == nil {
		panic("echoadapter.New: the cache is nil: make one with cacheaside.New")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if next == nil {
			panic("echoadapter.New: the next handler is nil: give the middleware a handler to wrap")
		}
		return func(c echo.Context) error {
			x := exchanges.Get().(*exchange)
			defer x.release()
			x.Reset(c.Response(), c.Request())
			x.c, x.next = c, next
			if x.Request().Route = c.Path(); c.Path() == "" { // in front of the router
				x.Request().Router = x
			}
			o.prepare(c, x.Request())
			return cache.Serve(x)
		}
	}
}

type exchange struct {
	nethttp.Exchange
	c    echo.Context
	next echo.HandlerFunc
	kept bool // a hook of the response needs it
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	if x.kept {
		return
	}
	*x = exchange{Exchange: x.Kept()}
	exchanges.Put(x)
}

// Next gives the handler a Response of its own, with hooks of its own: those of
// middleware in front run when the answer is sent, and what they set is no part of
// what is stored.
func (x *exchange) Next(f adapter.Forward) (*adapter.Response, error) {
	c, res, request := x.c, x.c.Response(), x.c.Request()
	given := request
	defer func() {
		c.SetResponse(res)
		if f.Set != nil || c.Request() == given {
			c.SetRequest(request)
		}
	}()
	var failed error
	before := front{res: res}
	if x.Hooked = hasHooks(res); x.Hooked {
		before.c = c
	}
	resp, err := x.Run(f, before, func(w http.ResponseWriter, r *http.Request) error {
		own := echo.NewResponse(w, c.Echo())
		own.Status = res.Status
		c.SetResponse(own)
		given = r
		c.SetRequest(r)
		failed = x.next(c)
		switch {
		case failed == nil:
			if nethttp.Silent(w) { // for middleware in front to write
				leave(res, own, func(int) {})
			}
		case own.Committed: // cut short
			nethttp.GiveUp(w, adapter.ReasonHandler)
		case f.HandleError != nil && f.HandleError(errorStatus(failed), own.Header()):
			c.Error(failed)
			failed = nil
		default: // for middleware in front, and then for the service's error handler
			x.kept = true
			leave(res, own, nethttp.Later(w))
		}
		return nil
	})
	if err == nil {
		err = failed
	}
	return resp, err
}

// leave has the hooks of own, which nothing was written to, run when somebody in
// front sends the response.
func leave(res, own *echo.Response, annotate func(status int)) {
	res.Status, own.Writer = own.Status, hooked{res.Header()}
	res.Before(func() {
		annotate(res.Status)
		own.WriteHeader(res.Status)
	})
	res.After(func() { _, _ = own.Write(nil) })
}

// hooked is a writer that only has a header.
type hooked struct{ header http.Header }

func (h hooked) Header() http.Header         { return h.header }
func (h hooked) WriteHeader(int)             {}
func (h hooked) Write(b []byte) (int, error) { return len(b), nil }

// errorStatus is what Echo's own error handler makes of err.
func errorStatus(err error) int {
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return he.Code
	}
	return http.StatusInternalServerError
}

func (x *exchange) Detach() adapter.Refresher { return x.Refresher(x.c.Echo()) }

// Taken implements [adapter.Router].
func (x *exchange) Taken() string { return x.c.Path() }

// Find implements [adapter.Router].
func (x *exchange) Find() string {
	e := x.c.Echo()
	c := e.AcquireContext()
	defer e.ReleaseContext(c)
	c.Reset(x.c.Request(), x.c.Response())
	e.Router().Find(x.c.Request().Method, echo.GetPath(x.c.Request()), c)
	return c.Path()
}

// Show implements [adapter.Router].
func (x *exchange) Show(route string) { x.c.SetPath(route) }

// Probe implements [adapter.Prober].
func (x *exchange) Probe() adapter.Entry { return x.Prober(x.c.Echo()) }
