package prom_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/prom"
	"github.com/cacheaside/cacheaside/core/store"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMetrics(t testing.TB, reg prometheus.Registerer, opts ...prom.Option) *prom.Metrics {
	t.Helper()
	m, err := prom.New(reg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The formats of a scrape, as a server asks for them.
const (
	text        = "text/plain;version=0.0.4"
	openMetrics = "application/openmetrics-text;version=1.0.0"
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// scrape asks for the metrics as a Prometheus server does.
func scrape(t testing.TB, g prometheus.Gatherer, accept string) string {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the scrape is %d, %v: %s", resp.StatusCode, err, body)
	}
	return string(body)
}

// families scrapes and parses.
func families(t testing.TB, g prometheus.Gatherer, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	d := expfmt.NewDecoder(strings.NewReader(scrape(t, g, accept)), expfmt.Format(accept))
	all := map[string]*dto.MetricFamily{}
	for {
		var f dto.MetricFamily
		err := d.Decode(&f)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[f.GetName()] = &f
	}
}

// values are what is scraped, by the name and labels, without "cacheaside_" and what is 0.
// A histogram has its count and its sum.
func values(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for name, f := range families(t, g, text) {
		name = strings.TrimPrefix(name, "cacheaside_")
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			of := "{" + strings.Join(labels, ",") + "}"
			for suffix, value := range map[string]float64{
				"":       m.GetCounter().GetValue() + m.GetGauge().GetValue(),
				"_count": float64(m.GetHistogram().GetSampleCount()),
				"_sum":   m.GetHistogram().GetSampleSum(),
			} {
				if value != 0 {
					all[strings.TrimSuffix(name+suffix+of, "{}")] = value
				}
			}
		}
	}
	return all
}

func wantValues(t testing.TB, g prometheus.Gatherer, want map[string]float64) {
	t.Helper()
	got := values(t, g)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if d := got[name] - want[name]; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s is %v, not %v", name, got[name], want[name])
		}
		delete(got, name)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("%s is %v", name, got[name])
	}
}

type source observe.Gauges

func (s source) Gauges() observe.Gauges { return observe.Gauges(s) }

var gauges = source{
	Waiting: 1, RefreshQueue: 2, WriteBuffer: 3, BreakerOpen: true, CallsSpared: 4, RoutesBeyond: 5,
	Near: store.NearStats{On: true, Hits: 6, Admissions: 7, Rejections: 8, Invalidations: 9, Drops: 10, Entries: 11, Bytes: 12},
}

func observeAll(m *prom.Metrics, events ...observe.Event) {
	for _, e := range events {
		e.Context = context.Background()
		m.Observe(&e)
	}
}

