package storetest

import (
	"net"
	"strings"
	"testing"
)

func TestStartTLSServer(t *testing.T) {
	a := NewAuthority(t)
	p := StartTLSServer(t, a)
	if !p.answers() {
		t.Error("no answer to a client of the authority")
	}
	p.tls = NewAuthority(t).Config()
	if p.answers() {
		t.Error("an answer to a client of another authority")
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
