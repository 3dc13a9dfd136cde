package echoadapter

import (
	"errors"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for Echo that answers GET and HEAD requests from
// cache. Use it on the Echo (Use), a group or a single route. It panics if
// cache is nil.
func New(cache *core.Cache, opts ...Option) echo.MiddlewareFunc {
	if cache == nil {
		panic("echoadapter.New: the cache is nil: make one with core.New")
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
			o.prepare(c, x.Request())
			return cache.Serve(x)
		}
	}
}

type exchange struct {
	nethttp.Exchange
	c    echo.Context
	next echo.HandlerFunc
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	*x = exchange{}
	exchanges.Put(x)
}

func (x *exchange) Next(f core.Forward) (*core.Response, error) {
	c, res := x.c, x.c.Response()
	inner, request := res.Writer, c.Request()
	committed, status, size := res.Committed, res.Status, res.Size
	var capture http.ResponseWriter
	panics, given := true, request
	defer func() {
		if panics && nethttp.Holding(capture) { // nothing has been sent
			res.Committed, res.Status, res.Size = committed, status, size
		}
		res.Writer = inner
		if f.Set != nil || c.Request() == given {
			c.SetRequest(request)
		}
	}()
	var failed error
	resp, err := x.Run(f, inner, func(w http.ResponseWriter, r *http.Request) error {
		res.Writer, capture = w, w
		given = r
		c.SetRequest(r)
		failed = x.next(c)
		switch {
		case failed == nil:
		case f.Capture: // the status is not known before
			if res.Committed { // cut short: the error handler can do nothing
				nethttp.GiveUp(w, core.ReasonHandler)
			}
			c.Error(failed)
			failed = nil
		default:
			nethttp.Pending(w, errorStatus(failed))
		}
		return nil
	})
	panics = false
	if err == nil && failed != nil { // nothing is captured: the error takes its usual way
		return resp, failed
	}
	return resp, err
}

// errorStatus is what Echo's own error handler makes of err.
func errorStatus(err error) int {
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return he.Code
	}
	return http.StatusInternalServerError
}

func (x *exchange) Reply(resp *core.Response) error {
	res := x.c.Response()
	if !res.Committed {
		return x.Exchange.Reply(resp)
	}
	// The handler has committed what was held back, and Before hooks have run.
	res.Status, res.Size = resp.Status, int64(len(resp.Body))
	return x.ReplyTo(res.Writer, resp)
}

func (x *exchange) Detach() core.Refresher { return x.Refresher(x.c.Echo()) }