// What each field of each event counts for.
func TestValues(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []observe.Event
		want   map[string]float64
	}{
		{"nothing", nil, nil},
		{"a hit", []observe.Event{{
			Kind: observe.KindRequest, Route: "/a", Result: observe.ResultHit, Tier: observe.TierNear, Total: time.Millisecond, Lookup: time.Hour,
			Age: 3 * time.Second, TTL: -5, Saved: 1500 * time.Millisecond, BodyBytes: 100, StoredBytes: 1000, Handler: time.Hour,
		}}, map[string]float64{
			"requests_total{result=hit,route=/a,tier=near}": 1, "request_duration_seconds_count{result=hit,tier=near}": 1,
			"request_duration_seconds_sum{result=hit,tier=near}": 0.001, "response_body_bytes_total{result=hit}": 100,
			"handler_saved_seconds_total{route=/a}": 1.5, "hit_age_seconds_count": 1, "hit_age_seconds_sum": 3,
		}},
		{"a stale answer though the handler was asked", []observe.Event{{
			Kind: observe.KindRequest, Route: "/a", Result: observe.ResultStale, Tier: observe.TierStore, Cause: observe.CauseExpired,
			Stale: observe.StaleIfError, NotStored: observe.ReasonStatus, Age: time.Second, BodyBytes: -1,
		}}, map[string]float64{
			"requests_total{result=stale,route=/a,tier=store}": 1, "request_duration_seconds_count{result=stale,tier=store}": 1,
			"misses_total{cause=expired,route=/a}": 1, "not_stored_total{reason=status,route=/a}": 1, "hit_age_seconds_count": 1, "hit_age_seconds_sum": 1,
		}},
		{"an answer after a wait", []observe.Event{{
			Kind: observe.KindRequest, Route: "/b", Result: observe.ResultCollapsed, Tier: observe.TierNone, Cause: observe.CauseCold,
			Wait: 2 * time.Second, Waited: observe.WaitShared, Age: time.Hour, Saved: time.Second,
		}}, map[string]float64{
			"requests_total{result=collapsed,route=/b,tier=none}": 1, "request_duration_seconds_count{result=collapsed,tier=none}": 1,
			"misses_total{cause=cold,route=/b}": 1, "coalesce_wait_seconds_count{outcome=shared}": 1, "coalesce_wait_seconds_sum{outcome=shared}": 2,
			"handler_saved_seconds_total{route=/b}": 1,
		}},
		{"a bypass", []observe.Event{{Kind: observe.KindRequest, Result: observe.ResultBypass, Tier: observe.TierNone, Bypass: observe.ReasonNoRoute}},
			map[string]float64{
				"requests_total{result=bypass,route=unmatched,tier=none}": 1, "request_duration_seconds_count{result=bypass,tier=none}": 1,
				"bypasses_total{reason=no-route}": 1,
			}},
		{"handlers", []observe.Event{
			{Kind: observe.KindHandler, Route: "/a", Total: time.Second, BodyBytes: 7, NotStored: observe.ReasonPrivate}, // the request says so
			{Kind: observe.KindHandler, Route: "/a", Total: 2 * time.Second, Background: true, NotStored: observe.ReasonStatus},
			{Kind: observe.KindHandler, Route: "/a", Total: 3 * time.Second, Background: true},
		}, map[string]float64{
			"handler_duration_seconds_count{mode=foreground,route=/a}": 1, "handler_duration_seconds_sum{mode=foreground,route=/a}": 1,
			"not_stored_total{reason=status,route=/a}":                 1,
			"handler_duration_seconds_count{mode=background,route=/a}": 2, "handler_duration_seconds_sum{mode=background,route=/a}": 5,
		}},
		{"the store", []observe.Event{
			{Kind: observe.KindStore, Route: "/a", Outcome: observe.OutcomeRefused, Total: time.Hour},
			{Kind: observe.KindStoreCall, Op: observe.OpLock, Outcome: observe.OutcomeTimeout, Total: time.Second},
			{Kind: observe.KindBreaker, Outcome: observe.OutcomeOpened},
		}, map[string]float64{
			"stores_total{outcome=refused}": 1, "store_call_duration_seconds_count{op=lock,outcome=timeout}": 1,
			"store_call_duration_seconds_sum{op=lock,outcome=timeout}": 1,
		}},
		{"refreshes and purges", []observe.Event{
			{Kind: observe.KindRefresh, Trigger: observe.TriggerAhead, Outcome: observe.OutcomeDropped},
			{Kind: observe.KindPurge, Purge: observe.PurgeURL, Outcome: observe.OutcomeOK},
			{Kind: observe.KindPurge, Purge: observe.PurgeTags, Outcome: observe.OutcomeError, Soft: true},
		}, map[string]float64{
			"refreshes_total{outcome=dropped,trigger=ahead}": 1, "purges_total{kind=url,outcome=ok,soft=false}": 1,
			"purges_total{kind=tags,outcome=error,soft=true}": 1,
		}},
		{"what a later version may tell", []observe.Event{
			{Kind: observe.KindBreaker + 1},
			{},
			{
				Kind: observe.KindRequest, Route: "/a", Result: observe.ResultError + 1, Tier: observe.TierNone + 1, Cause: observe.CausePartial + 1,
				NotStored: observe.ReasonClientGone + 1, Bypass: observe.ReasonClientGone + 1, Waited: observe.WaitLeft + 1,
			},
			{Kind: observe.KindRequest, Route: "/a"},
			{Kind: observe.KindStoreCall, Op: observe.OpPurge + 1, Outcome: observe.OutcomeClosed + 1},
			{Kind: observe.KindPurge, Purge: 255},
		}, map[string]float64{
			"requests_total{result=other,route=/a,tier=none}": 2, "request_duration_seconds_count{result=other,tier=none}": 2,
			"misses_total{cause=other,route=/a}": 1, "not_stored_total{reason=other,route=/a}": 1, "bypasses_total{reason=other}": 1,
			"coalesce_wait_seconds_count{outcome=other}": 1, "store_call_duration_seconds_count{op=other,outcome=other}": 1,
			"purges_total{kind=other,outcome=other,soft=false}": 1,
		}},
		{"a clock that was set back", []observe.Event{
			{
				Kind: observe.KindRequest, Route: "/a", Result: observe.ResultHit, Tier: observe.TierMemory,
				Total: -time.Second, Age: -time.Second, Saved: -time.Second, Wait: -time.Second, Waited: observe.WaitShared, BodyBytes: -100,
			},
			{Kind: observe.KindHandler, Route: "/a", Total: -time.Second},
		}, map[string]float64{
			"requests_total{result=hit,route=/a,tier=memory}": 1, "request_duration_seconds_count{result=hit,tier=memory}": 1,
			"hit_age_seconds_count": 1, "coalesce_wait_seconds_count{outcome=shared}": 1,
			"handler_duration_seconds_count{mode=foreground,route=/a}": 1,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := prometheus.NewPedanticRegistry()
			observeAll(newMetrics(t, reg), test.events...)
			wantValues(t, reg, test.want)
		})
	}
}

