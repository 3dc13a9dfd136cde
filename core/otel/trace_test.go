package otel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/otel"
)

func noMetrics() otel.Option { return otel.WithMeterProvider(noopmetric.NewMeterProvider()) }

// tracing returns an observer, the tracer provider behind it, and where the spans are.
func tracing(t testing.TB, opts ...otel.Option) (*otel.Observer, *sdktrace.TracerProvider, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	return must(t, append([]otel.Option{noMetrics(), otel.WithTracerProvider(tp)}, opts...)...), tp, spans
}

// attrs are a span's attributes, as name=value.
func attrs(s sdktrace.ReadOnlySpan) string {
	var all []string
	for _, kv := range s.Attributes() {
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestSpanOfRequest(t *testing.T) {
	for _, c := range []struct {
		e    observe.Event
		want string
	}{
		{*hit(context.Background()), "cacheaside.age=1 cacheaside.policy=users cacheaside.result=hit cacheaside.tier=memory cacheaside.ttl=60 http.route=/users/:id"},
		{observe.Event{
			Result: observe.ResultStale, Stale: observe.StaleIfError, Cause: observe.CauseExpired, Tier: observe.TierStore,
			Age: time.Minute, TTL: -1500 * time.Millisecond, Route: "GET /a", FlightID: "f1",
		}, "cacheaside.age=60 cacheaside.cause=expired cacheaside.flight.id=f1 cacheaside.result=stale cacheaside.stale=sie cacheaside.tier=store cacheaside.ttl=-1.5 http.route=/a"},
		{observe.Event{
			Result: observe.ResultMiss, Tier: observe.TierNone, Cause: observe.CauseVary, TTL: time.Minute, Route: observe.Unmatched, Key: "secret",
		}, "cacheaside.cause=vary cacheaside.result=miss cacheaside.tier=none cacheaside.ttl=60"},
		{observe.Event{
			Result: observe.ResultMiss, Tier: observe.TierNone, Cause: observe.CauseCold, NotStored: observe.ReasonPrivate, Route: "a policy", Policy: "a policy",
		}, "cacheaside.cause=cold cacheaside.not_stored=private cacheaside.policy=a policy cacheaside.result=miss cacheaside.tier=none"},
		{observe.Event{Result: observe.ResultBypass, Bypass: observe.ReasonUpgrade, Route: observe.Other}, "cacheaside.bypass=upgrade cacheaside.result=bypass"},
	} {
		o, tp, spans := tracing(t)
		ctx, span := tp.Tracer("").Start(t.Context(), "GET")
		c.e.Kind, c.e.Context = observe.KindRequest, ctx
		o.Observe(&c.e)
		span.End()
		ended := spans.Ended()
		if len(ended) != 1 { // a hit makes none
			t.Fatalf("%d spans", len(ended))
		}
		if got := attrs(ended[0]); got != c.want || ended[0].Status().Code != codes.Unset {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

// only returns the one span of that name.
func only(t testing.TB, spans *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		if s.Name() == name {
			if found != nil {
				t.Fatalf("there are several spans %q", name)
			}
			found = s
		}
	}
	if found == nil {
		t.Fatalf("there is no span %q", name)
	}
	return found
}

// TestFlight: a leader asks the handler, which makes a span of its own, and a request with
// another trace waits for it.
func TestFlight(t *testing.T) {
	o, tp, spans := tracing(t)
	tracer := tp.Tracer("")
	leaderCtx, leader := tracer.Start(t.Context(), "GET leader")
	followerCtx, follower := tracer.Start(t.Context(), "GET follower")

	fillCtx, fill := o.Start(leaderCtx, observe.Start{Kind: observe.SpanFill, FlightID: "token", Route: observe.Unmatched, Policy: "pages", Key: "key"})
	waitCtx, wait := o.Start(followerCtx, observe.Start{Kind: observe.SpanWait, Link: fill.Link(), Route: "/a", Key: "key"})
	_, query := tracer.Start(fillCtx, "SELECT")
	query.End()
	fill.End(&observe.Event{
		Kind: observe.KindHandler, Route: "GET /a", Status: 200, Cause: observe.CauseCold, NotStored: observe.ReasonCookie,
		Result: observe.ResultMiss, FlightID: "token",
	})
	wait.End(&observe.Event{Kind: observe.KindRequest, Waited: observe.WaitShared, Wait: time.Second, FlightID: "token"})
	leader.End()
	follower.End()

	f, w := only(t, spans, "cacheaside fill"), only(t, spans, "cacheaside wait")
	if got, want := attrs(f), "cacheaside.cause=cold cacheaside.flight.id=token cacheaside.mode=foreground cacheaside.not_stored=cookie cacheaside.policy=pages http.response.status_code=200 http.route=/a"; got != want {
		t.Errorf("fill: got %s\nwant %s", got, want)
	}
	if got, want := attrs(w), "cacheaside.flight.id=token cacheaside.outcome=shared http.route=/a"; got != want {
		t.Errorf("wait: got %s\nwant %s", got, want)
	}
	for _, s := range []sdktrace.ReadOnlySpan{f, w} {
		if s.SpanKind() != trace.SpanKindInternal || s.Status().Code != codes.Unset || s.InstrumentationScope().Name != otel.ScopeName {
			t.Errorf("%s: %v %v %v", s.Name(), s.SpanKind(), s.Status(), s.InstrumentationScope())
		}
	}
	if f.Parent().SpanID() != leader.SpanContext().SpanID() || len(f.Links()) != 0 {
		t.Errorf("the fill has the parent %v and %d links", f.Parent(), len(f.Links()))
	}
	if w.Parent().SpanID() != follower.SpanContext().SpanID() || w.SpanContext().TraceID() == f.SpanContext().TraceID() {
		t.Errorf("the wait has the parent %v", w.Parent())
	}
	if len(w.Links()) != 1 || w.Links()[0].SpanContext.SpanID() != f.SpanContext().SpanID() {
		t.Errorf("the wait has the links %v", w.Links())
	}
	if only(t, spans, "SELECT").Parent().SpanID() != f.SpanContext().SpanID() {
		t.Error("the handler's span is not in the fill")
	}
	if trace.SpanContextFromContext(waitCtx).SpanID() != w.SpanContext().SpanID() {
		t.Error("the context of the wait has another span")
	}
}

// TestLateLink: a wait that begins before the fill learns of it at its end; none has two.
func TestLateLink(t *testing.T) {
	o, _, spans := tracing(t)
	_, fill := o.Start(t.Context(), observe.Start{Kind: observe.SpanFill})
	fill.End(nil)
	for i, first := range []any{nil, fill.Link()} {
		for j, last := range []any{nil, "of another tracer", fill.Link()} {
			_, wait := o.Start(t.Context(), observe.Start{Kind: observe.SpanWait, Link: first})
			wait.End(&observe.Event{Kind: observe.KindRequest, Waited: observe.WaitShared, Link: last})
			links, want := spans.Ended()[len(spans.Ended())-1].Links(), 0
			if i == 1 || j == 2 {
				want = 1
			}
			if len(links) != want || want == 1 && links[0].SpanContext.SpanID() != fill.Link().(trace.SpanContext).SpanID() {
				t.Errorf("at first %d, at last %d: %v", i, j, links)
			}
		}
	}
}

// TestRefresh: a refresh is a trace of its own, linked to the request that caused it.
func TestRefresh(t *testing.T) {
	o, tp, spans := tracing(t)
	type key struct{}
	ctx, request := tp.Tracer("").Start(context.WithValue(t.Context(), key{}, "kept"), "GET")
	cause := o.Link(ctx)
	request.End()

	refreshCtx, refresh := o.Start(ctx, observe.Start{Kind: observe.SpanRefresh, Link: cause, Route: "/a", FlightID: "f"})
	if refreshCtx.Value(key{}) != "kept" {
		t.Error("what the context had is lost")
	}
	_, fill := o.Start(refreshCtx, observe.Start{Kind: observe.SpanFill, Route: "/a"})
	fill.End(&observe.Event{Kind: observe.KindHandler, Background: true, Route: "/a", Status: 200})
	refresh.End(&observe.Event{Kind: observe.KindRefresh, Trigger: observe.TriggerSWR, Outcome: observe.OutcomeRenewed, FlightID: "f"})

	r, f := only(t, spans, "cacheaside refresh"), only(t, spans, "cacheaside fill")
	if r.Parent().IsValid() || r.SpanContext().TraceID() == request.SpanContext().TraceID() {
		t.Error("the refresh is in the request's trace")
	}
	if len(r.Links()) != 1 || r.Links()[0].SpanContext.SpanID() != request.SpanContext().SpanID() {
		t.Errorf("the refresh has the links %v", r.Links())
	}
	if f.Parent().SpanID() != r.SpanContext().SpanID() {
		t.Error("the fill is not in the refresh")
	}
	if got, want := attrs(r), "cacheaside.flight.id=f cacheaside.outcome=renewed cacheaside.trigger=swr http.route=/a"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got, want := attrs(f), "cacheaside.mode=background http.response.status_code=200 http.route=/a"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestErrors(t *testing.T) {
	secret := errors.New("WRONGPASS password=hunter2 body=<html>")
	for _, c := range []struct {
		kind        observe.SpanKind
		e           observe.Event
		status      codes.Code
		description string
		errorType   string
	}{
		{observe.SpanFill, observe.Event{Result: observe.ResultError}, codes.Error, "the handler panicked, or gave no response", "error"},
		{observe.SpanFill, observe.Event{Result: observe.ResultMiss, Status: 503}, codes.Error, "", "503"},
		{observe.SpanFill, observe.Event{Result: observe.ResultMiss, Status: 404}, codes.Unset, "", ""},
		{observe.SpanWait, observe.Event{Waited: observe.WaitTimeout}, codes.Unset, "", ""}, // the request goes on
		{observe.SpanRefresh, observe.Event{Outcome: observe.OutcomeError}, codes.Error, "error", "error"},
		{observe.SpanRefresh, observe.Event{Outcome: observe.OutcomeDropped}, codes.Unset, "", ""},
		{observe.SpanPurge, observe.Event{Purge: observe.PurgeURL, Outcome: observe.OutcomeTimeout, Err: secret}, codes.Error, "timeout", "timeout"},
		{observe.SpanPurge, observe.Event{Purge: observe.PurgeTags, Outcome: observe.OutcomeOK}, codes.Unset, "", ""},
	} {
		t.Run(fmt.Sprint(c.kind, " ", c.e.Status, c.e.Outcome), func(t *testing.T) {
			o, _, spans := tracing(t)
			_, span := o.Start(t.Context(), observe.Start{Kind: c.kind})
			c.e.Err = secret
			span.End(&c.e)
			s := only(t, spans, "cacheaside "+c.kind.String())
			if s.Status().Code != c.status || s.Status().Description != c.description {
				t.Errorf("status %v", s.Status())
			}
			if got := attrs(s); strings.Contains(got, "hunter2") || strings.Contains(got, "error.type=") != (c.errorType != "") ||
				!strings.Contains(got, "error.type="+c.errorType) && c.errorType != "" {
				t.Errorf("attributes %s", got)
			}
			if len(s.Events()) != 0 {
				t.Errorf("events %v", s.Events())
			}
		})
	}
}

// TestHandlerPanics: a span ends though what it is of did not, and only once.
func TestHandlerPanics(t *testing.T) {
	o, _, spans := tracing(t)
	func() {
		defer func() { _ = recover() }()
		_, span := o.Start(t.Context(), observe.Start{Kind: observe.SpanFill})
		defer span.End(nil) // a second time
		defer span.End(&observe.Event{Kind: observe.KindHandler, Result: observe.ResultError})
		panic("the handler's")
	}()
	if s := only(t, spans, "cacheaside fill"); s.Status().Code != codes.Error {
		t.Errorf("status %v", s.Status())
	}
}

func TestPurge(t *testing.T) {
	o, tp, spans := tracing(t)
	ctx, parent := tp.Tracer("").Start(t.Context(), "PURGE")
	_, span := o.Start(ctx, observe.Start{Kind: observe.SpanPurge})
	span.End(&observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeTags, Soft: true, Outcome: observe.OutcomeOK})
	parent.End()
	s := only(t, spans, "cacheaside purge")
	if s.Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Error("it is not in the span of who purges")
	}
	if got, want := attrs(s), "cacheaside.kind=tags cacheaside.outcome=ok cacheaside.soft=true"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestKeys(t *testing.T) {
	key := "cacheaside:\xff<script>" + strings.Repeat("x", 8000)
	for _, with := range []bool{false, true} {
		var opts []otel.Option
		if with {
			opts = append(opts, otel.WithKeys())
		}
		o, _, spans := tracing(t, opts...)
		_, span := o.Start(t.Context(), observe.Start{Kind: observe.SpanFill, Key: key, FlightID: "\xfe", Policy: "\xfd"})
		span.End(&observe.Event{Kind: observe.KindHandler, Key: key, FlightID: "\xfe"})
		s := only(t, spans, "cacheaside fill")
		found := false
		for _, kv := range s.Attributes() {
			found = found || kv.Key == "cacheaside.key" && len(kv.Value.AsString()) > 8000
			if !utf8.ValidString(kv.Value.String()) {
				t.Errorf("%s is no text", kv.Key)
			}
		}
		if found != with {
			t.Errorf("with keys %t: %t", with, found)
		}
	}
}

// TestLinks: a link holds no context, and there is none where there is no trace.
func TestLinks(t *testing.T) {
	o, tp, spans := tracing(t)
	if l := o.Link(t.Context()); l != nil {
		t.Errorf("a link to nothing: %v", l)
	}
	ctx, span := tp.Tracer("").Start(t.Context(), "GET")
	span.End()
	if l, ok := o.Link(ctx).(trace.SpanContext); !ok || l.SpanID() != span.SpanContext().SpanID() {
		t.Errorf("%v", o.Link(ctx))
	}
	none := must(t, noMetrics(), noTraces())
	_, off := none.Start(t.Context(), observe.Start{Kind: observe.SpanFill})
	if l := off.Link(); l != nil {
		t.Errorf("a link to a span that is none: %v", l)
	}
	off.End(&observe.Event{Kind: observe.KindHandler})
	for _, l := range []any{nil, "of another tracer", trace.SpanContext{}} {
		_, s := o.Start(t.Context(), observe.Start{Kind: observe.SpanWait, Link: l})
		s.End(&observe.Event{Waited: observe.WaitLeft})
	}
	for _, s := range spans.Ended() {
		if len(s.Links()) != 0 {
			t.Errorf("%s has the links %v", s.Name(), s.Links())
		}
	}
	if _, s := o.Start(t.Context(), observe.Start{Kind: 77}); s == nil {
		t.Error("no span of a kind that is none")
	}
}

// TestNotSampled: what is not sampled has no attributes, but is passed on.
func TestNotSampled(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.NeverSample()))
	o := must(t, noMetrics(), otel.WithTracerProvider(tp))
	ctx, span := o.Start(t.Context(), observe.Start{Kind: observe.SpanFill})
	span.End(&observe.Event{Kind: observe.KindHandler, Result: observe.ResultError})
	if sc := trace.SpanContextFromContext(ctx); !sc.IsValid() || sc.IsSampled() || span.Link() == nil || len(spans.Ended()) != 0 {
		t.Errorf("%v, %d spans", sc, len(spans.Ended()))
	}
}

func TestLabeler(t *testing.T) {
	o, _, _ := tracing(t)
	observed := func(route string, before ...attribute.KeyValue) []attribute.KeyValue {
		l := new(otelhttp.Labeler)
		l.Add(before...)
		e := hit(otelhttp.ContextWithLabeler(t.Context(), l))
		e.Route = route
		o.Observe(e)
		return l.Get()
	}
	route := attribute.String("http.route", "/a/{id}")
	if got := observed("GET /a/{id}"); !slices.Equal(got, []attribute.KeyValue{route}) {
		t.Errorf("got %v", got)
	}
	own := attribute.String("http.route", "/own")
	if got := observed("/a/{id}", own); !slices.Equal(got, []attribute.KeyValue{own}) {
		t.Errorf("over what the service says: %v", got)
	}
	for _, none := range []string{observe.Unmatched, observe.Other, "a policy"} {
		if got := observed(none); len(got) != 0 {
			t.Errorf("%s: %v", none, got)
		}
	}
}

// TestOtelhttp: otelhttp in front has the route once, from the pattern that ServeMux has
// chosen where there is one, and else from the observer.
func TestOtelhttp(t *testing.T) {
	for _, pattern := range []string{"", "GET example.com/of/mux"} {
		p, collect := meters(t)
		o, tp, spans := tracing(t)
		h := otelhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r.Pattern = pattern
			e := hit(r.Context())
			e.Route = "/of/cache"
			o.Observe(e)
		}), "", otelhttp.WithMeterProvider(p), otelhttp.WithTracerProvider(tp))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		want := "/of/cache"
		if pattern != "" {
			want = "/of/mux"
		}
		for _, m := range collect().Metrics {
			if m.Name != "http.server.request.duration" {
				continue
			}
			_, ps := points(t, m)
			if v, _ := ps[0].attrs.Value("http.route"); len(ps) != 1 || v.AsString() != want {
				t.Errorf("pattern %q: %v", pattern, ps)
			}
		}
		if got := attrs(spans.Ended()[0]); !strings.Contains(got, "http.route=/of/cache") || !strings.Contains(got, "cacheaside.result=hit") {
			t.Errorf("pattern %q: %s", pattern, got)
		}
	}
}
