package main

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// small takes a fraction of a second.
func small() scenario {
	return scenario{
		seed: 1, rps: 2000, keys: 5000, zipf: 1.02, duration: 30 * time.Second, warmup: 10 * time.Second, instances: 4,
		handler: 50 * time.Millisecond, spread: 0.5, ttl: 20 * time.Second, scope: cacheaside.CoalesceAll,
		policy: lru, memory: 1000 * 1458, value: 1100, entry: 1458,
		nearAge: 10 * time.Second, hotWithin: time.Second,
	}
}

func ran(t *testing.T, sc scenario) *result {
	t.Helper()
	r, err := simulate(sc)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// variants are the switches, each turned on alone, and all together.
func variants() map[string]func(*scenario) {
	all := map[string]func(*scenario){
		"plain":      func(*scenario) {},
		"near":       func(s *scenario) { s.near = 200 << 10 },
		"process":    func(s *scenario) { s.scope = cacheaside.CoalesceProcess },
		"none":       func(s *scenario) { s.scope = cacheaside.CoalesceNone },
		"jitter":     func(s *scenario) { s.jitter = 0.5 },
		"ahead":      func(s *scenario) { s.ahead = 0.7 },
		"stale":      func(s *scenario) { s.stale = 10 * time.Second },
		"one-off":    func(s *scenario) { s.oneOff = 0.2 },
		"purges":     func(s *scenario) { s.purges = 100 },
		"prefill":    func(s *scenario) { s.prefill = true },
		"everything": nil,
	}
	all["everything"] = func(s *scenario) {
		for name, set := range all {
			s.memory = 4000 * s.entry // for long enough that something is refreshed
			if name != "everything" && name != "process" && name != "none" {
				set(s)
			}
		}
	}
	return all
}

func TestConservation(t *testing.T) {
	for name, set := range variants() {
		for _, policy := range policies {
			t.Run(name+"/"+policy, func(t *testing.T) {
				sc := small()
				sc.policy = policy
				set(&sc)
				r := ran(t, sc)
				if sum := r.near + r.hits + r.stale + r.collapsed + r.misses; sum != r.requests || r.requests == 0 {
					t.Errorf("%d requests, but %d near hits, %d hits, %d stale, %d collapsed, %d misses are %d",
						r.requests, r.near, r.hits, r.stale, r.collapsed, r.misses, sum)
				}
				if r.calls != r.misses+r.background {
					t.Errorf("%d calls for %d misses and %d runs in the background", r.calls, r.misses, r.background)
				}
				sum := 0.0
				for _, n := range r.perSecond {
					sum += n
				}
				if uint64(sum) != r.calls || r.peak() < sum/r.seconds {
					t.Errorf("%v calls in all seconds, %v at most, and %d in all", sum, r.peak(), r.calls)
				}
				if r.mostBytes > sc.memory || r.bytes != int64(r.entries)*sc.entry {
					t.Errorf("%d bytes at most, %d in the end for %d entries; %d are allowed", r.mostBytes, r.bytes, r.entries, sc.memory)
				}
				if r.nearBytes > sc.near {
					t.Errorf("%d bytes of copies, %d are allowed", r.nearBytes, sc.near)
				}
				if (r.near > 0) != (sc.near > 0) || (r.background > 0) != (sc.ahead > 0 || sc.stale > 0) || r.stale > 0 && sc.stale == 0 || r.stale == 0 && name == "stale" {
					t.Errorf("%d near hits, %d runs in the background, %d stale", r.near, r.background, r.stale)
				}
			})
		}
	}
}

func TestSameSeedSameResult(t *testing.T) {
	for _, policy := range policies {
		sc := small()
		sc.policy = policy
		variants()["everything"](&sc)
		first, second := ran(t, sc), ran(t, sc)
		if !reflect.DeepEqual(first, second) {
			t.Errorf("%s: %+v, then %+v", policy, first, second)
		}
		sc.seed++
		if reflect.DeepEqual(first, ran(t, sc)) {
			t.Errorf("%s: another seed has the same result", policy)
		}
	}
}

func TestZipf(t *testing.T) {
	shares := zipf(1000, 0.8)
	if r := shares[0] / shares[99]; math.Abs(r-math.Pow(100, 0.8)) > 1e-6 {
		t.Errorf("the first key is asked for %v times as often as the hundredth", r)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	tr := newTraffic(rng, 100, 1000, 0.8, 0.25)
	const n = 200_000
	var first, oneOff float64
	var at time.Duration
	fresh := map[uint64]bool{}
	for range n {
		var key uint64
		if at, key = tr.request(); key == 0 {
			first++
		} else if key >= 1000 {
			oneOff++
			if fresh[key] {
				t.Fatalf("%d is asked for twice", key)
			}
			fresh[key] = true
		}
	}
	if got, want := first/n, 0.75*shares[0]; math.Abs(got-want) > 0.05*want {
		t.Errorf("the first key has %v of the requests, want %v", got, want)
	}
	if got := oneOff / n; math.Abs(got-0.25) > 0.01 {
		t.Errorf("%v are one-off, want 0.25", got)
	}
	if got := n / at.Seconds(); math.Abs(got-100) > 2 {
		t.Errorf("%v requests a second, want 100", got)
	}
}

// With room for everything the hit ratio is what the lifetime leaves: see size.go.
func TestWithoutEvictionAsTheFormula(t *testing.T) {
	for name, change := range map[string]func(*scenario){
		"plain": func(*scenario) {}, "jitter": func(s *scenario) { s.jitter = 0.4 },
		"ahead": func(s *scenario) { s.ahead = 0.6 }, "one-off": func(s *scenario) { s.oneOff = 0.3 },
	} {
		sc := small()
		sc.memory, sc.duration, sc.warmup, sc.spread = 1<<40, 120*time.Second, 40*time.Second, 0
		sc.handler = time.Millisecond // so short that hardly anybody waits, which the formula does not know
		change(&sc)
		r := ran(t, sc)
		want := expect(load{rps: sc.rps, keys: sc.keys, zipf: sc.zipf, oneOff: sc.oneOff, ttl: sc.ttl, jitter: sc.jitter, ahead: sc.ahead})
		if got := r.rate(r.calls); math.Abs(got-want.calls) > 0.03*want.calls {
			t.Errorf("%s: %.1f calls a second, the formula says %.1f", name, got, want.calls)
		}
		if got := float64(r.entries); math.Abs(got-want.entries) > 0.06*want.entries {
			t.Errorf("%s: %v entries, the formula says %.0f", name, got, want.entries)
		}
		if got := r.hitRatio(); math.Abs(got-want.hitRatio) > 0.01 {
			t.Errorf("%s: hit ratio %.3f, the formula says %.3f", name, got, want.hitRatio)
		}
	}
}

func TestCoalescing(t *testing.T) {
	sc := small()
	sc.instances, sc.handler, sc.ttl = 16, 500*time.Millisecond, 5*time.Second
	calls := map[cacheaside.CoalescingScope]uint64{}
	for _, sc.scope = range []cacheaside.CoalescingScope{cacheaside.CoalesceAll, cacheaside.CoalesceProcess, cacheaside.CoalesceNone} {
		calls[sc.scope] = ran(t, sc).calls
	}
	if a, p, n := calls[cacheaside.CoalesceAll], calls[cacheaside.CoalesceProcess], calls[cacheaside.CoalesceNone]; !(a < p && p < n) {
		t.Errorf("%d calls with coalescing among all, %d in a process, %d with none", a, p, n)
	}
	// One key that is never stored for long: with coalescing there is one call at a time.
	sc = small()
	sc.keys, sc.instances, sc.ttl, sc.spread, sc.scope = 1, 8, time.Nanosecond, 0, cacheaside.CoalesceAll
	r := ran(t, sc)
	if most := r.seconds/sc.handler.Seconds() + 1; float64(r.calls) > most {
		t.Errorf("%d calls of %v in %v s: two at once", r.calls, sc.handler, r.seconds)
	}
}

func TestJitterSpreadsExpiry(t *testing.T) {
	sc := small()
	sc.memory, sc.prefill, sc.ttl, sc.rps, sc.warmup = 1<<40, true, 15*time.Second, 20_000, time.Second
	without := ran(t, sc).peak()
	sc.jitter = 0.5
	with := ran(t, sc).peak()
	if with > without/2 {
		t.Errorf("%v calls in a second at most with jitter, %v without", with, without)
	}
}

func TestRefreshAheadHidesMisses(t *testing.T) {
	sc := small()
	sc.memory = 1 << 40
	without := ran(t, sc)
	sc.ahead = 0.5
	with := ran(t, sc)
	if with.misses >= without.misses || with.calls <= without.calls {
		t.Errorf("with refresh-ahead %d misses and %d calls, without %d and %d", with.misses, with.calls, without.misses, without.calls)
	}
}

func TestPurgedIsNotStored(t *testing.T) {
	sc := small()
	sc.keys, sc.purges, sc.handler, sc.rps = 1, 1000, time.Second, 1000
	if r := ran(t, sc); r.hits > r.requests/1000 {
		t.Errorf("%d hits of %d requests for what is always being purged", r.hits, r.requests)
	}
}

func TestNearTakesLoadOffTheServer(t *testing.T) {
	sc := small()
	sc.instances = 1 // with more of them, each sees a key too seldom
	without := ran(t, sc)
	sc.near = 1 << 20
	with := ran(t, sc)
	if with.commands >= without.commands*95/100 || with.near == 0 {
		t.Errorf("%d commands with a near tier, %d without; %d near hits", with.commands, without.commands, with.near)
	}
}

func TestBadScenario(t *testing.T) {
	for want, set := range map[string]func(*scenario){
		"-rps": func(s *scenario) { s.rps = 0 }, "-keys": func(s *scenario) { s.keys = 0 }, "-jitter": func(s *scenario) { s.jitter = 1 },
		"-ahead": func(s *scenario) { s.ahead = math.NaN() }, "-policy": func(s *scenario) { s.policy = "fifo" },
		"-warmup": func(s *scenario) { s.warmup = time.Hour }, "-memory": func(s *scenario) { s.memory = 0 },
		"-near-age": func(s *scenario) { s.near, s.nearAge = 1, 0 }, "-purges": func(s *scenario) { s.purges = -1 },
		"-instances": func(s *scenario) { s.instances = 0 }, "-ttl": func(s *scenario) { s.ttl = 0 },
	} {
		sc := small()
		set(&sc)
		if _, err := simulate(sc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one about %s", err, want)
		}
	}
}
