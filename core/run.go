package cacheaside

import (
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// A run is one call of a handler by a handle. Runs form a chain: within the run of
// one handle the request may come to another handle, or the handler may make
// requests of its own, in this process or by way of others. A request waits for
// nothing that a run of its chain has to do.

// run is what the engine knows of a run, and the tags that its handler gives the
// response while it runs.
type run struct {
	adapter.Run
	by    *Cache
	depth uint8 // handles of the same cache in front of by, with other policies
	lead  *lead
	inner atomic.Pointer[Cache] // the handle of the same cache further in that has dealt with it
	deaf  bool                  // the response is none of the handle's

	mu   sync.Mutex
	tags []string
}

// begin says whose run r is; lead is nil where nobody waits for it.
func (r *run) begin(by *Cache, depth uint8, lead *lead, req *keys.Request) {
	r.by, r.depth, r.lead = by, depth, lead
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
		if f.by.shared == cache {
			return true
		}
	}
	return false
}

// inside reports whether a handler that is to give what the flight for key waits
// for has made the request.
func (c *Cache) inside(v *visit, key string) bool {
	for f := range chain(&v.req) {
		if f.by.shared == c.shared && f.lead != nil && f.lead.Key() == key {
			return true
		}
	}
	return false
}

// Of a run in another process only the token of its lock is known: the request
// that the handler gets has it in a line of CDN-Loop (RFC 8586), which a reverse
// proxy passes on to the service behind it.
const (
	loopField = "Cdn-Loop"
	loopStart = "cacheaside; lock="
)

// holds reports whether a run of the chain holds a lock by that token.
func (v *visit) holds(token string) bool {
	for f := range chain(&v.req) {
		if f.lead != nil && f.lead.Lead.held() == token {
			return true
		}
	}
	for t := range v.loopTokens {
		if t == token {
			return true
		}
	}
	return false
}

// awaitable reports whether the request is part of what others may wait for.
func (v *visit) awaitable() bool {
	for f := range chain(&v.req) {
		if f.lead != nil {
			return true
		}
	}
	for range v.loopTokens {
		return true
	}
	return false
}

// loopTokens goes through the tokens in the request's CDN-Loop.
func (v *visit) loopTokens(yield func(string) bool) {
	for _, line := range v.header.Values(loopField) {
		for member := range strings.SplitSeq(line, ",") {
			id, parameters, _ := strings.Cut(member, ";")
			if httprules.TrimOWS(id) != "cacheaside" {
				continue
			}
			for p := range strings.SplitSeq(parameters, ";") {
				token, ok := strings.CutPrefix(httprules.TrimOWS(p), "lock=")
				if ok && isToken(token) && !yield(token) {
					return
				}
			}
		}
	}
}

// looped adds to the request fields for the handler the locks that its run and
// those further out hold, for which other processes may wait.
func (v *visit) looped(set http.Header) http.Header {
	var lines []string
	for o := &v.run.Run; o != nil; o = o.Parent() {
		f := engineRun(o)
		if f == nil || f.lead == nil || !f.by.locks() {
			continue
		}
		token := f.lead.Lead.held()
		if token == "" {
			continue
		}
		if lines == nil {
			for _, line := range v.header.Values(loopField) {
				lines = append(lines, strings.Clone(line))
			}
		}
		if line := loopStart + token; !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return set
	}
	out := http.Header{loopField: lines}
	for name, values := range set {
		out[name] = values
	}
	return out
}

// withoutLoop takes CDN-Loop out of what Vary names: no handler means the locks of
// caches, which are other ones for each request.
func withoutLoop(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == loopField })
}

// linger is for Forward.
func (c *Cache) linger(v *visit) time.Duration {
	if !c.policy.Requests.BackgroundFill || v.req.Method != http.MethodGet || v.req.Rerun != nil {
		return 0
	}
	return c.policy.Stale.RefreshTimeout
}
