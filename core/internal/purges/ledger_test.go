package purges

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// filled is a ledger on a store of this process, with an entry that was stored under the
// key "k" with the tags.
func filled(t *testing.T, way *Way, tags ...string) (*Ledger, *memory.Store, *entry.Entry) {
	t.Helper()
	s := newMemory(t)
	l := newLedger(t, s, true)
	l.Local = s
	if err := l.Announce(t.Context(), way); err != nil {
		t.Fatal(err)
	}
	begun, err := s.Begin(t.Context(), store.Fill{Lock: "lock", TTL: time.Minute, Clock: l.Keys.Clock()})
	if err != nil {
		t.Fatal(err)
	}
	written, err := s.Write(t.Context(), store.Write{
		Lock: "lock", Since: begun.Mark, Clock: l.Keys.Clock(), Stamps: l.TagSet(tags).Keys,
		Values: []store.Value{{Key: "k", Data: []byte("v"), TTL: time.Hour}},
	})
	if err != nil || !written.Stored {
		t.Fatalf("%+v, %v", written, err)
	}
	e := tagged(t, tags...)
	e.Epoch, e.Stamp = begun.Mark.Epoch, begun.Mark.Seq
	return l, s, e
}

// TestCurrent: an entry is current until something is purged that concerns it, also as
// far as this process knows by itself once it was looked up.
func TestCurrent(t *testing.T) {
	prefix := func(url string, soft bool) func(*Ledger, context.Context) error {
		return func(l *Ledger, ctx context.Context) error {
			return l.PurgePrefixes(ctx, func() []string { return []string{url} }, soft)
		}
	}
	tags := func(soft bool, tags ...string) func(*Ledger, context.Context) error {
		return func(l *Ledger, ctx context.Context) error { return l.BumpTags(ctx, tags, soft) }
	}
	for _, c := range []struct {
		name       string
		purge      func(*Ledger, context.Context) error
		want, soft bool
	}{
		{"another tag", tags(false, "t:c"), true, false},
		{"a tag", tags(false, "t:c", "t:b"), false, false},
		{"a tag, softly", tags(true, "t:a"), true, true},
		{"another prefix", prefix("//h/b", false), true, false},
		{"a prefix", prefix("//h/", false), false, false},
		{"a prefix of a tag", prefix("//other", false), false, false},
		{"a prefix, softly", prefix("//h/a", true), true, true},
		{"everything", prefix("", false), false, false},
	} {
		l, _, e := filled(t, nil, "t:a", "t:b", OfURL+"//other/x")
		look := func(want, soft bool) {
			t.Helper()
			now := time.Now()
			check := Check{Known: l.Known("k", now)}
			if got := l.Current(t.Context(), &check, e, "k", nil, now); got != want || got && (check.Soft > 0) != soft {
				t.Errorf("%s: %t, softly at %d", c.name, got, check.Soft)
			}
			var here Check
			if got := l.CurrentHere(&here, e, "k", nil, now, false, 0); got != want || got && here.Soft != check.Soft {
				t.Errorf("%s, as far as the process knows: %t, softly at %d", c.name, got, here.Soft)
			}
		}
		look(true, false)
		if known := l.Known("k", time.Now()); len(known.Keys) != 3 {
			t.Errorf("%d tags are remembered", len(known.Keys))
		}
		if err := c.purge(l, t.Context()); err != nil {
			t.Fatal(err)
		}
		look(c.want, c.soft)
	}
}

// TestCurrentHere: what this process does not know counts as not current; and what the
// store has judged is not looked at again.
func TestCurrentHere(t *testing.T) {
	l, _, e := filled(t, nil, "t:a", "t:b")
	var check Check
	if now := time.Now(); l.CurrentHere(&check, e, "k", nil, now.Add(time.Hour), true, 0) {
		t.Error("current without a copy of the journal")
	}
	if err := l.ReadJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.CurrentHere(&check, e, "k", nil, time.Now(), false, 0) {
		t.Error("current, though its tags are not known")
	}
	l.Remember("k", l.TagSet([]string{"t:a"})) // of what was there before
	if l.CurrentHere(&check, e, "k", nil, time.Now(), false, 0) {
		t.Error("current by other tags")
	}
	if !l.CurrentHere(&check, e, "k", nil, time.Now(), true, 7) || check.Soft != 7 {
		t.Errorf("what was judged is not current, or was purged softly at %d", check.Soft)
	}
	e.Epoch++
	if l.CurrentHere(&check, e, "k", nil, time.Now(), true, 0) {
		t.Error("current, though it is of another epoch")
	}
}

// TestWays: an entry is used while the journal has the way by which it was stored, and
// has had it since before.
func TestWays(t *testing.T) {
	way := NewWay(true, []string{"b", "a", "b"}, nil)
	l, _, e := filled(t, way)
	current := func(w *Way) bool {
		return l.Current(t.Context(), &Check{Known: &noTags}, e, "k", w, time.Now())
	}
	if !current(way) || !current(NewWay(true, []string{"a", "b"}, nil)) || !current(nil) {
		t.Error("not used, though its way is in the journal")
	}
	for _, other := range []*Way{NewWay(true, nil, nil), NewWay(false, []string{"a", "b"}, nil), NewWay(true, nil, []string{"a", "b"})} {
		if current(other) {
			t.Errorf("used by %+v, which nobody has announced", other)
		}
		if err := l.Announce(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if current(other) {
			t.Errorf("used by %+v, which was announced later", other)
		}
	}
	for i := range maxWays - 3 {
		if !current(way) {
			t.Fatalf("not used after %d others", i+3)
		}
		if err := l.Announce(t.Context(), NewWay(false, nil, []string{string(rune('a' + i))})); err != nil {
			t.Fatal(err)
		}
	}
	if current(way) {
		t.Error("used, though its way is one too many")
	}
}

// TestWithoutStore: where nothing can be purged everything is current.
func TestWithoutStore(t *testing.T) {
	l := New(Dependencies{Keys: testKeys})
	check := Check{Soft: 1}
	e := tagged(t, "t:a")
	if !l.Current(t.Context(), &check, e, "k", nil, time.Now()) || check.Soft != 0 || !l.CurrentHere(&check, e, "k", nil, time.Now(), false, 0) || l.Known("k", time.Now()) != &noTags {
		t.Error("not current")
	}
}

// replaced is a store in whose place another one may come.
type replaced struct{ store.Coordinator }

// TestLostJournal: who has found another journal in place of the last one waits until no
// process uses a copy of that.
func TestLostJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &replaced{newMemory(t)}
		l := newLedger(t, s, false)
		waits := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if err := l.WaitOutLost(t.Context()); err != nil || time.Since(start) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(start), want)
			}
		}
		for range 2 {
			if err := l.ReadJournal(t.Context()); err != nil {
				t.Fatal(err)
			}
			waits(0)
		}
		s.Coordinator = newMemory(t)
		if err := l.ReadJournal(t.Context()); err != nil {
			t.Fatal(err)
		}
		waits(JournalWait)
		waits(0)
	})
}
