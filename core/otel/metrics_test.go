package otel_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	globalotel "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/otel"
	"github.com/cacheaside/cacheaside/core/store"
)

var update = flag.Bool("update", false, "write the golden file")

// meters returns a meter provider whose metrics collect reads.
func meters(t testing.TB) (p *sdkmetric.MeterProvider, collect func() metricdata.ScopeMetrics) {
	t.Helper()
	r := sdkmetric.NewManualReader()
	p = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r), sdkmetric.WithCardinalityLimit(0))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return p, func() metricdata.ScopeMetrics {
		t.Helper()
		var all metricdata.ResourceMetrics
		if err := r.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		switch len(all.ScopeMetrics) {
		case 0:
			return metricdata.ScopeMetrics{}
		case 1:
			return all.ScopeMetrics[0]
		}
		t.Fatalf("%d scopes", len(all.ScopeMetrics))
		return metricdata.ScopeMetrics{}
	}
}

// point is a data point of a metric; of a histogram the value is the sum.
type point struct {
	attrs     attribute.Set
	value     float64
	count     uint64
	exemplars int
}

// points returns what kind of instrument m is from, and its points.
func points(t testing.TB, m metricdata.Metrics) (kind string, all []point) {
	t.Helper()
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			all = append(all, point{p.Attributes, float64(p.Value), 1, len(p.Exemplars)})
		}
		return sumKind(d.IsMonotonic), all
	case metricdata.Sum[float64]:
		for _, p := range d.DataPoints {
			all = append(all, point{p.Attributes, p.Value, 1, len(p.Exemplars)})
		}
		return sumKind(d.IsMonotonic), all
	case metricdata.Histogram[int64]: // of otelhttp
		for _, p := range d.DataPoints {
			all = append(all, point{p.Attributes, float64(p.Sum), p.Count, len(p.Exemplars)})
		}
		return "histogram", all
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			all = append(all, point{p.Attributes, p.Sum, p.Count, len(p.Exemplars)})
			kind = fmt.Sprint("histogram ", p.Bounds)
		}
		return kind, all
	}
	t.Fatalf("%s is a %T", m.Name, m.Data)
	return "", nil
}

func sumKind(rises bool) string {
	if rises {
		return "counter"
	}
	return "up-down counter"
}

// lines are all points but those that are zero, as name{attributes} value.
func lines(t testing.TB, s metricdata.ScopeMetrics) []string {
	t.Helper()
	var all []string
	for _, m := range s.Metrics {
		_, ps := points(t, m)
		for _, p := range ps {
			if p.value == 0 {
				continue
			}
			var attrs []string
			for _, kv := range p.attrs.ToSlice() {
				attrs = append(attrs, strings.TrimPrefix(string(kv.Key), "cacheaside.")+"="+kv.Value.String())
			}
			all = append(all, fmt.Sprintf("%s{%s} %g", strings.TrimPrefix(m.Name, "cacheaside."), strings.Join(attrs, " "), p.value))
		}
	}
	sort.Strings(all)
	return all
}

// source is a cache that says what it is told to.
type source observe.Gauges

func (s source) Gauges() observe.Gauges { return observe.Gauges(s) }

func aSource() source {
	return source{Waiting: 1, RefreshQueue: 2, WriteBuffer: 3, BreakerOpen: true, CallsSpared: 4, RoutesBeyond: 5, Near: store.NearStats{
		On: true, Hits: 6, Admissions: 7, Invalidations: 8, Drops: 9, Entries: 10, Bytes: 11,
	}}
}

