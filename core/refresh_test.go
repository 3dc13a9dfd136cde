package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// origin is a handler that tests tell what to answer.
type origin struct {
	mu      sync.Mutex
	control string
	etag    string
	status  int
	took    time.Duration
	hang    chan struct{} // until it is closed
	panics  any
	version int
	matched []string // If-None-Match, as it saw them
}

func (o *origin) set(change func(*origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.version++
	s := origin{control: o.control, etag: o.etag, status: o.status, took: o.took, hang: o.hang, panics: o.panics, version: o.version}
	o.matched = append(o.matched, r.Header.Get("If-None-Match"))
	o.mu.Unlock()
	if s.hang != nil {
		<-s.hang
	}
	time.Sleep(s.took)
	if s.panics != nil {
		panic(s.panics)
	}
	if s.control != "" {
		w.Header().Set("Cache-Control", s.control)
	}
	if s.etag != "" {
		w.Header().Set("Etag", s.etag)
		if r.Header.Get("If-None-Match") == s.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	fmt.Fprint(w, "v", s.version)
}

func newOrigin(t *testing.T, nodes int, o *origin, change ...func(*cacheaside.Config)) *fleet {
	t.Helper()
	return newFleet(t, nodes, o.ServeHTTP, change...)
}

func (f *fleet) refreshed(done, failed, dropped uint64) {
	f.t.Helper()
	if s := f.stats(); s.Refreshed != done || s.RefreshErrors != failed || s.RefreshDropped != dropped {
		f.t.Errorf("stats %+v, want %d refreshed, %d errors, %d dropped", s, done, failed, dropped)
	}
}

const swr = "stale-while-revalidate"

func TestStaleWhileRevalidate(t *testing.T) {
	policy := func(c *cacheaside.Config) { c.Policy.Stale.WhileRevalidate = time.Minute }
	for name, o := range map[string]*origin{
		"directive": {control: "max-age=10, stale-while-revalidate=60"},
		"policy":    {control: "max-age=10"},
		"s-maxage":  {control: "s-maxage=10, stale-while-revalidate=60"},
		"validator": {control: "max-age=10, stale-while-revalidate=60", etag: `"e"`},
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newOrigin(t, 3, o, func(c *cacheaside.Config) {
				if name == "policy" {
					policy(c)
				}
			})
			f.get("/").is(t, 200, "v1", "stored")
			f.called(1)
			o.set(func(o *origin) { o.took = 100 * time.Millisecond })
			time.Sleep(15 * time.Second)
			for _, a := range f.herd(100, "/") {
				a.is(t, 200, "v1", "cacheaside; hit; ttl=-5; detail="+swr)
				if a.took != 0 {
					t.Errorf("a client waited %v", a.took)
				}
			}
			time.Sleep(time.Second)
			f.called(1)
			f.refreshed(1, 0, 0)
			want := "v2"
			if o.etag != "" {
				want = "v1"
				if o.matched[1] != o.etag {
					t.Errorf("the handler was asked with %q", o.matched)
				}
			}
			for i := range 3 {
				f.send(context.Background(), i, "GET", "/").is(t, 200, want, "hit; ttl=9")
			}
			f.called(0)
			if s := f.stats(); s.StaleWhileRevalidate != 100 {
				t.Errorf("stats %+v", s)
			}
			time.Sleep(2 * time.Minute) // beyond the window
			if a := f.get("/"); a.took != 100*time.Millisecond || strings.Contains(a.status(), "hit") {
				t.Errorf("%s after %v", a.status(), a.took)
			}
		})
	}
}

func TestStaleIsForbidden(t *testing.T) {
	for _, cc := range []string{
		"max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10", "max-age=10, no-cache",
		"max-age=10, must-revalidate, stale-while-revalidate=60", "max-age=10, stale-while-revalidate=0",
	} {
		inBubble(t, cc, func(t *testing.T) {
			o := &origin{control: cc}
			f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.WhileRevalidate = time.Minute })
			f.get("/")
			time.Sleep(15 * time.Second)
			f.get("/").is(t, 200, "v2", "fwd=")
			f.refreshed(0, 0, 0)
		})
	}
}

