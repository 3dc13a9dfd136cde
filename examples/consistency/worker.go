package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// worker is one process under test: a service in one of the frameworks with a
// route for each policy, and beside it an endpoint to purge for each policy, and
// one for counts.
type worker struct {
	Framework, Store, Origin, Token string
	Number, Near                    int
	Features                        Features
}

// lockTTL is how long the tokens live of processes that are stopped now and then.
const lockTTL = 300 * time.Millisecond

// counts are what a worker knows that cannot be seen from outside.
type counts struct {
	Stats cacheaside.Stats
	Ahead int64 // runs in the background of what is not to be served stale
}

// serve tells its two addresses on the standard output, and ends with the
// standard input.
func (w worker) serve() error {
	logger := slog.New(slog.DiscardHandler) // that connections break is the point
	opts := []dragonfly.Option{dragonfly.WithLogger(logger)}
	if w.Near > 0 {
		opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: int64(w.Near)}))
	}
	ctx := context.Background()
	store, err := server.Patiently(ctx, func() (*dragonfly.Store, error) { return dragonfly.Open(ctx, w.Store, opts...) })
	if err != nil {
		return err
	}
	cfg := cacheaside.Config{Store: store, Logger: logger, Policy: cacheaside.Policy{TTL: time.Hour}}
	if w.Features.Pause {
		cfg.Timeouts.Lock = lockTTL
	}
	cache, err := cacheaside.New(cfg)
	if err != nil {
		return err
	}
	var routes []route
	var ahead atomic.Int64
	beside := http.NewServeMux()
	for _, p := range w.Features.policies() {
		handle, err := cache.With(p.change(w.Number))
		if err == nil && p.unbending {
			handle, err = handle.With(func(c *cacheaside.Policy) {
				c.Skip = func(r *cacheaside.Request) bool {
					if r.Rerun != nil {
						ahead.Add(1)
					}
					return false
				}
			})
		}
		if err != nil {
			return err
		}
		to := route{"/" + p.name, []*cacheaside.Cache{handle}}
		if p.nested {
			to.handles = []*cacheaside.Cache{cache, handle}
		}
		routes = append(routes, to)
		purge, err := nethttp.NewPurge(handle, cacheaside.PurgeAccess{Token: w.Token})
		if err != nil {
			return err
		}
		beside.Handle("/purge/"+p.name, purge)
	}
	beside.HandleFunc("/counts", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(counts{cache.Stats(), ahead.Load()})
	})
	cached, err := newServer(w.Framework, routes, origin(w.Origin))
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	one, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	two, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = cached(one) }()
	go func() { _ = (&http.Server{Handler: beside, ReadHeaderTimeout: time.Minute}).Serve(two) }()
	fmt.Println("http://"+one.Addr().String(), "http://"+two.Addr().String())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
