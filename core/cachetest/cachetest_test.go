package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cachetest"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBlog(t *testing.T) { testBlog(t) }

// fakeTB is a test whose failures are only noted.
type fakeTB struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	logs     []string
	fatal    bool
	cleanups []func()
}

func (f *fakeTB) Helper() {}
func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	f.fatal = true
	runtime.Goexit()
}
func (f *fakeTB) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }
func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

// run runs a test, and returns what it has failed with.
func (f *fakeTB) run(test func(testing.TB)) (errs []string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	f.cleanups = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	errs, f.errors = f.errors, nil
	return errs
}

// service is a handler that counts, behind a cache.
type service struct {
	http.Handler
	calls atomic.Int64
}

func serve(cache *cachetest.Cache, h http.HandlerFunc) *service {
	s := new(service)
	s.Handler = nethttp.New(cache.Cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		h(w, r)
	}))
	return s
}

func (s *service) get(path string) *http.Response {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Result()
}

func page(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }

var minute = cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}

func TestClock(t *testing.T) {
	cache := cachetest.New(t, minute)
	s := serve(cache, page)
	began := cache.Now()
	if cachetest.AssertStored(t, s.get("/")).TTL != time.Minute {
		t.Error("another TTL")
	}
	cache.Advance(59 * time.Second)
	if o := cachetest.AssertHit(t, s.get("/")); o.TTL != time.Second || !o.HasTTL {
		t.Errorf("%+v", o)
	}
	cache.Advance(time.Second)
	cachetest.AssertMiss(t, s.get("/"))
	if passed := cache.Now().Sub(began); passed != time.Minute {
		t.Errorf("%v have passed", passed)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cache.Advance(time.Second)
			s.get("/")
		})
	}
	wg.Wait()
	if passed := cache.Now().Sub(began); passed != 68*time.Second {
		t.Errorf("%v have passed", passed)
	}
}

func TestEmpty(t *testing.T) {
	cache := cachetest.New(t, minute)
	s := serve(cache, page)
	for range 2 {
		cachetest.AssertStored(t, s.get("/a"))
		cachetest.AssertHit(t, s.get("/a"))
		cache.Empty()
	}
	if o := cachetest.AssertMiss(t, s.get("/a")); o.Detail != "purged" {
		t.Errorf("%v", o)
	}
}

func TestOff(t *testing.T) {
	cache := cachetest.Off(t)
	s := serve(cache, page)
	for range 2 {
		if o := cachetest.AssertBypass(t, s.get("/")); o.Detail != "skip" {
			t.Errorf("%v", o)
		}
	}
	h := nethttp.New(cacheaside.Must(cache.With(func(p *cacheaside.Policy) { p.TTL = time.Hour })))(s)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	cachetest.AssertBypass(t, w)
	if n := s.calls.Load(); n != 3 {
		t.Errorf("%d calls of the handler", n)
	}
}

// TestWait: refreshes have ended, and have stored.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := minute
		cfg.Policy.Stale.WhileRevalidate = time.Hour
		cache := cachetest.New(t, cfg)
		s := new(service)
		server := &http.Server{}
		h := nethttp.New(cache.Cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if s.calls.Add(1) > 1 {
				time.Sleep(time.Second)
			}
			fmt.Fprint(w, s.calls.Load())
		}))
		server.Handler, s.Handler = h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, server))) // a refresh needs its handler
		})
		s.get("/")
		cache.Advance(2 * time.Minute)
		if o := cachetest.AssertHit(t, s.get("/")); o.TTL != -time.Minute || !strings.HasPrefix(o.String(), "a hit on what is stale, detail stale-while-revalidate") {
			t.Errorf("%+v", o)
		}
		cache.Wait()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if o := cachetest.AssertHit(t, w); o.TTL != time.Minute || w.Body.String() != "2" {
			t.Errorf("%v: %s", o, w.Body)
		}
	})
}

// TestWaitsInVain: what never ends fails the test.
func TestWaitsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := memory.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		gate := make(chan struct{})
		f := new(fakeTB)
		cfg := cacheaside.Config{Store: stuck{m, gate}, Policy: cacheaside.Policy{TTL: time.Minute}}
		errs := f.run(func(tb testing.TB) {
			cache := cachetest.New(tb, cfg)
			serve(cache, page).get("/")
			cache.Wait()
			tb.Errorf("it goes on")
		})
		close(gate)
		if len(errs) != 2 || !strings.Contains(errs[0], "cachetest: Wait: what goes on in the background has not ended") || !strings.Contains(errs[1], "closing the cache") {
			t.Errorf("%q", errs)
		}
	})
}