// The gauges are those of all caches.
func TestSources(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	wantValues(t, reg, nil)
	m.Attach(nil)
	m.Attach(gauges)
	m.Attach(gauges)
	m.Attach(source{Waiting: 100})
	wantValues(t, reg, map[string]float64{
		"waiting": 102, "refresh_queue_length": 4, "write_buffer_bytes": 6, "breaker_open": 2, "store_calls_spared_total": 8,
		"series_overflow_total": 10, "near_on": 2, "near_hits_total": 12, "near_admissions_total": 14, "near_invalidations_total": 18,
		"near_drops_total": 20, "near_entries": 22, "near_bytes": 24,
	})
}

// Names, types, help and labels are what dashboards and alerts are made from. In testdata
// are also the values that each label may have, but for routes.
func TestGolden(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	m.Attach(gauges)
	everyEvent(m, "/a")
	var b strings.Builder
	all := families(t, reg, protobuf)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		_, _ = fmt.Fprintf(&b, "%s %s\n\t%s\n", name, strings.ToLower(f.GetType().String()), f.GetHelp())
		labels := map[string]map[string]bool{}
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				if labels[l.GetName()] == nil {
					labels[l.GetName()] = map[string]bool{}
				}
				labels[l.GetName()][l.GetValue()] = true
			}
		}
		for _, label := range slices.Sorted(maps.Keys(labels)) {
			_, _ = fmt.Fprintf(&b, "\t%s: %s\n", label, strings.Join(slices.Sorted(maps.Keys(labels[label])), " "))
		}
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			b.WriteString("\tbuckets:")
			for _, bucket := range h.GetBucket() {
				_, _ = fmt.Fprintf(&b, " %v", bucket.GetUpperBound())
			}
			_, _ = fmt.Fprintf(&b, "\n\tnative: schema %d from %v\n", h.GetSchema(), h.GetZeroThreshold())
		}
	}
	const file = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("testdata differs; go test -run Golden -update writes it anew:\n%s", b.String())
	}
}

