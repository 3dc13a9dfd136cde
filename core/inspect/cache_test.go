package inspect_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestServed: what a service has answered is what the API says.
func TestServed(t *testing.T) {
	recorder := inspect.NewRecorder(nil)
	cache, err := cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}, Observer: recorder})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	e, err := inspect.New(cache, recorder, inspect.Access{Token: inspect.FullToken})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a blog") })
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private")
		io.WriteString(w, inspect.Secret)
	})
	handler := nethttp.New(cache)(mux)
	get := func(path string) {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://example.com"+path, nil))
	}
	for range 3 {
		get("/blogs/1?token=" + inspect.Secret)
		get("/me?" + inspect.Secret + "=1")
	}
	ask := func(line string, v any) string {
		r := e.Serve(t.Context(), inspect.Asked(line, inspect.FullToken), []byte(`{"tags":["a"]}`))
		if r.Status != 200 || v != nil && json.Unmarshal(r.Body, v) != nil {
			t.Fatalf("%s: %d %s", line, r.Status, r.Body)
		}
		return string(r.Body)
	}
	var tail inspect.Tail
	all := ask("GET /api/tail", &tail)
	get("/blogs/1?token=" + inspect.Secret) // it is watched now
	ask("POST /api/purge", nil)
	all += ask("GET /api/tail", &tail)
	var hits, purges int
	for _, e := range tail.Events {
		if e.Result == "hit" && e.Key != nil && e.Key.Text == "http://example.com/blogs/1?token=…" && e.Route == "/blogs/{id}" {
			hits++
		}
		if e.Kind == "purge" && e.Outcome == "ok" {
			purges++
		}
	}
	if hits != 1 || purges != 1 {
		t.Errorf("%d hits, %d purges: %s", hits, purges, all)
	}
	var s inspect.Status
	all += ask("GET /api/status", &s)
	if s.Recent.Results["hit"] != 3 || s.Recent.Results["miss"] != 4 || s.Started.Purges["ok"] != 1 || *s.Recent.HitShare != 3.0/7 {
		t.Errorf("%+v", s.Recent)
	}
	var reasons inspect.Reasons
	all += ask("GET /api/reasons", &reasons)
	if len(reasons.Reasons) != 1 || reasons.Reasons[0].Reason != "private" || reasons.Reasons[0].Routes[0] != (inspect.RouteCount{"/me", 3}) {
		t.Errorf("%+v", reasons)
	}
	var top inspect.Top
	all += ask("GET /api/top", &top)
	if len(top.Keys) == 0 || top.Keys[0].Count != 4 || top.Keys[0].Error != 0 {
		t.Errorf("%+v", top)
	}
	for _, line := range []string{"GET /api/charts", "GET /api/routes", "GET /api/config", "GET /api/top?by=bytes"} {
		all += ask(line, nil)
	}
	if strings.Contains(strings.ReplaceAll(all, "/me?"+inspect.Secret+"=…", ""), inspect.Secret) {
		t.Errorf("a secret is shown: %s", all)
	}
}

// TestSharedOnServer: processes on one server see how each of them is doing.
func TestSharedOnServer(t *testing.T) {
	url := storetest.Server(t)
	var passed atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	namespace := "sharing-" + rand.Text()
	type process struct {
		get  func()
		seen func() inspect.Instances
	}
	start := func(name string) process {
		store, err := dragonfly.Open(t.Context(), url, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		recorder := inspect.NewRecorder(now)
		cache, err := cacheaside.New(cacheaside.Config{Store: store, Namespace: namespace, Observer: recorder, Now: now, Policy: cacheaside.Policy{TTL: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cache.Close(context.Background()) })
		e, err := inspect.New(cache, recorder, inspect.Access{Token: inspect.FullToken}, inspect.WithSharing(), inspect.WithInstance(name))
		if err != nil {
			t.Fatal(err)
		}
		h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a blog") }))
		return process{
			get: func() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://example.com/"+name, nil))
			},
			seen: func() (all inspect.Instances) {
				r := e.Serve(t.Context(), inspect.Asked("GET /api/instances", inspect.FullToken), nil)
				if r.Status == 200 {
					json.Unmarshal(r.Body, &all)
				}
				return all
			},
		}
	}
	processes := []process{start("a"), start("b")}
	// Each tells of itself while it has requests, now and then by its own clock.
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		passed.Add(int64(11 * time.Second))
		done := true
		for _, p := range processes {
			p.get()
			names := ""
			for _, other := range p.seen().Instances {
				if other.Recent.Requests > 0 {
					names += other.Instance.Host
				}
			}
			done = done && names == "ab"
		}
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", processes[0].seen())
		}
	}
}
