package storetest

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
)

// stamper is a store under test that can keep stamps.
type stamper struct {
	one
	stamps core.Stamper
	clock  string
}

func (s *suite) newStamper(t *testing.T) stamper {
	t.Helper()
	o := s.new(t)
	o.prefix += "{stamps}:"
	st, ok := o.Store.(core.Stamper)
	if !ok {
		t.Skip("the store is no core.Stamper")
	}
	return stamper{o, st, o.prefix + "clock"}
}

// another is a second store with the same stamps if there can be one, or the
// same store.
func (s *suite) another(st stamper) stamper {
	st.Helper()
	other := s.open(st.T)
	st.set("shared", []byte("v"), time.Hour)
	if _, found, err := other.Get(st.ctx(), st.prefix+"shared"); err != nil || !found {
		return st
	}
	st.one.Store, st.stamps = other, other.(core.Stamper)
	return st
}

func (st stamper) keys(names ...string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = st.prefix + name
	}
	return keys
}

func (st stamper) sequence() uint64 {
	st.Helper()
	n, err := st.stamps.Sequence(st.ctx(), st.clock)
	if err != nil || n == 0 {
		st.Fatalf("Sequence: %d, %v", n, err)
	}
	return n
}

func (st stamper) raise(floor uint64, ttl time.Duration, names ...string) uint64 {
	st.Helper()
	return st.raiseAs(false, floor, ttl, names...)
}

func (st stamper) raiseSoft(names ...string) uint64 {
	st.Helper()
	return st.raiseAs(true, 0, time.Hour, names...)
}

func (st stamper) raiseAs(soft bool, floor uint64, ttl time.Duration, names ...string) uint64 {
	st.Helper()
	n, err := st.stamps.Raise(st.ctx(), st.clock, st.keys(names...), soft, floor, ttl)
	if err != nil || n <= floor {
		st.Fatalf("Raise above %d: %d, %v", floor, n, err)
	}
	return n
}

func (st stamper) read(names ...string) []core.Stamp {
	st.Helper()
	got, err := st.stamps.Stamps(st.ctx(), nil, st.keys(names...))
	if err != nil || len(got) != len(names) {
		st.Fatalf("Stamps: %d of %d, %v", len(got), len(names), err)
	}
	return got
}

func (st stamper) settle(ttl time.Duration, names ...string) []core.Stamp {
	st.Helper()
	got, err := st.stamps.Settle(st.ctx(), st.clock, nil, st.keys(names...), ttl)
	if err != nil || len(got) != len(names) {
		st.Fatalf("Settle: %d of %d, %v", len(got), len(names), err)
	}
	return got
}

// equal wants stamps that have only been raised hard.
func (st stamper) equal(what string, got []core.Stamp, want ...uint64) {
	st.Helper()
	st.pairs(what, got, hard(want...)...)
}

func (st stamper) pairs(what string, got []core.Stamp, want ...core.Stamp) {
	st.Helper()
	if !slices.Equal(got, want) {
		st.Fatalf("%s: %d, want %d", what, got, want)
	}
}

// hard returns stamps with the same number twice.
func hard(numbers ...uint64) []core.Stamp {
	stamps := make([]core.Stamp, len(numbers))
	for i, n := range numbers {
		stamps[i] = core.Stamp{Hard: n, Soft: n}
	}
	return stamps
}

func (s *suite) stampSequence(t *testing.T) {
	st := s.newStamper(t)
	last := st.sequence()
	for range 3 {
		if n := st.sequence(); n != last {
			t.Fatalf("the sequence went from %d to %d, and nobody had taken a number", last, n)
		}
		n := st.raise(0, time.Hour, "a")
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		if last = st.sequence(); last != n {
			t.Fatalf("the number given out last is %d, not %d", n, last)
		}
	}
	// It does not matter who asks first.
	st = s.newStamper(t)
	if n, last := st.raise(0, time.Hour, "a"), st.sequence(); n != last {
		t.Fatalf("the number given out last is %d, not %d", n, last)
	}
	st = s.newStamper(t)
	settled := st.settle(time.Hour, "a")
	st.equal("the first stamp", settled, st.sequence())
}

func (s *suite) stampRaise(t *testing.T) {
	st := s.newStamper(t)
	st.equal("absent stamps", st.read("a", "b", "c"), 0, 0, 0)
	n := st.raise(0, time.Hour, "a", "b")
	st.equal("stamps", st.read("a", "b", "c"), n, n, 0)
	m := st.raise(0, time.Hour, "b", "c")
	if m <= n {
		t.Fatalf("%d after %d", m, n)
	}
	st.equal("stamps", st.read("a", "b", "c"), n, m, m)
	st.equal("stamps in another order", st.read("c", "a", "c"), m, n, m)
	got, err := st.stamps.Stamps(st.ctx(), hard(7, 8), st.keys("b", "d"))
	if err != nil {
		t.Fatal(err)
	}
	st.equal("appended stamps", got, 7, 8, m, 0)
	l := st.raise(0, time.Hour, "a", "a")
	st.equal("a stamp raised twice", st.read("a", "b"), l, m)
}

