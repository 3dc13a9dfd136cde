package coretest

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/observe"
)

// What an observer is told, and what those in front of the cache see of the route.
var observeCases = []testCase{
	{name: "events of requests", run: testEvents},
	{name: "events of a hit, a miss and a bypass with a panic", run: testEventsOfPanic},
	{name: "events of nested handles", run: testEventsNested},
	{name: "events of coalesced requests", run: testEventsCoalesced},
	{name: "events of a background run", run: testEventsBackground},
	{name: "an observer that panics", run: testObserverPanics},
	{name: "route in front of the cache", run: testRouteInFront},
}

// Routed is what a [Ctx] of a test has besides.
type Routed interface {
	// Route is the pattern of the request's route as the framework tells it to loggers and
	// metrics, after next.
	Route() string
}

// eventLog keeps copies of events.
type eventLog struct {
	mu   sync.Mutex
	list []observe.Event
}

func (r *eventLog) Observe(e *observe.Event) {
	if e.Context == nil {
		panic("an event without a context")
	}
	one := *e
	one.Context, one.Key, one.FlightID = nil, strings.Clone(e.Key), strings.Clone(e.FlightID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, one)
}

// take returns the events of a kind, and forgets them.
func (r *eventLog) take(kind observe.Kind) (taken []observe.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var left []observe.Event
	for _, e := range r.list {
		if e.Kind == kind {
			taken = append(taken, e)
		} else {
			left = append(left, e)
		}
	}
	r.list = left
	return taken
}

// observed makes the cache tell the log.
func observed(into *eventLog) func(*cacheaside.Config) {
	return func(c *cacheaside.Config) { c.Observer = into }
}

// request waits for the one request event that there is to be: it comes when the client
// may have its answer already.
func (c *run) request(r *eventLog) (e observe.Event) {
	c.Helper()
	var all []observe.Event
	c.Eventually("the event of a request", func() bool {
		all = append(all, r.take(observe.KindRequest)...)
		return len(all) > 0
	})
	if len(all) > 1 {
		c.Errorf("%d events of one request: %+v", len(all), all)
	}
	return all[0]
}

// told compares what an event says, but for what differs from run to run.
func (c *run) told(what string, e, want observe.Event) {
	c.Helper()
	want.Time = c.Clock.Now()
	if e.Kind == observe.KindRequest && e.Result != observe.ResultBypass && e.Key == "" {
		c.Errorf("%s: no key", what)
	}
	want.Key, want.FlightID, want.Err = e.Key, e.FlightID, e.Err
	if want.StoredBytes != 0 && e.StoredBytes > 0 {
		want.StoredBytes = e.StoredBytes
	}
	if !reflect.DeepEqual(e, want) {
		c.Errorf("%s:\n got %+v\nwant %+v", what, e, want)
	}
}

