package dragonfly_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestJournalTakesNumbers: a journal is replaced by who knows it, with the next number
// of the clock in its places; who does not is told what it is.
func TestJournalTakesNumbers(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 1)
	ctx := t.Context()
	before := r.mark()
	j, err := r.s.ReadJournal(ctx, r.clock)
	if err != nil || j.Mark != before || j.Began != before.Seq || j.Text != "" {
		t.Fatal(j, err)
	}
	n := r.purge(false, r.stamps[0]).Seq
	next, written, err := r.s.WriteJournal(ctx, r.clock, j, `{"all":^N,"b":"^N%^N$^"}`)
	want := fmt.Sprintf(`{"all":%d,"b":"%d%%%d$^"}`, n+1, n+1, n+1)
	if !written || err != nil || next.Text != want || next.Began != j.Began {
		t.Fatalf("%+v, %v, %v; want %s", next, written, err, want)
	}
	if got := r.mark(); got.Seq != n+1 {
		t.Errorf("the clock is at %v", got)
	}
	for _, old := range []store.Journal{j, {}, {Mark: next.Mark, Began: next.Began, Text: next.Text + " "}, {Mark: store.Mark{Epoch: 1, Seq: 1}, Began: next.Began, Text: next.Text}} {
		got, written, err := r.s.WriteJournal(ctx, r.clock, old, "x")
		if written || err != nil || got.Text != want || got.Mark.Seq != n+1 {
			t.Errorf("in place of %+v: %+v, %v, %v", old, got, written, err)
		}
	}
	if got, err := r.s.ReadJournal(ctx, r.clock); err != nil || got.Text != want {
		t.Errorf("%+v, %v", got, err)
	}
	// All that a text may contain.
	text := strings.Repeat("\x00\xff%1%%{}\"\\ ü\r\n", 1000)
	if got, written, err := r.s.WriteJournal(ctx, r.clock, next, text); !written || err != nil || got.Text != text {
		t.Errorf("%v, %v, %d bytes", written, err, len(got.Text))
	}
}

// TestJournalLost: a new one says that all before it is purged.
func TestJournalLost(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 1)
	ctx := t.Context()
	for name, lose := range map[string]func(){
		"the journal": func() { r.must("DEL", r.clock+":journal") },
		"a digit":     func() { r.must("SETRANGE", r.clock+":journal", "20", "f") },
		"the clock":   func() { r.must("DEL", r.clock) },
		"another clock's": func() {
			r.must("SET", r.clock+":journal", signed(r.clock+":journal", fmt.Sprintf("%016x %014x {}", 77, 1)))
		},
		"another type": func() { r.spoil(r.clock+":journal", "a hash") },
	} {
		old, err := r.s.ReadJournal(ctx, r.clock)
		if err != nil {
			t.Fatal(err)
		}
		if old, _, err = r.s.WriteJournal(ctx, r.clock, old, "some text"); err != nil {
			t.Fatal(err)
		}
		last := r.purge(false, r.stamps[0])
		lose()
		got, written, err := r.s.WriteJournal(ctx, r.clock, old, "more text")
		if written || err != nil || got.Text != "" || got.Mark.Epoch == last.Epoch && got.Began < last.Seq {
			t.Errorf("%s is lost: %+v, %v, %v", name, got, written, err)
		}
	}
}

// TestJournalWriters: of several who write at once, all succeed in the end, and no
// number is taken twice.
func TestJournalWriters(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 1)
	const writers, rounds = 6, 25
	var all sync.WaitGroup
	var lost atomic.Int64
	for range writers {
		all.Go(func() {
			for range rounds {
				for {
					old, err := r.s.ReadJournal(t.Context(), r.clock)
					if err != nil {
						t.Error(err)
						return
					}
					_, written, err := r.s.WriteJournal(t.Context(), r.clock, old, old.Text+store.Number+" ")
					if err != nil {
						t.Error(err)
						return
					}
					if written {
						break
					}
					lost.Add(1)
				}
			}
		})
	}
	all.Wait()
	j, err := r.s.ReadJournal(t.Context(), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range strings.Fields(j.Text) {
		if seen[n] {
			t.Errorf("%s twice", n)
		}
		seen[n] = true
	}
	if len(seen) != writers*rounds {
		t.Errorf("%d writes of %d are there, %d were too late", len(seen), writers*rounds, lost.Load())
	}
}

// TestPeekJournal: who only looks sees what is there, and makes nothing.
func TestPeekJournal(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 1)
	ctx := t.Context()
	r.must("DEL", r.clock, r.clock+":journal")
	none := func(when string) {
		t.Helper()
		if j, found, err := r.s.PeekJournal(ctx, r.clock); found || err != nil {
			t.Errorf("%s: %+v, %v, %v", when, j, found, err)
		}
	}
	none("nothing is there")
	if got := r.must("GET", r.clock) + r.must("GET", r.clock+":journal"); got != "" {
		t.Errorf("a look has made %q", got)
	}
	j, err := r.s.ReadJournal(ctx, r.clock)
	if err != nil {
		t.Fatal(err)
	}
	if j, _, err = r.s.WriteJournal(ctx, r.clock, j, "text {} ^N"); err != nil {
		t.Fatal(err)
	}
	got, found, err := r.s.PeekJournal(ctx, r.clock)
	if !found || err != nil || got != j {
		t.Errorf("%+v, %v, %v; want %+v", got, found, err, j)
	}
	r.must("SETRANGE", r.clock+":journal", "20", "f")
	none("the journal is damaged")
	r.must("DEL", r.clock+":journal")
	none("the journal is gone")
	r.must("LPUSH", r.clock+":journal", "a")
	none("it is another type")
	r.must("DEL", r.clock+":journal")
	if _, err = r.s.ReadJournal(ctx, r.clock); err != nil {
		t.Fatal(err)
	}
	r.must("SETRANGE", r.clock, "3", "g")
	none("the clock is damaged")
}
