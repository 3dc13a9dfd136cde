package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test program the server, when a test starts it as that.
func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// fake is a running server.
type fake struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	log  string
	tls  *tls.Config
}

// start runs the server on a free port, with the flags and environment of a test.
func start(t *testing.T, env []string, args ...string) *fake {
	t.Helper()
	f, err := tryStart(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tryStart(t *testing.T, env []string, args ...string) (*fake, error) {
	t.Helper()
	if _, err := findBackend(""); err != nil {
		if os.Getenv("CACHEASIDE_REQUIRE_SERVER") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// Below the ports that systems give to connections, which may be their own other end.
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
	for err != nil {
		l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
	}
	f := &fake{t: t, addr: l.Addr().String(), log: filepath.Join(t.TempDir(), "log")}
	_ = l.Close()
	return f, f.start(env, args...)
}

func (f *fake) start(env []string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.Create(f.log)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	_, port, _ := net.SplitHostPort(f.addr)
	f.cmd = exec.Command(self, append([]string{"--port=" + port, "--bind", "127.0.0.1", "--proactor_threads=1", "--maxmemory=512mb", "--cache_mode=true"}, args...)...)
	f.cmd.Env = append(append(os.Environ(), mainEnv+"=1"), env...)
	f.cmd.Stdout, f.cmd.Stderr = out, out
	if err := f.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = f.cmd.Wait(); close(done) }()
	f.t.Cleanup(func() {
		_ = f.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = f.cmd.Process.Kill()
			<-done
		}
	})
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", f.addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-done:
			text, _ := os.ReadFile(f.log)
			return fmt.Errorf("%s: %s", f.cmd.ProcessState, text)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// client is a raw one.
type client struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func (f *fake) dial(t *testing.T) *client {
	t.Helper()
	var nc net.Conn
	var err error
	if f.tls != nil {
		nc, err = tls.Dial("tcp", f.addr, f.tls)
	} else {
		nc, err = net.Dial("tcp", f.addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{t, nc, bufio.NewReader(nc)}
}

// dial3 speaks RESP3.
func (f *fake) dial3(t *testing.T) *client {
	t.Helper()
	c := f.dial(t)
	if v := c.do("HELLO 3"); v.kind != '%' {
		t.Fatalf("HELLO 3: %v", v)
	}
	return c
}

func (c *client) send(commands ...[]string) {
	c.t.Helper()
	var b []byte
	for _, command := range commands {
		b = appendCommand(b, command...)
	}
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() value {
	c.t.Helper()
	v, err := parse(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// do gives a command, by its words.
func (c *client) do(line string, more ...string) value {
	c.t.Helper()
	c.send(append(strings.Fields(line), more...))
	return c.next()
}

// String is how tests write an answer.
func (v value) String() string {
	switch {
	case v.null:
		return "null"
	case v.kind == '-':
		return "-" + v.text
	case !strings.ContainsRune("*~>%", rune(v.kind)):
		return v.text
	}
	texts := make([]string, len(v.items))
	for i, item := range v.items {
		texts[i] = item.String()
	}
	return "[" + strings.Join(texts, " ") + "]"
}

func (c *client) want(line, want string) {
	c.t.Helper()
	if got := c.do(line).String(); got != want {
		c.t.Errorf("%s: %q, want %q", line, got, want)
	}
}

// quiet fails if something comes within a moment.
func (c *client) quiet(what string) {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	if v, err := parse(c.r); err == nil {
		c.t.Errorf("%s: %v", what, v)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
}
