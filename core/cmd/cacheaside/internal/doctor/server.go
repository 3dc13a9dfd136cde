package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
)

// Versions that the cache is tested with, at least.
var (
	leastDragonfly = [3]int{1, 40, 1}
	leastRedis     = [3]int{7, 0, 0} // SET with NX and GET, and tracking as it is used
	oldestRedis    = [3]int{6, 2, 0} // SET with GET, GETRANGE and PEXPIRE as scripts have them
)

// older reports whether a version has lower numbers. One without numbers is somebody's own
// build.
func older(version string, least [3]int) bool {
	version, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(version, "df-"), "v"), "-")
	parts := strings.Split(version, ".")
	for i, want := range least {
		if i >= len(parts) {
			return false
		}
		got, err := strconv.Atoi(parts[i])
		if err != nil || got > want {
			return false
		}
		if got < want {
			return true
		}
	}
	return false
}

func (p *patient) version(n *node) (status Status, detail, remedy string) {
	switch i := n.info; {
	case i["dragonfly_version"] != "":
		detail = "Dragonfly " + i["dragonfly_version"]
		if older(i["dragonfly_version"], leastDragonfly) {
			return Fail, detail + ", which breaks handshakes of the client", "use Dragonfly v1.40.1 or newer"
		}
		return OK, detail, ""
	case i["valkey_version"] != "":
		return OK, "Valkey " + i["valkey_version"] + ", which works as Dragonfly does", ""
	case i["redis_version"] != "":
		detail = "Redis " + i["redis_version"]
		switch {
		case older(i["redis_version"], oldestRedis):
			return Fail, detail + ", which lacks commands that the cache needs", "use Dragonfly v1.40.1, Redis 7, or newer"
		case older(i["redis_version"], leastRedis):
			return Warn, detail + ", for which locks take scripts, and with which the cache is not tested", "use Dragonfly v1.40.1, Redis 7, or newer"
		}
		return OK, detail + ", which works as Dragonfly does", ""
	}
	return Warn, "the server does not say what it is", "allow INFO: +info in ACL SETUSER"
}

// fullShare is what of the memory is used when writes may soon be refused.
const fullShare = 0.95

func (p *patient) memory(n *node) (status Status, detail, remedy string) {
	i := n.info
	limit, err := strconv.ParseInt(i["maxmemory"], 10, 64)
	if err != nil {
		return Warn, "the server does not say how much memory it may use", "allow INFO: +info in ACL SETUSER"
	}
	used, _ := strconv.ParseInt(i["used_memory"], 10, 64)
	evicts, policy := i["maxmemory_policy"] != "noeviction", "maxmemory-policy "+i["maxmemory_policy"]
	howTo := "CONFIG SET maxmemory-policy allkeys-lru, and the same in its configuration"
	if n.dragonfly() {
		evicts, policy = i["cache_mode"] == "cache", "cache_mode "+i["cache_mode"]
		howTo = "start it with --cache_mode=true"
	}
	detail = fmt.Sprintf("%s of %s used, %s", units.Bytes(used), units.Bytes(limit), policy)
	full := limit > 0 && float64(used) >= fullShare*float64(limit)
	switch {
	case limit <= 0:
		return Warn, units.Bytes(used) + " used, and there is no limit: it takes what the machine has, and evicts nothing",
			"set maxmemory below what the machine can spare, and an evicting policy"
	case !evicts && full:
		return Fail, detail + ": it is full and does not evict, so writes are refused", howTo + ", or give it more memory"
	case !evicts:
		return Warn, detail + ": once it is full, writes are refused", howTo
	case full && !n.dragonfly():
		return OK, detail + ", as is right for a cache that evicts", ""
	case full:
		return Warn, detail + ": eviction may not keep up with bursts, which then are not stored", "give it more memory"
	}
	return OK, detail, ""
}

func (p *patient) role(n *node) (status Status, detail, remedy string) {
	switch role := n.info["role"]; {
	case n.replica():
		detail = "it is a replica, which may be behind what was purged, and takes no writes"
		if n.info["master_link_status"] == "down" {
			detail += "; its link to the master is down"
		}
		return Fail, detail, "give the address of the master, or of sentinels: redis://sentinel:26379?master_set=name"
	case role == "":
		return OK, "not known: the server does not say", ""
	default:
		return OK, role, ""
	}
}

