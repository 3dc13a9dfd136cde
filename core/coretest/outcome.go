package coretest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/observe"
)

// What the service itself learns of what the cache did, and what X-Cache says.
var outcomeCases = []testCase{
	{name: "outcome", run: testOutcome},
	{name: "outcome of a stale response", run: testOutcomeStale},
	{name: "outcome of a panic", run: testOutcomePanic},
	{name: "outcome of a taken connection", run: testOutcomeHijack},
	{name: "outcome of a stream", run: testOutcomeStream},
	{name: "outcome of what is sent as it comes", run: testOutcomeStreamed},
	{name: "outcome of who waits", run: testOutcomeCollapsed},
	{name: "outcome of handles", run: testOutcomeHandles},
	{name: "outcome of two caches", run: testOutcomeTwoCaches},
	{name: "outcome of a returned error", run: testOutcomeError},
	{name: "outcome that nobody asks for", run: testOutcomeOff},
	{name: "X-Cache of another cache", run: testXCacheInFront},
	{name: "X-Cache is not stored", run: testXCacheNotStored},
}

// accounts are the outcomes of the requests that a middleware has seen, in the order in
// which they were over.
type accounts struct {
	c  *run
	mu sync.Mutex

	all []account
}

type account struct {
	cacheaside.Outcome
	ok    bool
	early bool // it could be asked for before the next handler had returned
}

// asks is a middleware that asks for outcomes.
func (a *accounts) asks(x Ctx, next func() error) error {
	_, early := x.Outcome()
	defer func() {
		o, ok := x.Outcome()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = append(a.all, account{o, ok, early})
	}()
	return next()
}

// took returns those of n requests, once they are over.
func (a *accounts) took(n int) []account {
	a.c.Helper()
	a.c.Eventually("the requests are over", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.all) >= n
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	if len(all) != n {
		a.c.Fatalf("%d outcomes, want %d", len(all), n)
	}
	for _, o := range all {
		if o.early {
			a.c.Errorf("there was an outcome before there was an answer")
		}
	}
	return all
}

// is checks the outcome of the one request since the last, which r answers, and that
// X-Cache says the same.
func (a *accounts) is(r *response, want cacheaside.Outcome) {
	a.c.Helper()
	got := a.took(1)[0]
	if !got.ok || got.Outcome != want {
		a.c.Errorf("%s: the outcome is %v %+v\nwant %+v", r.What, got.ok, got.Outcome, want)
	}
	r.Has("X-Cache", want.XCache())
}

// asked is an app whose outcomes are asked for in front of the cache.
func (c *run) asked(cache *cacheaside.Cache, h Handler) (*site, *accounts) {
	c.Helper()
	a := &accounts{c: c}
	app := one(cache, h)
	app.Outcome, app.Outer = true, []Middleware{a.asks}
	app.Routes = append(app.Routes, Route{Path: "/x", Methods: []string{http.MethodPost}, Handler: h})
	return c.Site(app), a
}

// named gives the policy a name.
func named(cfg *cacheaside.Config) { cfg.Policy.Name = "pages" }

func testOutcome(c *run) {
	cache := c.Cache(named, func(cfg *cacheaside.Config) {
		cfg.Policy.Skip = func(r *cacheaside.Request) bool { return strings.HasPrefix(r.RawQuery, "skip") }
		cfg.Policy.Requests.AcceptRanges = true
	})
	s, a := c.asked(cache, func(x Ctx) error {
		if o, ok := x.Outcome(); ok {
			c.Errorf("the handler finds the outcome %+v", o)
		}
		if v := x.Query("control"); v != "" {
			x.SetHeader("Cache-Control", v)
		}
		x.SetHeader("Etag", `"a"`)
		if x.Header("If-None-Match") == `"a"` {
			return x.NoContent(304)
		}
		return x.Send(200, plain, []byte("0123456789"))
	})
	const minute = time.Minute
	hit := cacheaside.Outcome{Result: observe.ResultHit, Hit: true, TTL: minute - 10*time.Second, Age: 10 * time.Second, Policy: "pages"}
	a.is(s.Get("/x").Miss().Stored(), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, Stored: true, TTL: minute, Policy: "pages"})
	c.flush(cache)
	c.Clock.Advance(10 * time.Second)
	a.is(s.Get("/x").Hit(), hit)
	a.is(s.Head("/x").Hit(), hit)
	a.is(s.Get("/x", `If-None-Match: "a"`).Hit().Is(304, ""), hit)
	a.is(s.Get("/x", "Range: bytes=0-1").Hit().Is(206, "01"), hit)
	a.is(s.Get("/x?control=private").Miss(), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonPrivate, Policy: "pages"})
	a.is(s.Get("/x?skip").Fwd("bypass"), cacheaside.Outcome{Result: observe.ResultBypass, Bypass: observe.ReasonSkip, Policy: "pages"})
	a.is(s.Get("/x?only", "Cache-Control: only-if-cached"), cacheaside.Outcome{Result: observe.ResultError, Cause: observe.CauseCold, Policy: "pages"})
	c.Clock.Advance(minute)
	a.is(s.Get("/x").Fwd("stale").Is(200, "0123456789"), cacheaside.Outcome{Result: observe.ResultRevalidated, Cause: observe.CauseExpired, Stored: true, TTL: minute, Policy: "pages"})
	a.is(s.Do(http.MethodPost, "/x", "").Fwd("method"), cacheaside.Outcome{Result: observe.ResultBypass, Bypass: observe.ReasonMethod, Policy: "pages"})
	c.flush(cache)
	a.is(s.Head("/x?head").Miss(), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonMethod, Policy: "pages"})
	a.is(s.Get("/x?late").Miss().Stored(), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, Stored: true, TTL: minute, Policy: "pages"})
	c.flush(cache)
	c.Clock.Advance(90 * time.Second)
	a.is(s.Get("/x?late", "Cache-Control: max-stale").Hit(), cacheaside.Outcome{Result: observe.ResultStale, Stale: observe.StaleMaxStale, Hit: true, Age: 90 * time.Second, TTL: -30 * time.Second, Policy: "pages"})
}

