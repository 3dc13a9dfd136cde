package server

import (
	"context"
	"errors"
	"fmt"
	"time"

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
