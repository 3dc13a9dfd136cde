package coretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Warming up, by the entry that the adapter has.
var warmCases = []testCase{
	{name: "warm-up", run: testWarm},
	{name: "warm-up of a route", run: testWarmRoute},
	{name: "warm-up of what cannot be stored", run: testWarmNot},
	{name: "warm-up of streams", run: testWarmStreams},
	{name: "warm-up is bounded", run: testWarmBounded},
	{name: "warm-up that is cancelled", run: testWarmCancelled},
}

// Entry starts app, and returns its entry as well.
func (c *run) Entry(app App) (*site, adapter.Entry) {
	c.Helper()
	var entry adapter.Entry
	app.Entry = func(e adapter.Entry) { entry = e }
	s := c.Site(app)
	if entry == nil {
		c.Fatalf("Serve has not called App.Entry")
	}
	return s, entry
}

// toWarm are requests of clients that name defaultHost. Each path may have fields behind
// it: "/x|Accept-Language: de".
func toWarm(c *run, paths ...string) (all []*http.Request) {
	for _, p := range paths {
		path, fields, _ := strings.Cut(p, "|")
		r, err := http.NewRequest(http.MethodGet, "http://"+defaultHost+path, nil)
		if err != nil {
			c.Fatal(err)
		}
		if name, value, ok := strings.Cut(fields, ": "); ok {
			r.Header.Set(name, value)
		}
		all = append(all, r)
	}
	return all
}

// testWarm: what was warmed up is a hit for clients, and was served by all that is in
// front of the cache; for another host or scheme nothing is there.
func testWarm(c *run) {
	cache := c.Cache()
	var outer atomic.Int64
	s, entry := c.Entry(App{Global: cache,
		Outer: []Middleware{func(x Ctx, next func() error) error {
			outer.Add(1)
			if x.Header("X-Forbidden") != "" {
				return x.Send(403, plain, []byte("not you"))
			}
			x.SetRequestHeader("X-Given", "in front")
			return next()
		}},
		Routes: []Route{{Path: "/items/*", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "Accept-Language")
			return x.Send(200, plain, []byte(x.Path()+" "+x.Query("q")+" "+x.Header("X-Given")+" "+x.Header("Accept-Language")))
		}}},
	})
	requests := toWarm(c, "/items/a", "/items/a%20b?q=1%262", "/items/a|Accept-Language: de", "/items/c|X-Forbidden: 1")
	report, err := cache.Warm(c.context(), entry, requests...)
	if report.Stored != 3 || report.Failed != 1 || report.Results[3].Status != 403 || err == nil {
		c.Errorf("%+v, %v", report, err)
	}
	if n := outer.Load(); n != 4 {
		c.Errorf("the middleware in front ran %d times", n)
	}
	s.Handled("/items/*", 3)
	plainly, err := s.Try(c.context(), "GET", "/items/a", "")
	if err != nil {
		c.Fatal(err)
	}
	if plainly.Hit(); !strings.Contains(plainly.Body, "in front") {
		c.Errorf("the body is %q", plainly.Body)
	}
	if b := s.Get("/items/a", "Accept-Language: de").Hit().Body; !strings.HasSuffix(b, " de") {
		c.Errorf("in German: %q", b)
	}
	if b := s.Get("/items/a%20b?q=1%262").Hit().Body; !strings.Contains(b, " 1&2 ") {
		c.Errorf("with a query: %q", b)
	}
	s.Handled("/items/*", 3)
	s.Get("/items/a", "Host: other.test").Miss()
	s.Handled("/items/*", 4)

	if report, err = cache.Warm(c.context(), entry, requests[:3]...); report.Present != 3 || err != nil {
		c.Errorf("once more: %+v, %v", report, err)
	}
	s.Handled("/items/*", 4)
	secure := requests[0].Clone(context.Background())
	secure.URL.Scheme = "https" // as by a connection of TLS
	if report, err = cache.Warm(c.context(), entry, secure); report.Stored != 1 || err != nil {
		c.Errorf("https: %+v, %v", report, err)
	}
	s.Handled("/items/*", 5)
	c.Clock.Advance(61 * time.Second)
	if report, err = cache.Warm(c.context(), entry, requests[0]); report.Stored != 1 || err != nil {
		c.Errorf("when it has expired: %+v, %v", report, err)
	}
	s.Get("/items/a").Hit()
}

// testWarmRoute: the handle that a request comes to is that of its route.
func testWarmRoute(c *run) {
	cache := c.Cache()
	short := c.With(cache, func(p *cacheaside.Policy) { p.TTL = 5 * time.Second })
	s, entry := c.Entry(App{
		Group:  cache,
		Routes: []Route{{Path: "/x", Cache: short, Handler: text("x")}, {Path: "/group/x", Handler: text("group")}, {Path: "/none", Handler: text("none")}},
	})
	report, err := cache.Warm(c.context(), entry, toWarm(c, "/x", "/group/x", "/none")...)
	if report.Stored != 2 || report.NotStored != 1 || err != nil {
		c.Errorf("%+v, %v", report, err)
	}
	s.Get("/x").Hit().TTL(5).Is(200, "x")
	s.Get("/group/x").Hit().TTL(60).Is(200, "group")
}

