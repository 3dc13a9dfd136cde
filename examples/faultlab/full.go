package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// What servers say to a write when they are full.
const (
	fullRedis     = "OOM command not allowed when used memory > 'maxmemory'"
	fullDragonfly = "ERR Out of memory"
)

// outOfMemory is a server that does not evict and is filled until it refuses to write. It
// stays full: what expires is taken up at once.
func outOfMemory(name string, prepare func(*world)) fault {
	return fault{
		name: name, breaks: true, opts: []servers.Option{servers.NoEviction()},
		begin: func(ctx context.Context, w *world) error {
			prepare(w)
			for _, size := range []int{1 << 20, 64 << 10, 1 << 10} {
				if err := w.fill(ctx, size, 1<<20); err != nil {
					return err
				}
			}
			if w.fillers == 0 {
				return fmt.Errorf("the %s refuses everything", w.server.Kind)
			}
			return nil
		},
		during: func(ctx context.Context, w *world) error {
			time.Sleep(time.Millisecond)
			return w.fill(ctx, 1<<10, 1000)
		},
		end: func(ctx context.Context, w *world) error {
			w.proxy.Rewrite("", "")
			return w.drain(ctx)
		},
	}
}

// otherWords has the server refuse as one of the other kind does.
func otherWords(w *world) {
	if w.server.Kind == servers.Dragonfly {
		w.proxy.Rewrite(fullDragonfly, fullRedis)
	} else {
		w.proxy.Rewrite(fullRedis, fullDragonfly)
	}
}

func (w *world) filler(n int) string { return fmt.Sprint("faultlab:filler:", n) }

// fill adds keys with values of a size until the server refuses one, or there are most.
func (w *world) fill(ctx context.Context, size, most int) error {
	value := strings.Repeat("v", size)
	for range most {
		err := w.do(ctx, "SET", w.filler(w.fillers), value)
		if _, answered := rueidis.IsRedisErr(err); answered && strings.Contains(strings.ToLower(err.Error()), "memory") {
			return nil
		}
		if err != nil {
			return err
		}
		w.fillers++
	}
	return nil
}

// drain removes what fill has added.
func (w *world) drain(ctx context.Context) error {
	for ; w.fillers > 0; w.fillers-- {
		if err := w.do(ctx, "UNLINK", w.filler(w.fillers-1)); err != nil {
			return err
		}
	}
	return nil
}
