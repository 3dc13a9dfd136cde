package main

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// scenario is what is simulated. Times are virtual.
type scenario struct {
	seed      uint64
	rps       float64
	keys      int
	zipf      float64 // exponent
	oneOff    float64 // share of requests for what nobody asks for again
	duration  time.Duration
	warmup    time.Duration // at the beginning, not counted
	prefill   bool          // everything is stored at the beginning, at once
	instances int

	handler time.Duration // mean
	spread  float64       // of the logarithm of its time
	ttl     time.Duration
	jitter  float64
	ahead   float64 // RefreshAhead
	stale   time.Duration
	scope   cacheaside.CoalescingScope
	purges  float64 // of URLs, per second, by the same shares as requests

	policy string
	memory int64 // of the server, in bytes
	value  int64 // bytes of an entry as it is sent
	entry  int64 // bytes that an entry takes on the server

	near      int64 // bytes per instance; 0: none
	nearAge   time.Duration
	hotWithin time.Duration
}

// check says what is wrong.
func (s *scenario) check() error {
	fraction := func(name string, f float64) error {
		if !(f >= 0 && f < 1) {
			return fmt.Errorf("-%s: %v is no fraction: use a number from 0 to less than 1", name, f)
		}
		return nil
	}
	positive := func(name string, ok bool) error {
		if !ok {
			return fmt.Errorf("-%s: it must be more than 0", name)
		}
		return nil
	}
	var unnegative error
	if s.spread < 0 || s.purges < 0 || s.near < 0 || s.stale < 0 || s.warmup < 0 || !(s.zipf >= 0) {
		unnegative = errors.New("-spread, -purges, -near, -stale, -warmup and -zipf: none of them may be negative")
	}
	var late error
	if s.warmup >= s.duration {
		late = fmt.Errorf("-warmup: %v leaves nothing of -duration %v: make it shorter", s.warmup, s.duration)
	}
	_, unknown := newPolicy(s.policy, nil, nil)
	return errors.Join(
		positive("rps", s.rps > 0), positive("keys", s.keys > 0), positive("instances", s.instances > 0),
		positive("duration", s.duration > 0), positive("ttl", s.ttl > 0), positive("handler", s.handler > 0),
		positive("memory", s.memory > 0), positive("body", s.value > 0 && s.entry > 0),
		positive("near-age and -hot-within", s.near == 0 || s.nearAge > 0 && s.hotWithin > 0),
		fraction("one-off", s.oneOff), fraction("jitter", s.jitter), fraction("ahead", s.ahead), unnegative, late, unknown,
	)
}

// result is what was counted after the warm-up.
type result struct {
	seconds                              float64
	requests                             uint64
	near, hits, stale, collapsed, misses uint64 // how they were answered
	calls                                uint64 // of the handler
	background                           uint64 // of these
	commands                             uint64 // of the server
	evicted                              uint64
	perSecond                            []float64 // calls of the handler
	entries                              int       // on the server, in the end
	bytes, mostBytes                     int64     // in the end, and ever
	nearBytes                            int64     // the most that a process had
}

// hitRatio is that of the metrics: the share of requests that ran no handler.
func (r *result) hitRatio() float64 {
	return float64(r.near+r.hits+r.stale+r.collapsed) / float64(r.requests)
}

func (r *result) nearRatio() float64 { return float64(r.near) / float64(r.requests) }

func (r *result) rate(n uint64) float64 { return float64(n) / r.seconds }

// peak is the most calls in a second.
func (r *result) peak() (most float64) {
	for _, n := range r.perSecond {
		most = max(most, n)
	}
	return most
}

// What a request sends, as core/dragonfly's documentation lists it.
const (
	commandsLookup = 1 // GET
	commandsLock   = 3 // SET, GET, GETRANGE; again for each poll
	commandsWrite  = 1 // EVALSHA
	commandsCopy   = 5 // CLIENT CACHING, MULTI, PTTL, GET, EXEC
	commandsPurge  = 5 // 2 EVALSHA, 3 UNLINK
)

// What the engine does: core/coalesce.go, core/refresh.go.
const (
	firstPoll, lastPoll = 5 * time.Millisecond, 100 * time.Millisecond
	refreshPause        = time.Second
)

// flightKey is of those that share a call. Instance is -1 for all of them.
type flightKey struct {
	key      uint64
	instance int
}

// flight is a call of the handler that is under way.
type flight struct {
	flightKey
	by      int // instance
	began   time.Duration
	took    time.Duration
	purged  bool                  // so that nothing is stored
	pollers map[int]time.Duration // other instances, since when
}