func (p *patient) cluster(ctx context.Context) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	n := &p.nodes[0]
	client := p.client.Mode() == rueidis.ClientModeCluster
	says := n.info["redis_mode"] == "cluster" || n.info["server_mode"] == "cluster" || n.info["cluster_enabled"] == "1"
	moved := false
	for i := 0; i < 8 && !client && !moved; i++ { // of eight keys, all are here once in 2^8 clusters of two
		key := fmt.Sprint(n.tag[:len(n.tag)-1], i, "}")
		e, _ := rueidis.IsRedisErr(n.client.Do(ctx, n.client.B().Get().Key(key).Build()).Error())
		if e != nil {
			_, moved = e.IsMoved()
		}
	}
	switch {
	case says && !client && !moved && n.dragonfly():
		p.find(Cluster, OK, "a single server, which only takes itself for a cluster (--cluster_mode=emulated)", "")
	case moved || says && !client:
		p.find(Cluster, Fail, "it is part of a cluster, but is taken for a single server, since INFO does not say so",
			"allow INFO (+info in ACL SETUSER), or give several nodes: redis://a:6379?addr=b:6379")
	case !client:
		p.find(Cluster, OK, "a single server", "")
	default:
		text, err := n.client.Do(ctx, n.client.B().Arbitrary("CLUSTER", "INFO").Build()).ToString()
		if err == nil && strings.Contains(text, "cluster_state:fail") {
			p.find(Cluster, Fail, "the cluster is down: slots lack a node", "see CLUSTER INFO and CLUSTER NODES on one of them, and bring back the nodes")
			return
		}
		masters := "one master"
		if len(p.nodes) > 1 {
			masters = fmt.Sprintf("%d masters", len(p.nodes))
		}
		p.find(Cluster, OK, "a cluster with "+masters, "")
	}
}

// protocol asks by what the connection speaks. HELLO needs no right.
func (p *patient) protocol(ctx context.Context) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	c := p.nodes[0].client
	proto := int64(2)
	for _, hello := range [][]string{{"HELLO"}, {"HELLO", "3"}} { // the first one changes nothing
		m, err := c.Do(ctx, c.B().Arbitrary(hello...).Build()).AsMap()
		if v, ok := m["proto"]; err == nil && ok {
			proto, _ = v.AsInt64()
			break
		}
	}
	if proto < 3 {
		p.find(Protocol, Warn, "it speaks RESP2, by which it cannot tell of changes: there can be no near tier",
			"use a server, or a proxy in front of it, that knows HELLO 3")
		return
	}
	p.find(Protocol, OK, "RESP3", "")
}

// writes tries the one thing without which there is no cache.
func (p *patient) writes(ctx context.Context) bool {
	ctx, cancel := p.step(ctx)
	defer cancel()
	for _, n := range p.nodes {
		c := n.client
		err := c.Do(ctx, c.B().Set().Key(n.tag).Value("doctor").PxMilliseconds(kept).Build()).Error()
		if err == nil || isNoPerm(err) { // which is told of below
			continue
		}
		p.find(Writes, Fail, n.on()+"SET: "+err.Error(), remedyOf(err))
		return false
	}
	p.find(Writes, OK, "it takes writes", "")
	return true
}

// kept is how long what is made stays in ms, if it should not be removed.
const kept = 60_000

// isNoPerm reports whether the user lacks a right. EXEC ends the transaction as well.
func isNoPerm(err error) bool {
	return answers(err, "NOPERM") || answers(err, "EXECABORT") && strings.Contains(err.Error(), "NOPERM")
}

// answers reports whether err is an answer of the server that begins so.
func answers(err error, begin string) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), begin)
}

// remedyOf says what to do about an answer to a write.
func remedyOf(err error) string {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return "see whether it is overloaded, or the network between"
	}
	text := e.Error()
	for _, r := range []struct{ part, remedy string }{
		{"OOM", "have it evict (maxmemory-policy allkeys-lru, or --cache_mode=true for Dragonfly), or give it more memory"},
		{"Out of memory", "have it evict (--cache_mode=true), or give it more memory"},
		{"READONLY", "give the address of the master"},
		{"MISCONF", "it cannot save its data: see its log, or switch that off, which a cache does not need (CONFIG SET save '')"},
		{"NOREPLICAS", "bring back its replicas, or set min-replicas-to-write to 0"},
		{"CLUSTERDOWN", "see CLUSTER INFO: every slot needs a node that is up"},
		{"MASTERDOWN", "bring back the master of this replica, or give the address of another one"},
		{"LOADING", "try again when it has loaded its data"},
		{"BUSY", "a script of somebody else takes too long: see SLOWLOG, or SCRIPT KILL"},
		{"NOPERM", "give the user the rights that the README of core/dragonfly lists"},
		{"MOVED", "give several nodes of the cluster: redis://a:6379?addr=b:6379"},
	} {
		if strings.Contains(text, r.part) {
			return r.remedy
		}
	}
	return "see its log for what is wrong with it"
}
