package coretest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// What handlers say of their responses in code, and what policies decide by the response.
var controlCases = []testCase{
	{name: "SetTTL and NoStore in every context", run: testInstructedInContexts},
	{name: "SetTTL wins", run: testSetTTLWins},
	{name: "SetTTL and what forbids storing", run: testSetTTLForbidden},
	{name: "NoStore wins", run: testNoStoreWins},
	{name: "browsers revalidate, the cache does not", run: testBrowsersRevalidate},
	{name: "SetTTL and a slow handler", run: testSetTTLCounts},
	{name: "SetTTL and a 304", run: testSetTTLNotModified},
	{name: "SetTTL and cookies", run: testSetTTLCookies},
	{name: "SetTTL and handles", run: testSetTTLHandles},
	{name: "SetTTL of what is sent as it comes", run: testSetTTLStreamed},
	{name: "NoStore of what is sent as it comes", run: testNoStoreStreamed},
	{name: "NoStore and two caches", run: testNoStoreTwoCaches},
	{name: "Decide", run: testDecide},
	{name: "Decide and no lifetime", run: testDecideLifetime},
	{name: "Decide and what forbids storing", run: testDecideForbidden},
	{name: "Decide and errors", run: testDecideErrors},
	{name: "Decide panics", run: testDecidePanics},
	{name: "Decide and what was stored", run: testDecideStale},
	{name: "Decide and stale-while-revalidate", run: testDecideRefresh},
	{name: "Decide and a 304", run: testDecideNotModified},
	{name: "Decide and what is sent as it comes", run: testDecideStreamed},
	{name: "Decide and parts", run: testDecideParts},
	{name: "Decide and compression", run: testDecideCoded},
	{name: "Decide, concurrently", run: testDecideConcurrent},
}

// mute is a cache that stores nothing without a word of the handler.
func mute(cfg *cacheaside.Config) { cfg.Policy.TTL = 0 }

func testInstructedInContexts(c *run) {
	cache := c.Cache(mute)
	var mu sync.Mutex
	var kept []context.Context
	tell := func(x Ctx, want bool) {
		for _, ctx := range x.Contexts() {
			if got := cacheaside.SetTTL(ctx, time.Minute); got != want {
				c.Errorf("SetTTL in %T: %v", ctx, got)
			}
		}
	}
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error {
			mu.Lock()
			kept = x.Contexts()
			mu.Unlock()
			at, _ := strconv.Atoi(x.Query("at"))
			say := func(i int, ctx context.Context) {
				heard := cacheaside.SetTTL(ctx, time.Minute)
				if x.Query("say") == "NoStore" {
					heard = cacheaside.NoStore(ctx)
				}
				if !heard {
					c.Errorf("not heard in context %d, %T", i, ctx)
				}
			}
			for i, ctx := range kept {
				if i == at {
					say(i, ctx)
				}
			}
			return x.Send(200, plain, []byte("x"))
		}},
		{Path: "/post", Methods: []string{http.MethodPost}, Handler: func(x Ctx) error {
			tell(x, false)
			return x.NoContent(204)
		}},
	}})
	s.Get("/x").Miss().Stored().TTL(60)
	for i := range kept {
		s.Get(fmt.Sprintf("/x?at=%d&i", i)).Miss().Stored().TTL(60)
		s.Get(fmt.Sprintf("/x?at=%d&i", i)).Hit()
		s.Get(fmt.Sprintf("/x?at=%d&say=NoStore", i)).Miss().NotStored().Detail("no-store")
	}
	s.Do(http.MethodPost, "/post", "")
	mu.Lock()
	defer mu.Unlock()
	if ctx := kept[0]; !strings.Contains(fmt.Sprintf("%T", ctx), "fasthttp") && (cacheaside.SetTTL(ctx, time.Minute) || cacheaside.NoStore(ctx)) {
		c.Errorf("heard in %T though the handler has returned", ctx)
	}
	if ctx := context.Background(); cacheaside.SetTTL(ctx, time.Minute) || cacheaside.NoStore(ctx) {
		c.Errorf("heard in no context")
	}
	s = c.Plain(App{Routes: []Route{{Path: "/x", Handler: func(x Ctx) error {
		tell(x, false)
		return x.NoContent(204)
	}}}})
	s.Get("/x")
}

