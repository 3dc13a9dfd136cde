// Command proxy is a caching reverse proxy in front of any HTTP origin:
//
//	go run ./examples/proxy -origin http://localhost:9000
//
// The origin gets the client's Host, and the connection's data in X-Forwarded
// fields. What it does not allow to be reused explicitly is not reused, unless
// -ttl says otherwise.
package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// maxBytes is the largest body that is held back and stored; a longer one
// streams through.
const maxBytes = 8 << 20

type options struct {
	server.Options
	framework string
	origin    *url.URL
}

func main() {
	var o options
	flags := o.Flags(0)
	server.Add(flags, &o.framework, "framework", "FRAMEWORK", "chi", "one of fiber, gin, echo and chi", framework)
	server.Add(flags, &o.origin, "origin", "ORIGIN", nil, "URL of the origin, required", originURL)
	flags.Require("origin", o.origin == nil)
	server.Main(flags, func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) error {
	store, err := server.OpenStore(ctx, o.Dragonfly)
	if err != nil {
		return err
	}
	cache, err := core.New(core.Config{Store: store, TTL: o.TTL, MaxBytes: maxBytes})
	if err != nil {
		return err
	}
	defer server.Close(cache, store)

	origin := newOrigin(o.origin)
	if o.framework == "fiber" {
		app := newFiber(cache, origin)
		return server.Serve(ctx, o.Addr, app.Listener, app.ShutdownWithContext)
	}
	srv := &http.Server{Handler: handlers[o.framework](cache, origin), ReadHeaderTimeout: readHeaderTimeout}
	return server.Serve(ctx, o.Addr, srv.Serve, srv.Shutdown)
}

func framework(s string) (string, error) {
	if s != "fiber" && handlers[s] == nil {
		return "", errors.New("not one of fiber, gin, echo and chi")
	}
	return s, nil
}

func originURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("not an absolute URL such as http://localhost:9000")
	case u.User != nil, u.RawQuery != "", strings.Contains(s, "#"):
		return nil, errors.New("a user, query or fragment has no meaning here")
	}
	return u, nil
}
