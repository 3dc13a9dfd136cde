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

// New returns a middleware that answers GET and HEAD requests from cache. It panics
// if cache is nil.
func New(cache *cacheaside.Cache, opts ...Option) func(http.Handler) http.Handler {
	return NewFunc("nethttp.New", cache, opts, nil)
}

// NewFunc is New for adapters: name is theirs, for the text of a panic, and entry, if
// not nil, finds what [Exchange.Refresher] starts from.
func NewFunc(name string, cache *cacheaside.Cache, opts []Option, entry func(*http.Request) http.Handler) func(http.Handler) http.Handler {
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
			x.next, x.entry, x.Plain = next, entry, true
			o.prepare(r, x.Request())
			_ = cache.Serve(x) // nothing here returns an error
		})
	}
}

type exchange struct {
	Exchange
	next  http.Handler
	entry func(*http.Request) http.Handler
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
	if x.entry == nil {
		return x.Exchange.Detach()
	}
	return x.Refresher(x.entry(x.r))
}