func TestEvents(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name string
		e    observe.Event
		want []string
	}{
		{"hit", observe.Event{
			Kind: observe.KindRequest, Total: ms, Age: 2 * time.Second, Saved: 5 * ms, Route: "/a/:id",
			Result: observe.ResultHit, Tier: observe.TierNear, BodyBytes: 100,
		}, []string{
			"handler.saved{http.route=/a/:id} 0.005",
			"hit.age{} 2",
			"request.duration{result=hit tier=near} 0.001",
			"requests{result=hit tier=near http.route=/a/:id} 1",
			"response.body{result=hit} 100",
		}},
		{"stale", observe.Event{
			Kind: observe.KindRequest, Total: ms, Age: 70 * time.Second, TTL: -10 * time.Second, Saved: 5 * ms, Route: "/a/:id",
			Result: observe.ResultStale, Stale: observe.StaleWhileRevalidate, Tier: observe.TierStore, BodyBytes: 100,
		}, []string{
			"handler.saved{http.route=/a/:id} 0.005",
			"hit.age{} 70",
			"request.duration{result=stale tier=store} 0.001",
			"requests{result=stale tier=store http.route=/a/:id} 1",
			"response.body{result=stale} 100",
		}},
		{"miss that is not stored", observe.Event{
			Kind: observe.KindRequest, Total: ms, Handler: ms, Route: "GET /a/{id}", Status: 200,
			Result: observe.ResultMiss, Tier: observe.TierNone, Cause: observe.CauseCold, NotStored: observe.ReasonSetCookie, BodyBytes: 7,
		}, []string{
			"misses{cause=cold http.route=/a/{id}} 1",
			"not_stored{reason=set-cookie http.route=/a/{id}} 1",
			"request.duration{result=miss tier=none} 0.001",
			"requests{result=miss tier=none http.route=/a/{id}} 1",
			"response.body{result=miss} 7",
		}},
		{"collapsed", observe.Event{
			Kind: observe.KindRequest, Total: 3 * ms, Wait: 2 * ms, Waited: observe.WaitShared, Route: observe.Unmatched,
			Result: observe.ResultCollapsed, Tier: observe.TierNone, BodyBytes: -1,
		}, []string{
			"coalesce.wait{outcome=shared} 0.002",
			"request.duration{result=collapsed tier=none} 0.003",
			"requests{result=collapsed tier=none http.route=unmatched} 1",
		}},
		{"bypass", observe.Event{
			Kind: observe.KindRequest, Total: ms, Route: "", Method: observe.MethodOther,
			Result: observe.ResultBypass, Tier: observe.TierNone, Bypass: observe.ReasonMethod,
		}, []string{
			"bypasses{reason=method} 1",
			"request.duration{result=bypass tier=none} 0.001",
			"requests{result=bypass tier=none http.route=unmatched} 1",
		}},
		{"error without a tier", observe.Event{Kind: observe.KindRequest, Total: ms, Route: "/a", Result: observe.ResultError}, []string{
			"request.duration{result=error} 0.001",
			"requests{result=error http.route=/a} 1",
		}},
		{"handler", observe.Event{Kind: observe.KindHandler, Total: ms, Route: "/a", Result: observe.ResultMiss, NotStored: observe.ReasonPrivate}, []string{
			"handler.duration{mode=foreground http.route=/a} 0.001",
		}},
		{"handler in the background", observe.Event{Kind: observe.KindHandler, Total: ms, Route: "/a", Background: true}, []string{
			"handler.duration{mode=background http.route=/a} 0.001",
		}},
		{"a response of the background that is not stored", observe.Event{Kind: observe.KindHandler, Total: ms, Background: true, NotStored: observe.ReasonStatus}, []string{
			"handler.duration{mode=background http.route=unmatched} 0.001",
			"not_stored{reason=status http.route=unmatched} 1",
		}},
		{"store", observe.Event{Kind: observe.KindStore, Outcome: observe.OutcomeRefused}, []string{"stores{outcome=refused} 1"}},
		{"store call", observe.Event{Kind: observe.KindStoreCall, Total: ms, Op: observe.OpGet, Outcome: observe.OutcomeTimeout}, []string{
			"store.call.duration{op=get outcome=timeout} 0.001",
		}},
		{"refresh", observe.Event{Kind: observe.KindRefresh, Trigger: observe.TriggerAhead, Outcome: observe.OutcomeRenewed}, []string{
			"refreshes{outcome=renewed trigger=ahead} 1",
		}},
		{"purge", observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeTags, Soft: true, Outcome: observe.OutcomeOK}, []string{
			"purges{kind=tags outcome=ok soft=true} 1",
		}},
		{"breaker", observe.Event{Kind: observe.KindBreaker, Outcome: observe.OutcomeOpened}, nil},
		{"of a kind that is none", observe.Event{Kind: 99, Route: "/a"}, nil},
		{"values that are none", observe.Event{Kind: observe.KindPurge, Purge: 99, Outcome: 200}, []string{"purges{soft=false} 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, collect := meters(t)
			o := must(t, otel.WithMeterProvider(p), noTraces())
			c.e.Context = t.Context()
			o.Observe(&c.e)
			o.Observe(&observe.Event{}) // counts nothing
			if got := lines(t, collect()); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// everything has o observe each value that a field can have.
func everything(ctx context.Context, o *otel.Observer) {
	each := func(kind observe.Kind, set func(e *observe.Event, n uint8) string) {
		for n := uint8(1); ; n++ {
			e := observe.Event{Kind: kind, Context: ctx, Total: time.Millisecond, Route: "/a"}
			if kind == observe.KindRequest {
				e = *hit(ctx)
				e.Route = "/a"
			}
			if set(&e, n) == "" {
				return
			}
			o.Observe(&e)
		}
	}
	each(observe.KindRequest, func(e *observe.Event, n uint8) string { e.Result = observe.Result(n); return e.Result.String() })
	each(observe.KindRequest, func(e *observe.Event, n uint8) string { e.Tier = observe.Tier(n); return e.Tier.String() })
	each(observe.KindRequest, func(e *observe.Event, n uint8) string { e.Cause = observe.Cause(n); return e.Cause.String() })
	each(observe.KindRequest, func(e *observe.Event, n uint8) string { e.NotStored = observe.Reason(n); return e.NotStored.String() })
	each(observe.KindRequest, func(e *observe.Event, n uint8) string { e.Bypass = observe.Reason(n); return e.Bypass.String() })
	each(observe.KindRequest, func(e *observe.Event, n uint8) string {
		e.Waited, e.Wait = observe.Wait(n), time.Millisecond
		return e.Waited.String()
	})
	for _, outcome := range []observe.Outcome{
		observe.OutcomeOK, observe.OutcomeRefused, observe.OutcomePurged, observe.OutcomeContended, observe.OutcomeDropped,
		observe.OutcomeTimeout, observe.OutcomeError,
	} {
		o.Observe(&observe.Event{Kind: observe.KindStore, Context: ctx, Outcome: outcome})
	}
	for _, b := range []bool{false, true} {
		o.Observe(&observe.Event{Kind: observe.KindHandler, Context: ctx, Total: time.Second, Route: "/a", Background: b})
		each(observe.KindPurge, func(e *observe.Event, n uint8) string {
			e.Purge, e.Soft, e.Outcome = observe.Purge(n), b, observe.OutcomeOK
			return e.Purge.String()
		})
	}
	for _, outcome := range []observe.Outcome{observe.OutcomeOK, observe.OutcomeTimeout, observe.OutcomeError} {
		each(observe.KindStoreCall, func(e *observe.Event, n uint8) string { e.Op, e.Outcome = observe.Op(n), outcome; return e.Op.String() })
	}
	for _, outcome := range []observe.Outcome{observe.OutcomeRenewed, observe.OutcomeError, observe.OutcomeDropped} {
		each(observe.KindRefresh, func(e *observe.Event, n uint8) string {
			e.Trigger, e.Outcome = observe.Trigger(n), outcome
			return e.Trigger.String()
		})
	}
}

// TestNames holds the names, units, kinds and attributes of all metrics. To change them
// on purpose: go test -run TestNames -update.
func TestNames(t *testing.T) {
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), noTraces())
	o.Attach(aSource())
	everything(t.Context(), o)
	s := collect()
	slices.SortFunc(s.Metrics, func(a, b metricdata.Metrics) int { return strings.Compare(a.Name, b.Name) })
	var text strings.Builder
	fmt.Fprintf(&text, "scope %s, schema %s\n", s.Scope.Name, s.Scope.SchemaURL)
	for _, m := range s.Metrics {
		kind, ps := points(t, m)
		fmt.Fprintf(&text, "\n%s\n\tunit %s\n\t%s\n\t%s\n", m.Name, m.Unit, kind, m.Description)
		values := map[attribute.Key][]string{}
		for _, p := range ps {
			for _, kv := range p.attrs.ToSlice() {
				if v := kv.Value.String(); !slices.Contains(values[kv.Key], v) {
					values[kv.Key] = append(values[kv.Key], v)
				}
			}
		}
		var keys []string
		for k := range values {
			keys = append(keys, string(k))
		}
		sort.Strings(keys)
		for _, k := range keys {
			sort.Strings(values[attribute.Key(k)])
			fmt.Fprintf(&text, "\t%s: %s\n", k, strings.Join(values[attribute.Key(k)], " "))
		}
	}
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the metrics are not those of %s:\n%s", golden, text.String())
	}
}

