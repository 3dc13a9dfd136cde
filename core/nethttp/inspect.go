package nethttp

import (
	"errors"
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
)

// NewInspect returns a handler that shows what the cache does and holds: see
// [inspect.Endpoint]. Mount it with all that is below a path ending in a slash, not behind
// the cache. It fails where access lets nobody in, or everybody.
func NewInspect(cache *cacheaside.Cache, recorder *inspect.Recorder, access inspect.Access, opts ...inspect.Option) (http.Handler, error) {
	if cache == nil {
		return nil, errors.New("NewInspect: the cache is nil: make one with cacheaside.New")
	}
	endpoint, err := inspect.New(cache, recorder, access, opts...)
	if err != nil {
		return nil, err
	}
	return handler(endpoint, inspect.MaxBody), nil
}