func testEvents(c *run) {
	rec := new(eventLog)
	cache := c.Cache(observed(rec), func(cfg *cacheaside.Config) { cfg.Policy.Name = "pages" })
	tier := observe.TierStore
	if c.server == nil {
		tier = observe.TierMemory
	}
	answer := func(control, tag string) Handler {
		return func(x Ctx) error {
			if control != "" {
				x.SetHeader("Cache-Control", control)
			}
			if tag != "" {
				x.SetHeader("Cache-Tag", tag)
			}
			return x.Send(200, plain, []byte("page"))
		}
	}
	s := c.Site(App{Global: cache, Routes: []Route{
		{Path: "/page", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, Handler: answer("", "news")},
		{Path: "/mine", Handler: answer("private", "")},
		{Path: "/stale", Handler: answer("max-age=1, stale-while-revalidate=1000", "")},
		{Path: "/stream", Handler: func(x Ctx) error {
			return x.Stream(200, c.live(), func(s Stream) error {
				_, err := s.Write([]byte("page"))
				return errors.Join(err, s.Flush())
			})
		}},
		{Path: "/head", Handler: answer("", "")},
		{Path: "/vary", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "X-Kind")
			return x.Send(200, plain, []byte("page"))
		}},
	}})
	steps := []struct {
		what           string
		before         func()
		method, target string
		fields         []string
		want           observe.Event // of the request
		handler        bool
		store          bool
	}{
		{what: "a miss", method: "GET", target: "/page", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, TTL: time.Minute}},
		{what: "a hit", method: "GET", target: "/page",
			want: observe.Event{Result: observe.ResultHit, TTL: time.Minute}},
		{what: "an older hit", before: func() { c.Clock.Advance(20 * time.Second) }, method: "GET", target: "/page",
			want: observe.Event{Result: observe.ResultHit, Age: 20 * time.Second, TTL: 40 * time.Second}},
		{what: "HEAD", method: "HEAD", target: "/page",
			want: observe.Event{Result: observe.ResultHit, Age: 20 * time.Second, TTL: 40 * time.Second}},
		{what: "no-cache", method: "GET", target: "/page", fields: []string{"Cache-Control: no-cache"}, handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseRequest, TTL: time.Minute}},
		{what: "an expired one", before: func() { c.Clock.Advance(61 * time.Second) }, method: "GET", target: "/page", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseExpired, TTL: time.Minute}},
		{what: "max-stale", before: func() { c.Clock.Advance(70 * time.Second) }, method: "GET", target: "/stale", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, TTL: time.Second}},
		{what: "max-stale, stale", before: func() { c.Clock.Advance(3 * time.Second) }, method: "GET", target: "/stale", fields: []string{"Cache-Control: max-stale=60"},
			want: observe.Event{Result: observe.ResultStale, Stale: observe.StaleMaxStale, Age: 3 * time.Second, TTL: -2 * time.Second}},
		{what: "a private one", method: "GET", target: "/mine", handler: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonPrivate}},
		{what: "a stream", method: "GET", target: "/stream", handler: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonStream, BodyBytes: -1}},
		{what: "HEAD of nothing", method: "HEAD", target: "/head", handler: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, NotStored: observe.ReasonMethod}},
		{what: "only-if-cached", method: "GET", target: "/vary", fields: []string{"Cache-Control: only-if-cached"},
			want: observe.Event{Result: observe.ResultError, Cause: observe.CauseCold, Status: 504}},
		{what: "one variant", method: "GET", target: "/vary", fields: []string{"X-Kind: a"}, handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseCold, TTL: time.Minute}},
		{what: "another variant", method: "GET", target: "/vary", fields: []string{"X-Kind: b"}, handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseVary, TTL: time.Minute}},
		{what: "to be purged", method: "GET", target: "/page", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CauseExpired, TTL: time.Minute}},
		{what: "a purged tag", before: func() { c.purged(cache.PurgeTags(c.context(), "news")) }, method: "GET", target: "/page", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CausePurged, TTL: time.Minute}},
		{what: "POST", method: "POST", target: "/page", handler: true,
			want: observe.Event{Result: observe.ResultBypass, Bypass: observe.ReasonMethod}},
		{what: "a purged URL", method: "GET", target: "/page", handler: true, store: true,
			want: observe.Event{Result: observe.ResultMiss, Cause: observe.CausePurged, TTL: time.Minute}},
		{what: "a condition only the handler can judge", method: "GET", target: "/page", fields: []string{`If-Match: "x"`}, handler: true,
			want: observe.Event{Result: observe.ResultBypass, Bypass: observe.ReasonPrecondition}},
	}
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		s.Do(step.method, step.target, "", step.fields...)
		e, want := c.request(rec), step.want
		want.Kind, want.Policy, want.Method = observe.KindRequest, "pages", observe.MethodOf(step.method)
		if want.Status == 0 {
			want.Status = 200
		}
		switch want.Result {
		case observe.ResultHit, observe.ResultStale:
			want.Tier, want.BodyBytes = tier, 4
		case observe.ResultBypass:
			want.Tier, want.BodyBytes = observe.TierNone, e.BodyBytes
		case observe.ResultMiss:
			if want.Tier = observe.TierNone; want.BodyBytes == 0 {
				want.BodyBytes = 4
			}
		default:
			want.Tier = observe.TierNone
		}
		if step.method == http.MethodHead {
			want.BodyBytes = 0
		}
		if step.store {
			want.StoredBytes = 1
		}
		if want.Route = e.Route; e.Route == "" || e.Route == observe.Unmatched || !strings.HasSuffix(e.Route, step.target) {
			c.Errorf("%s: the route is %q", step.what, e.Route)
		}
		if e.FlightID == "" && step.store && c.server != nil {
			c.Errorf("%s: no flight", step.what)
		}
		c.told(step.what, e, want)
		handlers := rec.take(observe.KindHandler)
		if len(handlers) > 1 || (len(handlers) == 1) != step.handler {
			c.Errorf("%s: %d handlers ran: %+v", step.what, len(handlers), handlers)
		}
		if step.handler && len(handlers) == 1 {
			want := observe.Event{Kind: observe.KindHandler, Policy: "pages", Route: want.Route, Status: 200, BodyBytes: e.BodyBytes, Cause: step.want.Cause, NotStored: step.want.NotStored}
			c.told(step.what+", its handler", handlers[0], want)
			if handlers[0].FlightID != e.FlightID {
				c.Errorf("%s: the flight is %q, the handler's %q", step.what, e.FlightID, handlers[0].FlightID)
			}
		}
		c.flush(cache)
		var stores []observe.Event
		if step.store {
			c.Eventually("the event of a store", func() bool { stores = append(stores, rec.take(observe.KindStore)...); return len(stores) > 0 })
			c.told(step.what+", its store", stores[0], observe.Event{
				Kind: observe.KindStore, Policy: "pages", Route: want.Route, Outcome: observe.OutcomeOK, TTL: step.want.TTL, StoredBytes: 1, BodyBytes: -1,
			})
		}
		if more := rec.take(observe.KindStore); len(more) > 0 || len(stores) > 1 {
			c.Errorf("%s: stored %+v %+v", step.what, stores, more)
		}
	}
	var purges []string
	for _, e := range rec.take(observe.KindPurge) {
		purges = append(purges, fmt.Sprint(e.Purge, " ", e.Outcome))
	}
	if got := strings.Join(purges, ", "); got != "tags ok, unsafe ok" {
		c.Errorf("purges: %s", got)
	}
	calls := rec.take(observe.KindStoreCall)
	if (len(calls) > 0) != (c.server != nil) {
		c.Errorf("%d calls of the store are told of", len(calls))
	}
	for _, e := range calls {
		if e.Op == 0 || e.Outcome != observe.OutcomeOK {
			c.Errorf("a call of the store: %+v", e)
		}
	}
	if n := cache.Stats(); n.CauseCold+n.CauseExpired+n.CauseVary+n.CausePurged+n.CauseRequest != n.Misses+n.Stale || n.CausePurged != 2 {
		c.Errorf("causes in %+v", n)
	}
}

