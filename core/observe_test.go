package cacheaside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// told keeps events, and is an Attacher and a Tracer.
type told struct {
	mu     sync.Mutex
	events []observe.Event
	spans  []*toldSpan
	source observe.Source
}

func (o *told) Observe(e *observe.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := *e
	one.Key = strings.Clone(e.Key)
	o.events = append(o.events, one)
}

func (o *told) Attach(s observe.Source) { o.source = s }

// of returns the events of a kind.
func (o *told) of(kind observe.Kind) (all []observe.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// last returns the latest event of a kind.
func (o *told) last(kind observe.Kind) observe.Event {
	if all := o.of(kind); len(all) > 0 {
		return all[len(all)-1]
	}
	return observe.Event{}
}

func observedBy(o observe.Observer) func(*cacheaside.Config) {
	return func(c *cacheaside.Config) { c.Observer = o }
}

// TestReasons: whatever Cache-Status can say, an event can.
func TestReasons(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"adapter/exchange.go", "internal/httprules/judge.go"} {
		files = append(files, filepath.FromSlash(more))
	}
	causes := map[string]bool{ // of a miss, or of a hit, which have fields of their own
		"purged": true, "lost": true, "corrupt": true, "store-error": true, "breaker": true,
		"near": true, "no-vary-search": true, "stale-while-revalidate": true, "stale-if-error": true, "soft-timeout": true,
		"other-validator": true, "only-if-cached": true,
	}
	n := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			value, ok := spec.Values[0].(*ast.BasicLit)
			id := spec.Names[0].Name
			if !ok || value.Kind != token.STRING || !strings.HasPrefix(id, "detail") && !strings.HasPrefix(strings.ToLower(id), "reason") {
				return true
			}
			text, _ := strconv.Unquote(value.Value)
			n++
			if r := observe.ReasonOf(text); !causes[text] && (r == observe.ReasonOther || r.String() != text) {
				t.Errorf("%s, %s: %q is no observe.Reason", name, id, text)
			}
			return true
		})
	}
	if n < 40 {
		t.Errorf("only %d reasons were found", n)
	}
}

// TestCauses: what no server can be made to do at will.
func TestCauses(t *testing.T) {
	o := new(told)
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, observedBy(o), func(c *cacheaside.Config) {
		c.Breaker.Failures = -1
	})
	cause := func(what, status string, want observe.Cause) {
		t.Helper()
		r := s.get("/x")
		if got := o.last(observe.KindRequest); got.Cause != want {
			t.Errorf("%s: the cause is %s, want %s", what, got.Cause, want)
		}
		wantStatus(t, r, status)
	}
	cause("nothing stored", "fwd=miss; ttl=30; stored", observe.CauseCold)
	cause("stored", "hit", 0)
	s.clock.Advance(31 * time.Second)
	cause("gone in its time", "fwd=miss; ttl=30; stored", observe.CauseExpired)
	if err := s.store.Store.Delete(t.Context(), o.last(observe.KindRequest).Key); err != nil {
		t.Fatal(err)
	}
	cause("evicted", "stored; detail=lost", observe.CauseLost)
	if err := s.store.Store.Set(t.Context(), o.last(observe.KindRequest).Key, []byte("no entry of ours, but long enough to be looked at"), time.Minute); err != nil {
		t.Fatal(err)
	}
	cause("overwritten", "stored; detail=corrupt", observe.CauseCorrupt)
	if err := s.cache.PurgeURL(t.Context(), "http://example.com/x"); err != nil {
		t.Fatal(err)
	}
	cause("purged", "stored; detail=purged", observe.CausePurged)
	s.store.get = func(context.Context, string) ([]byte, bool, error) { return nil, false, errors.New("down") }
	cause("down", "fwd=miss", observe.CauseStoreError)
	s.store.get = nil
	cause("up again", "hit", 0)
	if e := o.of(observe.KindStoreCall); len(e) == 0 {
		t.Error("no call of the store was told of")
	} else {
		outcomes := map[string]int{}
		for _, e := range e {
			outcomes[e.Op.String()+" "+e.Outcome.String()]++
		}
		if outcomes["get error"] == 0 || outcomes["get ok"] == 0 || outcomes["set ok"] == 0 {
			t.Errorf("calls: %v", outcomes)
		}
	}
}

// TestStoreOutcomes: what becomes of a response that may be stored.
func TestStoreOutcomes(t *testing.T) {
	for want, fail := range map[observe.Outcome]error{
		observe.OutcomeOK:      nil,
		observe.OutcomeRefused: fmt.Errorf("full: %w", store.ErrRefused),
		observe.OutcomeDropped: fmt.Errorf("slow: %w", store.ErrSlow),
		observe.OutcomeError:   errors.New("down"),
	} {
		o := new(told)
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, observedBy(o))
		s.store.set = func(context.Context) error { return fail }
		s.get("/x")
		if e := o.last(observe.KindStore); e.Outcome != want || !errors.Is(e.Err, fail) || e.StoredBytes == 0 || e.TTL != 30*time.Second {
			t.Errorf("%v: %+v", want, e)
		}
		if e := o.last(observe.KindRequest); e.NotStored != 0 || e.StoredBytes == 0 {
			t.Errorf("%v: the request: %+v", want, e)
		}
	}
}

