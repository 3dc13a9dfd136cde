package coretest

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Requests that wait for one another, and handlers that run in the background.
var backgroundCases = []testCase{
	{name: "cold key", run: testColdKey},
	{name: "cold key of nested handles", run: testNestedColdKey},
	{name: "stale-while-revalidate", run: testRevalidatedLater},
	{name: "stale-while-revalidate of a group", run: testRevalidatedGroup},
	{name: "no refresh of streams", run: testStreamNotRefreshed},
	{name: "stale in place of a failure", run: testStaleInPlace},
	{name: "soft timeout", run: testSoftTimeout},
}

// patient lets requests wait for as long as a case may take.
func patient(c *cacheaside.Config) { c.Policy.Coalescing.Wait = giveUp }

// unlocked leaves other processes out: a lock is released after the answer, and
// a refresh that finds it held, for the clock has moved, is left to its holder.
func unlocked(c *cacheaside.Config) { c.Policy.Coalescing.Scope = cacheaside.CoalesceProcess }

func testColdKey(c *run) {
	const n = 200
	gate := make(chan struct{})
	app := one(c.Cache(patient), func(x Ctx) error {
		waitFor(gate)
		return x.Send(200, plain, []byte("cold"))
	})
	app.Outer = []Middleware{gathering(n, gate)}
	s := c.Site(app)
	atOnce(n, func(int) {
		r, err := s.Try(context.Background(), "GET", "/x", "")
		if err != nil {
			c.Errorf("%v", err)
			return
		}
		r.Is(200, "cold")
	})
	s.Handled("/x", 1)
	if st := s.cache.Stats(); st.Coalesced+st.Hits != n-1 {
		c.Errorf("stats %+v", st)
	}
}

// testNestedColdKey: a handle with a policy of its own behind another one changes
// nothing, also when the response has expired soon after.
func testNestedColdKey(c *run) {
	const n, rounds = 50, 2
	var gates [rounds]chan struct{}
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	var arrived, calls atomic.Int64
	cache := c.Cache(patient)
	s := c.Site(App{
		Outer: []Middleware{func(_ Ctx, next func() error) error {
			if i := arrived.Add(1); i%n == 0 && i <= n*rounds {
				close(gates[i/n-1])
			}
			return next()
		}},
		Global: cache,
		Group:  c.With(cache, func(p *cacheaside.Policy) { p.TTL = 5 * time.Second }),
		Routes: []Route{{Path: "/group/x", Handler: func(x Ctx) error {
			i := calls.Add(1)
			if i <= rounds {
				waitFor(gates[i-1])
			}
			return x.Send(200, plain, []byte(strconv.FormatInt(i, 10)))
		}}},
	})
	s.caches = 2
	for i := range rounds {
		atOnce(n, func(int) {
			r, err := s.Try(context.Background(), "GET", "/group/x", "")
			if err != nil {
				c.Errorf("%v", err)
				return
			}
			if r.Status != 200 || r.Body != strconv.Itoa(i+1) {
				c.Errorf("round %d: %d %q", i, r.Status, r.Body)
			}
		})
		s.Handled("/group/x", i+1)
		c.Clock.Advance(6 * time.Second)
	}
}

// seen is what a handler in the background finds.
type seen struct {
	path     string
	err      error
	deadline bool
}

// testRevalidatedLater: the client has its answer before the handler runs
// again, and that sees a request of its own.
func testRevalidatedLater(c *run) {
	began, proceed := make(chan seen, 1), make(chan struct{})
	var calls, outer atomic.Int64
	cache := c.Cache(unlocked)
	app := App{Global: cache, Routes: []Route{
		{Path: "/items/*", Handler: func(x Ctx) error {
			n := calls.Add(1)
			if n == 2 {
				ctx := x.Context()
				_, deadline := ctx.Deadline()
				began <- seen{x.Path(), ctx.Err(), deadline}
				waitFor(proceed)
				if err := ctx.Err(); err != nil {
					c.Errorf("the context has ended: %v", err)
				}
			}
			x.SetHeader("Cache-Control", "max-age=10, stale-while-revalidate=60")
			return x.Send(200, plain, fmt.Appendf(nil, "%d %s %s %s", n, x.Path(), x.Query("q"), x.Header("X-Id")))
		}},
		{Path: "/other", Handler: text("other")},
	}}
	app.Outer = []Middleware{func(_ Ctx, next func() error) error {
		outer.Add(1)
		return next()
	}}
	s := c.Site(app)
	first := s.Get("/items/a%20b?q=1", "X-Id: one").Miss().Stored()
	c.Clock.Advance(15 * time.Second)
	s.Get("/items/a%20b?q=1", "X-Id: two").Hit().TTL(-5).Detail("stale-while-revalidate").Is(200, first.Body)
	run := await(c, "the handler in the background", began)
	if run.err != nil || !run.deadline || "1 "+run.path+" 1 one" != first.Body {
		c.Errorf("the handler in the background saw %+v, the one before %q", run, first.Body)
	}
	if n := outer.Load(); n != 3 {
		c.Errorf("the outer middleware ran %d times, want 3", n)
	}
	for i := range 20 { // what is pooled is used again
		s.Get("/other?q="+strconv.Itoa(i), "X-Id: "+strconv.Itoa(i))
	}
	s.Get("/items/a%20b?q=1", "X-Id: three").Hit().Is(200, first.Body) // and starts nothing
	close(proceed)
	c.Eventually("the response is renewed", func() bool { return cache.Stats().Refreshed == 1 })
	s.Get("/items/a%20b?q=1", "X-Id: four").Hit().TTL(10).Is(200, "2 "+run.path+" 1 two")
	s.Handled("/items/*", 2)
}

