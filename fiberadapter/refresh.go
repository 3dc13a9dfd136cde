package fiberadapter

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// rerunKey is where a request that is run again finds its adapter.Rerun.
type rerunKey struct{}

func (x *exchange) Detach() adapter.Refresher {
	app, old := x.c.App(), x.c.Context()
	c := new(fasthttp.RequestCtx) // not pooled: a handler may keep what is in it
	c.Init2(newConn(old), nil, true)
	x.repeat(&old.Request, &c.Request)
	return func(ctx context.Context, rerun *adapter.Rerun) {
		c.SetUserValue(rerunKey{}, rerun)
		setUserContext(ctx, app, c)
		defer func() { _ = c.Response.CloseBodyStream() }()
		defer c.ResetUserValues() // what there is to store goes then
		app.Server().Handler(c)
		drainStream(c)
	}
}

// repeat makes req a copy of old as that came in, but for what is not to be
// repeated.
func (x *exchange) repeat(old, req *fasthttp.Request) {
	old.CopyTo(req)
	req.ResetBody()
	req.SetRequestURIBytes(old.Header.RequestURI()) // Ctx.Path may have changed the parsed URI
	if !x.keyed {
		req.Header.SetMethod(fasthttp.MethodGet)
	}
	var omitted []string
	req.Header.VisitAll(func(name, _ []byte) {
		if adapter.OmittedInRerun(http.CanonicalHeaderKey(string(name)), x.keyed) {
			omitted = append(omitted, string(name))
		}
	})
	for _, name := range omitted {
		req.Header.Del(name)
	}
	if x.keyed {
		x.repeatContent(req)
		return
	}
	req.PostArgs().Reset()
}

// setUserContext makes ctx what Ctx.UserContext returns from the first handler
// on: Fiber keeps it in c.
func setUserContext(ctx context.Context, app *fiber.App, c *fasthttp.RequestCtx) {
	fc := app.AcquireCtx(c)
	defer app.ReleaseCtx(fc)
	fc.SetUserContext(ctx)
}

// closedConn has the addresses of the connection that the original request came
// by; nothing can be read from it or written to it.
type closedConn struct {
	net.Conn
	local, remote net.Addr
}

func (c *closedConn) LocalAddr() net.Addr  { return c.local }
func (c *closedConn) RemoteAddr() net.Addr { return c.remote }

// closedTLSConn is one of TLS, as fasthttp tells: the scheme is part of the key.
type closedTLSConn struct {
	closedConn
	state tls.ConnectionState
}

func (c *closedTLSConn) Handshake() error                     { return nil }
func (c *closedTLSConn) ConnectionState() tls.ConnectionState { return c.state }

func newConn(like *fasthttp.RequestCtx) net.Conn {
	conn := connFor(like.LocalAddr(), like.RemoteAddr(), like.IsTLS())
	if t, ok := conn.(*closedTLSConn); ok {
		if state := like.TLSConnectionState(); state != nil {
			t.state = *state
		}
	}
	return conn
}

// connFor is a connection with these addresses.
func connFor(local, remote net.Addr, secure bool) net.Conn {
	pipe, _ := net.Pipe()
	_ = pipe.Close()
	conn := closedConn{pipe, local, remote}
	if !secure {
		return &conn
	}
	return &closedTLSConn{closedConn: conn}
}