// TestNoRoom: a response for which there is no room among the writes is told of.
func TestNoRoom(t *testing.T) {
	o := new(told)
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, observedBy(o), func(c *cacheaside.Config) {
		c.Background.WriteBuffer = 1
	})
	gate := make(chan struct{})
	s.store.set = func(context.Context) error { <-gate; return nil }
	for _, path := range []string{"/first", "/second"} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	if e := o.last(observe.KindStore); e.Outcome != observe.OutcomeDropped {
		t.Errorf("the second write: %+v", e)
	}
	if e := o.last(observe.KindRequest); e.NotStored != observe.ReasonStoreBusy {
		t.Errorf("the second request: %+v", e)
	}
	if g := o.source.Gauges(); g.WriteBuffer == 0 {
		t.Errorf("gauges %+v", g)
	}
	close(gate)
	if err := s.cache.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g := o.source.Gauges(); g.WriteBuffer != 0 {
		t.Errorf("gauges %+v", g)
	}
}

// TestBreakerEvents: the breaker opens and closes, and is a cause meanwhile.
func TestBreakerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(told)
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, observedBy(o), func(c *cacheaside.Config) {
			c.Breaker = cacheaside.Breaker{Failures: 2, Pause: time.Second}
			c.Timeouts.Lookup = 10 * time.Millisecond
		})
		s.store.get = func(context.Context, string) ([]byte, bool, error) { return nil, false, errors.New("down") }
		s.store.set = func(context.Context) error { return errors.New("down") }
		for range 3 {
			s.get("/x")
			time.Sleep(20 * time.Millisecond)
		}
		wantStatus(t, s.get("/x"), "fwd=miss; detail=store-failed")
		if e := o.last(observe.KindRequest); e.Cause != observe.CauseBreaker || e.NotStored != observe.ReasonStoreFailed {
			t.Errorf("while it is open: %+v", e)
		}
		if e := o.of(observe.KindBreaker); len(e) != 1 || e[0].Outcome != observe.OutcomeOpened {
			t.Errorf("it has opened: %+v", e)
		}
		if g := o.source.Gauges(); !g.BreakerOpen || g.CallsSpared == 0 {
			t.Errorf("gauges %+v", g)
		}
		s.store.mu.Lock()
		s.store.get, s.store.set = nil, nil
		s.store.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if e := o.last(observe.KindBreaker); e.Outcome != observe.OutcomeClosed || o.source.Gauges().BreakerOpen {
			t.Errorf("it has closed: %+v", e)
		}
		if err := s.cache.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestManyRoutes: whatever a service names its routes, there are few in events.
func TestManyRoutes(t *testing.T) {
	o := new(told)
	s := newService(t, func(_ http.ResponseWriter, r *http.Request) { r.Pattern = r.URL.Path }, observedBy(o))
	const n = 1500
	for i := range n {
		s.get(fmt.Sprintf("/route/%d", i))
	}
	names := map[string]int{}
	for _, e := range o.of(observe.KindRequest) {
		names[e.Route]++
	}
	if len(names) != observe.MaxRoutes+1 || names[observe.Other] != n-observe.MaxRoutes {
		t.Errorf("%d names, %d times %s", len(names), names[observe.Other], observe.Other)
	}
	if beyond := o.source.Gauges().RoutesBeyond; beyond < n-observe.MaxRoutes {
		t.Errorf("%d beyond", beyond)
	}
}

// TestHostileRoutes: what a service calls its routes is fit to be shown, and short.
func TestHostileRoutes(t *testing.T) {
	for name, want := range map[string]string{
		"GET /users/{id}":               "/users/{id}",
		"GET example.com/users":         "example.com/users",
		"/with space/{x}":               "/with space/{x}",
		"bad\xff":                       "bad\uFFFD",
		"/" + strings.Repeat("a", 9000): "/" + strings.Repeat("a", 127) + "…",
	} {
		o := new(told)
		s := newService(t, func(_ http.ResponseWriter, r *http.Request) { r.Pattern = name }, observedBy(o))
		s.get("/x")
		if got := o.last(observe.KindRequest).Route; got != want {
			t.Errorf("%.60q is called %.60q, want %.60q", name, got, want)
		}
	}
}

// TestPolicyName: it tells handles apart, and stands in for a route.
func TestPolicyName(t *testing.T) {
	o := new(told)
	s := newService(t, func(http.ResponseWriter, *http.Request) {}, observedBy(o), func(c *cacheaside.Config) { c.Policy.Name = "pages" })
	s.get("/x")
	if e := o.last(observe.KindRequest); e.Policy != "pages" || e.Route != "pages" {
		t.Errorf("policy %q, route %q", e.Policy, e.Route)
	}
	if _, err := s.cache.With(func(p *cacheaside.Policy) { p.Name = "<b>" }); err == nil || !strings.Contains(err.Error(), "Policy.Name") {
		t.Errorf("a bad name: %v", err)
	}
}

