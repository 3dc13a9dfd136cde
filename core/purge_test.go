package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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

// server is what processes share, with counters.
type server struct {
	unread bool // fail also means reading the journal
	*standin
	reads atomic.Int64 // of values
	trips atomic.Int64 // of anything
	fail  atomic.Bool
	wrote func() // what happens when a response has just been written, once
	write func() // and just before
}

func newServer(testing.TB) *server { return &server{standin: newStandin()} }

var errDown = errors.New("down")

func (s *server) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.reads.Add(1)
	s.trips.Add(1)
	return s.standin.Get(ctx, key)
}

func (s *server) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	s.reads.Add(1)
	s.trips.Add(1)
	return s.standin.GetStamped(ctx, key, dst, keys)
}

func (s *server) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	s.trips.Add(1)
	return s.standin.Stamps(ctx, dst, keys)
}

func (s *server) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	s.trips.Add(1)
	if f.Key != "" {
		s.reads.Add(1)
	}
	return s.standin.Begin(ctx, f)
}

func (s *server) Write(ctx context.Context, w store.Write) (store.Written, error) {
	if f := s.write; f != nil {
		s.write = nil
		f()
	}
	written, err := s.standin.Write(ctx, w)
	if f := s.wrote; f != nil {
		s.wrote = nil
		f()
	}
	return written, err
}

func (s *server) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if s.fail.Load() {
		return store.Mark{}, errDown
	}
	return s.standin.Bump(ctx, clock, keys, soft, at, ttl)
}

func (s *server) Delete(ctx context.Context, keys ...string) error {
	if s.fail.Load() {
		return errDown
	}
	return s.standin.Delete(ctx, keys...)
}

func (s *server) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if s.fail.Load() && s.unread {
		return store.Journal{}, errDown
	}
	return s.standin.ReadJournal(ctx, clock)
}

func (s *server) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if s.fail.Load() {
		return store.Journal{}, false, errDown
	}
	return s.standin.WriteJournal(ctx, clock, old, text)
}

// rows are what handlers read: a value per path, with a tag of the same name.
type rows struct {
	mu     sync.Mutex
	values map[string]int
	calls  atomic.Int64
	during func(path string) // while the handler runs, after it has read
	header http.Header
}

func (r *rows) set(path string, v int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values == nil {
		r.values = map[string]int{}
	}
	r.values[path] = v
}

func (r *rows) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.calls.Add(1)
	r.mu.Lock()
	v, during := r.values[req.URL.Path], r.during
	r.mu.Unlock()
	if during != nil {
		during(req.URL.Path)
	}
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.Header().Add("Cache-Tag", "all-rows,row"+strings.ReplaceAll(req.URL.Path, "/", "-"))
	fmt.Fprint(w, v)
}

// instance is one process.
type instance struct {
	*cacheaside.Cache
	h      http.Handler
	shared store.Store // with others
}

func newInstance(t testing.TB, store store.Store, h http.Handler, change ...func(*cacheaside.Config)) *instance {
	t.Helper()
	cfg := cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: time.Hour}}
	for _, f := range change {
		f(&cfg)
	}
	c, err := cacheaside.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	i := &instance{Cache: c, h: nethttp.New(c)(h), shared: store}
	return i
}

func (i *instance) get(t testing.TB, path string, fields ...string) (body, status string) {
	t.Helper()
	return i.send(t, http.MethodGet, path, fields...)
}

func (i *instance) send(t testing.TB, method, path string, fields ...string) (body, status string) {
	t.Helper()
	r := httptest.NewRequest(method, "http://example.com"+path, nil)
	for n := 0; n+1 < len(fields); n += 2 {
		r.Header.Add(fields[n], fields[n+1])
	}
	r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{Handler: i.h}))
	w := httptest.NewRecorder()
	i.h.ServeHTTP(w, r)
	must(t, i.Flush(context.Background()))
	b, _ := io.ReadAll(w.Result().Body)
	if tag := w.Header()["Cache-Tag"]; len(tag) > 0 {
		t.Errorf("the client sees Cache-Tag %q", tag)
	}
	return string(b), w.Header().Get("Cache-Status")
}