// TestRefreshThatFails keeps the stale response, and is tried again, but not
// before a second has passed.
func TestRefreshThatFails(t *testing.T) {
	for name, fail := range map[string]func(*origin){
		"500":   func(o *origin) { o.status = 500 },
		"429":   func(o *origin) { o.status = 429 },
		"507":   func(o *origin) { o.status = 507 },
		"panic": func(o *origin) { o.panics = "broken" },
		"abort": func(o *origin) { o.panics = http.ErrAbortHandler },
		"late":  func(o *origin) { o.took = time.Minute },
	} {
		for _, control := range []string{"max-age=10, stale-while-revalidate=600", "max-age=10, stale-while-revalidate=600, stale-if-error=600"} {
			inBubble(t, name+" "+control, func(t *testing.T) {
				o := &origin{control: control}
				f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.RefreshTimeout = 500 * time.Millisecond })
				f.get("/")
				f.called(1)
				time.Sleep(11 * time.Second)
				o.set(fail)
				for i := range 2 {
					for range 5 {
						f.get("/").is(t, 200, "v1", swr)
						synctest.Wait()
					}
					time.Sleep(600 * time.Millisecond)
					f.get("/").is(t, 200, "v1", swr)
					synctest.Wait()
					f.called(1)
					time.Sleep(time.Second)
					if name != "late" {
						f.refreshed(0, uint64(i+1), 0)
					}
				}
				o.set(func(o *origin) { o.status, o.panics, o.took = 0, nil, 0 })
				f.get("/").is(t, 200, "v1", swr)
				synctest.Wait()
				f.get("/").is(t, 200, "v4", "hit; ttl=10")
				time.Sleep(2 * time.Minute)
				f.refreshed(1, 2, 0)
			})
		}
	}
}

// TestRefreshSupersedes: an answer that is no error takes the stale one away,
// even if it is not stored.
func TestRefreshSupersedes(t *testing.T) {
	for name, change := range map[string]func(*origin){
		"404": func(o *origin) { o.status = 404 }, "private": func(o *origin) { o.control = "private" },
		"no-store": func(o *origin) { o.control = "no-store" },
	} {
		inBubble(t, name, func(t *testing.T) {
			o := &origin{control: "max-age=10"}
			f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.WhileRevalidate = time.Minute })
			f.get("/")
			time.Sleep(11 * time.Second)
			o.set(func(o *origin) { o.control = ""; change(o) })
			if name == "404" {
				o.set(func(o *origin) { o.control = "no-store" })
			}
			f.get("/").is(t, 200, "v1", swr)
			synctest.Wait()
			a := f.get("/")
			if a.Body.String() != "v3" || !strings.Contains(a.status(), "fwd=miss") {
				t.Errorf("%d %s %s", a.Code, a.Body, a.status())
			}
			f.refreshed(0, 1, 0)
		})
	}
}

// TestStaleIfError over all that counts as an error, and what does not.
func TestStaleInPlaceOfErrors(t *testing.T) {
	for name, c := range map[string]struct {
		h     func(w http.ResponseWriter)
		stale bool
		code  int
	}{
		"500":        {func(w http.ResponseWriter) { w.WriteHeader(500) }, true, 0},
		"503":        {func(w http.ResponseWriter) { w.WriteHeader(503) }, true, 0},
		"501":        {func(w http.ResponseWriter) { w.WriteHeader(501) }, false, 501},
		"404":        {func(w http.ResponseWriter) { w.WriteHeader(404) }, false, 404},
		"panic":      {func(http.ResponseWriter) { panic("x") }, true, 0},
		"abort":      {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, true, 0},
		"incomplete": {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9"); fmt.Fprint(w, "part") }, true, 0},
		"panic after a part": {func(w http.ResponseWriter) {
			fmt.Fprint(w, "part")
			panic("x")
		}, true, 0},
		"panic after a flush": {func(w http.ResponseWriter) {
			fmt.Fprint(w, "part")
			w.(http.Flusher).Flush()
			panic("x")
		}, false, 0},
	} {
		inBubble(t, name, func(t *testing.T) {
			var broken atomic.Bool
			f := newFleet(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				if broken.Load() {
					c.h(w)
					return
				}
				fmt.Fprint(w, "fine")
			}, func(c *cacheaside.Config) { c.Policy.Stale.IfError = time.Minute })
			f.get("/")
			broken.Store(true)
			time.Sleep(40 * time.Second)
			a := f.get("/")
			switch {
			case c.stale:
				a.is(t, 200, "fine", "detail=stale-if-error")
			case c.code != 0:
				if a.Code != c.code || a.panicked != nil {
					t.Errorf("%d, panic %v", a.Code, a.panicked)
				}
			default:
				if a.panicked != "x" || a.Body.String() != "part" {
					t.Errorf("%q, panic %v", a.Body, a.panicked)
				}
			}
			time.Sleep(time.Minute) // beyond the window
			if a := f.get("/"); strings.Contains(a.Body.String(), "fine") {
				t.Errorf("%s served beyond its window", a.Body)
			}
		})
	}
}

