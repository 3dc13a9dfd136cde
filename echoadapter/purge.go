package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewPurge returns a handler that purges: see [core.PurgeEndpoint] for what it
// takes. Route POST to it, and PURGE with Echo.Add. It fails where access lets
// nobody in, or everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (echo.HandlerFunc, error) {
	h, err := nethttp.NewPurge(cache, access)
	if err != nil {
		return nil, err
	}
	return echo.WrapHandler(h), nil
}