func testEventsOfPanic(c *run) {
	rec := new(eventLog)
	var broken atomic.Bool
	var seen atomic.Value
	s := c.Site(App{Global: c.Cache(observed(rec)), Outer: []Middleware{recovering(&seen)}, Routes: []Route{
		{Path: "/x", Methods: []string{http.MethodGet, http.MethodPost}, Handler: func(x Ctx) error {
			if broken.Load() {
				panic("broken")
			}
			return x.Send(200, plain, []byte("x"))
		}},
	}})
	broken.Store(true)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		s.Do(method, "/x", "")
		e := c.request(rec)
		if e.Result != observe.ResultError || e.Route == observe.Unmatched {
			c.Errorf("%s that panicked: %+v", method, e)
		}
		if h := rec.take(observe.KindHandler); len(h) != 1 || h[0].Status != 0 {
			c.Errorf("the handler that panicked: %+v", h)
		}
	}
	broken.Store(false)
	s.Get("/x").Miss().Is(200, "x")
	if e := c.request(rec); e.Result != observe.ResultMiss {
		c.Errorf("after the panics: %+v", e)
	}
}

// testEventsNested: of two handles in front of one handler the inner one tells.
func testEventsNested(c *run) {
	rec := new(eventLog)
	cache := c.Cache(observed(rec), func(cfg *cacheaside.Config) { cfg.Policy.Name = "outer" })
	inner := c.With(cache, func(p *cacheaside.Policy) { p.Name = "inner" })
	var seen atomic.Value
	s := c.Site(App{Global: cache, Outer: []Middleware{recovering(&seen)}, Routes: []Route{
		{Path: "/panics", Cache: inner, Methods: []string{http.MethodGet, http.MethodPost}, Handler: func(Ctx) error { panic("inside") }},
		{Path: "/x", Cache: inner, Methods: []string{http.MethodGet, http.MethodPost}, Handler: func(x Ctx) error { return x.Send(200, plain, []byte("x")) }},
	}})
	for i, want := range []observe.Result{observe.ResultMiss, observe.ResultHit, observe.ResultHit} {
		s.Get("/x").Is(200, "x")
		c.flush(cache)
		if e := c.request(rec); e.Result != want || e.Policy != "inner" {
			c.Errorf("GET %d: %+v", i, e)
		}
	}
	s.Do(http.MethodPost, "/x", "")
	if e := c.request(rec); e.Result != observe.ResultBypass || e.Policy != "inner" {
		c.Errorf("POST: %+v", e)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		s.Do(method, "/panics", "")
		if e := c.request(rec); e.Result != observe.ResultError || e.Policy != "inner" {
			c.Errorf("%s that panicked: %+v", method, e)
		}
	}
	s.Get("/x") // by whose event those before have all come
	c.request(rec)
}