// everyEvent makes an event with each value of each enum.
func everyEvent(m *prom.Metrics, route string) {
	each := func(set func(*observe.Event, uint8), name func(uint8) string, base observe.Event) {
		for n := uint8(1); name(n) != ""; n++ {
			e := base
			set(&e, n)
			observeAll(m, e)
		}
	}
	request := observe.Event{Kind: observe.KindRequest, Route: route, Result: observe.ResultMiss, Tier: observe.TierNone}
	each(func(e *observe.Event, n uint8) { e.Result, e.Saved, e.BodyBytes = observe.Result(n), time.Second, 1 },
		func(n uint8) string { return observe.Result(n).String() }, request)
	each(func(e *observe.Event, n uint8) { e.Result, e.Tier = observe.ResultHit, observe.Tier(n) },
		func(n uint8) string { return observe.Tier(n).String() }, request)
	each(func(e *observe.Event, n uint8) { e.Cause = observe.Cause(n) }, func(n uint8) string { return observe.Cause(n).String() }, request)
	each(func(e *observe.Event, n uint8) { e.NotStored, e.Bypass = observe.Reason(n), observe.Reason(n) },
		func(n uint8) string { return observe.Reason(n).String() }, request)
	each(func(e *observe.Event, n uint8) { e.Waited = observe.Wait(n) }, func(n uint8) string { return observe.Wait(n).String() }, request)
	observeAll(m, observe.Event{Kind: observe.KindHandler, Route: route}, observe.Event{Kind: observe.KindHandler, Route: route, Background: true},
		observe.Event{Kind: observe.KindBreaker, Outcome: observe.OutcomeOpened})
	outcome := func(n uint8) string { return observe.Outcome(n).String() }
	set := func(e *observe.Event, n uint8) { e.Outcome = observe.Outcome(n) }
	each(set, outcome, observe.Event{Kind: observe.KindStore, Route: route})
	each(set, outcome, observe.Event{Kind: observe.KindStoreCall, Op: observe.OpGet})
	each(set, outcome, observe.Event{Kind: observe.KindRefresh, Route: route, Trigger: observe.TriggerSWR})
	each(set, outcome, observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeAll})
	each(func(e *observe.Event, n uint8) { e.Op = observe.Op(n) }, func(n uint8) string { return observe.Op(n).String() },
		observe.Event{Kind: observe.KindStoreCall, Outcome: observe.OutcomeOK})
}

// There is nothing in the metrics that Prometheus' own linter finds wrong.
func TestLint(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	m.Attach(gauges)
	everyEvent(m, "/a")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Alerts see the first failure: it has a 0 before it.
func TestSeriesThatAreThereFromTheStart(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	before := strings.Split(scrape(t, reg, text), "\n")
	for _, want := range []string{
		`cacheaside_purges_total{kind="tags",outcome="error",soft="false"} 0`,
		`cacheaside_purges_total{kind="unsafe",outcome="error",soft="true"} 0`,
		`cacheaside_stores_total{outcome="dropped"} 0`,
		`cacheaside_stores_total{outcome="refused"} 0`,
		`cacheaside_refreshes_total{outcome="error",trigger="swr"} 0`,
		`cacheaside_breaker_open 0`,
		`cacheaside_series_overflow_total 0`,
	} {
		if !slices.Contains(before, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if len(before) > 120 {
		t.Errorf("there are %d lines before the first event", len(before))
	}
	observeAll(m, observe.Event{Kind: observe.KindStore, Outcome: observe.OutcomeDropped})
	wantValues(t, reg, map[string]float64{"stores_total{outcome=dropped}": 1})
}

func TestNewErrors(t *testing.T) {
	is := func(err error, want ...string) {
		t.Helper()
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("the error is %v, without %q", err, part)
			}
		}
	}
	_, err := prom.New(nil)
	is(err, "Registerer is nil", "DefaultRegisterer")
	_, err = prom.New(prometheus.NewRegistry(), prom.WithExemplars(nil), nil)
	is(err, "option 2 is nil")

	reg := prometheus.NewRegistry()
	m := newMetrics(t, reg)
	_, err = prom.New(reg)
	is(err, "Registerer: duplicate", "one Metrics to all caches", "WrapRegistererWith")
	if !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("%v is no AlreadyRegisteredError", err)
	}
	if !reg.Unregister(m) {
		t.Error("it cannot be unregistered")
	}
	newMetrics(t, reg)

	taken := prometheus.NewRegistry()
	taken.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "cacheaside_waiting", Help: "Somebody else's."}))
	_, err = prom.New(taken)
	is(err, "Registerer", "cacheaside_waiting")
	_, err = prom.New(prometheus.WrapRegistererWith(prometheus.Labels{"route": "x"}, prometheus.NewRegistry()))
	is(err, "Registerer", "route")
}