func testRevalidatedGroup(c *run) {
	var calls atomic.Int64
	cache := c.Cache(unlocked, func(p *cacheaside.Config) { p.Policy.Stale.WhileRevalidate = time.Minute })
	s := c.Site(App{Group: cache, Routes: []Route{{Path: "/group/*", Handler: func(x Ctx) error {
		return x.Send(200, plain, []byte(strconv.FormatInt(calls.Add(1), 10)+x.Path()))
	}}}})
	path := s.Get("/group/a").Miss().Stored().Body[1:]
	c.Clock.Advance(61 * time.Second)
	s.Get("/group/a").Hit().Detail("stale-while-revalidate").Is(200, "1"+path)
	c.Eventually("the response is renewed", func() bool { return cache.Stats().Refreshed == 1 })
	s.Get("/group/a").Hit().TTL(60).Is(200, "2"+path)
	s.Handled("/group/*", 2)
}

func testStreamNotRefreshed(c *run) {
	cache := c.Cache(func(p *cacheaside.Config) {
		p.Policy.Stale.WhileRevalidate, p.Policy.Stale.RefreshAhead = time.Hour, 0.1
	})
	s := c.Site(one(cache, func(x Ctx) error {
		x.SetHeader("Cache-Control", "max-age=10, stale-while-revalidate=600")
		return x.Stream(200, c.live(), streamThree)
	}))
	for i := range 3 {
		s.Get("/x").Fwd("miss").NotStored().Is(200, "one two three")
		s.Handled("/x", i+1)
		c.Clock.Advance(9 * time.Second)
	}
	if st := cache.Stats(); st.Refreshed+st.RefreshErrors+st.StaleWhileRevalidate != 0 {
		c.Errorf("stats %+v", st)
	}
}

func testStaleInPlace(c *run) {
	var how atomic.Int64
	s := c.Site(one(c.Cache(func(p *cacheaside.Config) { p.Policy.Stale.IfError = time.Hour }), func(x Ctx) error {
		switch how.Load() {
		case 1:
			x.SetHeader("X-Broken", "1")
			return x.Error(503, "later")
		case 2:
			x.SetHeader("X-Broken", "1")
			return x.Send(500, plain, []byte("broken"))
		case 3:
			x.SetHeader("X-Broken", "1")
			panic("broken")
		}
		return x.Send(200, plain, []byte("fine"))
	}))
	s.Get("/x").Miss().Stored().Is(200, "fine")
	c.Clock.Advance(2 * time.Minute)
	for i := range 3 {
		how.Store(int64(i + 1))
		s.Get("/x").Fwd("stale").Detail("stale-if-error").Is(200, "fine").Has("X-Broken")
		s.Handled("/x", i+2)
	}
	how.Store(0)
	s.Get("/x").Fwd("stale").Stored().Is(200, "fine")
	s.Get("/x").Hit().Is(200, "fine")
}

func testSoftTimeout(c *run) {
	for _, slow := range []bool{true, false} {
		proceed := make(chan struct{})
		if !slow {
			close(proceed)
		}
		var calls atomic.Int64
		cache := c.Cache(unlocked, func(p *cacheaside.Config) {
			p.Namespace += strconv.FormatBool(slow)
			p.Policy.Stale.IfError, p.Policy.Stale.SoftTimeout = time.Hour, giveUp
			if slow {
				p.Policy.Stale.SoftTimeout = 20 * time.Millisecond
			}
		})
		s := c.Site(one(cache, func(x Ctx) error {
			n := calls.Add(1)
			if n == 2 {
				waitFor(proceed)
			}
			return x.Send(200, plain, []byte(strconv.FormatInt(n, 10)))
		}))
		s.Get("/x").Miss().Stored().Is(200, "1")
		c.Clock.Advance(2 * time.Minute)
		if slow {
			s.Get("/x").Fwd("stale").Detail("soft-timeout").Is(200, "1")
			close(proceed)
		} else {
			s.Get("/x").Fwd("stale").Is(200, "2")
		}
		c.Eventually("the response is renewed", func() bool { return cache.Stats().Refreshed == 1 })
		s.Get("/x").Hit().Is(200, "2")
		s.Handled("/x", 2)
	}
}
