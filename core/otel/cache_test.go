package otel_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCache has otelhttp in front of a real cache.
func TestCache(t *testing.T) {
	mp, collect := meters(t)
	frontMP, collectFront := meters(t)
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	o := must(t, otel.WithMeterProvider(mp), otel.WithTracerProvider(tp))
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}, Observer: o}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "panic" {
			panic(http.ErrAbortHandler)
		}
		_, span := tp.Tracer("").Start(r.Context(), "SELECT")
		span.End()
		_, _ = io.WriteString(w, "user")
	})
	service := otelhttp.NewHandler(nethttp.New(cache)(mux), "", otelhttp.WithMeterProvider(frontMP), otelhttp.WithTracerProvider(tp))
	get := func(path string) {
		t.Helper()
		w := httptest.NewRecorder()
		defer func() {
			if p := recover(); (p != nil) != strings.HasSuffix(path, "panic") {
				t.Errorf("%s: %v", path, p)
			}
		}()
		service.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Body.String() != "user" {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	get("/users/1")
	get("/users/1")
	get("/users/panic")
	if err := cache.Purge(t.Context(), cacheaside.Purge{All: true}); err != nil {
		t.Error(err)
	}
	if err := cache.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}

	got := lines(t, collect())
	for _, want := range []string{
		"misses{cause=cold http.route=/users/{id}} 2",
		"purges{kind=all outcome=ok soft=false} 1",
		"requests{result=error tier=none http.route=/users/{id}} 1",
		"requests{result=hit tier=memory http.route=/users/{id}} 1",
		"requests{result=miss tier=none http.route=/users/{id}} 1",
		"response.body{result=hit} 4",
		"response.body{result=miss} 4",
		"stores{outcome=ok} 1",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("there is no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}

	for _, m := range collectFront().Metrics {
		_, ps := points(t, m)
		for _, p := range ps {
			if v, _ := p.attrs.Value("http.route"); v.AsString() != "/users/{id}" {
				t.Errorf("in front, %s has %s", m.Name, p.attrs.Encoded(nil))
			}
		}
	}

	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name()+" "+s.Status().Code.String())
	}
	// The hit has only the span of otelhttp.
	want := []string{
		"SELECT Unset", "cacheaside fill Unset", "GET /users/{id} Unset", "GET /users/{id} Unset",
		"cacheaside fill Error", "GET Unset", "cacheaside purge Unset",
	}
	if !slices.Equal(names, want) {
		t.Errorf("the spans are %q, want %q", names, want)
	}
}