// TestErrorIsSharedAsStale: those who wait for a handler that fails get the
// stale response too.
func TestErrorIsSharedAsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=10, stale-if-error=60"}
		f := newOrigin(t, 1, o)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.status, o.took = 503, time.Second })
		for _, a := range f.herd(50, "/") {
			a.is(t, 200, "v1", "detail=stale-if-error")
			if a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(1)
	})
}

// TestErrorWhereStaleIsForbidden is a response like others: all who wait get it
// where it may be stored, and do not queue up where it may not.
func TestErrorWhereStaleIsForbidden(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{0: 50, time.Minute: 1} {
		inBubble(t, ttl.String(), func(t *testing.T) {
			o := &origin{control: "max-age=10", etag: `"1"`}
			f := newOrigin(t, 1, o, func(c *cacheaside.Config) {
				if ttl > 0 {
					c.Policy.StatusTTL = map[int]time.Duration{503: ttl}
				}
			})
			f.get("/").is(t, 200, "v1", "stored")
			f.called(1)
			time.Sleep(15 * time.Second)
			o.set(func(o *origin) { o.took, o.status, o.etag, o.control = time.Second, 503, "", "" })
			for _, a := range f.herd(50, "/") {
				if a.Code != 503 || a.took > 2*time.Second {
					t.Errorf("%d after %v", a.Code, a.took)
				}
			}
			f.called(want)
		})
	}
}

// TestPanicAtTheEndOfTheWindow: a panic is the handler's where the stale response
// has got too old meanwhile.
func TestPanicAtTheEndOfTheWindow(t *testing.T) {
	for took, stale := range map[time.Duration]bool{4 * time.Second: true, 6 * time.Second: false} {
		inBubble(t, took.String(), func(t *testing.T) {
			o := &origin{control: "max-age=10, stale-if-error=10"}
			f := newOrigin(t, 1, o)
			f.get("/")
			time.Sleep(15 * time.Second)
			o.set(func(o *origin) { o.took, o.panics = took, "mine" })
			for _, a := range f.herd(5, "/") {
				if stale {
					a.is(t, 200, "v1", "detail=stale-if-error")
				} else if a.panicked != "mine" {
					t.Errorf("panic %v", a.panicked)
				}
			}
		})
	}
}

func TestRefreshAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=100"}
		f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.RefreshAhead = 0.5 })
		f.get("/").is(t, 200, "v1", "stored")
		for range 49 { // the handler took no time: there is no spread
			time.Sleep(time.Second)
			f.get("/").is(t, 200, "v1", "hit")
		}
		synctest.Wait()
		f.called(1)
		time.Sleep(2 * time.Second)
		o.set(func(o *origin) { o.took = 10 * time.Second })
		for _, a := range f.herd(20, "/") {
			a.is(t, 200, "v1", "cacheaside; hit; ttl=49")
		}
		time.Sleep(9 * time.Second)
		f.get("/").is(t, 200, "v1", "hit; ttl=40")
		time.Sleep(2 * time.Second)
		f.called(1)
		f.refreshed(1, 0, 0)
		f.get("/").is(t, 200, "v2", "hit; ttl=8") // which may begin another one
	})
}

