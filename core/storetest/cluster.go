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

// OtherMaster is one of the nodes that began as masters, but not p.
func (c *Cluster) OtherMaster(p *Process) *Process {
	if p == c.Nodes[0] {
		return c.Nodes[1]
	}
	return c.Nodes[0]
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

// Migrate moves a slot to another master, with its keys, as "redis-cli --cluster
// reshard" does. Between is called when half of it is done: the slot belongs to
// one node, and its keys are on both.
func (c *Cluster) Migrate(slot string, from, to *Process, between func()) {
	c.tb.Helper()
	// A node takes a slot with the next epoch that it knows of. If that is one which
	// another node has by now, since its last slot came a moment ago, neither believes
	// the other, and each sends clients to the other for ever.
	c.agreed()
	c.Must(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ID(from))
	c.Must(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ID(to))
	host, port, _ := net.SplitHostPort(to.Addr)
	for first := true; ; first = false {
		n := "100"
		if first {
			n = fmt.Sprint(max(1, c.count(from, slot)/2))
		}
		keys := strings.Fields(c.Must(from, "CLUSTER", "GETKEYSINSLOT", slot, n))
		if len(keys) > 0 {
			c.Must(from, append([]string{"MIGRATE", host, port, "", "0", "2000", "KEYS"}, keys...)...)
		}
		if first {
			between()
		} else if len(keys) == 0 {
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
