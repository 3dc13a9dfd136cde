package storetest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// A node of a [Cluster] that does not answer for so long is given up by the others.
const nodeTimeout = 3 * time.Second

// Cluster is a cluster of Redis or Valkey that a test has for itself: three
// masters, each with a replica.
type Cluster struct {
	Nodes []*Process // the first three begin as masters, and have a third of the slots each

	tb      testing.TB
	ids     []string
	clients []rueidis.Client
}

// StartCluster runs a cluster, with further arguments for each server. It skips
// the test where neither redis-server nor valkey-server is on the PATH.
func StartCluster(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	for i := range 6 {
		p := c.startNode(args)
		c.Nodes = append(c.Nodes, p)
		client, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{p.Addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(client.Close)
		c.clients = append(c.clients, client)
		c.ids = append(c.ids, c.Must(p, "CLUSTER", "MYID"))
		c.Must(p, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for i, p := range c.Nodes {
		for _, other := range c.Nodes[i+1:] {
			host, port, _ := net.SplitHostPort(other.Addr)
			c.Must(p, "CLUSTER", "MEET", host, port, strconv.Itoa(other.bus))
		}
		if i < 3 {
			c.Must(p, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*16384/3), strconv.Itoa((i+1)*16384/3-1))
		}
	}
	for i, p := range c.Nodes {
		c.Until("all nodes know each other", func() bool {
			return strings.Count(c.Must(p, "CLUSTER", "NODES"), "connected") == len(c.Nodes) &&
				!strings.Contains(c.Must(p, "CLUSTER", "NODES"), "handshake")
		})
		if i >= 3 {
			c.Must(p, "CLUSTER", "REPLICATE", c.ids[i-3])
		}
	}
	c.Settled()
	return c
}

func (c *Cluster) startNode(args []string) *Process {
	c.tb.Helper()
	bus, err := servers.FreePort(context.Background())
	if err != nil {
		c.tb.Fatal(err)
	}
	p := StartServer(c.tb, servers.ClusterNode(bus), servers.RedisArgs("Dragonfly does not form clusters by itself", append([]string{
		"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
		"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
	}, args...)...))
	p.bus = bus
	return p
}

// Do gives one node a command, which may hang.
func (c *Cluster) Do(p *Process, command ...string) (string, error) {
	return c.do(p, 2*time.Second, command)
}

func (c *Cluster) do(p *Process, timeout time.Duration, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client := c.clients[slices.Index(c.Nodes, p)]
	m, err := client.Do(ctx, client.B().Arbitrary(command...).Build()).ToMessage()
	if err != nil {
		return "", err
	}
	if m.IsInt64() {
		n, err := m.ToInt64()
		return strconv.FormatInt(n, 10), err
	}
	if m.IsArray() {
		lines, err := m.AsStrSlice()
		return strings.Join(lines, "\n"), err
	}
	return m.ToString()
}

// Must is Do for what cannot fail.
func (c *Cluster) Must(p *Process, command ...string) string {
	c.tb.Helper()
	answer, err := c.do(p, 3*slow, command)
	if err != nil && !rueidis.IsRedisNil(err) {
		c.tb.Fatalf("storetest: %v at %s: %v", command, p.Addr, err)
	}
	return answer
}

// Until waits for something to become true of the cluster.
func (c *Cluster) Until(what string, ok func() bool) {
	c.tb.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			var nodes string
			for _, p := range c.Nodes {
				if answer, err := c.Do(p, "CLUSTER", "NODES"); err == nil {
					nodes += "\n" + p.Addr + ":\n" + answer
				}
			}
			c.tb.Fatalf("storetest: cluster: not within a minute: %s%s", what, nodes)
		}
	}
}

