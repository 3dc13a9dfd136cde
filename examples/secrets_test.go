package examples

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/rueidis"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/otel"
	"github.com/cacheaside/cacheaside/core/prom"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// TestSecrets puts secrets into every place where a request, a response, a key, the store
// or the configuration may have one, and looks for them in all that anybody is shown: the
// page's data, metrics, traces, logs, statistics, Cache-Status, and what the command says.
func TestSecrets(t *testing.T) {
	storetest.EachKind(t, func(t *testing.T, only servers.Option) {
		t.Parallel()
		testSecrets(t, only)
	})
}

func testSecrets(t *testing.T, only servers.Option) {
	s := startSecretive(t, only)
	s.ask()
	s.watch("while all is well")
	s.command(false)

	s.spoil()
	s.watch("with damaged entries")
	s.command(true)
	s.ask()

	s.server.Pause() // nothing answers any more
	s.ask()
	s.server.Resume()
	s.watch("after the server was silent")
	s.wrongly()
	for where, text := range map[string]string{ // what has been kept out was there
		"/api/lookup while all is well":            `{"name":"Set-Cookie","value":"…"}`,
		"/api/explain while all is well":           `partition=…`,
		"/api/explain with damaged entries":        `{"step":"lookup","result":"it is no entry`,
		"/api/lookup with damaged entries":         `"cause":"corrupt"`,
		"/api/tail?limit=500 with damaged entries": `generated=…`,
		"cacheaside get by the inspector":          "Set-Cookie: …", "cacheaside get by the store": "Set-Cookie: …", "cacheaside ls by the store": "partition=…",
		"cacheaside tail by the inspector": "generated=…", "cacheaside doctor by the store": "server", "cacheaside explain by the inspector": "hit",
		"log": "cacheaside: the store failed", "traces": "cacheaside fill", "Cache-Status": "detail=near", "errors of purges": "not acknowledged",
	} {
		if !strings.Contains(s.seen.texts[where].String(), text) {
			t.Errorf("%s shows no %s", where, text)
		}
	}
	s.seen.search(t)
}

// secret is a secret for a place, which the test tells when it finds it.
func secret(place string) string { return "s3cr3t-" + place }

// shown is what somebody was shown, by where.
type shown struct {
	mu    sync.Mutex
	texts map[string]*bytes.Buffer
}

func (s *shown) add(where, text string) { _, _ = s.at(where).Write([]byte(text + "\n")) }

// at takes what is shown there.
func (s *shown) at(where string) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.texts[where] == nil {
			s.texts[where] = &bytes.Buffer{}
		}
		return s.texts[where].Write(p)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// hidden is a secret as it is, or in an encoding that programs like.
var hidden = regexp.MustCompile(`(?i)s3cr3t|czNjcjN0|733363723374`)

func (s *shown) search(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for where, text := range s.texts {
		if at := hidden.FindIndex(text.Bytes()); at != nil {
			t.Errorf("%s: …%s…", where, text.Bytes()[max(0, at[0]-300):min(text.Len(), at[1]+60)])
		}
		if text.Len() == 0 {
			t.Errorf("%s shows nothing", where)
		}
		if dir := os.Getenv("CACHEASIDE_SHOWN"); dir != "" { // to look at
			_ = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(where, "/", "_")), text.Bytes(), 0o600)
		}
	}
}

// secretive is a service that has secrets.
type secretive struct {
	t       *testing.T
	seen    *shown
	server  *storetest.Process
	client  rueidis.Client // the administrator's
	cache   *cacheaside.Cache
	service *httptest.Server
	admin   *httptest.Server // inspector and metrics
	metrics *metric.ManualReader
	token   string
	prefix  string // the namespace
}

