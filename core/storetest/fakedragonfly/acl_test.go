package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

func TestPasswords(t *testing.T) {
	f := start(t, nil, "--requirepass=secret")
	c := f.dial(t)
	for _, line := range []string{"PING", "GET a", "CLIENT ID", "NOSUCH"} {
		c.want(line, "-NOAUTH Authentication required.")
	}
	if got := c.do("HELLO 3").String(); !strings.HasPrefix(got, "-NOAUTH HELLO must be called") {
		t.Error(got)
	}
	const wrong = "-WRONGPASS invalid username-password pair or user is disabled."
	c.want("AUTH wrong", wrong)
	c.want("HELLO 3 AUTH default wrong", wrong)
	c.want("AUTH nobody secret", wrong)
	c.want("AUTH secret", "OK")
	c.want("SET a b", "OK")
	c.want("CONFIG SET requirepass other", "OK")
	f.dial(t).want("AUTH secret", wrong)
	f.dial(t).want("AUTH other", "OK")
	c.want("CONFIG SET requirepass", "-ERR wrong number of arguments for 'config|set' command")
	if v := c.do("CONFIG SET requirepass", ""); v.text != "OK" {
		t.Error(v)
	}
	f.dial(t).want("GET a", "b")
}

// TestFiles: users come from an aclfile, flags from a flagfile. An aclfile that is wrong means
// nothing at all: then the password of the default user is what keeps others out.
func TestFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flags := "--flagfile=" + file("# of the server\n\n--requirepass=secret\n")
	const ours = "user joe on >pw resetkeys ~a:* resetchannels -@all +get +set\n"
	c := start(t, nil, flags, "--aclfile="+file("user default off resetkeys -@all\n"+ours)).dial(t)
	const wrong = "-WRONGPASS invalid username-password pair or user is disabled."
	c.want("GET a:1", "-NOAUTH Authentication required.")
	c.want("AUTH secret", wrong)
	c.want("AUTH joe pw", "OK")
	c.want("SET a:1 x", "OK")
	if got := c.do("GET b:1").String(); !strings.HasPrefix(got, "-NOPERM") {
		t.Error(got)
	}
	for _, text := range []string{"user default off\n" + ours, "# a comment\n" + ours, ours + "user default on nopass +nosuch\n", ours + "user default off -@all +client|id\n"} {
		c := start(t, nil, flags, "--aclfile="+file(text)).dial(t)
		c.want("AUTH joe pw", wrong)
		c.want("GET a:1", "-NOAUTH Authentication required.")
		c.want("AUTH secret", "OK")
		c.want("SET b:1 x", "OK")
		c.want("ACL USERS", "[default]")
	}
	for _, bad := range []string{"/nowhere/flags", file("requirepass=secret\n"), file("--nosuch=1\n")} {
		if _, err := tryStart(t, nil, "--flagfile="+bad); err == nil {
			t.Errorf("started with the flagfile %s", bad)
		}
	}
}

// TestRules: Dragonfly has no subcommands in rules, no reset, and only commands that it
// has.
func TestRules(t *testing.T) {
	c := start(t, nil).dial(t)
	for rule, want := range map[string]string{
		"+client|tracking": "-ERR Unrecognized parameter +CLIENT|TRACKING",
		"+asking":          "-ERR Unrecognized parameter +ASKING",
		"reset":            "-ERR Unrecognized parameter RESET",
		"ONN":              "-ERR Unrecognized parameter ONN",
		"+@nonsense":       "-ERR Unrecognized parameter +@NONSENSE",
		"+@NONE":           "-ERR Unrecognized parameter +@NONE",
		"+client":          "OK",
		"+cluster":         "OK",
		"+stick":           "OK",
		"+@json":           "OK",
		"allcommands":      "OK",
		"-@dangerous":      "OK",
		"%R~a:*":           "OK",
		"&news":            "OK",
	} {
		c.want("ACL SETUSER joe "+rule, want)
		c.do("ACL DELUSER joe")
	}
	if got := c.do("ACL SETUSER default ~a").String(); !strings.HasPrefix(got, "-ERR Error in ACL SETUSER modifier '~a': Adding a pattern after the * pattern") {
		t.Error(got)
	}
	c.want("ACL SETUSER vlad", "OK")
	c.want("ACL LIST", "[user default on nopass ~* &* +@all $all user vlad off resetchannels -@all $all]")
	c.want("ACL SETUSER vlad on >one ~a:* +get -set", "OK")
	c.want("ACL USERS", "[default vlad]")
	c.want("ACL LIST", "[user default on nopass ~* &* +@all $all user vlad on ~a:* resetchannels -@all +get -set $all]")
	c.want("ACL DELUSER default nobody vlad", "1")
}

