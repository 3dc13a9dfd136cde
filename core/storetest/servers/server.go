package servers

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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a server that the caller has for itself. It keeps its data in memory. It is not
// for concurrent use.
type Server struct {
	Addr string // host:port, the same after a restart
	Kind Kind

	options *options
	path    string
	dir     string
	cmd     *exec.Cmd // nil while it does not run
	done    chan struct{}
}

// Time-outs for a machine that is busy.
const (
	startTimeout = 30 * time.Second
	pingTimeout  = 5 * time.Second
	endTimeout   = 5 * time.Second
)

// Start runs a server that is on the PATH, at a free port of 127.0.0.1, with its files in
// dir, until ctx ends or it is ended. It returns when the server answers. The error is a
// [MissingError] where there is none.
func Start(ctx context.Context, dir string, opts ...Option) (*Server, error) {
	o := newOptions(opts)
	kind, path, err := o.find()
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: kind, options: o, path: path, dir: dir}
	for range 3 { // somebody else may take the port before the server has it
		var port int
		if port, err = FreePort(ctx); err != nil {
			return nil, err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = s.run(ctx); err == nil {
			return s, nil
		}
		s.Kill()
	}
	return nil, err
}

// FreePort returns a port of 127.0.0.1 that nobody listens at. It is below those that systems
// give to connections, or one of those would take it while a server is down.
func FreePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// Start runs the server again after Stop or Kill, at the same address and empty, until ctx
// ends.
func (s *Server) Start(ctx context.Context) error {
	err := s.run(ctx)
	for range 20 { // the old one's port may be in use for a moment
		if err == nil || s.Running() || ctx.Err() != nil {
			break
		}
		s.Kill()
		time.Sleep(50 * time.Millisecond)
		err = s.run(ctx)
	}
	return err
}

func (s *Server) run(ctx context.Context) error {
	log, err := os.OpenFile(logFile(s.dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, s.path, s.options.flags(s.Kind, s.Port(), s.dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = DieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
	if err := s.wait(); err != nil {
		return fmt.Errorf("%s does not start: %w\n%s", s.Kind, err, s.Log())
	}
	return nil
}

// wait returns when the server answers, or an error when it will not.
func (s *Server) wait() error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); {
		select {
		case <-s.done:
			return errors.New(s.cmd.ProcessState.String())
		case <-time.After(5 * time.Millisecond):
		}
		if s.Answers() {
			return nil
		}
	}
	return fmt.Errorf("no answer within %v", startTimeout)
}

// Answers reports whether the server does. One that asks for a password counts, one that is
// loading does not.
func (s *Server) Answers() bool { return s.answersWithin(pingTimeout) }

func (s *Server) answersWithin(timeout time.Duration) bool {
	c, err := s.dial(timeout)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(timeout))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

func (s *Server) dial(timeout time.Duration) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: timeout}
	if s.options.tls == nil {
		return dialer.Dial("tcp", s.Addr)
	}
	return tls.DialWithDialer(dialer, "tcp", s.Addr, s.options.tls.Client)
}

// Running reports whether the server has been started and not been ended. It may have ended
// by itself meanwhile.
func (s *Server) Running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Stop ends the server in an orderly way and waits for it.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once and waits for it. What it held is lost.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if s.cmd.Process.Signal(sig) != nil { // a system without signals
		_ = s.cmd.Process.Kill()
	}
	select {
	case <-s.done:
	case <-time.After(endTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
	s.deaf()
}

// deaf returns when nobody can connect any more: for a moment after a Dragonfly has been
// killed the system still takes connections for it.
func (s *Server) deaf() {
	for end := time.Now().Add(endTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := net.DialTimeout("tcp", s.Addr, endTimeout)
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

// Port is the number in Addr.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Log is the end of what the server has written.
func (s *Server) Log() string {
	b, _ := os.ReadFile(logFile(s.dir))
	return string(b[max(0, len(b)-2000):])
}