// TestReadme: each metric, with its unit, is in the table of the README, and no other.
func TestReadme(t *testing.T) {
	golden, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.TrimSpace(string(golden)), "\n\n")[1:]
	for _, b := range blocks {
		l := strings.Split(b, "\n")
		row := fmt.Sprintf("| `%s` | `%s` |", l[0], strings.TrimPrefix(l[1], "\tunit "))
		if !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
	if n := len(regexp.MustCompile("(?m)^\\| `cacheaside[a-z_.]+` \\| `").FindAll(readme, -1)); n != len(blocks) {
		t.Errorf("README.md has rows of %d metrics, there are %d", n, len(blocks))
	}
}

func TestGaugesOfSeveralCaches(t *testing.T) {
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), noTraces())
	if got := lines(t, collect()); len(got) != 0 {
		t.Errorf("without a cache: %q", got)
	}
	o.Attach(aSource())
	o.Attach(aSource())
	o.Attach(source{Waiting: 100})
	o.Attach(nil)
	want := []string{
		"breaker.open{} 2", "near.admissions{} 14", "near.drops{} 18", "near.entries{} 20", "near.hits{} 12",
		"near.invalidations{} 16", "near.on{} 2", "near.size{} 22", "refresh.queue.length{} 4", "series.overflow{} 10",
		"store.calls.spared{} 8", "waiting{} 102", "write_buffer{} 6",
	}
	for range 2 { // the sums do not grow by being read
		if got := lines(t, collect()); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	o.Observe(hit(t.Context()))
	for range 2 {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	o.Attach(aSource()) // too late
	o.Observe(hit(t.Context()))
	for _, line := range lines(t, collect()) {
		if slices.Contains(want, line) {
			t.Errorf("after Close: %s", line)
		}
		if strings.HasPrefix(line, "requests{") && !strings.HasSuffix(line, " 2") {
			t.Errorf("after Close events are to be counted: %s", line)
		}
	}
}

// TestManyRoutes: a million routes over two caches are those of one.
func TestManyRoutes(t *testing.T) {
	events := 1_000_000
	if raceEnabled {
		events = 50_000
	}
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), noTraces())
	e := observe.Event{Kind: observe.KindHandler, Context: t.Context(), Total: time.Second}
	for i := range events {
		e.Route = fmt.Sprint("/", i)
		o.Observe(&e)
	}
	for _, text := range []string{observe.Other, observe.Unmatched, ""} {
		e.Route = text
		o.Observe(&e)
	}
	for _, m := range collect().Metrics {
		_, ps := points(t, m)
		switch m.Name {
		case "cacheaside.handler.duration":
			var sum uint64
			for _, p := range ps {
				sum += p.count
			}
			if len(ps) != observe.MaxRoutes+2 || sum != uint64(events)+3 {
				t.Errorf("%d series with %d events", len(ps), sum)
			}
		case "cacheaside.series.overflow":
			if len(ps) != 1 || ps[0].value != float64(events-observe.MaxRoutes) {
				t.Errorf("overflow: %+v", ps)
			}
		}
	}
}

