// Package coretest is the conformance suite that every adapter runs, in the
// manner of testing/slogtest. It starts real servers on the loopback
// interface, with a cache in front of handlers that the adapter's test turns
// into its framework's own, and asks them over real connections.
//
//	func TestConformance(t *testing.T) {
//		coretest.Run(t, coretest.Framework{
//			Name:  "chiadapter",
//			New:   func(c *cacheaside.Cache) { chiadapter.New(c) },
//			NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error { _, err := chiadapter.NewPurge(c, a); return err },
//			Serve: serve, // builds a coretest.App with the framework
//		})
//	}
//
// What a framework cannot do is declared in [Framework.Cannot] and shows as a
// skipped case with its reason; a declaration that does not hold fails.
package coretest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// Framework is what an adapter's test tells of itself.
type Framework struct {
	// Name is the package that has the adapter's New.
	Name string
	// New calls the adapter's New.
	New func(*cacheaside.Cache)
	// NewPurge calls the adapter's NewPurge.
	NewPurge func(*cacheaside.Cache, cacheaside.PurgeAccess) error
	// NewInspect calls the adapter's NewInspect.
	NewInspect func(*cacheaside.Cache, *inspect.Recorder, inspect.Access) error
	// Serve builds the app with the framework's own means and serves it on ln
	// until tb ends.
	Serve func(tb testing.TB, app App, ln net.Listener)
	// Streams: what a handler gives to [Ctx].Stream is read when the handler has returned,
	// by the framework, which shows nobody when it is flushed. Then Write sends nothing
	// before the handler returns.
	Streams bool
	// Cannot says why the framework, not the adapter, fails a case. The case
	// runs all the same where that is safe, and must fail.
	Cannot map[string]string
}

// App is a service to be built.
type App struct {
	Outer  []Middleware      // in front of the cache, in this order
	Global *cacheaside.Cache // in front of all routes; nil: none
	Inner  []Middleware      // behind Global
	Group  *cacheaside.Cache // in front of the routes under /group/; nil: none
	Routes []Route
	// Outcome: the adapter's New gets WithOutcome and WithXCache("").
	Outcome bool
	// Spelled: the framework gives names of request fields as they came, if it can.
	Spelled bool
	// Streamed: the framework calls a handler before it has read the content of the
	// request, if it can do otherwise.
	Streamed bool
	// Purge, if not nil, is who may use the handler of NewPurge for Global, behind
	// it and Inner: at [PurgePath] with [PurgeMethods], and with PURGE at /a.
	Purge *cacheaside.PurgeAccess
	// Inspect, if not nil, is for the handler of NewInspect for Global, behind it and
	// Inner: below [InspectPath].
	Inspect *Inspector
	// Entry, if not nil, is to be called with what the adapter's Entry gives for the app.
	Entry func(adapter.Entry)
}

// PurgePath is where an [App] has its handler that purges.
const PurgePath = "/purge"

// PurgeMethods are the methods that it is to be asked with.
var PurgeMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}

// Route is one handler of an [App].
type Route struct {
	// Methods it is registered for; nil: GET and HEAD.
	Methods []string
	// Path is literal, but for a final "*" that stands for the rest. A path
	// that begins with /group/ belongs to the group.
	Path string
	// Cache is in front of this route alone; nil: none.
	Cache *cacheaside.Cache
	Handler
}

// AllMethods gives the methods to register a route for.
func (r Route) AllMethods() []string {
	if r.Methods == nil {
		return []string{http.MethodGet, http.MethodHead}
	}
	return r.Methods
}

// InGroup cuts the group's prefix off the route's path.
func (r Route) InGroup() (rest string, ok bool) {
	rest, ok = strings.CutPrefix(r.Path, "/group/")
	return "/" + rest, ok
}

// Handler answers a request. Frameworks whose handlers return no error must
// have written the answer when Handler returns one: see [Ctx.Error].
type Handler func(Ctx) error

// Middleware runs around a handler.
type Middleware func(c Ctx, next func() error) error

