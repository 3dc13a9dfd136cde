package chiadapter

import (
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// NewInspect returns a handler that shows what the cache does and holds: see
// [inspect.Endpoint]. Route it with a wildcard as in "/cache/*", not behind the cache. It
// fails where access lets nobody in, or everybody.
func NewInspect(cache *cacheaside.Cache, recorder *inspect.Recorder, access inspect.Access, opts ...inspect.Option) (http.Handler, error) {
	return nethttp.NewInspect(cache, recorder, access, opts...)
}