type eventKind uint8

const (
	done eventKind = iota
	expiry
	purge
)

type event struct {
	at     time.Duration
	seq    uint64 // events of one moment have an order
	kind   eventKind
	flight *flight
	it     *item
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(any)     {} // see simulation.schedule, which makes no garbage
func (e *events) Pop() any     { return nil }

type refreshKey struct {
	key      uint64
	instance int
}

// simulation is a scenario under way.
type simulation struct {
	scenario
	rng       *rand.Rand
	traffic   *traffic
	server    *server
	nears     []*near
	flights   map[flightKey]*flight
	running   map[uint64]map[*flight]struct{} // by key, for purges
	refreshes map[refreshKey]time.Duration
	events    events
	seq       uint64
	now       time.Duration
	result
}

// simulate runs a scenario. The same one has always the same result.
func simulate(sc scenario) (*result, error) {
	if err := sc.check(); err != nil {
		return nil, err
	}
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(sc.seed, n)) }
	s := &simulation{
		scenario: sc, rng: stream(1), traffic: newTraffic(stream(2), sc.rps, sc.keys, sc.zipf, sc.oneOff),
		flights: map[flightKey]*flight{}, running: map[uint64]map[*flight]struct{}{}, refreshes: map[refreshKey]time.Duration{},
	}
	var err error
	if s.server, err = newServer(sc.policy, sc.memory, sc.entry, stream(3)); err != nil {
		return nil, err
	}
	for range sc.instances {
		if sc.near > 0 {
			s.nears = append(s.nears, newNear(sc.near, sc.nearAge, sc.hotWithin))
		}
	}
	s.seconds = (sc.duration - sc.warmup).Seconds()
	s.perSecond = make([]float64, int(math.Ceil(s.seconds)))
	s.run()
	return &s.result, nil
}

func (s *simulation) run() {
	if s.prefill {
		for k := s.keys - 1; k >= 0; k-- { // the most popular ones last, so that they stay
			s.store(uint64(k), s.handler)
		}
	}
	s.nextPurge()
	for {
		at, key := s.traffic.request()
		for len(s.events) > 0 && s.events[0].at <= min(at, s.duration) {
			s.handle(s.next())
		}
		if at >= s.duration {
			break
		}
		s.now = at
		s.request(key, s.rng.IntN(s.instances))
	}
	s.entries, s.bytes, s.evicted = len(s.server.items), s.server.bytes, s.server.evicted
}

func (s *simulation) schedule(e event) {
	s.seq++
	e.seq = s.seq
	s.events = append(s.events, e)
	heap.Fix(&s.events, len(s.events)-1)
}

func (s *simulation) next() event {
	e, last := s.events[0], len(s.events)-1
	s.events[0] = s.events[last]
	s.events = s.events[:last]
	if last > 0 {
		heap.Fix(&s.events, 0)
	}
	return e
}

func (s *simulation) handle(e event) {
	s.now = e.at
	switch e.kind {
	case done:
		s.done(e.flight)
	case expiry:
		if s.server.items[e.it.key] == e.it {
			s.server.remove(e.it)
		}
	case purge:
		key := s.traffic.known()
		if it := s.server.items[key]; it != nil {
			s.server.remove(it)
		}
		for f := range s.running[key] {
			f.purged = true // its token is gone, and nobody shares it any more
			if s.flights[f.flightKey] == f {
				delete(s.flights, f.flightKey)
			}
		}
		s.send(commandsPurge)
		s.nextPurge()
	}
}

func (s *simulation) nextPurge() {
	if s.purges > 0 {
		s.schedule(event{at: s.now + time.Duration(s.rng.ExpFloat64()*float64(time.Second)/s.purges), kind: purge})
	}
}

func (s *simulation) counted() bool { return s.now >= s.warmup }

func (s *simulation) count(n *uint64) {
	if s.counted() {
		*n++
	}
}

func (s *simulation) send(commands uint64) {
	if s.counted() {
		s.commands += commands
	}
}

func (s *simulation) request(key uint64, instance int) {
	s.count(&s.requests)
	if s.nears != nil {
		if it := s.nears[instance].get(key, s.server.items[key], s.now); it != nil && s.fresh(it) {
			s.count(&s.result.near)
			if s.early(it) {
				s.refresh(key, instance)
			}
			return
		}
	}
	s.send(commandsLookup)
	it := s.server.get(key, s.now)
	switch {
	case it != nil && s.fresh(it):
		s.count(&s.hits)
		if s.early(it) {
			s.refresh(key, instance)
		}
	case it != nil && s.now-it.stored-it.lifetime <= s.scenario.stale:
		s.count(&s.result.stale)
		s.refresh(key, instance)
	default:
		s.miss(key, instance)
		return
	}
	if s.nears != nil && s.nears[instance].admit(it, s.value, s.now) {
		s.nearBytes = max(s.nearBytes, s.nears[instance].bytes)
		s.send(commandsCopy)
	}
}

