package servers

import (
	"bufio"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"
)

// start runs a server for the test, or skips it.
func start(t *testing.T, opts ...Option) *Server {
	t.Helper()
	s, err := Start(context.Background(), t.TempDir(), opts...)
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// TestServer: a server that was ended takes no connections, and starts again where it was.
func TestServer(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := start(t, Password("secret"))
	for name, end := range map[string]func(){"Stop": s.Stop, "Kill": s.Kill} {
		if !s.Running() || !s.Answers() {
			t.Fatalf("%s: running %v", s.Log(), s.Running())
		}
		end()
		end() // which is nothing
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			_ = c.Close()
			t.Errorf("after %s it takes connections", name)
		}
		if s.Running() || s.Answers() {
			t.Errorf("after %s: running %v", name, s.Running())
		}
		addr := s.Addr
		if err := s.Start(context.Background()); err != nil || s.Addr != addr {
			t.Fatal(s.Addr, err)
		}
	}
}

// TestDeaf: as long as somebody takes connections, a server has not ended.
func TestDeaf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String()}
	returned := make(chan struct{})
	go func() { s.deaf(); close(returned) }()
	for range 5 {
		c, err := l.Accept() // it tries again and again
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		select {
		case <-returned:
			t.Fatal("it has returned while somebody listens")
		default:
		}
	}
	_ = l.Close()
	<-returned
}

// TestEndsWithContext: a server does not outlive the context that it was started with.
func TestEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Start(ctx, t.TempDir())
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.done
	if s.Running() {
		t.Error("it runs")
	}
	s.Kill()
}

// TestDoesNotStart: the error has what the server says.
func TestDoesNotStart(t *testing.T) {
	_, err := Start(t.Context(), t.TempDir(), RedisArgs("Dragonfly has no such flag", "--no-such-flag", "1"))
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "does not start") || !strings.Contains(err.Error(), "no-such-flag") {
		t.Error(err)
	}
}

func TestPause(t *testing.T) {
	s := start(t)
	if err := s.Pause(); err != nil {
		t.Skip(err)
	}
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answer := make([]byte, 16)
	if _, err = c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(answer); err == nil {
		t.Errorf("a server that is paused says %q", answer[:n])
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(answer); err != nil || string(answer[:n]) != "+PONG\r\n" {
		t.Errorf("afterwards: %q, %v", answer[:n], err)
	}
	s.Kill()
	if s.Pause() == nil || s.Resume() == nil {
		t.Error("no error for a server that does not run")
	}
}

// named is a connection of a client with a name.
func named(t *testing.T, network, addr, name string) (gone func() bool) {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := bufio.NewReader(c)
	ask := func(command string) (string, error) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write([]byte(command + "\r\n")); err != nil {
			return "", err
		}
		return r.ReadString('\n')
	}
	if answer, err := ask("CLIENT SETNAME " + name); answer != "+OK\r\n" {
		t.Fatal(answer, err)
	}
	return func() bool {
		_, err := ask("PING")
		return err != nil
	}
}

// TestDisconnect: those go that are meant, over the socket as well, and not the one that
// has them go.
func TestDisconnect(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if len(socket) > 100 {
		t.Skip("the temporary directory has too long a path for a socket")
	}
	s := start(t, Socket(socket), NoEviction())
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, b, local := named(t, "tcp", s.Addr, "a"), named(t, "tcp", s.Addr, "b"), named(t, "unix", socket, "c")
	if a() || b() || local() {
		t.Fatal("gone before anybody did anything")
	}
	if err := Disconnect(t.Context(), c, "a", "nobody"); err != nil {
		t.Fatal(err)
	}
	if !a() || b() || local() {
		t.Error("not the client a alone is gone")
	}
	if err := Disconnect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if !b() || !local() {
		t.Error("not all clients are gone")
	}
	s.Kill()
	if Disconnect(t.Context(), c) == nil {
		t.Error("no error without a server")
	}
}