// TestRefreshAheadIsSpread: shortly before it is due, by multiples of what the
// handler takes, a refresh happens with the likelihood of XFetch.
func TestRefreshAheadIsSpread(t *testing.T) {
	for _, c := range []struct {
		before    time.Duration // before it is due
		low, high int64         // of 400
	}{
		{25 * time.Second, 0, 0}, // more than 20 times what it took
		{time.Second, 75, 220},   // 400/e = 147, with more than 7 standard deviations to each side
		{0, 400, 400},
	} {
		inBubble(t, fmt.Sprint(c.before), func(t *testing.T) {
			const n = 400
			o := &origin{control: "max-age=100", took: time.Second}
			f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.RefreshAhead = 0.5 })
			f.herdOf(n, func(i int) *got { return f.get("/" + strconv.Itoa(i)) })
			f.called(n)
			// The time the handler took counts as age (RFC 9111 section 4.2.3).
			time.Sleep(49*time.Second - c.before)
			f.herdOf(n, func(i int) *got { return f.get("/" + strconv.Itoa(i)) })
			time.Sleep(2 * time.Minute)
			if n := f.calls.Load(); n < c.low || n > c.high {
				t.Errorf("%d refreshes, want %d to %d", n, c.low, c.high)
			}
		})
	}
}