// TestObserverPanic: it is told of once.
func TestObserverPanic(t *testing.T) {
	var log bytes.Buffer
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") },
		observedBy(observe.Func(func(*observe.Event) { panic("of the observer") })),
		func(c *cacheaside.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		if r := s.get("/x"); r.StatusCode != http.StatusOK || body(r) != "x" {
			t.Errorf("status %d", r.StatusCode)
		}
	}
	if n := strings.Count(log.String(), "of the observer"); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, log.String())
	}
}

type toldSpan struct {
	o     *told
	start observe.Start
	in    any // the span that its context has
	end   *observe.Event
}

type spanKey struct{}

func (o *told) Start(ctx context.Context, s observe.Start) (context.Context, observe.Span) {
	span := &toldSpan{o: o, start: s, in: ctx.Value(spanKey{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans = append(o.spans, span)
	return context.WithValue(ctx, spanKey{}, span), span
}

func (o *told) Link(ctx context.Context) any { return ctx.Value(spanKey{}) }

func (s *toldSpan) Link() any { return s }

func (s *toldSpan) End(e *observe.Event) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.end != nil {
		panic("a span has ended twice")
	}
	one := *e
	s.end = &one
}

// of returns the spans of a kind, all of which have ended.
func (o *told) spansOf(t *testing.T, kind observe.SpanKind, want int) (all []*toldSpan) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		if s.start.Kind == kind {
			all = append(all, s)
			if s.end == nil {
				t.Errorf("a span of a %s has not ended", kind)
			}
		}
	}
	if len(all) != want {
		t.Fatalf("%d spans of a %s, want %d", len(all), kind, want)
	}
	return all
}

// TestSpans: those who wait are linked to the fill, whose handler is within it; a hit
// makes none.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(told)
		m, err := memory.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		var inHandler any
		s := newService(t, func(w http.ResponseWriter, r *http.Request) {
			inHandler = r.Context().Value(spanKey{})
			time.Sleep(time.Second)
			if r.URL.Path == "/panics" {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, "x")
		}, observedBy(o), func(c *cacheaside.Config) { c.Store, c.Now = m, nil; c.Policy.Name = "pages" })
		const n = 4
		var all sync.WaitGroup
		for range n {
			all.Go(func() { s.get("/x") })
		}
		all.Wait()
		s.get("/x")
		fill := o.spansOf(t, observe.SpanFill, 1)[0]
		if inHandler != any(fill) || fill.in != nil || fill.start.Policy != "pages" || fill.end.Kind != observe.KindHandler || fill.end.Total != time.Second || fill.start.Key == "" {
			t.Errorf("the fill %+v, %+v; the handler was in %v", fill.start, fill.end, inHandler)
		}
		for _, w := range o.spansOf(t, observe.SpanWait, n-1) {
			if w.start.Link != any(fill) && w.end.Link != any(fill) {
				t.Errorf("a wait is not linked to the fill: %+v", w.start)
			}
			if w.end.Waited != observe.WaitShared || w.end.Wait != time.Second || w.end.FlightID != fill.end.FlightID || w.end.FlightID == "" {
				t.Errorf("a wait ended with %+v", w.end)
			}
		}
		for _, e := range o.of(observe.KindRequest) {
			switch {
			case e.Result == observe.ResultCollapsed && (e.Wait != time.Second || e.Total != time.Second || e.Handler != 0 || e.Saved != time.Second):
				t.Errorf("one that waited: %+v", e)
			case e.Result == observe.ResultMiss && (e.Handler != time.Second || e.Wait != 0):
				t.Errorf("one that did not: %+v", e)
			case e.Result == observe.ResultHit && (e.Saved != time.Second || e.Total != 0):
				t.Errorf("one that came later: %+v", e)
			}
		}
		func() {
			defer func() { _ = recover() }()
			s.get("/panics")
		}()
		if p := o.spansOf(t, observe.SpanFill, 2)[1]; p.end.Result != observe.ResultError || p.end.Total != time.Second {
			t.Errorf("the fill that panicked ended with %+v", p.end)
		}
		ctx := context.WithValue(t.Context(), spanKey{}, "who purges")
		if err := s.cache.PurgeTags(ctx, "news"); err != nil {
			t.Error(err)
		}
		if p := o.spansOf(t, observe.SpanPurge, 1)[0]; p.in != "who purges" || p.end.Outcome != observe.OutcomeOK || p.end.Purge != observe.PurgeTags {
			t.Errorf("the purge %+v", p)
		}
	})
}

// TestUnobserved: an observer that is not there costs no allocation, and a hit with one
// allocates no more.
func TestUnobserved(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	allocs := func(change ...func(*cacheaside.Config)) float64 {
		m, err := memory.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, append(change, func(c *cacheaside.Config) { c.Store, c.Now = m, nil })...)
		s.get("/x")
		return leastAllocs(func() { s.get("/x") })
	}
	n := 0
	if off, on := allocs(), allocs(observedBy(observe.Func(func(*observe.Event) { n++ }))); on > off || n < 200 {
		t.Errorf("a hit allocates %v times, with an observer %v times; %d events", off, on, n)
	}
}
