package storetest

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestStartTLSServer(t *testing.T) {
	a := NewAuthority(t)
	p := StartTLSServer(t, a)
	for want, config := range map[bool]*tls.Config{true: a.Config(), false: NewAuthority(t).Config()} {
		if got := pings(p.Addr, config); got != want {
			t.Errorf("an answer: %v, want %v, which is whether the client is of the server's authority", got, want)
		}
	}
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte("PING\r\n"))
	b := make([]byte, 64)
	if n, _ := c.Read(b); strings.Contains(string(b[:n]), "PONG") {
		t.Error("an answer without TLS")
	}
}

// pings reports whether the server answers.
func pings(addr string, config *tls.Config) bool {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, config)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write([]byte("PING\r\n"))
	b := make([]byte, 7)
	_, err = io.ReadFull(c, b)
	return err == nil && string(b) == "+PONG\r\n"
}