func (i *instance) want(t testing.TB, path, body, status string, fields ...string) {
	t.Helper()
	b, s := i.get(t, path, fields...)
	if b != body || !strings.Contains(s, status) {
		t.Errorf("%s: %q, %s; want %q, %s", path, b, s, body, status)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPurge: what is purged by one instance is gone on the other, whatever it
// is purged by; the rest stays.
func TestPurge(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		purge func(*instance) error
		gone  []string
		kept  []string
	}{
		"a tag":                 {func(i *instance) error { return i.PurgeTags(ctx, "row-a-1") }, []string{"/a/1"}, []string{"/a", "/a/2", "/ab", "/b"}},
		"two tags":              {func(i *instance) error { return i.PurgeTags(ctx, "row-a-1", "row-b") }, []string{"/a/1", "/b"}, []string{"/a", "/a/2", "/ab"}},
		"a tag of all":          {func(i *instance) error { return i.PurgeTags(ctx, "all-rows") }, []string{"/a", "/a/1", "/a/2", "/ab", "/b"}, nil},
		"an unknown tag":        {func(i *instance) error { return i.PurgeTags(ctx, "nobody") }, nil, []string{"/a", "/a/1", "/a/2", "/ab", "/b"}},
		"a URL":                 {func(i *instance) error { return i.PurgeURL(ctx, "http://example.com/a/1") }, []string{"/a/1"}, []string{"/a", "/a/2", "/ab", "/b"}},
		"a URL of another host": {func(i *instance) error { return i.PurgeURL(ctx, "http://example.org/a/1") }, nil, []string{"/a/1", "/a"}},
		"a prefix": {func(i *instance) error {
			return i.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/a"}})
		}, []string{"/a", "/a/1", "/a/2"}, []string{"/ab", "/b"}},
		"a prefix with a slash": {func(i *instance) error {
			return i.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/a/"}})
		}, []string{"/a/1", "/a/2"}, []string{"/a", "/ab", "/b"}},
		"all": {func(i *instance) error { return i.Purge(ctx, cacheaside.Purge{All: true}) }, []string{"/a", "/a/1", "/a/2", "/ab", "/b"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rows := newServer(t), &rows{}
				one, two := newInstance(t, store, rows), newInstance(t, store, rows)
				for _, p := range append(c.gone, c.kept...) {
					rows.set(p, 1)
					one.want(t, p, "1", "stored")
					two.want(t, p, "1", "hit")
					rows.set(p, 2)
				}
				must(t, c.purge(one))
				for range 2 { // the second time by what is remembered
					for _, p := range c.kept {
						one.want(t, p, "1", "hit")
						two.want(t, p, "1", "hit")
					}
				}
				for _, p := range c.gone {
					two.want(t, p, "2", "fwd=")
					one.want(t, p, "2", "")
				}
				synctest.Wait()
				time.Sleep(time.Second) // what was remembered of the sequence is read anew
				for _, p := range c.gone {
					two.want(t, p, "2", "")
					one.want(t, p, "2", "hit")
				}
			})
		})
	}
}

// A way to purge what stands under /a, with the tag row-a.
type way func(*instance) error

func purging(p cacheaside.Purge) way {
	return func(i *instance) error { return i.Purge(context.Background(), p) }
}

var (
	byTag        = purging(cacheaside.Purge{Tags: []string{"row-a"}})
	byURL        = purging(cacheaside.Purge{URLs: []string{"http://example.com/a"}})
	byPrefix     = purging(cacheaside.Purge{Prefixes: []string{"http://example.com/"}})
	ofAll        = purging(cacheaside.Purge{All: true})
	softByTag    = purging(cacheaside.Purge{Tags: []string{"row-a"}, Soft: true})
	softByPrefix = purging(cacheaside.Purge{Prefixes: []string{"http://example.com/"}, Soft: true})
	softOfAll    = purging(cacheaside.Purge{All: true, Soft: true})

	// hardWays are all of those after which nobody may get what was stored.
	hardWays = map[string]way{"tag": byTag, "URL": byURL, "prefix": byPrefix, "all": ofAll, "PUT": byPUT}
)

func byPUT(i *instance) error {
	i.h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "http://example.com/a", nil))
	return nil
}

// TestPurgeDuringFill: a response that was under way when its tag, URL or all
// was purged is not stored, and not shared with who comes later.
func TestPurgeDuringFill(t *testing.T) {
	for name, purge := range hardWays {
		for _, vary := range []string{"", "Accept-Language"} {
			t.Run(name+" "+vary, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, rows := newServer(t), &rows{}
					if vary != "" {
						rows.header = http.Header{"Vary": {vary}}
					}
					one, two := newInstance(t, store, rows), newInstance(t, store, rows)
					rows.set("/a", 1)
					once := true
					rows.during = func(string) {
						if once {
							once = false
							rows.set("/a", 2)
							must(t, purge(two))
						}
					}
					one.want(t, "/a", "1", "fwd=miss")
					if n := one.Stats().Overtaken; n != 1 {
						t.Errorf("%d responses overtaken by a purge, want 1", n)
					}
					one.want(t, "/a", "2", "fwd=")
					two.want(t, "/a", "2", "")
					time.Sleep(time.Second)
					one.want(t, "/a", "2", "")
					two.want(t, "/a", "2", "hit")
				})
			})
		}
	}
}

