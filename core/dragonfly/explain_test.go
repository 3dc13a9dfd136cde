package dragonfly

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// answered is what rueidis returns of a server that answers a command with an error.
func answered(t *testing.T, text string) error {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"cache:6379"}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		DialFn: func(string, *net.Dialer, *tls.Config) (net.Conn, error) { return answering(text), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Do(t.Context(), client.B().Get().Key("k").Build()).Error()
}

// answering is a connection to a server that knows no command but those of the handshake.
func answering(text string) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer func() { _ = theirs.Close() }()
		b := make([]byte, 4096)
		for {
			n, err := theirs.Read(b)
			if err != nil {
				return
			}
			var out strings.Builder
			for command := range strings.SplitSeq(string(b[:n]), "*") {
				switch {
				case strings.Contains(command, "HELLO"):
					out.WriteString("%1\r\n$5\r\nproto\r\n:3\r\n")
				case strings.Contains(command, "GET"):
					out.WriteString("-" + text + "\r\n")
				case strings.Contains(command, "$"):
					out.WriteString("+OK\r\n")
				}
			}
			if _, err := io.WriteString(theirs, out.String()); err != nil {
				return
			}
		}
	}()
	return ours
}

func TestExplainKeepsItsWords(t *testing.T) {
	for _, c := range []struct{ password, answer, want string }{
		{"a", "ERR a wrong argument", ": a wrong argument: "},
		{"a", "ERR unknown command `HELLO`, with args beginning with: `3` `AUTH` `b` `a` ", ": unknown command `HELLO`: "},
		{"longer secret", "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'b' 'longer secret' ", ": unknown command 'HELLO': "},
		{"a", "ERR invalid password 'a' for a user", ": invalid password '[redacted]' for a user: "},
		{"longer secret", "ERR that longer secret is wrong", ": that [redacted] is wrong: "},
		{"password", "WRONGPASS invalid username-password pair or user is disabled.", ": WRONGPASS invalid username-password pair"},
		{"cache", "ERR this is no cache", ": this is no cache: "},
	} {
		option := rueidis.ClientOption{InitAddress: []string{"cache:6379"}, Username: "b", Password: c.password}
		err := explain(option, time.Now(), fmt.Errorf("a node: %w", answered(t, c.answer)))
		if text := err.Error(); !strings.Contains(text, "at cache:6379: ") || !strings.Contains(text, "a node"+c.want) {
			t.Errorf("%q of a server with the password %q: %s", c.answer, c.password, text)
		}
	}
	// What no server has said cannot have the password in it.
	if err := explain(rueidis.ClientOption{InitAddress: []string{"eof:1"}, Password: "EOF"}, time.Now(), io.EOF); !strings.Contains(err.Error(), ": EOF: ") {
		t.Error(err)
	}
}

func TestDiagnoseAnswer(t *testing.T) {
	for answer, want := range map[string]string{
		"NOAUTH HELLO must be called":                                "it wants a password",
		"WRONGPASS invalid username-password":                        "it does not accept the user or password",
		"NOPERM this user has no permissions":                        "the user may not do what is needed",
		"LOADING Redis is loading the dataset":                       "it is still loading its data",
		"CLUSTERDOWN The cluster is down":                            "its cluster is down",
		"CLUSTERDOWN Hash slot not served":                           "its cluster is down",
		"MASTERDOWN Link with MASTER is down":                        "it is a replica that has lost its master",
		"DENIED Redis is running in protected":                       "it is in protected mode",
		"ERR This instance has cluster support disabled":             "it is no part of a cluster",
		"ERR Cluster is disabled. Use --cluster_mode=yes to enable.": "it is no part of a cluster",
		"ERR whatever": "it answers with an error",
	} {
		err := explain(rueidis.ClientOption{InitAddress: []string{"cache:6379"}}, time.Now(), answered(t, answer))
		var e *ConnectError
		if !errors.As(err, &e) || e.Problem != want || e.Remedy == "" || e.Address != "cache:6379" {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// TestRightsSection: who reads the error finds what it points to.
func TestRightsSection(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## "+rightsSection+"\n")
	if section, _, _ = strings.Cut(section, "\n## "); !found || !strings.Contains(section, "ACL SETUSER") {
		t.Errorf("the README has no section %q with the rights", rightsSection)
	}
	if _, fix := diagnoseAnswer(rueidis.ClientOption{}, "NOPERM x"); !strings.Contains(fix, rightsSection) {
		t.Error(fix)
	}
}