// testEventsCoalesced: requests that wait for another one know which.
func testEventsCoalesced(c *run) {
	const n = 20
	rec := new(eventLog)
	gate := make(chan struct{})
	app := one(c.Cache(patient, observed(rec)), func(x Ctx) error {
		waitFor(gate)
		return x.Send(200, plain, []byte("cold"))
	})
	app.Outer = []Middleware{gathering(n, gate)}
	s := c.Site(app)
	atOnce(n, func(int) { s.Get("/x").Is(200, "cold") })
	var all []observe.Event
	c.Eventually("the events of all requests", func() bool {
		all = append(all, rec.take(observe.KindRequest)...)
		return len(all) == n
	})
	results := map[observe.Result]int{}
	var flight string
	for _, e := range all {
		results[e.Result]++
		if e.Result == observe.ResultMiss {
			flight = e.FlightID
		}
	}
	for _, e := range all {
		// One that has found the response when it was about to wait has not waited.
		if e.Result == observe.ResultCollapsed && e.Waited != 0 && (e.Waited != observe.WaitShared || e.FlightID != flight || flight == "") {
			c.Errorf("a request that waited for %q: %+v", flight, e)
		}
	}
	if results[observe.ResultMiss] != 1 || results[observe.ResultCollapsed]+results[observe.ResultHit] != n-1 {
		c.Errorf("results %v", results)
	}
}

