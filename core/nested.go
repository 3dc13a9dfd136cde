package core

import (
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Where one handle is in front of another, the policy nearest to the handler
// decides, also of hits: an entry carries how many handles with other policies were
// in front of the one that has stored it, and the others leave it to that one.

// nest notes that a request inside of another handle's run has come to this one,
// and returns how many handles with other policies are in front of it.
func (c *Cache) nest(outer *Flight) (depth uint8) {
	if outer == nil || outer.cache != c.shared {
		return 0
	}
	outer.inner.Store(c)
	if outer.by == c {
		return outer.depth
	}
	return min(outer.depth+1, entry.MaxDepth)
}

// noteInner notes, for requests to come, that a handle further in with another
// policy has dealt with this one.
func (c *Cache) noteInner(v *visit, run *Flight) {
	v.inner = run.dealtWith()
	if v.inner && run.inner.Load() != c && !c.leavesToInner(v) {
		c.inners.put(v.key.wire, v.depth, v.now.UnixNano())
	}
}

// leavesToInner reports whether a handle further in takes care of the request's key.
func (c *Cache) leavesToInner(v *visit) bool {
	deepest, ok := c.inners.get(v.key.wire, v.now.UnixNano(), passAge)
	return ok && deepest >= v.depth
}

// passInner leaves a request to the handle further in that has stored what is
// there.
func (c *Cache) passInner(x Exchange, v *visit) error {
	run := &Flight{cache: c.shared, by: c, depth: v.depth}
	_, err := x.Next(Forward{Flight: run, Annotate: func(status int, h Header, reason string) Fields {
		return c.untagged(annotate(run, httprules.CacheStatus{Fwd: "bypass", Detail: ReasonInner})(status, h, reason), h)
	}})
	if !run.dealtWith() { // it is not there any more
		c.inners.drop(v.key.wire)
		c.stats.bypasses.Add(1)
	}
	return err
}
