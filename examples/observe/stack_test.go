package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// prometheus is the path of a program of Prometheus. Without it the test is skipped, or
// fails if CACHEASIDE_REQUIRE_PROMETHEUS is 1.
func prometheus(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CACHEASIDE_REQUIRE_PROMETHEUS") == "1" {
			t.Fatalf("CACHEASIDE_REQUIRE_PROMETHEUS=1, but there is no %s: install Debian's package prometheus", name)
		}
		t.Skipf("this needs %s, which is in Debian's package prometheus", name)
	}
	return path
}

// TestRules: Prometheus takes its configuration, and each alert fires when it must and at
// no other time.
func TestRules(t *testing.T) {
	promtool := prometheus(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "rules.yml"},
		{"test", "rules", "rules_test.yml"},
	} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// stack is a Prometheus that scrapes two services under load.
type stack struct {
	t    *testing.T
	base string // of Prometheus
}

// TestDashboard: each expression of the dashboard has data, and each rule can be
// evaluated, in a Prometheus that has scraped services under load.
func TestDashboard(t *testing.T) {
	path := prometheus(t, "prometheus")
	store := storetest.StartServer(t)
	const purgeToken = "0123456789abcdef"
	var public, admin []string
	for _, name := range []string{"gin", "fiber"} {
		p := start(t, programAt(name), "-addr", "127.0.0.1:0", "-dragonfly", store.Addr, "-purge-token", purgeToken,
			"-admin", "127.0.0.1:0", "-admin-token", "0123456789abcdef", "-db-latency", "20ms", "-near", "1048576",
			"-ttl", "2s", "-refresh-ahead", "0.5", "-stale-while-revalidate", "1m", "-stale-if-error", "1m", "-wait-timeout", "5s",
			"-store-timeout", "1s") // failures must go on for as long before the breaker opens
		public = append(public, p.says(`listening addr=(\S+)`)[1])
		admin = append(admin, p.says(`for operators url="?http://([^/]+)/`)[1])
	}
	dragonfly := standIn(t)

	// The configuration is the one of the stack, with other addresses, and in less time.
	config := read(t, "prometheus.yml")
	for _, c := range [][2]string{
		{`["gin:9090", "fiber:9090"]`, quoted(admin)},
		{`["dragonfly:6379"]`, quoted([]string{dragonfly})},
		{"scrape_interval: 15s", "scrape_interval: 250ms"},
		{"evaluation_interval: 15s", "evaluation_interval: 250ms"},
		{"- rules.yml", "- " + strconv.Quote(absolute(t, "rules.yml"))},
	} {
		if strings.Count(config, c[0]) != 1 {
			t.Fatalf("prometheus.yml has no %s, or more than one", c[0])
		}
		config = strings.Replace(config, c[0], c[1], 1)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, path, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:0")
	s := stack{t, "http://" + p.says(`msg="Listening on" address=(\S+)`)[1]}
	p.says("Server is ready to receive web requests") // before, it answers 503
	eventually(t, "all targets are up", func() bool {
		return len(s.query(`up == 1`)) == 3 && len(s.query(`up == 0`)) == 0
	})

	start(t, programAt("load"), "-to", strings.Join(public, ","), "-rate", "100", "-pages", "100")
	for _, base := range public { // a purge of everything
		if status := purge(t, base, purgeToken); status >= 300 {
			t.Fatalf("the purge is answered by %d", status)
		}
	}
	eventually(t, "responses are stored", func() bool { return len(s.query(`sum(cacheaside_stores_total{outcome="ok"}) > 20`)) > 0 })
	// The store fails until both breakers have opened, and is back.
	store.Kill()
	eventually(t, "the breakers open", func() bool { return len(s.query(`sum(cacheaside_breaker_open) == 2`)) > 0 })
	if status := purge(t, public[0], purgeToken); status != http.StatusServiceUnavailable {
		t.Errorf("the purge is answered by %d, want 503", status)
	}
	eventually(t, "calls are spared", func() bool { return len(s.query(`sum(cacheaside_store_calls_spared_total) > 2`)) > 0 })
	eventually(t, "the purge's alert fires", func() bool {
		return len(s.query(`ALERTS{alertname="CachePurgeNotAcknowledged",alertstate="firing",severity="page",job="blog",kind="all"}`)) > 0
	})
	store.Start()
	eventually(t, "the breakers close", func() bool { return len(s.query(`sum(cacheaside_breaker_open) == 0`)) > 0 })

	d := dashboard(t)
	values := map[string]string{"$__rate_interval": "2m", "$__range": "5m"}
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		values["$"+v.Name] = v.AllValue
		m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Query.Query)
		if m == nil {
			t.Errorf("variable %s: this test does not know %q", v.Name, v.Query.Query)
		} else if len(s.query(substitute(m[1], values))) == 0 {
			t.Errorf("variable %s has no values: %s", v.Name, v.Query.Query)
		}
	}
	expressions, end := 0, time.Now().Add(limit)
	for _, e := range d.expressions() {
		expressions++
		// What stands in for absent series would hide that there are none.
		expr := strings.ReplaceAll(substitute(e.Expr, values), " or vector(0)", "")
		if strings.Contains(expr, "$") {
			t.Errorf("%s: there is no such variable: %s", e.In, expr)
			continue
		}
		var got []sample
		hasData := func() bool {
			got = s.query(expr)
			return slices.ContainsFunc(got, func(s sample) bool { return !math.IsNaN(s.value) })
		}
		for !hasData() {
			if time.Now().After(end) { // the same for all, or many failures take many minutes
				t.Errorf("%s has no data: %s: %v", e.In, expr, got)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, s := range got {
			if s.value < 0 || strings.Contains(strings.ToLower(e.In), "ratio") && s.value > 1 {
				t.Errorf("%s is %v: %s", e.In, s.value, expr)
			}
			for _, name := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(e.Legend, -1) {
				if s.labels[name[1]] == "" {
					t.Errorf("%s has a legend with the label %s, which is not in %v", e.In, name[1], s.labels)
				}
			}
		}
	}
	t.Logf("%d expressions were evaluated", expressions)
	if expressions < 60 {
		t.Errorf("only %d expressions were found", expressions)
	}

	rules := s.rules()
	if len(rules) != strings.Count(read(t, "rules.yml"), "expr:") {
		t.Errorf("Prometheus has %d rules", len(rules))
	}
	for _, r := range rules {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
		}
		if r.Type == "recording" && len(s.query(r.Name)) == 0 {
			t.Errorf("rule %s has recorded nothing", r.Name)
		}
	}
}

