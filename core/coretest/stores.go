package coretest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// Stores that fail or hold something else than what was put into them.
var storeCases = []testCase{
	{name: "readable key", run: testReadable},
	{name: "corrupt value", run: testCorrupt},
	{name: "another key's value", run: testSwapped},
	{name: "failing store", run: testFailing, once: true},
	{name: "hanging store", run: testHanging, once: true},
	{name: "store that forgets", run: testForgetful, once: true},
	{name: "one Get per hit", run: testOneGet},
}

// recorder is a store that remembers what it was given.
type recorder struct {
	store.Store
	mu     sync.Mutex
	values map[string][]byte
	gets   atomic.Int64
	sets   atomic.Int64
	flush  func()
}

func (s *recorder) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *recorder) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.sets.Add(1)
	s.mu.Lock()
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	s.values[key] = slices.Clone(value)
	s.mu.Unlock()
	return s.Store.Set(ctx, key, value, ttl)
}

// kept returns what was set.
func (s *recorder) kept() map[string][]byte {
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

// flush waits until all that cache is to store is stored.
func (c *run) flush(cache *cacheaside.Cache) {
	c.Helper()
	if err := cache.Flush(c.context()); err != nil {
		c.Fatal(err)
	}
}

// recording is a cache on a recording store.
func (c *run) recording(change ...func(*cacheaside.Config)) (*cacheaside.Cache, *recorder) {
	c.Helper()
	rec := &recorder{Store: c.Store()}
	cache := c.Cache(append(change, func(cfg *cacheaside.Config) { cfg.Store = rec })...)
	rec.flush = func() { c.flush(cache) }
	return cache, rec
}

func testReadable(c *run) {
	cache, rec := c.recording()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/blogs/*", Handler: text("b")},
		{Path: "/v", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "Accept")
			return x.Send(200, plain, []byte("v"))
		}},
	}})
	s.Get("/blogs/1000?page=2").Stored()
	s.Get("/v").Stored()
	found := false
	for key := range rec.kept() {
		found = found || strings.Contains(key, "/blogs/1000?page=2")
		if !strings.HasPrefix(key, c.namespace) || len(key) < 17 || strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
			c.Errorf("key %q: want the namespace %s in front, 17 bytes at least and printable ASCII", key, c.namespace)
		}
		if strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 {
			c.Errorf("key %q: want one hash tag", key)
		}
	}
	if !found {
		c.Errorf("no key shows /blogs/1000?page=2: %q", slices.Collect(maps.Keys(rec.kept())))
	}
}

// testCorrupt: whatever is under our key and is not ours is a miss, and
// overwritten.
func testCorrupt(c *run) {
	cache, rec := c.recording()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: with("the body", "X-A", "1")},
		{Path: "/v", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "X-V")
			return x.Send(200, plain, []byte("v"+x.Header("X-V")))
		}},
	}})
	for path, body := range map[string]string{"/x": "the body", "/v": "v1"} {
		old := rec.kept()
		first := s.Get(path, "X-V: 1").Stored().Is(200, body)
		s.Get(path, "X-V: 1").Hit().Same(first)
		for key, good := range rec.kept() {
			if old[key] != nil {
				continue
			}
			for _, bad := range mangled(good) {
				n, before := s.Calls(path), cache.Stats().Corrupt
				if err := rec.Store.Set(c.context(), key, bad, time.Minute); err != nil {
					c.Fatal(err)
				}
				s.Get(path, "X-V: 1").Same(first)
				if calls := s.Calls(path); calls != n+1 {
					// A Vary record is not needed where its names are remembered.
					if path != "/v" || calls != n {
						c.Errorf("%s: with %d bytes of %d changed the handler ran %d times", path, len(bad), len(good), calls-n)
					}
					continue
				}
				if cache.Stats().Corrupt == before {
					c.Errorf("%s: a corrupt value was not counted", path)
				}
				s.Get(path, "X-V: 1").Hit().Same(first)
			}
		}
	}
}

// mangled is good, changed in some of the ways that there are. That each bit counts is what
// the tests of the stored form are for.
func mangled(good []byte) [][]byte {
	out := [][]byte{{}, []byte("x"), []byte("a string of another program's"), append(slices.Clone(good), 0), good[:len(good)-1], good[:len(good)/2], good[:8]}
	for i := range good {
		if i%storetest.Rounds(11, 3) != 0 {
			continue
		}
		for _, mask := range []byte{1, 0x80} {
			bad := slices.Clone(good)
			bad[i] ^= mask
			out = append(out, bad)
		}
	}
	return out
}

// testSwapped: an entry answers only the request that it was stored for.
func testSwapped(c *run) {
	cache, rec := c.recording()
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/a", Handler: text("a")}, {Path: "/b", Handler: text("b")}}})
	s.Get("/a").Stored()
	s.Get("/b").Stored()
	keys := slices.Sorted(maps.Keys(rec.kept()))
	if len(keys) != 2 {
		c.Fatalf("keys: %q", keys)
	}
	for i, key := range keys {
		if err := rec.Store.Set(c.context(), key, rec.kept()[keys[1-i]], time.Minute); err != nil {
			c.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		s.Get("/"+name).NotHit().Stored().Is(200, name)
		s.Get("/"+name).Hit().Is(200, name)
	}
}

// failing is a store that cannot do anything.
type failing struct{ err error }

func (s failing) Get(context.Context, string) ([]byte, bool, error)        { return nil, false, s.err }
func (s failing) Set(context.Context, string, []byte, time.Duration) error { return s.err }
func (s failing) Delete(context.Context, ...string) error                  { return s.err }
func (s failing) Close() error                                             { return nil }

func testFailing(c *run) { testBroken(c, failing{errors.New("out of order")}, 2) }

// hanging is a store that answers nothing before its deadline.
type hanging struct{}

func (hanging) Get(ctx context.Context, _ string) ([]byte, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

func (hanging) Set(ctx context.Context, _ string, _ []byte, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Delete(ctx context.Context, _ ...string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Close() error { return nil }

func testHanging(c *run) { testBroken(c, hanging{}, 2) }

// testBroken: the handler's answer reaches the client whatever the store does.
func testBroken(c *run, store store.Store, rounds int) {
	app := one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Store, cfg.Timeouts.Lookup, cfg.Timeouts.Write = store, 20*time.Millisecond, 20*time.Millisecond
	}), with("a", "X-A", "1"))
	app.Routes = append(app.Routes,
		Route{Path: "/error", Handler: func(x Ctx) error { return x.Error(503, "later") }},
		Route{Path: "/v", Handler: with("v", "Vary", "Accept")})
	bare, s := c.Plain(app), c.Site(app)
	for range rounds {
		for _, path := range []string{"/x", "/error", "/v"} {
			began := time.Now()
			s.Get(path).NotHit().Same(bare.Get(path))
			s.Head(path).Same(bare.Head(path))
			if took := time.Since(began); took > giveUp/2 {
				c.Errorf("%s took %v", path, took)
			}
		}
	}
	s.Handled("/x", 2*rounds)
	c.Eventually("an open circuit breaker", func() bool {
		s.Get("/x").Is(200, "a")
		return s.cache.BreakerOpen()
	})
	c.flush(s.cache)
	if st := s.cache.Stats(); st.StoreErrors == 0 || st.Stores > 0 {
		c.Errorf("Stats tells of no store errors, or of stores: %+v", st)
	}
}

// amnesiac takes everything and keeps nothing.
type amnesiac struct{}

func (amnesiac) Get(context.Context, string) ([]byte, bool, error)        { return nil, false, nil }
func (amnesiac) Set(context.Context, string, []byte, time.Duration) error { return nil }
func (amnesiac) Delete(context.Context, ...string) error                  { return nil }
func (amnesiac) Close() error                                             { return nil }

func testForgetful(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Store = amnesiac{} }), text("a")))
	for range 3 {
		s.Get("/x").Miss().Stored().Is(200, "a")
	}
	s.Handled("/x", 3)
}

// testOneGet: a hit is one read, also on a variant, and writes nothing.
func testOneGet(c *run) {
	cache, rec := c.recording()
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: text("a")},
		{Path: "/v", Handler: with("v", "Vary", "Accept")},
	}})
	for _, path := range []string{"/x", "/v"} {
		s.Get(path).Stored()
		rec.flush()
		gets, sets := rec.gets.Load(), rec.sets.Load()
		for range 5 {
			s.Get(path).Hit()
			s.Head(path).Hit()
		}
		if g, w := rec.gets.Load()-gets, rec.sets.Load()-sets; g != 10 || w != 0 {
			c.Errorf("%s: 10 hits took %d reads and %d writes", path, g, w)
		}
	}
}
