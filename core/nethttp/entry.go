package nethttp

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/url"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Entry returns the way into the service that handler is, for [cacheaside.Cache.Warm]. Give
// it what the http.Server has as its handler, with all that is in front of the cache. It
// panics if handler is nil.
func Entry(handler http.Handler) adapter.Entry {
	if handler == nil {
		panic("nethttp.Entry: the handler is nil: give it the handler of the http.Server")
	}
	return (&entry{handler: handler}).send
}

// Probe implements [adapter.Prober], by the same entry as Detach.
func (x *Exchange) Probe() adapter.Entry { return x.Prober(nil) }

// Prober does the work of Probe, like [Exchange.Refresher].
func (x *Exchange) Prober(handler http.Handler) adapter.Entry {
	server, served := x.r.Context().Value(http.ServerContextKey).(*http.Server)
	switch {
	case served && server.Handler != nil:
		handler = server.Handler
	case handler != nil:
	case served:
		handler = http.DefaultServeMux
	default:
		return nil
	}
	local, _ := x.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return (&entry{handler, server, local}).send
}

// entry is where requests come in.
type entry struct {
	handler http.Handler
	server  *http.Server // nil: not known
	local   net.Addr
}

// send is an [adapter.Entry].
func (e *entry) send(ctx context.Context, method string, target *url.URL, header http.Header, rerun *adapter.Rerun) (int, http.Header) {
	own := *target
	own.Scheme, own.Host, own.User, own.Fragment = "", "", nil, ""
	r := &http.Request{
		Method: method, URL: &own, RequestURI: own.RequestURI(), Host: target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "127.0.0.1:0",
	}
	maps.Copy(r.Header, header.Clone())
	if target.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	if e.server != nil {
		ctx = serving{ctx, serverContext(e.server, e.local, r)}
	}
	if rerun != nil {
		ctx = adapter.WithRerun(ctx, rerun)
	}
	w := &answered{discard: discard{ctx, http.Header{}}}
	e.handler.ServeHTTP(w, r.WithContext(ctx))
	return max(w.status, http.StatusOK), w.header
}

// answered is a writer that keeps the final status.
type answered struct {
	discard
	status int
}

func (a *answered) WriteHeader(status int) {
	if a.status == 0 && !Informational(status) {
		a.status = status
	}
}
