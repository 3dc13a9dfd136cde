package cacheaside

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// counted is a store that is shared, as far as the engine knows, and counts how often
// the journal is read.
type counted struct {
	store.Coordinator
	reads atomic.Int64
}

func (s *counted) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	s.reads.Add(1)
	return s.Coordinator.ReadJournal(ctx, clock)
}

// TestPurgesDoNotExpireTheJournal: it is read as often as without purges of tags, and
// once for each of a URL, which has to know in what ways others tell URLs apart.
func TestPurgesDoNotExpireTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counted{Coordinator: Must(memory.New(1 << 20))}
		c := Must(New(Config{Store: s}))
		t.Cleanup(func() {
			_ = c.Close(context.Background())
			_ = s.Close()
		})
		for range 2 { // with the first copy it is not known how much is purged
			time.Sleep(purges.JournalWait) // longer than a copy is used
			if err := c.ledger.BeginJournal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		before := s.reads.Load()
		for range 100 {
			for _, err := range []error{c.PurgeTags(t.Context(), "a"), c.PurgeURL(t.Context(), "http://example.com/"), c.Purge(t.Context(), Purge{Tags: []string{"b"}, Soft: true})} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := s.reads.Load() - before; n != 100 {
			t.Errorf("%d reads for 200 purges of tags and 100 of URLs", n)
		}
	})
}
