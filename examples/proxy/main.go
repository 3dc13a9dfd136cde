// Command proxy is a caching reverse proxy in front of any HTTP origin:
//
//	go run ./examples/proxy -origin http://localhost:9000
//
// The origin gets the client's Host, and the connection's data in X-Forwarded
// fields. It is taken to know HTTP caching: whatever RFC 9111 lets a shared cache
// store is stored, as long as the RFC says. With -ttl it is taken not to know:
// what says nothing of reuse is reused for that long, and what sets cookies is
// not.
package main

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/proxy"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// maxBytes is the largest body that is captured and stored; a longer one passes
// through.
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
	store, err := o.OpenStore(ctx)
	if err != nil {
		return err
	}
	policy := cacheaside.RFC9111()
	if o.TTL > 0 { // what the RFC knows nothing of, and so is cautious
		policy = cacheaside.Policy{}
	}
	policy.Storing.MaxBytes = maxBytes
	operating, err := o.Operating()
	if err != nil {
		return err
	}
	cache, err := cacheaside.New(o.Config(cacheaside.Config{Store: store, Observer: operating.Observer(), Policy: policy}))
	if err != nil {
		return err
	}
	defer server.Close(cache, store)
	if err := operating.Serve(ctx, cache); err != nil {
		return err
	}
	s, err := proxy.New(o.framework, cache, o.origin)
	if err != nil {
		return err
	}
	return o.Serve(ctx, s.Serve, s.Shutdown)
}

func framework(s string) (string, error) {
	if !slices.Contains(proxy.Frameworks(), s) {
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
