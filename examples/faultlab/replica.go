package main

import (
	"context"
	"net"
	"os"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// follow makes the server a replica, which is read-only: of nobody, with all that it has, or
// where that cannot be, on Dragonfly, of an empty one.
func (w *world) follow(ctx context.Context) error {
	host, port := "127.0.0.1", "1"
	if w.server.Kind == servers.Dragonfly {
		dir, err := os.MkdirTemp(w.dir, "master-")
		if err != nil {
			return err
		}
		if w.master, err = servers.Start(ctx, dir, servers.Only("a replica follows its own kind", servers.Dragonfly), servers.Memory(256<<20)); err != nil {
			return err
		}
		host, port, _ = net.SplitHostPort(w.master.Addr)
	}
	return w.do(ctx, "REPLICAOF", host, port)
}

// lead makes it a master again.
func (w *world) lead(ctx context.Context) error {
	err := w.do(ctx, "REPLICAOF", "NO", "ONE")
	if w.master != nil {
		w.master.Kill()
		w.master = nil
	}
	return err
}
