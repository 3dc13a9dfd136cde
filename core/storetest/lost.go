package storetest

import (
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// Foreign lets the suite damage a store whose keys others can write to: put puts what is
// neither a value nor a string under a key, and parts are what the keys of the clock's
// other parts have behind its own key.
func Foreign(put func(t *testing.T, s store.Store, key string), parts ...string) Option {
	return func(s *suite) { s.foreign, s.parts = put, parts }
}

// foreignLock: what is under a lock and no token costs nobody his fill for ever.
func (s *suite) foreignLock(t *testing.T) {
	c := s.newCoordinator(t)
	for name, damage := range s.damages() {
		f := c.start(name)
		damage(c, f.lock)
		w := c.put(f, nil, c.value("k", "v"))
		if name == "lost" && w.Stored {
			t.Errorf("Write under a lock that is %s: %+v", name, w)
		}
		damage(c, f.lock)
		b := c.begin(c.asks(name))
		if c.tokens && b.Token == "" {
			t.Errorf("the token of a lock that is %s is empty", name)
		}
		c.stored(fill{f.lock, b.Token, b.Mark}, []string{"a"}, "k", "v")
	}
}

// foreignStamp: what is no stamp of a key counts as none, and brings nothing back.
func (s *suite) foreignStamp(t *testing.T) {
	damages := s.damages()
	damages["another one's"] = func(c coordinator, key string) {
		if text, found, err := c.Get(c.ctx(), c.tags+"other"); err == nil && found {
			if err := c.Set(c.ctx(), key, text, time.Hour); err != nil {
				c.Fatal(err)
			}
		}
	}
	for name, damage := range damages {
		c := s.newCoordinator(t)
		f, slow := c.start("lock"), c.start("slow")
		c.stored(c.start("other"), []string{"other"}, "other", "v")
		c.stored(f, []string{"a", "b"}, "k", "v")
		c.bump(false, "a")
		before := c.stamps("a")
		damage(c, c.tags+"a")
		if got := c.stamps("a"); got[0] != before[0] && got[0] != (store.Stamp{}) {
			t.Errorf("a stamp that is %s: %+v, it was %+v", name, got, before)
		}
		if _, _, got, err := c.fills.GetStamped(c.ctx(), c.prefix+"k", nil, c.keys("a")); err != nil || valid(f.since, got) {
			t.Errorf("with a stamp that is %s: %+v, %v", name, got, err)
		}
		// Not by a purge of another kind either, nor by who makes it again.
		c.bump(true, "a")
		if c.valid(f, "a") {
			t.Errorf("a soft purge of a stamp that is %s has brought back what was purged: %+v", name, c.stamps("a"))
		}
		damage(c, c.tags+"a")
		c.purged(slow, "slow", "a")
		if c.valid(f, "a") {
			t.Errorf("a late write has brought back what was purged, where the stamp is %s: %+v", name, c.stamps("a"))
		}
		next := c.start("next")
		damage(c, c.tags+"a")
		c.stored(next, []string{"a", "b"}, "k", "next")
		c.bump(false, "a")
		if c.valid(next, "a") {
			t.Errorf("after a stamp that is %s a purge does not count: %+v", name, c.stamps("a"))
		}
	}
}

// lostClock: whatever becomes of the clock and its parts, it costs misses, and brings
// nothing back.
func (s *suite) lostClock(t *testing.T) {
	parts := append([]string{""}, s.parts...)
	for _, part := range parts {
		for name, damage := range s.damages() {
			c := s.newCoordinator(t)
			what := "part " + part + " is " + name
			old, older := c.start("old"), c.start("older")
			c.stored(older, []string{"later"}, "older", "v")
			c.stored(old, []string{"a"}, "old", "v")
			slow, slower, slowest := c.start("slow"), c.start("slower"), c.start("slowest")
			c.bump(false, "a", "b")
			damage(c, c.clock+part)
			c.bump(true, "x") // by whoever is first
			damage(c, c.clock+part)
			for f, tag := range map[fill]string{slow: "a", slower: "b"} {
				if w := c.put(f, []string{tag}, c.value("slow", "v")); w.Stored && (!w.Purged || c.valid(f, tag)) {
					t.Errorf("%s: a fill since %v stores what was purged: %+v, %+v", what, f.since, w, c.stamps(tag))
				}
			}
			if c.valid(old, "a") {
				t.Errorf("%s: what was purged is valid: %+v since %v", what, c.stamps("a"), old.since)
			}
			c.bump(false, "later", "c")
			if c.valid(older, "later") {
				t.Errorf("%s: a purge does not count: %+v since %v", what, c.stamps("later"), older.since)
			}
			if w := c.put(slowest, []string{"c"}, c.value("slow", "v")); w.Stored && (!w.Purged || c.valid(slowest, "c")) {
				t.Errorf("%s: a purge does not count for a fill since %v: %+v, %+v", what, slowest.since, w, c.stamps("c"))
			}
			// And all goes on.
			damage(c, c.clock+part)
			next, late := c.start("next"), c.start("late")
			c.stored(next, []string{"a", "b", "d"}, "next", "v")
			c.bump(false, "a")
			if c.valid(next, "a", "b", "d") {
				t.Errorf("%s: the next purge does not count: %+v", what, c.stamps("a", "b", "d"))
			}
			c.purged(late, "late", "d", "a")
		}
	}
	// As long as nobody purges, a clock that ends of age ends nothing.
	c := s.newCoordinator(t)
	const ttl = 150 * time.Millisecond
	f := c.start("lock")
	c.stored(f, []string{"a", "b"}, "k", "v")
	if _, err := c.fills.Bump(c.ctx(), c.clock, c.keys("b"), false, at, ttl); err != nil {
		t.Fatal(err)
	}
	s.pass(c.one, ttl)
	if !c.valid(f, "a") || c.valid(f, "b") {
		t.Errorf("after the end of the clock, the stamps are %+v since %v", c.stamps("a", "b"), f.since)
	}
	c.bump(false, "a")
	if c.valid(f, "a") || c.valid(f, "b") {
		t.Errorf("after the end of the clock and a purge, the stamps are %+v since %v", c.stamps("a", "b"), f.since)
	}
}