func (s *simulation) fresh(it *item) bool { return s.now-it.stored < it.lifetime }

// early is visit.early in core/refresh.go.
func (s *simulation) early(it *item) bool {
	if s.ahead == 0 {
		return false
	}
	due := time.Duration(float64(it.lifetime) * s.ahead)
	age := s.now - it.stored
	const most = 20
	if age >= due {
		return true
	}
	if age+it.took*most < due {
		return false
	}
	return age-time.Duration(float64(it.took)*math.Log(1-s.rng.Float64())) >= due
}

// shared is the flight that an instance would join or begin.
func (s *simulation) shared(key uint64, instance int) flightKey {
	if s.scope == cacheaside.CoalesceAll {
		instance = -1
	}
	return flightKey{key, instance}
}

func (s *simulation) miss(key uint64, instance int) {
	if s.scope != cacheaside.CoalesceNone {
		if f := s.flights[s.shared(key, instance)]; f != nil {
			s.count(&s.collapsed)
			s.join(f, instance)
			return
		}
	}
	s.count(&s.misses)
	s.call(key, instance)
}

// join has the instance wait for a flight. One of its requests polls, if it is that of
// another instance.
func (s *simulation) join(f *flight, instance int) {
	if f.by == instance {
		return
	}
	if _, polls := f.pollers[instance]; polls {
		return
	}
	if f.pollers == nil {
		f.pollers = map[int]time.Duration{}
	}
	f.pollers[instance] = s.now
}

// refresh has a request run again in the background, unless that is happening or has
// just happened. It shares its call with others of its instance whatever the scope is.
func (s *simulation) refresh(key uint64, instance int) {
	at := refreshKey{key, instance}
	if last, ok := s.refreshes[at]; ok && s.now-last < refreshPause {
		return
	}
	flight := s.shared(key, instance)
	f := s.flights[flight]
	if f != nil && f.by == instance {
		return
	}
	s.refreshes[at] = s.now
	if f != nil {
		s.join(f, instance)
		return
	}
	s.count(&s.background)
	s.call(key, instance)
}

// call has the handler run.
func (s *simulation) call(key uint64, instance int) {
	// Log-normal, with the mean that is wanted.
	took := float64(s.handler) * math.Exp(s.spread*s.rng.NormFloat64()-s.spread*s.spread/2)
	f := &flight{flightKey: s.shared(key, instance), by: instance, began: s.now, took: time.Duration(took)}
	s.count(&s.calls)
	if s.counted() {
		s.perSecond[int((s.now-s.warmup)/time.Second)]++
	}
	s.send(commandsLock)
	if s.flights[f.flightKey] == nil {
		s.flights[f.flightKey] = f
	}
	if s.running[key] == nil {
		s.running[key] = map[*flight]struct{}{}
	}
	s.running[key][f] = struct{}{}
	s.schedule(event{at: s.now + f.took, kind: done, flight: f})
}

func (s *simulation) done(f *flight) {
	if s.flights[f.flightKey] == f {
		delete(s.flights, f.flightKey)
	}
	delete(s.running[f.key], f)
	if len(s.running[f.key]) == 0 {
		delete(s.running, f.key)
	}
	s.send(commandsWrite)
	for _, since := range f.pollers {
		s.send(commandsLock * polls(s.now-since))
	}
	if !f.purged {
		s.store(f.key, f.took)
	}
}

// polls is how often a request looks that waits so long.
func polls(wait time.Duration) (n uint64) {
	pause, waited := firstPoll, time.Duration(0)
	for n = 1; waited < wait; n++ {
		waited += pause
		pause = min(pause*3/2, lastPoll)
	}
	return n
}

func (s *simulation) store(key uint64, took time.Duration) {
	// jitter in core/admit.go: evenly up to the fraction.
	lifetime := time.Duration(float64(s.ttl) * (1 - s.jitter*s.rng.Float64()))
	it := &item{
		key: key, bytes: s.entry, stored: s.now, lifetime: lifetime, expires: s.now + lifetime + s.scenario.stale,
		took: took,
	}
	s.server.set(it, s.now)
	s.mostBytes = max(s.mostBytes, s.server.bytes)
	s.schedule(event{at: it.expires, kind: expiry, it: it})
}
