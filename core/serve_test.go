package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

// clock is a clock that tests set.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.now.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

// spy is a store that counts, remembers keys and can be made to fail.
type spy struct {
	store.Store
	mu         sync.Mutex
	gets, sets int
	keys       map[string]time.Duration
	get        func(ctx context.Context, key string) ([]byte, bool, error)
	set        func(ctx context.Context) error
}

func newSpy(t testing.TB, c *clock) *spy {
	m, err := memory.New(64<<20, memory.WithClock(c.Now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return &spy{Store: m, keys: map[string]time.Duration{}}
}

func (s *spy) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	s.gets++
	get := s.get
	s.mu.Unlock()
	if get != nil {
		return get(ctx, key)
	}
	return s.Store.Get(ctx, key)
}

func (s *spy) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.mu.Lock()
	s.sets++
	s.keys[key] = ttl
	set := s.set
	s.mu.Unlock()
	if set != nil {
		return set(ctx)
	}
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *spy) Delete(ctx context.Context, keys ...string) error {
	s.mu.Lock()
	for _, key := range keys {
		delete(s.keys, key)
	}
	s.mu.Unlock()
	return s.Store.Delete(ctx, keys...)
}

func (s *spy) counts() (gets, sets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets, sets = s.gets, s.sets
	s.gets, s.sets = 0, 0
	return gets, sets
}

// service is a handler behind the cache.
type service struct {
	http.Handler
	cache *cacheaside.Cache
	clock *clock
	store *spy
	calls atomic.Int64
}

func newService(t testing.TB, h http.HandlerFunc, change ...func(*cacheaside.Config)) *service {
	t.Helper()
	s := &service{clock: newClock()}
	s.store = newSpy(t, s.clock)
	cfg := cacheaside.Config{
		Store:    s.store,
		Now:      s.clock.Now,
		Logger:   slog.New(slog.DiscardHandler),
		Timeouts: cacheaside.Timeouts{Lookup: 10 * time.Second, Write: 10 * time.Second, Purge: 10 * time.Second},
		Policy:   cacheaside.Policy{TTL: 30 * time.Second},
	}
	for _, f := range change {
		f(&cfg)
	}
	cache, err := cacheaside.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.cache = cache
	s.Handler = nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		h(w, r)
	}))
	return s
}

func (s *service) do(method, target string, fields ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	_ = s.cache.Flush(r.Context())
	return w.Result()
}

func (s *service) get(target string, fields ...string) *http.Response {
	return s.do(http.MethodGet, target, fields...)
}

