package nethttp

import (
	"errors"
	"io"
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// NewPurge returns a handler that purges: see [core.PurgeEndpoint] for what it
// takes. It fails where access lets nobody in, or everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (http.Handler, error) {
	if cache == nil {
		return nil, errors.New("NewPurge: the cache is nil: make one with core.New")
	}
	endpoint, err := cache.PurgeEndpoint(access)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var x Exchange
		x.Reset(w, r)
		var body []byte
		if r.Body != nil { // what cannot be read is no JSON
			body, _ = io.ReadAll(io.LimitReader(r.Body, cacheaside.MaxPurgeBody+1))
		}
		_ = x.Reply(endpoint.Serve(r.Context(), x.Request(), body))
	}), nil
}
