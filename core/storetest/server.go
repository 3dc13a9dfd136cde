package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// The environment variables that choose the server.
const (
	addrEnv    = "DRAGONFLY_ADDR"
	requireEnv = "CACHEASIDE_REQUIRE_SERVER"
)

var noServerOnce sync.Once

// Server returns the address, host:port, of a Redis-compatible server for the
// test: $DRAGONFLY_ADDR if that is set; else a dragonfly, valkey-server or
// redis-server of its own, found on the PATH and stopped with the test; else
// miniredis in this process, which a line on stderr says once. With
// CACHEASIDE_REQUIRE_SERVER=1 in the environment the last is a failure.
//
// The server may be shared: use keys that begin with [Prefix], and flush nothing.
func Server(tb testing.TB) string {
	tb.Helper()
	if addr := os.Getenv(addrEnv); addr != "" {
		return addr
	}
	if HasProcess() {
		return StartServer(tb).Addr
	}
	if os.Getenv(requireEnv) == "1" {
		tb.Fatalf("storetest: %s=1, but there is no server: set %s or install redis-server", requireEnv, addrEnv)
	}
	noServerOnce.Do(func() {
		fmt.Fprintf(os.Stderr, "storetest: no %s and no dragonfly, valkey-server or redis-server on the PATH: testing against in-process miniredis\n", addrEnv)
	})
	return startMini(tb)
}

// HasServer reports whether [Server] gives a real server rather than miniredis.
func HasServer() bool { return os.Getenv(addrEnv) != "" || HasProcess() }

// Patiently returns what connect gives. While that runs out of time it calls it again, for
// up to 20 s: the machine is busy.
func Patiently[T any](connect func() (T, error)) (made T, err error) {
	for end := time.Now().Add(20 * time.Second); ; {
		made, err = connect()
		var e net.Error
		if late := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout(); !late || time.Now().After(end) {
			return made, err
		}
	}
}

// startMini runs miniredis and lets its time pass, which it does not by itself. On a
// busy machine its clock goes slow: all that is there loses the whole of a tick, what
// was written a moment before as well, so that a long tick would end it too early.
func startMini(tb testing.TB) string {
	tb.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		tb.Fatalf("storetest: miniredis: %v", err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		const longest = 8 * time.Millisecond
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				now := time.Now()
				m.FastForward(min(now.Sub(last), longest))
				last = now
			}
		}
	}()
	tb.Cleanup(func() {
		close(stop)
		<-stopped
		m.Close()
	})
	return m.Addr()
}

// Process is a server that a test has for itself. What fails of it fails the test.
type Process struct {
	*servers.Server
	tb  testing.TB
	bus int // port of a node of a cluster
}

// StartServer runs a server of its own with options, such as servers.Password("secret"),
// until the test ends, whatever $DRAGONFLY_ADDR says. It skips the test where no server is
// on the PATH that can do what they say, or fails it if CACHEASIDE_REQUIRE_SERVER is 1 and
// there is none at all.
func StartServer(tb testing.TB, opts ...servers.Option) *Process {
	tb.Helper()
	p, err := begin(tb, opts)
	p.must(err)
	return p
}

// begin returns an error of the server that has not started.
func begin(tb testing.TB, opts []servers.Option) (*Process, error) {
	tb.Helper()
	p := &Process{tb: tb}
	var missing *servers.MissingError
	s, err := servers.Start(context.Background(), tb.TempDir(), opts...)
	switch {
	case errors.As(err, &missing):
		if os.Getenv(requireEnv) == "1" && !HasProcess() {
			tb.Fatalf("storetest: %s=1, but %v", requireEnv, err)
		}
		tb.Skip(err)
	case err != nil:
		return p, err
	}
	p.Server = s
	tb.Cleanup(s.Kill)
	return p, nil
}

// EachKind runs a test, named after the kind, on each kind of server that is on the PATH:
// only is to be given to [StartServer]. Where there is none, StartServer says so.
func EachKind(t *testing.T, test func(t *testing.T, only servers.Option)) {
	t.Helper()
	if !HasProcess() {
		test(t, servers.WhereRedis())
		return
	}
	for _, kind := range servers.Kinds() {
		only := servers.Only("the test is on "+string(kind), kind)
		if _, _, err := servers.Find(only); err == nil {
			t.Run(string(kind), func(t *testing.T) { test(t, only) })
		}
	}
}

// HasProcess reports whether [StartServer] without options finds a server.
func HasProcess() bool {
	_, _, err := servers.Find()
	return err == nil
}

func (p *Process) must(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatalf("storetest: %v", err)
	}
}

// Start runs the server again, at the same address, after Stop or Kill.
func (p *Process) Start() {
	p.tb.Helper()
	p.must(p.Server.Start(context.Background()))
}

// Pause stops the server in its tracks: it keeps its connections, takes new
// ones, and answers nothing until Resume.
func (p *Process) Pause() {
	p.tb.Helper()
	p.must(p.Server.Pause())
}

// Resume lets a paused server go on.
func (p *Process) Resume() {
	p.tb.Helper()
	p.must(p.Server.Resume())
}

// Disconnect ends connections of clients to the server of c: all but one of c, or those of
// clients with these names.
func Disconnect(tb testing.TB, c rueidis.Client, names ...string) {
	tb.Helper()
	if err := servers.Disconnect(context.Background(), c, names...); err != nil {
		tb.Fatalf("storetest: ending connections: %v", err)
	}
}
