package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

func (c coordinator) put(f fill, tags []string, values ...store.Value) store.Written {
	c.Helper()
	w, err := c.fills.Write(c.ctx(), c.toWrite(f, tags, values...))
	if err != nil {
		c.Fatalf("Write: %v", err)
	}
	return w
}

func (c coordinator) toWrite(f fill, tags []string, values ...store.Value) store.Write {
	return store.Write{Lock: f.lock, Token: f.token, Since: f.since, Clock: c.clock, Stamps: c.keys(tags...), Values: values}
}

func (c coordinator) value(key, data string) store.Value {
	return store.Value{Key: c.prefix + key, Data: []byte(data), TTL: time.Hour}
}

// stored writes a value, which nothing is in the way of.
func (c coordinator) stored(f fill, tags []string, key, data string) {
	c.Helper()
	if w := c.put(f, tags, c.value(key, data)); w != (store.Written{Stored: true}) {
		c.Fatalf("Write of what was not purged gives %+v", w)
	}
	c.want(key, []byte(data))
	if !c.valid(f, tags...) {
		c.Fatalf("what was stored since %v is not valid: %+v", f.since, c.stamps(tags...))
	}
}

// valid reports whether what the fill has stored may be used.
func (c coordinator) valid(f fill, tags ...string) bool {
	c.Helper()
	return valid(f.since, c.stamps(tags...))
}

func valid(since store.Mark, stamps []store.Stamp) bool {
	for _, st := range stamps {
		if st.Epoch != since.Epoch || st.Hard == 0 || st.Hard > since.Seq {
			return false
		}
	}
	return true
}

// purged wants a write to say that one of its tags was purged, and that nobody takes what
// was written for valid.
func (c coordinator) purged(f fill, key string, tags ...string) {
	c.Helper()
	w := c.put(f, tags, c.value(key, "purged"))
	if !w.Purged {
		c.Errorf("Write of what was purged meanwhile gives %+v", w)
	}
	if w.Stored && c.valid(f, tags...) {
		c.Errorf("what was stored since %v counts as valid, and was purged: %+v", f.since, c.stamps(tags...))
	}
}