// Settled waits until all nodes that run agree that the cluster is well, and the
// replicas have all that their masters have.
func (c *Cluster) Settled() {
	c.tb.Helper()
	for _, p := range c.Nodes {
		if !p.Running() {
			continue
		}
		c.Until("the cluster is well", func() bool {
			info, err := c.Do(p, "CLUSTER", "INFO")
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_size:3") {
				return false
			}
			role, err := c.Do(p, "INFO", "replication")
			return err == nil && (strings.Contains(role, "role:master") || strings.Contains(role, "master_link_status:up"))
		})
	}
}

// agreed waits until all nodes that run have the same view of who has which slots since
// which epoch.
func (c *Cluster) agreed() {
	c.tb.Helper()
	c.Until("the nodes agree on slots and epochs", func() bool {
		var first []string
		for _, p := range c.Nodes {
			if !p.Running() {
				continue
			}
			nodes, err := c.Do(p, "CLUSTER", "NODES")
			if err != nil {
				return false
			}
			var view []string
			for line := range strings.Lines(strings.TrimPrefix(nodes, "txt:")) { // it is a verbatim string
				// id, address, flags, master, ping, pong, epoch, link, slots
				if f := strings.Fields(line); len(f) > 8 {
					view = append(view, fmt.Sprint(f[0], f[6], f[8:]))
				}
			}
			if slices.Sort(view); first == nil {
				first = view
			} else if !slices.Equal(view, first) {
				return false
			}
		}
		return true
	})
}

// ID is the name of a node in the cluster.
func (c *Cluster) ID(p *Process) string { return c.ids[slices.Index(c.Nodes, p)] }

// Slot is that of a key.
func (c *Cluster) Slot(key string) string {
	return c.Must(c.running(), "CLUSTER", "KEYSLOT", key)
}

func (c *Cluster) running() *Process {
	for _, p := range c.Nodes {
		if p.Running() && p.Answers() {
			return p
		}
	}
	c.tb.Fatal("storetest: no node is running")
	return nil
}

// Has returns a function that reports whether p had the slot of a key when Has was
// called, by its own account.
func (c *Cluster) Has(p *Process) func(key string) bool {
	c.tb.Helper()
	var ranges [][2]int
	for line := range strings.Lines(strings.TrimPrefix(c.Must(p, "CLUSTER", "NODES"), "txt:")) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.Contains(f[2], "myself") {
			continue
		}
		for _, text := range f[8:] {
			first, last, several := strings.Cut(text, "-")
			a, err := strconv.Atoi(first)
			b := a
			if several && err == nil {
				b, err = strconv.Atoi(last)
			}
			if err == nil { // else it is one that moves
				ranges = append(ranges, [2]int{a, b})
			}
		}
	}
	return func(key string) bool {
		slot, _ := strconv.Atoi(c.Slot(key))
		return slices.ContainsFunc(ranges, func(r [2]int) bool { return r[0] <= slot && slot <= r[1] })
	}
}

