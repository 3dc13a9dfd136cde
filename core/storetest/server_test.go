package storetest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// command sends one command and returns the first line of the answer.
func command(t *testing.T, addr, line string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	args := strings.Fields(line)
	request := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

func TestServer(t *testing.T) {
	if got := command(t, Server(t), "PING"); got != "+PONG" {
		t.Errorf("PING: %q", got)
	}
}

func TestMini(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	if got := command(t, startMini(t), "PING"); got != "+PONG" {
		t.Errorf("PING: %q", got)
	}
}

func TestStartServer(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	p := StartServer(t, servers.Password("secret"))
	if got := command(t, p.Addr, "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("PING without password: %q", got)
	}
	for _, end := range []func(){p.Stop, p.Kill} {
		end()
		if c, err := net.Dial("tcp", p.Addr); err == nil {
			_ = c.Close()
			t.Fatal("the server still takes connections")
		}
		p.Start()
		if got := command(t, p.Addr, "AUTH secret"); got != "+OK" {
			t.Errorf("AUTH after a restart: %q", got)
		}
	}
}

func TestPrefix(t *testing.T) {
	a, b := Prefix(), Prefix()
	if a == b || len(a) < 17 {
		t.Errorf("prefixes %q and %q", a, b)
	}
}
