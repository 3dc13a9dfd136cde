package adapter

import (
	"context"
	"sync/atomic"
)

// RunKey is where a handler's context has its [Run]. It is a string because some
// frameworks keep no values of their own under other keys: adapters put
// [Forward.Run] there, into all that the framework gives the handler as a context.
const RunKey = "github.com/cacheaside/cacheaside/core.Run"

// Run is one call of a handler by a handle of a cache. Runs form a chain: within the
// run of one handle the request may come to another handle, or the handler may make
// requests of its own, in this process.
//
// An adapter sets Target and Held before the handler runs; all else is the engine's.
type Run struct {
	// Target is what the adapter knows the request by that runs, to tell it from
	// others which the handler makes with the same context.
	Target string
	// Held, if not nil, is the response that is held back.
	Held Held

	engine any
	parent *Run
	nested bool // parent's handler has made the request itself
	ended  atomic.Bool
	own    RunContext // one allocation less
}

// Begin makes r the run of the handler for req, for an engine, which finds what it
// gives here by Engine.
func (r *Run) Begin(engine any, req *Request) {
	r.engine, r.parent, r.nested = engine, req.Outer, false
	if r.parent == nil {
		r.parent, r.nested = req.Within, true
	}
}

// Engine is what Begin was given.
func (r *Run) Engine() any { return r.engine }

// End says that the handler has returned.
func (r *Run) End() { r.ended.Store(true) }

// Ended reports whether the handler has returned.
func (r *Run) Ended() bool { return r.ended.Load() }

// Parent is the run that r is a part of, nil if there is none.
func (r *Run) Parent() *Run { return r.parent }

// Outer is the run of the same request at a handle further out, nil if there is none.
func (r *Run) Outer() *Run {
	if r.nested {
		return nil
	}
	return r.parent
}

// RunIn returns the run of the handler whose context ctx is, or was derived from; nil
// if that has returned, or there is none.
func RunIn(ctx context.Context) *Run {
	r, _ := ctx.Value(RunKey).(*Run)
	if r == nil || r.Ended() {
		return nil
	}
	return r
}

// Held is a response on its way from the handler to the client.
type Held interface {
	// OnLeave has leaving called with the fields that the client sees when the
	// response leaves; false: it has left, or was let go. Any goroutine may call it.
	OnLeave(leaving func(Header)) bool
}

// Hold has leaving called when the response leaves that r, or a handle further
// out, holds back; false: nobody does. The adapters of handles further in ask it,
// for what they send goes to no client yet. r may be nil.
func (r *Run) Hold(leaving func(Header)) bool {
	for ; r != nil; r = r.Outer() {
		if r.Held != nil && r.Held.OnLeave(leaving) {
			return true
		}
	}
	return false
}