func startSecretive(t *testing.T, only servers.Option) *secretive {
	s := &secretive{t: t, seen: &shown{texts: map[string]*bytes.Buffer{}}, server: storetest.StartServer(t, only), token: secret("token-of-the-inspector"), prefix: "secrets-" + rand.Text()}
	var err error
	if s.client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.server.Addr}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	for _, command := range []string{"ACL SETUSER service on >" + secret("password") + " ~* &* +@all"} {
		if err := s.client.Do(t.Context(), s.client.B().Arbitrary(strings.Fields(command)...).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.NewJSONHandler(s.seen.at("log"), &slog.HandlerOptions{Level: slog.LevelDebug}))
	store, err := dragonfly.Open(t.Context(), s.store(), dragonfly.WithLogger(logger), dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20}))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	numbers, err := prom.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(s.seen.at("traces")))
	if err != nil {
		t.Fatal(err)
	}
	traces := trace.NewTracerProvider(trace.WithSyncer(exporter))
	s.metrics = metric.NewManualReader()
	spans, err := otel.New(otel.WithTracerProvider(traces), otel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(s.metrics))))
	if err != nil {
		t.Fatal(err)
	}
	recorder := inspect.NewRecorder(nil)
	s.cache, err = cacheaside.New(cacheaside.Config{
		Store: store, Namespace: s.prefix, Logger: logger, Observer: observe.All(numbers, spans, recorder),
		Policy: cacheaside.Policy{Name: "secretive", TTL: time.Minute, Stale: cacheaside.StalePolicy{IfError: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.service.Close()
		s.admin.Close()
		_ = s.cache.Close(context.Background())
		_ = spans.Close()
		store.Close()
	})
	page, err := nethttp.NewInspect(s.cache, recorder, inspect.Access{Token: s.token, ReadToken: secret("token-to-read-with")}, inspect.WithSharing())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	s.admin = httptest.NewServer(mux)
	s.service = httptest.NewServer(s.handler(traces))
	return s
}

// store is the address of the store, with a user's password.
func (s *secretive) store() string {
	return "redis://service:" + secret("password") + "@" + s.server.Addr
}

// handler is the service: handles whose keys are made of secrets, before handlers that
// say some.
func (s *secretive) handler(traces *trace.TracerProvider) http.Handler {
	answer := func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Set-Cookie", "session="+secret("cookie-of-a-response"))
		h.Set("Location", "https://user:"+secret("userinfo-of-location")+"@example.com/next?key="+secret("query-of-location"))
		h.Set("Link", "</next?key="+secret("query-of-link")+">; rel=next")
		h.Set("Www-Authenticate", `Basic realm="`+secret("realm")+`"`)
		h.Set("Vary", "X-Token, Accept-Language")
		h.Set("Cache-Tag", "blogs,blog-1")
		h.Set("ETag", `"v1"`)
		if r.URL.Path == "/fails" {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/private" {
			h.Set("Cache-Control", "private")
		}
		_, _ = io.WriteString(w, "a body with "+secret("body"))
	}
	value := func(name string) func(*cacheaside.Request) string {
		return func(r *cacheaside.Request) string { return strings.Join(r.Header.Values(name), ",") }
	}
	key := func(k cacheaside.KeyPolicy) cacheaside.Policy {
		p := cacheaside.RFC9111()
		p.TTL, p.Key = time.Minute, k
		p.Storing.SetCookie, p.Storing.Authorized = true, true
		p.Requests.Cookies = cacheaside.None()
		return p
	}
	mux := http.NewServeMux()
	for prefix, policy := range map[string]cacheaside.Policy{
		"/plain":     key(cacheaside.KeyPolicy{}),
		"/partition": key(cacheaside.KeyPolicy{Partition: value("X-User")}),
		"/fields":    key(cacheaside.KeyPolicy{Headers: []string{"X-Tenant"}, Cookies: []string{"sid"}}),
		"/generator": key(cacheaside.KeyPolicy{Generator: value("X-User")}),
		"/long":      key(cacheaside.KeyPolicy{Headers: []string{"X-Long"}}),
	} {
		policy.Name = prefix[1:]
		handle, err := s.cache.With(func(p *cacheaside.Policy) { *p = policy })
		if err != nil {
			s.t.Fatal(err)
		}
		mux.Handle("GET "+prefix+"/{id}", nethttp.New(handle)(http.HandlerFunc(answer)))
	}
	own := http.NewServeMux()
	own.HandleFunc("GET /private", answer)
	own.HandleFunc("GET /fails", answer)
	mux.Handle("/", nethttp.New(s.cache)(own))
	tracer := traces.Tracer("service")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "GET")
		defer span.End()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// secretFields are those of a request.
