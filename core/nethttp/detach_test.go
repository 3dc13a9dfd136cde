package nethttp

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// detached is a middleware that makes the exchange as New does. It keeps the
// refresher of a request and the marker of one that is run again.
type detached struct {
	entry func(*http.Request) http.Handler

	mu         sync.Mutex
	refreshers []adapter.Refresher
	reruns     []*adapter.Rerun
}

func (d *detached) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(w, r)
		x.next, x.framework = next, &Framework{Entry: d.entry}
		d.mu.Lock()
		if rerun := x.Request().Rerun; rerun != nil {
			d.reruns = append(d.reruns, rerun)
		} else {
			d.refreshers = append(d.refreshers, x.Detach())
		}
		d.mu.Unlock()
		_, _ = x.Next(adapter.Forward{})
	})
}

type seen struct {
	Method, Path, Query, Host, Target, Remote, Proto string
	TLS, Body, Flusher, Hijacker                     bool
	Header                                           http.Header
	Local, Server                                    any
}

func see(w http.ResponseWriter, r *http.Request) seen {
	body, _ := io.ReadAll(r.Body)
	_, flusher := w.(http.Flusher)
	_, hijacker := w.(http.Hijacker)
	return seen{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Target: r.RequestURI,
		Remote: r.RemoteAddr, Proto: r.Proto, TLS: r.TLS != nil, Body: len(body) > 0, Flusher: flusher, Hijacker: hijacker,
		Header: r.Header.Clone(),
		Local:  r.Context().Value(http.LocalAddrContextKey), Server: r.Context().Value(http.ServerContextKey),
	}
}

type outerKey struct{}

// site notes what its handler and the layer in front of it see.
type site struct {
	detached
	http.Handler
	mu    sync.Mutex
	seen  []seen
	outer int
	ctx   context.Context // of the last request
}

func newSite(handler http.HandlerFunc, layers ...func(http.Handler) http.Handler) *site {
	s := new(site)
	s.Handler = s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen, s.ctx = append(s.seen, see(w, r)), r.Context()
		s.mu.Unlock()
		handler(w, r)
	}))
	for _, layer := range layers {
		s.Handler = layer(s.Handler)
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.outer++
		n := s.outer
		s.mu.Unlock()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), outerKey{}, n)))
	})
	return s
}

func send(t *testing.T, server *httptest.Server, method, target string) {
	t.Helper()
	req, err := http.NewRequest(method, server.URL+target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Range": "bytes=0-1", "If-None-Match": `"a"`, "If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT",
		"Cache-Control": "no-cache", "Pragma": "no-cache", "Content-Type": "text/plain",
		"Accept-Language": "de", "Cookie": "a=1; b=2", "X-Any": "1",
	} {
		req.Header.Set(name, value)
	}
	req.Host = "shop.example"
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

func start(t *testing.T, h http.Handler, tls bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	if tls {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func stripped(next http.Handler) http.Handler { return http.StripPrefix("/app", next) }

func TestDetach(t *testing.T) {
	for name, layers := range map[string][]func(http.Handler) http.Handler{"plain": nil, "rewritten": {stripped}} {
		for _, tls := range []bool{false, true} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				t.Run(name+map[bool]string{true: " TLS "}[tls]+" "+method, func(t *testing.T) {
					s := newSite(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("X-Answer", "1")
						w.WriteHeader(http.StatusEarlyHints)
						_, _ = io.WriteString(w, "answer")
						w.(http.Flusher).Flush()
					}, layers...)
					server := start(t, s, tls)
					send(t, server, method, "/app/a%2Fb?q=1&r=%20")
					send(t, server, http.MethodPost, "/app/other")
					original := s.seen[0]

					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					defer cancel()
					rerun := new(adapter.Rerun)
					s.refreshers[0](ctx, rerun)

					want := original
					want.Method, want.Body, want.Hijacker = http.MethodGet, false, false
					want.Header = want.Header.Clone()
					maps.DeleteFunc(want.Header, func(name string, _ []string) bool { return adapter.OmittedInRerun(name, false) })
					if len(want.Header) == len(original.Header) {
						t.Error("the original request has no fields to leave out")
					}
					if got := s.seen[2]; !reflect.DeepEqual(got, want) {
						t.Errorf("the handler saw\n%+v\nwant\n%+v", got, want)
					}
					if len(s.reruns) != 1 || s.reruns[0] != rerun {
						t.Error("the marker has not come back")
					}
					if d, ok := s.ctx.Deadline(); !ok || time.Until(d) < time.Minute {
						t.Errorf("deadline %v %v", d, ok)
					}
					if got := s.ctx.Value(outerKey{}); got != 3 {
						t.Errorf("the layer in front ran %v times", got)
					}
					cancel()
					if !errors.Is(s.ctx.Err(), context.Canceled) {
						t.Error("the request does not end with the given context")
					}
				})
			}
		}
	}
}

func TestDetachWithoutServer(t *testing.T) {
	for _, layers := range [][]func(http.Handler) http.Handler{nil, {stripped}} {
		s := newSite(func(http.ResponseWriter, *http.Request) {}, layers...)
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		if s.refreshers[0] != nil {
			t.Error("there is nothing to start from")
		}
		s.entry = func(*http.Request) http.Handler { return s }
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		if can := s.refreshers[1] != nil; can != (layers == nil) {
			t.Errorf("run again from a router: %t, rewritten %t", can, layers != nil)
		}
	}
}

