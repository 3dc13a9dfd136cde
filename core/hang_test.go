package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// TestHandlerThatHangs delays those who come while it may still answer, and nobody
// else, for whatever reason it was called: in all processes.
func TestHandlerThatHangs(t *testing.T) {
	for _, control := range []string{"private", "max-age=1", "no-cache", "max-age=1, stale-while-revalidate=1000", "max-age=1, stale-if-error=1000"} {
		for _, nodes := range []int{1, 2} {
			for _, late := range []time.Duration{time.Second, time.Minute} {
				inBubble(t, fmt.Sprintf("%s, %d processes, after %v", control, nodes, late), func(t *testing.T) {
					stuck := make(chan struct{})
					var hangs atomic.Bool
					f := newFleet(t, nodes, func(w http.ResponseWriter, _ *http.Request) {
						if hangs.CompareAndSwap(true, false) {
							<-stuck
						}
						w.Header().Set("Cache-Control", control)
						fmt.Fprint(w, "fine")
					}, func(c *cacheaside.Config) { c.Policy.Stale.SoftTimeout = 3 * time.Second })
					f.get("/")
					time.Sleep(time.Hour)
					hangs.Store(true)
					go f.send(context.Background(), 0, http.MethodGet, "/", "Cache-Control", "max-stale=0")
					time.Sleep(late)
					slow, n := 0, 10*nodes
					for i := range n {
						a := f.send(context.Background(), i, http.MethodGet, "/")
						a.is(t, 200, "fine", "")
						if a.took > defaultWaitTimeout+100*time.Millisecond {
							t.Errorf("request %d waited %v", i, a.took)
						} else if a.took > 0 {
							slow++
						}
						time.Sleep(3 * time.Second) // what was stored has expired
					}
					if most := 4; slow > most {
						t.Errorf("%d of %d requests, one after the other, have waited", slow, n)
					}
					before := f.store.unlocks.Load()
					close(stuck)
					synctest.Wait()
					if f.store.unlocks.Load() != before {
						t.Error("a lock was released that was released before")
					}
					for key, token := range f.store.holders {
						if holder := f.store.holder(key); holder == token {
							t.Error("a lock was never released")
						}
					}
				})
			}
		}
	}
}

// TestHandlerThatHangsAlone: nobody has come while it could still answer, and what
// is stored comes from elsewhere. Its flight keeps nobody from renewing that.
func TestHandlerThatHangsAlone(t *testing.T) {
	for _, control := range []string{"max-age=10, stale-while-revalidate=1000", "max-age=10, stale-if-error=1000"} {
		inBubble(t, control, func(t *testing.T) {
			stuck := make(chan struct{})
			var calls atomic.Int64
			f := newFleet(t, 2, func(w http.ResponseWriter, _ *http.Request) {
				n := calls.Add(1)
				if n == 1 {
					<-stuck
				}
				w.Header().Set("Cache-Control", control)
				fmt.Fprint(w, n)
			}, func(c *cacheaside.Config) { c.Policy.Stale.SoftTimeout = 3 * time.Second })
			node := func(n int) *got { return f.send(context.Background(), n, http.MethodGet, "/") }
			go node(0)
			time.Sleep(2 * time.Minute)
			node(1).is(t, 200, "2", "stored")
			for range 3 {
				time.Sleep(15 * time.Second)
				if a := node(0); a.took > 0 {
					t.Errorf("a client waited %v", a.took)
				}
				synctest.Wait()
			}
			if n := calls.Load(); n != 5 {
				t.Errorf("the handler ran %d times, want 5", n)
			}
			close(stuck)
			synctest.Wait()
		})
	}
}

