package cacheaside_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

// remote is a store that several processes share. Its locks can be made to fail.
type remote struct {
	*standin
	lostAnswer, lostUnlock error        // after it was done, and instead
	locks, extends         atomic.Int64 // tokens that were taken, and prolonged
	unlocks                atomic.Int64 // tokens that were given up, unused
	taking, extending      func(ctx context.Context) error
	swapping               func()
	reading                func(ctx context.Context) error // the journal
	failSet                atomic.Bool
	noting                 sync.Mutex
	lockKeys               []string
	holders                map[string]string // by lock key
	notes                  []string
}

func (r *remote) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if r.failSet.Load() {
		return errors.New("read only")
	}
	return r.standin.Set(ctx, key, value, ttl)
}

func (r *remote) Write(ctx context.Context, w store.Write) (store.Written, error) {
	if r.failSet.Load() {
		return store.Written{}, errors.New("read only")
	}
	return r.standin.Write(ctx, w)
}

func (r *remote) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if r.reading != nil {
		if err := r.reading(ctx); err != nil {
			return store.Journal{}, err
		}
	}
	return r.standin.ReadJournal(ctx, clock)
}

func (r *remote) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	if r.taking != nil {
		if err := r.taking(ctx); err != nil {
			return store.Begun{}, err
		}
	}
	begun, err := r.standin.Begin(ctx, f)
	r.noting.Lock()
	defer r.noting.Unlock()
	if r.holders == nil {
		r.holders = make(map[string]string)
	}
	if !slices.Contains(r.lockKeys, f.Lock) {
		r.lockKeys = append(r.lockKeys, f.Lock)
	}
	if begun.Token == f.Token && err == nil {
		r.locks.Add(1)
		r.holders[f.Lock] = f.Token
	}
	if r.lostAnswer != nil {
		return store.Begun{}, r.lostAnswer
	}
	return begun, err
}

func (r *remote) CompareAndExtend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	r.extends.Add(1)
	if r.extending != nil {
		if err := r.extending(ctx); err != nil {
			return false, err
		}
	}
	return r.standin.CompareAndExtend(ctx, key, token, ttl)
}

func (r *remote) CompareAndSwap(ctx context.Context, key, token, next string, ttl time.Duration) (bool, error) {
	if r.swapping != nil {
		r.swapping()
	}
	r.noting.Lock()
	defer r.noting.Unlock()
	if r.lostUnlock != nil {
		return false, r.lostUnlock
	}
	r.unlocks.Add(1)
	if strings.HasPrefix(next, "pass:") {
		r.notes = append(r.notes, next)
	}
	return r.standin.CompareAndSwap(ctx, key, token, next, ttl)
}

// Hijack does as if the connection had been taken over.
func (*got) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

// fleet is a service of several processes on one store. Its time is that of a
// synctest bubble.
type fleet struct {
	t      testing.TB
	store  *remote
	caches []*cacheaside.Cache
	nodes  []http.Handler
	calls  atomic.Int64
	active atomic.Int64 // handlers that run now
}

func newFleet(t testing.TB, n int, h http.HandlerFunc, change ...func(*cacheaside.Config)) *fleet {
	t.Helper()
	f := &fleet{t: t, store: &remote{standin: newStandin()}}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		f.active.Add(1)
		defer f.active.Add(-1)
		h(w, r)
	})
	for range n {
		cfg := cacheaside.Config{Store: f.store, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: 30 * time.Second}}
		for _, c := range change {
			c(&cfg)
		}
		cache, err := cacheaside.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cache.Close(context.Background()) })
		f.caches = append(f.caches, cache)
		f.nodes = append(f.nodes, nethttp.New(cache)(counted))
	}
	return f
}

func (f *fleet) stats() (sum cacheaside.Stats) {
	synctest.Wait() // what follows an answer is counted as well
	for _, c := range f.caches {
		s := c.Stats()
		sum.Hits += s.Hits
		sum.Misses += s.Misses
		sum.Coalesced += s.Coalesced
		sum.Refreshed += s.Refreshed
		sum.RefreshErrors += s.RefreshErrors
		sum.RefreshDropped += s.RefreshDropped
		sum.StaleWhileRevalidate += s.StaleWhileRevalidate
		sum.StaleIfError += s.StaleIfError
		sum.StoreErrors += s.StoreErrors
		sum.Corrupt += s.Corrupt
		sum.Stores += s.Stores
		sum.Contended += s.Contended
		sum.Overtaken += s.Overtaken
	}
	return sum
}

