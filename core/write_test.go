package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// slowWrites makes writes, but not locks, take d.
func (a *ailing) slowWrites(d time.Duration) { a.delay.Store(int64(d)) }

// TestClientDoesNotWaitForTheStore: nor does the next one get anything else than
// what is on its way there.
func TestClientDoesNotWaitForTheStore(t *testing.T) {
	for _, coalesce := range []cacheaside.CoalescingScope{cacheaside.CoalesceAll, cacheaside.CoalesceNone} {
		for _, vary := range []string{"", "Accept-Language"} {
			t.Run(coalesce.String()+" "+vary, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, rows, one := newAiling(t, func(c *cacheaside.Config) { c.Policy.Coalescing.Scope = coalesce })
					if vary != "" {
						rows.header = http.Header{"Vary": {vary}}
					}
					a.slowWrites(20 * time.Millisecond)
					takes := 20 * time.Millisecond
					if d := one.timed(t, "/a"); d != 0 {
						t.Errorf("a client waited %v for the store", d)
					}
					if d := one.timed(t, "/a"); d != takes || rows.calls.Load() != 1 {
						t.Errorf("the next request took %v, %d calls of the handler", d, rows.calls.Load())
					}
					if st := one.Stats(); st.Hits != 1 || st.Misses != 1 || st.Stores != 1 {
						t.Errorf("stats %+v", st)
					}
				})
			})
		}
	}
}

// TestWriteTakesTooLong: who comes meanwhile waits like for a look-up, then for
// the request that is being stored, but asks the handler only if that fails.
func TestWriteTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t)
		a.slowWrites(200 * time.Millisecond)
		one.timed(t, "/a")
		if d := one.timed(t, "/a"); d > 201*time.Millisecond || rows.calls.Load() != 1 {
			t.Errorf("the next request took %v, %d calls of the handler", d, rows.calls.Load())
		}
		a.slowWrites(time.Minute)
		one.timed(t, "/b")
		if d := one.timed(t, "/b"); d > defaultStoreTimeout+time.Millisecond || rows.calls.Load() != 3 {
			t.Errorf("after a failed write a request took %v, %d calls of the handler", d, rows.calls.Load())
		}
		must(t, one.Flush(t.Context()))
	})
}

func TestWriteBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t, func(c *cacheaside.Config) {
			c.Background.WriteBuffer, c.Policy.Coalescing.Scope = 4000, cacheaside.CoalesceNone
		})
		a.slowWrites(100 * time.Millisecond)
		rows.header = http.Header{"X-Long": {strings.Repeat("x", 1000)}}
		for _, path := range []string{"/a", "/b", "/c", "/d", "/e"} {
			if d := one.timed(t, path); d != 0 {
				t.Errorf("%s took %v", path, d)
			}
		}
		must(t, one.Flush(t.Context()))
		if st := one.Stats(); st.Stores != 3 || st.StoresDropped != 2 || st.StoreErrors != 0 {
			t.Errorf("stats %+v, want 3 stored and 2 dropped", st)
		}
		// One that is larger than the buffer has its turn when there is nothing else.
		rows.header = http.Header{"X-Long": {strings.Repeat("x", 10_000)}}
		one.timed(t, "/large")
		must(t, one.Flush(t.Context()))
		one.want(t, "/large", "0", "hit")
	})
}

// TestDroppedWriteIsShared with those who came before the handler was called. For
// the others it may have been purged, so one of them asks again.
func TestDroppedWriteIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, rows, one := newAiling(t, func(c *cacheaside.Config) { c.Background.WriteBuffer = 1 })
		a.slowWrites(100 * time.Millisecond)
		one.timed(t, "/a") // takes the buffer
		rows.during = func(string) { time.Sleep(10 * time.Millisecond) }
		for range 10 {
			go one.timed(t, "/b")
		}
		time.Sleep(50 * time.Millisecond)
		asked := rows.calls.Load() - 1
		if st := one.Stats(); asked > 2 || st.Coalesced != 10-uint64(asked) || st.StoresDropped != uint64(asked) {
			t.Errorf("%d calls of the handler, stats %+v", rows.calls.Load(), st)
		}
		must(t, one.Flush(t.Context()))
	})
}

func TestCloseWaitsForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.slowWrites(100 * time.Millisecond)
		one.timed(t, "/a")
		began := time.Now()
		must(t, one.Close(t.Context()))
		if d := time.Since(began); d != 100*time.Millisecond || one.Stats().Stores != 1 {
			t.Errorf("Close took %v, stats %+v", d, one.Stats())
		}
		// What is served after Close is stored before the client has it.
		if d := one.timed(t, "/b"); d != 100*time.Millisecond || one.Stats().Stores != 2 {
			t.Errorf("a request after Close took %v, stats %+v", d, one.Stats())
		}
	})
}

// TestCloseWaitsForAllWrites has more of them than are made at a time.
func TestCloseWaitsForAllWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 200
		a, _, one := newAiling(t)
		a.slowWrites(100 * time.Millisecond)
		for i := range many {
			one.timed(t, fmt.Sprint("/", i))
		}
		must(t, one.Close(t.Context()))
		if st := one.Stats(); st.Stores != many || st.StoresDropped != 0 {
			t.Errorf("stats %+v, want %d stored", st, many)
		}
	})
	// Not if there is no time for it.
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.slowWrites(100 * time.Millisecond)
		for i := range 200 {
			one.timed(t, fmt.Sprint("/", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := one.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 150*time.Millisecond {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
		must(t, one.Flush(t.Context()))
		if st := one.Stats(); st.Stores+st.StoresDropped != 200 || st.Stores < 64 || st.StoresDropped == 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestCloseDoesNotWaitForeverForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.slowWrites(100 * time.Millisecond)
		one.timed(t, "/a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := one.Close(ctx); err == nil {
			t.Error("Close returned without an error before the write had ended")
		}
		time.Sleep(time.Second)
	})
}

// TestPurgeDuringWrite: what was purged before it arrived in the store is not
// stored, though the client has it.
func TestPurgeDuringWrite(t *testing.T) {
	for name, purge := range map[string]func(context.Context, *cacheaside.Cache) error{
		"URL": func(ctx context.Context, c *cacheaside.Cache) error { return c.PurgeURL(ctx, "http://example.com/a") },
		"tag": func(ctx context.Context, c *cacheaside.Cache) error { return c.PurgeTags(ctx, "row-a") },
		"all": func(ctx context.Context, c *cacheaside.Cache) error { return c.Purge(ctx, cacheaside.Purge{All: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, rows, one := newAiling(t)
				two := newInstance(t, a, rows, quiet)
				two.want(t, "/x", "0", "miss") // it has a journal
				a.slowWrites(20 * time.Millisecond)
				one.timed(t, "/a")
				rows.set("/a", 2)
				must(t, purge(t.Context(), two.Cache))
				a.slowWrites(0)
				for _, i := range []*instance{one, two} {
					r := httptest.NewRequest(http.MethodGet, "http://example.com/a", nil)
					w := httptest.NewRecorder()
					if i.h.ServeHTTP(w, r); w.Body.String() != "2" {
						t.Errorf("%q after the purge, %v", w.Body, w.Header())
					}
				}
			})
		})
	}
}

// lateField sets a field when the header is written.
type lateField struct {
	http.ResponseWriter
	name, value string
	done        bool
}

func (w *lateField) WriteHeader(status int) {
	if !w.done {
		w.done = true
		w.Header().Add(w.name, w.value)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *lateField) Write(b []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// TestFollowersOfAPersonalResponse: what middleware in front has made personal as the
// header was written (it has saved a session, which the handler has begun) is not for
// those who wait either.
func TestFollowersOfAPersonalResponse(t *testing.T) {
	for _, field := range [][2]string{{"Set-Cookie", "session=1"}, {"Cache-Control", "private"}, {"Cache-Control", "no-store"}, {"X-Any", "1"}} {
		inBubble(t, field[0]+": "+field[1], func(t *testing.T) {
			var tokens atomic.Int64
			f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				fmt.Fprint(w, "token ", tokens.Add(1))
			})
			behind := f.nodes[0]
			f.nodes[0] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				behind.ServeHTTP(&lateField{w, field[0], field[1], false}, r)
			})
			shared := 0
			seen := map[string]bool{}
			for _, a := range f.herd(5, "/") {
				if seen[a.Body.String()] {
					shared++
				}
				seen[a.Body.String()] = true
			}
			if want := field[0] == "X-Any"; want != (shared == 4) || !want && shared > 0 {
				t.Errorf("%d of 5 were given another one's token", shared)
			}
		})
	}
}
