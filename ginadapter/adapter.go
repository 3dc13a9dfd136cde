package ginadapter

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for Gin that answers requests from cache: GET and HEAD,
// and what else its policy says. Use it on an engine, a group or a single route. It panics if cache is
// nil.
func New(cache *cacheaside.Cache, opts ...Option) gin.HandlerFunc {
	if cache == nil {
		panic("ginadapter.New: the cache is nil: make one with cacheaside.New")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return func(c *gin.Context) {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(c.Writer, c.Request)
		x.c, x.engine, x.errs = c, o.engine, len(c.Errors)
		if x.Request().Route = c.FullPath(); c.FullPath() == "" { // Gin writes its 404 after the middleware
			x.Request().Bypass = "no-route"
		}
		o.prepare(c, x.Request())
		_ = cache.Serve(x) // nothing here returns an error
	}
}

type exchange struct {
	nethttp.Exchange
	c      *gin.Context
	engine *gin.Engine
	errs   int // how many errors c had in front
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	*x = exchange{Exchange: x.Kept()}
	exchanges.Put(x)
}

func (x *exchange) Next(f adapter.Forward) (*adapter.Response, error) {
	c := x.c
	outer, request := c.Writer, c.Request
	given := request
	var gw *writer
	defer func() {
		// Gin writes its 404 through the writer that middleware has left there.
		if c.FullPath() != "" || c.Writer == gin.ResponseWriter(gw) {
			c.Writer = outer
		}
		if f.Set != nil || c.Request == given {
			c.Request = request
		}
	}()
	if f.Run != nil { // for who takes c for the context
		old, _ := c.Get(adapter.RunKey)
		c.Set(adapter.RunKey, f.Run)
		defer c.Set(adapter.RunKey, old)
	}
	resp, err := x.Run(f, informing{outer}, func(w http.ResponseWriter, r *http.Request) error {
		gw = &writer{ResponseWriter: outer, w: w, status: outer.Status(), size: unwritten}
		c.Writer, c.Request, given = gw, r, r
		c.Next()
		if len(c.Errors) > x.errs { // middleware in front may have an answer to them
			nethttp.GiveUp(w, adapter.ReasonHandler)
		}
		x.Unsent = gw.finish()
		return nil
	})
	// Middleware in front may give a status alone its body. What has a length, or leads
	// elsewhere, is complete: a proxy sends such.
	if x.Unsent && request.Method != http.MethodHead && adapter.BodyAllowed(resp.Status) && resp.Reason == "" &&
		len(resp.Header.Values("Content-Length"))+len(resp.Header.Values("Location")) == 0 {
		resp.Reason = adapter.ReasonUnwritten
	}
	return resp, err
}

func (x *exchange) Reply(resp *adapter.Response) error {
	if !x.Ran() {
		x.c.Abort() // or Gin would run the handler now, or go on behind one that panicked
		x.c.Errors = x.c.Errors[:min(x.errs, len(x.c.Errors))]
	}
	return x.Exchange.Reply(resp)
}

func (x *exchange) Detach() adapter.Refresher {
	if x.engine == nil { // not to be a handler that is not nil
		return x.Exchange.Detach()
	}
	return x.Refresher(x.engine)
}

// Probe implements [adapter.Prober].
func (x *exchange) Probe() adapter.Entry {
	if x.engine == nil {
		return x.Exchange.Probe()
	}
	return x.Prober(x.engine)
}