// testWarmNot: nothing is called stored that is not; a panic goes no further.
func testWarmNot(c *run) {
	cache := c.Cache()
	s, entry := c.Entry(App{Global: cache, Routes: []Route{
		{Path: "/private", Handler: with("x", "Cache-Control", "private")},
		{Path: "/cookie", Handler: with("x", "Set-Cookie", "a=b")},
		{Path: "/error", Handler: func(x Ctx) error { return x.Error(503, "later") }},
		{Path: "/panic", Handler: func(Ctx) error { panic("in here") }},
		{Path: "/moved", Handler: func(x Ctx) error {
			x.SetHeader("Cache-Control", "no-store")
			return x.Redirect(302, "/x")
		}},
		{Path: "/x", Handler: text("x")},
	}})
	want := []struct {
		path   string
		of     cacheaside.WarmOutcome
		status int
		reason string
	}{
		{"/private", cacheaside.WarmNotStored, 200, "private"},
		{"/cookie", cacheaside.WarmNotStored, 200, "set-cookie"},
		{"/error", cacheaside.WarmFailed, 503, ""},
		{"/panic", cacheaside.WarmFailed, 0, ""},
		{"/moved", cacheaside.WarmNotStored, 302, "no-store"},
		{"/x", cacheaside.WarmStored, 200, ""},
	}
	var paths []string
	for _, w := range want {
		paths = append(paths, w.path)
	}
	report, err := cache.Warm(c.context(), entry, toWarm(c, paths...)...)
	for i, w := range want {
		r := report.Results[i]
		if r.Outcome != w.of || r.Reason != w.reason || r.Status != w.status {
			c.Errorf("%s: %+v", w.path, r)
		}
		if (r.Err != nil) != (r.Outcome == cacheaside.WarmFailed) || r.Err != nil && !errors.Is(err, r.Err) {
			c.Errorf("%s: %v, of %v", w.path, r.Err, err)
		}
	}
	if err == nil || !strings.Contains(err.Error(), `/panic: the handler panicked: "in here"`) {
		c.Errorf("the error is %v", err)
	}
	s.Get("/x").Hit()
	s.Get("/private").NotHit()
	for _, path := range []string{"/x", "/error", "/panic"} {
		s.Handled(path, 1)
	}
}

// testWarmStreams: what is sent as it comes is read to its end, and stored; what is
// flushed is not.
func testWarmStreams(c *run) {
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Storing.HoldBytes = 1 << 10 })
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	s, entry := c.Entry(App{Global: cache, Routes: []Route{
		{Path: "/long", Handler: func(x Ctx) error {
			return c.pieces(x, func(w io.Writer) error {
				for _, p := range [][]byte{body[:100], body[100:70_000], body[70_000:]} {
					if _, err := w.Write(p); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{Path: "/events", Handler: func(x Ctx) error { return x.Stream(200, "text/event-stream", streamThree) }},
	}})
	report, err := cache.Warm(c.context(), entry, toWarm(c, "/long", "/events")...)
	if report.Stored != 1 || report.Results[1].Outcome != cacheaside.WarmNotStored || report.Results[1].Reason != "stream" || err != nil {
		c.Errorf("%+v, %v", report, err)
	}
	s.Get("/long").Hit().Is(200, string(body))
	s.Handled("/long", 1)
}

func testWarmBounded(c *run) {
	const at, n = 3, 12
	var now, most atomic.Int64
	gate := make(chan struct{})
	cache := c.Cache()
	_, entry := c.Entry(App{Global: cache, Routes: []Route{{Path: "/items/*", Handler: func(x Ctx) error {
		for i := now.Add(1); ; {
			old := most.Load()
			if i <= old || most.CompareAndSwap(old, i) {
				break
			}
		}
		if now.Load() == at {
			select {
			case <-gate:
			default:
				close(gate) // all that may run do
			}
		}
		waitFor(gate)
		now.Add(-1)
		return x.Send(200, plain, []byte("x"))
	}}}})
	var paths []string
	for i := range n {
		paths = append(paths, "/items/"+strconv.Itoa(i))
	}
	report, err := cacheaside.Warmup{Entry: entry, Concurrency: at}.Run(c.context(), cache, toWarm(c, paths...)...)
	if err != nil || report.Stored != n || most.Load() != at {
		c.Errorf("%d at a time, want %d: %+v, %v", most.Load(), at, report, err)
	}
}

func testWarmCancelled(c *run) {
	cache := c.Cache()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var again atomic.Bool
	s, entry := c.Entry(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: text("x")},
		{Path: "/wait", Handler: func(x Ctx) error {
			if cancel(); again.Swap(true) {
				return x.Send(200, plain, []byte("in time"))
			}
			if waitFor(x.Context().Done()); x.Context().Err() == nil {
				c.Errorf("the handler's context has not ended")
			}
			return x.Send(200, plain, []byte("late"))
		}},
		{Path: "/never", Handler: text("never")},
	}})
	report, err := cacheaside.Warmup{Entry: entry, Concurrency: 1}.Run(ctx, cache, toWarm(c, "/x", "/wait", "/never")...)
	if report.Stored != 1 || report.Failed != 1 || report.NotRun != 1 || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 of 3 requests were not run") {
		c.Errorf("%+v, %v", report, err)
	}
	s.Handled("/never", 0)
	s.Get("/wait").NotHit().Is(200, "in time")
}