// Caches can be told apart by a label, or a prefix, of the registerer.
func TestWrappedRegisterers(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	for _, name := range []string{"one", "two"} {
		m := newMetrics(t, prometheus.WrapRegistererWith(prometheus.Labels{"cache": name}, reg))
		everyEvent(m, "/"+name)
		m.Attach(gauges)
	}
	everyEvent(newMetrics(t, prometheus.WrapRegistererWithPrefix("shop_", reg)), "/")
	for range 2 { // the second scrape has what the first one left
		out := scrape(t, reg, text)
		for _, want := range []string{
			`cacheaside_requests_total{cache="one",result="hit",route="/one",tier="near"} 1`,
			`cacheaside_requests_total{cache="two",result="hit",route="/two",tier="near"} 1`,
			`cacheaside_handler_duration_seconds_count{cache="one",mode="background",route="/one"} 1`,
			`cacheaside_near_bytes{cache="two"} 12`,
			`shop_cacheaside_requests_total{result="hit",route="/",tier="near"} 1`,
		} {
			if !strings.Contains(out, want+"\n") {
				t.Errorf("there is no %s", want)
			}
		}
	}
}

// Routes with what a scrape cannot have, or would be too long, do not break it.
func TestHostileRoutes(t *testing.T) {
	long := strings.Repeat("/é", 1<<20)
	routes := []string{
		"", "/\xff\xfe", "/\xff\xff", "/\xc3", "/a\x00b", "/\"}\n# EOF\n", `/\`, "/{id}", "/<script>alert(1)</script>", "/\u202egpj.exe", long, long + "x",
		"/\U0001F600", "other", "unmatched", "/" + strings.Repeat("\xff", 1000), "/" + strings.Repeat("a\xff", 1000),
	}
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	for _, route := range routes {
		everyEvent(m, route)
	}
	for _, accept := range []string{text, protobuf} {
		total := 0.0
		for name, f := range families(t, reg, accept) {
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					if !model.LabelValue(l.GetValue()).IsValid() || len(l.GetValue()) > 1024 {
						t.Errorf("%s has a label of %d bytes: %.100q", name, len(l.GetValue()), l.GetValue())
					}
				}
				if name == "cacheaside_requests_total" {
					total += metric.GetCounter().GetValue()
				}
			}
		}
		if want := float64(len(routes) * (7 + 4 + 10 + 51 + 5)); total != want {
			t.Errorf("%v of %v requests are counted", total, want)
		}
	}
	for line := range strings.Lines(scrape(t, reg, openMetrics)) {
		if line == "# EOF\n" {
			continue
		}
		if !strings.HasPrefix(line, "# HELP cacheaside_") && !strings.HasPrefix(line, "# TYPE cacheaside_") && !strings.HasPrefix(line, "cacheaside_") {
			t.Errorf("a line begins with %.100q", line)
		}
	}
}

// The string of an event is the caller's again after the call.
func TestRouteIsKept(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	buffer := []byte("/a")
	e := hit()
	e.Route = unsafe.String(&buffer[0], len(buffer))
	m.Observe(e)
	buffer[1] = 'b'
	m.Observe(hit())
	if got := values(t, reg); got["requests_total{result=hit,route=/a,tier=near}"] != 1 {
		t.Errorf("the requests are %v", got)
	}
	e.Route = "/a"
	m.Observe(e)
	if got := values(t, reg); got["requests_total{result=hit,route=/a,tier=near}"] != 2 {
		t.Errorf("the requests are %v", got)
	}
}

// A million routes are 256, and the rest of them one more.
func TestAMillionRoutes(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	n := 1_000_000
	if raceEnabled {
		n /= 20 // it takes that much longer
	}
	e := hit()
	for i := range n {
		e.Route = strconv.Itoa(i)
		m.Observe(e)
	}
	got := values(t, reg)
	want := float64(n - observe.MaxRoutes)
	if got["series_overflow_total"] != want || got["requests_total{result=hit,route=other,tier=near}"] != want {
		t.Errorf("%v counts are beyond, and %v requests", got["series_overflow_total"], got["requests_total{result=hit,route=other,tier=near}"])
	}
	routes := 0
	for name := range got {
		if strings.HasPrefix(name, "requests_total{") {
			routes++
		}
	}
	if routes != observe.MaxRoutes+1 {
		t.Errorf("there are %d routes", routes)
	}
}

// However many routes, results, causes and reasons there are, the series are bounded, and
// nothing goes uncounted.
func TestSeriesAreBounded(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	var all sync.WaitGroup
	for range 2 { // each begins series that the other one begins
		all.Go(func() { everything(m) })
	}
	all.Wait()
	counters, foreground, background := 0, 0, 0
	requests, handlers := 0.0, uint64(0)
	for name, f := range families(t, reg, protobuf) {
		for _, metric := range f.GetMetric() {
			route := ""
			for _, l := range metric.GetLabel() {
				if l.GetName() == "route" {
					route = l.GetValue()
				}
			}
			if name == "cacheaside_requests_total" {
				requests += metric.GetCounter().GetValue()
			}
			if name == "cacheaside_handler_duration_seconds" {
				handlers += metric.GetHistogram().GetSampleCount()
			}
			if route == "" || route == observe.Other || route == observe.Unmatched {
				continue
			}
			switch l := metric.GetLabel()[0].GetValue(); {
			case metric.GetHistogram() == nil:
				counters++
			case l == "background":
				background++
			default:
				foreground++
			}
		}
	}
	if counters != 12*observe.MaxRoutes || foreground != observe.MaxRoutes || background != observe.MaxRoutes/4 {
		t.Errorf("the routes have %d counters and %d and %d histograms", counters, foreground, background)
	}
	if want := 2 * float64(258*(4*1+3*3+10+42+10)+5); requests != want {
		t.Errorf("%v requests are counted, not %v", requests, want)
	}
	if want := 2 * uint64(258*32*2); handlers != want {
		t.Errorf("%d runs of handlers are counted, not %d", handlers, want)
	}
	if values(t, reg)["series_overflow_total"] == 0 {
		t.Error("what is beyond is not counted")
	}
}

// Nothing that a client has sent is in a scrape.
func TestSecrets(t *testing.T) {
	const secret = "s3cr3t"
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg, prom.WithExemplars(sampled))
	ctx := context.WithValue(t.Context(), source{}, secret)
	for kind := observe.KindRequest; kind.String() != ""; kind++ {
		e := &observe.Event{
			Kind: kind, Context: ctx, Route: "/a", Result: observe.ResultHit, Key: secret, FlightID: secret, Policy: secret, Err: errors.New(secret),
		}
		m.Observe(e)
	}
	for _, accept := range []string{text, openMetrics, protobuf} {
		if strings.Contains(scrape(t, reg, accept), secret) {
			t.Errorf("it is in the %s", accept)
		}
	}
}

// Each duration has an exemplar.
func TestExemplars(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg, prom.WithExemplars(sampled))
	events := []*observe.Event{
		hit(),
		{Kind: observe.KindHandler, Context: t.Context(), Route: "/a", Total: time.Hour},
		{Kind: observe.KindStoreCall, Context: t.Context(), Op: observe.OpGet, Outcome: observe.OutcomeOK, Total: time.Millisecond},
	}
	events[0].Waited, events[0].Wait = observe.WaitShared, 30*time.Millisecond
	for _, e := range events {
		m.Observe(e)
	}
	out := scrape(t, reg, openMetrics)
	const trace = ` # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} `
	for _, want := range []string{
		`cacheaside_request_duration_seconds_bucket{result="hit",tier="near",le="0.0001"} 1` + trace + "8e-05 ",
		`cacheaside_hit_age_seconds_bucket{le="30.0"} 1` + trace + "12.345 ",
		`cacheaside_handler_duration_seconds_bucket{mode="foreground",route="/a",le="+Inf"} 1` + trace + "3600.0 ",
		`cacheaside_store_call_duration_seconds_bucket{op="get",outcome="ok",le="0.001"} 1` + trace + "0.001 ",
		`cacheaside_coalesce_wait_seconds_bucket{outcome="shared",le="0.05"} 1` + trace + "0.03 ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %s in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "# {"); n != 5 {
		t.Errorf("there are %d exemplars", n)
	}
	if strings.Contains(scrape(t, reg, text), "trace_id") {
		t.Error("the text format has exemplars")
	}
}

func TestNoExemplars(t *testing.T) {
	for name, labels := range map[string]prometheus.Labels{
		"not sampled": nil, "none": {}, "too long": {"trace_id": strings.Repeat("x", 121)}, "no UTF-8": {"trace_id": "\xff"},
		"no name": {"": "x"}, "dots": {"trace.id": "x"}, "reserved": {"__trace": "x"}, "second": {"trace_id": "x", "a b": "y"},
	} {
		reg := prometheus.NewPedanticRegistry()
		m := newMetrics(t, reg, prom.WithExemplars(func(context.Context) prometheus.Labels { return labels }))
		m.Observe(hit())
		if out := scrape(t, reg, openMetrics); strings.Contains(out, "# {") {
			t.Errorf("%s: there is one", name)
		}
		for _, b := range families(t, reg, protobuf)["cacheaside_hit_age_seconds"].GetMetric()[0].GetHistogram().GetBucket() {
			if b.GetExemplar() != nil {
				t.Errorf("%s: protobuf has one", name)
			}
		}
		if values(t, reg)["hit_age_seconds_count"] != 1 {
			t.Errorf("%s: the hit is not counted", name)
		}
	}
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg, prom.WithExemplars(sampled))
	e := hit()
	e.Context = nil
	m.Observe(e)
	if strings.Contains(scrape(t, reg, openMetrics), "# {") {
		t.Error("without a context there is one")
	}
	longest := prometheus.Labels{"trace_id": strings.Repeat("é", 120)}
	m = newMetrics(t, prometheus.WrapRegistererWithPrefix("longest_", reg), prom.WithExemplars(func(context.Context) prometheus.Labels { return longest }))
	m.Observe(hit())
	if strings.Count(scrape(t, reg, openMetrics), "# {") != 2 {
		t.Error("the longest that is allowed makes none")
	}
}

