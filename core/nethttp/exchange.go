package nethttp

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Exchange is the part of an adapter.Exchange that all frameworks on net/http
// share. An adapter embeds it, calls Reset, and gives its own Next by way of
// [Exchange.Run]. It may be pooled.
type Exchange struct {
	// Unsent says that the handler has set a status and sent nothing, in a framework
	// that lets middleware in front see that and send more. Such a response is sent
	// like others where it is stored, so that hits are like it.
	Unsent bool
	// Plain says that the writer takes a first Write for a 200, as net/http does, and
	// that writers in front may tell it from a WriteHeader.
	Plain bool
	// Hooked says that middleware in front does something as the header is sent, which it
	// may do on the handler's goroutine only: no timer sends it.
	Hooked bool

	w       http.ResponseWriter
	r       *http.Request
	req     adapter.Request
	content []byte  // of the request, once it was read
	body    *replay // that reads it once more; nil: it was not read
	capture *writer
	sent    *adapter.Response // the captured response
	resp    adapter.Response
	one     [1]func(adapter.Header)
}

// Reset prepares x for a request. Replies go to w.
func (x *Exchange) Reset(w http.ResponseWriter, r *http.Request) {
	*x = x.Kept()
	x.w, x.r = w, r
	q := &x.req
	q.Method, q.Host, q.RawQuery = r.Method, r.Host, r.URL.RawQuery
	q.Path = r.URL.EscapedPath()
	q.Scheme = "http"
	if r.TLS != nil {
		q.Scheme = "https"
	}
	q.Target = adapter.RewrittenTarget(r.RequestURI, q.Scheme, r.Host, q.Path, q.RawQuery)
	q.Header = r.Header
	q.Encodes = encodes(w)
	q.HasBody = r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
	if q.Outer = outerRun(w); q.Outer == nil {
		// Perhaps a writer in between hides it, or another framework is in front. A
		// request that the handler makes of its own, with its context, is another one.
		if f := adapter.RunIn(r.Context()); f != nil && f.Target == target(r) {
			q.Outer = f
		} else if f != nil {
			q.Within = f
			return // also if it is made by a handler that runs in the background
		}
	}
	q.Rerun = adapter.RerunFrom(r.Context())
}

// encodes reports whether a writer in front has a content coding for what is written, by
// what it has announced: the coding, or, as a writer that may well do so, that the
// response depends on what codings the client accepts.
func encodes(w http.ResponseWriter) bool {
	h := w.Header()
	return len(h) > 0 && (len(h["Content-Encoding"]) > 0 || slices.ContainsFunc(h["Vary"], listsCoding) && !keeps(w))
}

func listsCoding(vary string) bool { return httprules.Lists(vary, "Accept-Encoding") }

// Kept is what a pooled x keeps for the next request: memory that nobody else has.
func (x *Exchange) Kept() Exchange {
	header := x.resp.Header
	clear(header)
	return Exchange{resp: adapter.Response{Header: header[:0]}, content: x.keptContent()}
}

// outerRun finds the capture that w writes into.
func outerRun(w http.ResponseWriter) *adapter.Run {
	if o := outerWriter(w); o != nil {
		return o.forward.Run
	}
	return nil
}

// target is what no layer on the way changes.
func target(r *http.Request) string {
	if r.RequestURI == "" { // no server has read it
		return " " + r.URL.RequestURI()
	}
	return r.RequestURI
}

// Context is the request's context.
func (x *Exchange) Context() context.Context { return x.r.Context() }

// Request describes the request. Its Partition may be set before Serve.
func (x *Exchange) Request() *adapter.Request { return &x.req }

