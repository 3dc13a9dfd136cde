package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Option changes how [New] sees a request. What is the same for all frameworks
// is set in cacheaside.Policy.
type Option func(*options)

type options struct {
	skip      func(echo.Context) bool
	partition func(echo.Context) string
	route     func(echo.Context) string
	outcome   bool
	xcache    string
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

// WithOutcome has middleware in front learn by [Outcome] what the cache did with a request.
// It costs a value in the context for each.
func WithOutcome() Option { return func(o *options) { o.outcome = true } }

// WithXCache tells clients in a field of that name, X-Cache if it is empty, whether a
// response is a HIT, a MISS or a BYPASS, wherever Cache-Status is added. HIT says that no
// handler ran for the request: see cacheaside.Outcome. It takes the place of what another
// cache has said there, and is not stored. It panics if the name is that of no field, or of
// one that has a meaning of its own.
func WithXCache(name string) Option {
	name = adapter.XCacheField("WithXCache", name)
	return func(o *options) { o.xcache = name }
}

func (o *options) prepare(c echo.Context, req *cacheaside.Request) {
	req.XCache = o.xcache
	if o.outcome {
		req.Report(account(c))
	}
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
