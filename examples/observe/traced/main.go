// Command traced serves a slow page, cached, and writes the spans of OpenTelemetry to a
// file. Two of them on one server show one trace of a miss that both were asked for.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	cacheotel "github.com/cacheaside/cacheaside/core/otel"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

type options struct {
	server.Options
	name    string        // of the process in its spans
	spans   string        // file; empty: standard output
	origin  string        // what the handler asks; empty: nothing, it takes its time
	latency time.Duration // of the handler without an origin
}

func main() {
	var o options
	flags := o.Flags(time.Minute)
	server.Add(flags, &o.name, "name", "TRACED_NAME", "traced", "service.instance.id of this process", server.Text)
	server.Add(flags, &o.spans, "spans", "SPANS", "", "file that gets a line of JSON for each span (empty: standard output)", server.Text)
	server.Add(flags, &o.origin, "origin", "ORIGIN", "", "URL that the handler asks (empty: none, it takes -latency)", originURL)
	server.Add(flags, &o.latency, "latency", "LATENCY", 3*time.Second, "how long the handler takes without -origin", server.Duration)
	server.Main(flags, func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	out := io.Writer(os.Stdout)
	if o.spans != "" {
		f, err := os.OpenFile(o.spans, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("flag -spans: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(out))
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(begun{}),
		sdktrace.WithSyncer(exporter), // a service takes WithBatcher
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("traced"), semconv.ServiceInstanceID(o.name))),
	)
	defer func() { err = errors.Join(err, provider.Shutdown(context.WithoutCancel(ctx))) }()
	observer, err := cacheotel.New(cacheotel.WithTracerProvider(provider))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, observer.Close()) }()
	operating, err := o.Operating()
	if err != nil {
		return err
	}

	store, err := o.OpenStore(ctx)
	if err != nil {
		return err
	}
	cache, err := cacheaside.New(o.Config(cacheaside.Config{Store: store, Observer: observe.All(observer, operating.Observer())}))
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer server.Close(cache, store)
	if err := operating.Serve(ctx, cache); err != nil {
		return err
	}

	tracing := []otelhttp.Option{otelhttp.WithTracerProvider(provider), otelhttp.WithPropagators(propagation.TraceContext{})}
	client := &http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport, tracing...)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pages/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := o.work(r.Context(), client); err != nil {
			http.Error(w, "the origin failed", http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintf(w, "page %s, made by %s\n", r.PathValue("id"), o.name)
	})
	srv := &http.Server{
		Handler:           otelhttp.NewHandler(nethttp.New(cache)(mux), "", tracing...),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return o.Serve(ctx, srv.Serve, srv.Shutdown)
}

// work is what the handler does: it asks the origin, or waits.
func (o *options) work(ctx context.Context, client *http.Client) error {
	if o.origin == "" {
		select {
		case <-time.After(o.latency):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.origin, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// begun logs each span when it begins; the exporter is told at its end.
type begun struct{}

func (begun) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	slog.Info("begins", "span", s.Name())
}

func (begun) OnEnd(sdktrace.ReadOnlySpan)      {}
func (begun) Shutdown(context.Context) error   { return nil }
func (begun) ForceFlush(context.Context) error { return nil }

func originURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("not a URL such as http://localhost:9000")
	}
	return s, nil
}
