package prom_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/prom"
)

func ExampleNew() {
	registry := prometheus.NewRegistry()
	metrics, err := prom.New(registry)
	if err != nil {
		log.Fatal(err)
	}
	cache, err := cacheaside.New(cacheaside.Config{Observer: metrics, Policy: cacheaside.Policy{TTL: time.Minute}})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(context.Background())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "blog ", r.PathValue("id"))
	})
	service := nethttp.New(cache)(mux)
	admin := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})

	for _, path := range []string{"/blogs/1", "/blogs/1", "/blogs/2", "/blogs/1"} {
		service.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}

	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "cacheaside_requests_total") || strings.HasPrefix(lines.Text(), "cacheaside_misses_total") {
			fmt.Println(lines.Text())
		}
	}
	// Output:
	// cacheaside_misses_total{cause="cold",route="/blogs/{id}"} 2
	// cacheaside_requests_total{result="hit",route="/blogs/{id}",tier="memory"} 2
	// cacheaside_requests_total{result="miss",route="/blogs/{id}",tier="none"} 2
}

// One Metrics adds several caches up. To tell them apart, give each its own with a label.
func ExampleNew_severalCaches() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"pages", "api"} {
		metrics, err := prom.New(prometheus.WrapRegistererWith(prometheus.Labels{"cache": name}, registry))
		if err != nil {
			log.Fatal(err)
		}
		cache, err := cacheaside.New(cacheaside.Config{Observer: metrics, Namespace: name})
		if err != nil {
			log.Fatal(err)
		}
		defer cache.Close(context.Background())
	}

	families, _ := registry.Gather()
	for _, family := range families {
		if family.GetName() == "cacheaside_breaker_open" {
			for _, metric := range family.GetMetric() {
				fmt.Println(metric.GetLabel()[0].GetValue(), metric.GetGauge().GetValue())
			}
		}
	}
	// Output:
	// api 0
	// pages 0
}

// Each observation of a request in a sampled trace gets an exemplar. With OpenTelemetry:
//
//	func(ctx context.Context) prometheus.Labels {
//		if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
//			return prometheus.Labels{"trace_id": span.TraceID().String()}
//		}
//		return nil
//	}
func ExampleWithExemplars() {
	type traceID struct{}
	metrics, err := prom.New(prometheus.NewRegistry(), prom.WithExemplars(func(ctx context.Context) prometheus.Labels {
		if id, sampled := ctx.Value(traceID{}).(string); sampled {
			return prometheus.Labels{"trace_id": id}
		}
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	cache, err := cacheaside.New(cacheaside.Config{Observer: metrics})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(context.Background())
}