// TestSoftPurgeDuringFill: the response is of use, but no longer fresh.
func TestSoftPurgeDuringFill(t *testing.T) {
	for name, purge := range map[string]way{
		"tag": softByTag,
		"all": softOfAll,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rows := newServer(t), &rows{}
				one, two := newInstance(t, store, rows), newInstance(t, store, rows)
				one.want(t, "/a", "0", "stored") // the tag is known
				must(t, one.PurgeURL(t.Context(), "http://example.com/a"))
				rows.set("/a", 1)
				once := true
				rows.during = func(string) {
					if once {
						once = false
						rows.set("/a", 2)
						must(t, purge(two))
					}
				}
				one.want(t, "/a", "1", "stored")
				synctest.Wait() // for the lock to be released
				two.want(t, "/a", "1", "stale-while-revalidate")
				synctest.Wait()
				must(t, two.Flush(t.Context()))
				one.want(t, "/a", "2", "hit")
			})
		})
	}
}

// TestWhoComesAfterASoftPurge is not given what is older, though it waits for it:
// whatever was purged, and whether the response is new or a 304 has renewed it.
func TestWhoComesAfterASoftPurge(t *testing.T) {
	for name, purge := range map[string]way{
		"tag":     softByTag,
		"prefix":  softByPrefix,
		"all":     softOfAll,
		"nothing": func(*instance) error { time.Sleep(journalPurge); return nil },
	} {
		for _, how := range []string{"new", "304"} {
			for _, from := range []string{"the same process", "another process"} {
				inBubble(t, name+", "+how+", from "+from, func(t *testing.T) {
					var version atomic.Int64
					var took atomic.Int64
					h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						body := fmt.Sprint(version.Load())
						time.Sleep(time.Duration(took.Load()))
						w.Header().Set("Cache-Tag", "row-a")
						if how == "304" {
							w.Header().Set("Etag", `"`+body+`"`)
							if r.Header.Get("If-None-Match") == `"`+body+`"` {
								w.WriteHeader(http.StatusNotModified)
								return
							}
						}
						_, _ = io.WriteString(w, body)
					})
					store := newServer(t)
					one, two := newInstance(t, store, h), newInstance(t, store, h)
					one.want(t, "/a", "0", "stored") // the tag is known
					purger := one
					if from == "another process" {
						purger = two
					}
					if how == "304" {
						time.Sleep(time.Hour + time.Second)
					} else {
						must(t, one.PurgeURL(t.Context(), "http://example.com/a"))
						time.Sleep(time.Second)
					}
					took.Store(int64(2 * time.Second))
					var wg sync.WaitGroup
					wg.Go(func() { one.want(t, "/a", "0", "stored") })
					time.Sleep(100 * time.Millisecond)
					version.Store(1)
					must(t, purge(purger))
					want, status := "1", ""
					if name == "nothing" {
						want, status = "0", "collapsed"
					}
					for range 2 {
						wg.Go(func() { one.want(t, "/a", want, status) })
					}
					wg.Wait()
				})
			}
		}
	}
}

// journalPurge is longer than a purge of a prefix or of all takes.
const journalPurge = time.Second

// TestPurgeURLReachesEveryKey: variants, partitions, and keys by field or cookie.
func TestPurgeURLReachesEveryKey(t *testing.T) {
	for _, how := range []string{"PurgeURL", "PUT"} {
		t.Run(how, func(t *testing.T) {
			store, rows := newServer(t), &rows{header: http.Header{"Vary": {"Accept-Language"}}}
			policy := func(c *cacheaside.Config) {
				c.Policy.Key.Headers, c.Policy.Key.Cookies = []string{"X-Plan"}, []string{"group"}
				c.Policy.Key.Partition = func(r *cacheaside.Request) string { return first(r.Header.Values("X-User")) }
			}
			one, two := newInstance(t, store, rows, policy), newInstance(t, store, rows, policy)
			asks := [][]string{nil, {"Accept-Language", "de"}, {"X-Plan", "pro"}, {"Cookie", "group=1"}, {"X-User", "ann"}, {"X-User", "bob", "Accept-Language", "fr"}}
			for _, ask := range asks {
				one.want(t, "/a?x=1", "0", "stored", ask...)
				two.want(t, "/a?x=1", "0", "hit", ask...)
				two.want(t, "/b", "0", "", ask...)
			}
			rows.set("/a", 1)
			if how == "PUT" {
				one.send(t, http.MethodPut, "/a?x=1")
			} else {
				must(t, one.PurgeURL(t.Context(), "http://example.com/a?x=1"))
			}
			for _, ask := range asks {
				two.want(t, "/a?x=1", "1", "fwd=", ask...)
				two.want(t, "/b", "0", "hit", ask...)
			}
		})
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// TestLostStamps: what the store has evicted costs misses and nothing else.
func TestLostStamps(t *testing.T) {
	store, rows := newServer(t), &rows{}
	one, two := newInstance(t, store, rows), newInstance(t, store, rows)
	one.want(t, "/a", "0", "stored")
	two.want(t, "/a", "0", "hit")
	rows.set("/a", 1)
	must(t, one.PurgeTags(t.Context(), "row-a"))
	for _, tag := range []string{"row-a", "all-rows"} {
		store.loseStamp("cacheaside:2:{tags}:t:" + tag)
	}
	two.want(t, "/a", "1", "fwd=")
}

// TestLostClock: the first fill after the clock was lost is stored, though the copy of the
// journal from before is still good. Of what was stored before, nothing is used.
func TestLostClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, rows := newServer(t), &rows{}
		one, two := newInstance(t, store, rows), newInstance(t, store, rows)
		for _, i := range []*instance{one, two} {
			i.want(t, "/a", "0", "")
		}
		store.loseClock()
		one.want(t, "/b", "0", "stored")
		for _, i := range []*instance{one, one, two, two} {
			i.want(t, "/b", "0", "")
		}
		for _, i := range []*instance{one, two} {
			i.want(t, "/b", "0", "hit")
		}
		one.want(t, "/a", "0", "fwd=")
		if n := one.Stats().Overtaken + two.Stats().Overtaken; n > 0 {
			t.Errorf("%d fills refused", n)
		}
		must(t, one.Close(t.Context()))
		must(t, two.Close(t.Context()))
	})
}