// testEventsBackground: a background run is no request.
func testEventsBackground(c *run) {
	rec := new(eventLog)
	var n atomic.Int64
	var trace atomic.Value
	s := c.Site(one(c.Cache(unlocked, observed(rec), func(cfg *cacheaside.Config) { cfg.Policy.Stale.WhileRevalidate = time.Hour }), func(x Ctx) error {
		trace.Store(strings.Clone(x.Header("Traceparent") + x.Header("X-B3-Traceid")))
		return x.Send(200, plain, strconv.AppendInt(nil, n.Add(1), 10))
	}))
	s.Get("/x").Miss().Stored().Is(200, "1")
	c.flush(s.cache)
	c.request(rec)
	c.Clock.Advance(61 * time.Second)
	rec.take(observe.KindHandler)
	s.Get("/x", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-B3-Traceid: 1").Hit().Is(200, "1")
	e := c.request(rec)
	if e.Result != observe.ResultStale || e.Stale != observe.StaleWhileRevalidate || e.TTL != -time.Second || e.Cause != 0 {
		c.Errorf("the stale answer: %+v", e)
	}
	var refreshes, handlers []observe.Event
	c.Eventually("the event of a refresh", func() bool {
		refreshes = append(refreshes, rec.take(observe.KindRefresh)...)
		handlers = append(handlers, rec.take(observe.KindHandler)...)
		return len(refreshes) > 0 && len(handlers) > 0
	})
	if e := refreshes[0]; len(refreshes) > 1 || e.Trigger != observe.TriggerSWR || e.Outcome != observe.OutcomeRenewed || e.Route == observe.Unmatched {
		c.Errorf("refreshes: %+v", refreshes)
	}
	if e := handlers[0]; len(handlers) > 1 || !e.Background || e.Route != refreshes[0].Route {
		c.Errorf("handlers: %+v", handlers)
	}
	if trace.Load() != "" {
		c.Errorf("the background run is part of the trace %q", trace.Load())
	}
	if more := rec.take(observe.KindRequest); len(more) > 0 {
		c.Errorf("requests of no client: %+v", more)
	}
}

// testObserverPanics: nobody is harmed.
func testObserverPanics(c *run) {
	s := c.Site(one(c.Cache(func(cfg *cacheaside.Config) {
		cfg.Observer = observe.Func(func(*observe.Event) { panic("observer") })
	}), func(x Ctx) error { return x.Send(200, plain, []byte("x")) }))
	s.Get("/x").Miss().Stored().Is(200, "x")
	c.flush(s.cache)
	s.Get("/x").Hit().Is(200, "x")
	c.purged(s.cache.PurgeURL(c.context(), "http://example.test/x"))
	s.Get("/x").Miss().Is(200, "x")
}

// testRouteInFront: loggers and metrics in front of the cache see the route of a
// request, whoever answers it, as without a cache.
func testRouteInFront(c *run) {
	handler := func(x Ctx) error { return x.Send(200, plain, []byte("x")) }
	seen := make(chan string, 1)
	app := func(global, group, own *cacheaside.Cache) App {
		return App{
			Global: global, Group: group,
			Outer: []Middleware{func(x Ctx, next func() error) error {
				err := next()
				r, ok := x.(Routed)
				if !ok {
					panic("the Ctx of this test has no Route")
				}
				seen <- strings.Clone(r.Route())
				return err
			}},
			Routes: []Route{
				{Path: "/a/b", Cache: own, Handler: handler},
				{Path: "/files/*", Cache: own, Handler: handler},
				{Path: "/group/a", Cache: own, Handler: handler},
				{Path: "/group/files/*", Cache: own, Handler: handler},
			},
		}
	}
	targets := []string{"/a/b", "/files/one", "/files/two/three?x=1", "/group/a", "/group/files/one", "/nothing/here"}
	want := map[string]string{}
	plainSite := c.Plain(app(nil, nil, nil))
	for _, target := range targets {
		plainSite.Get(target)
		want[target] = <-seen
		if want[target] == "" && target != "/nothing/here" {
			c.Errorf("%s has no route without a cache", target)
		}
	}
	sites := map[string]*site{
		"all":    c.Site(app(c.Cache(), nil, nil)),
		"routes": c.Site(app(nil, nil, c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace += "-own" }))),
		"group":  c.Site(app(nil, c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace += "-group" }), nil)),
	}
	for where, s := range sites {
		for round := range 3 {
			for _, target := range targets {
				s.Get(target)
				if got := <-seen; got != want[target] {
					c.Errorf("a cache in front of %s, round %d: the route of %s is %q, without a cache %q", where, round, target, got, want[target])
				}
				if s.cache != nil {
					c.flush(s.cache)
				}
			}
		}
	}
}

// Routes checks what events call the route of requests for /users/…, which the app that
// build makes answers by a route of that pattern: on a miss, on a hit, and on the first
// request of a process whose store has the answer already. A request with X-Route has
// that for its route, by the adapter's WithRoute.
func Routes(tb testing.TB, pattern string, build func(*cacheaside.Cache) (get func(target string, fields ...string) *http.Response)) {
	tb.Helper()
	shared, err := memory.New(1 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = shared.Close() })
	for process := range 2 {
		log := new(eventLog)
		get := build(NewCache(tb, observed(log), func(c *cacheaside.Config) { c.Store = shared }))
		for _, target := range []string{"/users/7", "/users/8?x=1"} {
			for _, route := range []string{"", "", "special"} {
				want := pattern
				var fields []string
				if route != "" {
					want, fields = route, []string{"X-Route: " + route}
				}
				res := get(target, fields...)
				all := log.take(observe.KindRequest)
				if len(all) != 1 || all[0].Route != want {
					tb.Errorf("process %d: %s has the events %+v, want the route %q", process, target, all, want)
				}
				if status := res.Header.Get("Cache-Status"); process > 0 && !strings.Contains(status, "hit") {
					tb.Errorf("process %d: %s is no hit: %q", process, target, status)
				}
			}
		}
	}
}