func body(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func wantStatus(t *testing.T, r *http.Response, want string) {
	t.Helper()
	if got := strings.Join(r.Header.Values("Cache-Status"), ", "); !strings.Contains(got, want) {
		t.Errorf("Cache-Status is %q, want %q", got, want)
	}
}

func TestMissThenHit(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "hello ", r.URL.Path)
	})
	first := s.get("/a")
	wantStatus(t, first, "cacheaside; fwd=miss; ttl=30; stored")
	if gets, sets := s.store.counts(); gets != 1 || sets != 1 {
		t.Errorf("a miss took %d reads and %d writes", gets, sets)
	}
	s.clock.Advance(10 * time.Second)
	second := s.get("/a")
	wantStatus(t, second, "cacheaside; hit; ttl=20")
	if gets, sets := s.store.counts(); gets != 1 || sets != 0 {
		t.Errorf("a hit took %d reads and %d writes", gets, sets)
	}
	if a, b := body(first), body(second); a != b || a != "hello /a" {
		t.Errorf("bodies %q and %q", a, b)
	}
	if second.Header.Get("Age") != "10" || s.calls.Load() != 1 {
		t.Errorf("Age %q after 10 s, %d calls", second.Header.Get("Age"), s.calls.Load())
	}
	s.clock.Advance(20 * time.Second)
	wantStatus(t, s.get("/a"), "fwd=")
	if s.calls.Load() != 2 {
		t.Error("served beyond its lifetime")
	}
	want := cacheaside.Stats{Hits: 1, Misses: 2, Stores: 2, CauseCold: 1, CauseExpired: 1, CapturePeak: 8}
	if got := s.cache.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestVaryIsOneReadOnceKnown(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprint(w, r.Header.Get("Accept-Language"))
	})
	de := []string{"Accept-Language", "de"}
	en := []string{"Accept-Language", "en"}
	wantStatus(t, s.get("/", de...), "fwd=miss")
	s.store.counts()
	other := s.get("/", en...)
	wantStatus(t, other, "fwd=vary-miss")
	s.store.counts()
	for _, f := range [][]string{de, en} {
		r := s.get("/", f...)
		wantStatus(t, r, "hit")
		if b := body(r); b != f[1] {
			t.Errorf("%s for %s", b, f[1])
		}
		if gets, _ := s.store.counts(); gets != 1 {
			t.Errorf("a hit on a known variant took %d reads", gets)
		}
	}
	// Another process does not know the names yet.
	cold := newService(t, nil, func(c *cacheaside.Config) { c.Store = s.store })
	cold.clock.now.Store(s.clock.now.Load())
	if r := cold.get("/", de...); body(r) != "de" {
		t.Error("another process missed")
	}
	if gets, _ := s.store.counts(); gets != 2 {
		t.Errorf("a cold hit on a variant took %d reads", gets)
	}
}

func TestVariantsAreBounded(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "X-Any")
		fmt.Fprint(w, r.Header.Get("X-Any"))
	}, func(c *cacheaside.Config) { c.Policy.Storing.MaxVariants = 3 })
	for i := range 20 {
		s.get("/", "X-Any", fmt.Sprint(i))
	}
	s.store.mu.Lock()
	n := len(s.store.keys)
	s.store.mu.Unlock()
	if n != 4 {
		t.Errorf("%d keys for 3 variants and their record", n)
	}
	wantStatus(t, s.get("/", "X-Any", "19"), "hit")
	wantStatus(t, s.get("/", "X-Any", "1"), "vary-miss")
}

func TestVaryNamesGrow(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if r.Header.Get("Accept") == "b" {
			w.Header().Add("Vary", "X-Tier")
		}
		fmt.Fprint(w, r.Header.Get("Accept"), r.Header.Get("X-Tier"))
	})
	for range 2 {
		for _, c := range [][2]string{{"a", "1"}, {"b", "1"}, {"b", "2"}, {"a", "2"}} {
			if got := body(s.get("/", "Accept", c[0], "X-Tier", c[1])); got != c[0]+c[1] && c[0] == "b" {
				t.Errorf("%v got %s", c, got)
			}
		}
	}
	if n := s.calls.Load(); n > 6 {
		t.Errorf("%d calls for at most 6 variants", n)
	}
}

func TestRevalidation(t *testing.T) {
	version := "1"
	var saw http.Header
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header.Clone()
		w.Header().Set("Etag", `"`+version+`"`)
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("X-Version", version)
		w.Header().Set("X-Seen", fmt.Sprint(r.Header.Get("If-None-Match")))
		if r.Header.Get("If-None-Match") == `"`+version+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "version ", version)
	})
	s.get("/")
	s.clock.Advance(11 * time.Second)
	r := s.get("/", "If-None-Match", `"other"`, "If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")
	wantStatus(t, r, "cacheaside; fwd=stale; fwd-status=304; ttl=10; stored")
	if r.StatusCode != 200 || body(r) != "version 1" {
		t.Errorf("status %d after a 304 from the handler", r.StatusCode)
	}
	if saw.Get("If-None-Match") != `"1"` || saw.Get("If-Modified-Since") != "" {
		t.Errorf("the handler saw %v", saw)
	}
	if r.Header.Get("X-Seen") != `"1"` {
		t.Error("the 304's fields did not update the stored ones (RFC 9111 section 3.2)")
	}
	wantStatus(t, s.get("/"), "hit; ttl=10")
	// The client's own condition is answered from the freshened entry.
	s.clock.Advance(11 * time.Second)
	if r := s.get("/", "If-None-Match", `W/"1"`); r.StatusCode != 304 || body(r) != "" {
		t.Errorf("status %d for a client that has it", r.StatusCode)
	}
	s.clock.Advance(11 * time.Second)
	version = "2"
	r = s.get("/")
	wantStatus(t, r, "fwd=stale; fwd-status=200")
	if body(r) != "version 2" {
		t.Error("a new version was not taken over")
	}
	if got := s.cache.Stats(); got.Revalidated != 2 || got.Stale != 3 {
		t.Errorf("stats %+v", got)
	}
}