func testOutcomeStale(c *run) {
	var status atomic.Int64
	status.Store(200)
	cache := c.Cache(unlocked, func(cfg *cacheaside.Config) { cfg.Policy.Stale.IfError = time.Hour })
	s, a := c.asked(cache, func(x Ctx) error {
		if n := int(status.Load()); n != 200 {
			return x.Send(n, plain, []byte("broken"))
		}
		x.SetHeader("Cache-Control", "max-age=60, stale-while-revalidate=60")
		return x.Send(200, plain, []byte("x"))
	})
	s.Get("/x").Stored()
	a.took(1)
	c.Clock.Advance(70 * time.Second)
	r := s.Get("/x").Hit().Detail("stale-while-revalidate").Has("X-Cache", "HIT")
	want := cacheaside.Outcome{Result: observe.ResultStale, Stale: observe.StaleWhileRevalidate, Hit: true, Age: 70 * time.Second, TTL: -10 * time.Second}
	found := false
	for _, o := range a.took(2) { // that of the background run, too
		found = found || o.Outcome == want
	}
	if !found {
		c.Errorf("%s: no outcome is %+v", r.What, want)
	}
	c.Eventually("it is renewed", func() bool { return cache.Stats().Refreshed == 1 })
	c.flush(cache)
	c.Clock.Advance(121 * time.Second)
	status.Store(500)
	a.is(s.Get("/x").Detail("stale-if-error").Is(200, "x"), cacheaside.Outcome{
		Result: observe.ResultStale, Stale: observe.StaleIfError, Cause: observe.CauseExpired, Age: 121 * time.Second, TTL: -61 * time.Second,
	})
}

func testOutcomePanic(c *run) {
	a := &accounts{c: c}
	var seen atomic.Value
	app := one(c.Cache(), func(Ctx) error { panic("no") })
	app.Outcome, app.Outer = true, []Middleware{recovering(&seen), a.asks}
	s := c.Site(app)
	for range 2 {
		s.Get("/x").Is(500, "recovered")
		if o := a.took(1)[0]; !o.ok || o.Result != observe.ResultError || o.Hit || o.Stored || o.Cause != observe.CauseCold {
			c.Errorf("the outcome is %v %+v", o.ok, o.Outcome)
		}
	}
}

func testOutcomeHijack(c *run) {
	s, a := c.asked(c.Cache(), func(x Ctx) error {
		return x.Hijack(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			_ = conn.Close()
		})
	})
	if r := s.Raw("GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\n\r\n"); r == nil || r.Body != "ok" {
		c.Errorf("the answer is %+v", r)
	}
	if o := a.took(1)[0]; !o.ok || o.Result != observe.ResultMiss || o.NotStored != observe.ReasonHijack || o.Hit || o.Stored {
		c.Errorf("the outcome is %v %+v", o.ok, o.Outcome)
	}
}

func testOutcomeStream(c *run) {
	s, a := c.asked(c.Cache(), func(x Ctx) error {
		return x.Stream(200, c.live(), func(w Stream) error {
			_, _ = io.WriteString(w, "data: 1\n\n")
			return w.Flush()
		})
	})
	a.is(s.Get("/x").Miss().Detail("stream"), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonStream})
}

