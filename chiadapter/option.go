package chiadapter

import (
	"net/http"

	"github.com/cacheaside/cacheaside/core/nethttp"
)

// Option changes how [New] sees a request. What is the same for all frameworks
// is set in cacheaside.Policy.
type Option = nethttp.Option

// WithSkip leaves requests to the handler for which skip returns true. It is
// asked before the handler runs.
func WithSkip(skip func(*http.Request) bool) Option { return nethttp.WithSkip(skip) }

// WithPartition keeps separate entries for each value that partition returns:
// a tenant, or the user that an authentication middleware in front has put
// into the request's context.
func WithPartition(partition func(*http.Request) string) Option {
	return nethttp.WithPartition(partition)
}

// WithRoute names the route of a request in events and metrics, in place of the pattern
// that the router has for it. Where it returns "" that counts. It is called before the
// handler, and its values are few: a cache tells 256 apart.
func WithRoute(route func(*http.Request) string) Option { return nethttp.WithRoute(route) }

// WithOutcome has middleware in front learn by [Outcome] what the cache did with a request.
// It costs a look into the request's context.
func WithOutcome() Option { return nethttp.WithOutcome() }

// WithXCache tells clients in a field of that name, X-Cache if it is empty, whether a
// response is a HIT, a MISS or a BYPASS, wherever Cache-Status is added. HIT says that no
// handler ran for the request: see cacheaside.Outcome. It takes the place of what another
// cache has said there, and is not stored. It panics if the name is that of no field, or of
// one that has a meaning of its own.
func WithXCache(name string) Option { return nethttp.WithXCache(name) }
