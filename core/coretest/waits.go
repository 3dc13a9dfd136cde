package coretest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Requests that must not wait, clients that do not, and what a handler finds in its
// context.
var waitCases = []testCase{
	{name: "AddTags in every context", run: testContexts},
	{name: "a cache in front of another one", run: testTwoCaches},
	{name: "a gateway and its service", run: testGateway},
	{name: "client leaves unnoticed", run: testClientLeavesUnnoticed},
	{name: "fill without its client", run: testFillWithoutClient},
	{name: "stream of a client that leaves", run: testStreamWithoutClient},
	{name: "refresh of a part", run: testRefreshOfPart},
}

func testContexts(c *run) {
	cache := c.Cache()
	var n atomic.Int64
	var kept []context.Context
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error {
			kept = x.Contexts()
			for i, ctx := range kept {
				type own struct{}
				for j, ctx := range []context.Context{ctx, context.WithValue(ctx, own{}, 1)} {
					if !cacheaside.AddTags(ctx, fmt.Sprint("tag", i, j)) {
						c.Errorf("AddTags is not heard in %T", ctx)
					}
				}
			}
			return x.Send(200, plain, strconv.AppendInt(nil, n.Add(1), 10))
		}},
		{Path: "/post", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error {
			for _, ctx := range x.Contexts() {
				if cacheaside.AddTags(ctx, "nowhere") {
					c.Errorf("AddTags says that it is heard in %T where nothing is stored", ctx)
				}
			}
			return x.NoContent(204)
		}},
	}})
	s.Get("/x").Miss().Stored().Is(200, "1")
	ways := len(kept)
	for i := range ways {
		for j := range 2 {
			c.flush(cache)
			s.Get("/x").Hit()
			s.Do(http.MethodPost, "/post", "")
			c.purged(cache.PurgeTags(c.context(), fmt.Sprint("tag", i, j)))
			s.Get("/x").Miss().Stored().Is(200, strconv.FormatInt(n.Load(), 10))
		}
	}
	s.Handled("/x", 1+2*ways)
	if cacheaside.AddTags(context.Background(), "nowhere") {
		c.Errorf("AddTags says that it is heard in no context")
	}
	s = c.Plain(App{Routes: []Route{{Path: "/x", Handler: func(x Ctx) error {
		for _, ctx := range x.Contexts() {
			if cacheaside.AddTags(ctx, "nowhere") {
				c.Errorf("AddTags says that it is heard in %T behind no cache", ctx)
			}
		}
		return x.NoContent(204)
	}}}})
	s.Get("/x").Is(204, "")
}

// testTwoCaches: caches that were made apart, on one store and namespace.
func testTwoCaches(c *run) {
	front, behind := c.Cache(patient), c.Cache(patient, func(p *cacheaside.Config) { p.Policy.TTL = 5 * time.Second })
	s := c.Site(App{Global: front, Group: behind, Routes: []Route{
		{Path: "/group/x", Handler: text("body")},
		{Path: "/group/private", Handler: with("body", "Cache-Control", "private")},
	}})
	s.caches = 2
	for _, path := range []string{"/group/x", "/group/private"} {
		atOnce(4, func(int) {
			r, err := s.Try(context.Background(), "GET", path, "")
			if err != nil {
				c.Errorf("it has waited for itself: %v", err)
				return
			}
			r.Is(200, "body")
		})
	}
	c.Clock.Advance(6 * time.Second)
	s.Get("/group/x").Is(200, "body")
}

// testGateway: a service that is asked by a gateway, and by others, where both have
// a cache on one store and namespace.
func testGateway(c *run) {
	began, proceed := make(chan struct{}, 1), make(chan struct{})
	var loops atomic.Value
	var arrived atomic.Bool
	origin := c.Site(one(c.Cache(patient, func(p *cacheaside.Config) {
		p.Policy.Skip = func(*cacheaside.Request) bool { arrived.Store(true); return false }
	}), func(x Ctx) error {
		loops.Store(x.Header("Cdn-Loop"))
		x.SetHeader("Vary", "CDN-Loop, X-Any")
		return x.Send(200, plain, []byte("body"))
	}))
	gateway := c.Site(one(c.Cache(patient), func(x Ctx) error {
		select {
		case began <- struct{}{}:
			waitFor(proceed)
		default:
		}
		fields := []string{"X-Any: 1"}
		if loop := x.Header("Cdn-Loop"); loop != "" {
			fields = append(fields, "Cdn-Loop: "+loop)
		}
		r, err := origin.Try(x.Context(), "GET", "/x", "", fields...)
		if err != nil {
			return x.Send(502, plain, []byte(err.Error()))
		}
		return x.Send(200, plain, []byte(r.Body))
	}))
	done := make(chan error, 2)
	ask := func(s *site) {
		r, err := s.Try(context.Background(), "GET", "/x", "")
		if err == nil && (r.Status != 200 || r.Body != "body") {
			err = fmt.Errorf("%d %q", r.Status, r.Body)
		}
		done <- err
	}
	go ask(gateway)
	await(c, "the gateway's handler", began)
	go ask(origin) // leads there, and waits for the gateway where that has a lock
	c.Eventually("the service is asked", arrived.Load)
	close(proceed)
	for range 2 {
		if err := await(c, "an answer", done); err != nil {
			c.Errorf("%v", err)
		}
	}
	if c.server != nil && loops.Load() == "" {
		c.Errorf("the service has not seen CDN-Loop")
	}
	c.flush(origin.cache)
	origin.Get("/x", "X-Any: 1", "Cdn-Loop: other").Hit()
}

