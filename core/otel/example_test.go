package otel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace/noop"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	cacheotel "github.com/cacheaside/cacheaside/core/otel"
)

func Example() {
	ctx := context.Background()
	reader := sdkmetric.NewManualReader() // a service has one that exports
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(ctx)

	observer, err := cacheotel.New(cacheotel.WithMeterProvider(provider))
	if err != nil {
		panic(err)
	}
	defer observer.Close()
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}, Observer: observer}))
	defer cache.Close(ctx)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "user ", r.PathValue("id"))
	})
	service := nethttp.New(cache)(mux)
	for range 3 {
		service.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/users/1", nil))
	}

	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &metrics); err != nil {
		panic(err)
	}
	for _, m := range metrics.ScopeMetrics[0].Metrics {
		if m.Name == "cacheaside.requests" {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				fmt.Println(p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
			}
		}
	}
	// Unordered output:
	// cacheaside.result=miss,cacheaside.tier=none,http.route=/users/{id} 1
	// cacheaside.result=hit,cacheaside.tier=memory,http.route=/users/{id} 2
}

// Several caches, no spans.
func ExampleNew() {
	observer, err := cacheotel.New(cacheotel.WithTracerProvider(noop.NewTracerProvider()))
	if err != nil {
		panic(err)
	}
	defer observer.Close()
	pages := cacheaside.Must(cacheaside.New(cacheaside.Config{Namespace: "pages", Observer: observer}))
	defer pages.Close(context.Background())
	feeds := cacheaside.Must(cacheaside.New(cacheaside.Config{Namespace: "feeds", Observer: observer}))
	defer feeds.Close(context.Background())
}