// testOutcomeStreamed: where the body comes after the request is over, nobody knows yet
// whether it will be stored.
func testOutcomeStreamed(c *run) {
	whole := filler(600 << 10)
	s, a := c.asked(c.Cache(), func(x Ctx) error {
		return c.pieces(x, func(w io.Writer) error { _, err := w.Write(whole); return err })
	})
	want := cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold}
	if !c.fw.Streams {
		want.Stored, want.TTL = true, time.Minute
	}
	a.is(s.Get("/x").Miss().Is(200, string(whole)), want)
	c.stored(s.cache, 1)
	a.is(s.Get("/x").Hit(), cacheaside.Outcome{Result: observe.ResultHit, Hit: true, TTL: time.Minute})
}

func testOutcomeCollapsed(c *run) {
	const n = 50
	gate := make(chan struct{})
	a := &accounts{c: c}
	app := one(c.Cache(patient), func(x Ctx) error {
		waitFor(gate)
		return x.Send(200, plain, []byte("cold"))
	})
	app.Outcome, app.Outer = true, []Middleware{a.asks, gathering(n, gate)}
	s := c.Site(app)
	var hits atomic.Int64
	atOnce(n, func(int) {
		if r, err := s.Try(c.context(), "GET", "/x", ""); err != nil {
			c.Errorf("%v", err)
		} else if r.Is(200, "cold"); r.Header.Get("X-Cache") == "HIT" {
			hits.Add(1)
		}
	})
	s.Handled("/x", 1)
	misses := 0
	for _, o := range a.took(n) {
		switch {
		case o.Result == observe.ResultMiss && !o.Hit && o.Stored:
			misses++
		case (o.Result == observe.ResultCollapsed || o.Result == observe.ResultHit) && o.Hit && o.TTL == time.Minute:
		default:
			c.Errorf("the outcome is %v %+v", o.ok, o.Outcome)
		}
	}
	if misses != 1 || hits.Load() != n-1 {
		c.Errorf("%d misses, and %d times X-Cache: HIT", misses, hits.Load())
	}
}

// testOutcomeHandles: the handle nearest to the handler tells, also those who ask in front
// of the other one.
func testOutcomeHandles(c *run) {
	cache := c.Cache(named)
	front, between := &accounts{c: c}, &accounts{c: c}
	h := func(x Ctx) error { return x.Send(200, plain, []byte("x")) }
	s := c.Site(App{
		Outcome: true, Outer: []Middleware{front.asks}, Global: cache, Inner: []Middleware{between.asks},
		Group:  c.With(cache, func(p *cacheaside.Policy) { p.Name, p.TTL = "group", 5*time.Second }),
		Routes: []Route{{Path: "/group/x", Handler: h}, {Path: "/x", Handler: h}},
	})
	for i := range 3 {
		r := s.Get("/group/x")
		want := cacheaside.Outcome{Result: observe.ResultHit, Hit: true, TTL: 5 * time.Second, Policy: "group"}
		if i == 0 {
			want = cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, Stored: true, TTL: 5 * time.Second, Policy: "group"}
		}
		front.is(r, want)
		if got := between.took(1)[0]; !got.ok || got.Outcome != want {
			c.Errorf("between the handles the outcome is %v %+v, want %+v", got.ok, got.Outcome, want)
		}
		c.flush(cache)
	}
	front.is(s.Get("/x").Stored(), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, Stored: true, TTL: time.Minute, Policy: "pages"})
	if got := between.took(1)[0]; got.ok {
		c.Errorf("behind the only handle the outcome is %+v", got.Outcome)
	}
	front.is(s.Get("/x").Hit(), cacheaside.Outcome{Result: observe.ResultHit, Hit: true, TTL: time.Minute, Policy: "pages"})
	if got := len(between.all); got != 0 {
		c.Errorf("%d requests came behind a hit", got)
	}
}