// testSetTTLWins: over all that says how long, and clients see the fields as they are.
func testSetTTLWins(c *run) {
	for i, tt := range []struct {
		status int
		fields []string // name, value
		policy func(*cacheaside.Config)
	}{
		{200, nil, mute},
		{200, nil, nil},
		{200, nil, func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{200: time.Hour} }},
		{200, []string{"Cache-Control", "max-age=3600"}, nil},
		{200, []string{"Cache-Control", "max-age=0"}, mute},
		{200, []string{"Cache-Control", "public, max-age=0, must-revalidate"}, mute},
		{200, []string{"Cache-Control", "no-cache"}, mute},
		{200, []string{"Cache-Control", "no-cache, max-age=10", "Expires", "0"}, mute},
		{200, []string{"Cache-Control", "s-maxage=1"}, mute},
		{200, []string{"Expires", "0"}, nil},
		{200, []string{"Expires", "Thu, 01 Jan 1970 00:00:00 GMT", "Cache-Control", "public"}, nil},
		{200, []string{"Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT"}, func(cfg *cacheaside.Config) { cfg.Policy = cacheaside.RFC9111() }},
		{200, []string{"Cdn-Cache-Control", "max-age=3600", "Cache-Control", "no-store"}, mute},
		{404, nil, mute},
		{302, []string{"Location", "/y"}, mute},
	} {
		var change []func(*cacheaside.Config)
		if tt.policy != nil {
			change = append(change, tt.policy)
		}
		change = append(change, func(cfg *cacheaside.Config) { cfg.Namespace = randomName() })
		s := c.Site(one(c.Cache(change...), func(x Ctx) error {
			for i := 0; i < len(tt.fields); i += 2 {
				x.SetHeader(tt.fields[i], tt.fields[i+1])
			}
			cacheaside.SetTTL(x.Context(), time.Hour)
			cacheaside.SetTTL(x.Context(), 90*time.Second) // the last counts
			return x.Send(tt.status, plain, []byte("x"))
		}))
		what := fmt.Sprintf("%d: %d %q", i, tt.status, tt.fields)
		check := func(r *response) {
			r.What = what
			r.Is(tt.status, "x")
			for i := 0; i < len(tt.fields); i += 2 {
				r.Has(tt.fields[i], tt.fields[i+1])
			}
		}
		r := s.Get("/x")
		check(r)
		r.Miss().Stored().TTL(90)
		c.Clock.Advance(89 * time.Second)
		r = s.Get("/x")
		check(r)
		r.Hit().TTL(1).Has("Age", "89")
		s.Handled("/x", 1)
		c.Clock.Advance(2 * time.Second)
		s.Get("/x").NotHit()
		s.Handled("/x", 2)
	}
}

