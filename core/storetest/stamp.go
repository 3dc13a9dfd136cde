package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

func (c coordinator) keys(tags ...string) []string {
	keys := make([]string, len(tags))
	for i, tag := range tags {
		keys[i] = c.tags + tag
	}
	return keys
}

func (c coordinator) stamps(tags ...string) []store.Stamp {
	c.Helper()
	got, err := c.fills.Stamps(c.ctx(), nil, c.keys(tags...))
	if err != nil || len(got) != len(tags) {
		c.Fatalf("Stamps: %d of %d, %v", len(got), len(tags), err)
	}
	return got
}

// at is the time that purges have here, in microseconds since 1970.
const at = 1_800_000_000_000_000

func (c coordinator) bump(soft bool, tags ...string) store.Mark {
	c.Helper()
	mark, err := c.fills.Bump(c.ctx(), c.clock, c.keys(tags...), soft, at, time.Hour)
	if err != nil || mark.Epoch == 0 || mark.Seq == 0 {
		c.Fatalf("Bump of %d tags: %v, %v", len(tags), mark, err)
	}
	return mark
}

func (c coordinator) equal(what string, got []store.Stamp, want ...store.Stamp) {
	c.Helper()
	if !slices.Equal(got, want) {
		c.Fatalf("%s: %+v, want %+v", what, got, want)
	}
}

// between wants a number of a purge that came after before and was over at mark.
func (c coordinator) between(what string, n uint64, before, mark store.Mark) {
	c.Helper()
	if n <= before.Seq || n > mark.Seq {
		c.Fatalf("%s: %d, want more than %d and at most %d", what, n, before.Seq, mark.Seq)
	}
}

// bumpHard: a purge bumps the stamps that are there, of its tags alone.
func (s *suite) bumpHard(t *testing.T) {
	c := s.newCoordinator(t)
	f := c.start("lock")
	c.stored(f, []string{"a", "b", "c"}, "k", "v")
	first := c.stamps("a", "b", "c")
	last := f.since
	for i, tags := range [][]string{{"a"}, {"a", "b"}, {"b", "a", "b"}, {"x", "a", "y"}} {
		mark := c.bump(false, tags...)
		if mark.Epoch != last.Epoch || mark.Seq <= last.Seq {
			t.Fatalf("purge %d: %v after %v", i, mark, last)
		}
		for _, st := range c.stamps(slices.DeleteFunc(tags, func(tag string) bool { return tag > "c" })...) {
			c.between("the number of a hard purge", st.Hard, last, mark)
			if st.Epoch != mark.Epoch || st.Soft != st.Hard || st.SoftAt != 0 && st.SoftAt != at {
				t.Fatalf("purge %d at %v: %+v", i, mark, st)
			}
		}
		c.equal("the stamp of another tag", c.stamps("c"), first[2])
		last = mark
	}
	// Who asks another store is told the same.
	c.equal("stamps elsewhere", s.another(c).stamps("a", "b", "c"), c.stamps("a", "b", "c")...)
	if mark := c.bump(false); mark.Epoch != last.Epoch || mark.Seq < last.Seq {
		t.Errorf("a purge of no tags: %v after %v", mark, last)
	}
	c.equal("stamps after a purge of no tags", c.stamps("c"), first[2])
}

// bumpSoft: a soft purge leaves what is purged hard as it is.
func (s *suite) bumpSoft(t *testing.T) {
	c := s.newCoordinator(t)
	f := c.start("lock")
	c.stored(f, []string{"a", "b"}, "k", "v")
	first := c.stamps("a", "b")
	last := f.since
	for range 2 {
		mark := c.bump(true, "a", "a")
		got := c.stamps("a", "b")
		c.between("the number of a soft purge", got[0].Soft, last, mark)
		if got[0].SoftAt != at || got[0].Hard != first[0].Hard || !c.valid(f, "a", "b") {
			t.Fatalf("after a soft purge the stamp is %+v, it was %+v", got[0], first[0])
		}
		c.equal("the stamp of another tag", got[1:], first[1])
		last = mark
	}
	mark := c.bump(false, "a")
	got := c.stamps("a")[0]
	c.between("the number of a hard purge", got.Hard, last, mark)
	if got.Soft != got.Hard || c.valid(f, "a") {
		t.Fatalf("after a hard purge at %v: %+v", mark, got)
	}
	soft := c.bump(true, "a", "b")
	after := c.stamps("a", "b")
	c.between("the number of a soft purge", after[0].Soft, mark, soft)
	if after[0].Hard != got.Hard || after[1].Hard != first[1].Hard {
		t.Fatalf("a soft purge has made %+v of %+v", after, got)
	}
}

