package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// Where one handle is in front of another, the policy nearest to the handler
// decides, also of hits: an entry carries how many handles with other policies were
// in front of the one that has stored it, and the others leave it to that one.

// nest tells the handle of the same cache further out, if a request has come by
// one, that this one decides, and returns how many handles with other policies are
// in front.
func (c *Cache) nest(req *keys.Request) (depth uint8) {
	for f := range outers(req) {
		if f.by.shared != c.shared {
			continue
		}
		f.inner.Store(c) // which has told the next one
		if f.by == c {
			return f.depth
		}
		return min(f.depth+1, entry.MaxDepth)
	}
	return 0
}

// onward is the run of a handler whose response the handle leaves alone.
func (c *Cache) onward(req *keys.Request, depth uint8) *run {
	r := &run{deaf: true}
	r.begin(c, depth, nil, req)
	return r
}

// letPass runs the handler with its response going straight to the client; note
// gives the fields to add.
func (c *Cache) letPass(x adapter.Exchange, run *run, note func(int, adapter.Header, string) adapter.Fields) error {
	_, err := x.Next(adapter.Forward{Run: &run.Run, Annotate: func(status int, h adapter.Header, reason string) adapter.Fields {
		return c.untagged(note(status, h, reason), h)
	}})
	return err
}

// noteInner notes, for requests to come, that a handle further in with another
// policy has dealt with this one.
func (c *Cache) noteInner(v *visit, run *run) {
	v.inner = run.dealtWith()
	if v.inner && run.inner.Load() != c && !c.leavesToInner(v) {
		c.inners.put(v.key.Wire, v.depth, v.now.UnixNano())
	}
	if v.leaves && !v.inner { // it does not any more
		c.inners.drop(v.key.Wire)
	}
}

// count counts the request as what it is, once it is known whether it is not that of
// the handle further in.
func (v *visit) count() {
	if v.counter != nil && !v.inner {
		v.counter.Add(1)
	}
	v.counter = nil
}

// leavesToInner reports whether a handle further in takes care of the request's key.
func (c *Cache) leavesToInner(v *visit) bool {
	deepest, ok := c.inners.get(v.key.Wire, v.now.UnixNano(), passAge)
	return ok && deepest >= v.depth
}

// passInner leaves a request to the handle further in that has stored what is
// there.
func (c *Cache) passInner(x adapter.Exchange, v *visit) error {
	run := c.onward(&v.req, v.depth)
	err := c.letPass(x, run, annotate(run, httprules.CacheStatus{Fwd: "bypass", Detail: adapter.ReasonInner}))
	if !run.dealtWith() { // it is not there any more
		c.inners.drop(v.key.Wire)
		c.stats.bypasses.Add(1)
	}
	return err
}
