package chiadapter

import (
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewPurge returns a handler that purges: see [core.PurgeEndpoint] for what it
// takes. Route POST to it, and, for PURGE on any URL, call
// chi.RegisterMethod("PURGE") first. It fails where access lets nobody in, or
// everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (http.Handler, error) {
	return nethttp.NewPurge(cache, access)
}
