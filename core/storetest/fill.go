package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// coordinator is a store under test that orders fills and purges. Locks and values
// share a hash tag, the clock and the stamps another one.
type coordinator struct {
	one
	fills  store.Coordinator
	tags   string // what the keys of stamps begin with
	clock  string
	tokens bool // Begin takes locks; else the store orders fills without
}

func (s *suite) newCoordinator(t *testing.T) coordinator {
	t.Helper()
	o := s.new(t)
	fills, ok := o.Store.(store.Coordinator)
	if !ok {
		t.Skip("the store is no store.Coordinator")
	}
	tags := o.prefix + "{" + rand.Text() + "}:"
	o.prefix += "{" + rand.Text() + "}:"
	c := coordinator{o, fills, tags, tags + "clock", false}
	f := c.asks("of nobody")
	f.Clock = tags + "another clock" // so that each case is the first to use its own
	c.tokens = c.begin(f).Token != ""
	return c
}

// newTokens is newCoordinator where there are tokens.
func (s *suite) newTokens(t *testing.T) coordinator {
	t.Helper()
	c := s.newCoordinator(t)
	if !c.tokens {
		t.Skip("the store orders fills without tokens")
	}
	return c
}

// another is a second store that shares everything with c if there can be one, or the
// same store: one with copies may hear of what another does a little later.
func (s *suite) another(c coordinator) coordinator {
	c.Helper()
	if tiered, ok := c.Store.(store.Tiered); ok && tiered.Near() {
		return c
	}
	other := s.open(c.T)
	c.set("shared", []byte("v"), time.Hour)
	if _, found, err := other.Get(c.ctx(), c.prefix+"shared"); err != nil || !found {
		return c
	}
	c.one.Store, c.fills = other, other.(store.Coordinator)
	return c
}

// fill is one that has begun.
type fill struct {
	lock, token string
	since       store.Mark
}

// lock is the key of one.
func (c coordinator) lock(name string) string { return c.prefix + "lock:" + name }

// asks is for the lock, for an hour.
func (c coordinator) asks(lock string) store.Fill {
	return store.Fill{Lock: c.lock(lock), Token: rand.Text(), TTL: time.Hour, Clock: c.clock}
}

func (c coordinator) begin(f store.Fill) store.Begun {
	c.Helper()
	b, err := c.fills.Begin(c.ctx(), f)
	if err != nil {
		c.Fatalf("Begin: %v", err)
	}
	if b.Mark.Epoch == 0 || b.Mark.Seq == 0 {
		c.Fatalf("Begin gives the mark %v", b.Mark)
	}
	return b
}

// start begins a fill, with a lock that nobody else has.
func (c coordinator) start(lock string) fill {
	c.Helper()
	return c.startFor(lock, time.Hour)
}

func (c coordinator) startFor(lock string, ttl time.Duration) fill {
	c.Helper()
	f := c.asks(lock)
	f.TTL = ttl
	b := c.begin(f)
	if want := f.Token; c.tokens && b.Token != want || !c.tokens && b.Token != "" {
		c.Fatalf("Begin of a free lock gives the token %q, want %q", b.Token, want)
	}
	return fill{f.Lock, b.Token, b.Mark}
}

// holder wants token under the lock; none if it is empty.
func (c coordinator) holder(lock, token string) {
	c.Helper()
	f := c.asks(lock)
	b := c.begin(f)
	switch {
	case token != "" && b.Token != token:
		c.Fatalf("the holder of the lock is %q, want %q", b.Token, token)
	case token == "" && b.Token != f.Token:
		c.Fatalf("the lock is held by %q, want nobody", b.Token)
	case token == "":
		c.swap(lock, f.Token, "", 0, true)
	}
}

func (c coordinator) extend(lock, token string, ttl time.Duration, want bool) {
	c.Helper()
	if got, err := c.fills.CompareAndExtend(c.ctx(), c.lock(lock), token, ttl); err != nil || got != want {
		c.Fatalf("Extend by %q: %v, %v; want %v", token, got, err, want)
	}
}

func (c coordinator) swap(lock, token, next string, ttl time.Duration, want bool) {
	c.Helper()
	if got, err := c.fills.CompareAndSwap(c.ctx(), c.lock(lock), token, next, ttl); err != nil || got != want {
		c.Fatalf("Swap of %q for %q: %v, %v; want %v", token, next, got, err, want)
	}
}

// unlock deletes the lock, whoever has it.
func (c coordinator) unlock(lock string) {
	c.Helper()
	if err := c.Delete(c.ctx(), c.lock(lock)); err != nil {
		c.Fatalf("Delete of a lock: %v", err)
	}
}

