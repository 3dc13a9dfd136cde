package memory

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cacheaside/cacheaside/core/store"
)

// journals are those of all clocks. They are never evicted, so what they hold is taken
// from what there is for entries.
type journals struct {
	mu       sync.Mutex
	byClock  map[string]store.Journal
	bytes    uint64
	reserved uint64 // for them
}

const (
	// journalOverhead is what a journal costs beyond its text and the clock's key.
	journalOverhead = 160
	// minReserved is not taken from entries: it belongs to what a store costs besides.
	minReserved = 4 << 10
)

// ReadJournal returns the journal, and the moment of the clock.
func (s *Store) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if err := ctx.Err(); err != nil {
		return store.Journal{}, err
	}
	s.journals.mu.Lock()
	defer s.journals.mu.Unlock()
	return s.journal(clock)
}

// WriteJournal puts text, with the number of the purge for each [store.Number], in the
// place of old: see [store.Coordinator]. It fails with [store.ErrRefused] where the text
// is as large as half of the store.
func (s *Store) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if err := ctx.Err(); err != nil {
		return store.Journal{}, false, err
	}
	s.journals.mu.Lock()
	defer s.journals.mu.Unlock()
	now, err := s.journal(clock)
	if err != nil || now.Mark.Epoch != old.Mark.Epoch || now.Began != old.Began || now.Text != old.Text {
		return now, false, err
	}
	next := now
	next.Mark.Seq = s.seq.Add(1)
	next.Text = strings.ReplaceAll(text, store.Number, strconv.FormatUint(next.Mark.Seq, 10))
	if err := s.putJournal(clock, next, len(next.Text)-len(now.Text)); err != nil {
		return now, false, err
	}
	return next, true, nil
}

// journal needs the mutex.
func (s *Store) journal(clock string) (store.Journal, error) {
	j, ok := s.journals.byClock[clock]
	j.Mark = s.moment()
	if ok {
		return j, nil
	}
	j.Began = j.Mark.Seq
	return j, s.putJournal(strings.Clone(clock), j, len(clock)+journalOverhead)
}

// putJournal needs the mutex. What all journals have grows by so many bytes. Room is made
// in powers of two: it is not worth while to evict for each purge.
func (s *Store) putJournal(clock string, j store.Journal, grows int) error {
	all := &s.journals
	bytes := all.bytes + uint64(grows)
	reserved := max(all.reserved, minReserved)
	for bytes > reserved {
		reserved *= 2
	}
	for bytes < reserved/4 && reserved > minReserved {
		reserved /= 2
	}
	if reserved-minReserved > s.maxWeight/2 {
		return fmt.Errorf("memory: what all prefixes purged need, %d bytes, is too much for a store of %d bytes: purge everything, or make it larger: %w",
			bytes, s.maxWeight, store.ErrRefused)
	}
	if all.byClock == nil {
		all.byClock = map[string]store.Journal{}
	}
	all.byClock[clock] = j
	all.bytes = bytes
	if reserved != all.reserved {
		all.reserved = reserved
		s.cache.SetMaximum(s.maxWeight - (reserved - minReserved))
	}
	return nil
}
