package storetest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
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
	if kind, path := findServer(); path != "" {
		p := &Process{Kind: kind, path: path, tb: tb}
		p.must(p.begin())
		return p.Addr
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
func HasServer() bool {
	_, path := findServer()
	return os.Getenv(addrEnv) != "" || path != ""
}

func findServer() (kind, path string) {
	for _, kind := range []string{"dragonfly", "valkey-server", "redis-server"} {
		if path, err := exec.LookPath(kind); err == nil {
			return kind, path
		}
	}
	return "", ""
}

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

// Process is a server that a test has for itself.
type Process struct {
	Addr string // host:port, the same after a restart
	Kind string // dragonfly, valkey-server or redis-server

	tb   testing.TB
	path string
	args []string
	tls  *tls.Config // of a client; nil without TLS
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// StartServer runs a server with further arguments, such as "--requirepass",
// "secret", until the test ends. It skips the test where none is installed, or
// fails it if CACHEASIDE_REQUIRE_SERVER is 1.
func StartServer(tb testing.TB, args ...string) *Process {
	tb.Helper()
	kind, path := needServer(tb)
	p := &Process{Kind: kind, path: path, args: args, tb: tb}
	p.must(p.begin())
	return p
}

func needServer(tb testing.TB) (kind, path string) {
	tb.Helper()
	kind, path = findServer()
	if path == "" {
		if os.Getenv(requireEnv) == "1" {
			tb.Fatalf("storetest: %s=1, but no redis-server, valkey-server or dragonfly is on the PATH", requireEnv)
		}
		tb.Skip("this needs a redis-server, valkey-server or dragonfly on the PATH")
	}
	return kind, path
}

func (p *Process) begin() error {
	p.dir = p.tb.TempDir()
	p.tb.Cleanup(p.Kill)
	// A free port may be taken by somebody else before the server has it.
	var err error
	for range 3 {
		if p.Addr, err = freeAddr(); err != nil {
			break
		}
		if err = p.start(); err == nil {
			return nil
		}
		p.Kill()
	}
	return err
}

// freeAddr returns an address that nobody listens at. It is below those that
// systems give to connections, or one of those would take the port while a server
// is down.
func freeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10_000+rand.IntN(20_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no port is free")
}

func (p *Process) must(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatalf("storetest: %s does not start: %v\n%s", p.Kind, err, p.log())
	}
}

// Start runs the server again, at the same address, after Stop or Kill.
func (p *Process) Start() {
	p.tb.Helper()
	err := p.start()
	for range 20 { // the old one's port may be in use for a moment
		if err == nil || !strings.Contains(p.log(), "Address already in use") {
			break
		}
		p.Kill()
		time.Sleep(50 * time.Millisecond)
		err = p.start()
	}
	p.must(err)
}

func (p *Process) start() error {
	_, port, _ := net.SplitHostPort(p.Addr)
	args := []string{"--port", port, "--bind", "127.0.0.1"}
	if p.tls != nil {
		args = []string{"--port", "0", "--tls-port", port, "--bind", "127.0.0.1"}
	}
	if p.Kind == "dragonfly" {
		args = append(args, "--dir", p.dir, "--dbfilename", "", "--maxmemory=512mb", "--cache_mode=true", "--proactor_threads=1")
	} else {
		args = append(args, "--dir", p.dir, "--save", "", "--appendonly", "no", "--maxmemory", "512mb", "--maxmemory-policy", "allkeys-lru")
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.path, append(args, p.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
	return p.wait()
}

// wait returns when the server answers, or an error when it will not.
func (p *Process) wait() error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		select {
		case <-p.done:
			return errors.New(p.cmd.ProcessState.String())
		case <-time.After(5 * time.Millisecond):
		}
		if p.answers() {
			return nil
		}
	}
	return errors.New("no answer within 30s")
}

// answers reports whether the server does. One that asks for a password counts,
// one that is loading does not.
func (p *Process) answers() bool {
	c, err := p.dial()
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// Stop ends the server in an orderly way and waits for it.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends the server at once and waits for it.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
}

// Port is the number in Addr.
func (p *Process) Port() int {
	_, port, _ := net.SplitHostPort(p.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

func (p *Process) log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "server.log"))
	return string(b[max(0, len(b)-2000):])
}
