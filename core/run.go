package core

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// A run is one call of a handler by a handle. Runs form a chain: within the run of
// one handle the request may come to another handle, or the handler may make
// requests of its own, in this process or by way of others. A request waits for
// nothing that a run of its chain has to do.

// RunKey is where a handler's context has what belongs to its run. It is a string
// because some frameworks keep no values of their own under other keys: adapters
// put [Forward.Tags] there, into all that the framework gives the handler as a
// context.
const RunKey = "github.com/cacheaside/cacheaside/core.Run"

// Flight is the engine's part of a run.
type Flight struct {
	// Target is what the adapter knows the request by that runs, to tell it from
	// others which the handler makes with the same context. It is set before the
	// handler runs.
	Target string
	// Held, where the adapter sets it before the handler runs, is the response that is
	// held back.
	Held Held

	cache  *shared
	by     *Cache
	depth  uint8 // handles of the same cache in front of by, with other policies
	lead   *lead
	parent *Flight
	own    bool                  // parent's handler has made the request itself
	inner  atomic.Pointer[Cache] // the handle of the same cache further in that has dealt with it
}

// dealtWith reports whether a handle further in has decided about the response.
func (f *Flight) dealtWith() bool { return f.inner.Load() != nil }

// FlightIn returns the flight of the handler whose context ctx is, or was derived
// from; nil if it has returned, or there is none.
func FlightIn(ctx context.Context) *Flight {
	t := tagsIn(ctx)
	if t == nil || t.ended() {
		return nil
	}
	return &t.flight
}

func tagsIn(ctx context.Context) *Tags {
	t, _ := ctx.Value(RunKey).(*Tags)
	return t
}

// begin says whose run f is; lead is nil where nobody waits for it.
func (f *Flight) begin(by *Cache, depth uint8, lead *lead, req *Request) {
	f.cache, f.by, f.depth, f.lead, f.parent, f.own = by.shared, by, depth, lead, req.Outer, false
	if f.parent == nil {
		f.parent, f.own = req.Within, true
	}
}

// outer is the flight of the same request at a handle further out.
func (f *Flight) outer() *Flight {
	if f.own {
		return nil
	}
	return f.parent
}

// Held is a response on its way from the handler to the client.
type Held interface {
	// OnLeave has leaving called with the fields that the client sees when the
	// response leaves; false: it has left, or was let go. Any goroutine may call it.
	OnLeave(leaving func(Header)) bool
}

// Hold has leaving called when the response leaves that f, or a handle further
// out, holds back; false: nobody does. The adapters of handles further in ask it,
// for what they send goes to no client yet. f may be nil.
func (f *Flight) Hold(leaving func(Header)) bool {
	for ; f != nil; f = f.outer() {
		if f.Held != nil && f.Held.OnLeave(leaving) {
			return true
		}
	}
	return false
}

// chain goes through the flights that a request is part of.
func (r *Request) chain(yield func(*Flight) bool) {
	f := r.Outer
	if f == nil {
		f = r.Within
	}
	for ; f != nil && yield(f); f = f.parent {
	}
}

// servedBy reports whether a handle of cache further out has the request.
func (r *Request) servedBy(cache *shared) bool {
	for f := r.Outer; f != nil; f = f.outer() {
		if f.cache == cache {
			return true
		}
	}
	return false
}

// inside reports whether a handler that is to give what the flight for key waits
// for has made the request.
func (c *Cache) inside(v *visit, key string) bool {
	for f := range v.req.chain {
		if f.cache == c.shared && f.lead != nil && f.lead.Key() == key {
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
	for f := range v.req.chain {
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
	for f := range v.req.chain {
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
	for f := &v.tags.flight; f != nil; f = f.parent {
		if f.lead == nil || !f.by.locks() {
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
	if !c.cfg.BackgroundFill || v.req.Method != http.MethodGet || v.req.Rerun != nil {
		return 0
	}
	return c.cfg.RefreshTimeout
}

// RunContext is the context of a handler behind a cache. It has all of the
// request's own, and Forward.Tags under [RunKey].
//
// It knows whether the handler may have learned that its client has left. With
// Forward.Linger it does not end when the client leaves, but only after that time,
// when the response has begun to stream, with a deadline of the request's context,
// or by Close.
type RunContext struct {
	context.Context //nolint:containedctx // it is a context
	tags            *Tags
	asked           atomic.Bool

	// With Linger:
	end    context.Context //nolint:containedctx // that which ends
	cancel context.CancelFunc
	unbind []func() bool // from the request's context
	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

// Context makes the handler's context from that of the request. Its owner calls
// Close when the handler has returned.
func (f *Forward) Context(ctx context.Context) *RunContext {
	r := f.Tags.context()
	r.Context, r.tags = ctx, f.Tags
	if f.Linger <= 0 {
		return r
	}
	if at, ok := ctx.Deadline(); ok {
		r.end, r.cancel = context.WithDeadline(context.Background(), at)
	} else {
		r.end, r.cancel = context.WithCancel(context.Background())
	}
	linger := f.Linger
	r.bind(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed {
			r.timer = time.AfterFunc(linger, r.cancel)
		}
	})
	if note := f.Annotate; note != nil { // it is called when the response is let go
		f.Annotate = func(status int, h Header, reason string) Fields {
			r.bind(r.cancel)
			return note(status, h, reason)
		}
	}
	return r
}

// context returns the run's own, which is used once.
func (t *Tags) context() *RunContext {
	if t == nil || t.run.Context != nil {
		return new(RunContext)
	}
	return &t.run
}

// bind has f called when the request's context ends.
func (r *RunContext) bind(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.unbind = append(r.unbind, context.AfterFunc(r.Context, f))
	}
}

// Close ends what the context has of its own.
func (r *RunContext) Close() {
	if r.end == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, unbind := range r.unbind {
		unbind()
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.cancel()
}

// Knows reports whether the context has ended and the handler may have noticed: if
// not, its response is as good as any. It is to be asked before Close.
func (r *RunContext) Knows() bool { return r.asked.Load() && r.Ended() }

// Ended reports whether the context has ended, without the handler noticing.
func (r *RunContext) Ended() bool { return r.ending().Err() != nil }

func (r *RunContext) ending() context.Context {
	if r.end != nil {
		return r.end
	}
	return r.Context
}

// Done is the channel of the request's context, unless it lingers.
func (r *RunContext) Done() <-chan struct{} {
	r.asked.Store(true)
	return r.ending().Done()
}

// Err says whether the context has ended.
func (r *RunContext) Err() error {
	err := r.ending().Err()
	if err != nil {
		r.asked.Store(true)
	}
	return err
}

// Value looks in the request's context.
func (r *RunContext) Value(key any) any {
	switch key.(type) {
	case string:
		if key == RunKey {
			return r.tags
		}
	case *int: // by which the package context finds who has cancelled
		if r.ending().Err() != nil {
			r.asked.Store(true)
		}
		if r.end != nil {
			if v := r.end.Value(key); v != nil {
				return v
			}
		}
	}
	return r.Context.Value(key)
}
