package nethttp

import (
	"context"
	"io"
	"net/http"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// endpoint is what answers a request at once, with its body.
type endpoint interface {
	Serve(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response
}

// handler serves e, which reads bodies of up to one byte more than maxBody.
func handler(e endpoint, maxBody int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var x Exchange
		x.Reset(w, r)
		var body []byte
		if r.Body != nil { // what cannot be read is no JSON
			body, _ = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		}
		_ = x.Reply(e.Serve(r.Context(), x.Request(), body))
	})
}