func TestStoreTroubleNeverReachesTheClient(t *testing.T) {
	boom := errors.New("boom")
	for name, set := range map[string]func(*spy){
		"reads fail":  func(s *spy) { s.get = func(context.Context, string) ([]byte, bool, error) { return nil, false, boom } },
		"writes fail": func(s *spy) { s.set = func(context.Context) error { return boom } },
		"garbage is found": func(s *spy) {
			s.get = func(context.Context, string) ([]byte, bool, error) { return []byte("x"), true, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
			set(s.store)
			for range 3 {
				if r := s.get("/"); r.StatusCode != 200 || body(r) != "fine" {
					t.Errorf("status %d", r.StatusCode)
				}
			}
			if st := s.cache.Stats(); s.calls.Load() != 3 || st.StoreErrors+st.Corrupt != 3 {
				t.Errorf("%d calls, stats %+v", s.calls.Load(), st)
			}
		})
	}
}

func TestSilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") },
			func(c *cacheaside.Config) {
				c.Timeouts.Lookup, c.Timeouts.Write = 50*time.Millisecond, 70*time.Millisecond
			})
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		s.store.get = func(ctx context.Context, _ string) ([]byte, bool, error) { return nil, false, hang(ctx) }
		s.store.set = hang
		start := time.Now()
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil)); w.Body.String() != "fine" {
			t.Error("no answer")
		}
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("a silent store cost the client %v", d)
		}
		if _ = s.cache.Flush(t.Context()); time.Since(start) != 120*time.Millisecond {
			t.Errorf("a write to a silent store took until %v", time.Since(start))
		}
		if st := s.cache.Stats(); st.StoreErrors != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestForeignValueIsAMissAndOverwritten(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	s.get("/a")
	s.get("/b")
	var keys []string
	for k := range s.store.keys {
		keys = append(keys, k)
	}
	if len(keys) != 2 {
		t.Fatal(keys)
	}
	// An entry that is whole, but of another resource.
	a, _, _ := s.store.Store.Get(context.Background(), keys[0])
	_ = s.store.Store.Set(context.Background(), keys[1], a, time.Hour)
	for _, p := range []string{"/a", "/b", "/a", "/b"} {
		if got := body(s.get(p)); got != p {
			t.Errorf("%s got %s", p, got)
		}
	}
	if st := s.cache.Stats(); st.Corrupt != 1 || s.calls.Load() != 3 {
		t.Errorf("%d calls, stats %+v", s.calls.Load(), st)
	}
}

func TestOnlyIfCached(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	if r := s.get("/", "Cache-Control", "only-if-cached"); r.StatusCode != http.StatusGatewayTimeout || s.calls.Load() != 0 {
		t.Errorf("status %d, %d calls", r.StatusCode, s.calls.Load())
	}
	s.get("/")
	if r := s.get("/", "Cache-Control", "only-if-cached"); r.StatusCode != 200 {
		t.Errorf("status %d from the cache", r.StatusCode)
	}
}

