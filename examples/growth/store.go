package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// target is a store that tells how much it holds.
type target struct {
	store.Store
	namespace string
	used      func(context.Context) (int64, error) // bytes
	close     func() error
}

func open(ctx context.Context, kind, addr string) (*target, error) {
	if kind == "memory" {
		mem, err := memory.New(64 << 30) // nothing is evicted: what there is, is measured
		if err != nil {
			return nil, err
		}
		return &target{Store: mem, namespace: "growth", used: heap, close: mem.Close}, nil
	}
	remote, err := dragonfly.Open(ctx, addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)), dragonfly.WithCallTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	client, err := connect(addr)
	if err != nil {
		_ = remote.Close()
		return nil, err
	}
	s := &target{Store: remote, namespace: "growth-" + strings.ToLower(rand.Text())}
	s.used = func(ctx context.Context) (int64, error) { return usedMemory(ctx, client) }
	s.close = func() error {
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		err := remove(ctx, client, s.namespace)
		if closed := remote.Close(); err == nil {
			err = closed
		}
		return err
	}
	return s, nil
}

func heap(context.Context) (int64, error) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), nil
}

func connect(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
}

// usedMemory waits until the server's memory changes no more: it removes aside.
func usedMemory(ctx context.Context, client rueidis.Client) (last int64, err error) {
	for range 100 {
		text, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(text, "used_memory:")
		digits, _, _ := strings.Cut(rest, "\r\n")
		now, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("INFO memory says no used_memory: %q", text)
		}
		if d := now - last; d < 1<<16 && d > -1<<16 {
			return now, nil
		}
		last = now
		time.Sleep(50 * time.Millisecond)
	}
	return last, nil
}

// remove deletes what is under the namespace.
func remove(ctx context.Context, client rueidis.Client, namespace string) error {
	for cursor := uint64(0); ; {
		found, err := client.Do(ctx, client.B().Scan().Cursor(cursor).Match(namespace+":*").Count(1000).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		if len(found.Elements) > 0 {
			if err := client.Do(ctx, client.B().Unlink().Key(found.Elements...).Build()).Error(); err != nil {
				return err
			}
		}
		if cursor = found.Cursor; cursor == 0 {
			return nil
		}
	}
}

// unbound lets a server of our own take as much memory as there is. One that has no such
// setting has a bound that goes with the machine.
func unbound(ctx context.Context, addr string) error {
	client, err := connect(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Do(ctx, client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "0").Build()).Error()
	if _, refused := rueidis.IsRedisErr(err); refused {
		return nil
	}
	return err
}