// bumpMany: tags by the thousand in one call.
func (s *suite) bumpMany(t *testing.T) {
	c := s.newCoordinator(t)
	const n = 3000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("tag", i)
	}
	f := c.start("lock")
	for i := 0; i < n; i += 500 {
		c.stored(c.start(fmt.Sprint("lock", i)), names[i:i+500], fmt.Sprint("k", i), "v")
	}
	before := c.stamps(names...)
	for _, soft := range []bool{true, false} {
		mark := c.bump(soft, names...)
		for i, st := range c.stamps(names...) {
			c.between(fmt.Sprint("stamp ", i), st.Soft, f.since, mark)
			if soft && st.Hard != before[i].Hard || !soft && st.Hard != st.Soft {
				t.Fatalf("soft %v: stamp %d is %+v, it was %+v", soft, i, st, before[i])
			}
		}
		f.since = mark
	}
}

// bumpNothing: a purge of what nobody has stored leaves no stamp.
func (s *suite) bumpNothing(t *testing.T) {
	c := s.newCoordinator(t)
	f := c.start("lock")
	for i := range 50 {
		c.bump(i%2 == 0, fmt.Sprint("x", i), "a", "b")
	}
	c.equal("stamps of what was never stored", c.stamps("a", "b", "x1"), store.Stamp{}, store.Stamp{}, store.Stamp{})
	c.purged(f, "k", "a")
	c.equal("a stamp of what was never stored", c.stamps("b"), store.Stamp{})
}

func (s *suite) bumpRefused(t *testing.T) {
	c := s.newCoordinator(t)
	f := c.start("lock")
	c.stored(f, []string{"a"}, "k", "v")
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if _, err := c.fills.Bump(c.ctx(), c.clock, c.keys("a"), false, at, ttl); err == nil {
			t.Errorf("Bump with a ttl of %v gave no error", ttl)
		}
	}
	if !c.valid(f, "a") {
		t.Errorf("what was refused has purged: %+v", c.stamps("a"))
	}
	if _, err := c.fills.Bump(c.ctx(), c.clock, c.keys("a"), false, at, 1<<63-1); err != nil {
		t.Errorf("Bump for ever: %v", err)
	}
	if c.valid(f, "a") {
		t.Errorf("Bump for ever has not purged: %+v", c.stamps("a"))
	}
}

// readStamps: stamps come in the order of their keys, after what there was.
func (s *suite) readStamps(t *testing.T) {
	c := s.newCoordinator(t)
	c.equal("absent stamps", c.stamps("a", "b"), store.Stamp{}, store.Stamp{})
	c.equal("no stamps", c.stamps())
	c.stored(c.start("lock"), []string{"a", "b"}, "k", "v")
	c.bump(false, "b")
	c.bump(true, "a")
	a, b := c.stamps("a")[0], c.stamps("b")[0]
	if a.Epoch == 0 || a.Hard == 0 || a.Soft <= b.Soft || b.Hard <= a.Hard {
		t.Fatalf("stamps: %+v, %+v", a, b)
	}
	c.equal("stamps", c.stamps("b", "c", "a", "b"), b, store.Stamp{}, a, b)
	before := []store.Stamp{{Epoch: 1, Hard: 2, Soft: 3, SoftAt: 4}, {}}
	for _, tags := range [][]string{{}, {"c"}, {"b", "c", "a"}} {
		got, err := c.fills.Stamps(c.ctx(), slices.Clone(before), c.keys(tags...))
		if err != nil {
			t.Fatal(err)
		}
		c.equal("appended stamps", got, append(slices.Clone(before), c.stamps(tags...)...)...)
	}
}

// stampedGet reads an entry and stamps at once.
func (s *suite) stampedGet(t *testing.T) {
	c := s.newCoordinator(t)
	before := []store.Stamp{{Epoch: 1, Hard: 2, Soft: 3, SoftAt: 4}}
	get := func(wantValue []byte, wantFound bool, tags ...string) {
		t.Helper()
		value, found, got, err := c.fills.GetStamped(c.ctx(), c.prefix+"k", slices.Clone(before), c.keys(tags...))
		if err != nil || found != wantFound || !bytes.Equal(value, wantValue) {
			t.Fatalf("GetStamped with %d stamps: %d bytes, %v, %v; want %d bytes, %v", len(tags), len(value), found, err, len(wantValue), wantFound)
		}
		c.equal("stamps", got, append(slices.Clone(before), c.stamps(tags...)...)...)
	}
	get(nil, false)
	get(nil, false, "a")
	get(nil, false, "a", "b")
	c.stored(c.start("other"), []string{"a", "b"}, "other", "v")
	c.bump(true, "a")
	get(nil, false, "b", "c", "a")
	for _, value := range [][]byte{[]byte("value"), {}, []byte("12 13"), filled("large", min(1<<20, s.maxValue))} {
		c.stored(c.start("lock"), nil, "k", string(value))
		get(value, true)
		get(value, true, "c")
		get(value, true, "a")
		c.bump(false, "b")
		get(value, true, "a", "c", "b", "a")
	}
	c.delete("k")
	get(nil, false, "a")
}

