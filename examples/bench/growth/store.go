package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// The kinds of stores.
const (
	inMemory = "memory"
	onServer = "server"
	nearTier = "near" // on the server, with a near tier in the process
)

const nearBytes = 64 << 20

// target is a store that is measured.
type target struct {
	store.Store
	kind  string
	trips *atomic.Int64 // writes to the connections; nil where there are none
}

// open opens a store of a kind. No time-out of a call is to spoil a figure.
func open(ctx context.Context, kind, addr string) (*target, error) {
	if kind == inMemory {
		mem, err := memory.New(64 << 30) // nothing is evicted: what there is, is measured
		if err != nil {
			return nil, err
		}
		return &target{Store: mem, kind: kind}, nil
	}
	option, err := dragonfly.ParseURL(addr)
	if err != nil {
		return nil, err
	}
	trips := new(atomic.Int64)
	option.DialCtxFn = func(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil && config != nil {
			conn = tls.Client(conn, config)
		}
		return &counted{conn, trips}, err
	}
	opts := []dragonfly.Option{dragonfly.WithLogger(slog.New(slog.DiscardHandler)), dragonfly.WithCallTimeout(10 * time.Second)}
	if kind == nearTier { // which is to copy what is read twice, however slow the machine is
		opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: nearBytes, MaxAge: time.Hour, HotWithin: time.Minute}))
	}
	remote, err := dragonfly.OpenClientOption(ctx, option, opts...)
	if err != nil {
		return nil, err
	}
	return &target{Store: remote, kind: kind, trips: trips}, nil
}

// counted counts the writes of a connection. A client that sends commands and waits for
// their answers writes once for each round trip.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// host is the server, as its own figures tell it.
type backend struct {
	addr   string
	own    *servers.Server // nil: that of the user, which nothing but our keys is removed from
	dir    string
	client rueidis.Client
	name   string // with version
}

// start starts a server, or connects to the one at addr.
func start(ctx context.Context, addr string, memory int64) (b *backend, err error) {
	b = &backend{addr: addr}
	if addr == "" {
		if b.dir, err = os.MkdirTemp("", "cacheaside-growth-"); err != nil {
			return nil, err
		}
		// Until it is closed, also where ctx has ended before.
		if b.own, err = servers.Start(context.WithoutCancel(ctx), b.dir, servers.Memory(memory)); err != nil {
			return nil, errors.Join(fmt.Errorf("there is no server to start, and neither -dragonfly nor DRAGONFLY_ADDR names one: %w", err), os.RemoveAll(b.dir))
		}
		b.addr = b.own.Addr
	}
	if err := b.connect(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("server %s: %w", b.addr, err), b.close())
	}
	return b, nil
}

func (b *backend) connect(ctx context.Context) error {
	option, err := dragonfly.ParseURL(b.addr)
	if err != nil {
		return err
	}
	option.DisableCache, option.ConnWriteTimeout = true, 10*time.Minute // to flush ten million keys takes its time
	if b.client, err = rueidis.NewClient(option); err != nil {
		return err
	}
	info, err := b.info(ctx, "server")
	if err != nil {
		return err
	}
	switch {
	case info["dragonfly_version"] != "":
		b.name = "Dragonfly " + strings.TrimPrefix(strings.TrimPrefix(info["dragonfly_version"], "df-"), "v")
	case info["valkey_version"] != "":
		b.name = "Valkey " + info["valkey_version"]
	default:
		b.name = "Redis " + info["redis_version"]
	}
	return nil
}

func (b *backend) close() (err error) {
	if b.client != nil {
		b.client.Close()
	}
	if b.own != nil {
		b.own.Kill()
		err = os.RemoveAll(b.dir) //nolint:gosec // made by us
	}
	return err
}

// namespace is one that nobody else has.
func namespace() string { return "growth-" + strings.ToLower(rand.Text()[:10]) }

// clean removes what is under a namespace.
func (b *backend) clean(ctx context.Context, namespace string) error {
	ctx = context.WithoutCancel(ctx)
	if b.own != nil { // which nobody else uses
		return b.client.Do(ctx, b.client.B().Flushall().Build()).Error()
	}
	return b.scan(ctx, namespace, func(keys []string) error {
		return b.client.Do(ctx, b.client.B().Unlink().Key(keys...).Build()).Error()
	})
}

// scan gives the keys under a namespace to do, some at a time.
func (b *backend) scan(ctx context.Context, namespace string, do func(keys []string) error) error {
	for cursor := uint64(0); ; {
		found, err := b.client.Do(ctx, b.client.B().Scan().Cursor(cursor).Match(namespace+":*").Count(1000).Build()).AsScanEntry()
		if err == nil && len(found.Elements) > 0 {
			err = do(found.Elements)
		}
		if cursor = found.Cursor; cursor == 0 || err != nil {
			return err
		}
	}
}

// info is a section of what the server tells of itself.
func (b *backend) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := b.client.Do(ctx, b.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// work is what has been done since the server started.
type work struct {
	commands float64 // those in scripts as well
	cpu      float64 // nanoseconds; NaN where the server does not tell
	trips    float64
}

// worked is what the server and the connections have done, before something is measured
// or after it: the processor time is asked for next to that, since to answer takes some.
func (b *backend) worked(ctx context.Context, t *target, before bool) (w work, err error) {
	if t != nil && t.kind == inMemory {
		return work{math.NaN(), math.NaN(), math.NaN()}, nil
	}
	if t != nil {
		w.trips = float64(t.trips.Load())
	}
	ask := []func() error{
		func() (err error) { w.cpu, err = b.cpu(ctx); return err },
		func() (err error) { w.commands, err = b.commands(ctx); return err },
	}
	if before {
		slices.Reverse(ask)
	}
	return w, errors.Join(ask[0](), ask[1]())
}

// commands are those that have run.
func (b *backend) commands(ctx context.Context) (all float64, err error) {
	stats, err := b.info(ctx, "commandstats")
	if err != nil {
		return 0, err
	}
	for name, value := range stats {
		if name == "cmdstat_info" { // our own
			continue
		}
		_, rest, _ := strings.Cut(value, "calls=")
		calls, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.ParseFloat(calls, 64); err == nil && strings.HasPrefix(name, "cmdstat_") {
			all += n
		}
	}
	return all, nil
}

// cpu is the processor time that the server has had, in nanoseconds.
func (b *backend) cpu(ctx context.Context) (float64, error) {
	cpu, err := b.info(ctx, "cpu")
	return (number(cpu["used_cpu_user"]) + number(cpu["used_cpu_sys"])) * float64(time.Second), err
}

func number(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// used waits until the server's memory changes no more and its processor rests, and returns
// the memory: it removes aside, and tidies up after many writes.
func (b *backend) used(ctx context.Context) (last float64, err error) {
	const pause = 50 * time.Millisecond
	var busy float64
	for range 400 {
		info, err := b.info(ctx, "memory")
		if err != nil {
			return 0, err
		}
		cpu, err := b.cpu(ctx)
		if err != nil {
			return 0, err
		}
		now := number(info["used_memory"])
		if math.IsNaN(now) {
			return 0, errors.New("INFO memory has no used_memory")
		}
		works := cpu-busy > float64(pause/5) // not where it does not tell
		if !works && math.Abs(now-last) < 1<<14 {
			return now, nil
		}
		last, busy = now, cpu
		time.Sleep(pause)
	}
	return last, nil
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
