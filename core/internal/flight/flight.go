// Package flight lets requests that want the same thing at the same time wait
// for one of them, in this process.
package flight

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome says what became of a flight.
type Outcome uint8

// The outcomes.
const (
	// Retry: the leader failed, or found nobody waiting. Look again; whoever
	// comes first leads the next flight.
	Retry Outcome = iota
	// Shared: the value is for everybody.
	Shared
	// Failed: there is nothing better than what is stored, if that is allowed.
	Failed
	// Pass: what the leader got is for nobody else. Go on without a flight.
	Pass
	// TimedOut: the flight did not end in time.
	TimedOut
	// Cancelled: the waiter's context ended first.
	Cancelled
	// Late: what would be Shared is for those who joined earlier. Look again, and
	// join the next flight: the leader has not failed.
	Late
)

const (
	shards = 64
	// slots is how many keys apart EndedSince can tell.
	slots = 1024
)

// Group holds the flights under way, which end with a T, and to which leaders
// may attach an L. The zero value is ready for use, and all its methods may be
// called concurrently.
type Group[T, L any] struct {
	shards [shards]shard[T, L]
	ended  atomic.Uint64
	last   [slots]atomic.Uint64 // by key: ended, as the last flight left it
}

type shard[T, L any] struct {
	mu      sync.Mutex
	flights map[string]*Flight[T, L]
}

// Flight is one attempt to get something, by its leader.
type Flight[T, L any] struct {
	Leader  L // the leader's own; saves it an allocation
	group   *Group[T, L]
	key     string
	hash    uint64
	began   time.Time
	done    chan struct{} // made by the first who waits
	ended   bool
	phase   int // see Advance
	before  int // Shared is for those who joined in an earlier phase
	waiting int
	outcome Outcome
	value   T
}

var seed = maphash.MakeSeed()

// Join returns the flight under way for key, or a new one that the caller
// leads and must end. The ticket is for Wait.
func (g *Group[T, L]) Join(key string) (f *Flight[T, L], leads bool, ticket int) {
	h := maphash.String(seed, key)
	s := &g.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil {
		f.follow()
		return f, false, f.phase
	}
	return s.start(g, key, h), true, 0
}

// TryLead returns a new flight for key, that the caller leads and must end. If
// there is one already, it returns that.
func (g *Group[T, L]) TryLead(key string) (f *Flight[T, L], leads bool) {
	h := maphash.String(seed, key)
	s := &g.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil {
		return f, false
	}
	return s.start(g, key, h), true
}

func (s *shard[T, L]) start(g *Group[T, L], key string, h uint64) *Flight[T, L] {
	f := &Flight[T, L]{group: g, key: key, hash: h, began: time.Now(), before: math.MaxInt}
	if s.flights == nil {
		s.flights = make(map[string]*Flight[T, L])
	}
	s.flights[key] = f
	return f
}

// Advance begins a new phase, and returns it. A leader does so just before it
// looks for a value, or makes sure that it has not been revoked: who joins later
// may have come after a revocation that the leader has not seen.
func (f *Flight[T, L]) Advance() int {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	f.phase++
	return f.phase
}

// ValidBefore says that the value is good for those who joined before phase; for the
// others Shared is Late.
func (f *Flight[T, L]) ValidBefore(phase int) {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	f.before = phase
}

// Ended is the number of flights that have ended. It costs one atomic load.
func (g *Group[T, L]) Ended() uint64 { return g.ended.Load() }

// EndedSince reports whether a flight for f's key may have ended since Ended
// returned n. If so, what its leader has stored may have been missed. It errs
// on the side of true.
func (f *Flight[T, L]) EndedSince(n uint64) bool { return f.group.last[f.hash%slots].Load() > n }

// Age is how long ago f began.
func (f *Flight[T, L]) Age() time.Duration { return time.Since(f.began) }

// Key is what Join was given.
func (f *Flight[T, L]) Key() string { return f.key }

// Over reports whether f has ended.
func (f *Flight[T, L]) Over() bool {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.ended
}

// Follow lets the leader wait for its own flight, if somebody else is to end it.
func (f *Flight[T, L]) Follow() {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	f.follow()
}

func (f *Flight[T, L]) follow() {
	f.waiting++
	if f.done == nil {
		f.done = make(chan struct{})
		if f.ended {
			close(f.done)
		}
	}
}

// Waiting is how many wait for f now.
func (f *Flight[T, L]) Waiting() int {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.waiting
}

// End ends f, and reports whether it was the first to do so: only the first
// call counts. The value is meaningful with Shared, and must not be changed any
// more.
func (f *Flight[T, L]) End(o Outcome, value T) bool {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.ended {
		return false
	}
	f.ended, f.outcome, f.value = true, o, value
	delete(s.flights, f.key)
	// Before the next leader can exist.
	f.group.last[f.hash%slots].Store(f.group.ended.Add(1))
	if f.done != nil {
		close(f.done)
	}
	return true
}

// Wait waits for the end of a flight that the caller follows with ticket, for
// timeout at most.
func (f *Flight[T, L]) Wait(ctx context.Context, ticket int, timeout time.Duration) (Outcome, T) {
	var none T
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.done:
		if f.outcome == Shared && ticket >= f.before {
			return Late, none
		}
		return f.outcome, f.value
	case <-ctx.Done():
		f.Leave()
		return Cancelled, none
	case <-timer.C:
		f.Leave()
		return TimedOut, none
	}
}

// EndsWithin waits for the end of a flight that the caller follows, and goes on to
// follow: for timeout, or until ctx ends, and reports whether it is worth while to
// call Wait.
func (f *Flight[T, L]) EndsWithin(ctx context.Context, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
	case <-timer.C:
		return false
	}
	return true
}

// Leave is for who follows f and does not wait.
func (f *Flight[T, L]) Leave() {
	s := &f.group.shards[f.hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
}
