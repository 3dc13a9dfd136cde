package protocol

import (
	"flag"
	"sync/atomic"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// The scenarios that are tried. Each purge comes after a change of the database, at
// any time; what is evicted, and how often, is said in the manner of environment.
func scenarios() []*model {
	varies := func(uint8) bool { return true }
	first := func(version uint8) bool { return version == 0 }
	later := func(version uint8) bool { return version > 0 }
	all := []*model{
		// The URL, by its keys alone: the token decides.
		{name: "url", requests: two, purges: of(ofURL, ofURL), evict: "vl", times: 2},
		{name: "url, three requests", requests: three, purges: of(ofURL), evict: "vl", times: 1},
		{name: "url, three requests of one process", requests: threeOfOne, purges: of(ofURL, ofURL), evict: "vl", times: 1},
		{name: "url, one by itself", requests: asks(in(0, together), in(1, alone), in(1, together)), purges: of(ofURL), evict: "vl", times: 1},
		{name: "url, by process", requests: asks(in(0, apart), in(1, alone), in(0, apart)), purges: of(ofURL, ofURL), evict: "vl", times: 1},
		{name: "url, in the background", requests: asks(in(0, behind), in(0, together), in(1, together)), purges: of(ofURL), evict: "vl", times: 1, expiries: 1},
		{name: "url, freshened", requests: asks(in(0, together), then(1, 0, together), in(1, alone)), purges: of(ofURL), evict: "vl", times: 1, expiries: 2},
		{name: "url, not for others", requests: asks(in(0, together), in(1, alone), in(1, together)), purges: of(ofURL), evict: "l", times: 1, passes: true},
		{name: "url, failing handlers", requests: three, purges: of(ofURL), fails: true},
		{name: "url, a late SET", requests: two, purges: of(ofURL, ofURL), evict: "vl", times: 1, loses: true},
		{name: "url, a late SET, failing", requests: threeOfOne, purges: of(ofURL), loses: true, fails: true},

		// A tag: numbers decide.
		{name: "tag", requests: two, purges: of(ofA, ofNone, ofA), inTurn: true, tags: 1, evict: "vls", times: 1},
		{name: "tag, stamps evicted", requests: two, purges: of(ofA, ofNone, ofNone), inTurn: true, tags: 1, evict: "sr", times: 2},
		{name: "tag, a ring of one", requests: two, purges: of(ofA, ofNone, ofNone), inTurn: true, tags: 1, evict: "sv", times: 2, ring: 1},
		{name: "tag, a ring of three", requests: two, purges: of(ofA, ofNone, ofA), inTurn: true, tags: 1, evict: "s", times: 2, ring: 3},
		{name: "tag, read in any order", requests: two, purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "sc", times: 1, anyOrder: true},
		{name: "tag, three requests of one process", requests: threeOfOne, purges: of(ofA, ofNone), tags: 1, evict: "s", times: 1},
		{name: "tag, three requests", requests: three, purges: of(ofA), tags: 1, evict: "vs", times: 1},
		{name: "tag and url", requests: two, purges: of(ofA, ofURL), tags: 1, evict: "vlsc", times: 1},
		{name: "tag, one by itself", requests: asks(in(0, together), in(1, alone)), purges: of(ofA, ofNone), tags: 1, evict: "vls", times: 1},
		{name: "tag, freshened", requests: asks(in(0, together), then(1, 0, together)), purges: of(ofA, ofNone), tags: 1, evict: "vls", times: 1, expiries: 2},
		{name: "tag, in the background", requests: asks(in(0, behind), in(0, together), in(1, together)), purges: of(ofA), tags: 1, evict: "s", times: 1, expiries: 1},
		{name: "two tags", requests: two, purges: of(ofA, ofB), tags: 3, evict: "vs", times: 1},
		{name: "two tags, a ring of one", requests: two, purges: of(ofA, ofB), inTurn: true, tags: 3, evict: "cs", times: 2, ring: 1},
		{name: "softly, then for good", requests: two, purges: of(ofASoftly, ofA), tags: 1, evict: "vls", times: 1},
		{name: "softly, three requests", requests: three, purges: of(ofASoftly), tags: 1, evict: "sc", times: 1},
		{name: "softly, a ring of one", requests: two, purges: of(ofASoftly, ofNone, ofASoftly), inTurn: true, tags: 1, evict: "s", times: 1, ring: 1},

		// Lost clocks: epochs decide.
		{name: "clock", requests: two, purges: of(ofA, ofA), tags: 1, evict: "c", times: 2},
		{name: "clock and stamps", requests: two, purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "cs", times: 3},
		{name: "clock, three requests", requests: three, purges: of(ofA), tags: 1, evict: "cs", times: 2},
		{name: "everything lost", requests: two, purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "ecs", times: 2},

		// Variants and other locks: the tag of the URL decides.
		{name: "variants", requests: two, purges: of(ofURL, ofURL), vary: varies, evict: "vs", times: 1},
		{name: "variants, three requests", requests: three, purges: of(ofURL), vary: varies, evict: "s", times: 1},
		{name: "variants at first", requests: two, purges: of(ofURL), vary: first, knows: 1, evict: "vls", times: 1},
		{name: "variants at first, which both know", requests: two, purges: of(ofURL, ofURL), vary: first, knows: 3, evict: "vs", times: 1},
		{name: "variants later", requests: two, purges: of(ofURL, ofURL), inTurn: true, vary: later, evict: "vls", times: 1},
		{name: "variants with a tag", requests: two, purges: of(ofURL, ofA), tags: 1, vary: varies, evict: "s", times: 1},
		{name: "variants, clock", requests: two, purges: of(ofURL), vary: varies, evict: "csv", times: 2},
		{name: "variants, a ring of one", requests: two, purges: of(ofURL, ofNone), vary: varies, evict: "s", times: 1, ring: 1},
		{name: "another lock", requests: asks(aside(0), in(1, together)), purges: of(ofURL, ofURL), evict: "vls", times: 1},

		// The journal: leases decide.
		{name: "everything", requests: two, purges: of(ofAll), evict: "vjc", times: 1, ticks: 2},
		{name: "everything twice", requests: asks(in(0, together), then(1, 1, together)), purges: of(ofAll, ofAll), evict: "jc", times: 1, ticks: 2},
		{name: "everything, three requests of one process", requests: threeOfOne, purges: of(ofAll), ticks: 2},
		{name: "everything and a prefix elsewhere", requests: asks(in(0, together), then(1, 1, together)), purges: of(ofAll, ofPrefix), evict: "jc", times: 1, ticks: 2},
		{name: "a prefix elsewhere", requests: asks(in(0, together)), purges: of(ofPrefix, ofPrefix), tags: 1, ticks: 2},
		{name: "everything and a tag", requests: two, purges: of(ofAll, ofA), inTurn: true, tags: 1, evict: "s", times: 1, ticks: 2},

		// The near tier of the first process: word of changes decides.
		{name: "near", requests: asks(in(0, together), then(0, 1, together), in(1, together)), purges: of(ofNone, ofURL), near: true},
		{name: "near, tag", requests: asks(in(0, together), then(0, 1, together)), purges: of(ofNone, ofA), tags: 1, evict: "s", times: 1, near: true},
		{name: "near, tag, clock", requests: asks(in(0, together), then(0, 1, together)), purges: of(ofNone, ofA), tags: 1, evict: "c", times: 1, near: true, anyOrder: true},
		{name: "near, three requests", requests: threeOfOne, purges: of(ofNone, ofA), tags: 1, near: true},
		{name: "near, everything", requests: asks(in(0, together), then(0, 1, together)), purges: of(noPurge, ofAll), ticks: 2, near: true},
		{name: "near, variants", requests: asks(in(0, together), then(0, 1, together)), purges: of(ofNone, ofURL), vary: varies, evict: "s", times: 1, near: true},
	}
	for _, m := range all {
		m.complete()
	}
	return all
}

// complete fills in what is usual.
func (m *model) complete() {
	if m.length = m.ring; m.length == 0 {
		m.length = 2
	}
	if m.polls == 0 {
		m.polls = 1
	}
}

var (
	two        = asks(in(0, together), in(1, together))
	three      = asks(in(0, together), in(1, together), in(0, together))
	twoOfOne   = asks(in(0, together), in(0, together))
	threeOfOne = asks(in(0, together), in(0, together), in(0, together))
)

func asks(a ...asker) []asker { return a }
func of(p ...purge) []purge   { return p }

// in is a request of a process, then one that begins when the request before has ended
// that is the number after, and aside one with a lock of its own.
func in(process uint8, how how) asker { return asker{process: process, how: how} }
func then(process uint8, after int, how how) asker {
	return asker{process: process, after: after, how: how}
}
func aside(process uint8) asker { return asker{process: process, aside: true} }

var full = flag.Int("protocol.full", 0, "how many `states` of a scenario TestProtocol tries at most (0: 2,500, or 20,000 in a long run, which take a few seconds in all)")

// brief is how many states of a scenario are tried without -protocol.full.
var brief = storetest.Rounds(2_500, 20_000)

// TestProtocol: whatever happens in whatever order, nothing goes wrong. It tries the
// shortest ways only; with
//
//	go test ./internal/protocol -run TestProtocol -v -timeout 1h -protocol.full 2000000
//
// most of the scenarios to their end, which takes minutes, and 5 GB of memory.
func TestProtocol(t *testing.T) {
	if raceEnabled {
		t.Skip("it is slow, and nothing in it is concurrent")
	}
	var states, whole atomic.Int64
	all := scenarios()
	t.Cleanup(func() {
		t.Logf("%d states of %d scenarios, %d of which to their end", states.Load(), len(all), whole.Load())
	})
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if m.most = brief; *full > 0 {
				m.most = *full
			}
			o := m.explore()
			states.Add(int64(o.states))
			if o.whole {
				whole.Add(1)
			}
			if o.wrong != fine {
				t.Error(o)
			} else {
				t.Logf("%v, to the end: %v", o, o.whole)
			}
		})
	}
}

// TestMutants: without any of the rules something goes wrong, and what is known of.
func TestMutants(t *testing.T) {
	if raceEnabled || !storetest.Long() {
		t.Skip("it is slow, and nothing in it is concurrent: CACHEASIDE_LONG=1 runs it without the race detector")
	}
	var tried [mutants]bool
	states := 0
	for _, mu := range mutations {
		tried[mu.without] = true
		m := mu.in
		m.complete()
		m.without = mu.without
		o := m.explore()
		states += o.states
		if o.wrong != mu.wrong {
			t.Errorf("without the rule that %s: %v, want %v", mu.rule, o, mu.wrong)
		}
		m.without, m.most = noMutant, o.states
		if o = m.explore(); o.wrong != fine {
			t.Errorf("with the rule that %s: %v", mu.rule, o)
		}
		states += o.states
	}
	for m := noMutant + 1; m < mutants; m++ {
		if !tried[m] {
			t.Errorf("nothing is tried without rule %d", m)
		}
	}
	t.Logf("%d states", states)
}
