package main

import (
	"context"
	"fmt"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// lent is a server that is somebody's: it may be filled and emptied, not broken.
type lent struct {
	addr  string
	clear func(context.Context) error
}

// choose finds out which servers there are, and says what the faults are tried on.
func (l *lab) choose(ctx context.Context) (string, error) {
	kind, _, missing := servers.Find()
	addr, empty, err := server.LentStore(ctx)
	switch {
	case err != nil:
		return "", err
	case addr == "" && missing != nil:
		return "", missing
	case addr == "":
		return string(kind), nil
	}
	l.lent = &lent{addr, empty}
	if missing != nil {
		return addr, nil //nolint:nilerr // it is enough for some of the faults
	}
	return fmt.Sprintf("%s, and %s for what breaks a server", addr, kind), nil
}

// hasServer reports whether there is one for some of the faults.
func (l *lab) hasServer() bool {
	_, _, missing := servers.Find()
	return l.lent != nil || missing == nil
}

// store returns an empty server: the lent one if that need not break, else one of the lab's
// own. Kill ends one of the lab's own alone.
func (l *lab) store(ctx context.Context, dir string, breaks bool, opts ...servers.Option) (*servers.Server, error) {
	if l.lent == nil || breaks {
		return server.StartStore(ctx, dir, opts...)
	}
	return &servers.Server{Addr: l.lent.addr}, l.lent.clear(ctx)
}

// giveBack empties the lent server.
func (l *lab) giveBack(ctx context.Context) error {
	if l.lent == nil {
		return nil
	}
	return l.lent.clear(ctx)
}
