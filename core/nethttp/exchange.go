package nethttp

import (
	"context"
	"net/http"

	"github.com/cacheaside/cacheaside/core"
)

// Exchange is the part of a core.Exchange that all frameworks on net/http
// share. An adapter embeds it, calls Reset, and gives its own Next by way of
// [Exchange.Run]. It may be pooled.
type Exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	req     core.Request
	capture *writer
	sent    *core.Response // the captured response
}

// Reset prepares x for a request. Replies go to w.
func (x *Exchange) Reset(w http.ResponseWriter, r *http.Request) {
	*x = Exchange{w: w, r: r}
	q := &x.req
	q.Method, q.Host, q.RawQuery = r.Method, r.Host, r.URL.RawQuery
	q.Path = r.URL.EscapedPath()
	q.Scheme = "http"
	if r.TLS != nil {
		q.Scheme = "https"
	}
	q.Target = core.RewrittenTarget(r.RequestURI, q.Scheme, r.Host, q.Path, q.RawQuery)
	q.Header = r.Header
	q.HasBody = r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
	if q.Outer = outerFlight(w); q.Outer == nil { // perhaps a writer in between hides it
		q.Outer = flightIn(r)
	}
	q.Rerun = core.RerunFrom(r.Context())
}

// outerFlight finds the capture that w writes into.
func outerFlight(w http.ResponseWriter) *core.Flight {
	for {
		if o := own(w); o != nil {
			return o.forward.Flight
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// flightContext has the flight that a request is part of. A request that the
// handler makes of its own, with the same context, is another one.
type flightContext struct {
	context.Context //nolint:containedctx // it is a context
	flight          *core.Flight
	target          string
}

type flightKey struct{}

func (c *flightContext) Value(key any) any {
	if key == (flightKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func flightIn(r *http.Request) *core.Flight {
	c, _ := r.Context().Value(flightKey{}).(*flightContext)
	if c == nil || c.target != target(r) {
		return nil
	}
	return c.flight
}

// target is what no layer on the way changes.
func target(r *http.Request) string {
	if r.RequestURI == "" { // of no server
		return r.URL.RequestURI()
	}
	return r.RequestURI
}

// Context is the request's context.
func (x *Exchange) Context() context.Context { return x.r.Context() }

// Request describes the request. Its Partition may be set before Serve.
func (x *Exchange) Request() *core.Request { return &x.req }

// Run does the work of core.Exchange's Next: it calls run with the writer and
// the request that the handler shall see, and returns what the handler made of
// them. An error of run is returned as it is.
func (x *Exchange) Run(f core.Forward, inner http.ResponseWriter, run func(http.ResponseWriter, *http.Request) error) (*core.Response, error) {
	r := x.r
	if f.Tags != nil {
		ctx := core.WithTags(r.Context(), f.Tags)
		if f.Flight != nil {
			ctx = &flightContext{ctx, f.Flight, target(r)}
		}
		r = r.WithContext(ctx)
	}
	if f.Capture || f.Set != nil {
		if f.Tags == nil {
			r = r.WithContext(r.Context())
		}
		r.Header = r.Header.Clone() // what the handler makes of it is none of the cache's business
		for name, values := range f.Set {
			deleteSpellings(r.Header, name)
			if values != nil {
				r.Header[name] = values
			}
		}
	}
	var w http.ResponseWriter
	w, x.capture = newWriter(inner, f, r.Method)
	panics := true
	defer func() {
		if panics {
			x.capture.discard()
		}
	}()
	err := run(w, r)
	panics = false
	if err != nil {
		return nil, err
	}
	resp := x.capture.response(r.Context().Err() != nil)
	x.sent = resp
	return resp, nil
}

// Reply sends a response to the writer given to Reset.
func (x *Exchange) Reply(resp *core.Response) error {
	if x.capture != nil && x.capture.hijacked { // and then the handler panicked
		return nil
	}
	w, h := x.w, x.w.Header()
	backing := make([]string, 0, len(resp.Header)+len(resp.Extra))
	if resp == x.sent {
		replaceHeader(h, x.capture.frozen)
		deleteOdd(h, resp.Extra)
	} else {
		if x.capture != nil {
			replaceHeader(h, x.capture.before)
		}
		deleteOdd(h, resp.Header)
		backing = apply(h, resp.Header, backing)
	}
	apply(h, resp.Extra, backing)
	w.WriteHeader(resp.Status)
	if len(resp.Body) > 0 && x.r.Method != http.MethodHead && core.BodyAllowed(resp.Status) {
		_, _ = w.Write(resp.Body) // the client has left: nobody is to be told
	}
	return nil
}

// Ran says whether the handler has been called and has returned.
func (x *Exchange) Ran() bool { return x.sent != nil }