func TestRequestDirectivesCanBeIgnored(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") },
		func(c *cacheaside.Config) { c.Policy.Requests.IgnoreDirectives = true })
	for range 3 {
		s.get("/", "Cache-Control", "no-cache, no-store")
	}
	if s.calls.Load() != 1 {
		t.Errorf("%d calls", s.calls.Load())
	}
}

func TestStoreTTLIsExact(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") },
		func(c *cacheaside.Config) { c.Policy.TTL = 1500 * time.Millisecond })
	s.get("/")
	for k, ttl := range s.store.keys {
		if ttl != 1500*time.Millisecond {
			t.Errorf("%s is kept for %v", k, ttl)
		}
	}
}

func TestRewrittenTargetsDoNotMix(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })
	mux := http.NewServeMux()
	mux.Handle("/v1/", http.StripPrefix("/v1", s.Handler))
	mux.Handle("/v2/", http.StripPrefix("/v2", s.Handler))
	for _, p := range []string{"/v1/x", "/v2/x", "/v1/x"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, p, nil))
		if w.Body.String() != p {
			t.Errorf("%s got %s", p, w.Body)
		}
	}
	if s.calls.Load() != 2 {
		t.Errorf("%d calls", s.calls.Load())
	}
}

func TestResponseHeaderSelection(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Kept", "1")
		w.Header().Set("X-Dropped", "1")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Content-Type", "text/css")
		fmt.Fprint(w, "a{}")
	}, func(c *cacheaside.Config) { c.Policy.Storing.Headers = cacheaside.Only("x-kept", "X-Hop") })
	s.get("/")
	h := s.get("/").Header
	if h.Get("X-Kept") != "1" || h.Get("X-Dropped") != "" || h.Get("X-Hop") != "" || h.Get("Content-Type") != "text/css" {
		t.Errorf("a hit has %v", h)
	}
}

func TestRange(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "0123456789")
	})
	s.get("/")
	for _, c := range []struct {
		name           string
		fields         []string
		status         int
		body, wantedCR string
	}{
		{"first", []string{"Range", "bytes=0-3"}, 206, "0123", "bytes 0-3/10"},
		{"suffix", []string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"open", []string{"Range", "bytes=8-"}, 206, "89", "bytes 8-9/10"},
		{"beyond", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"malformed", []string{"Range", "bytes=3-1"}, 200, "0123456789", ""},
		{"other unit", []string{"Range", "lines=0-1"}, 200, "0123456789", ""},
		{"If-Range matches", []string{"Range", "bytes=0-0", "If-Range", `"v"`}, 206, "0", "bytes 0-0/10"},
		{"If-Range does not", []string{"Range", "bytes=0-0", "If-Range", `"w"`}, 200, "0123456789", ""},
		{"If-None-Match first", []string{"Range", "bytes=0-0", "If-None-Match", `"v"`}, 304, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.get("/", c.fields...)
			wantStatus(t, r, "hit")
			if got := body(r); r.StatusCode != c.status || got != c.body || r.Header.Get("Content-Range") != c.wantedCR {
				t.Errorf("%d %q %q", r.StatusCode, got, r.Header.Get("Content-Range"))
			}
			if n := r.Header.Get("Content-Length"); c.status != 304 && n != fmt.Sprint(len(c.body)) {
				t.Errorf("Content-Length %s", n)
			}
		})
	}
	r := s.get("/", "Range", "bytes=0-1,8-9")
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.StatusCode != 206 {
		t.Fatalf("%d %v", r.StatusCode, err)
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	for _, want := range []string{"01 bytes 0-1/10 text/plain", "89 bytes 8-9/10 text/plain"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if got := string(b) + " " + p.Header.Get("Content-Range") + " " + p.Header.Get("Content-Type"); got != want {
			t.Errorf("part %q, want %q", got, want)
		}
	}
	if s.calls.Load() != 1 {
		t.Errorf("%d calls", s.calls.Load())
	}
}