func (s *suite) stampSoft(t *testing.T) {
	st := s.newStamper(t)
	n := st.raise(0, time.Hour, "a")
	m := st.raiseSoft("a", "b")
	if m <= n {
		t.Fatalf("%d after %d", m, n)
	}
	// Where there was none, what was made before may have been purged hard.
	st.pairs("stamps", st.read("a", "b"), core.Stamp{Hard: n, Soft: m}, core.Stamp{Hard: m, Soft: m})
	if last := st.sequence(); last != m {
		t.Fatalf("the number given out last is %d, not %d", last, m)
	}
	l := st.raiseSoft("b", "a", "b")
	if l <= m {
		t.Fatalf("%d after %d", l, m)
	}
	st.pairs("stamps raised softly again", st.read("a", "b"), core.Stamp{Hard: n, Soft: l}, core.Stamp{Hard: m, Soft: l})
	st.pairs("settled", st.settle(time.Hour, "c", "a", "b"), core.Stamp{Hard: l, Soft: l}, core.Stamp{Hard: n, Soft: l}, core.Stamp{Hard: m, Soft: l})
	k := st.raise(0, time.Hour, "a", "c")
	if k <= l {
		t.Fatalf("%d after %d", k, l)
	}
	st.pairs("stamps raised hard", st.read("a", "b", "c"), core.Stamp{Hard: k, Soft: k}, core.Stamp{Hard: m, Soft: l}, core.Stamp{Hard: k, Soft: k})
	j := st.raiseAs(true, k+3_600_000_000, time.Hour, "a")
	st.pairs("a stamp raised softly above a floor", st.read("a"), core.Stamp{Hard: k, Soft: j})
	if i := st.raise(0, time.Hour, "b"); i <= j {
		t.Fatalf("%d after %d", i, j)
	}
}