// pass lets more than d pass for the store.
func (s *suite) pass(o one, d time.Duration) {
	o.Helper()
	d += 10 * time.Millisecond
	if s.advance != nil {
		s.advance(d)
		return
	}
	marker := "marker" + rand.Text()
	for o.set(marker, nil, d); ; time.Sleep(2 * time.Millisecond) {
		if _, found := o.get(marker); !found {
			return
		}
	}
}

// freed waits until the lock is free, by taking it. It must have been held by
// token for ttl since before, and be free late after that.
func (s *suite) freed(c coordinator, lock, token string, before, after time.Time, ttl time.Duration) {
	c.Helper()
	const late, slack = 600 * time.Millisecond, 10 * time.Millisecond
	f := c.asks(lock)
	if s.advance != nil {
		s.advance(ttl - 2*time.Millisecond)
		c.holder(lock, token)
		s.advance(4 * time.Millisecond)
		c.holder(lock, "")
		return
	}
	for {
		asked := time.Now()
		got := c.begin(f).Token
		switch {
		case got == f.Token:
			if age := time.Since(before); age < ttl-slack {
				c.Fatalf("the lock was free %v after it was taken for %v", age, ttl)
			}
			c.swap(lock, f.Token, "", 0, true)
			return
		case got != token:
			c.Fatalf("the holder is %q, want %q", got, token)
		case asked.Sub(after) > ttl+late:
			c.Fatalf("the lock was still held %v after it was taken for %v", asked.Sub(after), ttl)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// beginTakes: a lock is taken if it is free, and who asks is told who has it.
func (s *suite) beginTakes(t *testing.T) {
	c := s.newCoordinator(t)
	if !c.tokens {
		// Whoever asks may fill, by what Begin says alone.
		a, b := c.start("k"), c.start("k")
		for _, token := range []string{"token", a.token} {
			c.extend("k", token, time.Hour, false)
			c.swap("k", token, "", 0, false)
		}
		c.stored(a, nil, "k", "a")
		c.stored(b, nil, "k", "b")
		return
	}
	f := c.asks("k")
	for range 2 { // a call again is told that the first one has it
		if got := c.begin(f).Token; got != f.Token {
			t.Fatalf("Begin of a free lock by %q gives %q", f.Token, got)
		}
	}
	for range 2 {
		if got := c.begin(c.asks("k")).Token; got != f.Token {
			t.Fatalf("Begin of a lock that %q has gives %q", f.Token, got)
		}
	}
	c.start("other")
	c.swap("k", f.Token, "", 0, true)
	c.holder("k", "")
	next := c.start("k")
	c.holder("k", next.token)
}

func (s *suite) beginExclusive(t *testing.T) {
	c := s.newTokens(t)
	stores := []coordinator{c, s.another(c)}
	ctx := c.within(verySlow)
	const workers, rounds = 64, 20
	var holders, taken, asked, working atomic.Int64
	working.Store(workers)
	var wg sync.WaitGroup
	for w := range workers {
		c := stores[w%2]
		wg.Go(func() {
			defer working.Add(-1)
			for range rounds {
				f := c.asks("k")
				b, err := c.fills.Begin(ctx, f)
				before := asked.Add(1)
				if err != nil {
					t.Errorf("Begin: %v", err)
					return
				}
				own := b.Token == f.Token
				if own {
					taken.Add(1)
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d have the lock at once", n)
					}
					for asked.Load() < before+8 && working.Load() > 8 { // until others have asked
						time.Sleep(50 * time.Microsecond)
					}
				}
				// Those who do not have it may try what they like.
				if held, err := c.fills.CompareAndExtend(ctx, f.Lock, f.Token, time.Hour); err != nil || held != own {
					t.Errorf("Extend by one whose lock it is: %v; gives %v, %v", own, held, err)
					return
				}
				if own {
					holders.Add(-1)
				}
				if held, err := c.fills.CompareAndSwap(ctx, f.Lock, f.Token, "", 0); err != nil || held != own {
					t.Errorf("Swap by one whose lock it is: %v; gives %v, %v", own, held, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody got the lock")
	}
	c.holder("k", "")
}

func (s *suite) beginExpiry(t *testing.T) {
	for _, ttl := range []time.Duration{60 * time.Millisecond, 1100 * time.Millisecond} {
		c := s.newTokens(t)
		before := time.Now()
		a := c.startFor("k", ttl)
		s.freed(c, "k", a.token, before, time.Now(), ttl)
		// Who held it before does not any more.
		next := c.start("k")
		c.extend("k", a.token, time.Hour, false)
		c.swap("k", a.token, "", 0, false)
		c.holder("k", next.token)
	}
	// Less than a millisecond counts as one.
	c := s.newTokens(t)
	before := time.Now()
	a := c.startFor("tiny", 1)
	if s.advance == nil {
		s.freed(c, "tiny", a.token, before, time.Now(), time.Millisecond)
	}
}

// beginAdopt: who takes another one's token for its own prolongs it, and nobody else.
func (s *suite) beginAdopt(t *testing.T) {
	c := s.newTokens(t)
	const short = 150 * time.Millisecond
	for lock, note := range map[string]string{"token": "", "note": "a note"} {
		var b store.Begun
		var want string
		c.while(short, func() error {
			c.unlock(lock) // of the last attempt
			a := c.startFor(lock, short)
			if want = a.token; note != "" {
				want = note
				if held, err := c.fills.CompareAndSwap(c.ctx(), a.lock, a.token, note, short); err != nil || !held {
					return fmt.Errorf("a swap by its holder: %v, %w", held, err)
				}
			}
			f := c.asks(lock)
			f.Adopt = true
			if b = c.begin(f); b.Token != want {
				return fmt.Errorf("who adopts is given %q, want %q", b.Token, want)
			}
			return nil
		})
		s.pass(c.one, short)
		c.holder(lock, want)
		f := c.asks(lock)
		f.Adopt, f.TTL = true, short
		if got := c.begin(f).Token; got != want {
			t.Fatalf("who adopts for less is given %q, want %q", got, want)
		}
		s.pass(c.one, short)
		c.holder(lock, want) // for it was not cut short
		c.stored(fill{c.lock(lock), b.Token, b.Mark}, nil, "k", "by the token of another")
	}
	var before, after time.Time
	var a fill
	c.while(short, func() error {
		c.unlock("as it was") // of the last attempt
		before = time.Now()
		a = c.startFor("as it was", short)
		after = time.Now()
		if got := c.begin(c.asks("as it was")).Token; got != a.token {
			return fmt.Errorf("the holder is %q, want %q", got, a.token)
		}
		return nil
	})
	s.freed(c, "as it was", a.token, before, after, short)
}

// beginLooks: the second look finds the value and the stamps as they are.
func (s *suite) beginLooks(t *testing.T) {
	c := s.newCoordinator(t)
	look := func(key string, want []byte, found bool, tags ...string) {
		t.Helper()
		f := c.asks("look" + rand.Text())
		f.Key, f.Stamps = c.prefix+key, c.keys(tags...)
		b := c.begin(f)
		if b.Found != found || string(b.Value) != string(want) {
			t.Fatalf("Begin finds %.40q, %v; want %.40q, %v", b.Value, b.Found, want, found)
		}
		c.equal("stamps of the second look", b.Stamps, c.stamps(tags...)...)
	}
	look("k", nil, false)
	look("k", nil, false, "a", "b")
	for i, value := range [][]byte{[]byte("value"), {}, []byte("12 13"), filled("large", min(200_000, s.maxValue)), []byte("last")} {
		c.stored(c.start("k lock"), []string{"a", "b"}, "k", string(value))
		look("k", value, true, "b", "c", "a", "a")
		look("k", value, true)
		c.bump(i%2 == 1, "b")
		look("k", value, true, "a", "b")
	}
	look("absent", nil, false, "a", "b", "c")
	f := c.asks("does not look")
	f.Stamps = c.keys("a")
	if b := c.begin(f); b.Found || len(b.Value) != 0 {
		t.Errorf("Begin without a key finds %q", b.Value)
	}
	// Who does not get the lock is shown the same.
	f = c.asks("taken")
	c.begin(f)
	f = c.asks("taken")
	f.Key, f.Stamps = c.prefix+"k", c.keys("a", "b")
	b := c.begin(f)
	if !b.Found || string(b.Value) != "last" {
		t.Errorf("under a lock that is taken Begin finds %q, %v", b.Value, b.Found)
	}
	c.equal("stamps under a lock that is taken", b.Stamps, c.stamps("a", "b")...)
}

// beginMark: a purge that is over is not newer than the mark, and one that begins later
// is not older.
func (s *suite) beginMark(t *testing.T) {
	c := s.newCoordinator(t)
	other := s.another(c)
	last := c.bump(false, "a") // it does not matter who uses a clock first
	for i := range 12 {
		f := other.asks(fmt.Sprint(i / 2)) // every other one is told who has the lock
		b := other.begin(f)
		if b.Mark.Epoch != last.Epoch || b.Mark.Seq < last.Seq {
			t.Fatalf("after a purge at %v Begin gives the mark %v", last, b.Mark)
		}
		if i%3 == 2 {
			last = c.journalled("text").Mark
		} else {
			last = c.bump(i%3 == 1, "a", "b")
		}
		if last.Epoch != b.Mark.Epoch || last.Seq <= b.Mark.Seq {
			t.Fatalf("a purge after the mark %v is at %v", b.Mark, last)
		}
	}
}

func (s *suite) beginRefused(t *testing.T) {
	c := s.newCoordinator(t)
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		f := c.asks("k")
		f.TTL = ttl
		if _, err := c.fills.Begin(c.ctx(), f); err == nil {
			t.Errorf("Begin with a ttl of %v gave no error", ttl)
		}
		if _, err := c.fills.CompareAndExtend(c.ctx(), f.Lock, "a", ttl); err == nil {
			t.Errorf("Extend with a ttl of %v gave no error", ttl)
		}
	}
	if !c.tokens {
		return
	}
	f := c.asks("k")
	f.Token = ""
	if _, err := c.fills.Begin(c.ctx(), f); err == nil {
		t.Error("Begin with no token gave no error")
	}
	c.holder("k", "")
	a := c.start("k")
	if _, err := c.fills.CompareAndSwap(c.ctx(), a.lock, a.token, "note", 0); err == nil {
		t.Error("Swap for a note with a ttl of 0 gave no error")
	}
	if _, err := c.fills.CompareAndSwap(c.ctx(), a.lock, "", "note", time.Hour); err == nil {
		t.Error("Swap of no token gave no error")
	}
	if _, err := c.fills.CompareAndExtend(c.ctx(), a.lock, "", time.Hour); err == nil {
		t.Error("Extend of no token gave no error")
	}
	c.holder("k", a.token)
	c.swap("k", a.token, "", -1, true)
	c.startFor("k", 1<<63-1)
}

func (s *suite) extends(t *testing.T) {
	c := s.newTokens(t)
	const short, long = 100 * time.Millisecond, 400 * time.Millisecond
	c.extend("k", "a", time.Hour, false) // nobody's
	c.holder("k", "")
	var before time.Time
	var a fill
	c.while(short, func() error {
		c.unlock("k") // of the last attempt
		a = c.startFor("k", short)
		before = time.Now()
		held, err := c.fills.CompareAndExtend(c.ctx(), a.lock, a.token, long)
		if err == nil && !held {
			err = errors.New("the lock is not held when its holder extends it")
		}
		return err
	})
	for _, other := range []string{"b", strings.ToLower(a.token), a.token + "a", a.token[1:]} {
		c.extend("k", other, time.Hour, false)
	}
	s.freed(c, "k", a.token, before, time.Now(), long)

	// It may also become shorter.
	a = c.start("shorter")
	before = time.Now()
	c.extend("shorter", a.token, short, true)
	s.freed(c, "shorter", a.token, before, time.Now(), short)
}

// swaps: only the holder gives the lock up, or to another one.
func (s *suite) swaps(t *testing.T) {
	c := s.newTokens(t)
	c.swap("k", "a", "", 0, false)
	c.swap("k", "a", "next to nobody", time.Hour, false)
	a := c.start("k")
	for _, other := range []string{"b", strings.ToLower(a.token), a.token + "a", a.token[1:]} {
		c.swap("k", other, "", 0, false)
		c.swap("k", other, "next", time.Hour, false)
		c.holder("k", a.token)
	}
	c.swap("k", a.token, "next", time.Hour, true)
	c.holder("k", "next")
	c.extend("k", a.token, time.Hour, false)
	c.swap("k", a.token, "", 0, false)
	c.swap("k", "next", "", 0, true)
	c.swap("k", "next", "", 0, false)
	c.holder("k", "")
}

// swapExpiry: what is put in a token's place lasts for its own time.
func (s *suite) swapExpiry(t *testing.T) {
	c := s.newTokens(t)
	const ttl = 150 * time.Millisecond
	a := c.start("k")
	before := time.Now()
	c.swap("k", a.token, "not shared", ttl, true)
	s.freed(c, "k", "not shared", before, time.Now(), ttl)
	a = c.startFor("long", ttl)
	held, err := c.fills.CompareAndSwap(c.ctx(), a.lock, a.token, "stays", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if s.pass(c.one, ttl); held { // else the machine was too busy
		c.holder("long", "stays")
	}
}

func (s *suite) binaryToken(t *testing.T) {
	c := s.newTokens(t)
	contents := []string{"\r\n$-1\r\n", "nil", "0", "-1", "%d %s", "\x00", "\x00b", "\xff\xfe", "'\"\\", strings.Repeat("long ", 200)}
	for i, token := range contents {
		f, note := c.asks(fmt.Sprint(i)), contents[(i+1)%len(contents)]
		lock := fmt.Sprint(i)
		f.Token = token
		if got := c.begin(f).Token; got != token {
			t.Fatalf("Begin by %q gives %q", token, got)
		}
		c.holder(lock, token)
		c.extend(lock, token+" ", time.Hour, false)
		c.extend(lock, token, time.Hour, true)
		c.swap(lock, token, note, time.Hour, true)
		c.holder(lock, note)
		c.stored(fill{f.Lock, note, c.begin(f).Mark}, nil, lock, token)
	}
}