// testSetTTLForbidden: the rules of safety stay.
func testSetTTLForbidden(c *run) {
	for _, tt := range []struct {
		status         int
		fields         []string
		request        string
		detail, policy string
	}{
		{200, []string{"Cache-Control", "no-store"}, "", "no-store", ""},
		{200, []string{"Cache-Control", "private"}, "", "private", ""},
		{200, []string{"Cache-Control", "private=\"Content-Type\", max-age=60"}, "", "private", ""},
		{200, []string{"Cdn-Cache-Control", "no-store", "Cache-Control", "max-age=60"}, "", "no-store", ""},
		{200, []string{"Cdn-Cache-Control", "private"}, "", "private", ""},
		{200, []string{"Set-Cookie", "a=b"}, "", "set-cookie", ""},
		{200, []string{"Vary", "*"}, "", "vary-any", ""},
		{200, nil, "Authorization: Basic YTpi", "authorization", ""},
		{200, []string{"Cache-Control", "max-age=60"}, "Authorization: Basic YTpi", "authorization", ""},
		{200, nil, "Cache-Control: no-store", "request-no-store", ""},
		{500, nil, "", "status", ""},
		{403, nil, "", "status", ""},
		{200, []string{"Cache-Tag", strings.Repeat("a", 300)}, "", "tags", ""},
		{200, []string{"X-Long", strings.Repeat("a", 200)}, "", "header-too-large", "small"},
	} {
		s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
			cfg.Namespace = randomName()
			if tt.policy == "small" {
				cfg.Policy.Storing.MaxHeaderBytes = 150
			}
		}), func(x Ctx) error {
			for i := 0; i < len(tt.fields); i += 2 {
				x.SetHeader(tt.fields[i], tt.fields[i+1])
			}
			cacheaside.SetTTL(x.Context(), time.Minute)
			return x.Send(tt.status, plain, []byte("x"))
		}))
		var request []string
		if tt.request != "" {
			request = append(request, tt.request)
		}
		for range 2 {
			r := s.Get("/x", request...)
			r.What = fmt.Sprintf("%d %q to %q", tt.status, tt.fields, tt.request)
			r.NotHit().NotStored().Detail(tt.detail).Is(tt.status, "x")
		}
		s.Handled("/x", 2)
	}
	// What allows a response to a request with credentials to be shared is the response's.
	s := c.Site(one(c.Cache(mute), func(x Ctx) error {
		x.SetHeader("Cache-Control", "public, max-age=0")
		cacheaside.SetTTL(x.Context(), time.Minute)
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x", "Authorization: Basic YTpi").Miss().Stored().TTL(60)
	s.Get("/x", "Authorization: Basic YzpkOg==").Hit()
}

func testNoStoreWins(c *run) {
	for what, tell := range map[string]func(context.Context) bool{
		"NoStore":              cacheaside.NoStore,
		"SetTTL, then NoStore": func(ctx context.Context) bool { return cacheaside.SetTTL(ctx, time.Minute) && cacheaside.NoStore(ctx) },
		"NoStore, then SetTTL": func(ctx context.Context) bool { return cacheaside.NoStore(ctx) && cacheaside.SetTTL(ctx, time.Minute) },
		"SetTTL of 0":          func(ctx context.Context) bool { return cacheaside.SetTTL(ctx, 0) },
		"SetTTL below 0":       func(ctx context.Context) bool { return cacheaside.SetTTL(ctx, -time.Hour) },
	} {
		s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace = randomName() }), func(x Ctx) error {
			x.SetHeader("Cache-Control", "public, max-age=60")
			if !tell(x.Context()) {
				c.Errorf("%s is not heard", what)
			}
			return x.Send(200, plain, []byte("x"))
		}))
		for range 2 {
			r := s.Get("/x")
			r.What = what
			r.Miss().NotStored().Detail("no-store").Is(200, "x").Has("Cache-Control", "public, max-age=60")
		}
		s.Handled("/x", 2)
	}
	s := c.Site(one(c.Cache(mute), func(x Ctx) error {
		cacheaside.SetTTL(x.Context(), 200*365*24*time.Hour)
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x").Miss().Stored().TTL(365 * 24 * 60 * 60)
}

// testBrowsersRevalidate is the recipe: a browser asks each time, and the cache answers
// without the handler that nothing has changed.
func testBrowsersRevalidate(c *run) {
	cache := c.Cache(mute, func(cfg *cacheaside.Config) { cfg.Policy.Storing.GenerateETag = true })
	var version atomic.Int64
	s := c.Site(one(cache, func(x Ctx) error {
		x.SetHeader("Cache-Control", "public, no-cache")
		cacheaside.SetTTL(x.Context(), time.Hour)
		cacheaside.AddTags(x.Context(), "page")
		return x.Send(200, plain, []byte(fmt.Sprint("version ", version.Load())))
	}))
	first := s.Get("/x").Miss().Stored().TTL(3600).Is(200, "version 0").Has("Cache-Control", "public, no-cache")
	etag := first.Header.Get("Etag")
	if etag == "" {
		c.Fatalf("no ETag to revalidate by")
	}
	c.Clock.Advance(time.Minute)
	s.Get("/x", "If-None-Match: "+etag).Hit().Is(304, "").Has("Etag", etag).Has("Cache-Control", "public, no-cache").Has("Age", "60")
	s.Get("/x").Hit().Is(200, "version 0").Has("Age", "60")
	s.Handled("/x", 1)
	version.Add(1)
	c.purged(cache.PurgeTags(c.context(), "page"))
	s.Get("/x", "If-None-Match: "+etag).NotHit().Is(200, "version 1")
	s.Handled("/x", 2)
}

// testSetTTLCounts: the lifetime begins with the response, whatever its Date and Age say.
func testSetTTLCounts(c *run) {
	s := c.Site(one(c.Cache(mute), func(x Ctx) error {
		c.Clock.Advance(30 * time.Second)
		x.SetHeader("Age", "100")
		cacheaside.SetTTL(x.Context(), 10*time.Second)
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x").Miss().Stored().TTL(10)
	c.Clock.Advance(9 * time.Second)
	s.Get("/x").Hit().TTL(1)
	c.Clock.Advance(2 * time.Second)
	s.Get("/x").NotHit()
}

// testSetTTLNotModified: a 304 has its own say.
func testSetTTLNotModified(c *run) {
	var silent atomic.Bool
	s := c.Site(one(c.Cache(mute), func(x Ctx) error {
		x.SetHeader("Etag", `"a"`)
		x.SetHeader("Cache-Control", "no-cache")
		if !silent.Load() {
			cacheaside.SetTTL(x.Context(), 10*time.Second)
		}
		if x.Header("If-None-Match") != "" {
			return x.NoContent(304)
		}
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x").Miss().Stored()
	c.Clock.Advance(11 * time.Second)
	s.Get("/x").Fwd("stale").Stored().TTL(10).Is(200, "x")
	s.Get("/x").Hit()
	s.Handled("/x", 2)
	silent.Store(true)
	c.Clock.Advance(11 * time.Second)
	s.Get("/x").Fwd("stale").Is(200, "x")
	s.Get("/x").Fwd("stale").Is(200, "x") // no-cache counts again
	s.Handled("/x", 4)
}

// testSetTTLCookies: it is freshness that the handler gives, which may be shared.
func testSetTTLCookies(c *run) {
	var tells atomic.Bool
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if tells.Load() {
			cacheaside.SetTTL(x.Context(), time.Minute)
		}
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x", "Cookie: sid=1").Miss().NotStored().Detail("cookie")
	tells.Store(true)
	s.Get("/x", "Cookie: sid=1").Miss().Stored()
	s.Get("/x", "Cookie: sid=2").Hit()
}

// testSetTTLHandles: of handles behind one another the one nearest to the handler hears it.
func testSetTTLHandles(c *run) {
	cache := c.Cache(mute)
	s := c.Site(App{
		Global: cache,
		Group:  c.With(cache, func(p *cacheaside.Policy) { p.TTL = time.Hour }),
		Routes: []Route{{Path: "/group/x", Handler: func(x Ctx) error {
			if !cacheaside.SetTTL(x.Context(), 10*time.Second) {
				c.Errorf("not heard")
			}
			return x.Send(200, plain, []byte("x"))
		}}},
	})
	s.Get("/group/x").Miss().Stored().TTL(10)
	s.Get("/group/x").Hit()
	c.Clock.Advance(11 * time.Second)
	s.Get("/group/x").NotHit()
	s.Handled("/group/x", 2)
	s = c.Site(App{
		Global: cache,
		Group:  c.With(cache, func(p *cacheaside.Policy) { p.Skip = func(*cacheaside.Request) bool { return true } }),
		Routes: []Route{{Path: "/group/y", Handler: func(x Ctx) error {
			if cacheaside.SetTTL(x.Context(), 10*time.Second) || cacheaside.NoStore(x.Context()) {
				c.Errorf("heard, where the handle leaves the response alone")
			}
			return x.Send(200, plain, []byte("x"))
		}}},
	})
	s.Get("/group/y").Fwd("bypass")
}

// testSetTTLStreamed: what nothing else lets be stored needs it before it leaves; else it
// counts until the end.
func testSetTTLStreamed(c *run) {
	whole := filler(600 << 10)
	s := c.Site(App{Global: c.Cache(mute), Routes: []Route{
		{Path: "/early", Handler: func(x Ctx) error {
			ctx := x.Context()
			cacheaside.SetTTL(ctx, time.Minute)
			return c.pieces(x, func(w io.Writer) error {
				_, err := w.Write(whole[:300<<10])
				if !cacheaside.SetTTL(ctx, 2*time.Minute) {
					c.Errorf("SetTTL is not heard while the response is sent")
				}
				if err == nil {
					_, err = w.Write(whole[300<<10:])
				}
				return err
			})
		}},
		{Path: "/late", Handler: func(x Ctx) error {
			ctx := x.Context()
			return c.pieces(x, func(w io.Writer) error {
				_, err := w.Write(whole[:300<<10])
				if err == nil {
					_, err = w.Write(whole[300<<10:])
				}
				if cacheaside.SetTTL(ctx, time.Minute) {
					c.Errorf("SetTTL is heard when the response is on its way and not captured")
				}
				return err
			})
		}},
	}})
	s.Get("/early").Miss().Is(200, string(whole))
	c.stored(s.cache, 1)
	s.Get("/early").Hit().TTL(120).Is(200, string(whole))
	s.Handled("/early", 1)
	for range 2 {
		s.Get("/late").Miss().NotStored().Detail("no-freshness").Is(200, string(whole))
	}
	s.Handled("/late", 2)
}

// testNoStoreStreamed: it counts until the end.
func testNoStoreStreamed(c *run) {
	whole := filler(600 << 10)
	proceed := make(chan struct{}, 2)
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		ctx := x.Context()
		return c.pieces(x, func(w io.Writer) error {
			if err := interrupted(whole, proceed)(w); err != nil {
				return err
			}
			if !cacheaside.NoStore(ctx) {
				c.Errorf("NoStore is not heard while the response is sent")
			}
			return nil
		})
	}))
	for i := range 2 {
		b := s.Begin(c.context(), 1, "/x")
		proceed <- struct{}{}
		b.End().Miss().Is(200, string(whole))
		c.Eventually("its memory is given back", func() bool { return s.cache.Stats().CaptureBytes == 0 })
		s.Handled("/x", i+1)
	}
	if n := s.cache.Stats().Stores; n != 0 {
		c.Errorf("%d responses were stored", n)
	}
}

// testNoStoreTwoCaches: no cache in front keeps it.
func testNoStoreTwoCaches(c *run) {
	front := c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace = randomName() })
	s := c.Site(App{Global: front, Group: c.Cache(), Routes: []Route{{Path: "/group/x", Handler: func(x Ctx) error {
		if !cacheaside.NoStore(x.Context()) {
			c.Errorf("not heard")
		}
		return x.Send(200, plain, []byte("x"))
	}}}})
	s.caches = 2
	s.Get("/group/x")
	s.Get("/group/x")
	s.Handled("/group/x", 2)
}

// deciding is a policy that decides.
func deciding(f func(*cacheaside.Request, *cacheaside.Response) cacheaside.Decision) func(*cacheaside.Config) {
	return func(cfg *cacheaside.Config) { cfg.Policy.Storing.Decide = f }
}

// spoken decides by what the body says: "no", "keep", "panic" or a duration, at its end.
func spoken(c *run, asked *atomic.Int64) func(*cacheaside.Request, *cacheaside.Response) cacheaside.Decision {
	return func(_ *cacheaside.Request, resp *cacheaside.Response) (d cacheaside.Decision) {
		asked.Add(1)
		_, say, _ := strings.Cut(string(resp.Body), "|")
		switch say {
		case "no":
			d.NoStore = true
		case "keep":
			d.NoStore, d.KeepStale = true, true
		case "panic":
			panic("no idea")
		case "":
		default:
			ttl, err := time.ParseDuration(say)
			if err != nil {
				c.Errorf("the body is %q: %v", resp.Body, err)
			}
			d.TTL = ttl
		}
		return d
	}
}

// echoing is a handler that answers what is in the query.
func echoing(x Ctx) error { return x.Send(200, plain, []byte(x.Query("say"))) }

func testDecide(c *run) {
	var asked atomic.Int64
	speak := spoken(c, &asked)
	s := c.Site(one(c.Cache(deciding(func(r *cacheaside.Request, resp *cacheaside.Response) cacheaside.Decision {
		if r.Method != "GET" || r.Path != "/x" || r.Host != defaultHost || resp.Status != 200 || resp.TTL != time.Minute ||
			len(resp.Header.Values("X-Own")) != 2 || len(resp.Header.Values("Content-Type")) != 1 {
			c.Errorf("Decide got %s %s%s, %d, %v, %q", r.Method, r.Host, r.Path, resp.Status, resp.TTL, resp.Header.Values("X-Own"))
		}
		return speak(r, resp)
	})), func(x Ctx) error {
		x.AddHeader("X-Own", "1")
		x.AddHeader("X-Own", "2")
		return echoing(x)
	}))
	for i, tt := range []struct {
		say    string
		ttl    int
		detail string
	}{
		{"as-it-is", 60, ""},
		{"for|5s", 5, ""},
		{"for|5000000s", 5000000, ""},
		{"for|100000h", 365 * 24 * 3600, ""},
		{"not|no", 0, "decided"},
		{"not|-1s", 0, "decided"},
	} {
		target := "/x?say=" + tt.say
		r := s.Get(target)
		if tt.detail != "" {
			r.Miss().NotStored().Detail(tt.detail).Is(200, tt.say)
			s.Get(target).Miss().NotStored().Detail(tt.detail)
			asked.Add(-1)
		} else {
			r.Miss().Stored().TTL(tt.ttl).Is(200, tt.say)
			s.Get(target).Hit().TTL(tt.ttl).Is(200, tt.say)
			c.Clock.Advance(4 * time.Second)
			s.Get(target).Hit()
		}
		s.Head(target)
		if n := asked.Load(); n != int64(i+1) {
			c.Errorf("%s: Decide was asked %d times, want %d", tt.say, n, i+1)
		}
	}
	s.Get("/x?say=brief|1ns").Miss().Stored()
	c.Clock.Advance(time.Millisecond)
	s.Get("/x?say=brief|1ns").NotHit()
}

// testDecideLifetime: what only lacks a lifetime gets one.
func testDecideLifetime(c *run) {
	var asked atomic.Int64
	handler := func(x Ctx) error {
		if v := x.Query("control"); v != "" {
			x.SetHeader("Cache-Control", strings.ReplaceAll(v, "_", ", "))
		}
		if v := x.Query("etag"); v != "" {
			x.SetHeader("Etag", `"`+v+`"`)
		}
		return echoing(x)
	}
	s := c.Site(one(c.Cache(mute, deciding(spoken(c, &asked))), handler))
	s.Get("/x?say=it").Miss().NotStored().Detail("no-freshness")
	s.Get("/x?say=it|5s").Miss().Stored().TTL(5)
	s.Get("/x?say=it|5s").Hit()
	s.Get("/x?say=it|no").Miss().NotStored().Detail("decided")
	s.Get("/x?say=it|5s&control=max-age=0").Miss().Stored().TTL(5)
	s.Get("/x?say=it|5s&control=max-age=0").Hit()
	s.Get("/x?say=it&control=max-age=0").Miss().NotStored().Detail("expired")
	s.Get("/x?say=it|5s&control=max-age=60").Miss().Stored().TTL(5)
	// Nothing of the handler's lets it be shared, so the rule of cookies holds.
	s.Get("/x?say=cookie|5s", "Cookie: sid=1").Miss().NotStored().Detail("cookie")
	s.Get("/x?say=cookie|5s").Miss().Stored().TTL(5)
	s.Get("/x?say=cookie|5s", "Cookie: sid=1").NotHit()
	s.Get("/x?say=cookie|5s&control=public", "Cookie: sid=1").Miss().Stored().TTL(5)
	s.Get("/x?say=cookie|5s&control=public", "Cookie: sid=2").Hit()
	// No-cache is not lifted.
	s.Get("/x?say=it|5s&control=no-cache").Miss().NotStored().Detail("no-cache")
	n := s.Calls("/x")
	s.Get("/x?say=it|5s&control=no-cache&etag=a").Miss().Stored()
	s.Get("/x?say=it|5s&control=no-cache&etag=a").Fwd("stale")
	s.Handled("/x", n+2)
	// After the handler the policy has the last word.
	s = c.Site(one(c.Cache(mute, deciding(func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
		if r.TTL != time.Hour {
			c.Errorf("Decide got a TTL of %v", r.TTL)
		}
		return cacheaside.Decision{TTL: 7 * time.Second}
	}), func(cfg *cacheaside.Config) { cfg.Namespace = randomName() }), func(x Ctx) error {
		cacheaside.SetTTL(x.Context(), time.Hour)
		return x.Send(200, plain, []byte("x"))
	}))
	s.Get("/x").Miss().Stored().TTL(7)
}

// testDecideForbidden: it is not asked for what the rules forbid.
func testDecideForbidden(c *run) {
	s := c.Site(one(c.Cache(mute, deciding(func(r *cacheaside.Request, _ *cacheaside.Response) cacheaside.Decision {
		c.Errorf("Decide is asked for %s", r.RawQuery)
		return cacheaside.Decision{TTL: time.Minute}
	})), func(x Ctx) error {
		switch name, value, _ := strings.Cut(x.Query("field"), ":"); name {
		case "":
		case "status":
			status, _ := strconv.Atoi(value)
			return x.Send(status, plain, []byte("x"))
		case "NoStore":
			cacheaside.NoStore(x.Context())
		case "Flush":
			return x.Stream(200, c.live(), func(w Stream) error {
				_, _ = w.Write([]byte("data: x\n\n"))
				return w.Flush()
			})
		default:
			x.SetHeader(name, value)
		}
		return x.Send(200, plain, []byte("x"))
	}))
	for query, detail := range map[string]string{
		"Cache-Control:no-store":                "no-store",
		"Cache-Control:private":                 "private",
		"Cdn-Cache-Control:private":             "private",
		"Set-Cookie:a=b":                        "set-cookie",
		"Vary:*":                                "vary-any",
		"status:500":                            "status",
		"status:403":                            "status",
		"Content-Range:bytes%200-0/1":           "partial",
		"NoStore":                               "no-store",
		"Flush":                                 adapter.ReasonStream,
		"Cache-Tag:" + strings.Repeat("a", 300): "tags",
	} {
		for range 2 {
			s.Get("/x?field=" + query).Miss().NotStored().Detail(detail)
		}
	}
	s.Get("/x", "Authorization: Basic YTpi").Miss().NotStored().Detail("authorization")
	s.Get("/x", "Cache-Control: no-store").Miss().NotStored().Detail("request-no-store")
	s.Get("/x", "Cookie: sid=1").Miss().NotStored().Detail("cookie")
}

// testDecideErrors: an error that the handler returns goes its usual way, unless the
// policy stores its status.
func testDecideErrors(c *run) {
	app := one(nil, func(x Ctx) error {
		status, _ := strconv.Atoi(x.Query("status"))
		return x.Error(status, "none")
	})
	bare := c.Plain(app)
	app.Global = c.Cache(deciding(func(*cacheaside.Request, *cacheaside.Response) cacheaside.Decision {
		return cacheaside.Decision{TTL: 5 * time.Second}
	}), func(cfg *cacheaside.Config) { cfg.Policy.StatusTTL = map[int]time.Duration{410: time.Minute} })
	s := c.Site(app)
	s.Get("/x?status=410").Miss().Stored().TTL(5).Same(bare.Get("/x?status=410"))
	s.Get("/x?status=410").Hit()
	for range 2 {
		s.Get("/x?status=500").Miss().NotStored().Same(bare.Get("/x?status=500"))
	}
}

func testDecidePanics(c *run) {
	var asked atomic.Int64
	cache := c.Cache(deciding(spoken(c, &asked)))
	s := c.Site(one(cache, echoing))
	for range 3 {
		s.Get("/x?say=it|panic").Miss().NotStored().Detail("decided").Is(200, "it|panic")
	}
	s.Handled("/x", 3)
	if n := cache.Stats().DecidePanics; n != 3 {
		c.Errorf("%d panics are counted, want 3", n)
	}
	s.Get("/x?say=fine").Miss().Stored()
	s.Get("/x?say=fine").Hit()
}

// testDecideStale: a refused response supersedes what is stale, unless the policy keeps it.
func testDecideStale(c *run) {
	for _, tt := range []struct {
		say  string
		kept bool
	}{{"error|no", false}, {"error|keep", true}, {"error|panic", false}} {
		var asked atomic.Int64
		var body atomic.Value
		body.Store("good")
		s := c.Site(one(c.Cache(unlocked, deciding(spoken(c, &asked)), func(cfg *cacheaside.Config) {
			cfg.Namespace = randomName()
			cfg.Policy.Stale.IfError = time.Hour
		}), func(x Ctx) error {
			if body.Load() == "down" {
				return x.Send(503, plain, []byte("down"))
			}
			return x.Send(200, plain, []byte(body.Load().(string)))
		}))
		s.Get("/x").Miss().Stored().Is(200, "good")
		c.Clock.Advance(2 * time.Minute)
		body.Store(tt.say)
		s.Get("/x").Fwd("stale").NotStored().Detail("decided").Is(200, tt.say)
		body.Store("down")
		r := s.Get("/x")
		if r.What = tt.say; tt.kept {
			r.Is(200, "good").Detail("stale-if-error")
		} else {
			r.Is(503, "down")
		}
		body.Store("better")
		s.Get("/x").NotHit().Stored().Is(200, "better")
	}
}

// testDecideRefresh: it is asked for what runs in the background.
func testDecideRefresh(c *run) {
	for _, say := range []string{"new|keep", "new|no", "new|30s"} {
		var asked atomic.Int64
		var body atomic.Value
		body.Store("old")
		cache := c.Cache(unlocked, deciding(spoken(c, &asked)), func(cfg *cacheaside.Config) {
			cfg.Namespace = randomName()
			cfg.Policy.Stale.WhileRevalidate = time.Hour
		})
		s := c.Site(one(cache, func(x Ctx) error { return x.Send(200, plain, []byte(body.Load().(string))) }))
		s.Get("/x").Miss().Stored().TTL(60)
		c.Clock.Advance(61 * time.Second)
		body.Store(say)
		s.Get("/x").Hit().Detail("stale-while-revalidate").Is(200, "old")
		c.Eventually("the refresh is decided on", func() bool {
			st := cache.Stats()
			return asked.Load() == 2 && st.Refreshed+st.RefreshErrors == 1
		})
		c.flush(cache)
		r := s.Get("/x")
		switch r.What = say; say {
		case "new|keep":
			r.Is(200, "old")
		case "new|no":
			r.Miss().Is(200, say)
		default:
			r.Hit().TTL(30).Is(200, say)
		}
	}
}

// testDecideNotModified: what a 304 makes fresh is decided on again.
func testDecideNotModified(c *run) {
	var asked atomic.Int64
	var refuse atomic.Bool
	s := c.Site(one(c.Cache(deciding(func(r *cacheaside.Request, resp *cacheaside.Response) cacheaside.Decision {
		asked.Add(1)
		if string(resp.Body) != "[]" || resp.Status != 200 || len(resp.Header.Values("Etag")) != 1 {
			c.Errorf("Decide got %d %q %q", resp.Status, resp.Body, resp.Header.Values("Etag"))
		}
		if got := resp.Header.Values("X-Run"); len(got) != 1 || got[0] != strconv.FormatInt(asked.Load(), 10) {
			c.Errorf("Decide got the fields of run %q, want those of %d", got, asked.Load())
		}
		return cacheaside.Decision{TTL: 5 * time.Second, NoStore: refuse.Load()}
	})), func(x Ctx) error {
		x.SetHeader("Etag", `"a"`)
		x.SetHeader("X-Run", strconv.FormatInt(asked.Load()+1, 10))
		if x.Header("If-None-Match") == `"a"` {
			return x.NoContent(304)
		}
		return x.Send(200, plain, []byte("[]"))
	}))
	s.Get("/x").Miss().Stored().TTL(5)
	c.Clock.Advance(6 * time.Second)
	s.Get("/x").Fwd("stale").Stored().TTL(5).Is(200, "[]")
	s.Get("/x").Hit().TTL(5)
	s.Handled("/x", 2)
	c.Clock.Advance(6 * time.Second)
	refuse.Store(true)
	s.Get("/x").Fwd("stale").NotStored().Detail("decided").Is(200, "[]")
	s.Get("/x").Miss().NotStored() // it was superseded
	s.Handled("/x", 4)
}

// testDecideStreamed: it is asked when the body is there.
func testDecideStreamed(c *run) {
	whole := filler(600 << 10)
	for _, tt := range []struct {
		d   cacheaside.Decision
		ttl int
	}{{cacheaside.Decision{TTL: 30 * time.Second}, 30}, {cacheaside.Decision{NoStore: true}, 0}} {
		var asked atomic.Int64
		proceed := make(chan struct{}, 2)
		s := c.Site(one(c.Cache(mute, deciding(func(_ *cacheaside.Request, resp *cacheaside.Response) cacheaside.Decision {
			asked.Add(1)
			if string(resp.Body) != string(whole) {
				c.Errorf("Decide got %d bytes", len(resp.Body))
			}
			return tt.d
		}), func(cfg *cacheaside.Config) { cfg.Namespace = randomName() }), func(x Ctx) error {
			return c.pieces(x, interrupted(whole, proceed))
		}))
		b := s.Begin(c.context(), 1, "/x")
		if asked.Load() != 0 {
			c.Errorf("Decide is asked before the body is complete")
		}
		proceed <- struct{}{}
		b.End().Miss().Is(200, string(whole))
		c.Eventually("it is decided", func() bool { return asked.Load() == 1 })
		if tt.ttl > 0 {
			c.stored(s.cache, 1)
			s.Get("/x").Hit().TTL(tt.ttl).Is(200, string(whole))
			s.Handled("/x", 1)
			continue
		}
		c.Eventually("its memory is given back", func() bool { return s.cache.Stats().CaptureBytes == 0 })
		proceed <- struct{}{}
		s.Get("/x").Miss().Is(200, string(whole))
		s.Handled("/x", 2)
	}
}

// testDecideParts: it is asked for each part, and for the whole.
func testDecideParts(c *run) {
	var mu sync.Mutex
	var got []string
	s, _ := c.parts(deciding(func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(r.Status, " ", strings.Join(r.Header.Values("Content-Range"), ","), " ", string(r.Body)))
		if string(r.Body) == "89" {
			return cacheaside.Decision{NoStore: true}
		}
		return cacheaside.Decision{TTL: 30 * time.Second}
	}))
	check := func(want ...string) {
		c.Helper()
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			c.Errorf("Decide got %q, want %q", got, want)
		}
		got = nil
	}
	s.Get("/x", "Range: bytes=0-4").Miss().Stored().part("0-4/10", "01234")
	check("206 bytes 0-4/10 01234")
	s.Get("/x", "Range: bytes=8-9").NotStored().Detail("decided").part("8-9/10", "89")
	check("206 bytes 8-9/10 89")
	s.Get("/x", "Range: bytes=1-2").Hit().TTL(30).part("1-2/10", "12")
	s.Get("/x").Fwd("partial").Stored().TTL(30).Is(200, tenDigits)
	check("200  " + tenDigits)
	s.Get("/x").Hit().TTL(30).Is(200, tenDigits)
	check()
}

