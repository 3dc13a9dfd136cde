// Package server is what a program needs around its handlers: flags, the store
// of the cache, and serving until a signal ends it.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// grace is how long requests may take to finish once the program shall end.
const grace = 10 * time.Second

// Main parses the flags and runs the program until SIGINT or SIGTERM ends ctx.
func Main(flags *Flags, run func(ctx context.Context) error) {
	flags.parse(os.Args[1:])
	if flags.probe != "" {
		run = func(ctx context.Context) error { return probe(ctx, flags.probe) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx)
	stop()
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

// withoutSecrets is of an address, well-formed or not, what is neither user, password nor
// parameter.
func withoutSecrets(addr string) string {
	scheme, rest, ok := strings.Cut(addr, "://")
	if !ok {
		scheme, rest = "redis", addr
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + "://" + rest
}

// OpenStore opens the store that the cache is kept in, and says which.
func (o *Options) OpenStore(ctx context.Context) (store.Store, error) {
	if o.Dragonfly == "" {
		if o.DragonflyPassword != "" {
			return nil, errors.New("flag -dragonfly-password: there is no server that it could be for; set -dragonfly as well")
		}
		slog.Info("cache: the embedded memory store of this process; -dragonfly host:port shares it")
		return memory.New((64 << 20))
	}
	slog.Info("cache: on a server", "addr", withoutSecrets(o.Dragonfly))
	var opts []dragonfly.Option
	if o.Near > 0 {
		opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: o.Near}))
	}
	if o.LazyConnect {
		opts = append(opts, dragonfly.WithLazyConnect())
	}
	if o.DragonflyPassword == "" {
		return dragonfly.Open(ctx, o.Dragonfly, opts...)
	}
	option, err := dragonfly.ParseURL(o.Dragonfly)
	if err != nil {
		return nil, err
	}
	if option.Password != "" {
		return nil, errors.New("flag -dragonfly-password: the URL of -dragonfly has a password as well; leave one out")
	}
	option.Password = o.DragonflyPassword
	return dragonfly.OpenClientOption(ctx, option, opts...)
}

// Beside is work that goes on beside requests, once it is known where the service listens.
// Run, unless nil, begins when the service does, and is to end with ctx. The
// error ends the program.
type Beside func(at net.Addr) (run func(ctx context.Context), err error)

// Serve listens where the flags say until ctx ends. Then it says that it is not ready, goes
// on for as long as -drain says, for requests that come meanwhile, and lets those under way
// finish.
func (o *Options) Serve(ctx context.Context, serve func(net.Listener) error, shutdown func(context.Context) error, besides ...Beside) error {
	health, err := o.serveHealth(ctx)
	if err != nil {
		return err
	}
	defer health.close() // tells to the end that it is not ready
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, beside := range besides {
		run, err := beside(listener.Addr())
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		if run != nil {
			running.Go(func() { run(ctx) })
		}
	}
	slog.Info("listening", "addr", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- serve(listener) }()
	health.ready.Store(true)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	health.ready.Store(false)
	slog.Info("shutting down", "drain", o.Drain)
	select {
	case err := <-failed:
		return err
	case <-time.After(o.Drain):
	}
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := shutdown(ending); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	return nil
}

// Close closes the cache and then what it or the handlers have used.
func Close(cache *cacheaside.Cache, others ...io.Closer) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := cache.Close(ctx); err != nil { // a refresh in the background takes too long
		slog.Warn("closing the cache", "error", err)
	}
	for _, c := range others {
		if err := c.Close(); err != nil {
			slog.Warn("closing", "what", fmt.Sprintf("%T", c), "error", err)
		}
	}
}