func TestSoftTimeout(t *testing.T) {
	softPolicy := func(p *cacheaside.Policy) {
		p.Stale.SoftTimeout = time.Second
		p.Stale.IfError = time.Hour
	}
	soft := func(c *cacheaside.Config) { softPolicy(&c.Policy) }
	inBubble(t, "slow", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/").is(t, 200, "v1", "stored")
		f.called(1)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took = 3 * time.Second })
		for _, a := range f.herd(50, "/") {
			a.is(t, 200, "v1", "fwd=stale; collapsed; detail=soft-timeout")
			if a.took != time.Second {
				t.Errorf("a client waited %v", a.took)
			}
		}
		time.Sleep(3 * time.Second)
		f.get("/").is(t, 200, "v2", "hit")
		f.called(1)
	})
	inBubble(t, "fast", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took = 500 * time.Millisecond })
		for _, a := range f.herd(50, "/") {
			if a.is(t, 200, "v2", "fwd=stale"); a.took != 500*time.Millisecond {
				t.Errorf("a client waited %v", a.took)
			}
		}
		f.called(1)
	})
	// The processes agree on one handler, and all wait for it.
	inBubble(t, "of several processes", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 3, o, soft)
		f.get("/")
		f.called(1)
		for version, took := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 0} {
			time.Sleep(11 * time.Second)
			o.set(func(o *origin) { o.took = took })
			for _, a := range f.herd(60, "/") {
				switch {
				case took > time.Second:
					if a.is(t, 200, fmt.Sprint("v", version+1), "fwd=stale; collapsed; detail=soft-timeout"); a.took != time.Second {
						t.Errorf("a client waited %v", a.took)
					}
				default:
					if a.is(t, 200, fmt.Sprint("v", version+2), ""); a.took > took+200*time.Millisecond {
						t.Errorf("a client waited %v", a.took)
					}
				}
			}
			time.Sleep(3 * time.Second)
			f.called(1)
		}
	})
	inBubble(t, "of several processes, not for others", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 2, o, soft)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took, o.control = 500*time.Millisecond, "private" })
		seen := map[string]bool{"v1": true}
		for _, a := range f.herd(10, "/") {
			if b := a.Body.String(); seen[b] || a.took > 1200*time.Millisecond {
				t.Errorf("%q after %v", b, a.took)
			} else {
				seen[b] = true
			}
		}
		f.called(11)
	})
	inBubble(t, "of several processes, one has died", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 2, o, soft)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		f.store.lock(f.store.lockKeys[0], ofDead, 3*time.Second)
		for range 2 {
			for _, a := range f.herd(10, "/") {
				a.is(t, 200, "v1", "detail=soft-timeout")
			}
			f.called(0)
		}
		time.Sleep(time.Second)
		for _, a := range f.herd(10, "/") {
			a.is(t, 200, "v2", "")
		}
		f.called(1)
	})
	inBubble(t, "panic after it", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took, o.panics = 3*time.Second, "late" })
		for _, a := range f.herd(10, "/") {
			a.is(t, 200, "v1", "detail=soft-timeout")
		}
		time.Sleep(3 * time.Second)
		f.called(1)
		f.refreshed(0, 1, 0)
		o.set(func(o *origin) { o.took, o.panics = 0, nil })
		f.get("/").is(t, 200, "v3", "fwd=stale")
	})
	// A variant that the new response does not suit is no error of the handler.
	inBubble(t, "variants", func(t *testing.T) {
		var vary atomic.Bool
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			if vary.Load() {
				time.Sleep(100 * time.Millisecond)
				w.Header().Set("Vary", "X-Kind")
			}
			fmt.Fprint(w, vary.Load(), r.Header.Get("X-Kind"))
		}, soft)
		f.get("/")
		f.called(1)
		time.Sleep(11 * time.Second)
		vary.Store(true)
		for i, a := range f.herdOf(20, func(i int) *got { return f.get("/", "X-Kind", strconv.Itoa(i%2)) }) {
			a.is(t, 200, fmt.Sprint("true", i%2), "")
		}
		f.called(2)
	})
	for name, c := range map[string]struct {
		method string
		fields []string
		code   int
		body   string
	}{
		"HEAD":      {"HEAD", nil, 200, ""},
		"Range":     {"GET", []string{"Range", "bytes=0-0"}, 206, "v"},
		"condition": {"GET", []string{"If-None-Match", `"e"`}, 304, ""},
		"GET":       {"GET", nil, 200, "v1"},
	} {
		for _, coalesce := range []cacheaside.CoalescingScope{cacheaside.CoalesceAll, cacheaside.CoalesceNone} {
			inBubble(t, name+", coalescing "+coalesce.String(), func(t *testing.T) {
				o := &origin{control: "max-age=10", etag: `"e"`}
				f := newOrigin(t, 1, o, soft, func(c *cacheaside.Config) {
					c.Policy.Coalescing.Scope, c.Policy.Requests.ForwardConditions, c.Policy.Requests.AcceptRanges = coalesce, true, true
				})
				f.get("/")
				f.called(1)
				time.Sleep(11 * time.Second)
				o.set(func(o *origin) { o.took = time.Minute })
				for _, a := range f.herdOf(5, func(int) *got { return f.send(t.Context(), 0, c.method, "/", c.fields...) }) {
					if a.Code != c.code || a.took != time.Second || !strings.Contains(a.status(), "detail=soft-timeout") || c.method == "GET" && a.Body.String() != c.body {
						t.Errorf("%d %q %s after %v", a.Code, a.Body, a.status(), a.took)
					}
				}
				time.Sleep(time.Minute)
				f.called(1)
			})
		}
	}
	inBubble(t, "for one alone", func(t *testing.T) { // who limits the age wants no copy
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took = 3 * time.Second })
		f.get("/", "Cache-Control", "max-age=0").is(t, 200, "v2", "fwd=stale")
	})
	// A handle within one that does not wait softly does not wait for itself.
	inBubble(t, "nested", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.IfError = time.Hour })
		inner := cacheaside.Must(f.caches[0].With(softPolicy))
		f.nodes[0] = nethttp.New(f.caches[0])(nethttp.New(inner)(o))
		f.get("/")
		time.Sleep(11 * time.Second)
		a := f.get("/")
		if a.is(t, 200, "v2", "fwd=stale"); a.took != 0 {
			t.Errorf("waited %v", a.took)
		}
	})
	inBubble(t, "fails", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took, o.status = 500*time.Millisecond, 500 })
		if a := f.get("/"); a.took != 500*time.Millisecond {
			t.Errorf("waited %v", a.took)
		} else {
			a.is(t, 200, "v1", "detail=stale-if-error")
		}
	})
	inBubble(t, "nothing stored", func(t *testing.T) {
		o := &origin{control: "max-age=10", took: 3 * time.Second}
		f := newOrigin(t, 1, o, soft)
		if a := f.get("/"); a.took != 3*time.Second {
			t.Errorf("answered after %v", a.took)
		} else {
			a.is(t, 200, "v1", "stored")
		}
	})
	inBubble(t, "not for others", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.control = "private" })
		f.get("/").is(t, 200, "v3", "fwd=stale") // v2 was of the background run
	})
	inBubble(t, "after Close", func(t *testing.T) {
		o := &origin{control: "max-age=10"}
		f := newOrigin(t, 1, o, soft)
		f.get("/")
		time.Sleep(11 * time.Second)
		if err := f.caches[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		f.get("/").is(t, 200, "v2", "fwd=stale")
	})
}