// stuck is a store whose writes do not end.
type stuck struct {
	store.Store
	gate chan struct{}
}

func (s stuck) Set(context.Context, string, []byte, time.Duration) error {
	<-s.gate
	return errors.New("too late")
}

// failing is a store that fails, and one that cannot purge all.
type failing struct{ store.Store }

func (failing) Get(context.Context, string) ([]byte, bool, error) {
	return nil, false, errors.New("broken")
}

func TestFailures(t *testing.T) {
	m, err := memory.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for name, tt := range map[string]struct {
		test  func(tb testing.TB)
		want  string
		fatal bool
	}{
		"a wrong config": {func(tb testing.TB) {
			cachetest.New(tb, cacheaside.Config{Policy: cacheaside.Policy{TTL: 30}})
		}, "cachetest.New: cacheaside: Config.Policy.TTL", true},
		"a clock": {func(tb testing.TB) {
			cachetest.New(tb, cacheaside.Config{Now: time.Now})
		}, "cachetest.New: Config.Now is set: leave it out", true},
		"back in time": {func(tb testing.TB) { cachetest.New(tb, minute).Advance(-1) }, "Advance(-1ns): time does not go back", true},
		"a store that cannot": {func(tb testing.TB) {
			cachetest.New(tb, cacheaside.Config{Store: failing{m}}).Empty()
		}, "cachetest: Empty: ", true},
	} {
		f := new(fakeTB)
		if errs := f.run(tt.test); len(errs) != 1 || !strings.Contains(errs[0], tt.want) || f.fatal != tt.fatal {
			t.Errorf("%s: %q, fatal %v", name, errs, f.fatal)
		}
	}
}

// TestLog: the cache's trouble is told in the log of the test, while that runs.
func TestLog(t *testing.T) {
	m, err := memory.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f := new(fakeTB)
	var s *service
	if errs := f.run(func(tb testing.TB) {
		s = serve(cachetest.New(tb, cacheaside.Config{Store: failing{m}, Policy: cacheaside.Policy{TTL: time.Minute}}), page)
		s.get("/")
	}); len(errs) != 0 {
		t.Errorf("%q", errs)
	}
	if len(f.logs) != 1 || !strings.Contains(f.logs[0], "the store failed") || strings.HasSuffix(f.logs[0], "\n") {
		t.Errorf("the log is %q", f.logs)
	}
	said := len(f.logs)
	s.get("/") // a client that is late
	if len(f.logs) != said {
		t.Errorf("it speaks when the test is over: %q", f.logs[said:])
	}
	cfg := minute
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Store = failing{m}
	if f.run(func(tb testing.TB) { serve(cachetest.New(tb, cfg), page).get("/") }); len(f.logs) != said {
		t.Errorf("a logger of the config is not used: %q", f.logs)
	}
}