// With protobuf there are native buckets, and since when a series counts.
func TestProtobuf(t *testing.T) {
	begun := time.Now().Add(-time.Second)
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg)
	m.Observe(hit())
	all := families(t, reg, protobuf)
	h := all["cacheaside_request_duration_seconds"].GetMetric()[0].GetHistogram()
	if len(h.GetPositiveSpan()) != 1 || len(h.GetBucket()) != 17 || h.GetSchema() != 3 || !h.GetCreatedTimestamp().AsTime().After(begun) {
		t.Errorf("the histogram is %v", h)
	}
	if c := all["cacheaside_requests_total"].GetMetric()[0].GetCounter(); !c.GetCreatedTimestamp().AsTime().After(begun) {
		t.Errorf("the counter is %v", c)
	}
}

// Events and scrapes at once: nothing is lost, and no series is exported twice.
func TestConcurrent(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(t, reg, prom.WithExemplars(sampled))
	const workers, each = 8, 600
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for n := range each {
				e := hit()
				e.Route = fmt.Sprintf("/%d", (n*7+w)%300)
				e.Result, e.Tier = observe.Result(1+n%3), observe.Tier(1+n%4)
				e.Cause = observe.Cause(n % 11)
				m.Observe(e)
				m.Observe(&observe.Event{Kind: observe.KindHandler, Context: e.Context, Route: e.Route, Background: n%2 == 0})
			}
			m.Attach(source{Waiting: 1})
		})
	}
	for range 20 {
		if _, err := reg.Gather(); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	requests, handlers := 0.0, 0.0
	for name, value := range values(t, reg) {
		if strings.HasPrefix(name, "requests_total{") {
			requests += value
		}
		if strings.HasPrefix(name, "handler_duration_seconds_count{") {
			handlers += value
		}
	}
	if requests != workers*each || handlers != workers*each || values(t, reg)["waiting"] != workers {
		t.Errorf("%v requests and %v handlers are counted", requests, handlers)
	}
}

func TestAllocations(t *testing.T) {
	events := map[string]*observe.Event{"hit": hit(), "miss": hit(), "route beyond": hit(), "long route": hit()}
	e := events["miss"]
	e.Result, e.Tier, e.Cause, e.NotStored, e.Saved = observe.ResultMiss, observe.TierNone, observe.CauseCold, observe.ReasonNoStore, 0
	e.Waited = observe.WaitTimeout
	events["route beyond"].Route = "/one too many"
	events["long route"].Route = strings.Repeat("/long", 1000)
	for kind := observe.KindHandler; kind.String() != ""; kind++ {
		e := hit()
		e.Kind, e.Op, e.Outcome, e.Trigger, e.Purge = kind, observe.OpGet, observe.OutcomeOK, observe.TriggerSWR, observe.PurgeAll
		events[kind.String()] = e
	}
	m := newMetrics(t, prometheus.NewRegistry(), prom.WithExemplars(func(context.Context) prometheus.Labels { return nil }))
	m.Observe(events["long route"])
	fillRoutes(m)
	for name, e := range events {
		if n := testing.AllocsPerRun(100, func() { m.Observe(e) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