// TestRefreshTimeout: a handler that does not heed its context keeps nobody but
// itself.
func TestRefreshTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=10, stale-while-revalidate=60"}
		f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Policy.Stale.RefreshTimeout = 2 * time.Second })
		f.get("/")
		time.Sleep(11 * time.Second)
		hang := make(chan struct{})
		o.set(func(o *origin) { o.hang = hang })
		f.get("/").is(t, 200, "v1", swr)
		time.Sleep(3 * time.Second)
		f.refreshed(0, 1, 0)
		o.set(func(o *origin) { o.hang = nil })
		f.get("/").is(t, 200, "v1", swr) // starts another one
		synctest.Wait()
		f.get("/").is(t, 200, "v3", "hit; ttl=10")
		close(hang)
		synctest.Wait()
		f.refreshed(1, 1, 0)
	})
}

// TestRefreshWhereALockStands: one that has died delays a refresh until its lock
// ends, what is no lock does not.
func TestRefreshWhereALockStands(t *testing.T) {
	for _, holder := range []string{ofDead, "foreign"} {
		inBubble(t, holder, func(t *testing.T) {
			o := &origin{control: "max-age=10, stale-while-revalidate=60"}
			f := newOrigin(t, 2, o)
			f.get("/")
			f.called(1)
			time.Sleep(11 * time.Second)
			f.store.lock(f.store.lockKeys[0], holder, 3*time.Second)
			until := time.Now().Add(3 * time.Second)
			for range 20 { // 4 s
				for _, a := range f.herd(4, "/") {
					if a.Code != 200 || a.took != 0 || !strings.Contains(a.status(), "hit") {
						t.Errorf("%d %q %s after %v", a.Code, a.Body, a.status(), a.took)
					}
				}
				synctest.Wait()
				if holder == ofDead && time.Now().Before(until) {
					f.called(0)
				}
				time.Sleep(200 * time.Millisecond)
			}
			if a := f.get("/"); holder == ofDead {
				a.is(t, 200, "v2", "hit")
				f.called(1)
			} else if n := f.calls.Load(); n < 1 || n > 2 || !strings.Contains(a.status(), "hit; ttl=6") {
				t.Errorf("%d calls of the handler by two processes, %s", n, a.status())
			}
		})
	}
}

// TestHandlerSeesALiveContext in the background, with RefreshTimeout as its
// deadline, though the client has left.
func TestHandlerSeesALiveContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int64
		var background atomic.Bool
		f := newFleet(t, 1, func(w http.ResponseWriter, r *http.Request) {
			if background.Load() {
				d, ok := r.Context().Deadline()
				if !ok || time.Until(d) != 7*time.Second {
					t.Errorf("deadline in %v, %v", time.Until(d), ok)
				}
				<-r.Context().Done()
				ended.Add(1)
			}
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
			fmt.Fprint(w, "x")
		}, func(c *cacheaside.Config) { c.Policy.Stale.RefreshTimeout = 7 * time.Second })
		f.get("/")
		background.Store(true)
		time.Sleep(11 * time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		f.send(ctx, 0, "GET", "/").is(t, 200, "x", swr)
		cancel()
		synctest.Wait()
		if ended.Load() != 0 {
			t.Error("the client's end was the end of the background run")
		}
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if ended.Load() != 1 {
			t.Error("the context did not end")
		}
		f.refreshed(0, 1, 0)
	})
}

func TestRefreshesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=10, stale-while-revalidate=60"}
		f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Background.Runs, c.Background.Queue = 2, 3 })
		for i := range 10 {
			f.get("/" + strconv.Itoa(i))
		}
		f.called(10)
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took = time.Second })
		for i := range 10 {
			if a := f.get("/" + strconv.Itoa(i)); a.Code != 200 || !strings.Contains(a.status(), swr) {
				t.Errorf("%d %s", a.Code, a.status())
			}
		}
		synctest.Wait()
		if n := f.active.Load(); n != 2 {
			t.Errorf("%d handlers run in the background", n)
		}
		time.Sleep(4 * time.Second)
		f.called(5)
		f.refreshed(5, 0, 5)
	})
}

// TestQueueThatIsStuck does not make those wait who need what is queued.
func TestQueueThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=10, stale-while-revalidate=20"}
		f := newOrigin(t, 1, o, func(c *cacheaside.Config) { c.Background.Runs, c.Policy.Stale.RefreshTimeout = 1, 5*time.Second })
		f.get("/a")
		f.get("/b")
		time.Sleep(11 * time.Second)
		hang := make(chan struct{})
		o.set(func(o *origin) { o.hang = hang })
		f.get("/a").is(t, 200, "v1", swr)
		synctest.Wait()
		o.set(func(o *origin) { o.hang = nil })
		f.get("/b").is(t, 200, "v2", swr) // is queued
		time.Sleep(time.Minute)           // beyond the window
		if a := f.get("/b"); a.took != 0 {
			t.Errorf("waited %v for a handler that does not run", a.took)
		}
		close(hang)
		synctest.Wait()
	})
}

