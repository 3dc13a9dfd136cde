package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/examples/internal/proxy"
)

// worker is one process under test: a caching proxy in one of the frameworks,
// and beside it an endpoint to purge.
type worker struct {
	Framework, Store, Origin, Token string
	Near                            int
}

// serve tells its two addresses on the standard output, and ends with the
// standard input.
func (w worker) serve() error {
	logger := slog.New(slog.DiscardHandler) // that connections break is the point
	opts := []dragonfly.Option{dragonfly.WithLogger(logger)}
	if w.Near > 0 {
		opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: int64(w.Near)}))
	}
	store, err := dragonfly.Open(context.Background(), w.Store, opts...)
	if err != nil {
		return err
	}
	cache, err := core.New(core.Config{Store: store, TTL: time.Hour, Logger: logger})
	if err != nil {
		return err
	}
	origin, err := url.Parse(w.Origin)
	if err != nil {
		return err
	}
	cached, err := proxy.New(w.Framework, cache, origin)
	if err != nil {
		return err
	}
	purge, err := nethttp.NewPurge(cache, core.PurgeAccess{Token: w.Token})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	ctx := context.Background()
	one, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	two, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = cached.Serve(one) }()
	go func() { _ = (&http.Server{Handler: purge, ReadHeaderTimeout: time.Minute}).Serve(two) }()
	fmt.Println("http://"+one.Addr().String(), "http://"+two.Addr().String())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
