package prom_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/prom"
)

// hit is the event of most requests.
func hit() *observe.Event {
	return &observe.Event{
		Kind: observe.KindRequest, Context: context.Background(), Total: 80 * time.Microsecond, Age: 12345 * time.Millisecond,
		Route: "/articles/:id", Result: observe.ResultHit, Tier: observe.TierNear, Method: observe.MethodGet, Status: 200,
		Saved: 34567 * time.Microsecond, BodyBytes: 4321,
	}
}

func sampled(context.Context) prometheus.Labels {
	return prometheus.Labels{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
}

// What an event costs the request that it tells of.
func BenchmarkObserve(b *testing.B) {
	miss := hit()
	miss.Result, miss.Tier, miss.Cause, miss.NotStored, miss.Saved = observe.ResultMiss, observe.TierNone, observe.CauseCold, observe.ReasonNoStore, 0
	handler := &observe.Event{Kind: observe.KindHandler, Route: "/articles/:id", Total: 34567 * time.Microsecond}
	call := &observe.Event{Kind: observe.KindStoreCall, Op: observe.OpGet, Outcome: observe.OutcomeOK, Total: 234 * time.Microsecond}
	beyond := hit()
	beyond.Route = "/one too many"
	for _, bench := range []struct {
		name string
		e    *observe.Event
		opts []prom.Option
	}{
		{"hit", hit(), nil},
		{"hit/not sampled", hit(), []prom.Option{prom.WithExemplars(func(context.Context) prometheus.Labels { return nil })}},
		{"hit/sampled", hit(), []prom.Option{prom.WithExemplars(sampled)}},
		{"hit/route beyond", beyond, nil},
		{"miss", miss, nil},
		{"handler", handler, nil},
		{"store call", call, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := newMetrics(b, prometheus.NewRegistry(), bench.opts...)
			fillRoutes(m)
			b.ReportAllocs()
			for n := time.Duration(0); b.Loop(); n++ {
				bench.e.Total = 50*time.Microsecond + n%1000*time.Microsecond
				m.Observe(bench.e)
			}
		})
	}
	b.Run("hit/parallel", func(b *testing.B) {
		m := newMetrics(b, prometheus.NewRegistry())
		fillRoutes(m)
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for e := hit(); p.Next(); {
				m.Observe(e)
			}
		})
	})
}

// fillRoutes takes all routes that there may be.
func fillRoutes(m *prom.Metrics) {
	m.Observe(hit())
	for n := range observe.MaxRoutes {
		e := hit()
		e.Route = fmt.Sprintf("/api/v1/resource%d/:id", n)
		m.Observe(e)
	}
}