// Master is the node that has the slot of key, by its own account.
func (c *Cluster) Master(key string) *Process {
	c.tb.Helper()
	var found *Process
	c.Until("somebody has the slot of "+key, func() bool {
		for _, p := range c.Nodes {
			if !p.Running() {
				continue
			}
			role, err := c.Do(p, "INFO", "replication")
			if err != nil || !strings.Contains(role, "role:master") {
				continue
			}
			if _, err = c.Do(p, "EXISTS", key); err == nil {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// OtherMaster is a node that is a master by its own account, but not p.
func (c *Cluster) OtherMaster(p *Process) *Process {
	c.tb.Helper()
	var found *Process
	c.Until("there is another master than "+p.Addr, func() bool {
		for _, other := range c.Nodes {
			if other != p && other.Running() && c.IsMaster(other) {
				found = other
				return true
			}
		}
		return false
	})
	return found
}

// IsMaster reports whether p is a master, by its own account.
func (c *Cluster) IsMaster(p *Process) bool {
	role, err := c.Do(p, "INFO", "replication")
	return err == nil && strings.Contains(role, "role:master")
}

// IsReplica reports whether p follows another node, by its own account.
func (c *Cluster) IsReplica(p *Process) bool {
	role, err := c.Do(p, "INFO", "replication")
	return err == nil && strings.Contains(role, "role:slave")
}

// Replica is the node that follows master and has what that has.
func (c *Cluster) Replica(master *Process) *Process {
	c.tb.Helper()
	var found *Process
	c.Until(master.Addr+" has a replica", func() bool {
		for _, p := range c.Nodes {
			if !p.Running() || p == master {
				continue
			}
			role, err := c.Do(p, "INFO", "replication")
			if err == nil && strings.Contains(role, "master_port:"+strconv.Itoa(master.Port())) && strings.Contains(role, "master_link_status:up") {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// CaughtUp waits until a replica has all that master has acknowledged by now. WAIT does
// not: it knows only of what was written over its own connection.
func (c *Cluster) CaughtUp(master *Process) {
	c.tb.Helper()
	want := c.offset(master, "master_repl_offset:")
	replica := c.Replica(master)
	c.Until(replica.Addr+" has caught up", func() bool { return c.offset(replica, "slave_repl_offset:") >= want })
}

// offset is how much of the stream of writes a node has.
func (c *Cluster) offset(p *Process, field string) int64 {
	c.tb.Helper()
	_, text, _ := strings.Cut(c.Must(p, "INFO", "replication"), field)
	text, _, _ = strings.Cut(text, "\r\n")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		c.tb.Fatalf("storetest: %s of %s: %v", field, p.Addr, err)
	}
	return n
}

// Failover hands what a master has to its replica, as an operator does who wants to
// restart it: nothing is lost.
func (c *Cluster) Failover(replica *Process) {
	c.tb.Helper()
	c.Until("the replica is the master", func() bool {
		if c.IsMaster(replica) {
			return true
		}
		// It gives up after five seconds, if the machine is too busy.
		_, _ = c.Do(replica, "CLUSTER", "FAILOVER")
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if c.IsMaster(replica) {
				return true
			}
		}
		return false
	})
}

// Migrate moves a slot to another master, with its keys, as "redis-cli --cluster
// reshard" does. Between is called when half of it is done: the slot belongs to
// one node, and its keys are on both.
func (c *Cluster) Migrate(slot string, from, to *Process, between func()) {
	c.tb.Helper()
	first := true
	c.migrate(slot, from, to, func() int {
		if first {
			return max(1, c.count(from, slot)/2)
		}
		return 100
	}, func() {
		if first {
			first = false
			between()
		}
	})
}

// MigrateByKey is Migrate, one key at a time. Between is called after each.
func (c *Cluster) MigrateByKey(slot string, from, to *Process, between func()) {
	c.tb.Helper()
	c.migrate(slot, from, to, func() int { return 1 }, between)
}

// migrate moves as many keys at a time as next says, and calls after when they have.
func (c *Cluster) migrate(slot string, from, to *Process, next func() int, after func()) {
	c.tb.Helper()
	// A node takes a slot with the next epoch that it knows of. If that is one which
	// another node has by now, since its last slot came a moment ago, neither believes
	// the other, and each sends clients to the other for ever.
	c.agreed()
	c.Must(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ID(from))
	c.Must(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ID(to))
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys := strings.Fields(c.Must(from, "CLUSTER", "GETKEYSINSLOT", slot, strconv.Itoa(next())))
		if len(keys) > 0 {
			c.Must(from, append([]string{"MIGRATE", host, port, "", "0", "2000", "KEYS"}, keys...)...)
		}
		after()
		if len(keys) == 0 {
			break
		}
	}
	for _, p := range []*Process{to, from} {
		c.Must(p, "CLUSTER", "SETSLOT", slot, "NODE", c.ID(to))
	}
}

func (c *Cluster) count(p *Process, slot string) int {
	n, _ := strconv.Atoi(c.Must(p, "CLUSTER", "COUNTKEYSINSLOT", slot))
	return n
}