func TestDetachPanic(t *testing.T) {
	s := newSite(func(w http.ResponseWriter, r *http.Request) {
		if adapter.RerunFrom(r.Context()) != nil {
			panic(http.ErrAbortHandler)
		}
	})
	send(t, start(t, s, false), http.MethodGet, "/")
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // the very value
			t.Errorf("panic: %v", v)
		}
	}()
	s.refreshers[0](t.Context(), new(adapter.Rerun))
}

func TestDetachConcurrently(t *testing.T) {
	s := newSite(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a") })
	server := start(t, s, false)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { send(t, server, http.MethodGet, "/a") })
	}
	wg.Wait()
	for _, refresh := range s.refreshers {
		wg.Go(func() { refresh(t.Context(), new(adapter.Rerun)) })
		wg.Go(func() { send(t, server, http.MethodGet, "/b") })
	}
	wg.Wait()
	if len(s.reruns) != 8 {
		t.Errorf("%d requests were run again", len(s.reruns))
	}
}

// TestDetachStream: a handler that writes until it fails to comes to its end when
// the run's time is over.
func TestDetachStream(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter) error{
		"Write":       func(w http.ResponseWriter) error { _, err := w.Write([]byte("a")); return err },
		"WriteString": func(w http.ResponseWriter) error { _, err := io.WriteString(w, "a"); return err },
		"Flush":       func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := newSite(func(w http.ResponseWriter, r *http.Request) {
				if adapter.RerunFrom(r.Context()) == nil {
					return
				}
				for n := range 1000 {
					if n == 10 {
						cancel()
					}
					if err := write(w); err != nil {
						if n < 10 || !errors.Is(err, context.Canceled) {
							t.Errorf("failed at write %d: %v", n, err)
						}
						return
					}
				}
				t.Error("the handler does not learn that nobody reads")
			})
			send(t, start(t, s, false), http.MethodGet, "/")
			s.refreshers[0](ctx, new(adapter.Rerun))
		})
	}
}

// TestPanic: after a panic of the handler another response may take its place,
// and without one whoever recovers starts afresh.
func TestPanic(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"nothing sent": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Outer", "changed")
			w.Header().Set("X-Handler", "1")
			panic("handler")
		},
		"a part sent": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Outer", "changed")
			w.Header().Set("X-Handler", "1")
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "part")
			panic("handler")
		},
	} {
		for _, reply := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", replied", false: ", recovered"}[reply], func(t *testing.T) {
				server := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Outer", "1")
					x := new(exchange)
					x.Reset(w, r)
					x.next = handler
					func() {
						defer func() {
							if recover() != "handler" {
								t.Error("no panic")
							}
						}()
						_, _ = x.Next(adapter.Forward{Capture: true})
					}()
					if x.Ran() {
						t.Error("the handler has not returned")
					}
					if reply {
						_ = x.Reply(&adapter.Response{Status: 200, Header: adapter.Fields{{Name: "X-Stale", Value: "1"}}, Body: []byte("stale")})
						return
					}
					w.WriteHeader(http.StatusInternalServerError)
					_, _ = io.WriteString(w, "sorry")
				}), false)
				res, err := server.Client().Get(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				h := res.Header
				if reply && (res.StatusCode != 200 || string(body) != "stale" || h.Get("X-Stale") != "1" || h.Get("X-Outer") != "1" || h.Get("X-Handler") != "") {
					t.Errorf("%d %q %v %v", res.StatusCode, body, err, h)
				}
				if !reply && (res.StatusCode != 500 || string(body) != "sorry" || err != nil) {
					t.Errorf("%d %q %v %v", res.StatusCode, body, err, h)
				}
			})
		}
	}
}

// TestPanicAfterHijack: the connection is not the server's any more.
func TestPanicAfterHijack(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		x := new(exchange)
		x.Reset(w, r)
		x.next = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nown")
			conn.Close()
			panic("handler")
		})
		func() {
			defer func() { _ = recover() }()
			_, _ = x.Next(adapter.Forward{Capture: true})
		}()
		if err := x.Reply(&adapter.Response{Status: 200}); err != nil {
			t.Error(err)
		}
	}))
	var logged strings.Builder
	server.Config.ErrorLog = log.New(&logged, "", 0)
	server.Start()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "own" {
		t.Errorf("%q", body)
	}
	res.Body.Close()
	server.Close()
	<-done
	if logged.Len() > 0 {
		t.Errorf("the server logs %q", &logged)
	}
}

// TestDetachDefaultServeMux: that is what a server without a handler has.
func TestDetachDefaultServeMux(t *testing.T) {
	s := newSite(func(http.ResponseWriter, *http.Request) {})
	old := http.DefaultServeMux
	http.DefaultServeMux = http.NewServeMux()
	defer func() { http.DefaultServeMux = old }()
	http.DefaultServeMux.Handle("GET /{id}", s)
	r := httptest.NewRequest(http.MethodGet, "/a", nil)
	s.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, new(http.Server))))
	s.refreshers[0](t.Context(), new(adapter.Rerun))
	if len(s.reruns) != 1 || !reflect.DeepEqual(s.seen[0].Header, s.seen[1].Header) || s.seen[1].Path != "/a" {
		t.Errorf("%+v", s.seen)
	}
}