// testDecideCoded: it sees the handler's body, also of an entry that is compressed.
func testDecideCoded(c *run) {
	text := strings.Repeat("compressible ", 1000)
	var asked atomic.Int64
	s := c.Site(one(c.Cache(deciding(func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
		if asked.Add(1); string(r.Body) != text {
			c.Errorf("Decide got %s", brief(string(r.Body)))
		}
		return cacheaside.Decision{TTL: 5 * time.Second}
	}), func(cfg *cacheaside.Config) { cfg.Policy.Compression.Codings = []string{"gzip"} }), func(x Ctx) error {
		x.SetHeader("Etag", `"a"`)
		if strings.Contains(x.Header("If-None-Match"), `"a"`) {
			return x.NoContent(304)
		}
		return x.Send(200, plain, []byte(text))
	}))
	s.Get("/x").Miss().Stored().Is(200, text)
	s.Get("/x", "Accept-Encoding: gzip").Hit().Has("Content-Encoding", "gzip")
	c.Clock.Advance(6 * time.Second)
	s.Get("/x").Fwd("stale").Stored().Is(200, text)
	s.Get("/x", "Accept-Encoding: gzip").Hit().Has("Content-Encoding", "gzip")
	if n := asked.Load(); n != 2 {
		c.Errorf("Decide was asked %d times, want 2", n)
	}
	s.Handled("/x", 2)
}

