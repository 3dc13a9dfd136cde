package nethttp

import (
	"net/http"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Option changes how [New] sees a request. What is the same for all frameworks
// is set in cacheaside.Policy.
type Option func(*options)

type options struct {
	skip      func(*http.Request) bool
	partition func(*http.Request) string
	route     func(*http.Request) string
}

// WithSkip leaves requests to the handler for which skip returns true. It is
// asked before the handler runs.
func WithSkip(skip func(*http.Request) bool) Option {
	return func(o *options) { o.skip = skip }
}

// WithPartition keeps separate entries for each value that partition returns:
// a tenant, or the user that an authentication middleware in front has put
// into the request's context.
func WithPartition(partition func(*http.Request) string) Option {
	return func(o *options) { o.partition = partition }
}

// WithRoute names the route of a request in events and metrics, in place of the pattern
// that the router has for it. Where it returns "" that counts. It is called before the
// handler, and its values are few: a cache tells 256 apart.
func WithRoute(route func(*http.Request) string) Option {
	return func(o *options) { o.route = route }
}

func (o *options) prepare(r *http.Request, req *adapter.Request) {
	if o.skip != nil && o.skip(r) {
		req.Bypass = "skip"
	}
	if o.partition != nil {
		req.Partition = o.partition(r)
	}
	if o.route != nil {
		if route := o.route(r); route != "" {
			req.Route = route
		}
	}
}
