package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// StoreProcess is a cache server that a program has for itself. It keeps its
// data in memory.
type StoreProcess struct {
	Addr string // host:port
	path string
	args []string
	cmd  *exec.Cmd
}

// StartStore starts the redis-server, valkey-server or dragonfly on the PATH on a
// free port, the first two with further arguments.
func StartStore(ctx context.Context, dir string, args ...string) (*StoreProcess, error) {
	var path string
	var err error
	for _, name := range []string{"redis-server", "valkey-server", "dragonfly"} {
		if path, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if path == "" {
		return nil, errors.New("no redis-server, valkey-server or dragonfly on the PATH: start one and name it with -dragonfly host:port")
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	p := &StoreProcess{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), path: path}
	p.args = []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir}
	if strings.HasSuffix(path, "-server") {
		p.args = append(p.args, "--save", "", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru")
		p.args = append(p.args, args...)
	}
	return p, p.Start(ctx)
}

// freePort is below the ports that systems give to connections, or one of those
// would take it while the server is down.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// Start starts the server again after Kill, at the same address and empty.
func (p *StoreProcess) Start(ctx context.Context) error {
	p.cmd = exec.CommandContext(ctx, p.path, p.args...)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	var dialer net.Dialer
	for range 2000 {
		if c, err := dialer.DialContext(ctx, "tcp", p.Addr); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Kill()
	return fmt.Errorf("%s does not listen", p.path)
}

// Stop ends the server in good order.
func (p *StoreProcess) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// Kill ends the server at once; what it held is lost.
func (p *StoreProcess) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
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