// testDecideConcurrent: nothing that Decide reads is written to meanwhile.
func testDecideConcurrent(c *run) {
	var sum atomic.Int64
	s := c.Site(one(c.Cache(deciding(func(r *cacheaside.Request, resp *cacheaside.Response) cacheaside.Decision {
		n := len(r.RawQuery) + len(r.Header.Values("Accept")) + len(resp.Header.Values("X-Own")) + cap(resp.Body)
		for _, b := range resp.Body {
			n += int(b)
		}
		sum.Add(int64(n))
		return cacheaside.Decision{TTL: time.Duration(1+n%7) * time.Second, NoStore: n%5 == 0}
	}), func(cfg *cacheaside.Config) {
		cfg.Policy.Stale.WhileRevalidate = time.Minute
		cfg.Policy.Storing.GenerateETag = true
		cfg.Policy.Compression.Codings = []string{"gzip"}
	}), func(x Ctx) error {
		x.SetHeader("X-Own", x.Query("n"))
		return x.Send(200, plain, []byte(strings.Repeat(x.Query("n")+" ", 500)))
	}))
	atOnce(16, func(i int) {
		for j := range 30 {
			n := strconv.Itoa((i + j) % 8)
			r, err := s.Try(c.context(), "GET", "/x?n="+n, "", "Accept-Encoding: gzip;q=0")
			if err != nil {
				c.Errorf("%v", err)
				return
			}
			r.Is(200, strings.Repeat(n+" ", 500))
			if j%10 == 0 {
				c.Clock.Advance(time.Second)
			}
		}
	})
}
