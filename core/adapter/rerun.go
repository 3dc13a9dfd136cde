package adapter

import (
	"context"
	"strings"
)

// Refresher sends a copy of a request through the framework from its entry on,
// middleware in front of the cache included, and returns when the handler has.
// The copy is a GET for the same target with the same fields, but without a
// body and without those that [OmittedInRerun] names; if the content was read by
// [ContentReader], it has the same method and content. Of the original's context it
// carries only what each request of its server finds in there: it ends with ctx, and
// the [Request] made of it has rerun as its Rerun. The response goes nowhere. A panic passes through. It is
// called once at most, from any goroutine.
type Refresher func(ctx context.Context, rerun *Rerun)

// Rerun marks a request that the engine makes itself to refresh what is stored.
type Rerun struct{ engine any }

// NewRerun returns a Rerun for an engine, which finds what it gives here by Engine.
func NewRerun(engine any) Rerun { return Rerun{engine} }

// Engine is what NewRerun was given.
func (r *Rerun) Engine() any { return r.engine }

type rerunKey struct{}

// WithRerun returns a context that carries rerun from a [Refresher] to the
// adapter, for frameworks whose requests have a context.
func WithRerun(ctx context.Context, rerun *Rerun) context.Context {
	return context.WithValue(ctx, rerunKey{}, rerun)
}

// RerunFrom returns what WithRerun has put into ctx, or nil.
func RerunFrom(ctx context.Context) *Rerun {
	r, _ := ctx.Value(rerunKey{}).(*Rerun)
	return r
}

// OmittedInRerun reports whether a request field, named in canonical form, is
// left out when a request is run again: it asks for a part of the response, or
// sets conditions, or speaks of the connection, of a body, or of the way by which
// the request came, the trace that it is part of included. What speaks of a body stays
// if the request has content.
func OmittedInRerun(name string, content bool) bool {
	switch name {
	case "Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding":
		return !content
	case "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
		"Cache-Control", "Pragma", "Cdn-Loop", "Expect", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
		"Upgrade", "Traceparent", "Tracestate", "B3", "Uber-Trace-Id", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context":
		return true
	}
	return strings.HasPrefix(name, "X-B3-")
}
