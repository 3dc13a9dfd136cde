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
func OpenStore(ctx context.Context, addr string, near int64) (store.Store, error) {
	if addr == "" {
		slog.Info("cache: the embedded memory store of this process; -dragonfly host:port shares it")
		return memory.New((64 << 20))
	}
	slog.Info("cache: on a server", "addr", withoutSecrets(addr))
	if near > 0 {
		return dragonfly.Open(ctx, addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: near}))
	}
	return dragonfly.Open(ctx, addr)
}

// Beside is work that goes on beside requests, once it is known where the service listens.
// Run, unless nil, begins when the service does, and is to end with ctx. The
// error ends the program.
type Beside func(at net.Addr) (run func(ctx context.Context), err error)

// Serve listens on addr until ctx ends, and then lets requests finish.
func Serve(ctx context.Context, addr string, serve func(net.Listener) error, shutdown func(context.Context) error, besides ...Beside) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
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
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("shutting down")
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
