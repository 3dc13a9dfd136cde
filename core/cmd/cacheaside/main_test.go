package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// asCommand has the test's own program be the command.
const asCommand = "CACHEASIDE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what has to come, on however slow a machine.
const patience = 2 * time.Minute

const (
	token     = "token-sEcReT-0123456789"
	readToken = "rtoken-sEcReT-012345678"
	password  = "password-sEcReT"
	secret    = "sEcReT" // is a part of all that must not be shown
)

// service is a real one, with its cache on a real server.
type service struct {
	server    *storetest.Process
	store     string // its URL, with the password
	front     string // the URL of the service
	inspector string
	cache     *cacheaside.Cache
}

// newService is one whose users do not share responses.
func newService(t *testing.T) *service {
	t.Helper()
	s := newServiceOf(t, routes(), cacheaside.Policy{
		TTL: time.Hour, Stale: cacheaside.StalePolicy{WhileRevalidate: time.Hour},
		Key: cacheaside.KeyPolicy{Partition: func(r *cacheaside.Request) string { return first(r.Header.Values("X-User")) }},
	})
	s.get(t, "/blogs/0") // shows how requests are sent
	return s
}

func newServiceOf(t *testing.T, handler http.Handler, policy cacheaside.Policy) *service {
	t.Helper()
	p := storetest.StartServer(t, servers.Password(password))
	s := &service{server: p, store: "redis://:" + password + "@" + p.Addr}
	quiet := slog.New(slog.DiscardHandler)
	store, err := storetest.Patiently(func() (*dragonfly.Store, error) {
		return dragonfly.Open(t.Context(), s.store, dragonfly.WithLogger(quiet))
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := inspect.NewRecorder(nil)
	long := 30 * time.Second // the machine may be slow
	s.cache, err = cacheaside.New(cacheaside.Config{
		Store: store, Observer: recorder, Logger: quiet,
		Policy:   policy,
		Timeouts: cacheaside.Timeouts{Lookup: long, Write: long, Purge: long},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cache.Close(context.Background())
		store.Close()
	})
	page, err := nethttp.NewInspect(s.cache, recorder, inspect.Access{Token: token, ReadToken: readToken}, inspect.WithInstance("web-1"))
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(nethttp.New(s.cache)(handler))
	t.Cleanup(front.Close)
	operators := httptest.NewServer(http.StripPrefix("/cache", page))
	t.Cleanup(operators.Close)
	s.front, s.inspector = front.URL, operators.URL+"/cache"
	return s
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

const binary = "\x00\x1b[31m\xff"

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blogs/{id...}", func(w http.ResponseWriter, r *http.Request) {
		cacheaside.AddTags(r.Context(), "blog-"+r.PathValue("id"), "https://user:tag-sEcReT@example.com/?k=tag-sEcReT")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Location", "https://user:location-sEcReT@example.com/?k=location-sEcReT")
		io.WriteString(w, "blog "+r.PathValue("id"))
	})
	mux.HandleFunc("GET /languages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		io.WriteString(w, "in "+r.Header.Get("Accept-Language"))
	})
	mux.HandleFunc("GET /private", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private")
		io.WriteString(w, "for one")
	})
	mux.HandleFunc("GET /cookie", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "sid=cookie-sEcReT")
		io.WriteString(w, "with a cookie")
	})
	mux.HandleFunc("GET /binary", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, binary)
	})
	return mux
}

// get asks the service, with fields as pairs, and waits for what is to be stored.
func (s *service) get(t *testing.T, path string, fields ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.front+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if req.Header.Set(fields[i], fields[i+1]); fields[i] == "Host" {
			req.Host = fields[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err := s.cache.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// client is one for the server.
func (s *service) client(t *testing.T) rueidis.Client {
	t.Helper()
	c, err := storetest.Patiently(func() (rueidis.Client, error) {
		return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.server.Addr}, Password: password, DisableCache: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// env is what a command finds in its environment.
func (s *service) env() []string {
	return []string{"CACHEASIDE_INSPECT=" + s.inspector, "CACHEASIDE_TOKEN=" + token}
}

// ran is a command that is over.
type ran struct {
	code     int
	out, err string
}

func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{asCommand + "=1", "HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH"), "TZ=UTC", "GORACE=atexit_sleep_ms=0"}, env...)
	return cmd
}

// run runs the command, its output piped.
func run(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	return runWith(t, nil, env, args...)
}

func runWith(t *testing.T, stdin io.Reader, env []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	r := ran{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if strings.Contains(r.out+r.err, "DATA RACE") || strings.Contains(r.err, "panic:") || strings.Contains(r.err, "goroutine ") {
		t.Fatalf("%q: %s", args, r.err)
	}
	return r
}

// call runs the command in this process, for many in a row: its output piped.
func call(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &output{w: &out}, stderr: &errs, getenv: func(name string) (value string) {
		for _, e := range env { // the last one counts
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				value = v
			}
		}
		return value
	}}
	return ran{a.run(ctx, args), out.String(), errs.String()}
}

// wants fails where a command has not ended with code, or its output, or what it says is
// wrong, lacks a text.
func (r ran) wants(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit status %d, want %d", r.code, code)
	}
	for _, s := range texts {
		if !strings.Contains(r.out+r.err, s) {
			t.Errorf("it does not say %q", s)
		}
	}
	if strings.Contains(r.out+r.err, secret) {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Fatalf("stdout: %s\nstderr: %s", r.out, r.err)
	}
}

// refusing is an address at which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// synced is what a command writes while somebody looks at it.
type synced struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// sees waits until text has been written.
func (s *synced) sees(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not written: %s", text, s.String())
		}
	}
}
