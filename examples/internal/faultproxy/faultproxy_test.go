package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers lines.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T) *Proxy {
	t.Helper()
	p, err := New(context.Background(), echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ask(c net.Conn, line string, limit time.Duration) (string, error) {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	s, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(s, "\n"), err
}

func TestPassesAndDelays(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	for _, delay := range []time.Duration{0, 50 * time.Millisecond, 0} {
		p.Delay(delay)
		began := time.Now()
		if s, err := ask(c, "hello", 10*time.Second); s != "hello" || err != nil || time.Since(began) < delay {
			t.Errorf("%q, %v after %v", s, err, time.Since(began))
		}
	}
}

func TestDrop(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	p.Drop(true)
	for _, c := range []net.Conn{c, dial(t, p)} {
		if s, err := ask(c, "hello", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v", s, err)
		}
	}
	p.Drop(false)
	if s, err := ask(dial(t, p), "hello", 10*time.Second); s != "hello" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
}

func TestCut(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	p.Cut(2)
	if s, err := ask(c, "first", 10*time.Second); s != "first" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if s, err := ask(c, "second", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || len(s) > 3 {
		t.Errorf("%q, %v: want half of it at most, and the end of the connection", s, err)
	}
}

func TestRefuse(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	if _, err := ask(c, "hello", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	refused := []net.Conn{c}
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // it may be over before that returns
		t.Cleanup(func() { _ = c.Close() })
		refused = append(refused, c)
	}
	for _, c := range refused {
		if s, err := ask(c, "hello", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v", s, err)
		}
	}
	p.Refuse(false)
	if s, err := ask(dial(t, p), "hello", 10*time.Second); s != "hello" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
}

// TestRate: what several connections send at once takes as long as the link needs for
// all of it.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					l.carry(10_000, 1_000_000)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2*time.Second {
			t.Errorf("2 MB at 1 MB/s took %v", took)
		}
	})
	p := start(t)
	p.Rate(1 << 20)
	c := dial(t, p)
	if got, err := ask(c, strings.Repeat("x", 5000), 10*time.Second); err != nil || len(got) < 5000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestRewrite(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	p.Rewrite("OOM", "ERR Out of memory")
	if got, err := ask(c, "-OOM in words of -OOM", time.Minute); got != "-ERR Out of memory in words of -ERR Out of memory" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	p.Rewrite("", "")
	if got, err := ask(c, "-OOM", time.Minute); got != "-OOM" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
