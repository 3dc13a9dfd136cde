package ginadapter

import (
	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// Entry returns the way into the service that engine is, for [cacheaside.Cache.Warm]. Where
// the http.Server has a handler around the engine, use [nethttp.Entry] with that. It
// panics if engine is nil.
func Entry(engine *gin.Engine) adapter.Entry {
	if engine == nil {
		panic("ginadapter.Entry: the engine is nil: make one with gin.New")
	}
	return nethttp.Entry(engine)
}
