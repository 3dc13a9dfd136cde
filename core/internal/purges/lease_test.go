package purges

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// counted is a store that is shared, as far as the engine knows, and counts how
// often the journal is read.
type counted struct {
	*memory.Store
	reads atomic.Int64
	fail  atomic.Bool
	slow  time.Duration
}

func (s *counted) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	s.reads.Add(1)
	time.Sleep(s.slow)
	if s.fail.Load() {
		return store.Journal{}, errors.New("down")
	}
	return s.Store.ReadJournal(ctx, clock)
}

func newCounted(t *testing.T) (*counted, *Ledger) {
	t.Helper()
	m := newMemory(t)
	s := &counted{Store: m}
	return s, newLedger(t, s, false)
}

func newMemory(t *testing.T) *memory.Store {
	t.Helper()
	m, err := memory.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// newLedger makes a ledger on s, which ends with the test.
func newLedger(t *testing.T, s store.Coordinator, alone bool) *Ledger {
	t.Helper()
	var background sync.WaitGroup
	t.Cleanup(background.Wait)
	return New(Dependencies{
		Store: s, Now: time.Now, Alone: alone,
		Keys:         Keys{Prefix: "test:{tags}:", MinBytes: 17, Escape: func(dst []byte, text string) []byte { return append(dst, text...) }},
		RenewTimeout: time.Second,
		Background:   background.Go,
		Failed:       func(string, error) {},
		Learn:        func([]Way) {},
		URLOf:        func(primary string) string { return primary },
	})
}

// TestLease: one of many reads the journal; a copy is used for a lease, renewed
// beside it from its half on, and never used longer.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newCounted(t)
		s.slow = 10 * time.Millisecond
		at := func(want bool, reads int64, slow bool) {
			t.Helper()
			before, start := s.reads.Load(), time.Now()
			_, ok := l.leases.at(t.Context(), start)
			took := time.Since(start)
			synctest.Wait()
			if n := s.reads.Load() - before; ok != want || n != reads || (took > 0) != slow {
				t.Errorf("%t, with %d reads, after %v; want %t, %d, waiting: %t", ok, n, took, want, reads, slow)
			}
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, ok := l.leases.at(t.Context(), time.Now()); !ok {
					t.Error("no copy")
				}
			})
		}
		wg.Wait()
		if n := s.reads.Load(); n != 1 {
			t.Errorf("%d reads for 50 at once", n)
		}
		at(true, 0, false)
		time.Sleep(journalLease/2 - 11*time.Millisecond)
		at(true, 0, false)
		time.Sleep(time.Millisecond)
		at(true, 1, false) // the renewal
		at(true, 0, false) // which is not there yet
		time.Sleep(20 * time.Millisecond)
		at(true, 0, false)
		time.Sleep(journalLease)
		at(true, 1, true)

		s.fail.Store(true)
		time.Sleep(journalLease)
		at(false, 1, true)
		at(false, 0, false)
		time.Sleep(retryPause / 2)
		s.fail.Store(false)
		at(false, 0, false)
		time.Sleep(retryPause / 2)
		at(true, 1, true)
		l.leases.expire()
		at(true, 1, true)
	})
}

// TestLeaseOfAnotherEpoch: who has begun after the clock was lost does not take a copy
// from before that; who has begun before it reads the journal once more.
func TestLeaseOfAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &replaced{newMemory(t)}
		l := newLedger(t, s, false)
		stamp := func(epoch uint64) uint64 {
			t.Helper()
			got, err := l.JournalStamp(t.Context(), "", nil, epoch)
			if err != nil {
				t.Fatal(err)
			}
			return got.Epoch
		}
		if err := l.BeginJournal(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := l.leases.last.Load().epoch
		s.Coordinator = newMemory(t)
		now, err := s.ReadJournal(t.Context(), l.leases.clock)
		if err != nil || now.Mark.Epoch == before {
			t.Fatal(now, err)
		}
		if got := stamp(before); got != before {
			t.Errorf("epoch %x, want that of the copy, %x", got, before)
		}
		for _, epoch := range []uint64{now.Mark.Epoch, before, now.Mark.Epoch} {
			if got := stamp(epoch); got != now.Mark.Epoch {
				t.Errorf("epoch %x for who has begun in %x, want %x", got, epoch, now.Mark.Epoch)
			}
		}
	})
}

// TestLeaseHolds: a copy is good for requests that came a little earlier, and not
// for ever where the clock is set back.
func TestLeaseHolds(t *testing.T) {
	from := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]bool{
		0: true, journalLease - 1: true, journalLease: false, time.Hour: false,
		-1: true, -time.Minute + 1: true, -time.Minute: false, -time.Hour: false,
	} {
		if l := (&lease{from: from}); l.good(from.Add(d), journalLease) != want {
			t.Errorf("%v after it was read: %t", d, !want)
		}
	}
}

// TestWaitingForALease: who waits for another reader gives up with his context.
func TestWaitingForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newCounted(t)
		s.slow = time.Second
		go l.leases.at(context.Background(), time.Now())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, ok := l.leases.at(ctx, start); ok || time.Since(start) != time.Millisecond {
			t.Errorf("%t after %v", ok, time.Since(start))
		}
		time.Sleep(time.Second)
	})
}

// TestForeignJournal: what is no journal of ours counts as a purge of everything,
// and gives way to one.
func TestForeignJournal(t *testing.T) {
	for _, text := range []string{"", "x", "{}", `{"all":{"hard":7,"soft":6}}`, "null", "[]"} {
		s, l := newCounted(t)
		before, err := s.ReadJournal(t.Context(), l.leases.clock)
		if err == nil && text != "" {
			_, _, err = s.WriteJournal(t.Context(), l.leases.clock, before, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		at, ok := l.leases.at(t.Context(), time.Now())
		if !ok || at.All.Hard == 0 || at.All.Hard != at.stored.Mark.Seq {
			t.Fatalf("%q: %+v, %t", text, at, ok)
		}
		now, err := s.ReadJournal(t.Context(), l.leases.clock)
		if j, ok := decodeJournal(now); err != nil || !ok || j.All != at.All {
			t.Errorf("%q: then there is %+v, %v", text, now, err)
		}
	}
}

// interrupted is a store of one process, where something happens just after the
// journal was read.
type interrupted struct {
	*memory.Store
	after func()
}

func (s *interrupted) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	j, err := s.Store.ReadJournal(ctx, clock)
	if f := s.after; f != nil {
		s.after = nil
		f()
	}
	return j, err
}

// TestPurgeWhileTheJournalIsRead: who asks after a purge is not told what was read
// before it, even where the purge does not wait for leases.
func TestPurgeWhileTheJournalIsRead(t *testing.T) {
	for _, had := range []bool{false, true} {
		s := &interrupted{Store: newMemory(t)}
		l := newLedger(t, s, true)
		before, ok := l.leases.at(t.Context(), time.Now())
		if !ok {
			t.Fatal("no copy")
		}
		if !had {
			l.leases.expire()
		}
		s.after = func() {
			if err := l.PurgePrefixes(t.Context(), func() []string { return []string{""} }, false); err != nil {
				t.Error(err)
			}
		}
		_, _ = l.leases.renew(t.Context())
		if after, ok := l.leases.at(t.Context(), time.Now()); !ok || after.All.Hard <= before.All.Hard {
			t.Errorf("with a copy before, %t: %+v, %t", had, after, ok)
		}
	}
}
