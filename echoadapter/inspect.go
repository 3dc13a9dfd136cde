package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewInspect returns a handler that shows what the cache does and holds: see
// [inspect.Endpoint]. Route GET and POST to it, with a wildcard as in "/cache/*", not behind
// the cache. It fails where access lets nobody in, or everybody.
func NewInspect(cache *cacheaside.Cache, recorder *inspect.Recorder, access inspect.Access, opts ...inspect.Option) (echo.HandlerFunc, error) {
	h, err := nethttp.NewInspect(cache, recorder, access, opts...)
	if err != nil {
		return nil, err
	}
	return echo.WrapHandler(h), nil
}