// TestSoftPurge: stale responses answer while they are renewed.
func TestSoftPurge(t *testing.T) {
	for name, purge := range map[string]way{
		"tags":   softByTag,
		"prefix": purging(cacheaside.Purge{Prefixes: []string{"http://example.com/a"}, Soft: true}),
		"all":    softOfAll,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rows := newServer(t), &rows{}
				one, two := newInstance(t, store, rows), newInstance(t, store, rows)
				one.want(t, "/a", "0", "stored")
				synctest.Wait() // for the lock to be released
				rows.set("/a", 1)
				must(t, purge(one))
				two.want(t, "/a", "0", "stale-while-revalidate")
				synctest.Wait()
				one.want(t, "/a", "1", "hit")
				// A hard purge before a soft one counts.
				rows.set("/a", 2)
				must(t, one.PurgeTags(t.Context(), "row-a"))
				must(t, purge(one))
				two.want(t, "/a", "2", "fwd=")
			})
		})
	}
}

// TestPurgeCommands: a hit without tags is one command, and one with tags one
// round trip once they are known.
func TestPurgeCommands(t *testing.T) {
	store, rows := newServer(t), &rows{}
	one := newInstance(t, store, rows)
	plain := newInstance(t, store, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	plain.want(t, "/plain", "x", "stored")
	one.want(t, "/a", "0", "stored")
	store.trips.Store(0)
	for range 10 {
		plain.want(t, "/plain", "x", "hit")
		one.want(t, "/a", "0", "hit")
	}
	if n := store.trips.Load(); n != 20 {
		t.Errorf("%d round trips for 20 hits", n)
	}
}

// TestPurgeErrors: nothing is claimed that the store has not acknowledged, and
// nonsense is refused.
func TestPurgeErrors(t *testing.T) {
	store, ctx := newServer(t), t.Context()
	one := newInstance(t, store, &rows{})
	store.fail.Store(true)
	for name, err := range map[string]error{
		"PurgeTags": one.PurgeTags(ctx, "a"), "PurgeURL": one.PurgeURL(ctx, "http://example.com/"),
		"PurgePrefix": one.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/"}}), "PurgeAll": one.Purge(ctx, cacheaside.Purge{All: true}),
	} {
		if !errors.Is(err, errDown) || !strings.Contains(err.Error(), "acknowledged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	store.fail.Store(false)
	if one.Stats().PurgeErrors != 4 {
		t.Errorf("%+v", one.Stats())
	}
	for _, tag := range []string{"", strings.Repeat("x", cacheaside.MaxTagBytes+1)} {
		if err := one.PurgeTags(ctx, tag); err == nil {
			t.Errorf("a tag of %d bytes is taken", len(tag))
		}
	}
	for _, u := range []string{"", "/a", "//example.com/", "http://", "::", "http://u:p@example.com/", "mailto:x"} {
		if one.PurgeURL(ctx, u) == nil || one.Purge(ctx, cacheaside.Purge{Prefixes: []string{u}}) == nil {
			t.Errorf("%q is taken for a URL", u)
		}
	}
	bare := newInstance(t, newSpy(t, newClock()), &rows{})
	if err := bare.Purge(ctx, cacheaside.Purge{All: true}); !errors.Is(err, cacheaside.ErrCannotPurge) {
		t.Error(err)
	}
	must(t, bare.PurgeURL(ctx, "http://example.com/a"))
}

// TestPurgeEndpointInsists: who purges over HTTP asks the store even while the
// circuit breaker is open.
func TestPurgeEndpointInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newServer(t)
		store.unread = true
		one := newInstance(t, store, &rows{}, func(c *cacheaside.Config) { c.Breaker.Failures, c.Breaker.Pause = 2, time.Hour })
		endpoint, err := one.PurgeEndpoint(cacheaside.PurgeAccess{Authorize: func(context.Context, *cacheaside.Request) bool { return true }})
		must(t, err)
		for _, o := range []struct{ method, body string }{{"PURGE", ""}, {"POST", `{"urls":["http://example.com/a"]}`}, {"POST", `{"tags":["row-a"]}`}} {
			req := &cacheaside.Request{Method: o.method, Scheme: "http", Host: "example.com", Path: "/a", Header: http.Header{}}
			store.fail.Store(true)
			for range 3 { // failures that go on
				if r := endpoint.Serve(t.Context(), req, []byte(o.body)); r.Status != 503 {
					t.Errorf("%s %s of a store that is down: %d %s", o.method, o.body, r.Status, r.Body)
				}
				time.Sleep(time.Second)
			}
			if !one.BreakerOpen() {
				t.Fatal("the breaker is not open")
			}
			store.fail.Store(false)
			if r := endpoint.Serve(t.Context(), req, []byte(o.body)); r.Status != 200 {
				t.Errorf("%s %s while the breaker is open: %d %s", o.method, o.body, r.Status, r.Body)
			}
			time.Sleep(2 * time.Hour) // it asks the store, and closes
		}
	})
}