// testOutcomeTwoCaches: each tells those in front of it.
func testOutcomeTwoCaches(c *run) {
	front, between := &accounts{c: c}, &accounts{c: c}
	outer := c.Cache(named, func(cfg *cacheaside.Config) { cfg.Namespace, cfg.Policy.TTL = randomName(), 5*time.Second })
	inner := c.Cache()
	s := c.Site(App{
		Outcome: true, Outer: []Middleware{front.asks}, Global: outer, Inner: []Middleware{between.asks}, Group: inner,
		Routes: []Route{{Path: "/group/x", Handler: func(x Ctx) error { return x.Send(200, plain, []byte("x")) }}},
	})
	s.caches = 2
	front.is(s.Get("/group/x"), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseCold, Stored: true, TTL: 5 * time.Second, Policy: "pages"})
	if got := between.took(1)[0]; got.Result != observe.ResultMiss || got.TTL != time.Minute {
		c.Errorf("between the caches the outcome is %+v", got.Outcome)
	}
	c.flush(outer)
	c.flush(inner)
	c.Clock.Advance(10 * time.Second)
	front.is(s.Get("/group/x"), cacheaside.Outcome{Result: observe.ResultMiss, Cause: observe.CauseExpired, Stored: true, TTL: 5 * time.Second, Policy: "pages"})
	if got := between.took(1)[0]; got.Result != observe.ResultHit || !got.Hit || got.Age != 10*time.Second {
		c.Errorf("between the caches the outcome is %+v", got.Outcome)
	}
	c.flush(outer)
	front.is(s.Get("/group/x"), cacheaside.Outcome{Result: observe.ResultHit, Hit: true, Age: 10 * time.Second, TTL: 5 * time.Second, Policy: "pages"})
	s.Handled("/group/x", 1)
}

func testOutcomeError(c *run) {
	s, a := c.asked(c.Cache(), func(x Ctx) error { return x.Error(503, "later") })
	r := s.Get("/x").Miss().NotStored().Has("X-Cache", "MISS")
	if o := a.took(1)[0]; r.Status != 503 || !o.ok || o.Result != observe.ResultMiss || o.Hit || o.Stored || o.NotStored == 0 {
		c.Errorf("%d, and the outcome is %v %+v", r.Status, o.ok, o.Outcome)
	}
}

// testOutcomeOff: without the options there is neither.
func testOutcomeOff(c *run) {
	a := &accounts{c: c}
	app := one(c.Cache(), func(x Ctx) error { return x.Send(200, plain, []byte("x")) })
	app.Outer = []Middleware{a.asks}
	s := c.Site(app)
	s.Get("/x").Stored().Has("X-Cache")
	s.Get("/x").Hit().Has("X-Cache")
	for _, o := range a.took(2) {
		if o.ok {
			c.Errorf("the outcome is %+v", o.Outcome)
		}
	}
	app.Outcome = true
	s = c.Plain(app)
	s.Get("/x").Has("X-Cache")
	if o := a.took(1)[0]; o.ok {
		c.Errorf("without a cache the outcome is %+v", o.Outcome)
	}
}

// testXCacheInFront: what another cache has said in the field is replaced.
func testXCacheInFront(c *run) {
	app := one(c.Cache(), func(x Ctx) error {
		x.AddHeader("X-Cache", "MISS from upstream")
		if x.Query("live") != "" {
			return x.Stream(200, c.live(), func(w Stream) error {
				_, _ = io.WriteString(w, "data: 1\n\n")
				return w.Flush()
			})
		}
		return x.Send(200, plain, []byte("x"))
	})
	app.Outcome = true
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		x.SetHeader("X-Cache", "HIT from elsewhere")
		return next()
	}}
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Cache", "MISS")
	s.Get("/x").Hit().Has("X-Cache", "HIT")
	s.Get("/x", "If-Match: \"a\"").Fwd("bypass").Has("X-Cache", "BYPASS")
	s.Get("/x?live=1").Miss().Has("X-Cache", "MISS")
}

// testXCacheNotStored: who has not asked for it is not told by who has.
func testXCacheNotStored(c *run) {
	cache := c.Cache()
	var n atomic.Int64
	app := one(cache, func(x Ctx) error {
		x.SetHeader("Etag", `"a"`)
		x.SetHeader("X-Cache", fmt.Sprint(n.Add(1)))
		if x.Header("If-None-Match") != "" {
			return x.NoContent(304)
		}
		return x.Send(200, plain, []byte("x"))
	})
	silent := c.Site(app)
	app.Outcome = true
	s := c.Site(app)
	s.Get("/x").Miss().Stored().Has("X-Cache", "MISS")
	s.Get("/x").Hit().Has("X-Cache", "HIT")
	silent.Get("/x").Hit().Has("X-Cache")
	c.Clock.Advance(61 * time.Second)
	s.Get("/x").Fwd("stale").Stored().Has("X-Cache", "MISS")
	silent.Get("/x").Hit().Has("X-Cache")
	// What the handler itself says there is stored where nobody asks for the field.
	c.Clock.Advance(61 * time.Second)
	silent.Get("/x").Fwd("stale").Stored().Has("X-Cache", "3")
	s.Get("/x").Hit().Has("X-Cache", "HIT")
	silent.Get("/x").Hit().Has("X-Cache", "3")
}
