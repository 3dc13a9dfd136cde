package chiadapter

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for chi that answers GET and HEAD requests from
// cache. Use it on a router (Use), a group or a single route (With). It panics
// if cache is nil.
func New(cache *cacheaside.Cache, opts ...Option) func(http.Handler) http.Handler {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return nethttp.NewFunc("chiadapter.New", cache, o.prepare, rootRouter)
}

// rootRouter finds the router that r entered chi by.
func rootRouter(r *http.Request) http.Handler {
	if c := chi.RouteContext(r.Context()); c != nil {
		if h, ok := c.Routes.(http.Handler); ok {
			return h
		}
	}
	return nil
}