// TestHostileRoutes: what is no text, or too long, would have an exporter lose a batch.
func TestHostileRoutes(t *testing.T) {
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), noTraces())
	hostile := []string{
		"\xff/\xfe", strings.Repeat("/ä", 5000), "/<script>alert(1)</script>", "/\u202e\x00\n{}\"", "GET ", " ", "get /x", "GET\t/", "GET example.com/x",
	}
	for _, text := range hostile {
		e := hit(t.Context())
		e.Route, e.Policy = text, text
		o.Observe(e)
	}
	seen := 0
	for _, m := range collect().Metrics {
		_, ps := points(t, m)
		for _, p := range ps {
			for _, kv := range p.attrs.ToSlice() {
				v := kv.Value.String()
				if !utf8.ValidString(v) || len(v) > 260 || strings.HasPrefix(v, "GET /") {
					t.Errorf("%s has %s %q", m.Name, kv.Key, v)
				}
				if m.Name == "cacheaside.requests" && kv.Key == "http.route" {
					seen++
				}
			}
		}
	}
	if seen != len(hostile) {
		t.Errorf("%d routes", seen)
	}
}

// TestExemplars: a sampled trace is pointed to.
func TestExemplars(t *testing.T) {
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), noTraces())
	o.Observe(&observe.Event{Kind: observe.KindRequest}) // even without a context
	tp := sdktrace.NewTracerProvider()
	ctx, span := tp.Tracer("").Start(t.Context(), "GET")
	o.Observe(hit(ctx))
	span.End()
	found := map[string]bool{}
	for _, m := range collect().Metrics {
		_, ps := points(t, m)
		for _, p := range ps {
			if p.exemplars > 0 {
				found[m.Name] = true
			}
		}
	}
	if !found["cacheaside.request.duration"] || !found["cacheaside.requests"] {
		t.Errorf("exemplars: %v", found)
	}
}

