// Package faultproxy is a TCP proxy that can be told to misbehave.
package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy forwards connections to a server. Its methods may be called concurrently
// and concern connections that there are as well as later ones.
type Proxy struct {
	l      net.Listener
	target string
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	done   sync.WaitGroup

	delay  atomic.Int64 // of each piece of a reply, in nanoseconds
	drop   atomic.Bool
	refuse atomic.Bool
	cut    atomic.Int64 // every how many pieces of a reply one is cut in half; 0: never
	pieces atomic.Int64
	words  atomic.Pointer[[2][]byte] // what replies say, and are to say
	rate   atomic.Int64              // bytes a second in each direction; 0: no limit
	links  [2]link                   // to the server and back
}

// link is what all connections share in one direction.
type link struct {
	mu   sync.Mutex
	free time.Time // when it has carried all that was given to it
}

// carry returns when the link has carried n bytes, behind what others have given to
// it before.
func (l *link) carry(n int, rate int64) {
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(int64(n) * int64(time.Second) / rate))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	// A timer is too coarse for less: what has been saved is waited for later.
	if wait > time.Millisecond {
		time.Sleep(wait)
	}
}

// New returns a proxy for the server at target, host:port.
func New(ctx context.Context, target string) (*Proxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{l: l, target: target, conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Delay holds each piece of a reply back for d.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Rate lets so many bytes a second through in each direction, of all connections
// together. Zero: no limit.
func (p *Proxy) Rate(n int64) { p.rate.Store(n) }

// Rewrite has replies say other words, which should be those of errors only: the length of
// a value is not adapted. Words that come in two pieces stay as they are. Empty: none.
func (p *Proxy) Rewrite(from, to string) {
	if from == "" {
		p.words.Store(nil)
		return
	}
	p.words.Store(&[2][]byte{[]byte(from), []byte(to)})
}

// Drop swallows whatever comes, from either side: connections stay, and new ones
// are accepted, but nothing is ever heard.
func (p *Proxy) Drop(on bool) { p.drop.Store(on) }

// Cut lets every nth piece of a reply through by half and then resets the
// connection. Zero: none.
func (p *Proxy) Cut(n int) { p.cut.Store(int64(n)) }

// Refuse resets all connections, and new ones at once.
func (p *Proxy) Refuse(on bool) {
	p.refuse.Store(on)
	if on {
		p.reset()
	}
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	_ = p.l.Close()
	p.Refuse(true)
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.know(client) {
		return
	}
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	server, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer p.forget(server)
	if !p.know(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, false) })
	both.Go(func() { p.copy(client, server, true) })
	both.Wait()
}

// errCut ends a connection on purpose.
var errCut = errors.New("cut")

func (p *Proxy) copy(to, from net.Conn, reply bool) {
	defer func() { // the other direction ends as well
		_ = to.Close()
		_ = from.Close()
	}()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !p.drop.Load() {
			if err := p.forward(to, b[:n], reply); err != nil {
				resetOnClose(to)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) forward(to net.Conn, b []byte, reply bool) error {
	if rate := p.rate.Load(); rate > 0 {
		way := &p.links[0]
		if reply {
			way = &p.links[1]
		}
		way.carry(len(b), rate)
	}
	if words := p.words.Load(); reply && words != nil {
		b = bytes.ReplaceAll(b, words[0], words[1])
	}
	if reply {
		time.Sleep(time.Duration(p.delay.Load()))
		if n := p.cut.Load(); n > 0 && p.pieces.Add(1)%n == 0 {
			_, _ = to.Write(b[:len(b)/2])
			return errCut
		}
	}
	_, err := to.Write(b)
	return err
}

func (p *Proxy) know(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return !p.refuse.Load()
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	if p.refuse.Load() {
		resetOnClose(c)
	}
	_ = c.Close()
}

func (p *Proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		resetOnClose(c)
		_ = c.Close()
	}
}

func resetOnClose(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}