// standIn serves what a Dragonfly at its limit would. Its names and labels are from the
// source of Dragonfly; no real one has been asked. Counters go up with each scrape.
func standIn(t *testing.T) string {
	t.Helper()
	text := read(t, "testdata/dragonfly.prom")
	counters := regexp.MustCompile(`(?m)^(\w+_(?:total|seconds)(?:\{[^}]*\})?) ([\d.]+)$`)
	var scrapes float64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		scrapes++ // Prometheus scrapes one at a time
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprint(w, counters.ReplaceAllStringFunc(text, func(line string) string {
			m := counters.FindStringSubmatch(line)
			v, _ := strconv.ParseFloat(m[2], 64)
			return fmt.Sprintf("%s %g", m[1], v*(1+scrapes/1000))
		}))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// purge asks a service to purge everything, and returns the status.
func purge(t *testing.T, service, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+service+"/purge", strings.NewReader(`{"all":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

type sample struct {
	labels map[string]string
	value  float64
}

// query evaluates an expression now.
func (s *stack) query(expr string) []sample {
	s.t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	s.get("/api/v1/query?query="+url.QueryEscape(expr), &data)
	out := make([]sample, 0, len(data.Result))
	for _, r := range data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			s.t.Fatalf("%s: %v", expr, err)
		}
		out = append(out, sample{r.Metric, v})
	}
	return out
}

type rule struct{ Name, Type, Health, LastError string }

func (s *stack) rules() (all []rule) {
	s.t.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	s.get("/api/v1/rules", &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func (s *stack) get(path string, data any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		s.t.Fatalf("%s: %s %s %v", path, res.Status, answer.Error, err)
	}
}

// substitute puts values in the place of variables, the longest names first.
func substitute(expr string, values map[string]string) string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		expr = strings.ReplaceAll(expr, name, values[name])
	}
	return expr
}

func quoted(addresses []string) string {
	b, _ := json.Marshal(addresses)
	return string(b)
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