// TestHerdBehindAHandlerThatHangs: they all ask themselves when their time is over,
// and who comes then follows one of them.
func TestHerdBehindAHandlerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var calls atomic.Int64
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				<-stuck
			}
			time.Sleep(2 * time.Second)
			fmt.Fprint(w, "fine")
		}, process)
		go f.get("/")
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { f.herd(10, "/") })
		time.Sleep(defaultWaitTimeout + time.Second) // they run
		f.calls.Store(0)
		for _, a := range f.herd(10, "/") {
			a.is(t, 200, "fine", "collapsed")
		}
		f.called(0)
		wg.Wait()
		close(stuck)
		time.Sleep(time.Minute)
	})
}

// TestFlightEndsWhileItsLeaderLocks: the lock is released all the same.
func TestFlightEndsWhileItsLeaderLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second), func(c *cacheaside.Config) { c.Policy.Coalescing.Wait, c.Timeouts.Lookup = time.Second, time.Minute })
		key := f.lockKey(t, "/")
		var locks atomic.Int64
		f.store.taking = func(context.Context) error {
			if locks.Add(1) == 1 {
				time.Sleep(5 * time.Second)
			}
			return nil
		}
		go f.get("/")
		time.Sleep(time.Millisecond)
		f.get("/") // ends the flight, and is the next leader
		time.Sleep(10 * time.Second)
		if holder := f.store.holder(key); holder != "" {
			t.Errorf("%q still holds the lock", holder)
		}
	})
}

// TestRefreshThatHangs gives its place to others, up to twice the places.
func TestRefreshThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 2
		hang := make(chan struct{})
		var stuck atomic.Bool
		var n atomic.Int64
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=100000")
			if stuck.Load() && r.URL.Path != "/ok" {
				<-hang
			}
			fmt.Fprint(w, n.Add(1))
		}, func(c *cacheaside.Config) { c.Background.Runs, c.Policy.Stale.RefreshTimeout = places, 5*time.Second })
		for i := range 3 * places {
			f.get("/" + strconv.Itoa(i))
		}
		f.get("/ok")
		time.Sleep(11 * time.Second)
		stuck.Store(true)
		renewed := func() bool {
			before := f.stats().Refreshed
			f.get("/ok")
			synctest.Wait()
			time.Sleep(11 * time.Second)
			return f.stats().Refreshed > before
		}
		for i := range places {
			f.get("/" + strconv.Itoa(i))
		}
		time.Sleep(4 * time.Second)
		if hung := f.caches[0].Stats().RefreshHung; hung != 0 {
			t.Errorf("%d hang before their time", hung)
		}
		time.Sleep(2 * time.Second)
		if hung := f.caches[0].Stats().RefreshHung; hung != places {
			t.Errorf("%d hang, want %d", hung, places)
		}
		if !renewed() {
			t.Error("nothing is renewed any more")
		}
		for i := range 2 * places {
			f.get("/" + strconv.Itoa(i+places))
		}
		time.Sleep(time.Minute)
		if n := f.active.Load(); n != 2*places {
			t.Errorf("%d hang, want %d", n, 2*places)
		}
		if renewed() {
			t.Error("there is no bound")
		}
		close(hang)
		synctest.Wait()
		time.Sleep(11 * time.Second)
		if !renewed() || f.active.Load() != 0 {
			t.Error("nothing is renewed any more")
		}
	})
}

// TestRefreshThatExits gives its place back as well.
func TestRefreshThatExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exits atomic.Bool
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			if exits.Load() {
				runtime.Goexit()
			}
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=1000")
			fmt.Fprint(w, "fine")
		}, func(c *cacheaside.Config) { c.Background.Runs = 1 })
		f.get("/")
		time.Sleep(11 * time.Second)
		exits.Store(true)
		f.get("/")
		synctest.Wait()
		exits.Store(false)
		time.Sleep(11 * time.Second)
		f.get("/")
		synctest.Wait()
		f.refreshed(1, 1, 0)
	})
}

