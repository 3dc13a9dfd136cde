package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// server is what all connections share.
type server struct {
	*options
	tuning
	back     *backend
	commands commandTable
	users    *registry
	scripts  *scripts
	writes   *writes
	memory   pressure
	id       string // in a cluster
	started  time.Time
	failed   chan error

	heir      *heir
	listeners []net.Listener

	random struct {
		sync.Mutex
		*rand.Rand
	}
	lastID   atomic.Int64
	accepted atomic.Int64
	mu       sync.Mutex
	conns    map[int64]*conn
	monitors atomic.Int64
	calls    sync.Map // by name of a command: *atomic.Int64
	sticky   map[string]bool
	closed   bool
}

func newServer(o *options) (*server, error) {
	t, err := readTuning()
	if err != nil {
		return nil, err
	}
	if t.shards == 0 {
		t.shards = max(2, o.threads)
	}
	s := &server{
		options: o, tuning: t, started: time.Now(), failed: make(chan error, 2), conns: map[int64]*conn{},
		sticky: map[string]bool{}, writes: newWrites(), id: fmt.Sprintf("%020x%020x", rand.Uint64(), rand.Uint64()), // as Dragonfly, it has another one each time
	}
	s.random.Rand = rand.New(rand.NewPCG(t.seed, 0))
	listeners, err := s.listen()
	if err != nil {
		return nil, err
	}
	if s.back, err = startBackend(o, t.backend); err != nil {
		return nil, err
	}
	s.commands, err = readCommands(s.back)
	if err != nil {
		s.back.close()
		return nil, err
	}
	s.users = newRegistry(s.back, s.commands, o.requirepass)
	if o.aclfile != "" {
		s.users.load(o.aclfile)
	}
	s.scripts = newScripts(s.back, s.commands)
	if err := s.serve(listeners); err != nil {
		s.close()
		return nil, err
	}
	go func() {
		<-s.back.done
		s.failed <- errors.New("the server behind has ended")
	}()
	return s, nil
}

// listen binds to what the flags say.
func (s *server) listen() (listeners []net.Listener, err error) {
	tcp, err := listenTCP(net.JoinHostPort(s.bind, s.port))
	if err != nil {
		return nil, fmt.Errorf("Could not open port %s, error: %w", s.port, err) //nolint:staticcheck // as Dragonfly says it
	}
	listeners = append(listeners, tcp)
	if s.unixsocket != "" {
		_ = os.Remove(s.unixsocket)
		l, err := net.Listen("unix", s.unixsocket)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// listenTCP is patient with the port of a server that was killed a moment ago.
func listenTCP(addr string) (l net.Listener, err error) {
	for end := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		if l, err = net.Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return l, err
		}
	}
}

func (s *server) serve(listeners []net.Listener) (err error) {
	s.listeners = listeners
	if s.lingerMS > 0 {
		if s.heir, err = startHeir(listeners[0].(*net.TCPListener), s.back, s.lingerMS); err != nil {
			return err
		}
	}
	if s.tls {
		config, err := s.tlsConfig()
		if err != nil {
			return err
		}
		for i, l := range listeners {
			listeners[i] = tls.NewListener(l, config)
		}
	}
	for _, l := range listeners {
		go s.accept(l)
	}
	return nil
}

// tlsConfig wants certificates of clients where an authority is given, as Dragonfly does.
func (s *server) tlsConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(s.caFile)
	if err != nil {
		return nil, err
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", s.caFile)
	}
	return config, nil
}

func (s *server) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		s.accepted.Add(1)
		c := newConn(s, nc)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.conns[c.id] = c
		s.mu.Unlock()
		go c.serve()
	}
}

// all returns the connections that are there, by age.
func (s *server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *conn) int { return int(a.id - b.id) })
	return all
}

// kill ends the connections that is is true of, and counts them.
func (s *server) kill(is func(c *conn) bool) (n int64) {
	for _, c := range s.all() {
		if is(c) {
			c.shutdown()
			n++
		}
	}
	return n
}

// chance is true with probability p, in an order that the seed gives.
func (s *server) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	s.random.Lock()
	defer s.random.Unlock()
	return s.random.Float64() < p
}

func (s *server) intN(n int) int {
	s.random.Lock()
	defer s.random.Unlock()
	return s.random.IntN(n)
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.kill(func(*conn) bool { return true })
	if s.heir != nil {
		s.heir.dismiss()
	}
	s.back.close()
}

// clustered reports whether the server takes part in a cluster, or says so.
func (s *server) clustered() bool { return s.cluster != "" }

func (s *server) mode() string {
	if s.clustered() {
		return "cluster"
	}
	return "standalone"
}

func upper(text string) string { return strings.ToUpper(text) }
