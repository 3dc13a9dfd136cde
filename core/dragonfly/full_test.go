package dragonfly_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// TestFullCostsTheStoreAlone: where a server refuses locks, tokens and writes, a response is
// not stored, and that is all: the handler is asked once for those who came before it was,
// and once for those who came while it ran, nobody gets an error or waits for what will not
// come, nothing is tried again, and what is stored is still found.
func TestFullCostsTheStoreAlone(t *testing.T) {
	storetest.EachKind(t, func(t *testing.T, only servers.Option) {
		p := storetest.StartServer(t, servers.Memory(256<<20), servers.NoEviction(), only)
		s := openPatiently(t, p.Addr)
		w := newSite(t, s, unhurried)
		w.hits(t, "/stored")
		for size, i := 1<<20, 0; size > 0; i++ { // to the last byte
			err := s.Set(t.Context(), fmt.Sprint("some:key:of:ours:", i), make([]byte, size), time.Hour)
			if err != nil && !errors.Is(err, dragonfly.ErrRefused) || i > 100_000 {
				t.Fatalf("filling the server, %d bytes: %v", size, err)
			}
			if err != nil {
				size /= 16
			}
		}
		// Buffers of connections shrink in time: it stays full.
		run(t, other(t, p.Addr), "CONFIG", "SET", "maxmemory", fmt.Sprint(128<<20))
		const clients, rounds = int64(50), int64(3)
		before, began := w.Stats(), w.calls.Load()
		for round := range rounds {
			called, path := w.calls.Load(), fmt.Sprint("/cold/", round)
			release := make(chan struct{})
			w.answer = func(string) string { <-release; return "fresh" }
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					if body, hit := w.get(t, path); hit || body != "fresh" {
						t.Errorf("%s: %q, hit %v", path, body, hit)
					}
				})
			}
			until(t, "all wait for one", func() bool { return w.Stats().Waiting == uint64(clients-1) })
			close(release)
			all.Wait()
			// Once more for those who came while it ran; a busy machine lets some of them come later.
			if n := w.calls.Load() - called; n < 1 || n > clients/5 {
				t.Errorf("%s: the handler was asked %d times for %d clients", path, n, clients)
			}
			if _, hit := w.get(t, path); hit {
				t.Errorf("%s was stored on a full server", path)
			}
		}
		if _, hit := w.get(t, "/stored"); !hit {
			t.Error("what was stored is not found")
		}
		after, calls := w.Stats(), w.calls.Load()-began
		if n := after.Coalesced - before.Coalesced; n != uint64(rounds*(clients+1)-calls) {
			t.Errorf("%d requests shared what another one got, and the handler was asked %d times", n, calls)
		}
		if n := after.Refused - before.Refused; n != uint64(calls) || after.StoreErrors > 0 || after.BreakerOpened > 0 || after.Skipped > 0 || after.Stores != before.Stores {
			t.Errorf("%d refusals where the handler was asked %d times; %+v", n, calls, after)
		}
		run(t, other(t, p.Addr), "FLUSHALL")
		w.hits(t, "/cold/0")
	})
}