func TestGlobalProviders(t *testing.T) {
	p, collect := meters(t)
	globalotel.SetMeterProvider(p)
	spans := tracetest.NewSpanRecorder()
	globalotel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	t.Cleanup(func() {
		globalotel.SetMeterProvider(noopmetric.NewMeterProvider())
		globalotel.SetTracerProvider(nooptrace.NewTracerProvider())
	})
	o := must(t, otel.WithMeterProvider(nil), otel.WithTracerProvider(nil))
	o.Observe(hit(t.Context()))
	_, span := o.Start(t.Context(), observe.Start{Kind: observe.SpanPurge})
	span.End(nil)
	if got := lines(t, collect()); !slices.Contains(got, "requests{result=hit tier=memory http.route=/users/:id} 1") || len(spans.Ended()) != 1 {
		t.Errorf("%q, %d spans", got, len(spans.Ended()))
	}
}

// refusing is a meter provider that takes no instrument of one kind.
type refusing struct {
	noopmetric.MeterProvider
	counters bool
}

type refusingMeter struct {
	noopmetric.Meter
	counters bool
}

var errRefused = fmt.Errorf("refused")

func (r refusing) Meter(string, ...metric.MeterOption) metric.Meter {
	return refusingMeter{counters: r.counters}
}

func (m refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if m.counters {
		return nil, errRefused
	}
	return noopmetric.Int64Counter{}, nil
}

func (refusingMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errRefused
}

func TestNewError(t *testing.T) {
	if o, err := otel.New(nil); o != nil || err == nil {
		t.Errorf("%v, %v", o, err)
	}
	for _, counters := range []bool{false, true} {
		if o, err := otel.New(otel.WithMeterProvider(refusing{counters: counters})); o != nil || err == nil {
			t.Errorf("%v, %v", o, err)
		}
	}
}

func TestConcurrently(t *testing.T) {
	p, collect := meters(t)
	o := must(t, otel.WithMeterProvider(p), otel.WithTracerProvider(sdktrace.NewTracerProvider()))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			o.Attach(source{Waiting: 1})
			for i := range 300 {
				ctx, span := o.Start(t.Context(), observe.Start{Kind: observe.SpanFill, Route: fmt.Sprint("/", i)})
				e := hit(ctx)
				e.Route = fmt.Sprint("/", i)
				e.Result = observe.Result(1 + (i+g)%7)
				o.Observe(e)
				span.End(e)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			collect()
		}
	})
	wg.Wait()
	var requests float64
	for _, m := range collect().Metrics {
		if m.Name == "cacheaside.requests" {
			_, ps := points(t, m)
			for _, p := range ps {
				requests += p.value
			}
		}
	}
	if requests != 4*300 {
		t.Errorf("%g requests were counted", requests)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

// TestAllocations: a hit allocates nothing, here or in the SDK.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, p := range map[string]metric.MeterProvider{
		"noop": noopmetric.NewMeterProvider(),
		"sdk":  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
	} {
		o := must(t, otel.WithMeterProvider(p), noTraces())
		e := hit(t.Context())
		if n := testing.AllocsPerRun(1000, func() { o.Observe(e) }); n != 0 {
			t.Errorf("%s: a hit allocates %g times", name, n)
		}
	}
}
