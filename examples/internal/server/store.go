package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// StartStore starts the dragonfly, valkey-server or redis-server on the PATH, the first of
// these that can do what the options say, on a free port with 256 MiB, until ctx ends. Its
// files are in dir.
func StartStore(ctx context.Context, dir string, opts ...servers.Option) (*servers.Server, error) {
	s, err := servers.Start(ctx, dir, append([]servers.Option{servers.Memory(256 << 20)}, opts...)...)
	var missing *servers.MissingError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("there is no server to start: %w", err)
	}
	return s, err
}

// LentStore is for programs that break what is stored. It returns the address in
// DRAGONFLY_ADDR, empty where that is not set, and what empties the server there. It is an
// error if the server has data at first: nobody is to lose any by a variable that is set for
// something else.
func LentStore(ctx context.Context) (addr string, empty func(context.Context) error, err error) {
	if addr = os.Getenv("DRAGONFLY_ADDR"); addr == "" {
		return "", nil, nil
	}
	with := func(ctx context.Context, f func(rueidis.Client) error) error {
		c, err := Patiently(ctx, func() (rueidis.Client, error) {
			return dragonfly.NewClient(ctx, addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
		})
		if err != nil {
			return fmt.Errorf("DRAGONFLY_ADDR: %w", err)
		}
		defer c.Close()
		return f(c)
	}
	empty = func(ctx context.Context) error {
		return with(ctx, func(c rueidis.Client) error {
			for _, node := range c.Nodes() {
				if err := node.Do(ctx, node.B().Flushall().Build()).Error(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = with(ctx, func(c rueidis.Client) error {
		for _, node := range c.Nodes() {
			n, err := node.Do(ctx, node.B().Dbsize().Build()).AsInt64()
			if err != nil {
				return fmt.Errorf("DRAGONFLY_ADDR: %w", err)
			}
			if n > 0 {
				return fmt.Errorf("DRAGONFLY_ADDR: the server at %s has data (keys: %d), which would be lost: name one that is empty, or none", addr, n)
			}
		}
		return nil
	})
	return addr, empty, err
}

// Patiently returns what connect gives. While that runs out of time it calls it again, for
// up to 20 s: what measures or breaks things keeps the machine busy.
func Patiently[T any](ctx context.Context, connect func() (T, error)) (made T, err error) {
	for end := time.Now().Add(20 * time.Second); ; {
		made, err = connect()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || time.Now().After(end) {
			return made, err
		}
	}
}