// Run does the work of adapter.Exchange's Next: it calls run with the writer and
// the request that the handler shall see, and returns what the handler made of
// them. An error of run is returned as it is.
func (x *Exchange) Run(f adapter.Forward, inner http.ResponseWriter, run func(http.ResponseWriter, *http.Request) error) (*adapter.Response, error) {
	r := x.r
	var ctx *adapter.RunContext
	if f.Run != nil {
		f.Run.Target = target(r)
		ctx = f.Context(r.Context())
		defer ctx.Close()
		r = r.WithContext(ctx)
	}
	if f.Capture || f.Set != nil {
		if f.Run == nil {
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
	x.capture.run, x.capture.shared = ctx, x.Hooked
	if f.Capture && f.Run != nil {
		f.Run.Held = x.capture
	}
	panics := true
	defer func() {
		x.routed(r)
		if panics {
			x.capture.stop()
			x.capture.discard()
			x.left(httprules.Fold(inner.Header()))
		}
	}()
	err := run(w, r)
	x.capture.stop()
	resp := &x.resp
	if err == nil {
		x.capture.response(resp, ctx != nil && ctx.Knows())
	}
	panics = false
	if err != nil {
		return nil, err
	}
	x.sent = resp
	switch {
	case resp.Left != nil:
		x.left(resp.Left)
	case resp.Sent:
		x.left(resp.Effective)
	}
	return resp, nil
}

// routed brings back what was noted behind the cache in the copy of the request: the
// route, for tracing and metrics in front, and the form, whose body is read and whose
// files the server removes.
func (x *Exchange) routed(r *http.Request) {
	if r == x.r {
		return
	}
	if x.r.Form == nil {
		x.r.Form, x.r.PostForm = r.Form, r.PostForm
	}
	if x.r.MultipartForm == nil {
		x.r.MultipartForm = r.MultipartForm
	}
	if r.Pattern == x.r.Pattern {
		return
	}
	x.r.Pattern = r.Pattern
	for rest := r.Pattern; ; { // "/users/{id}", "/files/{path...}"
		_, after, found := strings.Cut(rest, "{")
		name, more, closed := strings.Cut(after, "}")
		if !found || !closed {
			return
		}
		if name = strings.TrimSuffix(name, "..."); name != "" && name != "$" {
			x.r.SetPathValue(name, r.PathValue(name))
		}
		rest = more
	}
}

// Reply sends a response to the writer given to Reset.
func (x *Exchange) Reply(resp *adapter.Response) error {
	if x.capture != nil && x.capture.hijacked { // and then the handler panicked
		return nil
	}
	w, h := x.w, x.w.Header()
	backing := make([]string, 0, len(resp.Header)+len(resp.Extra))
	var late http.Header
	if resp == x.sent { // whose fields are there
		late = x.capture.late() // a writer in front that holds the response back takes them all the same
		deleteOdd(h, resp.Extra)
	} else {
		if x.capture != nil {
			replaceHeader(h, x.capture.before)
		}
		deleteOdd(h, resp.Header)
		backing = apply(h, resp.Header, backing)
	}
	apply(h, resp.Extra, backing)
	body := resp.Body
	if !adapter.BodyAllowed(resp.Status) {
		body = nil
	}
	if !x.Plain || !resp.Implicit || resp.Status != http.StatusOK || len(body) == 0 {
		w.WriteHeader(resp.Status)
	}
	if len(body) == 0 && !(x.Unsent && resp == x.sent && resp.Leaving == nil) {
		if now, ok := w.(interface{ WriteHeaderNow() }); ok {
			now.WriteHeaderNow() // Gin's
		}
	}
	if leaving := x.leaving(resp); len(leaving) > 0 {
		// Some writers send the header with the first bytes, and the client may be slow
		// to take all of them.
		first := body[:min(len(body), leaves)]
		body = body[len(first):]
		_ = writeBody(w, first)
		sent := httprules.Fold(w.Header())
		for _, f := range leaving {
			f(sent)
		}
	}
	_ = writeBody(w, body) // the client may have left: nobody is to be told
	maps.Copy(h, late)
	return nil
}

// left tells handles further in that nothing is held back any more.
func (x *Exchange) left(h adapter.Header) {
	for _, f := range x.capture.leaving() {
		f(h)
	}
}

// leaving returns what is to be called when resp has left: also for handles further
// in, unless one further out holds it back in its turn.
func (x *Exchange) leaving(resp *adapter.Response) (all []func(adapter.Header)) {
	if x.capture != nil {
		for _, f := range x.capture.leaving() {
			if !x.req.Outer.Hold(f) {
				all = append(all, f)
			}
		}
	}
	if resp.Leaving == nil {
		return all
	}
	if all == nil {
		all = x.one[:0] // mostly there is no other
	}
	return append(all, resp.Leaving)
}

// leaves is how much of a body makes any writer send its header. It fits into the
// server's buffer, which makes a Content-Length of its own for what does.
const leaves = 1 << 10

// Ran says whether the handler has been called and has returned.
func (x *Exchange) Ran() bool { return x.sent != nil }
