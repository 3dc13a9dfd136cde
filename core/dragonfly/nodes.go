package dragonfly

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// anyKey is asked for to find out whether nodes answer. The user need not be allowed it.
const anyKey = "cacheaside:2:start"

// lastSlot is that of a cluster.
const lastSlot = 16383

// errSocketOfCluster is not of the server: its other nodes are at other addresses, which
// nobody has said may be used.
var errSocketOfCluster = errors.New("a socket leads to one node only")

// nodesError is that the nodes of a cluster cannot be used, where a server of it can.
type nodesError struct {
	announced []string // where the cluster says that they are
	cause     error
}

func (e *nodesError) Error() string {
	return fmt.Sprintf("the server is part of a cluster, whose nodes cannot be used: %v", e.cause)
}

func (e *nodesError) Unwrap() error { return e.cause }

// strangersError is that two of the addresses are of servers that know nothing of each other.
type strangersError struct{ a, b string }

func (e *strangersError) Error() string {
	return fmt.Sprintf("%s and %s have all slots each, and are no cluster together", e.a, e.b)
}

// join makes the client of a cluster of which one server is known.
func join(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	if isSocket(option) {
		return nil, errSocketOfCluster
	}
	client, err := dial(ctx, option)
	if err != nil {
		return client, &nodesError{cause: err}
	}
	return client, nodesAnswer(ctx, client)
}

// nodesAnswer asks a node where it says that it is. One that answers is there, whatever the
// user may do.
func nodesAnswer(ctx context.Context, client rueidis.Client) error {
	_, err := client.Do(ctx, client.B().Get().Key(anyKey).Build()).ToMessage()
	if err == nil || rueidis.IsRedisNil(err) || isNoPerm(err) {
		return nil
	}
	return &nodesError{slices.Sorted(maps.Keys(client.Nodes())), err}
}

// fromElsewhere is why a node does not answer, if that is at an address that only the cluster
// has given.
func fromElsewhere(client rueidis.Client, option rueidis.ClientOption, err error) error {
	if client.Mode() != rueidis.ClientModeCluster {
		return err
	}
	announced := slices.Sorted(maps.Keys(client.Nodes()))
	if !slices.ContainsFunc(announced, func(addr string) bool { return !slices.Contains(option.InitAddress, addr) }) {
		return err
	}
	return &nodesError{announced, err}
}

// shard is a cluster whose slots are all in one place.
type shard struct {
	id       string // of the master; a replica may not know it
	nodes    int    // the master, and replicas that may be read
	emulated bool   // it is one Dragonfly with --cluster_mode=emulated
}

// onlyShard asks a server whether there are no others than itself and replicas. Who may not
// ask is told no.
func onlyShard(ctx context.Context, client rueidis.Client) (s shard, ok bool, err error) {
	answers := client.DoMulti(ctx,
		client.B().ClusterSlots().Build(),
		// A Dragonfly that is a node of a real cluster has no READWRITE, and it changes nothing.
		client.B().Readwrite().Build(),
	)
	for _, answer := range answers {
		if err := answer.NonRedisError(); err != nil {
			return shard{}, false, err
		}
	}
	ranges, err := answers[0].ToArray()
	if err != nil || len(ranges) != 1 {
		return shard{}, false, nil //nolint:nilerr // the server has answered
	}
	fields, _ := ranges[0].ToArray()
	if len(fields) < 3 {
		return shard{}, false, nil
	}
	first, err1 := fields[0].AsInt64()
	last, err2 := fields[1].AsInt64()
	if err1 != nil || err2 != nil || first != 0 || last != lastSlot {
		return shard{}, false, nil //nolint:nilerr // the server has answered
	}
	s = shard{nodes: len(fields) - 2, emulated: answers[1].Error() == nil}
	if master, _ := fields[2].ToArray(); len(master) > 2 {
		s.id, _ = master[2].ToString()
	}
	return s, true, nil
}

// emulates reports whether the server is a Dragonfly that only takes itself for a cluster.
// That is used where it was found: the address that it gives of itself may be of no use
// outside a container, and of another server beyond a forwarded port. With replicas it is
// used as a cluster, which tells who takes over.
func emulates(ctx context.Context, client rueidis.Client, found server) (bool, error) {
	if found.name != nameDragonfly {
		return false, nil
	}
	s, ok, err := onlyShard(ctx, client)
	return ok && s.emulated && s.nodes == 1, err
}

// agree refuses several addresses of Dragonflies that each take themselves for a whole
// cluster: the client would turn now to this one and now to that, and a purge reach one
// alone. It reports whether they are one that does.
func agree(ctx context.Context, client rueidis.Client, option rueidis.ClientOption, found server) (emulated bool, err error) {
	if found.name != nameDragonfly || client.Mode() != rueidis.ClientModeCluster {
		return false, nil
	}
	known, at := "", ""
	for _, addr := range option.InitAddress {
		s, ok := ask(ctx, option, addr)
		emulated = emulated || ok && s.emulated
		switch {
		case !ok || s.id == "" || s.id == known:
		case known != "":
			return false, &strangersError{at, addr}
		default:
			known, at = s.id, addr
		}
	}
	if known == "" {
		return emulated, nil
	}
	return emulated, nodesAnswer(ctx, client)
}

// ask is onlyShard of the server at one of several addresses. One that cannot be asked is
// perhaps down, for which there are others.
func ask(ctx context.Context, option rueidis.ClientOption, addr string) (shard, bool) {
	option.InitAddress = []string{addr}
	option.ForceSingleClient = true
	option.SendToReplicas, option.ReadNodeSelector = nil, nil
	option.ReplicaSelector = nil //nolint:staticcheck // rueidis refuses it without SendToReplicas
	client, err := dial(ctx, option)
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return shard{}, false
	}
	s, ok, err := onlyShard(ctx, client)
	return s, ok && err == nil
}

// diagnoseCluster is for what is wrong with a cluster rather than with its servers.
func diagnoseCluster(cause error) (what, fix string) {
	var (
		nodes     *nodesError
		strangers *strangersError
		network   net.Error
		badCert   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(cause, errSocketOfCluster):
		return "it is part of a cluster", "give the host and port of a node: redis://host:port"
	case errors.As(cause, &strangers):
		return "they are not one cluster", "give the address of one of them, without addr in the URL or more in InitAddress; each Dragonfly with --cluster_mode=emulated is a cluster of its own"
	case errors.As(cause, &nodes) && len(nodes.announced) > 0 && (errors.As(cause, &network) || errors.As(cause, &badCert)):
		return "its cluster says that its nodes are at " + strings.Join(nodes.announced, ", ") + ", where they cannot be used",
			"have them announce an address that is good for this process (cluster-announce-ip of Redis; --cluster_announce_ip and --announce_port of Dragonfly), and that their certificates are for; " +
				"a single Dragonfly with --cluster_mode=emulated needs none if its user has the right +readwrite"
	}
	return "", ""
}
