package echoadapter

import (
	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// Entry returns the way into the service that e is, for [cacheaside.Cache.Warm]. Where the
// http.Server has a handler around e, use [nethttp.Entry] with that. It panics if e is nil.
func Entry(e *echo.Echo) adapter.Entry {
	if e == nil {
		panic("echoadapter.Entry: the Echo is nil: make one with echo.New")
	}
	return nethttp.Entry(e)
}