// everything makes all series that there may be: each route has had each answer, each
// cause of a miss and each reason not to store, which no real service has.
func everything(m *prom.Metrics) {
	routes := []string{observe.Other, observe.Unmatched}
	for n := range observe.MaxRoutes {
		routes = append(routes, fmt.Sprintf("/api/v1/resource%d/:id", n))
	}
	request := func(route string, set func(*observe.Event)) {
		e := hit()
		e.Route, e.Result, e.Tier = route, observe.ResultMiss, observe.TierNone
		set(e)
		m.Observe(e)
	}
	for _, route := range routes {
		for result := observe.ResultHit; result.String() != ""; result++ {
			for tier := observe.TierMemory; tier.String() != ""; tier++ {
				if (result <= observe.ResultRevalidated) != (tier < observe.TierNone) {
					continue // these three come from a tier, the others from none
				}
				request(route, func(e *observe.Event) { e.Result, e.Tier = result, tier })
			}
		}
		for cause := observe.CauseCold; cause.String() != ""; cause++ {
			request(route, func(e *observe.Event) { e.Cause = cause })
		}
		for reason := observe.ReasonOther; reason.String() != ""; reason++ {
			if reason >= observe.ReasonNoFreshness || reason == observe.ReasonOther {
				request(route, func(e *observe.Event) { e.NotStored = reason })
			}
			if reason < observe.ReasonNoFreshness {
				request(route, func(e *observe.Event) { e.Result, e.Bypass = observe.ResultBypass, reason })
			}
		}
		for n := range 32 { // over five powers of two
			took := time.Millisecond << (n / 6)
			took += took * time.Duration(n%6) / 6
			m.Observe(&observe.Event{Kind: observe.KindHandler, Route: route, Total: took})
			m.Observe(&observe.Event{Kind: observe.KindHandler, Route: route, Total: took, Background: true})
		}
	}
	for wait := observe.WaitShared; wait.String() != ""; wait++ {
		request(routes[0], func(e *observe.Event) { e.Wait, e.Waited = time.Millisecond, wait })
	}
	for outcome := observe.OutcomeOK; outcome.String() != ""; outcome++ {
		m.Observe(&observe.Event{Kind: observe.KindStore, Outcome: outcome})
		for trigger := observe.TriggerSWR; trigger.String() != ""; trigger++ {
			m.Observe(&observe.Event{Kind: observe.KindRefresh, Trigger: trigger, Outcome: outcome})
		}
		for kind := observe.PurgeTags; kind.String() != ""; kind++ {
			m.Observe(&observe.Event{Kind: observe.KindPurge, Purge: kind, Outcome: outcome})
			m.Observe(&observe.Event{Kind: observe.KindPurge, Purge: kind, Outcome: outcome, Soft: true})
		}
	}
	for _, outcome := range []observe.Outcome{observe.OutcomeOK, observe.OutcomeTimeout, observe.OutcomeError} {
		for op := observe.OpGet; op.String() != ""; op++ {
			m.Observe(&observe.Event{Kind: observe.KindStoreCall, Op: op, Outcome: outcome, Total: time.Millisecond})
		}
	}
}

// typical makes the series of a large service: 256 routes, each with a near tier and a
// store behind it, a few causes and reasons.
func typical(m *prom.Metrics) {
	for n := range observe.MaxRoutes {
		e := hit()
		e.Route = fmt.Sprintf("/api/v1/resource%d/:id", n)
		m.Observe(e)
		e.Tier = observe.TierStore
		m.Observe(e)
		e.Result, e.Tier, e.Saved = observe.ResultMiss, observe.TierNone, 0
		for _, cause := range []observe.Cause{observe.CauseCold, observe.CauseExpired, observe.CausePurged} {
			e.Cause = cause
			m.Observe(e)
		}
		e.NotStored = observe.ReasonStatus
		m.Observe(e)
		for n := range 32 {
			took := time.Millisecond << (n / 6)
			m.Observe(&observe.Event{Kind: observe.KindHandler, Route: e.Route, Total: took + took*time.Duration(n%6)/6})
		}
	}
}

// discard is a client that reads fast.
type discard struct {
	io.Writer
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

// What a scrape takes, of all series there can be and of those of a large service.
func BenchmarkScrape(b *testing.B) {
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	for _, series := range []struct {
		name string
		fill func(*prom.Metrics)
		opts []prom.Option
	}{
		{"all", everything, nil},
		{"large", typical, nil},
	} {
		reg := prometheus.NewRegistry()
		m := newMetrics(b, reg, series.opts...)
		series.fill(m)
		h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
		for _, format := range []struct{ name, accept, encoding string }{
			{"text", "text/plain", ""},
			{"openmetrics", "application/openmetrics-text; version=1.0.0", ""},
			{"protobuf", protobuf, ""},
			{"text,gzip", "text/plain", "gzip"},
		} {
			b.Run(series.name+"/"+format.name, func(b *testing.B) {
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				r.Header.Set("Accept", format.accept)
				r.Header.Set("Accept-Encoding", format.encoding)
				w := &discard{header: http.Header{}}
				b.ReportAllocs()
				scrapes := 0
				for ; b.Loop(); scrapes++ {
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.n)/float64(scrapes), "B/scrape")
			})
		}
	}
}