// testClientLeavesUnnoticed: the response is as good as any if the handler has not
// asked for its client.
func testClientLeavesUnnoticed(c *run) {
	s := abandoned(c, nil, func(x Ctx) error {
		return x.Send(200, plain, []byte("whole"))
	})
	s.Get("/x").Hit().Is(200, "whole")
	s.Handled("/x", 1)
}

func testFillWithoutClient(c *run) {
	policy := func(p *cacheaside.Config) { p.Policy.Requests.BackgroundFill = true }
	s := abandoned(c, policy, func(x Ctx) error {
		if err := x.Context().Err(); err != nil {
			c.Errorf("the context has ended: %v", err)
		}
		select {
		case <-x.Context().Done():
			c.Errorf("the context has ended")
		default:
		}
		return x.Send(200, plain, []byte("whole"))
	})
	s.Get("/x").Hit().Is(200, "whole")
	s.Handled("/x", 1)
}

// testStreamWithoutClient: who streams is told that the client has left, whatever
// the policy.
func testStreamWithoutClient(c *run) {
	told := make(chan bool, 1)
	began := make(chan struct{}, 1)
	s := c.Site(one(c.Cache(func(p *cacheaside.Config) { p.Policy.Requests.BackgroundFill = true }), func(x Ctx) error {
		ctx := x.Context()
		return x.Stream(200, plain, func(w Stream) error {
			_, err := io.WriteString(w, "one")
			if err == nil {
				err = w.Flush()
			}
			began <- struct{}{}
			select {
			case <-ctx.Done():
				told <- true
			case <-time.After(time.Second):
				told <- false
			}
			return err
		})
	}))
	ctx, cancel := context.WithCancel(c.context())
	go func() { _, _ = s.Try(ctx, "GET", "/x", "") }()
	await(c, "the handler", began)
	cancel()
	if !await(c, "the handler's end", told) {
		c.Errorf("the handler was not told that its client has left")
	}
}

// abandoned has h answer a request at /x whose client has left, as far as the
// framework can tell, and returns when it has answered.
func abandoned(c *run, policy func(*cacheaside.Config), h Handler) *site {
	if policy == nil {
		policy = func(*cacheaside.Config) {}
	}
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	var client context.Context
	app := one(c.Cache(policy), func(x Ctx) error {
		began <- struct{}{}
		waitFor(client.Done())
		return h(x)
	})
	app.Outer = []Middleware{func(x Ctx, next func() error) error {
		if x.Header("X-Leaves") == "" {
			return next()
		}
		defer func() { ended <- struct{}{} }()
		if client = x.Context(); client.Done() == nil { // the framework does not notice
			ctx, cancel := context.WithCancel(client)
			cancel()
			client = ctx //nolint:fatcontext // for the handler
		}
		return next()
	}}
	s := c.Site(app)
	ctx, cancel := context.WithCancel(c.context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = s.Try(ctx, "GET", "/x", "", "X-Leaves: 1")
	}()
	await(c, "the handler", began)
	cancel()
	await(c, "the client", left)
	await(c, "the end of the request", ended)
	c.flush(s.cache)
	return s
}

// testRefreshOfPart: what a client asks for beyond the resource itself is no part
// of a run in the background.
func testRefreshOfPart(c *run) {
	fields := []string{"Range: bytes=0-1", `If-Range: "none"`, "If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT", "Cache-Control: no-transform", "Cdn-Loop: other"}
	var calls atomic.Int64
	cache := c.Cache(unlocked)
	s := c.Site(one(cache, func(x Ctx) error {
		if calls.Add(1) == 2 {
			for _, f := range fields {
				name, _, _ := strings.Cut(f, ":")
				if v := x.Header(name); v != "" {
					c.Errorf("the handler in the background sees %s: %s", name, v)
				}
			}
			if v := x.Header("X-Other"); v != "1" {
				c.Errorf("the handler in the background sees X-Other: %q", v)
			}
		}
		x.SetHeader("Cache-Control", "max-age=10, stale-while-revalidate=60")
		return x.Send(200, plain, []byte("whole"))
	}))
	s.Get("/x").Miss().Stored().Is(200, "whole")
	c.Clock.Advance(15 * time.Second)
	s.Get("/x", append(fields, "X-Other: 1")...)
	c.Eventually("the response is renewed", func() bool { return cache.Stats().Refreshed == 1 })
	s.Get("/x").Hit().TTL(10).Is(200, "whole")
	s.Handled("/x", 2)
}
