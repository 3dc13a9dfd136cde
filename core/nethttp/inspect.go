package nethttp

import (
	"errors"
	"io"
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var x Exchange
		x.Reset(w, r)
		var body []byte
		if r.Body != nil { // what cannot be read is no JSON
			body, _ = io.ReadAll(io.LimitReader(r.Body, inspect.MaxBody+1))
		}
		_ = x.Reply(endpoint.Serve(r.Context(), x.Request(), body))
	}), nil
}
