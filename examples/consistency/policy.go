package main

import (
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Features are what a run exercises beyond hard purges of what is plainly fresh.
// Those without a policy of their own change what readers, writers and the origin
// do.
type Features struct {
	Policies    bool // several handles per process: other keys, nested, other in each process
	Ahead       bool // RefreshAhead
	SWR         bool // stale-while-revalidate
	SIE         bool // stale-if-error, with an origin that fails at random
	SoftTimeout bool // SoftTimeout, with an origin that is slow at random
	Stated      bool // responses that state all that themselves
	Validate    bool // the origin answers 304
	Head        bool // readers send HEAD
	Conditional bool // readers send If-None-Match
	Soft        bool // writers purge softly
	Pause       bool // processes are stopped for longer than their tokens live
}

// policy is one of the policies that each process has at a time, below a path of
// its name, and how the origin behaves there.
type policy struct {
	name string
	// The most that any process may answer by: lifetime, stale-while-revalidate
	// and stale-if-error.
	ttl, swr, sie time.Duration
	soft          time.Duration                           // SoftTimeout
	more          func(c *cacheaside.Policy, process int) // what else the handle has
	nested        bool                                    // inside the plain handle
	parts         bool                                    // the response depends on X-Part, in the key
	orders        bool                                    // the response depends on the order of the query
	untagged      bool                                    // the origin sends no ETag
	stated        string                                  // Cache-Control
	unbending     bool                                    // nothing stale, whatever has been purged softly
	fails, slow   bool                                    // the origin, at random
}

// policies are those of a run. The first one is plain: only purges end what it
// stores.
func (f Features) policies() []*policy {
	const brief, long, grace = 40 * time.Millisecond, time.Hour, time.Second
	list := []*policy{{name: "plain", ttl: long}}
	add := func(when bool, p policy) {
		if when {
			list = append(list, &p)
		}
	}
	add(f.Policies, policy{name: "parted", ttl: long, parts: true, untagged: true, more: func(c *cacheaside.Policy, _ int) {
		c.Key.Headers, c.Storing.GenerateETag, c.Coalescing.Scope = []string{"X-Part"}, true, cacheaside.CoalesceProcess
	}})
	add(f.Policies, policy{name: "ordered", ttl: long, orders: true, more: func(c *cacheaside.Policy, _ int) {
		c.Key.KeepQueryOrder, c.Coalescing.Scope = true, cacheaside.CoalesceNone
	}})
	add(f.Policies, policy{name: "nested", ttl: brief, swr: grace, nested: true})
	// As while a new version of a service is rolled out: one URL, several policies.
	add(f.Policies, policy{name: "mixed", ttl: long, swr: grace, sie: grace, more: func(c *cacheaside.Policy, process int) {
		switch process % 4 {
		case 0:
			c.Stale.WhileRevalidate, c.Stale.IfError = 0, 0
		case 1:
			c.TTL = brief
		case 2:
			c.TTL, c.Stale.RefreshAhead, c.Coalescing.Scope = brief, 0.3, cacheaside.CoalesceProcess
		case 3:
			c.TTL, c.Stale.SoftTimeout, c.Stale.WhileRevalidate, c.Coalescing.Scope = brief, 3*time.Millisecond, 0, cacheaside.CoalesceNone
		}
	}})
	// Its responses are not to be served stale: what runs in the background, does so
	// ahead.
	add(f.Ahead, policy{name: "ahead", ttl: 3 * brief, stated: "must-revalidate", unbending: true, more: func(c *cacheaside.Policy, _ int) {
		c.Stale.RefreshAhead = 0.2
	}})
	add(f.SWR, policy{name: "swr", ttl: brief, swr: grace, more: func(c *cacheaside.Policy, _ int) {
		c.TTLJitter = 0.5
	}})
	add(f.SIE, policy{name: "sie", ttl: brief, sie: grace, fails: true})
	add(f.SoftTimeout, policy{name: "soft-timeout", ttl: brief, sie: grace, soft: 3 * time.Millisecond, slow: true})
	add(f.Stated, policy{
		name: "stated", ttl: 2 * time.Second, swr: 2 * time.Second, sie: 2 * time.Second, fails: true,
		stated: "max-age=2, stale-while-revalidate=2, stale-if-error=2", more: func(c *cacheaside.Policy, _ int) {
			c.TTL, c.Stale.WhileRevalidate, c.Stale.IfError = 0, 0, 0
			c.Requests.ForwardConditions, c.Requests.ValidateVariants, c.Key.KeepQueryOrder = true, true, true
		},
	})
	return list
}

// change makes the policy of a handle in a process.
func (p *policy) change(process int) func(*cacheaside.Policy) {
	return func(c *cacheaside.Policy) {
		c.TTL, c.Stale.WhileRevalidate, c.Stale.IfError, c.Stale.SoftTimeout = p.ttl, p.swr, p.sie, p.soft
		if p.more != nil {
			p.more(c, process)
		}
	}
}
