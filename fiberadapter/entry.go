package fiberadapter

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Entry returns the way into the service that app is, for [cacheaside.Cache.Warm]: the app
// that listens, not one that is mounted in it. Use it when all routes are registered. It
// panics if app is nil.
func Entry(app *fiber.App) adapter.Entry {
	if app == nil {
		panic("fiberadapter.Entry: the app is nil: make one with fiber.New")
	}
	e := &entry{app: app, local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, drains: true}
	var ready sync.Once
	return func(ctx context.Context, method string, target *url.URL, header http.Header, rerun *adapter.Rerun) (int, http.Header) {
		ready.Do(func() { app.Handler() }) // it finds no routes before that
		return e.send(ctx, method, target, header, rerun)
	}
}

// Probe implements [adapter.Prober].
func (x *exchange) Probe() adapter.Entry {
	return (&entry{app: x.c.App(), local: x.c.Context().LocalAddr()}).send
}

// entry is where requests come in.
type entry struct {
	app    *fiber.App
	local  net.Addr
	drains bool // a stream is read as a server would, if the cache captures it
}

// send is an [adapter.Entry].
func (e *entry) send(ctx context.Context, method string, target *url.URL, header http.Header, rerun *adapter.Rerun) (int, http.Header) {
	c := new(fasthttp.RequestCtx) // not pooled: a handler may keep what is in it
	c.Init2(connFor(e.local, e.local, target.Scheme == "https"), nil, true)
	req := &c.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(target.RequestURI())
	req.Header.SetHost(target.Host)
	for name, values := range header {
		for _, value := range values {
			req.Header.Add(name, value)
		}
	}
	if rerun != nil {
		c.SetUserValue(rerunKey{}, rerun)
	}
	setUserContext(ctx, e.app, c)
	defer func() { _ = c.Response.CloseBodyStream() }()
	defer c.ResetUserValues() // what there is to store goes then
	e.app.Server().Handler(c)
	if e.drains {
		drainStream(c)
	}
	answered := http.Header{}
	c.Response.Header.VisitAll(func(name, value []byte) { answered.Add(string(name), string(value)) })
	return c.Response.StatusCode(), answered
}