// TestTags: from fields, from the context, with limits.
func TestTags(t *testing.T) {
	store := newServer(t)
	header, added := http.Header{}, []string(nil)
	one := newInstance(t, store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		cacheaside.AddTags(r.Context(), added...)
		_, _ = io.WriteString(w, "x")
	}))
	long := strings.Repeat("x", cacheaside.MaxTagBytes)
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("t", i))
		}
		return out
	}
	for i, c := range []struct {
		header http.Header
		added  []string
		purge  string // takes it away; empty: it is not stored
	}{
		{http.Header{"Cache-Tag": {"a, b c ,,"}}, nil, "b c"},
		{http.Header{"Surrogate-Key": {"a  b", "c"}}, nil, "c"},
		{nil, []string{"übung 💡", "b"}, "übung 💡"},
		{nil, []string{long}, long},
		{nil, []string{long + "x"}, ""},
		{nil, []string{""}, ""},
		{nil, many(64), "t63"},
		{nil, many(65), ""},
		{http.Header{"Cache-Tag": {strings.Join(many(5000), ",")}}, nil, ""},
	} {
		header, added = c.header, c.added
		path := fmt.Sprint("/", i)
		if c.purge == "" {
			one.want(t, path, "x", "detail=tags")
			continue
		}
		one.want(t, path, "x", "stored")
		one.want(t, path, "x", "hit")
		must(t, one.PurgeTags(t.Context(), "other"))
		one.want(t, path, "x", "hit")
		must(t, one.PurgeTags(t.Context(), c.purge))
		one.want(t, path, "x", "fwd=")
	}
	cacheaside.AddTags(context.Background(), "nowhere") // does nothing
}

// TestCacheGroups is RFC 9875.
func TestCacheGroups(t *testing.T) {
	store, answer := newServer(t), http.Header{}
	one := newInstance(t, store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range answer {
			w.Header()[name] = values
		}
		_, _ = io.WriteString(w, "x")
	}))
	answer = http.Header{"Cache-Groups": {`"scripts", "v1";p=1`}}
	one.want(t, "/a", "x", "stored")
	answer = http.Header{"Cache-Groups": {`scripts, "v2"`}} // not a list of strings
	one.want(t, "/b", "x", "stored")
	answer = http.Header{"Cache-Group-Invalidation": {`"v2"`, `"v1"`}}
	one.send(t, http.MethodGet, "/c") // a safe method
	one.want(t, "/a", "x", "hit")
	one.send(t, http.MethodPost, "/c")
	one.want(t, "/b", "x", "hit")
	one.want(t, "/a", "x", "fwd=")
}

