package cacheaside

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/store"
)

// claim is the right to store what one run of a handler gives. It is a token under the
// lock of the resource: whoever purges the resource deletes that, and what is written
// is written only while it is there. A token is unique for each attempt to get one, and
// an attempt without an answer gives no claim: it may come true after a purge.
type claim struct {
	lock  string     // its key
	token string     // empty: the store orders fills by themselves
	since store.Mark // what was purged by then is older than what the handler will give
	own   bool       // the token is this process's, which has to remove it; else another one's

	mu    sync.Mutex
	renew *time.Timer
	over  bool
}

// claims asks the store for claims, and gives them back.
type claims struct {
	coordinator store.Coordinator
	clock       string
	timeouts    Timeouts
	deadlines   *deadlines
	report      *reporter
	aside       func(func()) // runs what no client waits for
	process     string       // begins the tokens of this cache
	tokens      atomic.Uint64
	live        live
}

// claim asks for a claim as [claims.begin] does, once others know how the policy tells
// URLs apart.
func (c *Cache) claim(ctx context.Context, lock, start string, adopt bool, ahead *lookahead) (cl *claim, held string, err error) {
	for range maxLooks { // a token to adopt may be on its way out
		at := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
		if err := c.ledger.Announce(at, c.way); err != nil {
			c.deadlines.end(at)
			c.storeError("announcing a policy", err)
			return nil, "", err
		}
		if cl, held, err = c.claims.begin(at, lock, start, adopt, ahead); cl != nil || err != nil || !adopt {
			break
		}
	}
	return cl, held, err
}

// moment is claim for a store in this process, which orders fills by themselves.
func (c *Cache) moment(lock string) (store.Mark, error) {
	if err := c.ledger.Announce(context.Background(), c.way); err != nil {
		c.storeError("taking a lock", err)
		return store.Mark{}, err
	}
	return c.claims.moment(lock)
}

var errNoToken = errors.New("what is under the key of a lock is no token of this cache")

// begin asks the store for the lock with a new token that begins with start and, in the
// same command, takes the second look at ahead (nil: none). It returns the claim and the
// token that is under the lock now, empty where the store orders fills by itself. Where
// another run holds the lock there is no claim, since the request is to wait, unless
// adopt is set: then the claim uses the holder's token. The deadline at ends here.
func (c *claims) begin(at *deadline, lock, start string, adopt bool, ahead *lookahead) (*claim, string, error) {
	f := store.Fill{Lock: lock, Token: start + c.token(), TTL: c.timeouts.Lock, Adopt: adopt, Clock: c.clock}
	if ahead != nil {
		f.Key, f.Stamps = ahead.key, ahead.known.Keys
	}
	if !isNote(f.Token) { // now, or a request that finds it under the lock takes it for a leftover
		c.live.add(f.Token)
	}
	begun, err := c.coordinator.Begin(at, f)
	c.deadlines.end(at)
	if !isNote(f.Token) && (err != nil || begun.Token != f.Token) {
		c.live.leave(f.Token, true)
	}
	if err != nil {
		c.report.storeError("taking a lock", err)
		if !errors.Is(err, breaker.ErrOpen) && !errors.Is(err, store.ErrRefused) { // the lock may be taken all the same: perhaps only the answer was lost
			c.swapLater(lock, f.Token, "")
		}
		return nil, "", err
	}
	if ahead != nil {
		ahead.value, ahead.found, ahead.late, ahead.stamps, ahead.read = begun.Value, begun.Found, begun.Late, begun.Stamps, true
	}
	cl := &claim{lock: lock, token: begun.Token, since: begun.Mark}
	bare := strings.TrimPrefix(begun.Token, freeStart)
	switch mine := strings.HasPrefix(bare, c.process); {
	case begun.Token == "":
		return cl, "", nil
	case isNote(begun.Token): // it stays until something is stored
	case begun.Token == f.Token:
		cl.own = true
	case mine && c.live.join(begun.Token):
		cl.own = true
	case mine || !isLockToken(bare):
		// Ours, of a run that is over: its release is on its way, or was lost. Or no
		// token at all, which might never go away. Either gives way.
		if !mine {
			c.report.reportError("taking a lock", errNoToken)
		}
		cl.token, cl.own = f.Token, !isNote(f.Token)
		if cl.own {
			c.live.add(cl.token)
		}
		if !c.swap(lock, begun.Token, cl.token) {
			if cl.own {
				c.live.leave(cl.token, true)
			}
			return nil, begun.Token, nil
		}
	case !adopt && !isFree(begun.Token):
		return nil, begun.Token, nil
	}
	first := c.timeouts.Lock / 3
	if !cl.own && !adopt {
		first = 0 // at once: the holder's lock may be about to expire
	}
	c.prolong(cl, first, time.Now().Add(maxHold))
	return cl, begun.Token, nil
}

