package nethttp

import (
	"context"
	"maps"
	"net/http"
	"net/url"

	"github.com/cacheaside/cacheaside/core"
)

// Detach runs the request again from the handler of its server.
func (x *Exchange) Detach() core.Refresher { return x.Refresher(nil) }

// Refresher does the work of core.Exchange's Detach. The request is run again
// from the handler of the http.Server that serves it, so that layers around the
// framework (which may authenticate, or rewrite the request-target) run again as
// well. Where that is not known, it is run from entry, the root router of the
// framework, unless the request-target was rewritten. Otherwise the answer is
// nil.
func (x *Exchange) Refresher(entry http.Handler) core.Refresher {
	ctx := x.r.Context()
	server, served := ctx.Value(http.ServerContextKey).(*http.Server)
	rewritten := x.req.Target != ""
	switch {
	case served && server.Handler != nil:
		entry = server.Handler
	case entry != nil && !rewritten:
	case served:
		entry = http.DefaultServeMux
	default:
		return nil
	}
	target := new(url.URL)
	*target = *x.r.URL
	if rewritten {
		var err error
		if target, err = url.ParseRequestURI(x.r.RequestURI); err != nil {
			return nil
		}
	}
	r := &http.Request{
		Method: http.MethodGet, URL: target, RequestURI: x.r.RequestURI, Host: x.r.Host,
		Proto: x.r.Proto, ProtoMajor: x.r.ProtoMajor, ProtoMinor: x.r.ProtoMinor,
		Header: x.r.Header.Clone(), Body: http.NoBody,
		RemoteAddr: x.r.RemoteAddr, TLS: x.r.TLS,
	}
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return core.OmittedInRerun(http.CanonicalHeaderKey(name)) })
	local := ctx.Value(http.LocalAddrContextKey)
	return func(ctx context.Context, rerun *core.Rerun) {
		ctx = core.WithRerun(ctx, rerun)
		if served {
			ctx = context.WithValue(ctx, http.ServerContextKey, server)
		}
		if local != nil {
			ctx = context.WithValue(ctx, http.LocalAddrContextKey, local)
		}
		entry.ServeHTTP(&discard{ctx, http.Header{}}, r.WithContext(ctx))
	}
}

// discard is the writer of a response that goes nowhere. When its time is over it
// fails like a connection that is closed: a handler that streams may know no
// other end.
type discard struct {
	ctx    context.Context //nolint:containedctx // of the request that is answered
	header http.Header
}

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) WriteHeader(int)                   {}
func (d *discard) Write(b []byte) (int, error)       { return d.wrote(len(b)) }
func (d *discard) WriteString(s string) (int, error) { return d.wrote(len(s)) }
func (d *discard) Flush()                            {}
func (d *discard) FlushError() error                 { return d.ctx.Err() }

func (d *discard) wrote(n int) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	return n, nil
}
