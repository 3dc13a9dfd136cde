package cacheaside

import (
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Outcome is what the cache did with a request, for middleware in front of it: see
// WithOutcome of the adapters. Of handles behind one another the one nearest to the handler
// that dealt with the request tells.
type Outcome struct {
	Result observe.Result
	// Hit says that no handler ran for the request: the answer, fresh or stale, is from the
	// cache, or is what another request got from the handler (observe.ResultCollapsed). It
	// is what X-Cache says.
	Hit    bool
	Stale  observe.Stale  // why a stale response has answered
	Cause  observe.Cause  // why the handler was asked
	Bypass observe.Reason // why the cache had nothing to do with the request
	// NotStored is why the handler's response was not stored, and Stored says that it was
	// handed to the store. Of one whose body the server reads later (Fiber's streams) neither
	// is known.
	NotStored observe.Reason
	Stored    bool
	// Age and TTL are those of the stored response that has answered, TTL negative when it
	// is stale. Of a response that is Stored TTL is how long it will be fresh.
	Age, TTL time.Duration
	// Policy is the Policy.Name of the handle.
	Policy string
}

// XCache is Result as the X-Cache field has it: "HIT", "MISS" or "BYPASS". A response that
// the handler was asked to validate is a MISS.
func (o Outcome) XCache() string {
	switch {
	case o.Hit:
		return xcacheHit
	case o.Result == observe.ResultBypass:
		return xcacheBypass
	}
	return xcacheMiss
}

// What X-Cache says. An error of the cache's own is a MISS.
const xcacheHit, xcacheMiss, xcacheBypass = "HIT", "MISS", "BYPASS"

// OutcomeIn returns what a cache has left in an account, for adapters. False: none has
// dealt with the request, or one still does. The account may be nil.
func OutcomeIn(a *adapter.Account) (Outcome, bool) {
	if a == nil {
		return Outcome{}, false
	}
	o, ok := a.Given().(*Outcome)
	if !ok {
		return Outcome{}, false
	}
	return *o, true
}

// answersFor takes over from f, a handle further out, what that is to tell of the request.
func (v *visit) answersFor(f *run) {
	if v.req.XCache == "" {
		v.req.XCache = f.xcache
	}
	if v.req.Account == nil && f.account != nil {
		v.req.Account = f.account
		v.accountable()
	}
}

// accountable is called when somebody asks for the outcome, before there is any.
func (v *visit) accountable() {
	if !v.observed {
		v.told = told{}
	}
}

// giveAccount leaves the outcome where it is asked for, when the request is over: also
// when a panic goes through.
func (v *visit) giveAccount() {
	if v.furtherIn() || v.explained != nil && !v.explained.send {
		return
	}
	o := v.outcome()
	v.req.Account.Give(o)
	for f := range outers(&v.req) {
		if f.handle.shared == v.c.shared && f.account != nil && f.account != v.req.Account {
			f.account.Give(o)
		}
	}
}

func (v *visit) outcome() *Outcome {
	o := &Outcome{
		Result: v.result, Stale: v.stood, Cause: v.cause, Policy: v.c.policy.Name, Stored: v.kept && v.write == nil,
		Bypass: observe.ReasonOf(v.bypassed), NotStored: observe.ReasonOf(v.unstored),
	}
	if v.ran == ranBegun || v.result == 0 { // it panicked, or there was no answer
		o.Result, o.Stored = observe.ResultError, false
	}
	switch o.Result {
	case observe.ResultBypass:
		o.Cause = 0
	case observe.ResultHit, observe.ResultStale, observe.ResultCollapsed, observe.ResultRevalidated:
		o.Age, o.TTL = v.age(v.answered), v.decide(v.answered).TTL
		o.Hit = v.ran == ranNot
		if o.Hit && o.Result != observe.ResultCollapsed && o.Stale != observe.StaleIfError && o.Stale != observe.StaleSoftTimeout {
			o.Cause = 0
		}
	default:
		if o.Stored {
			o.TTL = v.lifetime
		}
	}
	return o
}

// fromCache is what X-Cache says of an answer that is stored.
func (v *visit) fromCache() string {
	if v.ran == ranNot {
		return xcacheHit
	}
	return xcacheMiss
}

// statusFields are Cache-Status and, where xcache names it, the field that says what.
func statusFields(s httprules.CacheStatus, xcache, what string) adapter.Fields {
	return withXCache(adapter.Fields{{Name: "Cache-Status", Value: statusValue(s), Op: adapter.OpAdd}}, xcache, what)
}

// withXCache adds the field that says what, where name is not empty, in the place of all
// lines that are there.
func withXCache(fields adapter.Fields, name, what string) adapter.Fields {
	if name == "" {
		return fields
	}
	return append(fields, adapter.Field{Name: name, Op: adapter.OpDel}, adapter.Field{Name: name, Value: what})
}
