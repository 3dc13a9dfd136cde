package ginadapter

import (
	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewInspect returns a handler that shows what the cache does and holds: see
// [inspect.Endpoint]. Route GET and POST to it, with a wildcard as in "/cache/*path", not
// behind the cache. It fails where access lets nobody in, or everybody.
func NewInspect(cache *cacheaside.Cache, recorder *inspect.Recorder, access inspect.Access, opts ...inspect.Option) (gin.HandlerFunc, error) {
	h, err := nethttp.NewInspect(cache, recorder, access, opts...)
	if err != nil {
		return nil, err
	}
	return gin.WrapH(h), nil
}
