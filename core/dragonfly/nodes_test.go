package dragonfly_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// elsewhere is an address that the servers of tests do not listen at.
const elsewhere = "127.0.0.2"

// startEmulated runs a Dragonfly that takes itself for a cluster, at an address of which it
// says another one if announced is not empty.
func startEmulated(t *testing.T, announced string, opts ...servers.Option) *storetest.Process {
	t.Helper()
	opts = append(opts, servers.EmulatedCluster())
	if announced != "" {
		opts = append(opts, servers.DragonflyArgs("only Dragonfly emulates a cluster", "--cluster_announce_ip="+announced))
	}
	return storetest.StartServer(t, opts...)
}

// forward is a port that leads to a server, as that of a container or of kubectl does.
func forward(t *testing.T, to string) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(server, c); _ = server.Close() }()
		_, _ = io.Copy(c, server)
	})
}

// siteWorks requires hits, copies, and purges of all kinds.
func siteWorks(t *testing.T, s *dragonfly.Store) {
	t.Helper()
	w := newSite(t, s, unhurried)
	for _, path := range []string{"/a", "/b", "/c", "/d"} { // of several slots
		w.hits(t, path)
	}
	heat(t, s, entryKey("/a"))
	for want, purge := range []func() error{
		func() error { return w.PurgeTags(t.Context(), "/a", "/b") },
		func() error { return w.PurgeURL(t.Context(), "http://example.com/a") },
		func() error { return w.Purge(t.Context(), cacheaside.Purge{All: true}) },
	} {
		w.row.Add(1)
		if err := purge(); err != nil {
			t.Fatal(err)
		}
		if body, hit := w.get(t, "/a"); hit || body != string(rune('1'+want)) {
			t.Errorf("after purge %d: %q, hit %v", want, body, hit)
		}
		w.hits(t, "/a")
	}
	if n := w.Stats().StoreErrors; n > 0 {
		t.Errorf("%d store errors", n)
	}
}

// TestEmulatedCluster: one Dragonfly is used where it was found, whatever address it gives
// of itself.
func TestEmulatedCluster(t *testing.T) {
	path := socketPath(t)
	p := startEmulated(t, elsewhere, servers.Socket(path))
	setUser(t, other(t, p.Addr), "on >hunter2 "+rights(p.Kind, "cacheaside"))
	for name, url := range map[string]string{
		"its address":      "redis://" + p.Addr,
		"a forwarded port": "redis://" + forward(t, p.Addr),
		"the least rights": "redis://cacheaside:hunter2@" + p.Addr,
		"a socket":         "unix://" + path,
		"another database": "redis://" + p.Addr + "/0",
	} {
		t.Run(name, func(t *testing.T) {
			run(t, other(t, p.Addr), "FLUSHALL")
			option, log := logTo()
			s := open(t, url, withNear(), option)
			if mode := s.Client().Mode(); mode == rueidis.ClientModeCluster || !s.Near() || !strings.Contains(log.String(), "emulated=true") {
				t.Errorf("the client is %q, near %v; logged %s", mode, s.Near(), log)
			}
			siteWorks(t, s)
		})
	}
}

// TestEmulatedClusterAsCluster: who may not find out that there is one node uses the address
// that it gives, and is told what to do where that is of no use.
func TestEmulatedClusterAsCluster(t *testing.T) {
	least := "on >hunter2 " + strings.Replace(rights(servers.Dragonfly, "cacheaside"), " +readwrite", "", 1)
	p := startEmulated(t, "")
	setUser(t, other(t, p.Addr), least)
	s := open(t, "redis://cacheaside:hunter2@"+p.Addr, withNear())
	if mode := s.Client().Mode(); mode != rueidis.ClientModeCluster || !s.Near() {
		t.Errorf("the client is %q, near %v", mode, s.Near())
	}
	siteWorks(t, s)

	p = startEmulated(t, elsewhere)
	setUser(t, other(t, p.Addr), least)
	err := refused(t, "redis://cacheaside:hunter2@"+p.Addr, p.Addr, "+readwrite")
	for _, want := range []string{net.JoinHostPort(elsewhere, portOf(p)), "cluster_announce_ip"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func portOf(p *storetest.Process) string {
	_, port, _ := net.SplitHostPort(p.Addr)
	return port
}

// TestEmulatedClusterOfSeveral: several addresses may be of one server. Servers that know
// nothing of each other are refused: purges would reach one of them.
func TestEmulatedClusterOfSeveral(t *testing.T) {
	a, b := startEmulated(t, ""), startEmulated(t, "")
	option, log := logTo()
	s := open(t, "redis://"+a.Addr+"?addr=localhost:"+portOf(a), withNear(), option)
	if mode := s.Client().Mode(); mode != rueidis.ClientModeCluster || !strings.Contains(log.String(), "emulated=true") {
		t.Errorf("the client is %q; logged %s", mode, log)
	}
	siteWorks(t, s)
	t.Run("store", func(t *testing.T) {
		storetest.LongOnly(t)
		storetest.Run(t, func(t *testing.T) store.Store {
			return openPatiently(t, "redis://"+a.Addr+"?addr=localhost:"+portOf(a))
		})
	})

	err := refused(t, "redis://"+a.Addr+"?addr="+b.Addr, b.Addr, "not one cluster")
	if !strings.Contains(err.Error(), "InitAddress") || !strings.Contains(err.Error(), "without addr") {
		t.Error(err)
	}
	b.Kill() // which leaves one
	storeWorks(t, open(t, "redis://"+a.Addr+"?addr="+b.Addr))

	c := startEmulated(t, elsewhere)
	refused(t, "redis://"+c.Addr+"?addr=localhost:"+portOf(c), net.JoinHostPort(elsewhere, portOf(c)), "cluster_announce_ip")
}

// TestClusterDisabled: several addresses are for clusters, on either kind of server.
func TestClusterDisabled(t *testing.T) {
	storetest.EachKind(t, func(t *testing.T, only servers.Option) {
		a, b := storetest.StartServer(t, only), storetest.StartServer(t, only)
		err := refused(t, "redis://"+a.Addr+"?addr="+b.Addr, a.Addr, "no part of a cluster")
		if !strings.Contains(err.Error(), "InitAddress") || !strings.Contains(err.Error(), "without addr") {
			t.Error(err)
		}
	})
}