// TestRights: what a user may not do is refused in the same words, whether for the command
// or for the key, and logged.
func TestRights(t *testing.T) {
	f := start(t, nil)
	admin, c := f.dial(t), f.dial(t)
	admin.want("ACL SETUSER joe on >pw ~a:* +get +set +eval +client +ping", "OK")
	c.want("AUTH joe pw", "OK")
	c.want("ACL WHOAMI", "-NOPERM joe has no ACL permissions")
	c.want("SET a:1 v", "OK")
	c.want("GET a:1", "v")
	c.want("CLIENT SETNAME x", "OK")
	admin.want("ACL LOG RESET", "OK")
	for _, line := range []string{"GET b", "DEL a:1", "INFO server", "PUBLISH x y", "CONFIG GET *", "MULTI"} {
		c.want(line, "-NOPERM joe has no ACL permissions")
	}
	if got := c.do("EVAL", "return redis.call('DEL', KEYS[1])", "1", "a:1").String(); !strings.Contains(got, "NOPERM joe has no ACL permissions") {
		t.Error(got)
	}
	var log []string
	for _, entry := range admin.do("ACL LOG").items {
		log = append(log, entry.items[1].text+" "+entry.items[3].text+" "+entry.items[5].text)
	}
	if got := strings.Join(log, ", "); got != "COMMAND DEL joe, COMMAND MULTI joe, COMMAND CONFIG joe, COMMAND PUBLISH joe, COMMAND INFO joe, COMMAND DEL joe, KEY GET joe" {
		t.Error(got)
	}
	// Rules are those of connections that are there.
	admin.want("ACL SETUSER joe +info -ping", "OK")
	c.want("PING", "-NOPERM joe has no ACL permissions")
	if v := c.do("INFO server"); v.kind == '-' {
		t.Error(v)
	}
	// Another password, and the old one is no good; who is in stays.
	admin.want("ACL SETUSER joe resetpass >other", "OK")
	c.want("GET a:1", "v")
	f.dial(t).want("AUTH joe pw", "-WRONGPASS invalid username-password pair or user is disabled.")
	f.dial(t).want("AUTH joe other", "OK")
	admin.want("ACL SETUSER joe off", "OK")
	f.dial(t).want("AUTH joe other", "-WRONGPASS invalid username-password pair or user is disabled.")
	// With resetchannels who is in is thrown out, and with the user.
	admin.want("ACL SETUSER joe resetchannels", "OK")
	if _, err := parse(c.r); err == nil {
		t.Error("a user who was reset is in")
	}
	admin.want("ACL SETUSER default off", "OK")
	f.dial(t).want("PING", "-NOAUTH Authentication required.")
	admin.want("PING", "PONG")
}

// TestTLS: with an authority, clients need a certificate.
func TestTLS(t *testing.T) {
	a := storetest.NewAuthority(t)
	cert, key := files(t, a)
	f := start(t, nil, "--tls", "--tls_cert_file", cert, "--tls_key_file", key, "--tls_ca_cert_file", a.CAFile)
	f.tls = &tls.Config{Certificates: []tls.Certificate{a.Client}, InsecureSkipVerify: true}
	f.dial(t).want("SET a b", "OK")
	for name, certs := range map[string][]tls.Certificate{"no certificate": nil, "another's": {storetest.NewAuthority(t).Client}} {
		nc, err := tls.Dial("tcp", f.addr, &tls.Config{Certificates: certs, InsecureSkipVerify: true})
		if err != nil {
			continue
		}
		_, _ = nc.Write([]byte("PING\r\n"))
		if n, err := nc.Read(make([]byte, 10)); err == nil {
			t.Errorf("%s: %d bytes of an answer", name, n)
		}
		_ = nc.Close()
	}
	f = start(t, nil, "--tls", "--tls_cert_file", cert, "--tls_key_file", key, "--requirepass=pw")
	f.tls = &tls.Config{InsecureSkipVerify: true}
	f.dial(t).want("AUTH pw", "OK")
}

// files has the certificate of the authority's client, which the server takes for its own.
func files(t *testing.T, a *storetest.Authority) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.Client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: a.Client.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