// TestClientsThatLeave are no failure of the store, whatever they were about, and
// its own is one.
func TestClientsThatLeave(t *testing.T) {
	m, err := memory.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, given := range map[string]store.Store{"embedded": nil, "given": m, "server": &remote{standin: newStandin()}} {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Cache-Control", "Vary", "Etag", "Cache-Group-Invalidation", "Cache-Tag"} {
				if s := r.Header.Get("X-" + name); s != "" {
					w.Header().Set(name, s)
				}
			}
			if r.Header.Get("X-Private") != "" {
				w.Header().Set("Cache-Control", "private")
			}
			fmt.Fprint(w, "fine")
		}, func(c *cacheaside.Config) {
			c.Store, c.Namespace, c.Policy.Requests.ValidateVariants = given, name, true
			c.Policy.Stale.RefreshAhead = 0.5
		})
		do := func(method, target string, fields ...string) *got { return f.send(gone, 0, method, target, fields...) }
		do("GET", "/a").is(t, 200, "fine", "stored")
		do("GET", "/a").is(t, 200, "fine", "hit")
		do("GET", "/tagged", "X-Cache-Tag", "x").is(t, 200, "fine", "stored")
		do("GET", "/tagged").is(t, 200, "fine", "hit")
		do("GET", "/vary", "X-Vary", "X-A", "X-Etag", `"1"`).is(t, 200, "fine", "stored")
		do("GET", "/vary", "X-Vary", "X-A", "X-Etag", `"2"`, "X-A", "2").is(t, 200, "fine", "stored")
		do("GET", "/vary", "X-A", "2").is(t, 200, "fine", "hit")
		do("GET", "/stale", "X-Cache-Control", "no-cache", "X-Etag", `"1"`).is(t, 200, "fine", "stored")
		do("HEAD", "/stale", "X-Etag", `"2"`)
		do("GET", "/stale", "X-Cache-Control", "no-cache")
		do("GET", "/stale", "X-Private", "1")
		do("POST", "/a", "X-Cache-Group-Invalidation", `"g"`).is(t, 200, "fine", "fwd=method")
		if a := f.get("/a"); a.status() == "cacheaside; hit" {
			t.Errorf("%s: an unsafe request whose client has left has purged nothing", name)
		}
		if s := f.caches[0].Stats(); s.StoreErrors != 0 || s.PurgeErrors != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	broken := &remote{standin: newStandin()}
	broken.failSet.Store(true)
	f := newFleet(t, 1, slow(0), func(c *cacheaside.Config) { c.Store = noGuards{broken} })
	f.send(gone, 0, "GET", "/a")
	if f.caches[0].Stats().StoreErrors == 0 {
		t.Error("the failure of the store was not counted")
	}
}

// noGuards is a store and nothing more.
type noGuards struct{ store.Store }

// refusing works, but takes no responses.
type refusing struct{ *standin }

func (refusing) Write(context.Context, store.Write) (store.Written, error) {
	return store.Written{}, fmt.Errorf("full: %w", store.ErrRefused)
}

// TestPurgedWhileTheHandlerRuns: who comes after a purge does not get what the
// handler began to make before, also where the store never sees the guard.
func TestPurgedWhileTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var version atomic.Int64
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			v := version.Load()
			time.Sleep(time.Second)
			fmt.Fprint(w, v)
		}, process, func(c *cacheaside.Config) { c.Store = refusing{newStandin()} })
		go f.get("/")
		time.Sleep(100 * time.Millisecond)
		version.Store(1)
		if err := f.caches[0].PurgeURL(t.Context(), "http://example.com/"); err != nil {
			t.Fatal(err)
		}
		f.get("/").is(t, 200, "1", "")
		time.Sleep(time.Minute)
	})
}

func TestOmittedInRerun(t *testing.T) {
	for name, want := range map[string]bool{
		"Range": true, "If-Range": true, "If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true,
		"Cache-Control": true, "Pragma": true, "Expect": true, "Connection": true, "Te": true, "Upgrade": true, "Cdn-Loop": true,
		"Content-Length": true, "Content-Type": true, "Transfer-Encoding": true,
		"Accept": false, "Accept-Language": false, "Accept-Encoding": false, "Authorization": false, "Cookie": false, "X-Any": false, "Host": false,
	} {
		if adapter.OmittedInRerun(name, false) != want {
			t.Errorf("%s is left out: %t", name, !want)
		}
		if ofContent := name == "Transfer-Encoding" || strings.HasPrefix(name, "Content-"); adapter.OmittedInRerun(name, true) != (want && !ofContent) {
			t.Errorf("%s is left out beside content: %t", name, want && ofContent)
		}
	}
}

