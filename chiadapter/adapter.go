package chiadapter

import (
	"net/http"
	"sync"

	"github.com/go-chi/chi/v5"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// New returns a middleware for chi that answers requests from cache: GET and HEAD,
// and what else its policy says. Use it on a router (Use), a group or a single route (With). It panics
// if cache is nil.
func New(cache *cacheaside.Cache, opts ...Option) func(http.Handler) http.Handler {
	return nethttp.NewFunc("chiadapter.New", cache, opts, nethttp.Framework{Entry: rootRouter, Find: findRoute, Show: showRoute})
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

var contexts = sync.Pool{New: func() any { return chi.NewRouteContext() }}

// findRoute asks the router that r entered chi by.
func findRoute(r *http.Request) string {
	c := chi.RouteContext(r.Context())
	if c == nil || c.Routes == nil {
		return r.Pattern
	}
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	own := contexts.Get().(*chi.Context)
	defer contexts.Put(own)
	own.Reset()
	return tidy(c.Routes.Find(own, r.Method, path))
}

// tidy writes a pattern as RoutePattern does.
func tidy(pattern string) string {
	if pattern == "" {
		return ""
	}
	c := chi.Context{RoutePatterns: []string{pattern}}
	return c.RoutePattern()
}

// showRoute has RoutePattern return the route.
func showRoute(r *http.Request, route string) {
	if c := chi.RouteContext(r.Context()); c != nil {
		c.RoutePatterns = append(c.RoutePatterns[:0], route)
	}
}