// Ctx is a request and its response, done with the framework's own means.
// [HTTP] does it with those of net/http.
type Ctx interface {
	Context() context.Context
	// Contexts are all that the framework has as a context for the request.
	Contexts() []context.Context
	Method() string
	// Path is all that a handler can know of the path: as it is and as
	// parameter of a route that ends in "*".
	Path() string
	Query(name string) string
	Header(name string) string
	// Cookie is the value of a cookie, empty if there is none.
	Cookie(name string) string
	Body() ([]byte, error)
	// BodyReader reads the body as it comes, where the framework has no more of it.
	BodyReader() io.Reader
	// SetRequestHeader changes a field of the request; an empty value removes it.
	SetRequestHeader(name, value string)

	SetHeader(name, value string)
	AddHeader(name, value string)
	// SpellHeader adds a field under a name as it is, in whatever case.
	SpellHeader(name, value string)
	DelHeader(name string)

	// Send sends a whole answer; an empty contentType leaves the field to the
	// framework.
	Send(status int, contentType string, body []byte) error
	JSON(status int, v any) error
	NoContent(status int) error
	Redirect(status int, location string) error
	// Error is the framework's way to fail: an error for its error handler, or
	// an answer.
	Error(status int, text string) error

	// Status and Write send an answer piece by piece.
	Status(code int)
	Write(p []byte) (int, error)
	// Stream sends an answer while f writes it.
	Stream(status int, contentType string, f func(Stream) error) error
	// EarlyHints sends a 103 with the fields set so far.
	EarlyHints() error
	// Trailer sends a 200 with a trailer field after the body, named in advance
	// or not.
	Trailer(body []byte, name, value string, announced bool) error
	// Hijack gives the connection to f, without any response sent.
	Hijack(f func(net.Conn)) error

	// Late has a middleware, before next, add a field as the header is written.
	Late(name, value string)
	// Written tells a middleware, after next, the answer's status and the bytes
	// of its body.
	Written() (status, size int)
	// Outcome tells a middleware what the adapter's Outcome does.
	Outcome() (cacheaside.Outcome, bool)
}

// Stream is where a streaming handler writes.
type Stream interface {
	io.Writer
	Flush() error
}

type testCase struct {
	name string
	run  func(*run)
	// once: the case brings its own store, or leaves the store out of play
	once bool
	// breaks: where a framework cannot do it, trying ends the process or hangs
	breaks bool
}

func allCases() []testCase {
	return slices.Concat(answerCases, headerCases, flowCases, backgroundCases, waitCases, ruleCases, keyCases, storeCases, hostileCases, purgeCases, matrixCases, foreignCases, edgeCases, observeCases, inspectCases, compressionCases, partCases, streamCases, contentCases, controlCases, warmCases, postCases, searchCases, outcomeCases)
}