// write stores one to three values of all kinds in one step, and removes the token.
func (s *suite) write(t *testing.T) {
	c := s.newCoordinator(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	contents := []string{"value", "", string(all), "12345", string(filled("large", min(1<<20, s.maxValue))), "nil"}
	c.set("neighbour", []byte("n"), time.Hour)
	for i, content := range contents {
		for n := 1; n <= 3; n++ {
			for _, tags := range [][]string{nil, {"a"}, {"a", fmt.Sprint(i), "a"}} {
				f := c.start("lock")
				var values []store.Value
				for j := range n {
					values = append(values, c.value(fmt.Sprint(n, "-", j), contents[(i+j)%len(contents)]))
				}
				if w := c.put(f, tags, values...); w != (store.Written{Stored: true}) {
					t.Fatalf("Write of %d values of %d bytes and %d tags: %+v", n, len(content), len(tags), w)
				}
				for j := range n {
					c.want(fmt.Sprint(n, "-", j), []byte(contents[(i+j)%len(contents)]))
				}
				if !c.valid(f, tags...) {
					t.Fatalf("what was stored since %v is not valid: %+v", f.since, c.stamps(tags...))
				}
				if c.tokens {
					c.holder("lock", "")
				}
			}
		}
	}
	f := c.start("lock") // as nil
	if w := c.put(f, nil, store.Value{Key: c.prefix + "nil", TTL: 1<<63 - 1}); !w.Stored {
		t.Errorf("Write of nil: %+v", w)
	}
	c.want("nil", nil)
	c.want("neighbour", []byte("n"))
}

// writeToken: nothing is written but by the token that is there, once.
func (s *suite) writeToken(t *testing.T) {
	c := s.newTokens(t)
	c.set("k", []byte("old"), time.Hour)
	refuses := func(tokens ...string) {
		t.Helper()
		for _, token := range tokens {
			f := fill{c.lock("lock"), token, c.begin(c.asks("mark")).Mark}
			if w := c.put(f, []string{"a"}, c.value("k", "new"), c.value("none", "new")); w.Stored {
				t.Errorf("Write by %q gives %+v", token, w)
			}
			c.want("k", []byte("old"))
			c.wantNone("none")
		}
	}
	refuses("a", "nil", "0")
	a := c.start("lock")
	refuses("b", a.token+"a", a.token[1:], a.token+" ", "lock")
	c.holder("lock", a.token)
	c.swap("lock", a.token, "", 0, true)
	refuses(a.token)
	b := c.start("lock")
	refuses(a.token)
	c.holder("lock", b.token)
	c.swap("lock", b.token, "a note", time.Hour, true)
	refuses(b.token)
	c.holder("lock", "a note")
	c.unlock("lock")
	d := c.start("another") // a token under another key is none
	refuses(d.token)
	e := c.start("lock")
	c.stored(e, []string{"a"}, "k", "first")
	if w := c.put(e, nil, c.value("k", "second")); w.Stored {
		t.Errorf("a second Write by the same token: %+v", w)
	}
	c.want("k", []byte("first"))
}

// writeEnded: deleting the lock ends the fill under it, and nothing else does.
func (s *suite) writeEnded(t *testing.T) {
	c := s.newCoordinator(t)
	refuses := func(f fill) {
		t.Helper()
		if w := c.put(f, []string{"a"}, c.value("k", "ended"), c.value("k2", "ended")); w.Stored {
			t.Errorf("Write after the lock was deleted: %+v", w)
		}
	}
	a := c.start("lock")
	c.unlock("lock")
	refuses(a)
	c.wantNone("k")
	b := c.start("lock")
	refuses(a) // also where somebody else has begun
	c.wantNone("k")
	c.stored(b, []string{"a"}, "k", "b")
	refuses(a)
	c.want("k", []byte("b"))

	// As a purge does, with other keys.
	d := c.start("lock")
	if err := c.Delete(c.ctx(), c.prefix+"k", c.prefix+"none", c.lock("lock")); err != nil {
		t.Fatal(err)
	}
	c.wantNone("k")
	refuses(d)
	c.wantNone("k")

	// What is no lock of it ends no fill.
	c.apart(t, func(round string) error {
		e := c.start("lock" + round)
		var others []string
		for i := range 200 {
			others = append(others, c.prefix+fmt.Sprint(round, "other", i), c.lock(fmt.Sprint(round, "other", i)))
		}
		if err := c.Delete(c.ctx(), append(others, c.prefix+"k"+round)...); err != nil {
			t.Fatal(err)
		}
		if w := c.put(e, []string{"a"}, c.value("k"+round, "e")); w != (store.Written{Stored: true}) {
			return fmt.Errorf("after others' locks and the value were deleted, Write gives %+v", w)
		}
		c.want("k"+round, []byte("e"))
		return nil
	})
}

// apart does what may fail by accident where a store tells keys apart by part of a
// digest: with other keys it must not fail again and again.
func (c coordinator) apart(t *testing.T, f func(round string) error) {
	t.Helper()
	var err error
	for round := range 4 {
		if err = f(fmt.Sprint("round", round)); err == nil {
			return
		}
	}
	t.Error(err)
}

func (s *suite) writeExpiry(t *testing.T) {
	c := s.newCoordinator(t)
	const ttl = 200 * time.Millisecond
	if c.tokens {
		c.while(ttl, func() error {
			f := c.startFor("in time", ttl)
			if s.advance != nil {
				s.advance(ttl - 2*time.Millisecond)
			}
			if w := c.put(f, nil, c.value("in time", "v")); !w.Stored {
				c.unlock("in time")
				return errors.New("a Write in time has not written")
			}
			return nil
		})
		f := c.startFor("lock", ttl)
		s.pass(c.one, ttl)
		if w := c.put(f, nil, c.value("late", "v")); w.Stored {
			t.Errorf("Write after the token has expired: %+v", w)
		}
		c.wantNone("late")
	}
	// What was written lasts for its own ttl.
	f := c.startFor("lock", time.Minute)
	before := time.Now()
	short := c.value("short", "v")
	short.TTL = ttl
	if w := c.put(f, nil, c.value("long", "v"), short); !w.Stored {
		t.Fatalf("Write: %+v", w)
	}
	s.gone(c.one, "short", before, time.Now(), ttl, 600*time.Millisecond)
	c.want("long", []byte("v"))
}

// writeLarge: without its right a large value replaces nothing.
func (s *suite) writeLarge(t *testing.T) {
	c := s.newCoordinator(t)
	old, large := string(filled("old", min(100_000, s.maxValue))), string(filled("large", min(200_000, s.maxValue)))
	refuses := func(f fill) {
		t.Helper()
		for _, key := range []string{"k", "none"} {
			if w := c.put(f, []string{"a"}, c.value(key, large), c.value("small", "v")); w.Stored {
				t.Errorf("Write without a right: %+v", w)
			}
		}
		c.want("k", []byte(old))
		c.wantNone("none")
		c.wantNone("small")
	}
	a := c.start("lock")
	c.stored(a, []string{"a"}, "k", old)
	if c.tokens {
		refuses(a)
		refuses(fill{a.lock, "another", a.since})
	}
	b := c.start("lock")
	c.unlock("lock")
	refuses(b)
	d := c.start("lock")
	refuses(b)
	c.stored(d, []string{"a"}, "k", large)
	c.delete("k")
	c.wantNone("k")
	for i := range 3 { // with and without one before it, several at once
		f, one, two := c.start("lock"), string(filled(fmt.Sprint("one ", i), len(large))), string(filled(fmt.Sprint("two ", i), len(old)))
		if w := c.put(f, []string{"a"}, c.value("k", one), c.value("k2", two), c.value("k3", "small")); w != (store.Written{Stored: true}) {
			t.Fatalf("Write of two large values: %+v", w)
		}
		c.want("k", []byte(one))
		c.want("k2", []byte(two))
		c.want("k3", []byte("small"))
	}
	// A purge of a tag counts for them, too.
	f := c.start("lock")
	c.bump(false, "a")
	if w := c.put(f, []string{"a"}, c.value("k", large)); !w.Purged || w.Stored && c.valid(f, "a") {
		t.Errorf("Write of a large value that was purged: %+v", w)
	}
}

// writePurged: what was purged since the fill began is not valid once it is written,
// whether the stamps were there or not.
func (s *suite) writePurged(t *testing.T) {
	for name, purge := range map[string]func(c coordinator){
		"alone":        func(c coordinator) { c.bump(false, "a") },
		"among others": func(c coordinator) { c.bump(false, "x", "a", "y", "a") },
		"twice":        func(c coordinator) { c.bump(false, "a"); c.bump(false, "x"); c.bump(false, "a") },
		"then softly":  func(c coordinator) { c.bump(false, "a"); c.bump(true, "a") },
		"softly first": func(c coordinator) { c.bump(true, "a", "b"); c.bump(false, "a") },
		"long ago": func(c coordinator) {
			c.bump(false, "a")
			for i := range 100 {
				c.bump(false, fmt.Sprint("x", i))
			}
		},
		"elsewhere": func(c coordinator) { s.another(c).bump(false, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.newCoordinator(t)
			f, other := c.start("lock"), c.start("other")
			purge(c)
			between := c.start("between")
			purge(c)
			c.purged(f, "k", "b", "a", "c")
			c.purged(between, "between", "a")
			c.purged(other, "other", "a")
			f, other = c.start("lock2"), c.start("other2") // with stamps
			purge(c)
			c.purged(f, "k", "b", "a", "c")
			// Who began after it is not concerned, and stays valid whatever is written late.
			g := c.start("lock3")
			c.stored(g, []string{"b", "a", "c"}, "k3", "after")
			c.purged(other, "other", "a")
			if !c.valid(g, "b", "a", "c") {
				t.Errorf("a late write of what was purged has made another one invalid: %+v", c.stamps("b", "a", "c"))
			}
			purge(c)
			if c.valid(g, "b", "a", "c") {
				t.Error("what was stored is valid after its purge")
			}
		})
	}
}

// writeSoft: what was purged softly meanwhile is stored, and outdated.
func (s *suite) writeSoft(t *testing.T) {
	c := s.newCoordinator(t)
	for round := range 2 { // without stamps, and with them
		f := c.start("lock")
		n := c.bump(true, "a")
		if w := c.put(f, []string{"b", "a"}, c.value("k", "outdated")); w != (store.Written{Stored: true, Outdated: true}) {
			t.Fatalf("round %d: Write of what was purged softly gives %+v", round, w)
		}
		c.want("k", []byte("outdated"))
		got := c.stamps("b", "a")
		if !valid(f.since, got) || got[1].Soft <= f.since.Seq || got[1].Soft > n.Seq || got[0].Soft > f.since.Seq {
			t.Fatalf("round %d: since %v the stamps are %+v; want the second outdated", round, f.since, got)
		}
	}
	c.stored(c.start("lock"), []string{"b", "a"}, "k", "fresh")
}

// writeOthers: the purge of something else costs nothing, whether the stamps are there
// or not, however slow the fill is, and whoever else has stored meanwhile.
func (s *suite) writeOthers(t *testing.T) {
	c := s.newCoordinator(t)
	c.apart(t, func(round string) error {
		c.stored(c.start("old"+round), []string{"old" + round}, "old"+round, "v")
		f, slow := c.start("lock"+round), c.start("slow"+round)
		var others []string
		for i := range 50 {
			others = append(others, fmt.Sprint(round, "others", i))
		}
		c.bump(false, others...)
		for i := range 150 {
			switch i % 10 {
			case 9:
				c.journalled(fmt.Sprint(i))
			default:
				c.bump(i%2 == 0, fmt.Sprint(round, "other", i))
			}
		}
		between := c.start("between" + round)
		tags := []string{"new" + round, "old" + round, "newer" + round}
		for _, f := range []fill{between, f, slow} {
			if w := c.put(f, tags, c.value("k"+round, "v")); w != (store.Written{Stored: true}) {
				return fmt.Errorf("after 200 purges of other tags Write gives %+v", w)
			}
			if !c.valid(f, tags...) {
				return fmt.Errorf("after 200 purges of other tags what was stored since %v is not valid: %+v", f.since, c.stamps(tags...))
			}
		}
		return nil
	})
}

// writeOverflow: purges without number cost a miss at most, and hide none.
func (s *suite) writeOverflow(t *testing.T) {
	c := s.newCoordinator(t)
	purged, soft, other := c.start("purged"), c.start("soft"), c.start("other")
	c.bump(false, "a")
	c.bump(true, "b")
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprint("x", i))
	}
	for some := range slices.Chunk(names[100:], 300) {
		c.bump(false, some...)
	}
	for _, name := range names[:100] {
		c.bump(true, name)
	}
	c.purged(purged, "k", "a")
	w := c.put(soft, []string{"b"}, c.value("k", "soft"))
	if got := c.stamps("b"); w.Stored && !w.Purged && !w.Outdated || valid(soft.since, got) && got[0].Soft <= soft.since.Seq {
		t.Errorf("what was purged softly counts as fresh: %+v, %+v since %v", w, got, soft.since)
	}
	w = c.put(other, []string{"c"}, c.value("k", "other"))
	if is := w.Stored && c.valid(other, "c"); w.Stored && is == w.Purged {
		t.Errorf("after 1000 purges of other tags Write gives %+v, and it is valid: %v", w, is)
	}
	c.stored(c.start("next"), []string{"a", "b", "c"}, "k", "next")
}