// got is what a client got, or how its connection ended.
type got struct {
	*httptest.ResponseRecorder
	took     time.Duration
	panicked any
	exited   bool
}

func (a *got) status() string { return strings.Join(a.Header().Values("Cache-Status"), ", ") }

func (f *fleet) send(ctx context.Context, node int, method, target string, fields ...string) *got {
	h := f.nodes[node%len(f.nodes)]
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	r = r.WithContext(context.WithValue(ctx, http.ServerContextKey, &http.Server{Handler: h}))
	a := &got{ResponseRecorder: httptest.NewRecorder(), exited: true}
	start := time.Now()
	done := make(chan struct{})
	go func() { // a handler may end its goroutine
		defer close(done)
		defer func() {
			a.took = time.Since(start)
			a.panicked = recover()
		}()
		h.ServeHTTP(a, r)
		a.exited = false
	}()
	<-done
	_ = f.caches[node%len(f.nodes)].Flush(context.Background())
	if a.panicked != nil {
		a.exited = false
	}
	return a
}

func (f *fleet) get(target string, fields ...string) *got {
	return f.send(context.Background(), 0, http.MethodGet, target, fields...)
}

// herd sends n requests at once, in turns to the nodes.
func (f *fleet) herd(n int, target string, fields ...string) []*got {
	return f.herdOf(n, func(i int) *got {
		return f.send(context.Background(), i, http.MethodGet, target, fields...)
	})
}

func (f *fleet) herdOf(n int, send func(i int) *got) []*got {
	all := make([]*got, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = send(i) })
	}
	wg.Wait()
	return all
}

// called checks how often the handler has run since the last time.
func (f *fleet) called(want int64) {
	f.t.Helper()
	if n := f.calls.Swap(0); n != want {
		f.t.Errorf("the handler ran %d times, want %d", n, want)
	}
}

func (a *got) is(t testing.TB, status int, body, cacheStatus string) {
	t.Helper()
	if a.panicked != nil || a.exited || a.Code != status || a.Body.String() != body || !strings.Contains(a.status(), cacheStatus) {
		t.Errorf("got %d %q, Cache-Status %q, panic %v, exited %v; want %d %q with %q",
			a.Code, a.Body, a.status(), a.panicked, a.exited, status, body, cacheStatus)
	}
}

// slow answers with the path after d.
func slow(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		fmt.Fprint(w, r.URL.Path)
	}
}

func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func process(c *cacheaside.Config) { c.Policy.Coalescing.Scope = cacheaside.CoalesceProcess }

func TestHerdOnAColdKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		f := newFleet(t, 1, slow(time.Second), process)
		collapsed := 0
		for _, a := range f.herd(n, "/a") {
			a.is(t, 200, "/a", "fwd=miss")
			if strings.Contains(a.status(), "; collapsed") {
				collapsed++
			}
			if a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(1)
		if s := f.stats(); collapsed != n-1 || s.Coalesced != n-1 {
			t.Errorf("%d are collapsed, stats %+v", collapsed, s)
		}
		f.get("/a").is(t, 200, "/a", "hit")
		if n := f.store.locks.Load(); n != 1 {
			t.Errorf("%d tokens for one fill", n)
		}
	})
}

func TestOtherKeysDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second), process)
		for i, a := range f.herdOf(50, func(i int) *got { return f.get(fmt.Sprint("/", i)) }) {
			a.is(t, 200, fmt.Sprint("/", i), "stored")
		}
		f.called(50)
	})
}

func TestCoalesceNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second), func(c *cacheaside.Config) { c.Policy.Coalescing.Scope = cacheaside.CoalesceNone })
		for _, a := range f.herd(20, "/a") {
			a.is(t, 200, "/a", "stored")
		}
		f.called(20)
		if s := f.stats(); s.Stores+s.Contended+s.Overtaken != 20 || s.Stores == 0 || s.StoreErrors != 0 {
			t.Errorf("stats %+v", s)
		}
		f.get("/a").is(t, 200, "/a", "hit")
	})
}

// TestLeaderFails: whatever ends the leader, a follower takes over.
func TestLeaderFails(t *testing.T) {
	for name, fail := range map[string]func(){
		"panic": func() { panic("first") }, "ErrAbortHandler": func() { panic(http.ErrAbortHandler) }, "Goexit": runtime.Goexit,
	} {
		inBubble(t, name, func(t *testing.T) {
			var first atomic.Bool
			f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				if first.CompareAndSwap(false, true) {
					fail()
				}
				fmt.Fprint(w, "fine")
			})
			failed := 0
			for _, a := range f.herd(100, "/") {
				if a.panicked != nil || a.exited {
					failed++
					continue
				}
				a.is(t, 200, "fine", "fwd=miss")
				if a.took > 3*time.Second {
					t.Errorf("a client waited %v", a.took)
				}
			}
			if failed != 1 {
				t.Errorf("%d clients lost their connection", failed)
			}
			f.called(2)
		})
	}
}

func TestLeadersClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(2 * time.Second):
				fmt.Fprint(w, "whole")
			case <-r.Context().Done():
				fmt.Fprint(w, "half")
			}
		}, process)
		ctx, cancel := context.WithCancel(context.Background())
		go f.send(ctx, 0, http.MethodGet, "/")
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		for _, a := range f.herd(100, "/") {
			a.is(t, 200, "whole", "fwd=miss")
			if a.took < 3*time.Second || a.took > 3*time.Second+5*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(2)
	})
}

func TestHandlerThatAlwaysPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
			panic("always")
		}, process)
		for _, a := range f.herd(100, "/") {
			if a.panicked != "always" || a.took > 4*time.Second+5*time.Millisecond {
				t.Errorf("panic %v after %v", a.panicked, a.took)
			}
		}
		f.called(100)
	})
}

func TestFollowersDoNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				time.Sleep(time.Minute)
			}
			fmt.Fprint(w, "fine")
		}, process, func(c *cacheaside.Config) { c.Policy.Coalescing.Wait = 2 * time.Second })
		late := 0
		for _, a := range f.herd(10, "/") {
			// Their time is over at once: some find what the first of them has got.
			a.is(t, 200, "fine", "cacheaside; ")
			if a.took == time.Minute {
				late++
			} else if a.took < 2*time.Second || a.took > 2*time.Second+10*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		if late != 1 {
			t.Errorf("%d waited for the slow handler", late)
		}
		if n := f.calls.Load(); n < 2 || n > 10 {
			t.Errorf("the handler ran %d times", n)
		}
	})
}

// TestFollowersAreReleasedAtOnce when it shows that the leader's response is
// for nobody else, not only when its handler returns.
func TestFollowersAreReleasedAtOnce(t *testing.T) {
	for name, begin := range map[string]func(w http.ResponseWriter){
		"flush":        func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"event stream": func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream"); w.WriteHeader(200) },
		"101":          func(w http.ResponseWriter) { w.WriteHeader(http.StatusSwitchingProtocols) },
		"too large":    func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("x", 1000)) },
		"hijack":       func(w http.ResponseWriter) { _, _, _ = w.(http.Hijacker).Hijack() },
		"trailers":     func(w http.ResponseWriter) { w.Header().Set("Trailer", "X-T"); w.WriteHeader(200) },
	} {
		inBubble(t, name, func(t *testing.T) {
			var calls atomic.Int64
			f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				n := calls.Add(1)
				time.Sleep(time.Second)
				begin(w) // a hijacked recorder still takes the body
				time.Sleep(time.Second)
				fmt.Fprint(w, "|", n)
			}, process, func(c *cacheaside.Config) { c.Policy.Storing.MaxBytes = 100 })
			seen := make(map[string]bool)
			leaders := 0
			for _, a := range f.herd(50, "/") {
				_, id, _ := strings.Cut(a.Body.String(), "|")
				if seen[id] || id == "" {
					t.Errorf("%q was sent twice", id)
				}
				seen[id] = true
				if a.took == 2*time.Second {
					leaders++
				} else if a.took != 3*time.Second {
					t.Errorf("a client waited %v", a.took)
				}
			}
			if leaders != 1 {
				t.Errorf("%d leaders", leaders)
			}
			f.called(50)
		})
	}
}