// Run runs the suite with the embedded store, and once more with a real
// server.
func Run(t *testing.T, fw Framework) {
	all := allCases()
	known := make(map[string]bool)
	for _, tc := range all {
		if known[tc.name] {
			t.Fatalf("two cases have the name %q", tc.name)
		}
		known[tc.name] = true
	}
	for name := range fw.Cannot {
		if !known[name] {
			t.Errorf("Cannot names %q, which is no case", name)
		}
	}
	var both sync.WaitGroup // at once, for each of them waits a lot
	defer both.Wait()
	both.Go(func() {
		t.Run("memory", func(t *testing.T) {
			inLanes(all, func(tc testCase) {
				t.Run(tc.name, func(t *testing.T) { runCase(t, &fw, tc, nil, "") })
			})
		})
	})
	t.Run("server", func(t *testing.T) {
		addr := storetest.Server(t)
		if !strings.Contains(addr, "://") {
			addr = "redis://" + addr
		}
		store, err := storetest.Patiently(func() (*dragonfly.Store, error) {
			return dragonfly.Open(context.Background(), addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		inLanes(slices.DeleteFunc(slices.Clone(all), func(tc testCase) bool { return tc.once }), func(tc testCase) {
			t.Run(tc.name, func(t *testing.T) { runCase(t, &fw, tc, store, addr) })
		})
	})
}

// inLanes runs a few of the cases at once, for most of them wait.
func inLanes(cases []testCase, f func(testCase)) {
	next := make(chan testCase)
	var lanes sync.WaitGroup
	for range 3 {
		lanes.Go(func() {
			for tc := range next {
				f(tc)
			}
		})
	}
	for _, tc := range cases {
		next <- tc
	}
	close(next)
	lanes.Wait()
}

func runCase(t *testing.T, fw *Framework, tc testCase, server store.Store, addr string) {
	c := &run{TB: t, fw: fw, server: server, addr: addr, Clock: newClock(), namespace: "t-" + randomName()}
	reason, cannot := fw.Cannot[tc.name]
	if !cannot {
		tc.run(c)
		return
	}
	if !tc.breaks {
		c.soft = true
		done := make(chan struct{})
		go func() { // because failing ends the goroutine
			defer close(done)
			tc.run(c)
		}()
		<-done
		if !c.Failed() {
			t.Errorf("declared as impossible (%s), but it works: remove it from Cannot", reason)
			return
		}
	}
	t.Skipf("%s cannot: %s", fw.Name, reason)
}

// run is one run of a case. Where the case is declared as impossible, failures
// are only noted.
type run struct {
	testing.TB
	fw        *Framework
	server    store.Store // nil: the embedded store is under test
	addr      string      // of the server
	namespace string
	Clock     *clock

	soft   bool
	mu     sync.Mutex
	failed bool
}

func (c *run) note() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
	return c.soft
}

// Failed reports whether the case has failed.
func (c *run) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Fail marks the case as failed.
func (c *run) Fail() {
	if !c.note() {
		c.TB.Fail()
	}
}

// FailNow ends the case as failed.
func (c *run) FailNow() {
	if c.note() {
		runtime.Goexit()
	}
	c.TB.FailNow()
}

// Errorf notes a failure.
func (c *run) Errorf(format string, args ...any) {
	if !c.note() {
		c.TB.Helper()
		c.TB.Errorf(format, args...)
	}
}

// Error notes a failure.
func (c *run) Error(args ...any) {
	if !c.note() {
		c.TB.Helper()
		c.TB.Error(args...)
	}
}

// Fatalf notes a failure and ends the case.
func (c *run) Fatalf(format string, args ...any) {
	if c.note() {
		runtime.Goexit()
	}
	c.TB.Helper()
	c.TB.Fatalf(format, args...)
}

// Fatal notes a failure and ends the case.
func (c *run) Fatal(args ...any) { c.Helper(); c.Fatalf("%s", fmt.Sprint(args...)) }

// Cache makes a cache with a TTL of a minute, the suite's clock and the store
// under test, changed by the functions.
func (c *run) Cache(change ...func(*cacheaside.Config)) *cacheaside.Cache {
	c.Helper()
	cfg := cacheaside.Config{
		Store:     c.server,
		Namespace: c.namespace,
		Now:       c.Clock.Now,
		Logger:    slog.New(slog.DiscardHandler),
		Timeouts:  cacheaside.Timeouts{Lookup: 5 * time.Second, Write: 5 * time.Second, Purge: 10 * time.Second},
		Policy:    cacheaside.Policy{TTL: time.Minute},
	}
	for _, f := range change {
		f(&cfg)
	}
	cache, err := cacheaside.New(cfg)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := cache.Close(context.Background()); err != nil {
			c.Errorf("Close: %v", err)
		}
	})
	return cache
}

// Store is a store of the kind under test, for cases that put something in
// between.
func (c *run) Store() store.Store {
	c.Helper()
	if c.server != nil {
		return c.server
	}
	m, err := memory.New(16<<20, memory.WithClock(c.Clock.Now))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = m.Close() })
	return m
}

// With is cache.With, which must not fail.
func (c *run) With(cache *cacheaside.Cache, change func(*cacheaside.Policy)) *cacheaside.Cache {
	c.Helper()
	h, err := cache.With(change)
	if err != nil {
		c.Fatal(err)
	}
	return h
}

// context ends when the case hangs.
func (c *run) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), giveUp)
	c.Cleanup(cancel)
	return ctx
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// newClock starts a clock at the present second: the servers' Date is real.
func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

// Now is for cacheaside.Config.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
