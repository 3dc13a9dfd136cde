package ginadapter

import (
	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewPurge returns a handler that purges: see [core.PurgeEndpoint] for what it
// takes. Route POST to it, and PURGE with Engine.Handle. It fails where access
// lets nobody in, or everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (gin.HandlerFunc, error) {
	h, err := nethttp.NewPurge(cache, access)
	if err != nil {
		return nil, err
	}
	return gin.WrapH(h), nil
}
