package nethttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Detach runs the request again from the handler of its server.
func (x *Exchange) Detach() adapter.Refresher { return x.Refresher(nil) }

// Refresher does the work of adapter.Exchange's Detach. The request is run again
// from the handler of the http.Server that serves it, so that layers around the
// framework (which may authenticate, or rewrite the request-target) run again as
// well. Where that is not known, it is run from entry, the root router of the
// framework, unless the request-target was rewritten. Otherwise the answer is
// nil.
//
// The run has what the server's BaseContext and ConnContext put into a context.
// They are called once more for it, with a listener and a connection that have the
// right addresses, but are closed. Their context also ends the run, as it would
// end a request.
func (x *Exchange) Refresher(entry http.Handler) adapter.Refresher {
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
	keyed := x.body != nil // the content is part of the key
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool {
		return adapter.OmittedInRerun(http.CanonicalHeaderKey(name), keyed)
	})
	if keyed {
		r.Method, r.ContentLength, r.TransferEncoding = x.req.Method, x.r.ContentLength, slices.Clone(x.r.TransferEncoding)
		if len(x.content) > 0 {
			r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(x.content)))
		}
	}
	local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return func(ctx context.Context, rerun *adapter.Rerun) {
		if served {
			base := serverContext(server, local, r)
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(base, cancel)() // it ends the requests of the server
			ctx = serving{ctx, base}
		}
		ctx = adapter.WithRerun(ctx, rerun)
		entry.ServeHTTP(&discard{ctx, http.Header{}}, r.WithContext(ctx))
	}
}

// serving is the context of a run that has the values of its server's context.
type serving struct {
	context.Context //nolint:containedctx // it is a context
	server          context.Context
}

func (s serving) Value(key any) any {
	if v := s.Context.Value(key); v != nil {
		return v
	}
	return s.server.Value(key)
}

// serverContext is the context that server gives to the requests of a connection:
// with what its BaseContext and ConnContext put there, which get a stand-in for
// listener and connection. What of that panics is left out.
func serverContext(server *http.Server, local net.Addr, r *http.Request) context.Context {
	ctx := context.Background()
	if server.BaseContext != nil {
		ctx = contained(ctx, func(context.Context) context.Context {
			return server.BaseContext(closedListener{addrOf(local, server.Addr)})
		})
	}
	ctx = context.WithValue(ctx, http.ServerContextKey, server)
	if server.ConnContext != nil {
		conn := net.Conn(newClosedConn(addrOf(local, server.Addr), addrOf(nil, r.RemoteAddr)))
		if r.TLS != nil { // some look for it
			conn = tls.Server(conn, new(tls.Config))
		}
		ctx = contained(ctx, func(ctx context.Context) context.Context { return server.ConnContext(ctx, conn) })
	}
	if local != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, local)
	}
	return ctx
}

// contained is f(ctx), or ctx where that gives nothing.
func contained(ctx context.Context, f func(context.Context) context.Context) (out context.Context) {
	defer func() {
		if recover() != nil || out == nil {
			out = ctx
		}
	}()
	return f(ctx)
}

// textAddr is an address of which only the text is known.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

// addrOf is a, or one of that text.
func addrOf(a net.Addr, text string) net.Addr {
	if a != nil {
		return a
	}
	if at, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(at)
	}
	return textAddr(text)
}

// closedListener stands in for the listener of a server.
type closedListener struct{ addr net.Addr }

func (l closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (l closedListener) Close() error              { return nil }
func (l closedListener) Addr() net.Addr            { return l.addr }

// closedConn has the addresses of the connection that the original request came
// by; nothing can be read from it or written to it.
type closedConn struct {
	net.Conn
	local, remote net.Addr
}

func newClosedConn(local, remote net.Addr) *closedConn {
	pipe, _ := net.Pipe()
	_ = pipe.Close()
	return &closedConn{pipe, local, remote}
}

func (c *closedConn) LocalAddr() net.Addr  { return c.local }
func (c *closedConn) RemoteAddr() net.Addr { return c.remote }

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
