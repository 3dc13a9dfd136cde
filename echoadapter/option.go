package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Option changes how [New] sees a request. What is the same for all frameworks
// is set in cacheaside.Policy.
type Option func(*options)

type options struct {
	skip      func(echo.Context) bool
	partition func(echo.Context) string
	route     func(echo.Context) string
}

// WithSkip leaves requests to the handler for which skip returns true. It is
// asked before the handler runs.
func WithSkip(skip func(echo.Context) bool) Option {
	return func(o *options) { o.skip = skip }
}

// WithPartition keeps separate entries for each value that partition returns:
// a tenant, or the user that an authentication middleware in front has put
// into the context.
func WithPartition(partition func(echo.Context) string) Option {
	return func(o *options) { o.partition = partition }
}

// WithRoute names the route of a request in events and metrics, in place of the pattern
// that the router has for it. Where it returns "" that counts. It is called before the
// handler, and its values are few: a cache tells 256 apart.
func WithRoute(route func(echo.Context) string) Option {
	return func(o *options) { o.route = route }
}

func (o *options) prepare(c echo.Context, req *cacheaside.Request) {
	if o.skip != nil && o.skip(c) {
		req.Bypass = "skip"
	}
	if o.partition != nil {
		req.Partition = o.partition(c)
	}
	if o.route != nil {
		if route := o.route(c); route != "" {
			req.Route = route
		}
	}
}
