package cacheaside

import (
	"context"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// What a handler says of its response in code, so that no header field has to: none that
// browsers, or caches further out, would heed as well.

// instructions are those of a handler, for its response.
type instructions struct {
	ttl     time.Duration // 0: none
	noStore bool
}

// SetTTL has the response to the request of ctx stored for d, counted from when the
// handler has answered. It is explicit freshness, like max-age in a CDN-Cache-Control field
// that nobody else sees: it wins over the policy's TTL and StatusTTL, and over what
// Cache-Control and Expires say of freshness, which browsers go by: max-age, s-maxage,
// no-cache and must-revalidate. Clients get those fields as they are.
//
// What forbids storing does so all the same: no-store and private, Set-Cookie, Vary: *, a
// request with Authorization whose response does not allow it (RFC 9111 section 3.5; SetTTL
// is not public), a status code that is not stored with explicit freshness either, and the
// limits of the policy. [NoStore] wins in whatever order; [StoringPolicy].Decide is asked
// afterwards.
//
// D of 0 or less is NoStore. Less than a millisecond counts as one, more than a year as a
// year. Of several calls the last counts. A 304, by which a stored response is updated, has
// its own say: call SetTTL there as well.
//
// It may be called from anywhere behind the cache, with what [AddTags] takes, until the
// handler returns; for a response that nothing else lets be stored, before it begins to
// leave. SetTTL reports whether it was heard: not where no cache is in front, or none that
// deals with the request, or it comes too late.
func SetTTL(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return NoStore(ctx)
	}
	d = bounded(d)
	return instruct(ctx, func(r *run) bool { return r.setTTL(d) })
}

// NoStore has the response to the request of ctx not stored, by any cache in front in this
// process, like Cache-Control: no-store that only these see. It wins over [SetTTL]. It may
// be called until the handler returns, with what [AddTags] takes, and reports whether it was
// heard, as SetTTL does.
func NoStore(ctx context.Context) bool {
	return instruct(ctx, (*run).setNoStore)
}

// instruct tells all handles in front of the handler; the result is whether one heard it.
func instruct(ctx context.Context, tell func(*run) bool) (heard bool) {
	r, _ := ctx.Value(adapter.RunKey).(*adapter.Run)
	for ; r != nil; r = r.Outer() {
		if own := engineRun(r); own != nil && tell(own) {
			heard = true
		}
	}
	return heard
}

// bounded is a lifetime that is given in code.
func bounded(d time.Duration) time.Duration { return min(max(d, minDuration), maxLifetime) }

// setTTL reports whether the response may still be stored by it.
func (r *run) setTTL(d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hears() || r.letGo {
		return false
	}
	r.said.ttl = d
	return true
}

// setNoStore reports whether the handler had not returned.
func (r *run) setNoStore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hears() {
		return false
	}
	r.said.noStore = true
	return true
}

// hears reports whether what is said of the response counts; a handle further in has its
// own say. The mutex is held.
func (r *run) hears() bool { return !r.deaf && !r.Ended() && !r.dealtWith() }

// goes notes that the response is on its way and will not be stored.
func (r *run) goes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGo = true
}

// instructions are what the handler has said until now; r may be nil.
func (r *run) instructions() instructions {
	if r == nil {
		return instructions{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said
}
