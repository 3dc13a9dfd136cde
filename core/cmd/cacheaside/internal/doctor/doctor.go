// Package doctor finds out whether a server is fit for a cache, and says what to do where it
// is not.
//
// It tries what the cache would do, on keys of its own below the namespace, which it
// removes. They expire by themselves after a minute but for three, and these, too, are
// removed unless the server goes away meanwhile.
package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// Status says how bad a finding is.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // the cache works, but not as well, or as safely, as it could
	Fail Status = "fail" // it does not work
)

// Finding is what was found out.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`           // what is so
	Remedy string `json:"remedy,omitempty"` // what to do about it
}

// The names of findings, in their order. Those of rights that lack are "right" and the
// right.
const (
	Transport  = "transport"
	Connection = "connection"
	Server     = "server"
	Memory     = "memory"
	Role       = "role"
	Cluster    = "cluster"
	Protocol   = "protocol"
	Writes     = "writes"
	Rights     = "rights"
	Scripts    = "scripts"
	Tracking   = "tracking"
	Clock      = "clock"
	Latency    = "latency"
)

// Options are those of [Run].
type Options struct {
	// URL is the server's, in the forms of [dragonfly.Open].
	URL string
	// Namespace is that of the cache: Config.Namespace.
	Namespace string
	// Timeout bounds each step. Zero: 5 s.
	Timeout time.Duration
	// TLSConfig is for a URL of rediss. Nil: what Open makes of it.
	TLSConfig *tls.Config
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Measure makes a call of some kind ("ping", "get", "write", "purge") and says how long
	// it took. Nil: by time.Now.
	Measure func(kind string, call func() error) (time.Duration, error)
}

func (o *Options) complete() {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Measure == nil {
		o.Measure = func(_ string, call func() error) (time.Duration, error) {
			began := time.Now()
			err := call()
			return time.Since(began), err
		}
	}
}

// Run looks at a server. What cannot be found out because of an earlier finding is left
// out.
func Run(ctx context.Context, o Options) []Finding {
	o.complete()
	option, err := dragonfly.ParseURL(o.URL)
	if err != nil {
		return []Finding{{Connection, Fail, err.Error(), "mend the URL"}}
	}
	if option.TLSConfig != nil && o.TLSConfig != nil {
		option.TLSConfig = o.TLSConfig
	}
	option.Dialer.Timeout = max(option.Dialer.Timeout, 300*time.Millisecond, o.Timeout/3)
	p := &patient{Options: o, option: option}
	p.examine(ctx)
	for i := range p.findings {
		f := &p.findings[i]
		f.Detail = redact.Text(f.Detail, 1000) // remedies are our own words
	}
	return p.findings
}

// Worst is the worst status there is.
func Worst(findings []Finding) Status {
	worst := OK
	for _, f := range findings {
		if f.Status == Fail || worst == OK {
			worst = f.Status
		}
		if worst == Fail {
			break
		}
	}
	return worst
}

// patient is the server that is looked at.
type patient struct {
	Options
	option   rueidis.ClientOption
	store    *dragonfly.Store
	client   rueidis.Client
	nodes    []node
	timeouts cacheaside.Timeouts // of a cache that leaves them at zero
	findings []Finding
}

// node is a server that has keys of its own.
type node struct {
	addr   string // empty where there is one
	client rueidis.Client
	info   map[string]string // empty where it does not say
	tag    string            // what keys of the probe begin with that are in a slot of this node
}

func (p *patient) find(name string, status Status, detail, remedy string) {
	if status == OK {
		remedy = ""
	}
	p.findings = append(p.findings, Finding{name, status, detail, remedy})
}

func (p *patient) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.Timeout)
}

func (p *patient) examine(ctx context.Context) {
	p.transport(ctx, p.option.InitAddress)
	if !p.connect(ctx) {
		return
	}
	defer p.close()
	if !p.look(ctx) {
		return
	}
	defer p.clean(ctx)
	p.each(Server, (*patient).version)
	p.each(Memory, (*patient).memory)
	p.each(Role, (*patient).role)
	p.cluster(ctx)
	p.protocol(ctx)
	if !p.writes(ctx) {
		p.clock(ctx)
		return
	}
	if p.rights(ctx) && p.scripts(ctx) {
		p.latency(ctx)
	}
	p.tracking(ctx)
	p.clock(ctx)
	slices.SortStableFunc(p.findings, func(a, b Finding) int { return rank(a.Name) - rank(b.Name) })
}

func rank(name string) int {
	name, _, _ = strings.Cut(name, " ")
	if name == "right" {
		name = Rights
	}
	return slices.Index([]string{Transport, Connection, Server, Memory, Role, Cluster, Protocol, Writes, Rights, Scripts, Tracking, Clock, Latency}, name)
}

