package adapter

import (
	"context"
	"net/http"
	"net/url"
)

// Prober is an [Exchange] that can send other requests through the service that it is
// part of.
type Prober interface {
	// Probe returns what sends one; nil: that cannot be done. It is good for as long as the
	// service runs.
	Probe() Probe
}

// Probe sends a request through the framework from its entry on, like a [Refresher], with
// rerun as the [Request].Rerun that the cache finds, and returns what the client would
// get. A panic passes through. It may be called concurrently.
type Probe func(ctx context.Context, method string, target *url.URL, header http.Header, rerun *Rerun) (status int, answered http.Header)
