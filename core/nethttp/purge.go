package nethttp

import (
	"errors"
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// NewPurge returns a handler that purges: see [cacheaside.PurgeEndpoint] for what it
// takes. It fails where access lets nobody in, or everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (http.Handler, error) {
	if cache == nil {
		return nil, errors.New("NewPurge: the cache is nil: make one with cacheaside.New")
	}
	endpoint, err := cache.PurgeEndpoint(access)
	if err != nil {
		return nil, err
	}
	return handler(endpoint, cacheaside.MaxPurgeBody), nil
}