// connect opens the store as a service would, and says why that fails.
func (p *patient) connect(ctx context.Context) bool {
	quiet := slog.New(slog.DiscardHandler)
	store, err := dragonfly.OpenClientOption(ctx, p.option, dragonfly.WithLogger(quiet), dragonfly.WithCallTimeout(p.Timeout))
	if err != nil {
		detail, remedy := err.Error(), "check the address"
		var e *dragonfly.ConnectError
		if errors.As(err, &e) {
			detail, remedy = e.Problem+": "+e.Said, e.Remedy
			switch {
			case !mute(e.Cause):
			case p.option.TLSConfig == nil && p.speaksTLS(ctx):
				detail, remedy = "it speaks TLS alone", "use rediss:// instead of redis://"
			case p.option.TLSConfig != nil && p.speaksPlainly(ctx):
				detail, remedy = "it does not speak TLS", "use redis:// instead of rediss://, or switch on its TLS"
			}
		}
		p.find(Connection, Fail, strings.Join(p.option.InitAddress, ", ")+": "+detail, remedy)
		return false
	}
	p.store, p.client = store, store.Client()
	cache, err := cacheaside.New(cacheaside.Config{Store: store, Namespace: p.Namespace, Logger: quiet})
	if err != nil {
		p.find(Connection, Fail, err.Error(), "give the namespace that the services have")
		p.close()
		return false
	}
	for _, s := range inside.Of(cache).Settings() {
		d, _ := time.ParseDuration(s.Value)
		switch s.Name {
		case "Timeouts.Lookup":
			p.timeouts.Lookup = d
		case "Timeouts.Write":
			p.timeouts.Write = d
		case "Timeouts.Purge":
			p.timeouts.Purge = d
		}
	}
	_ = cache.Close(context.WithoutCancel(ctx)) // it has nothing under way
	p.find(Connection, OK, "connected to "+strings.Join(p.option.InitAddress, ", "), "")
	return true
}

func (p *patient) close() { _ = p.store.Close() }

// look finds the nodes, what they say of themselves, and names for keys on them.
func (p *patient) look(ctx context.Context) bool {
	ctx, cancel := p.step(ctx)
	defer cancel()
	clients := map[string]rueidis.Client{"": p.client}
	if p.client.Mode() == rueidis.ClientModeCluster {
		clients = p.client.Nodes()
	}
	for addr, client := range clients {
		n := node{addr: addr, client: client, info: map[string]string{}}
		text, err := client.Do(ctx, client.B().Info().Build()).ToString()
		if _, answered := rueidis.IsRedisErr(err); err != nil && !answered {
			p.find(Connection, Fail, n.on()+"no answer: "+err.Error(), "see whether it is overloaded, or the network between")
			return false
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				n.info[name] = value
			}
		}
		if addr != "" && n.replica() {
			continue // of a cluster, where masters are asked
		}
		if err := p.name(ctx, &n, addr != ""); err != nil {
			p.find(Connection, Fail, n.on()+err.Error(), "see whether it is overloaded, or the network between")
			return false
		}
		p.nodes = append(p.nodes, n)
	}
	slices.SortFunc(p.nodes, func(a, b node) int { return strings.Compare(a.addr, b.addr) })
	if len(p.nodes) == 0 {
		p.find(Cluster, Fail, "no node of the cluster is a master", "see CLUSTER NODES on one of them")
		return false
	}
	return true
}

// name finds a name whose slot is one of the node's.
func (p *patient) name(ctx context.Context, n *node, cluster bool) error {
	for range 10_000 {
		n.tag = p.Namespace + ":" + keys.Format + ":{" + direct.ProbePrefix + rand.Text() + "}"
		if !cluster {
			return nil
		}
		err := n.client.Do(ctx, n.client.B().Get().Key(n.tag).Build()).Error()
		if err == nil || rueidis.IsRedisNil(err) {
			return nil
		}
		e, answered := rueidis.IsRedisErr(err)
		if !answered {
			return err
		}
		if _, moved := e.IsMoved(); !moved {
			return nil // it is this one's, whatever else is wrong
		}
	}
	return errors.New("it has no slots")
}

// clean removes what was made.
func (p *patient) clean(ctx context.Context) {
	ctx, cancel := p.step(context.WithoutCancel(ctx))
	defer cancel()
	for _, n := range p.nodes {
		for _, key := range p.keys(n.tag) {
			// One of the two may be forbidden. There is no more that could be done.
			if p.client.Do(ctx, p.client.B().Unlink().Key(key).Build()).Error() != nil {
				_ = p.client.Do(ctx, p.client.B().Del().Key(key).Build()).Error()
			}
		}
	}
}

// keys are all that may be made below a tag.
func (p *patient) keys(tag string) []string {
	ends := []string{"", ":lock", ":list", ":gone", ":t:doctor", ":clock", ":clock:ring", ":clock:journal", ":near", ":body:0", ":body:1"}
	for i := range ends {
		ends[i] = tag + ends[i]
	}
	return ends
}

// on begins what is said of a node where there are several.
func (n *node) on() string {
	if n.addr == "" {
		return ""
	}
	return n.addr + ": "
}

func (n *node) replica() bool { return n.info["role"] == "slave" || n.info["role"] == "replica" }

// each asks something of every node, and finds the worst.
func (p *patient) each(name string, ask func(*patient, *node) (Status, string, string)) {
	var worst Finding
	var same, bad []string
	for i := range p.nodes {
		n := &p.nodes[i]
		status, detail, remedy := ask(p, n)
		if worst.Name == "" || Worst([]Finding{worst, {Status: status}}) != worst.Status {
			worst = Finding{name, status, detail, remedy}
		}
		if status != OK {
			bad = append(bad, n.on()+detail)
		} else if !slices.Contains(same, detail) {
			same = append(same, detail)
		}
	}
	worst.Detail = strings.Join(same, "; ")
	if len(bad) > 0 {
		worst.Detail = strings.Join(bad, "; ")
	}
	if len(p.nodes) > 1 {
		worst.Detail += fmt.Sprintf(" (%d nodes)", len(p.nodes))
	}
	p.find(worst.Name, worst.Status, worst.Detail, worst.Remedy)
}