// TestNobodyGetsAnothersResponse where it may not be stored; and a second herd
// does not queue up.
func TestNobodyGetsAnothersResponse(t *testing.T) {
	for name, c := range map[string]struct {
		name, value string
		status      int
		fields      []string
	}{
		"private":       {name: "Cache-Control", value: "private, max-age=60"},
		"no-store":      {name: "Cache-Control", value: "no-store"},
		"Set-Cookie":    {name: "Set-Cookie", value: "id=1"},
		"Vary *":        {name: "Vary", value: "*"},
		"500":           {status: 500},
		"404":           {status: 404},
		"Authorization": {fields: []string{"Authorization", "Basic x"}},
		"no-cache":      {name: "Cache-Control", value: "no-cache"},
	} {
		inBubble(t, name, func(t *testing.T) {
			var calls atomic.Int64
			var storable atomic.Bool
			f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				n := calls.Add(1)
				time.Sleep(time.Second)
				if storable.Load() {
					w.Header().Set("Cache-Control", "public, max-age=60")
				} else {
					if c.name != "" {
						w.Header().Set(c.name, c.value)
					}
					if c.status != 0 {
						w.WriteHeader(c.status)
					}
				}
				fmt.Fprint(w, "secret ", n)
			}, process)
			seen := make(map[string]bool)
			for round := range 2 {
				for _, a := range f.herd(100, "/", c.fields...) {
					if b := a.Body.String(); seen[b] || b == "" || strings.Contains(a.status(), "collapsed") {
						t.Errorf("%q for two: %s", b, a.status())
					} else {
						seen[b] = true
					}
					if most := time.Duration(2-round) * time.Second; a.took > most {
						t.Errorf("a client waited %v in herd %d", a.took, round)
					}
				}
				f.called(100)
			}
			storable.Store(true)
			f.get("/", c.fields...) // is remembered as one that can be shared
			f.called(1)
			time.Sleep(2 * time.Minute)
			for _, a := range f.herd(100, "/", c.fields...) {
				if a.took != time.Second {
					t.Errorf("a client waited %v", a.took)
				}
			}
			f.called(1)
		})
	}
}

// TestPassIsForgotten at once when the response becomes storable.
func TestPassIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var storable atomic.Bool
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(10 * time.Millisecond)
			w.Header().Set("Cache-Control", map[bool]string{false: "no-store", true: "max-age=1"}[storable.Load()])
			fmt.Fprint(w, "x")
		}, process)
		f.herd(10, "/")
		f.called(10)
		time.Sleep(11 * time.Second)
		storable.Store(true)
		f.herd(10, "/")
		f.called(1)
	})
}

func TestVariantsOfAColdKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.Header().Set("Vary", "Accept-Language")
			fmt.Fprint(w, r.Header.Get("Accept-Language"))
		})
		langs := [2]string{"de", "en"}
		for i, a := range f.herdOf(200, func(i int) *got { return f.get("/", "Accept-Language", langs[i%2]) }) {
			a.is(t, 200, langs[i%2], "fwd=")
			if a.took > 3*time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(2)
		// Once the names are known the variants do not wait for each other.
		time.Sleep(time.Minute)
		for i, a := range f.herdOf(200, func(i int) *got { return f.get("/", "Accept-Language", langs[i%2]) }) {
			a.is(t, 200, langs[i%2], "fwd=")
		}
		f.called(2)
	})
}

func TestAuthorizationDoesNotDisturbOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			fmt.Fprint(w, "for "+r.Header.Get("Authorization"))
		}, process)
		for i, a := range f.herdOf(100, func(i int) *got {
			if i%2 == 0 {
				return f.get("/", "Authorization", fmt.Sprint(i))
			}
			return f.get("/")
		}) {
			if i%2 == 0 {
				a.is(t, 200, fmt.Sprint("for ", i), "fwd=miss")
			} else if a.is(t, 200, "for ", "fwd=miss"); a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(51)
	})
}

func TestSomeRequestsAreNeverCollapsed(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		fields []string
	}{
		"no-cache":  {"GET", []string{"Cache-Control", "no-cache"}},
		"max-age=0": {"GET", []string{"Cache-Control", "max-age=0"}},
		"no-store":  {"GET", []string{"Cache-Control", "no-store"}},
		"min-fresh": {"GET", []string{"Cache-Control", "min-fresh=5"}},
		"Range":     {"GET", []string{"Range", "bytes=0-1"}},
		"HEAD":      {"HEAD", nil},
		"POST":      {"POST", nil},
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newFleet(t, 1, slow(time.Second), process)
			go f.get("/") // a flight that they could join
			synctest.Wait()
			for _, a := range f.herdOf(10, func(int) *got {
				return f.send(context.Background(), 0, c.method, "/", c.fields...)
			}) {
				if a.Code != 200 || strings.Contains(a.status(), "collapsed") || a.took != time.Second {
					t.Errorf("%d %s after %v", a.Code, a.status(), a.took)
				}
			}
			f.called(11)
		})
	}
}

func TestConditionalHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				t.Error("the handler saw one client's condition")
			}
			time.Sleep(time.Second)
			w.Header().Set("Etag", `"v1"`)
			fmt.Fprint(w, "whole")
		})
		for i, a := range f.herdOf(99, func(i int) *got {
			return f.get("/", [][]string{{}, {"If-None-Match", `"v1"`}, {"If-None-Match", `"v0"`}}[i%3]...)
		}) {
			if i%3 == 1 {
				a.is(t, 304, "", "fwd=miss")
			} else {
				a.is(t, 200, "whole", "fwd=miss")
			}
		}
		f.called(1)
	})
}

func TestForwardedConditionsAreNotCollapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.Header().Set("Etag", `"v1"`)
			if r.Header.Get("If-None-Match") == `"v1"` {
				w.WriteHeader(304)
				return
			}
			fmt.Fprint(w, "whole")
		}, process, func(c *cacheaside.Config) { c.Policy.Requests.ForwardConditions = true })
		for i, a := range f.herdOf(20, func(i int) *got {
			if i%2 == 0 {
				return f.get("/", "If-None-Match", `"v1"`)
			}
			return f.get("/")
		}) {
			if i%2 == 0 {
				a.is(t, 304, "", "fwd=miss")
			} else {
				a.is(t, 200, "whole", "fwd=miss")
			}
		}
		f.called(11)
	})
}

func TestFollowersOwnContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(3*time.Second), process)
		first := make(chan *got, 1)
		go func() { first <- f.get("/") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a := f.send(ctx, 0, http.MethodGet, "/")
		if a.is(t, 504, "", "fwd=miss; collapsed"); a.took != time.Second {
			t.Errorf("answered after %v", a.took)
		}
		(<-first).is(t, 200, "/", "stored")
		f.called(1)
	})
}

func TestNestedHandlesDoNotWaitForEachOther(t *testing.T) {
	for name, change := range map[string]func(*cacheaside.Policy){
		"one key": func(p *cacheaside.Policy) { p.TTL = 10 * time.Second }, "two keys": func(p *cacheaside.Policy) { p.Key.Headers = []string{"X-A"} },
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newFleet(t, 1, slow(time.Second))
			inner := cacheaside.Must(f.caches[0].With(change))
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.calls.Add(1); slow(time.Second)(w, r) })
			f.nodes[0] = nethttp.New(f.caches[0])(nethttp.New(inner)(h))
			for _, a := range f.herd(50, "/") {
				if a.Code != 200 || a.Body.String() != "/" || a.took > 2*time.Second {
					t.Errorf("%d %q %s after %v", a.Code, a.Body, a.status(), a.took)
				}
			}
			f.called(1)
		})
	}
}

// slowToWrite is a store whose answers to writes take a while.
type slowToWrite struct{ *remote }

func (s slowToWrite) Write(ctx context.Context, w store.Write) (store.Written, error) {
	time.Sleep(20 * time.Millisecond)
	return s.remote.Write(ctx, w)
}

// TestNestedHandlesAreCoalesced over processes, and again when the response has
// expired: that the inner handle has dealt with it does not mean that nobody may
// have it, also while it is still on its way to the store.
func TestNestedHandlesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(time.Second), func(c *cacheaside.Config) { c.Store = slowToWrite{c.Store.(*remote)} })
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.calls.Add(1); slow(time.Second)(w, r) })
		for i, c := range f.caches {
			middle := cacheaside.Must(c.With(func(c *cacheaside.Policy) { c.TTL = 3 * time.Second }))
			inner := cacheaside.Must(c.With(func(c *cacheaside.Policy) { c.TTL = 2 * time.Second }))
			f.nodes[i] = nethttp.New(c)(nethttp.New(middle)(nethttp.New(inner)(h)))
		}
		for range 3 {
			for _, a := range f.herd(60, "/") {
				if a.Code != 200 || a.Body.String() != "/" || a.took > 1200*time.Millisecond {
					t.Errorf("%d %q %s after %v", a.Code, a.Body, a.status(), a.took)
				}
			}
			f.called(1)
			time.Sleep(3 * time.Second)
		}
	})
}

// TestPanicBetweenHandles: what the inner handle has got is stored, whatever
// becomes of the request in which it was asked for.
func TestPanicBetweenHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second), func(c *cacheaside.Config) { c.Store = slowToWrite{c.Store.(*remote)} })
		inner := nethttp.New(f.caches[0])(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.calls.Add(1)
			slow(time.Second)(w, r)
		}))
		var first atomic.Bool
		f.nodes[0] = nethttp.New(f.caches[0])(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			if first.CompareAndSwap(false, true) {
				panic("between")
			}
		}))
		failed := 0
		for _, a := range f.herd(20, "/") {
			if a.panicked == "between" {
				failed++
				continue
			}
			a.is(t, 200, "/", "; collapsed")
		}
		if failed != 1 {
			t.Errorf("%d requests failed", failed)
		}
		f.called(1)
	})
}

func TestStoreThatCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second))
		f.store.failSet.Store(true)
		for _, a := range f.herd(100, "/") {
			a.is(t, 200, "/", "fwd=miss")
		}
		if n := f.calls.Load(); n > 2 { // who joined when the handler ran already looks again
			t.Errorf("the handler ran %d times", n)
		}
	})
}

// drowning is a store whose answers take longer than anybody waits, each as long as it likes.
type drowning struct{ *remote }

func (drowning) late(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rand.N(50*time.Millisecond))
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func (d drowning) Get(ctx context.Context, _ string) ([]byte, bool, error) {
	return nil, false, d.late(ctx)
}

func (d drowning) GetStamped(ctx context.Context, _ string, _ []store.Stamp, _ []string) ([]byte, bool, []store.Stamp, error) {
	return nil, false, nil, d.late(ctx)
}

func (d drowning) Begin(ctx context.Context, _ store.Fill) (store.Begun, error) {
	return store.Begun{}, d.late(ctx)
}

// TestHerdOnADrowningStore: that nothing can be locked, looked up or stored is no reason to
// run the handler for several at once, though each look at the store takes another time, so
// that many join when the handler runs already.
func TestHerdOnADrowningStore(t *testing.T) {
	for name, failures := range map[string]int{"breaker": 0, "no breaker": -1} {
		inBubble(t, name, func(t *testing.T) {
			var most atomic.Int64
			var f *fleet
			f = newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
				most.Store(max(most.Load(), f.active.Load()))
				slow(10*time.Millisecond)(w, r)
			}, func(c *cacheaside.Config) { c.Store, c.Breaker.Failures = drowning{c.Store.(*remote)}, failures })
			for _, a := range f.herd(500, "/") {
				a.is(t, 200, "/", "fwd=miss")
			}
			if n := most.Load(); n > 1 {
				t.Errorf("the handler ran for %d at once, %d times in all", n, f.calls.Load())
			}
		})
	}
}

func TestHerdOverProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(time.Second))
		for _, a := range f.herd(200, "/") {
			a.is(t, 200, "/", "fwd=miss")
			if a.took > 1200*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(1)
		if s := f.stats(); s.Coalesced != 199 || s.StoreErrors != 0 {
			t.Errorf("stats %+v", s)
		}
		for _, key := range f.store.lockKeys {
			if holder := f.store.holder(key); holder != "" {
				t.Errorf("%s is still locked by %s", key, holder)
			}
		}
	})
}

// TestCoalesceProcess: processes do not wait for each other, and share a token.
func TestCoalesceProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(time.Second), process)
		for _, a := range f.herd(200, "/") {
			if a.is(t, 200, "/", "fwd=miss"); a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(3)
		if s := f.stats(); s.Stores == 0 || s.Stores+s.Contended+s.Overtaken != 3 || f.store.locks.Load() != int64(s.Stores) {
			t.Errorf("%d tokens, stats %+v", f.store.locks.Load(), s)
		}
	})
}

// lockKey is what the requests for target are locked under.
func (f *fleet) lockKey(t *testing.T, target string) string {
	f.herd(1, target)
	f.calls.Store(0)
	time.Sleep(time.Hour)
	if len(f.store.lockKeys) != 1 || !strings.HasSuffix(f.store.lockKeys[0], ":lock") {
		t.Fatalf("lock keys: %q", f.store.lockKeys)
	}
	return f.store.lockKeys[0]
}

// ofDead is the token of a process that has died.
const ofDead = "ABCDEFGHIJKLMN27-1a"

func TestHolderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(time.Second))
		key := f.lockKey(t, "/")
		f.store.lock(key, ofDead, defaultLockTTL)
		for _, a := range f.herd(90, "/") {
			a.is(t, 200, "/", "fwd=")
			if a.took < defaultLockTTL || a.took > defaultLockTTL+1500*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(1)
	})
}

// TestForeignLock: nobody waits for what would perhaps never go away. It is counted,
// and gives way.
func TestForeignLock(t *testing.T) {
	for _, content := range []string{"foreign \x00 content", "x", "1", "abcdefghijklmnop-1", "ABCDEFGHIJKLMNOP-", "ABCDEFGHIJKLMNOP1A"} {
		inBubble(t, content, func(t *testing.T) {
			f := newFleet(t, 2, slow(time.Second))
			key := f.lockKey(t, "/")
			f.store.lock(key, content, 24*time.Hour)
			for _, a := range f.herd(20, "/") {
				if a.is(t, 200, "/", "fwd=miss"); a.took > time.Second+200*time.Millisecond {
					t.Errorf("a client waited %v", a.took)
				}
			}
			f.called(1)
			if s := f.stats(); s.StoreErrors == 0 {
				t.Errorf("stats %+v", s)
			}
			if holder := f.store.holder(key); holder != "" {
				t.Errorf("the lock is still there: %q", holder)
			}
			f.get("/").is(t, 200, "/", "hit")
		})
	}
}