// TestPurgeDuringRenewal: a response that is being renewed, by a 304, in the
// background, or by the answer to a HEAD, while it is purged does not come back.
func TestPurgeDuringRenewal(t *testing.T) {
	ctx := context.Background()
	for how, ask := range map[string]struct {
		control, method, status string
	}{
		"304":  {"max-age=10", http.MethodGet, "fwd=stale; fwd-status=304"},
		"SWR":  {"max-age=10, stale-while-revalidate=600", http.MethodGet, "detail=stale-while-revalidate"},
		"HEAD": {"max-age=10", http.MethodHead, "fwd=stale"},
	} {
		ways := maps.Clone(hardWays)
		ways["nothing"] = func(*instance) error { return nil }
		for name, purge := range ways {
			t.Run(how+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var version, purging atomic.Int64
					var two *instance
					h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Method == http.MethodPut {
							return
						}
						body, etag := fmt.Sprint(version.Load()), fmt.Sprintf(`"%d"`, version.Load()/10)
						if purging.CompareAndSwap(1, 2) { // what was read is changed now
							version.Store(1)
							must(t, purge(two))
						}
						w.Header().Set("Etag", etag)
						w.Header().Set("Cache-Control", ask.control)
						w.Header().Set("Cache-Tag", "row-a")
						if r.Header.Get("If-None-Match") == etag {
							w.WriteHeader(http.StatusNotModified)
							return
						}
						w.Header().Set("Content-Length", fmt.Sprint(len(body)))
						_, _ = io.WriteString(w, body)
					})
					store := newServer(t)
					one := newInstance(t, store, h)
					two = newInstance(t, store, h)
					one.want(t, "/a", "0", "stored")
					time.Sleep(11 * time.Second)
					purging.Store(1)
					if _, status := one.send(t, ask.method, "/a"); !strings.Contains(status, ask.status) {
						t.Errorf("%s, want %s", status, ask.status)
					}
					synctest.Wait()
					must(t, one.Flush(ctx))
					if purging.Load() != 2 {
						t.Fatal("nothing was renewed")
					}
					if name == "nothing" {
						two.want(t, "/a", "0", "hit; ttl=10")
						return
					}
					for range 2 {
						two.want(t, "/a", "1", "")
						one.want(t, "/a", "1", "")
					}
				})
			})
		}
	}
}

// TestPurgeBeforeRenewal: a background run looks at what is stored as any request
// does. What was purged after it was begun is not renewed by a 304, and what another
// process has stored is not taken for new where it was made stale meanwhile.
func TestPurgeBeforeRenewal(t *testing.T) {
	for name, purge := range map[string]way{
		"tag":       byTag,
		"URL":       byURL,
		"prefix":    byPrefix,
		"all":       ofAll,
		"soft, tag": softByTag,
		"soft, all": softOfAll,
		"nothing":   func(*instance) error { time.Sleep(time.Second); return nil },
	} {
		for _, vary := range []string{"", "Accept-Language"} {
			for _, elsewhere := range []bool{false, true} {
				inBubble(t, fmt.Sprintf("%s, Vary %q, renewed elsewhere %t", name, vary, elsewhere), func(t *testing.T) {
					var version atomic.Int64
					h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if vary != "" {
							w.Header().Set("Vary", vary)
						}
						w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=600")
						w.Header().Set("Cache-Tag", "row-a")
						if etag := `W/"1"`; !strings.HasPrefix(name, "soft") { // it says less than it should
							w.Header().Set("Etag", etag)
							if r.Header.Get("If-None-Match") == etag {
								w.WriteHeader(http.StatusNotModified)
								return
							}
						}
						fmt.Fprint(w, version.Load())
					})
					store := &pausing{server: newServer(t)}
					one := newInstance(t, store, h, func(c *cacheaside.Config) { c.Timeouts.Lookup = time.Minute })
					two := newInstance(t, store, h)
					one.want(t, "/a", "0", "stored")
					time.Sleep(11 * time.Second)
					before := func() { // the run has begun, and has not looked
						if elsewhere {
							two.want(t, "/a", "0", "stale-while-revalidate")
							time.Sleep(time.Second)
							two.want(t, "/a", "0", "hit; ttl=9")
						}
						version.Store(1)
						must(t, purge(two))
					}
					store.lock.Store(&before)
					one.want(t, "/a", "0", "stale-while-revalidate")
					time.Sleep(5 * time.Second)
					if store.lock.Load() != nil {
						t.Fatal("nothing was renewed")
					}
					want := "1"
					if name == "nothing" {
						want = "0"
					}
					one.want(t, "/a", want, "")
					two.want(t, "/a", want, "hit")
				})
			}
		}
	}
}

// pausing does something before the next lock of a resource is taken.
type pausing struct {
	*server
	lock atomic.Pointer[func()]
}

func (p *pausing) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	if f := p.lock.Swap(nil); f != nil {
		(*f)()
	}
	return p.server.Begin(ctx, f)
}