// stampLife: a stamp lives as long as all that it can invalidate, whoever else has it,
// and whatever is purged.
func (s *suite) stampLife(t *testing.T) {
	const ttl = 200 * time.Millisecond
	put := func(c coordinator, ttl time.Duration, key string) fill {
		v := c.value(key, "v")
		v.TTL = ttl
		f := c.start(key)
		if w := c.put(f, []string{"a"}, v); w != (store.Written{Stored: true}) {
			c.Fatalf("Write: %+v", w)
		}
		return f
	}
	for name, run := range map[string]func(coordinator) fill{
		"shared": func(c coordinator) fill {
			f := put(c, time.Hour, "k")
			put(c, ttl, "short")
			return f
		},
		"prolonged": func(c coordinator) fill {
			put(c, ttl, "short")
			return put(c, time.Hour, "k")
		},
		"longest of several": func(c coordinator) fill {
			f, short := c.start("k"), c.value("short", "v")
			short.TTL = ttl
			if w := c.put(f, []string{"a"}, c.value("k", "v"), short); !w.Stored {
				c.Fatalf("Write: %+v", w)
			}
			return f
		},
		"purged softly": func(c coordinator) fill {
			f := put(c, time.Hour, "k")
			if _, err := c.fills.Bump(c.ctx(), c.clock, c.keys("a"), true, at, ttl); err != nil {
				c.Fatal(err)
			}
			return f
		},
	} {
		c := s.newCoordinator(t)
		f := run(c)
		s.pass(c.one, ttl)
		c.want("k", []byte("v"))
		if !c.valid(f, "a") {
			t.Errorf("%s: the stamp of a value that lives on is %+v", name, c.stamps("a"))
		}
	}
	c := s.newCoordinator(t)
	before := time.Now()
	f := put(c, ttl, "k")
	if s.advance != nil {
		s.advance(ttl - 2*time.Millisecond)
	}
	for {
		value, found, got, err := c.fills.GetStamped(c.ctx(), c.prefix+"k", nil, c.keys("a"))
		if err != nil {
			t.Fatal(err)
		}
		if in := s.advance != nil || time.Since(before) < ttl-10*time.Millisecond; in && (!found || !valid(f.since, got)) {
			t.Fatalf("%v after a value was stored for %v: %q, %v with the stamps %+v", time.Since(before), ttl, value, found, got)
		} else if !in || s.advance != nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *suite) coordinatorDoneContext(t *testing.T) {
	c := s.newCoordinator(t)
	c.stored(c.start("old"), []string{"a"}, "old", "v")
	f := c.start("lock")
	journal, stamps := c.journal(), c.stamps("a", "b")
	refusesDone(t, map[string]func(context.Context) error{
		"Begin": func(ctx context.Context) error {
			_, err := c.fills.Begin(ctx, c.asks("never"))
			return err
		},
		"Begin with a look": func(ctx context.Context) error {
			f := c.asks("never")
			f.Key, f.Stamps = c.prefix+"old", c.keys("a")
			_, err := c.fills.Begin(ctx, f)
			return err
		},
		"CompareAndExtend": func(ctx context.Context) error {
			_, err := c.fills.CompareAndExtend(ctx, f.lock, f.token, time.Millisecond)
			return err
		},
		"CompareAndSwap": func(ctx context.Context) error {
			_, err := c.fills.CompareAndSwap(ctx, f.lock, f.token, "", 0)
			return err
		},
		"Write": func(ctx context.Context) error {
			_, err := c.fills.Write(ctx, c.toWrite(f, nil, c.value("k", "v")))
			return err
		},
		"Write with stamps": func(ctx context.Context) error {
			_, err := c.fills.Write(ctx, c.toWrite(f, []string{"a", "b"}, c.value("k", "v")))
			return err
		},
		"Bump": func(ctx context.Context) error {
			_, err := c.fills.Bump(ctx, c.clock, c.keys("a"), false, at, time.Hour)
			return err
		},
		"Stamps":         func(ctx context.Context) error { _, err := c.fills.Stamps(ctx, nil, c.keys("a")); return err },
		"Stamps of two":  func(ctx context.Context) error { _, err := c.fills.Stamps(ctx, nil, c.keys("a", "b")); return err },
		"Stamps of none": func(ctx context.Context) error { _, err := c.fills.Stamps(ctx, nil, nil); return err },
		"GetStamped": func(ctx context.Context) error {
			_, _, _, err := c.fills.GetStamped(ctx, c.prefix+"old", nil, c.keys("a"))
			return err
		},
		"GetStamped with none": func(ctx context.Context) error {
			_, _, _, err := c.fills.GetStamped(ctx, c.prefix+"old", nil, nil)
			return err
		},
		"ReadJournal": func(ctx context.Context) error { _, err := c.fills.ReadJournal(ctx, c.clock); return err },
		"WriteJournal": func(ctx context.Context) error {
			_, _, err := c.fills.WriteJournal(ctx, c.clock, journal, "late")
			return err
		},
	})
	c.wantNone("k")
	c.equal("stamps", c.stamps("a", "b"), stamps...)
	if got := c.journal(); got.Text != journal.Text {
		t.Errorf("the journal is %q, was %q", got.Text, journal.Text)
	}
	c.start("never")
	c.stored(f, []string{"a", "b"}, "k", "v")
}