var errOwn = errors.New("own")

// TestRunContext is what it says of its handler.
func TestRunContext(t *testing.T) {
	type own struct{}
	parent := context.WithValue(context.Background(), own{}, 1)
	for name, tc := range map[string]struct {
		does  func(before bool, ctx context.Context)
		knows bool
	}{
		"nothing":      {func(bool, context.Context) {}, false},
		"values":       {func(_ bool, ctx context.Context) { ctx.Value(own{}); ctx.Deadline() }, false},
		"its tags":     {func(_ bool, ctx context.Context) { cacheaside.AddTags(ctx, "a") }, false},
		"early":        {func(before bool, ctx context.Context) { _ = before && ctx.Err() == nil }, false},
		"Err":          {func(before bool, ctx context.Context) { _ = before || ctx.Err() == nil }, true},
		"Cause":        {func(before bool, ctx context.Context) { _ = before || context.Cause(ctx) == nil }, true},
		"Done":         {func(_ bool, ctx context.Context) { ctx.Done() }, true},
		"a child":      {func(_ bool, ctx context.Context) { _, cancel := context.WithCancel(ctx); cancel() }, true},
		"AfterFunc":    {func(_ bool, ctx context.Context) { context.AfterFunc(ctx, func() {})() }, true},
		"a descendant": {func(before bool, ctx context.Context) { _ = before || context.WithValue(ctx, own{}, 2).Err() == nil }, true},
	} {
		ctx, cancel := context.WithCancelCause(parent)
		run := (&adapter.Forward{Run: new(adapter.Run)}).Context(ctx)
		tc.does(true, run)
		if run.Knows() {
			t.Errorf("%s: it knows what has not happened", name)
		}
		cancel(errOwn)
		tc.does(false, run)
		if run.Knows() != tc.knows {
			t.Errorf("%s: knows: %t", name, run.Knows())
		}
		if !errors.Is(run.Err(), context.Canceled) || !errors.Is(context.Cause(run), errOwn) || run.Value(own{}) != 1 {
			t.Errorf("%s: %v, %v", name, run.Err(), context.Cause(run))
		}
		run.Close()
	}
}

// TestHandlersThatAskForEachOther: each of them waits for what the next one makes, and
// the last for what the first one makes, which nobody of them does for long.
func TestHandlersThatAskForEachOther(t *testing.T) {
	for _, coalesce := range []cacheaside.CoalescingScope{cacheaside.CoalesceAll, cacheaside.CoalesceProcess} {
		for _, ring := range []int{2, 3, 5} {
			inBubble(t, fmt.Sprintf("%v, %d", coalesce, ring), func(t *testing.T) {
				var f *fleet
				f = newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					if n, _ := strconv.Atoi(r.URL.Path[1:]); r.Header.Get("X-Inner") == "" {
						f.send(r.Context(), 0, http.MethodGet, fmt.Sprint("/", (n+1)%ring), "X-Inner", "1").is(t, 200, "fine", "")
					}
					_, _ = w.Write([]byte("fine"))
				}, func(c *cacheaside.Config) { c.Policy.Coalescing.Scope = coalesce })
				var wg sync.WaitGroup
				for i := range ring {
					wg.Go(func() {
						a := f.get(fmt.Sprint("/", i))
						a.is(t, 200, "fine", "stored")
						if a.took > 3*time.Second {
							t.Errorf("it took %v", a.took)
						}
					})
				}
				wg.Wait()
				for i := range ring {
					f.get(fmt.Sprint("/", i)).is(t, 200, "fine", "hit")
				}
			})
		}
	}
}