// TestLateJoiner: who comes after a purge, to others who wait for a response that
// was under way before it, does not get that one.
func TestLateJoiner(t *testing.T) {
	for name, purge := range map[string]way{
		"tag":     byTag,
		"URL":     byURL,
		"all":     ofAll,
		"nothing": func(*instance) error { return nil },
	} {
		for _, from := range []string{"the same process", "another process"} {
			t.Run(name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, rows, gate := newServer(t), &rows{}, make(chan struct{})
					rows.during = func(string) { <-gate }
					one, two := newInstance(t, store, rows), newInstance(t, store, rows)
					purger := one
					if from == "another process" {
						purger = two
					}
					want := "1"
					if name == "nothing" {
						want = "0"
					}
					var wg sync.WaitGroup
					wg.Go(func() { one.want(t, "/a", "0", "fwd=miss") })
					synctest.Wait()
					rows.set("/a", 1)
					must(t, purge(purger))
					for range 3 {
						wg.Go(func() { one.want(t, "/a", want, "fwd=") })
						wg.Go(func() { two.want(t, "/a", want, "fwd=") })
					}
					synctest.Wait() // they wait for the first one
					most := int64(1)
					if name == "URL" {
						most = 2 // its lock is gone, and another process does not wait for what was purged
					}
					if n := rows.calls.Load(); n > most {
						t.Errorf("%d handlers run: nobody waits", n)
					}
					close(gate)
					wg.Wait()
					one.want(t, "/a", want, "hit")
					if n := rows.calls.Load(); n > 4 {
						t.Errorf("the handler ran %d times", n)
					}
				})
			})
		}
	}
}

// TestJoinerAfterTheWrite: the same where the purge comes when the response has
// been written, but those who wait have not been told. Who waited before gets it.
func TestJoinerAfterTheWrite(t *testing.T) {
	for name, purge := range map[string]way{
		"tag":     byTag,
		"URL":     byURL,
		"nothing": func(*instance) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rows, gate := newServer(t), &rows{}, make(chan struct{})
				rows.during = func(string) { <-gate }
				// What is on its way to the store is not waited for, so that the flight is.
				one := newInstance(t, store, rows, func(c *cacheaside.Config) { c.Timeouts.Lookup, c.Timeouts.Write = time.Millisecond, time.Minute })
				two := newInstance(t, store, rows)
				want := "1"
				if name == "nothing" {
					want = "0"
				}
				var wg sync.WaitGroup
				store.wrote = func() {
					rows.set("/a", 1)
					must(t, purge(two))
					wg.Go(func() { one.want(t, "/a", want, "") })
					time.Sleep(100 * time.Millisecond)
				}
				wg.Go(func() { one.want(t, "/a", "0", "fwd=miss") })
				synctest.Wait()
				wg.Go(func() { one.want(t, "/a", "0", "collapsed") })
				synctest.Wait()
				close(gate)
				wg.Wait()
				if store.wrote != nil {
					t.Fatal("nothing was written")
				}
			})
		})
	}
}

// TestJoinerBeforeALateWrite: who comes after a purge, to one who has waited for
// another process since before it, does not get what that one writes too late,
// though the other one, who came before, may.
func TestJoinerBeforeALateWrite(t *testing.T) {
	for name, purge := range map[string]way{
		"prefix":  byPrefix,
		"all":     ofAll,
		"nothing": func(*instance) error { time.Sleep(time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rows := newServer(t), &rows{}
				one := newInstance(t, store, rows, func(c *cacheaside.Config) { c.Timeouts.Write = time.Minute })
				two := newInstance(t, store, rows)
				two.want(t, "/b", "0", "stored")
				two.want(t, "/b", "0", "hit") // two knows what has been purged
				synctest.Wait()
				rows.during = func(path string) { time.Sleep(50 * time.Millisecond) }
				want := "1"
				if name == "nothing" {
					want = "0"
				}
				var wg sync.WaitGroup
				store.write = func() {
					rows.set("/a", 1)
					must(t, purge(one))
					for range 3 {
						wg.Go(func() { two.want(t, "/a", want, "") })
					}
					synctest.Wait()
				}
				wg.Go(func() { one.want(t, "/a", "0", "stored") })
				time.Sleep(10 * time.Millisecond)
				wg.Go(func() { two.get(t, "/a") })
				wg.Wait()
				if store.write != nil {
					t.Fatal("nothing was written")
				}
				two.want(t, "/a", want, "")
			})
		})
	}
}