// TestLockThatStays: one that looks like ours costs no more than WaitTimeout, and
// those that come later nothing.
func TestLockThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				w.Header().Set("Cache-Control", "no-cache") // is stored, and asked for each time
			}
			fmt.Fprint(w, r.URL.Path)
		})
		key := f.lockKey(t, "/")
		f.store.lock(key, ofDead, 24*time.Hour)
		f.store.holders[key] = ofDead
		for _, a := range f.herd(20, "/") {
			a.is(t, 200, "/", "fwd=")
			if a.took > defaultWaitTimeout+100*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		time.Sleep(time.Minute)
		for range 4 {
			if a := f.get("/"); a.took > 0 {
				t.Errorf("a later client waited %v", a.took)
			}
		}
		if holder := f.store.holder(key); holder == ofDead {
			t.Error("the lock is still there")
		}
	})
}

// TestLateHolder: a lock that has just been taken is not taken from its holder by
// who has waited for another one.
func TestLateHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "private") })
		key := f.lockKey(t, "/")
		f.store.lock(key, ofDead, defaultWaitTimeout-time.Second)
		const late = "ABCDEFGHIJKLMN27-2b"
		go func() {
			time.Sleep(defaultWaitTimeout - time.Second)
			f.store.lock(key, late, time.Hour)
		}()
		if a := f.get("/"); a.took < defaultWaitTimeout-100*time.Millisecond {
			t.Errorf("waited %v", a.took)
		}
		if holder := f.store.holder(key); holder != late {
			t.Errorf("the lock is held by %q", holder)
		}
	})
}

func TestLockIsProlonged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(4*time.Second), func(c *cacheaside.Config) { c.Timeouts.Lock = time.Second })
		for _, a := range f.herd(60, "/") {
			a.is(t, 200, "/", "fwd=miss")
		}
		f.called(1)
		if n := f.store.extends.Load(); n < 4 || n > 30 {
			t.Errorf("the lock was prolonged %d times", n)
		}
		synctest.Wait()
		n := f.store.extends.Load()
		time.Sleep(time.Minute)
		if f.store.extends.Load() != n {
			t.Error("the lock was prolonged after its end")
		}
	})
}

// TestLockIsNotProlongedAfterItsEnd, also where the store does not say that it is
// over.
func TestLockIsNotProlongedAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(1020*time.Millisecond), func(c *cacheaside.Config) { c.Timeouts.Lock = 3 * time.Second })
		f.store.extending = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		f.get("/").is(t, 200, "/", "stored") // it ends while it is being prolonged
		time.Sleep(2 * time.Minute)
		if n := f.store.extends.Load(); n != 1 {
			t.Errorf("the lock was prolonged %d times", n)
		}
	})
}

// TestLockIsNotHeldForever by a handler that never returns.
func TestLockIsNotHeldForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var calls atomic.Int64
		f := newFleet(t, 2, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				<-stuck
			}
			fmt.Fprint(w, "fine")
		})
		go f.send(context.Background(), 0, http.MethodGet, "/")
		time.Sleep(2*time.Minute + time.Second)
		n := f.store.extends.Load()
		time.Sleep(2 * time.Minute)
		if f.store.extends.Load() != n {
			t.Error("the lock is prolonged without end")
		}
		if a := f.send(context.Background(), 1, http.MethodGet, "/"); a.took != 0 {
			t.Errorf("another process waited %v", a.took)
		}
		close(stuck)
		synctest.Wait()
	})
}

