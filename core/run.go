package cacheaside

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// A run is one call of a handler by a handle. Runs form a chain: within the run of
// one handle the request may come to another handle, or the handler may make
// requests of its own, in this process or by way of others. A request waits for
// nothing that a run of its chain has to do.

// run is what the engine knows of a run, and what its handler says of the response in
// code while it runs.
type run struct {
	adapter.Run
	handle *Cache
	depth  uint8 // handles of the same cache in front of it, with other policies
	lead   *inFlight
	inner  atomic.Pointer[Cache] // the handle of the same cache further in that has dealt with it
	deaf   bool                  // the handle leaves the response alone, and what is said of it

	account *adapter.Account // of the request; nil: nobody asks
	xcache  string           // see adapter.Request.XCache

	mu    sync.Mutex
	tags  []string
	said  instructions
	letGo bool // the response is on its way, and is not captured
}

// begin says whose run r is; lead is nil where nobody waits for it.
func (r *run) begin(handle *Cache, depth uint8, lead *inFlight, req *keys.Request) {
	r.handle, r.depth, r.lead = handle, depth, lead
	r.account, r.xcache = req.Account, req.XCache
	r.Begin(r, &req.Request)
}

// dealtWith reports whether a handle further in has decided about the response.
func (r *run) dealtWith() bool { return r.inner.Load() != nil }

// end is called when the handler has returned.
func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.End()
}

// addTags reports whether the handler had not returned.
func (r *run) addTags(tags []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf || r.Ended() {
		return false
	}
	r.tags = append(r.tags, tags...)
	return true
}

func (r *run) takeTags() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tags)
}

// engineRun is the engine's part of a run, nil if that is another engine's.
func engineRun(r *adapter.Run) *run {
	if r == nil {
		return nil
	}
	own, _ := r.Engine().(*run)
	return own
}

// outers goes through the runs of req at handles further out, the nearest first.
func outers(req *keys.Request) iter.Seq[*run] {
	return func(yield func(*run) bool) {
		for o := req.Outer; o != nil; o = o.Outer() {
			if own := engineRun(o); own != nil && !yield(own) {
				return
			}
		}
	}
}

// chain goes through the runs that req is part of.
func chain(req *keys.Request) iter.Seq[*run] {
	return func(yield func(*run) bool) {
		o := req.Outer
		if o == nil {
			o = req.Within
		}
		for ; o != nil; o = o.Parent() {
			if own := engineRun(o); own != nil && !yield(own) {
				return
			}
		}
	}
}

// servedBy reports whether a handle of cache further out has req.
func servedBy(req *keys.Request, cache *shared) bool {
	for f := range outers(req) {
		if f.handle.shared == cache {
			return true
		}
	}
	return false
}
