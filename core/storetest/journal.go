package storetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

func (c coordinator) journal() store.Journal {
	c.Helper()
	return c.journalOf(c.clock)
}

func (c coordinator) journalOf(clock string) store.Journal {
	c.Helper()
	j, err := c.fills.ReadJournal(c.ctx(), clock)
	if err != nil {
		c.Fatalf("ReadJournal: %v", err)
	}
	if j.Mark.Epoch == 0 || j.Began == 0 || j.Began > j.Mark.Seq {
		c.Fatalf("ReadJournal: %+v", j)
	}
	return j
}

// journalled puts text into the journal.
func (c coordinator) journalled(text string) store.Journal {
	c.Helper()
	j, written, err := c.fills.WriteJournal(c.ctx(), c.clock, c.journal(), text)
	if err != nil || !written {
		c.Fatalf("WriteJournal: %v, %v", written, err)
	}
	return j
}

// wantJournal wants the same text from who reads it.
func (c coordinator) wantJournal(want store.Journal) {
	c.Helper()
	got := c.journal()
	if got.Text != want.Text || got.Began != want.Began || got.Mark.Epoch != want.Mark.Epoch || got.Mark.Seq < want.Mark.Seq {
		c.Fatalf("the journal is %+v, want %+v", got, want)
	}
}

// journalText: what is written is read, with the number of the purge in all its places.
func (s *suite) journalText(t *testing.T) {
	c := s.newCoordinator(t)
	last := c.bump(false, "a")
	first := c.journal()
	if first.Text != "" || first.Mark.Epoch != last.Epoch || first.Began == 0 || first.Began > first.Mark.Seq {
		t.Fatalf("after a purge at %v a new journal is %+v", last, first)
	}
	c.wantJournal(first)
	n := store.Number
	for _, text := range []string{
		n, "before " + n + n + " between " + n + " after", "no number", `{"all":{"hard":` + n + `,"soft":7},"url":"//a/b%20c?d=é"}`,
		"^ ^^N N %1 %% \\ ' \" \r\n", "\x00 \xff" + n, strings.Repeat(n+" and ", 5000), "",
	} {
		before := c.journal()
		got := c.journalled(text)
		want := strings.ReplaceAll(text, n, strconv.FormatUint(got.Mark.Seq, 10))
		if got.Text != want || got.Began != first.Began || got.Mark.Epoch != before.Mark.Epoch || got.Mark.Seq <= before.Mark.Seq {
			t.Fatalf("after %+v, WriteJournal of %.40q gives %+.200v", before.Mark, text, got)
		}
		c.wantJournal(got)
		s.another(c).wantJournal(got)
	}
}

// journalCompared: what is not as its writer knew it is not replaced, and he is told.
func (s *suite) journalCompared(t *testing.T) {
	c := s.newCoordinator(t)
	old := c.journal()
	now := c.journalled("one " + store.Number)
	for name, change := range map[string]func(*store.Journal){
		"older":            func(j *store.Journal) { *j = old },
		"of another text":  func(j *store.Journal) { j.Text += " " },
		"of another time":  func(j *store.Journal) { j.Began++ },
		"of another epoch": func(j *store.Journal) { j.Mark.Epoch++ },
		"of no text":       func(j *store.Journal) { j.Text = "" },
	} {
		j := now
		change(&j)
		got, written, err := c.fills.WriteJournal(c.ctx(), c.clock, j, "two "+store.Number)
		if err != nil || written || got.Text != now.Text || got.Began != now.Began || got.Mark.Epoch != now.Mark.Epoch {
			t.Errorf("WriteJournal in the place of one that is %s: %+v, %v, %v; want %+v", name, got, written, err, now)
		}
		c.wantJournal(now)
	}
	// Other purges have come between, which does not matter.
	c.bump(false, "a")
	if got, written, err := c.fills.WriteJournal(c.ctx(), c.clock, now, "two"); err != nil || !written || got.Text != "two" {
		t.Errorf("WriteJournal: %+v, %v, %v", got, written, err)
	}
}