// TestAsserts: each of them, with each kind of response.
func TestAsserts(t *testing.T) {
	type assert struct {
		name string
		f    func(testing.TB, *http.Response) cachetest.Outcome
	}
	all := []assert{
		{"hit", cachetest.AssertHit[*http.Response]},
		{"miss", cachetest.AssertMiss[*http.Response]},
		{"stored", cachetest.AssertStored[*http.Response]},
		{"not stored", cachetest.AssertNotStored[*http.Response]},
		{"bypass", cachetest.AssertBypass[*http.Response]},
	}
	const none = "want a hit: the response has no Cache-Status: it has not passed the cache"
	for _, tt := range []struct {
		status string // lines, with |
		holds  string // the names of those that hold
		says   string // by another one
	}{
		{"cacheaside; hit; ttl=27", "hit", "want a miss, got a hit (Cache-Status: cacheaside; hit; ttl=27)"},
		{"cacheaside; hit; ttl=-5; detail=stale-while-revalidate", "hit", "want a miss, got a hit on what is stale, detail stale-while-revalidate (Cache-Status: cacheaside; hit; ttl=-5; detail=stale-while-revalidate)"},
		{"cacheaside; fwd=miss; ttl=30; stored", "miss, stored", "want a hit, got a miss, for nothing usable was stored, stored (Cache-Status: cacheaside; fwd=miss; ttl=30; stored)"},
		{"cacheaside; fwd=miss; detail=set-cookie", "miss, not stored", "want a hit, got a miss, for nothing usable was stored, not stored, detail set-cookie (Cache-Status: cacheaside; fwd=miss; detail=set-cookie)"},
		{"cacheaside; fwd=vary-miss; stored", "miss, stored", "want a hit, got a miss, for only what answers other requests was stored, stored (Cache-Status: cacheaside; fwd=vary-miss; stored)"},
		{"cacheaside; fwd=stale; fwd-status=304; stored", "miss, stored", "want a hit, got a miss, for what was stored is stale, stored (Cache-Status: cacheaside; fwd=stale; fwd-status=304; stored)"},
		{"cacheaside; fwd=miss; collapsed", "", "want a hit, got a miss, for nothing usable was stored, answered with what another request has got (Cache-Status: cacheaside; fwd=miss; collapsed)"},
		{"cacheaside; fwd=bypass; detail=skip", "not stored, bypass", "want a hit, got a bypass, detail skip (Cache-Status: cacheaside; fwd=bypass; detail=skip)"},
		{"cacheaside; fwd=method", "not stored, bypass", "want a hit, got a bypass because of the method (Cache-Status: cacheaside; fwd=method)"},
		{"cacheaside; fwd=new", "miss, not stored", "want a hit, got fwd=new, not stored (Cache-Status: cacheaside; fwd=new)"},
		{"cacheaside; detail=only-if-cached", "", "want a hit, got an answer of the cache itself, detail only-if-cached (Cache-Status: cacheaside; detail=only-if-cached)"},
		{"cacheaside; fwd=miss|cacheaside; hit; ttl=1|cdn; fwd=miss", "hit", "want a miss, got a hit (Cache-Status: cacheaside; fwd=miss, cacheaside; hit; ttl=1, cdn; fwd=miss)"},
		{"cdn; hit", "", `want a hit: the Cache-Status "cdn; hit" is not of this cache: the response has not passed it`},
		{"cacheaside; hit; ttl=", "", `want a hit: the Cache-Status "cacheaside; hit; ttl=" cannot be read`},
		{"", "", none},
	} {
		response := &http.Response{Header: http.Header{}}
		if tt.status != "" {
			response.Header["Cache-Status"] = strings.Split(tt.status, "|")
		}
		var holds []string
		said := false
		for _, a := range all {
			f := new(fakeTB)
			switch errs := f.run(func(tb testing.TB) { a.f(tb, response) }); len(errs) {
			case 0:
				holds = append(holds, a.name)
			case 1:
				said = said || errs[0] == tt.says
				if f.fatal {
					t.Errorf("%s: it does not go on", tt.status)
				}
			default:
				t.Errorf("%s: %q", tt.status, errs)
			}
		}
		if got := strings.Join(holds, ", "); got != tt.holds {
			t.Errorf("%s: %s; want %s", tt.status, got, tt.holds)
		}
		if !said {
			t.Errorf("%s: nobody says %s", tt.status, tt.says)
		}
	}

	f := new(fakeTB)
	for _, errs := range [][]string{
		f.run(func(tb testing.TB) { cachetest.AssertHit[*http.Response](tb, nil) }),
		f.run(func(tb testing.TB) { cachetest.AssertHit[*httptest.ResponseRecorder](tb, nil) }),
	} {
		if len(errs) != 1 || !strings.Contains(errs[0], "want a hit: there is no response") {
			t.Errorf("nil: %q", errs)
		}
	}
	if errs := f.run(func(tb testing.TB) { cachetest.AssertHit[http.Header](tb, nil) }); len(errs) != 1 || errs[0] != none {
		t.Errorf("nil: %q", errs)
	}
	header := http.Header{"Cache-Status": {"cacheaside; fwd=miss; ttl=30; stored; key=\"k\""}}
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Status", header.Get("Cache-Status"))
	want := cachetest.Outcome{Forward: "miss", TTL: 30 * time.Second, HasTTL: true, Stored: true, Key: "k", Field: header.Get("Cache-Status")}
	if got := cachetest.AssertStored(t, header); got != want {
		t.Errorf("a header: %+v", got)
	}
	if got := cachetest.AssertMiss(t, w); got != want {
		t.Errorf("a recorder: %+v", got)
	}
}
