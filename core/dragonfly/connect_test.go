package dragonfly_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	storetest.Waiting(5)
	goleak.VerifyTestMain(m,
		// Who is in a cluster is read a second later, and the connection to a node
		// that has left it closed after five.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

// logTo returns an option and what is logged with it.
func logTo() (dragonfly.Option, *logBuffer) {
	var b logBuffer
	return dragonfly.WithLogger(slog.New(slog.NewTextHandler(&b, nil))), &b
}

func TestOpenLogsWhatItFound(t *testing.T) {
	p := storetest.StartServer(t)
	option, log := logTo()
	open(t, "redis://"+p.Addr, option)
	if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=INFO") ||
		!strings.Contains(line, "address="+p.Addr) || !strings.Contains(line, "version=") || !strings.Contains(line, "maxmemory=536870912") {
		t.Errorf("logged %q", line)
	}
}

func TestOpenWarnsWhenNothingEvicts(t *testing.T) {
	p := storetest.StartServer(t, servers.NoEviction())
	option, log := logTo()
	open(t, p.Addr, option)
	if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=WARN") || !strings.Contains(line, "writes are refused") {
		t.Errorf("logged %q", line)
	}
}

// refused opens url, and requires an error within about a second that names the
// address, says want and shows no password.
func refused(t *testing.T, url, addr, want string, opts ...dragonfly.Option) error {
	t.Helper()
	var s *dragonfly.Store
	var err error
	var took time.Duration
	for range 3 {
		start := time.Now()
		s, err = dragonfly.Open(context.Background(), url, opts...)
		took = time.Since(start)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || !op.Timeout() { // the machine was busy
			break
		}
	}
	if err == nil {
		_ = s.Close()
		t.Fatalf("Open(%q) gave no error, want %q", url, want)
	}
	if took > 2500*time.Millisecond { // on a busy machine
		t.Errorf("the error took %v", took)
	}
	if !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), want) {
		t.Errorf("Open(%q): %q does not name %s and say %q", url, err, addr, want)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%q shows the password", err)
	}
	return err
}

func TestOpenWithPassword(t *testing.T) { storetest.EachKind(t, testOpenWithPassword) }

func testOpenWithPassword(t *testing.T, only servers.Option) {
	const password = "hunter2/@#?%"
	p := storetest.StartServer(t, servers.Password(password), only)
	s := open(t, "redis://:hunter2%2F%40%23%3F%25@"+p.Addr)
	if err := s.Set(context.Background(), "some:key:of:ours", []byte("v"), time.Minute); err != nil {
		t.Error(err)
	}
	open(t, "redis://default:hunter2%2F%40%23%3F%25@"+p.Addr+"/1")
	refused(t, "redis://:hunter2wrong@"+p.Addr, p.Addr, "does not accept the user or password")
	refused(t, "redis://hunter2:hunter2@"+p.Addr, p.Addr, "does not accept the user or password")
	err := refused(t, "redis://"+p.Addr, p.Addr, "wants a password")
	var answer *rueidis.RedisError
	if !errors.As(err, &answer) {
		t.Errorf("%v does not wrap the server's answer", err)
	}
}

func TestOpenUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	err = refused(t, "redis://:hunter2@"+addr, addr, "docker run")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v does not wrap the cause", err)
	}
	refused(t, "cacheaside.invalid:6379", "cacheaside.invalid:6379", "name is not known")
}

func TestOpenNoSuchDatabase(t *testing.T) {
	p := storetest.StartServer(t)
	refused(t, "redis://"+p.Addr+"/9999", p.Addr, "no database 9999")
}

// listen serves connections with handle until the test ends.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, handle)
	return l.Addr().String()
}

func serve(t *testing.T, l net.Listener, handle func(net.Conn)) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			gone := make(chan struct{})
			go func() { defer close(gone); handle(c); _ = c.Close() }()
			go func() {
				select {
				case <-done:
				case <-gone:
				}
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() { close(done); _ = l.Close(); <-ended })
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestOpenSilentServer(t *testing.T) {
	t.Parallel() // it mostly waits
	addr := listen(t, silent)
	refused(t, addr, addr, "no answer")

	// It answers the handshake and nothing after it.
	addr = listen(t, func(c net.Conn) {
		b := make([]byte, 4096)
		_, _ = c.Read(b)
		_, _ = c.Write([]byte("%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n+OK\r\n"))
		silent(c)
	})
	refused(t, addr, addr, "no answer")
}

func TestOpenEndsWithItsContext(t *testing.T) {
	addr := listen(t, silent)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := dragonfly.Open(ctx, addr)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 900*time.Millisecond { // by itself it takes a second
		t.Errorf("%v after %v", err, took)
	}
}

func TestOpenNoRedis(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	addr := web.Listener.Addr().String()
	refused(t, addr, addr, "no Redis-compatible server")

	closes := listen(t, func(net.Conn) {})
	refused(t, closes, closes, "closed the connection")
}

func TestOpenTLS(t *testing.T) { storetest.EachKind(t, testOpenTLS) }