// journalOrder: its numbers are in one order with those of the stamps and of fills.
func (s *suite) journalOrder(t *testing.T) {
	c := s.newCoordinator(t)
	c.journal()
	for i := range 10 {
		before, bumped := c.start(fmt.Sprint("before", i)), c.bump(i%2 == 0, "a")
		j := c.journalled(store.Number)
		n, err := strconv.ParseUint(j.Text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		after, next := c.start(fmt.Sprint("after", i)), c.bump(i%2 == 0, "a")
		if before.since.Seq >= n || bumped.Seq >= n || n > j.Mark.Seq || n > after.since.Seq || n >= next.Seq || after.since.Epoch != j.Mark.Epoch {
			t.Fatalf("a fill began at %v, a purge was at %v, the journal's is %d of %v; then another fill at %v, another purge at %v",
				before.since, bumped, n, j.Mark, after.since, next)
		}
	}
}

// journalOfClock: two clocks have nothing to do with one another.
func (s *suite) journalOfClock(t *testing.T) {
	c := s.newCoordinator(t)
	mine := c.journalled("mine " + store.Number)
	other := c.tags + "clocks"
	j := c.journalOf(other)
	if j.Text != "" {
		t.Fatalf("the journal of another clock is %+v", j)
	}
	j, written, err := c.fills.WriteJournal(c.ctx(), other, j, "other")
	if err != nil || !written || j.Text != "other" {
		t.Fatalf("WriteJournal: %+v, %v, %v", j, written, err)
	}
	c.wantJournal(mine)
	c.journalled("mine again")
	if got := c.journalOf(other); got.Text != "other" {
		t.Errorf("the journal of the other clock is %+v", got)
	}
}

// journalConcurrent: of many who write at once, from two stores, none is lost.
func (s *suite) journalConcurrent(t *testing.T) {
	c := s.newCoordinator(t)
	stores := []coordinator{c, s.another(c)}
	ctx := c.within(verySlow)
	const writers, rounds = 6, 10
	var mu sync.Mutex
	numbers := map[string]uint64{} // of what was acknowledged
	var wg sync.WaitGroup
	for w := range writers {
		c := stores[w%2]
		wg.Go(func() {
			j, err := c.fills.ReadJournal(ctx, c.clock)
			for r := range rounds {
				own := fmt.Sprint(w, ".", r)
				for written := false; !written; {
					if err == nil {
						j, written, err = c.fills.WriteJournal(ctx, c.clock, j, j.Text+own+"="+store.Number+";")
					}
					if err != nil {
						t.Errorf("the journal: %v", err)
						return
					}
				}
				mu.Lock()
				numbers[own] = j.Mark.Seq
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var last uint64
	lines := strings.Split(strings.TrimSuffix(c.journal().Text, ";"), ";")
	for _, line := range lines {
		own, number, _ := strings.Cut(line, "=")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n <= last || n > numbers[own] {
			t.Fatalf("%q after number %d, acknowledged at %d: %q", line, last, numbers[own], lines)
		}
		last = n
		delete(numbers, own)
	}
	if len(numbers) > 0 && !t.Failed() {
		t.Errorf("lost: %v; the journal is %q", numbers, lines)
	}
}

// journalLost: whatever becomes of the clock and its parts, a journal that is made anew
// counts all as purged that was before, and an old one replaces nothing.
func (s *suite) journalLost(t *testing.T) {
	c := s.newCoordinator(t)
	parts := append([]string{""}, s.parts...)
	for _, part := range parts {
		for name, damage := range s.damages() {
			key := c.clock + part
			j := c.journalled("text " + store.Number)
			before := c.start("before " + part + name)
			damage(c, key)
			got := c.journal()
			same := got.Text == j.Text && got.Began == j.Began && got.Mark.Epoch == j.Mark.Epoch
			anew := got.Text == "" && (got.Mark.Epoch != before.since.Epoch || got.Began >= before.since.Seq)
			if !same && !anew {
				t.Errorf("%q is %s: the journal was %+v, with a fill since %v, and is %+v", part, name, j, before.since, got)
			}
			c.wantJournal(got)
			if anew {
				if now, written, err := c.fills.WriteJournal(c.ctx(), c.clock, j, "late"); err != nil || written || now.Text != "" {
					t.Errorf("%q is %s: in the place of one that is lost: %+v, %v, %v", part, name, now, written, err)
				}
			}
			// As who has just lost it, and writes at once.
			j = c.journalled("again " + store.Number)
			damage(c, key)
			now, written, err := c.fills.WriteJournal(c.ctx(), c.clock, j, "more")
			if err != nil || written != (now.Text == "more") || written && (now.Began != j.Began || now.Mark.Epoch != j.Mark.Epoch) {
				t.Errorf("%q is %s: WriteJournal gives %+v, %v, %v", part, name, now, written, err)
			}
			c.journalled("as good as ever")
		}
	}
}

// damages are what may become of a key of the store that is no value's.
func (s *suite) damages() map[string]func(c coordinator, key string) {
	set := func(c coordinator, key, text string) {
		if err := c.Set(c.ctx(), key, []byte(text), time.Hour); err != nil {
			c.Fatal(err)
		}
	}
	// cut and flip change what is there, where it can be read.
	change := func(f func([]byte) []byte) func(coordinator, string) {
		return func(c coordinator, key string) {
			if text, found, err := c.Get(c.ctx(), key); err != nil {
				c.Fatal(err)
			} else if found {
				set(c, key, string(f(slices.Clone(text))))
			}
		}
	}
	all := map[string]func(coordinator, string){
		"lost": func(c coordinator, key string) {
			if err := c.Delete(c.ctx(), key); err != nil {
				c.Fatal(err)
			}
		},
		"empty":     func(c coordinator, key string) { set(c, key, "") },
		"text":      func(c coordinator, key string) { set(c, key, "something else") },
		"a number":  func(c coordinator, key string) { set(c, key, "12345") },
		"cut short": change(func(b []byte) []byte { return b[:len(b)/2] }),
		"longer":    change(func(b []byte) []byte { return append(b, '0') }),
		"wrong in a digit": change(func(b []byte) []byte {
			if i := bytesDigit(b); i >= 0 {
				b[i] = '0' + (b[i]-'0'+1)%10
			}
			return b
		}),
	}
	if s.foreign != nil {
		all["of another type"] = func(c coordinator, key string) { s.foreign(c.T, c.Store, key) }
	}
	return all
}

// bytesDigit is where the last decimal digit is of what comes before the last eight bytes.
func bytesDigit(b []byte) int {
	for i := len(b) - 9; i >= 0; i-- {
		if b[i] >= '0' && b[i] <= '9' {
			return i
		}
	}
	return -1
}