func TestCloseWaitsForRefreshes(t *testing.T) {
	start := func(t *testing.T, took time.Duration) (*fleet, *origin) {
		o := &origin{control: "max-age=10, stale-while-revalidate=60"}
		f := newOrigin(t, 1, o)
		f.get("/").is(t, 200, "v1", "stored")
		time.Sleep(11 * time.Second)
		o.set(func(o *origin) { o.took = took })
		f.get("/").is(t, 200, "v1", swr)
		return f, o
	}
	inBubble(t, "until it is over", func(t *testing.T) {
		f, _ := start(t, 3*time.Second)
		now := time.Now()
		if err := f.caches[0].Close(context.Background()); err != nil || time.Since(now) != 3*time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(now))
		}
		f.refreshed(1, 0, 0)
		f.get("/").is(t, 200, "v2", "hit")
		time.Sleep(11 * time.Second)
		f.get("/") // the work in the background is over
		f.refreshed(1, 0, 1)
	})
	inBubble(t, "until its context ends", func(t *testing.T) {
		f, _ := start(t, 10*time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		now := time.Now()
		if err := f.caches[0].Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(now) != time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(now))
		}
		time.Sleep(10 * time.Second)
		f.refreshed(0, 1, 0)
	})
}

// TestNestedRefresh: the handle that has stored the response is found again
// behind one with other keys.
func TestNestedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{control: "max-age=10, stale-while-revalidate=60"}
		f := newOrigin(t, 1, o)
		inner := cacheaside.Must(f.caches[0].With(func(c *cacheaside.Policy) { c.Key.Headers = []string{"X-A"} }))
		f.nodes[0] = nethttp.New(f.caches[0])(nethttp.New(inner)(o))
		f.get("/")
		time.Sleep(11 * time.Second)
		if a := f.get("/"); a.Body.String() != "v1" || !strings.Contains(a.status(), swr) {
			t.Errorf("%s %s", a.Body, a.status())
		}
		synctest.Wait()
		if a := f.get("/"); a.Body.String() != "v2" || !strings.Contains(a.status(), "hit; ttl=10") {
			t.Errorf("%s %s", a.Body, a.status())
		}
		f.refreshed(1, 0, 0)
	})
}

func TestTTLJitter(t *testing.T) {
	lifetimes := func(t *testing.T, fraction float64, at time.Duration) (ttls []int) {
		synctest.Test(t, func(t *testing.T) {
			f := newOrigin(t, 1, &origin{control: "max-age=100000"}, func(c *cacheaside.Config) { c.Policy.TTLJitter = fraction })
			time.Sleep(at)
			for i := range 200 {
				_, rest, _ := strings.Cut(f.get("/"+strconv.Itoa(i)).status(), "ttl=")
				ttl, _, _ := strings.Cut(rest, ";")
				n, err := strconv.Atoi(ttl)
				if err != nil {
					t.Fatal(err)
				}
				ttls = append(ttls, n)
			}
		})
		return ttls
	}
	first, again, later := lifetimes(t, 0.2, 0), lifetimes(t, 0.2, 0), lifetimes(t, 0.2, time.Hour)
	different, moved, low, high := map[int]bool{}, 0, 100000, 0
	for i, n := range first {
		if n < 80000 || n > 100000 {
			t.Errorf("a lifetime of %d", n)
		}
		if n != again[i] {
			t.Error("not the same for the same key and moment")
		}
		if n != later[i] {
			moved++
		}
		different[n] = true
		low, high = min(low, n), max(high, n)
	}
	if len(different) < 150 || moved < 150 || low > 82000 || high < 98000 {
		t.Errorf("%d different lifetimes from %d to %d, %d moved", len(different), low, high, moved)
	}
	for _, n := range lifetimes(t, 0, 0) {
		if n != 100000 {
			t.Errorf("a lifetime of %d without jitter", n)
		}
	}
}
