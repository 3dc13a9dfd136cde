package ginadapter

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for Gin that answers GET and HEAD requests from
// cache. Use it on an engine, a group or a single route. It panics if cache is
// nil.
func New(cache *core.Cache, opts ...Option) gin.HandlerFunc {
	if cache == nil {
		panic("ginadapter.New: the cache is nil: make one with core.New")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return func(c *gin.Context) {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(c.Writer, c.Request)
		x.c = c
		if c.FullPath() == "" { // Gin writes its 404 after the middleware
			x.Request().Bypass = "no-route"
		}
		o.prepare(c, x.Request())
		_ = cache.Serve(x) // nothing here returns an error
	}
}

type exchange struct {
	nethttp.Exchange
	c *gin.Context
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	*x = exchange{}
	exchanges.Put(x)
}

func (x *exchange) Next(f core.Forward) (*core.Response, error) {
	c := x.c
	outer, request, errs := c.Writer, c.Request, len(c.Errors)
	defer func() {
		c.Writer = outer
		if f.Set != nil {
			c.Request = request
		}
	}()
	return x.Run(f, informing{outer}, func(w http.ResponseWriter, r *http.Request) error {
		gw := &writer{ResponseWriter: outer, w: w, status: outer.Status(), size: unwritten}
		c.Writer, c.Request = gw, r
		c.Next()
		if len(c.Errors) > errs { // middleware in front may have an answer to them
			nethttp.GiveUp(w, core.ReasonHandler)
		}
		gw.finish()
		return nil
	})
}

func (x *exchange) Reply(resp *core.Response) error {
	if !x.Ran() {
		x.c.Abort() // or Gin would run the handler now
	}
	err := x.Exchange.Reply(resp)
	x.c.Writer.WriteHeaderNow()
	return err
}