func (c *claims) moment(lock string) (store.Mark, error) {
	begun, err := c.coordinator.Begin(context.Background(), store.Fill{Lock: lock, TTL: c.timeouts.Lock, Clock: c.clock})
	return begun.Mark, err
}

// prolong keeps the token alive while the handler runs: a handler that takes longer
// than Timeouts.Lock is not called a second time, and its response is still stored.
func (c *claims) prolong(cl *claim, first time.Duration, until time.Time) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.renew = time.AfterFunc(first, func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.timeouts.Lookup)
		defer cancel()
		held, err := c.coordinator.CompareAndExtend(ctx, cl.lock, cl.token, c.timeouts.Lock)
		if err != nil {
			c.report.storeError("prolonging a lock", err)
		}
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if (held || err != nil) && !cl.over && time.Now().Before(until) {
			cl.renew.Reset(c.timeouts.Lock / 3)
		}
	})
}

// end ends the claim, the first time, and reports whether its token has to be removed.
func (cl *claim) end() (left bool) {
	if cl == nil {
		return false
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.over {
		return false
	}
	cl.over = true
	if cl.renew != nil {
		cl.renew.Stop()
	}
	return cl.own
}

// used is called when a write has removed the token, or has not found it any more.
func (c *claims) used(cl *claim) {
	if cl.end() {
		c.live.leave(cl.token, true)
	}
}

// release gives the claim up. With pass set it leaves a note in place of the token: the
// response cannot be shared, so that nobody is to wait for it.
func (c *claims) release(cl *claim, pass bool) {
	if !cl.end() || !c.live.leave(cl.token, false) {
		return
	}
	next := ""
	if pass {
		next = passStart + cl.token
	}
	c.swapLater(cl.lock, cl.token, next)
}

// swapLater does not keep the client waiting.
func (c *claims) swapLater(lock, token, next string) {
	c.aside(func() {
		_, err := c.swapOnce(lock, token, next)
		if err != nil && !errors.Is(err, breaker.ErrOpen) { // the connection was lost, perhaps
			time.Sleep(firstPoll)
			_, err = c.swapOnce(lock, token, next)
		}
		if err != nil {
			c.report.storeError("releasing a lock", err)
		}
	})
}

// swap puts next in the place of token, and reports whether it did.
func (c *claims) swap(lock, token, next string) bool {
	held, err := c.swapOnce(lock, token, next)
	if err != nil {
		c.report.storeError("taking a lock from who is gone", err)
	}
	return held && err == nil
}

func (c *claims) swapOnce(lock, token, next string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeouts.Write)
	defer cancel()
	ttl := c.timeouts.Lock
	if isNote(next) {
		ttl = passAge
	}
	return c.coordinator.CompareAndSwap(ctx, lock, token, next, ttl)
}

// locks reports whether coalescing reaches other processes.
func (c *Cache) locks() bool {
	return c.coordinator != nil && !c.inProcess && c.policy.Coalescing.Scope == CoalesceAll
}
