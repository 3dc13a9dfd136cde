package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// The tests here have what four parts of this repository did until they were tried on a
// real Dragonfly. Each shows that this program answers as that did, and that a Redis hides
// the fault, and that what is done now works on both.

// redis is a server of the other kind.
func redis(t *testing.T, opts ...servers.Option) *servers.Server {
	t.Helper()
	return begin(t, append(opts, servers.Only("it is what hides the faults", servers.Redis, servers.Valkey))...)
}

// dragonfly is this program, found on the PATH by its name as tests find a real one.
func dragonfly(t *testing.T, opts ...servers.Option) *servers.Server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, string(servers.Dragonfly))); err != nil {
		t.Skip(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv(mainEnv, "1")
	return begin(t, append(opts, servers.Only("it is what finds the faults", servers.Dragonfly))...)
}

func begin(t *testing.T, opts ...servers.Option) *servers.Server {
	t.Helper()
	s, err := servers.Start(t.Context(), t.TempDir(), opts...)
	var missing *servers.MissingError
	if errors.As(err, &missing) && os.Getenv("CACHEASIDE_REQUIRE_SERVER") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func dial(t *testing.T, s *servers.Server) *client {
	t.Helper()
	f := &fake{t: t, addr: s.Addr}
	return f.dial(t)
}

// gone reports whether the connection has been ended by the server.
func (c *client) gone() bool {
	if _, err := c.nc.Write([]byte("PING\r\n")); err != nil {
		return true
	}
	_, err := parse(c.r)
	return err != nil
}

// TestFaultKillType: a test ended all connections by CLIENT KILL TYPE normal.
func TestFaultKillType(t *testing.T) {
	for name, s := range map[string]*servers.Server{"fake": dragonfly(t), "redis": redis(t)} {
		admin, victim := dial(t, s), dial(t, s)
		victim.want("PING", "PONG")
		got := admin.do("CLIENT KILL TYPE normal").String()
		switch name {
		case "fake":
			if got != "-ERR syntax error" || victim.gone() {
				t.Errorf("%s: %s, gone: %v", name, got, victim.gone())
			}
		case "redis":
			if got != "1" || !victim.gone() {
				t.Errorf("%s: %s", name, got)
			}
		}
		// What is done now.
		victim = dial(t, s)
		victim.want("PING", "PONG")
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableCache: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := servers.Disconnect(t.Context(), c); err != nil || !victim.gone() {
			t.Errorf("%s: Disconnect: %v", name, err)
		}
		c.Close()
	}
}

// TestFaultPolicy: the fault lab filled a server by CONFIG SET maxmemory-policy noeviction.
func TestFaultPolicy(t *testing.T) {
	for name, s := range map[string]*servers.Server{"fake": dragonfly(t), "redis": redis(t)} {
		want := "OK"
		if name == "fake" {
			want = "-ERR Unknown option or number of arguments for CONFIG SET - 'maxmemory-policy'"
		}
		dial(t, s).want("CONFIG SET maxmemory-policy noeviction", want)
	}
	// What is done now: a server is started as one that evicts nothing, and filled.
	value := strings.Repeat("v", 8<<20)
	for name, s := range map[string]*servers.Server{
		"-ERR Out of memory":               dragonfly(t, servers.NoEviction(), servers.Memory(256<<20)),
		"-OOM command not allowed when us": redis(t, servers.NoEviction(), servers.Memory(256<<20)),
	} {
		c := dial(t, s)
		got := "OK"
		for i := 0; got == "OK" && i < 100; i++ {
			got = c.do("SET", "filler:"+strconv.Itoa(i), value).String()
		}
		if !strings.HasPrefix(got, name) {
			t.Errorf("a full server says %q, want %q", got, name)
		}
	}
}

// TestFaultProbe: the near tier found out what its user may do with a key outside of what
// the README's rights are for. It took an answer that was about the key for one that does
// not matter, and any other for a command that is not allowed.
func TestFaultProbe(t *testing.T) {
	// What it looked for in a NOPERM of Redis.
	foreignKey := func(answer string) bool { return strings.Contains(answer, "NOPERM") && strings.Contains(answer, "key") }
	for name, s := range map[string]*servers.Server{"fake": dragonfly(t), "redis": redis(t)} {
		admin, c := dial(t, s), dial(t, s)
		admin.want("ACL SETUSER cacheaside on >pw resetkeys ~cacheaside:1:* resetchannels -@all +get +pttl +multi +exec +client", "OK")
		c.want("AUTH cacheaside pw", "OK")
		key, command := c.do("PTTL cacheaside:start").String(), c.do("STRLEN cacheaside:1:a").String()
		if !strings.HasPrefix(key, "-NOPERM") || !strings.HasPrefix(command, "-NOPERM") {
			t.Fatal(name, key, command)
		}
		if told := foreignKey(key) && !foreignKey(command); told != (name == "redis") {
			t.Errorf("%s: a key of others: %q, a command: %q", name, key, command)
		}
		if name == "fake" && key != command {
			t.Errorf("%s: %q and %q", name, key, command)
		}
		// What is done now: a key inside the namespace is asked for.
		c.want("PTTL cacheaside:1:a", "-2")
	}
}