func secretFields() map[string]string {
	return map[string]string{
		"Authorization": "Bearer " + secret("authorization"), "Cookie": "sid=" + secret("cookie"), "X-User": secret("user"), "X-Tenant": secret("tenant"),
		"X-Token": secret("selecting-field"), "X-Long": strings.Repeat(secret("long-field"), 200), "X-Forwarded-Host": "example.com",
		"Referer": "https://example.com/?" + secret("referer"), "Baggage": "user=" + secret("baggage"),
		"Traceparent": "00-00000000000000000000000000000001-0000000000000001-01",
	}
}

// ask sends requests of every kind, each of them often enough to become one for the near
// tier.
func (s *secretive) ask() {
	for _, path := range []string{"/plain/1", "/partition/1", "/fields/1", "/generator/1", "/long/1", "/private", "/fails"} {
		for range 4 {
			req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.service.URL+path+"?q="+secret("query")+";"+secret("name-of-a-parameter"), nil)
			if err != nil {
				s.t.Fatal(err)
			}
			for name, value := range secretFields() {
				req.Header.Set(name, value)
			}
			res, err := client.Do(req)
			if err != nil {
				if path == "/fails" {
					continue
				}
				s.t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			s.seen.add("Cache-Status", strings.Join(res.Header.Values("Cache-Status"), "\n"))
		}
	}
	if err := s.cache.PurgeTags(s.t.Context(), "another"); err != nil {
		s.seen.add("errors of purges", err.Error())
	}
	_ = s.cache.PurgeURL(s.t.Context(), "https://user:"+secret("userinfo-of-a-purge")+"@example.com/?"+secret("query-of-a-purge"))
}

// watch takes down all that operators are shown.
func (s *secretive) watch(when string) {
	text := func(method, path, body string) {
		req, err := http.NewRequestWithContext(s.t.Context(), method, s.admin.URL+path, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if path == "/metrics" {
			req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		}
		res, err := client.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK && (res.StatusCode != http.StatusServiceUnavailable || s.cache.Stats().BreakerOpened == 0) {
			s.t.Errorf("%s %s: %d %s", path, when, res.StatusCode, b)
		}
		s.seen.add(path+" "+when, fmt.Sprint(res.Header)+string(b))
	}
	for _, path := range []string{
		"/", "/metrics", "/api/session", "/api/status", "/api/instances", "/api/charts", "/api/routes", "/api/reasons", "/api/config",
		"/api/top?by=requests", "/api/top?by=bytes", "/api/top?by=misses", "/api/tail?limit=500",
	} {
		text(http.MethodGet, path, "")
	}
	for _, path := range []string{"/plain/1", "/fields/1", "/partition/1", "/generator/1", "/long/1"} {
		fields := []map[string]string{}
		for name, value := range secretFields() {
			fields = append(fields, map[string]string{"name": name, "value": value})
		}
		b, err := json.Marshal(map[string]any{"url": s.service.URL + path + "?q=" + secret("query") + ";" + secret("name-of-a-parameter"), "header": fields})
		if err != nil {
			s.t.Fatal(err)
		}
		text(http.MethodPost, "/api/lookup", string(b))
		text(http.MethodPost, "/api/explain", string(b))
	}
	var all metricdata.ResourceMetrics
	if err := s.metrics.Collect(s.t.Context(), &all); err != nil {
		s.t.Fatal(err)
	}
	b, err := json.Marshal(all.ScopeMetrics)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seen.add("OpenTelemetry's metrics "+when, string(b))
	s.seen.add("Stats "+when, fmt.Sprintf("%+v", s.cache.Stats()))
}

// command runs the operator's command, by the inspector and by the store alone, or only
// what of it reads entries.
func (s *secretive) command(entries bool) {
	url := s.service.URL + "/plain/1?q=" + secret("query") + ";" + secret("name-of-a-parameter")
	fields := []string{"-H", "X-Token: " + secret("selecting-field"), "-H", "X-Forwarded-Host: example.com"}
	all := [][]string{
		append([]string{"get", url, "--headers"}, fields...), append([]string{"explain", url}, fields...), {"ls"},
	}
	if !entries {
		all = append(all, append([]string{"explain", url, "--send"}, fields...), []string{"ls", s.service.URL}, []string{"purge", "tag", "another", "--yes"},
			[]string{"purge", "url", url, "--yes"}, []string{"stats"}, []string{"top"}, []string{"top", "--by", "misses"}, []string{"tail", "--once"},
			[]string{"doctor"}, []string{"--help"})
	}
	for _, args := range all {
		for _, form := range []string{"", "--json"} {
			for name, from := range map[string][]string{"inspector": {"--inspect", s.admin.URL}, "store": {"--store", s.store(), "--namespace", s.prefix}} {
				cmd := exec.CommandContext(s.t.Context(), s.program(), append(append(args[:len(args):len(args)], from...), strings.Fields(form)...)...)
				cmd.Env = append(os.Environ(), "CACHEASIDE_TOKEN="+s.token)
				b, err := cmd.CombinedOutput()
				if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
					s.t.Fatal(err)
				}
				s.seen.add(strings.TrimSpace("cacheaside "+args[0]+" "+form)+" by the "+name, string(b))
			}
		}
	}
}

