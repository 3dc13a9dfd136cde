package otel_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/otel"
)

// telling says when somebody begins to wait.
type telling struct {
	*otel.Observer
	waits chan struct{}
}

func (o telling) Start(ctx context.Context, s observe.Start) (context.Context, observe.Span) {
	if s.Kind == observe.SpanWait {
		close(o.waits)
	}
	return o.Observer.Start(ctx, s)
}

// TestTracesOfCache: a request waits for what the handler gives to another one, and what
// they got is renewed in the background when it is stale.
func TestTracesOfCache(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	o := telling{must(t, noMetrics(), otel.WithTracerProvider(tp)), make(chan struct{})}
	var later atomic.Int64
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Policy: cacheaside.Policy{TTL: time.Minute}, Observer: o,
		Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	}))
	began, runs := make(chan struct{}), 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, span := tp.Tracer("").Start(r.Context(), "SELECT")
		defer span.End()
		if runs++; runs == 1 {
			close(began)
			<-o.waits
		}
		w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=600")
		_, _ = io.WriteString(w, "user")
	})
	front := otelhttp.NewMiddleware("", otelhttp.WithTracerProvider(tp))
	server := httptest.NewServer(front(nethttp.New(cache)(mux)))
	defer server.Close()
	get := func() {
		res, err := server.Client().Get(server.URL + "/users/1")
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "user" {
			t.Errorf("%d %q", res.StatusCode, b)
		}
	}
	var both sync.WaitGroup
	both.Go(get)
	<-began
	both.Go(get)
	both.Wait()
	later.Store(int64(2 * time.Minute))
	get()
	if err := cache.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var queries, fills, requests []sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		switch s.Name() {
		case "SELECT":
			queries = append(queries, s)
		case "cacheaside fill":
			fills = append(fills, s)
		case "GET /users/{id}":
			requests = append(requests, s)
		}
	}
	wait, refresh := only(t, spans, "cacheaside wait"), only(t, spans, "cacheaside refresh")
	if len(queries) != 2 || len(fills) != 2 || len(requests) != 4 {
		t.Fatalf("%d, %d and %d spans", len(queries), len(fills), len(requests))
	}
	// with finds the request whose span has that attribute; the run in the background,
	// which passes otelhttp as well, has none of ours.
	with := func(attr string) sdktrace.ReadOnlySpan {
		t.Helper()
		for _, s := range requests {
			if strings.Contains(attrs(s)+" ", attr+" ") {
				return s
			}
		}
		t.Fatalf("no span of a request has %s", attr)
		return nil
	}
	miss, collapsed, stale := with("cacheaside.result=miss"), with("cacheaside.result=collapsed"), with("cacheaside.stale=swr")
	in := func(name string, s, parent sdktrace.ReadOnlySpan) {
		t.Helper()
		if s.Parent().SpanID() != parent.SpanContext().SpanID() || s.SpanContext().TraceID() != parent.SpanContext().TraceID() {
			t.Errorf("%s is not in %s", name, parent.Name())
		}
	}
	linked := func(s, to sdktrace.ReadOnlySpan) {
		t.Helper()
		if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID() != to.SpanContext().SpanID() || s.SpanContext().TraceID() == to.SpanContext().TraceID() {
			t.Errorf("%s is not linked to %s, in another trace: %v", s.Name(), to.Name(), l)
		}
	}
	in("the first fill", fills[0], miss)
	in("the first query", queries[0], fills[0])
	in("the wait", wait, collapsed)
	linked(wait, fills[0])
	linked(refresh, stale)
	if refresh.Parent().IsValid() {
		t.Error("the refresh is no root")
	}
	for i, s := range []sdktrace.ReadOnlySpan{queries[1], fills[1]} {
		if s.SpanContext().TraceID() != refresh.SpanContext().TraceID() {
			t.Errorf("span %d of the run in the background is not in the trace of the refresh", i)
		}
	}
	var flights []string
	for _, s := range []sdktrace.ReadOnlySpan{miss, fills[0], wait, collapsed} {
		for _, kv := range s.Attributes() {
			if kv.Key == "cacheaside.flight.id" {
				flights = append(flights, kv.Value.AsString())
			}
		}
	}
	if len(flights) != 4 || len(slices.Compact(flights)) != 1 {
		t.Errorf("the flights of the four spans are %q", flights)
	}
}
