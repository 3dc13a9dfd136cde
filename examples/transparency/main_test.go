package transparency

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// A stack is middleware of one kind, in front of the cache and behind it. Either
// place may be nil: it makes no sense there.
type stack struct {
	name          string
	front, behind builder
	header        []string                 // in every request that has no such field: name, value, ...
	config        func(*cacheaside.Policy) // changes the policy
	unstored      string                   // why nothing is ever answered from the store here
	h2c           bool                     // HTTP/2 without TLS
	differ        bool                     // the two places are different services without the cache as well
}

// A builder makes a service of a stack, with the cache of e in it.
type builder func(e *env) server

// env is what a service is made from.
type env struct {
	cache *cacheaside.Cache // nil: without
	log   *journal
}

// A server answers on ln until it is stopped.
type server func(ln net.Listener, s *site) (stop func())

// with returns the stack with fields in every request.
func (s stack) with(header ...string) stack {
	s.header = header
	return s
}

func (s stack) onlyFront() stack {
	s.behind = nil
	return s
}

func (s stack) onlyBehind() stack {
	s.front = nil
	return s
}

func (s stack) policy(config func(*cacheaside.Policy)) stack {
	s.config = config
	return s
}

// neverStored says why nothing can be stored in this stack; that it is so is tested.
func (s stack) neverStored(why string) stack {
	s.unstored = why
	return s
}

// site is a running service.
type site struct {
	url    string
	log    *journal
	done   chan struct{} // one for each request that has left the outermost layer
	client *http.Transport
	once   *http.Transport // a connection for each request
	jars   map[string]*jar
	seen   map[string]bool // random values that were given out

	fasthttp bool // it sends a body after some HEADs
}

// std serves h with net/http.
func std(h http.Handler) server {
	return func(ln net.Listener, s *site) func() {
		srv := &http.Server{
			ErrorLog:  log.New(io.Discard, "", 0),
			Protocols: new(http.Protocols),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { s.done <- struct{}{} }()
				h.ServeHTTP(w, r)
			}),
			ReadHeaderTimeout: time.Minute,
		}
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = srv.Serve(ln) }()
		return func() { _ = srv.Close() }
	}
}

// onFiber serves app. Its outermost layer is to be reporting(s).
func onFiber(build func(outermost fiber.Handler) *fiber.App) server {
	return func(ln net.Listener, s *site) func() {
		app := build(func(c *fiber.Ctx) error {
			defer func() { s.done <- struct{}{} }()
			return c.Next()
		})
		app.Server().Logger = quiet{}
		s.fasthttp = true
		go func() { _ = app.Listener(ln) }()
		return func() { _ = app.Shutdown() }
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

var _ fasthttp.Logger = quiet{}

// journal is what the logger of a stack writes.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) printf(format string, args ...any) { fmt.Fprintf(j, format, args...) }

// take returns what was written since the last call.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.b.Reset()
	return j.b.String()
}

// start runs the service that build makes, with or without a cache.
func start(t *testing.T, st stack, build builder, cached bool) *site {
	t.Helper()
	e := &env{log: new(journal)}
	if cached {
		cfg := cacheaside.Config{Logger: slog.New(slog.DiscardHandler), Timeouts: cacheaside.Timeouts{Lookup: time.Minute}, Policy: cacheaside.Policy{TTL: time.Minute, Storing: cacheaside.StoringPolicy{MaxBytes: maxBytes}}}
		if st.config != nil {
			st.config(&cfg.Policy)
		}
		var err error
		if e.cache, err = cacheaside.New(cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.cache.Close(context.Background()) })
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		url: "http://" + ln.Addr().String(), log: e.log, done: make(chan struct{}, 100),
		client: &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)},
		once:   &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		jars:   map[string]*jar{}, seen: map[string]bool{},
	}
	s.client.Protocols.SetHTTP1(!st.h2c)
	s.client.Protocols.SetUnencryptedHTTP2(st.h2c)
	stop := build(e)(ln, s)
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		stop()
	})
	return s
}

// files has hello.txt and index.html, written on an old date.
var files string

func TestMain(m *testing.M) {
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	log.SetOutput(io.Discard)
	os.Exit(func() int {
		var err error
		if files, err = os.MkdirTemp("", "transparency"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(files)
		for name, text := range map[string]string{"hello.txt": pageText, "index.html": "<!doctype html><p>index</p>\n", "favicon.ico": "icon"} {
			name = filepath.Join(files, name)
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				panic(err)
			}
			if err := os.Chtimes(name, written, written); err != nil {
				panic(err)
			}
		}
		return m.Run()
	}())
}

func frameworks() map[string][]stack {
	return map[string][]stack{
		"nethttp": httpStacks(),
		"chi":     chiStacks(),
		"gin":     ginStacks(),
		"echo":    echoStacks(),
		"fiber":   fiberStacks(),
	}
}

// Test plays the script on every stack, or on every fourth where time is short.
func Test(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		for framework, stacks := range frameworks() {
			t.Run(framework, func(t *testing.T) {
				for i, st := range stacks {
					if i%4 != 0 && !storetest.Long() {
						continue
					}
					t.Run(st.name, func(t *testing.T) {
						t.Parallel()
						bare := make([]answer, len(script))
						for _, place := range []struct {
							name  string
							build builder
						}{{"front", st.front}, {"behind", st.behind}} {
							if place.build == nil {
								continue
							}
							t.Run(place.name, func(t *testing.T) {
								compare(t, framework+"/"+st.name+"/"+place.name, st, place.build, bare)
							})
							if st.differ {
								clear(bare)
							}
						}
					})
				}
			})
		}
	})
	if left := running("cacheaside/core"); left != "" {
		t.Errorf("it goes on after the end:\n%s", left)
	}
	if f := flag.Lookup("test.run"); f.Value.String() != "" || !storetest.Long() {
		return // not all of it was played
	}
	for i, d := range differences {
		if !used[i].Load() {
			t.Errorf("no longer needed: %s: %s of %q (%s)", d.stack, d.field, d.request, d.reason)
		}
	}
}

// running returns a goroutine that is still in a package after a while, or nothing.
// Several of the middleware have some of their own that never end.
func running(pkg string) (left string) {
	buf := make([]byte, 16<<20)
	for range 500 {
		left = ""
		for one := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(one, pkg) {
				left = one
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

// TestStacks holds each framework to twenty stacks at least, with names of their own.
func TestStacks(t *testing.T) {
	for framework, stacks := range frameworks() {
		names := map[string]bool{}
		for _, st := range stacks {
			if names[st.name] {
				t.Errorf("%s: %s twice", framework, st.name)
			}
			names[st.name] = true
		}
		if len(names) < 20 {
			t.Errorf("%s: only %d stacks", framework, len(names))
		}
	}
}

// field returns the value of a list name, value, name, value, ...
func field(header []string, name string) (string, bool) {
	for pair := range slices.Chunk(header, 2) {
		if strings.EqualFold(pair[0], name) {
			return pair[1], true
		}
	}
	return "", false
}