func TestLockThatFails(t *testing.T) {
	fails := func(context.Context) error { return errors.New("no locks") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, taking := range map[string]func(context.Context) error{"error": fails, "hangs": hangs} {
		inBubble(t, name, func(t *testing.T) {
			f := newFleet(t, 2, slow(time.Second))
			f.store.taking = taking
			// Without a token it is not known whether something was purged: who came
			// while the handler ran waits for the next run.
			const runs = 2
			for _, a := range f.herd(50, "/") {
				a.is(t, 200, "/", "fwd=miss")
				if a.took > time.Duration(runs)*(time.Second+5*defaultLookupTimeout) {
					t.Errorf("a client waited %v", a.took)
				}
			}
			if n := f.calls.Load(); n < 2 || n > int64(2*runs) {
				t.Errorf("%d calls by two processes", n)
			}
			if f.store.unlocks.Load() == 0 {
				t.Error("what may have been locked was not unlocked")
			}
		})
	}
}

// TestLostAnswers: a lock that was taken or released without our knowing does not
// keep the same process waiting, nor others for long.
func TestLostAnswers(t *testing.T) {
	for _, name := range []string{"of Lock", "of Unlock"} {
		inBubble(t, name, func(t *testing.T) {
			f := newFleet(t, 2, slow(time.Second))
			if name == "of Lock" {
				f.store.lostAnswer = errors.New("reset by peer")
			} else {
				f.store.lostUnlock = errors.New("reset by peer")
			}
			became := "stored"
			if name == "of Lock" {
				became = "store-failed" // the lock may be somebody else's
			}
			f.get("/x").is(t, 200, "/x", became)
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			f.store.lostAnswer, f.store.lostUnlock = nil, nil
			must(t, f.caches[0].PurgeURL(t.Context(), "http://example.com/x"))
			first := 0
			if name == "of Lock" {
				first = 1 // it was given back at once
			}
			a := f.send(t.Context(), first, http.MethodGet, "/x")
			if a.is(t, 200, "/x", "stored"); a.took > time.Second+100*time.Millisecond {
				t.Errorf("a request waited %v for nobody", a.took)
			}
		})
	}
}

// TestPassNote: what one process finds out spares the others the queue.
func TestPassNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "private")
			fmt.Fprint(w, "x")
		})
		f.send(context.Background(), 0, http.MethodGet, "/")
		synctest.Wait()
		if len(f.store.notes) != 1 {
			t.Errorf("notes %q", f.store.notes)
		}
		for _, a := range f.herdOf(50, func(i int) *got { return f.send(context.Background(), 1+i%2, http.MethodGet, "/") }) {
			if a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(51)
		time.Sleep(time.Minute)
		if holder := f.store.holder(f.store.lockKeys[0]); holder != "" {
			t.Errorf("%q is still there", holder)
		}
	})
}

// TestReleaseBehindTheNextRequest: a token that is released between the look under the
// lock and what follows from it costs the next request nothing: its response is stored.
func TestReleaseBehindTheNextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Bool
		f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			if !later.Load() {
				w.Header().Set("Cache-Control", "private")
			}
			fmt.Fprint(w, "/")
		})
		var swaps atomic.Int64
		f.store.swapping = func() { time.Sleep(time.Duration(swaps.Add(1)) * time.Second) } // the release is first
		f.get("/").is(t, 200, "/", "fwd=miss")
		later.Store(true)
		f.get("/").is(t, 200, "/", "stored")
		if n := swaps.Load(); n < 2 {
			t.Errorf("%d swaps: the release was not behind", n)
		}
		synctest.Wait()
		f.get("/").is(t, 200, "/", "hit")
	})
}

// TestCloseWhileRequestsEnd is for the race detector.
func TestCloseWhileRequestsEnd(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 1, slow(time.Second))
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() { f.get(fmt.Sprint("/", i)).is(t, 200, fmt.Sprint("/", i), "fwd=miss") })
			}
			wg.Go(func() {
				time.Sleep(time.Second)
				if err := f.caches[0].Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		})
	}
}

// TestFreshenedHerd: what a 304 says counts for those who wait as well.
func TestFreshenedHerd(t *testing.T) {
	for cc, want := range map[string]int64{"max-age=10": 1, "private, max-age=10": 50, "no-store": 50, "no-cache": 50} {
		inBubble(t, cc, func(t *testing.T) {
			var calls atomic.Int64
			f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"1"`)
				if r.Header.Get("If-None-Match") == "" {
					w.Header().Set("Cache-Control", "max-age=10")
					fmt.Fprint(w, "whole")
					return
				}
				n := calls.Add(1)
				time.Sleep(time.Second)
				w.Header().Set("Cache-Control", cc)
				w.Header().Set("X-Secret", fmt.Sprint(n))
				w.WriteHeader(304)
			})
			f.get("/").is(t, 200, "whole", "stored")
			f.called(1)
			time.Sleep(11 * time.Second)
			seen := make(map[string]bool)
			for _, a := range f.herd(50, "/") {
				a.is(t, 200, "whole", "fwd=stale")
				seen[a.Header().Get("X-Secret")] = true
			}
			if int64(len(seen)) != want {
				t.Errorf("%d different answers, want %d", len(seen), want)
			}
			f.called(want)
		})
	}
}
