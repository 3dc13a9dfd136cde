package adapter

import (
	"context"
	"net/http"
	"net/url"
)

// Entry is the way into a service: it sends a request without a body through the framework
// from its beginning on, so that all middleware runs, and returns what the client would
// get, but for the body. The request comes from the address 127.0.0.1, and by TLS where the
// scheme of target says so. Rerun is the [Request].Rerun that the cache finds; nil: none. A
// panic passes through, and a handler that does not heed ctx is waited for. It may be
// called concurrently, for as long as the service exists.
type Entry func(ctx context.Context, method string, target *url.URL, header http.Header, rerun *Rerun) (status int, answered http.Header)