func testOpenTLS(t *testing.T, only servers.Option) {
	p := storetest.StartServer(t, only)
	refused(t, "rediss://:hunter2@"+p.Addr, p.Addr, "use redis://")

	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	config := web.TLS.Clone()
	roots := web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	web.Close()
	config.NextProtos = nil
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, func(c net.Conn) {
		server, err := net.Dial("tcp", p.Addr)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(server, c); _ = server.Close() }()
		_, _ = io.Copy(c, server)
	})
	addr := l.Addr().String()
	refused(t, addr, addr, "use rediss://")
	patient := net.Dialer{Timeout: 10 * time.Second} // handshakes take their time on a busy machine
	_, err = dragonfly.OpenClientOption(context.Background(), rueidis.ClientOption{
		InitAddress: []string{addr}, Dialer: patient, TLSConfig: &tls.Config{ServerName: "example.com", MinVersion: tls.VersionTLS12},
	})
	if err == nil || !strings.Contains(err.Error(), "certificate is not trusted") {
		t.Errorf("Open with a certificate of nobody's: %v", err)
	}

	s, err := dragonfly.OpenClientOption(context.Background(), rueidis.ClientOption{
		InitAddress: []string{addr}, Dialer: patient,
		TLSConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	storeWorks(t, s)
}

func storeWorks(t *testing.T, s *dragonfly.Store) {
	t.Helper()
	ctx, key := context.Background(), storetest.Prefix()+"key"
	if err := s.Set(ctx, key, []byte("value"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, found, err := s.Get(ctx, key); string(got) != "value" || !found || err != nil {
		t.Fatalf("Get: %q, %v, %v", got, found, err)
	}
}

func TestOpenOptionRefusesNoAddress(t *testing.T) {
	if _, err := dragonfly.OpenClientOption(context.Background(), rueidis.ClientOption{}); err == nil || !strings.Contains(err.Error(), "InitAddress") {
		t.Errorf("%v", err)
	}
}

func TestFromClient(t *testing.T) {
	if s, err := dragonfly.FromClient(nil); err == nil || s != nil {
		t.Errorf("FromClient(nil) = %v, %v", s, err)
	}
	for name, opt := range map[string]dragonfly.Option{"near": dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20}), "timeout": dragonfly.WithCallTimeout(1)} {
		if _, err := dragonfly.NewClient(context.Background(), storetest.Server(t), opt); err == nil || !strings.Contains(err.Error(), "NewClient: WithNear and WithCallTimeout") {
			t.Errorf("a client with the option %s of a store: %v", name, err)
		}
	}
	client := other(t, storetest.Server(t))
	s, err := dragonfly.FromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if s.Client() != client {
		t.Error("Client is another one")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(context.Background(), client.B().Ping().Build()).Error(); err != nil {
		t.Errorf("Close closed a client that is not the store's: %v", err)
	}
}

func TestWithoutCheck(t *testing.T) {
	p := storetest.StartServer(t)
	p.Kill()
	option, log := logTo()
	s := open(t, p.Addr, dragonfly.WithLazyConnect(), option)
	if line := log.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, p.Addr) {
		t.Errorf("logged %q", line)
	}
	if _, _, err := s.Get(context.Background(), "some:key:of:ours"); err == nil {
		t.Error("Get without a server gave no error")
	}
	p.Start()
	storeWorks(t, s)
}

// TestWithoutCheckSilentServer starts while the server takes connections and says
// nothing.
func TestWithoutCheckSilentServer(t *testing.T) {
	p := storetest.StartServer(t)
	p.Pause()
	option, log := logTo()
	s := open(t, p.Addr, dragonfly.WithLazyConnect(), option)
	if line := log.String(); !strings.Contains(line, "level=WARN") {
		t.Errorf("logged %q", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.Get(ctx, "some:key:of:ours"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v", err)
	}
	p.Resume()
	eventually(t, s)
	storeWorks(t, s)
}

// TestCloseOfSilentServer: who ends while the server hangs is not kept for ever.
func TestCloseOfSilentServer(t *testing.T) {
	storetest.LongOnly(t)
	p := storetest.StartServer(t)
	s, err := storetest.Patiently(func() (*dragonfly.Store, error) { return dragonfly.Open(t.Context(), p.Addr, withNear()) })
	if err != nil {
		t.Fatal(err)
	}
	storeWorks(t, s)
	p.Pause()
	defer p.Resume()
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() { _, _, _ = s.Get(t.Context(), "some:key:of:ours") })
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second): // it takes a second or two
		t.Error("Close hangs with the server")
	}
	calls.Wait()
}

func TestSentinel(t *testing.T) {
	p := storetest.StartServer(t, servers.Only("Dragonfly is no sentinel", servers.Valkey, servers.Redis))
	path, err := exec.LookPath(string(p.Kind))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close()
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "port " + port + "\nbind 127.0.0.1\nsentinel monitor cache 127.0.0.1 " + strconv.Itoa(p.Port()) + " 1\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := dragonfly.Open(context.Background(), "redis://"+addr+"?master_set=cache", withNear())
		if err == nil {
			defer func() { _ = s.Close() }()
			storeWorks(t, s)
			if err := s.Set(context.Background(), "some:key:of:ours:near", []byte("v"), time.Minute); err != nil {
				t.Fatal(err)
			}
			heat(t, s, "some:key:of:ours:near")
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
