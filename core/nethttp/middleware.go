// Package nethttp is what the adapters of the frameworks on net/http share: a
// writer that captures a response, and the request and reply side of an
// adapter.Exchange. With [New] it is an adapter of its own, for services that use
// nothing but the standard library.
package nethttp

import (
	"net/http"
	"sync"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// New returns a middleware that answers requests from cache: GET and HEAD, and what else
// the policy says. It panics if cache is nil.
func New(cache *cacheaside.Cache, opts ...Option) func(http.Handler) http.Handler {
	return NewFunc("nethttp.New", cache, opts, Framework{})
}

// Framework is what a framework of handlers of net/http knows better. Any of it may be
// nil.
type Framework struct {
	Entry func(*http.Request) http.Handler // what [Exchange.Refresher] starts from
	Find  func(*http.Request) string       // see [adapter.Router]
	Show  func(*http.Request, string)      // the same; it need not set Request.Pattern
}

// NewFunc is New for adapters: name is theirs, for the text of a panic.
func NewFunc(name string, cache *cacheaside.Cache, opts []Option, framework Framework) func(http.Handler) http.Handler {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if cache == nil {
		panic(name + ": the cache is nil: make one with cacheaside.New")
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic(name + ": the next handler is nil: give the middleware a handler to wrap")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := exchanges.Get().(*exchange)
			defer x.release()
			x.Reset(w, r)
			x.next, x.framework, x.Plain = next, &framework, true
			x.Request().Router = x
			o.prepare(r, x.Request())
			_ = cache.Serve(x) // nothing here returns an error
		})
	}
}

type exchange struct {
	Exchange
	next      http.Handler
	framework *Framework
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) release() {
	*x = exchange{Exchange: x.Kept()}
	exchanges.Put(x)
}

func (x *exchange) Next(f adapter.Forward) (*adapter.Response, error) {
	return x.Run(f, x.w, func(w http.ResponseWriter, r *http.Request) error {
		x.next.ServeHTTP(w, r)
		return nil
	})
}

func (x *exchange) Detach() adapter.Refresher {
	if x.framework.Entry == nil {
		return x.Exchange.Detach()
	}
	return x.Refresher(x.framework.Entry(x.r))
}

// Probe implements [adapter.Prober].
func (x *exchange) Probe() adapter.Entry {
	if x.framework.Entry == nil {
		return x.Exchange.Probe()
	}
	return x.Prober(x.framework.Entry(x.r))
}