// TestPurgeOfLongPrefix: nothing is stored below it, and nothing else goes.
func TestPurgeOfLongPrefix(t *testing.T) {
	store := newServer(t)
	one := newInstance(t, store, &rows{})
	one.want(t, "/a", "0", "stored")
	endpoint, err := one.PurgeEndpoint(cacheaside.PurgeAccess{Authorize: func(context.Context, *cacheaside.Request) bool { return true }})
	must(t, err)
	for _, path := range []string{strings.Repeat("x", 10_000), strings.Repeat("|", 4_000)} {
		must(t, one.Purge(t.Context(), cacheaside.Purge{Prefixes: []string{"http://example.com/" + path}}))
		must(t, one.Purge(t.Context(), cacheaside.Purge{Prefixes: []string{"http://example.com/" + path}, Soft: true}))
		r := endpoint.Serve(t.Context(), &cacheaside.Request{Method: http.MethodPost, Header: http.Header{}}, []byte(`{"prefixes":["http://example.com/`+path+`"]}`))
		if r.Status != http.StatusOK {
			t.Errorf("%d %s", r.Status, r.Body)
		}
		one.want(t, "/a", "0", "hit")
	}
}

// TestPurgeOfRewrittenURL: a URL is purged as clients know it, and as the cache
// sees it, which is behind something that strips a prefix.
func TestPurgeOfRewrittenURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, rows := newServer(t), &rows{}
		one := newInstance(t, store, rows)
		one.h = http.StripPrefix("/api", one.h)
		ctx := t.Context()
		for name, c := range map[string]struct {
			purge func() error
			gone  bool
		}{
			"as received":        {func() error { return one.PurgeURL(ctx, "http://example.com/api/a?x=1") }, true},
			"as seen":            {func() error { return one.PurgeURL(ctx, "http://example.com/a?x=1") }, true},
			"another query":      {func() error { return one.PurgeURL(ctx, "http://example.com/api/a") }, false},
			"another URL":        {func() error { return one.PurgeURL(ctx, "http://example.com/app/a?x=1") }, false},
			"prefix as received": {func() error { return one.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/api"}}) }, true},
			"prefix as seen":     {func() error { return one.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/a"}}) }, true},
			"prefix of another":  {func() error { return one.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/ap"}}) }, false},
			"PUT":                {func() error { one.send(t, http.MethodPut, "/api/a?x=1"); return nil }, true},
		} {
			rows.set("/a", 1)
			one.want(t, "/api/a?x=1", "1", "")
			synctest.Wait()
			one.want(t, "/api/a?x=1", "1", "hit")
			rows.set("/a", 2)
			must(t, c.purge())
			if c.gone {
				one.want(t, "/api/a?x=1", "2", "fwd=miss")
			} else {
				one.want(t, "/api/a?x=1", "1", "hit")
			}
			if t.Failed() {
				t.Fatal(name)
			}
			must(t, one.PurgeTags(ctx, "all-rows"))
		}
	})
}

// TestPurgeOfGeneratedKey: an unsafe request removes what a GET has stored, though
// the keys are made by a function that looks at the method.
func TestPurgeOfGeneratedKey(t *testing.T) {
	for _, vary := range []string{"", "Accept"} {
		rows := &rows{header: http.Header{}}
		if vary != "" {
			rows.header.Set("Vary", vary)
		}
		one := newInstance(t, newServer(t), rows, func(c *cacheaside.Config) {
			c.Policy.Key.Generator = func(r *cacheaside.Request) string { return r.Method + " " + r.Path }
		})
		one.want(t, "/a", "0", "stored")
		rows.set("/a", 1)
		one.send(t, http.MethodPut, "/a")
		one.want(t, "/a", "1", "fwd=")
	}
}

// TestTagsOfManyRenewals: what a 304 adds is kept, within the limit; beyond it the
// handler is asked for a whole response.
func TestTagsOfManyRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		one := newInstance(t, newServer(t), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n++
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=10")
			cacheaside.AddTags(r.Context(), fmt.Sprint("t", n))
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "x")
		}), func(c *cacheaside.Config) { c.Policy.Storing.MaxTags = 4 })
		for i, want := range []string{
			"miss", "stale; fwd-status=304; ttl=10; stored", "stale; fwd-status=304; ttl=10; stored", "stale; fwd-status=304; ttl=10; stored",
			"detail=tags", "fwd=miss", "stale; fwd-status=304; ttl=10; stored",
		} {
			one.want(t, "/a", "x", want)
			synctest.Wait()
			time.Sleep(11 * time.Second) // also for the note that it is not to be shared
			if refused := one.Stats().TagsRefused; (refused > 0) != (i >= 4) {
				t.Errorf("%d: %d refused", i, refused)
			}
		}
		one.want(t, "/a", "x", "stored")
		one.want(t, "/a", "x", "hit")
		must(t, one.PurgeTags(t.Context(), "t5"))
		one.want(t, "/a", "x", "hit")
		must(t, one.PurgeTags(t.Context(), "t6"))
		one.want(t, "/a", "x", "fwd=miss")
	})
}