// stampedGet reads an entry and stamps at once.
func (s *suite) stampedGet(t *testing.T) {
	st := s.newStamper(t)
	// An entry has its place where it wants, the stamps have theirs.
	entry := Prefix() + "entry"
	large := bytes.Repeat([]byte("0123456789abcde\n"), min(1<<20, s.maxValue)/16)
	get := func(wantValue []byte, wantFound bool, names []string, want ...core.Stamp) {
		t.Helper()
		value, found, got, err := st.stamps.GetStamped(st.ctx(), entry, hard(7), st.keys(names...))
		if err != nil || found != wantFound || !bytes.Equal(value, wantValue) {
			t.Fatalf("GetStamped with %d stamps: %d bytes, %v, %v; want %d bytes, %v", len(names), len(value), found, err, len(wantValue), wantFound)
		}
		st.pairs("stamps", got, append(hard(7), want...)...)
	}
	get(nil, false, nil)
	get(nil, false, []string{"a"}, core.Stamp{})
	get(nil, false, []string{"a", "b"}, hard(0, 0)...)
	n := st.raise(0, time.Hour, "a")
	m := st.raiseSoft("a")
	get(nil, false, []string{"b", "a"}, core.Stamp{}, core.Stamp{Hard: n, Soft: m})
	for _, value := range [][]byte{[]byte("value"), {}, []byte("12 13"), large} {
		if err := st.Set(st.ctx(), entry, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		get(value, true, nil)
		get(value, true, []string{"b"}, core.Stamp{})
		get(value, true, []string{"a"}, core.Stamp{Hard: n, Soft: m})
		get(value, true, []string{"a", "b", "a", "c", "d"}, core.Stamp{Hard: n, Soft: m}, core.Stamp{}, core.Stamp{Hard: n, Soft: m}, core.Stamp{}, core.Stamp{})
	}
	l := st.raise(0, time.Hour, "b", "c")
	get(large, true, []string{"a", "b", "c"}, core.Stamp{Hard: n, Soft: m}, core.Stamp{Hard: l, Soft: l}, core.Stamp{Hard: l, Soft: l})
	if err := st.Delete(st.ctx(), entry); err != nil {
		t.Fatal(err)
	}
	get(nil, false, []string{"a"}, core.Stamp{Hard: n, Soft: m})
}

func (s *suite) stampFloor(t *testing.T) {
	st := s.newStamper(t)
	floor := st.sequence() + 3_600_000_000
	n := st.raise(floor, time.Hour, "a")
	st.equal("a stamp above a floor", st.read("a"), n)
	if last := st.sequence(); last != n {
		t.Fatalf("the number given out last is %d, not %d", n, last)
	}
	// A lower floor does not bring it down.
	m := st.raise(5, time.Hour, "b")
	if m <= n {
		t.Fatalf("%d after %d", m, n)
	}
	st.equal("stamps", st.read("a", "b"), n, m)
}

func (s *suite) stampSettle(t *testing.T) {
	st := s.newStamper(t)
	n := st.raise(0, time.Hour, "a")
	m := st.raise(0, time.Hour, "b")
	st.equal("settled", st.settle(time.Hour, "c", "a", "d", "b"), m, n, m, m)
	st.equal("stamps", st.read("a", "b", "c", "d", "e"), n, m, m, m, 0)
	st.equal("the number given out last", hard(st.sequence()), m)
	l := st.raise(0, time.Hour, "b")
	st.equal("settled again", st.settle(time.Hour, "a", "b", "c", "d"), n, l, m, m)
	st.equal("settled, one only", st.settle(time.Hour, "e"), l)
	st.equal("settled twice at once", st.settle(time.Hour, "f", "f"), l, l)
	got, err := st.stamps.Settle(st.ctx(), st.clock, hard(7, 8), st.keys("g", "a"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	st.equal("appended", got, 7, 8, l, n)
}

func (s *suite) stampExpiry(t *testing.T) {
	const ttl = 200 * time.Millisecond
	for name, put := range map[string]func(stamper){
		"raised": func(st stamper) { st.raise(0, ttl, "a") },
		"softened": func(st stamper) {
			st.raise(0, time.Hour, "a")
			st.raiseAs(true, 0, ttl, "a")
		},
		"settled": func(st stamper) { st.settle(ttl, "a") },
	} {
		st := s.newStamper(t)
		long := st.raise(0, time.Hour, "long")
		before := time.Now()
		put(st)
		after := time.Now()
		last := st.sequence()
		if s.advance != nil {
			s.advance(ttl - 2*time.Millisecond)
			if st.read("a")[0] == (core.Stamp{}) {
				t.Errorf("a stamp %s for %v is gone before", name, ttl)
			}
			s.advance(4 * time.Millisecond)
		}
		for {
			asked := time.Now()
			if st.read("a")[0] == (core.Stamp{}) {
				if age := time.Since(before); s.advance == nil && age < ttl-10*time.Millisecond {
					t.Errorf("a stamp %s for %v is gone after %v", name, ttl, age)
				}
				break
			}
			if s.advance != nil || asked.Sub(after) > ttl+600*time.Millisecond {
				t.Fatalf("a stamp %s for %v is there after %v", name, ttl, asked.Sub(after))
			}
			time.Sleep(2 * time.Millisecond)
		}
		// What is lost comes back as the newest.
		st.equal("settled after the loss", st.settle(time.Hour, "a", "long"), last, long)
	}
}

func (s *suite) stampMany(t *testing.T) {
	st := s.newStamper(t)
	first := st.sequence()
	n := st.raise(0, time.Hour)
	if n <= first || st.sequence() != n {
		t.Fatalf("Raise of no keys: %d after %d", n, first)
	}
	st.equal("no stamps", st.read())
	st.equal("nothing to settle", st.settle(time.Hour))
	got, err := st.stamps.Stamps(st.ctx(), hard(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	st.equal("nothing appended", got, 7)

	names := make([]string, 1000)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	n = st.raise(0, time.Hour, names[:500]...)
	want := append(slices.Repeat(hard(n), 500), make([]core.Stamp, 500)...)
	st.pairs("1000 stamps", st.read(names...), want...)
	n = st.raise(0, time.Hour)
	for i := range 500 {
		want[500+i] = core.Stamp{Hard: n, Soft: n}
	}
	st.pairs("1000 settled", st.settle(time.Hour, names...), want...)
	st.pairs("1000 stamps", st.read(names...), want...)
	n = st.raiseSoft(names...)
	for i := range want {
		want[i].Soft = n
	}
	st.pairs("1000 soft stamps", st.read(names...), want...)
}

// stampConcurrent purges from two stores at once: the numbers must differ, and
// who has been told of one must find it, whichever store he asks.
func (s *suite) stampConcurrent(t *testing.T) {
	st := s.newStamper(t)
	stores := []stamper{st, s.another(st)}
	ctx := st.within(verySlow)
	const workers, rounds = 8, 60
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for w := range workers {
		writer, reader := stores[w%2], stores[1-w%2]
		keys := st.keys("own"+strconv.Itoa(w), "common")
		wg.Go(func() {
			var last uint64
			for round := range rounds {
				soft := round%3 != 0
				before, err := reader.stamps.Sequence(ctx, st.clock)
				if err != nil {
					t.Errorf("Sequence: %v", err)
					return
				}
				n, err := writer.stamps.Raise(ctx, st.clock, keys, soft, last, time.Hour)
				if err != nil {
					t.Errorf("Raise: %v", err)
					return
				}
				got, err := reader.stamps.Stamps(ctx, nil, keys)
				if err != nil {
					t.Errorf("Stamps: %v", err)
					return
				}
				after, err := reader.stamps.Settle(ctx, st.clock, nil, keys, time.Hour)
				if err != nil {
					t.Errorf("Settle: %v", err)
					return
				}
				if n <= before || n <= last || got[0].Soft != n || !soft && got[0].Hard != n || got[1].Soft < n || after[0] != got[0] || after[1].Soft < got[1].Soft || after[1].Hard < got[1].Hard {
					t.Errorf("a number after %d and %d was %d; then stamps %d, settled %d", last, before, n, got, after)
					return
				}
				mu.Lock()
				twice := seen[n]
				seen[n] = true
				mu.Unlock()
				if twice {
					t.Errorf("%d was given out twice", n)
					return
				}
				last = n
			}
		})
	}
	wg.Wait()
}

// stampTogether reads two keys that are raised at once, one after the other: the
// one that was read later is never the older.
func (s *suite) stampTogether(t *testing.T) {
	st := s.newStamper(t)
	other := s.another(st)
	ctx := st.within(verySlow)
	st.raise(0, time.Hour, "a", "b")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			if _, err := st.stamps.Raise(ctx, st.clock, st.keys("a", "b"), false, 0, time.Hour); err != nil {
				t.Errorf("Raise: %v", err)
				return
			}
		}
	}()
	for order := 0; ; order++ {
		names := []string{"a", "b"}
		if order%2 == 1 {
			names = []string{"b", "a"}
		}
		earlier, later := other.read(names[0])[0], other.read(names[1])[0]
		if later.Soft < earlier.Soft {
			t.Errorf("%s was %d when %s was %d already", names[1], later, names[0], earlier)
			break
		}
		select {
		case <-done:
			return
		default:
		}
	}
	<-done
}

func (s *suite) stampRefused(t *testing.T) {
	st := s.newStamper(t)
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if _, err := st.stamps.Raise(st.ctx(), st.clock, st.keys("a"), false, 0, ttl); err == nil {
			t.Errorf("Raise with a ttl of %v gave no error", ttl)
		}
		if _, err := st.stamps.Settle(st.ctx(), st.clock, nil, st.keys("a"), ttl); err == nil {
			t.Errorf("Settle with a ttl of %v gave no error", ttl)
		}
	}
	if n, err := st.stamps.Raise(st.ctx(), st.clock, st.keys("a"), false, 1<<64-1, time.Hour); err == nil {
		t.Errorf("Raise above the largest number gave %d", n)
	}
	st.equal("stamps", st.read("a"), 0)
	n := st.raise(0, 1, "tiny")
	if m := st.raise(0, 1<<63-1, "for ever"); m <= n {
		t.Errorf("%d after %d", m, n)
	}
}

func (s *suite) stampDoneContext(t *testing.T) {
	st := s.newStamper(t)
	n := st.raise(0, time.Hour, "a")
	refusesDone(t, map[string]func(context.Context) error{
		"Sequence": func(ctx context.Context) error { _, err := st.stamps.Sequence(ctx, st.clock); return err },
		"Raise": func(ctx context.Context) error {
			_, err := st.stamps.Raise(ctx, st.clock, st.keys("a"), false, 0, time.Hour)
			return err
		},
		"Stamps":         func(ctx context.Context) error { _, err := st.stamps.Stamps(ctx, nil, st.keys("a")); return err },
		"Stamps of two":  func(ctx context.Context) error { _, err := st.stamps.Stamps(ctx, nil, st.keys("a", "b")); return err },
		"Stamps of none": func(ctx context.Context) error { _, err := st.stamps.Stamps(ctx, nil, nil); return err },
		"GetStamped": func(ctx context.Context) error {
			_, _, _, err := st.stamps.GetStamped(ctx, st.prefix+"k", nil, st.keys("a"))
			return err
		},
		"GetStamped with none": func(ctx context.Context) error {
			_, _, _, err := st.stamps.GetStamped(ctx, st.prefix+"k", nil, nil)
			return err
		},
		"Settle": func(ctx context.Context) error {
			_, err := st.stamps.Settle(ctx, st.clock, nil, st.keys("a", "b"), time.Hour)
			return err
		},
	})
	st.equal("stamps", st.read("a", "b"), n, 0)
}