// writeMany: what has a thousand tags has them all.
func (s *suite) writeMany(t *testing.T) {
	c := s.newCoordinator(t)
	tags := make([]string, 1000)
	for i := range tags {
		tags[i] = fmt.Sprint("tag", i)
	}
	c.stored(c.start("lock"), tags, "k", "v")
	f := c.start("lock")
	c.bump(false, tags[990])
	c.purged(f, "k", tags...)
	f = c.start("lock2")
	c.stored(f, tags, "k", "again")
	c.bump(false, tags[600])
	if c.valid(f, tags...) {
		t.Error("the purge of one tag of a thousand has left the response valid")
	}
}

func (s *suite) writeRefused(t *testing.T) {
	c := s.newCoordinator(t)
	f := c.start("lock")
	refuses := func(what string, w store.Write) {
		t.Helper()
		if got, err := c.fills.Write(c.ctx(), w); err == nil || got.Stored {
			t.Errorf("Write with %s: %+v, %v", what, got, err)
		}
		c.wantNone("k")
		c.wantNone("k2")
	}
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		w := c.toWrite(f, nil, c.value("k", "v"), c.value("k2", "v"))
		w.Values[1].TTL = ttl
		refuses(fmt.Sprint("a ttl of ", ttl), w)
	}
	if c.tokens {
		refuses("no token", c.toWrite(fill{f.lock, "", f.since}, nil, c.value("k", "v")))
		refuses("no token of a free lock", c.toWrite(fill{c.lock("free"), "", f.since}, nil, c.value("k", "v")))
		// Those who share the store may have it on several machines.
		w := c.toWrite(f, nil, c.value("k", "v"))
		w.Lock = c.tags + "lock"
		refuses("a lock of another hash tag", w)
		w = c.toWrite(f, nil, c.value("k", "v"))
		w.Values[0].Key = c.tags + "k"
		refuses("a value of another hash tag", w)
		w = c.toWrite(f, []string{"a"}, c.value("k", "v"))
		w.Stamps = append(w.Stamps, c.prefix+"stamp")
		refuses("a stamp of another hash tag", w)
		if _, err := c.fills.Bump(c.ctx(), c.clock, []string{c.tags + "a", c.prefix + "stamp"}, false, 1, time.Hour); err == nil {
			t.Error("Bump of a stamp of another hash tag than the clock's gave no error")
		}
	}
	c.stored(f, []string{"a"}, "k", "v")
}