// spoil damages what is stored.
func (s *secretive) spoil() {
	var cursor uint64
	for {
		page, err := s.client.Do(s.t.Context(), s.client.B().Scan().Cursor(cursor).Count(1000).Build()).AsScanEntry()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, key := range page.Elements {
			if strings.Contains(key, "{GET:") {
				if err := s.client.Do(s.t.Context(), s.client.B().Set().Key(key).Value(secret("value-of-another")).Build()).Error(); err != nil {
					s.t.Fatal(err)
				}
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return
		}
	}
}

// wrongly takes down what is said of addresses and passwords that are wrong.
func (s *secretive) wrongly() {
	for name, addr := range map[string]string{
		"a wrong password":  "redis://service:" + secret("wrong-password") + "@" + s.server.Addr,
		"an unknown user":   "redis://" + secret("user") + ":" + secret("wrong-password") + "@" + s.server.Addr,
		"a wrong escape":    "redis://service:" + secret("%zz") + "@" + s.server.Addr,
		"no port":           "redis://service:" + secret("password") + "@" + "localhost:none",
		"another scheme":    "http://service:" + secret("password") + "@" + s.server.Addr,
		"a wrong parameter": s.store() + "/0?password=" + secret("parameter"),
		"nobody there":      "redis://service:" + secret("password") + "@127.0.0.1:1",
		"a password alone":  secret("password") + "@" + s.server.Addr,
		"no scheme":         "service:" + secret("password") + "@" + s.server.Addr,
		"TLS where none is": "rediss://service:" + secret("password") + "@" + s.server.Addr,
	} {
		_, err := dragonfly.Open(s.t.Context(), addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
		if err == nil {
			s.t.Errorf("%s is accepted", name)
			continue
		}
		s.seen.add("Open with "+name, err.Error())
		cmd := exec.CommandContext(s.t.Context(), filepath.Join(bin, "gin"), "-dragonfly", addr, "-addr", "127.0.0.1:0")
		b, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			s.t.Errorf("an example with %s: %v %s", name, err, b)
		}
		s.seen.add("an example with "+name, string(b))
	}
}

// program is the operator's command.
func (s *secretive) program() string {
	path := filepath.Join(bin, "cacheaside")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(s.t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("..", "core", "cmd", "cacheaside")
	root, err := filepath.Abs("..")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return path
}
