package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Where one handle is in front of another, the policy nearest to the handler
// decides, also of hits: an entry carries how many handles with other policies were
// in front of the one that has stored it, and the others leave it to that one.

// nest tells the next handle of the same cache in front, if there is one, that this one
// decides, and returns how many handles with other policies are in front.
func (v *visit) nest() (depth uint8) {
	for f := range outers(&v.req) {
		if f.handle.shared != v.c.shared {
			continue
		}
		f.inner.Store(v.c) // which has told the next one
		v.answersFor(f)
		if f.handle == v.c {
			return f.depth
		}
		return min(f.depth+1, entry.MaxDepth)
	}
	return 0
}

// onward is the run of a handler whose response the handle leaves alone.
func (v *visit) onward() *run {
	r := &run{deaf: true}
	r.begin(v.c, v.depth, nil, &v.req)
	return r
}

// noteInner notes, for requests to come, that a handle further in with another
// policy has dealt with this one.
func (v *visit) noteInner(run *run) {
	v.inner = run.dealtWith()
	if v.inner && run.inner.Load() != v.c && !v.leavesToInner() {
		v.c.inners.Put(v.key.Wire, v.depth, v.now.UnixNano())
	}
	if v.leaves && !v.inner { // it does not any more
		v.c.inners.Drop(v.key.Wire)
	}
}

// leavesToInner reports whether a handle further in takes care of the request's key.
func (v *visit) leavesToInner() bool {
	deepest, ok := v.c.inners.Get(v.key.Wire, v.now.UnixNano(), passAge)
	return ok && deepest >= v.depth
}

// passInner leaves a request to the handle further in that has stored what is
// there.
func (v *visit) passInner() error {
	run := v.onward()
	v.bypassed = adapter.ReasonInner
	err := v.letPass(run, annotate(run, httprules.CacheStatus{Fwd: fwdBypass, Detail: adapter.ReasonInner}))
	if !v.inner { // it is not there any more
		v.c.inners.Drop(v.key.Wire)
		v.c.stats.bypasses.Add(1)
	}
	return err
}
