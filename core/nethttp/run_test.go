package nethttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// shared is a store that locks for several processes, as the engine sees it.
type shared struct{ *memory.Store }

// TestHandlerThatAsksItself with its own context, for another form or another
// page, waits for nothing that it has to do itself: whether one cache is in front
// of it, two handles, or two caches on one store.
func TestHandlerThatAsksItself(t *testing.T) {
	for _, control := range []string{"max-age=10", "private", "max-age=10, stale-if-error=1000"} {
		for name, stack := range map[string]func(first, second *cacheaside.Cache, h http.Handler) http.Handler{
			"one cache": func(first, _ *cacheaside.Cache, h http.Handler) http.Handler { return nethttp.New(first)(h) },
			"two handles": func(first, _ *cacheaside.Cache, h http.Handler) http.Handler {
				return nethttp.New(first)(nethttp.New(cacheaside.Must(first.With(func(p *cacheaside.Policy) { p.Key.Headers = []string{"Accept"} })))(h))
			},
			"two caches": func(first, second *cacheaside.Cache, h http.Handler) http.Handler {
				return nethttp.New(first)(nethttp.New(second)(h))
			},
		} {
			t.Run(name+" "+control, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := cacheaside.Must(memory.New(1 << 20))
					defer func() { _ = m.Close() }()
					policy := func(p *cacheaside.Config) { p.Store, p.Policy.Stale.SoftTimeout = shared{m}, 3*time.Second }
					var h http.Handler
					h = stack(coretest.NewCache(t, policy), coretest.NewCache(t, policy), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Cache-Control", control)
						if r.Header.Get("Accept") != "" {
							_, _ = io.WriteString(w, "part")
							return
						}
						for _, target := range []string{r.URL.Path, "/other"} {
							for _, part := range []*http.Request{
								cacheaside.Must(http.NewRequestWithContext(r.Context(), http.MethodGet, target, nil)),
								httptest.NewRequestWithContext(r.Context(), http.MethodGet, target, nil),
							} {
								part.Host = r.Host
								part.Header.Set("Accept", "text/part")
								rec := httptest.NewRecorder()
								h.ServeHTTP(rec, part)
								_, _ = w.Write(rec.Body.Bytes())
							}
						}
					}))
					server := &http.Server{Handler: h}
					for range 3 {
						began := time.Now()
						r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.ServerContextKey, server), http.MethodGet, "/page", nil)
						rec := httptest.NewRecorder()
						h.ServeHTTP(rec, r)
						if rec.Body.String() != "partpartpartpart" && name == "two handles" || rec.Code != http.StatusOK {
							t.Errorf("%d %q", rec.Code, rec.Body)
						}
						if took := time.Since(began); took > 100*time.Millisecond {
							t.Errorf("it has waited %v for itself", took)
						}
						time.Sleep(20 * time.Second)
					}
				})
			})
		}
	}
}

// TestRefreshAsksOthers: a request that a handler in the background makes with its
// context is one like others.
func TestRefreshAsksOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := coretest.NewCache(t, func(p *cacheaside.Config) { p.Policy.Stale.WhileRevalidate = time.Hour })
		n := 0
		var h http.Handler
		h = nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/part" {
				_, _ = io.WriteString(w, "part")
				return
			}
			n++
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/part", nil))
			if rec.Code != http.StatusOK || rec.Body.String() != "part" {
				t.Errorf("%d %q [%s]", rec.Code, rec.Body, rec.Header().Get("Cache-Status"))
			}
			_, _ = io.WriteString(w, "page")
		}))
		server := &http.Server{Handler: h}
		for range 3 {
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.ServerContextKey, server), http.MethodGet, "/page", nil)
			h.ServeHTTP(httptest.NewRecorder(), r)
			synctest.Wait()
			time.Sleep(2 * time.Minute)
		}
		if st := cache.Stats(); st.Refreshed < 2 || st.RefreshErrors != 0 || n != 3 {
			t.Errorf("%d runs, %+v", n, st)
		}
	})
}

// TestRefreshBehindAnotherCache: it reaches the cache that it is meant for.
func TestRefreshBehindAnotherCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front := coretest.NewCache(t, func(p *cacheaside.Config) { p.Policy.TTL = time.Hour })
		behind := coretest.NewCache(t, func(p *cacheaside.Config) {
			p.Policy.TTL, p.Policy.Stale.WhileRevalidate, p.Policy.Requests.IgnoreDirectives = 10*time.Second, time.Hour, true
		})
		h := nethttp.New(front)(nethttp.New(behind)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "page")
		})))
		server := &http.Server{Handler: h}
		for range 2 {
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.ServerContextKey, server), http.MethodGet, "/page", nil)
			r.Header.Set("Cache-Control", "no-cache") // front asks, whatever it has
			h.ServeHTTP(httptest.NewRecorder(), r)
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		if st := behind.Stats(); st.Refreshed != 1 || st.RefreshErrors != 0 {
			t.Errorf("%+v", st)
		}
	})
}

type ownKey struct{}

type connKey struct{}

// TestServerContext: a background run has what the server gives its requests.
func TestServerContext(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			refreshers := make(chan adapter.Refresher, 1)
			var seen []context.Context
			var local []net.Addr
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = append(seen, r.Context())
				var x nethttp.Exchange
				x.Reset(w, r)
				select {
				case refreshers <- x.Detach():
				default:
				}
			})
			server := httptest.NewUnstartedServer(h)
			base, stop := context.WithCancel(context.WithValue(context.Background(), ownKey{}, new(bytes.Buffer)))
			defer stop()
			server.Config.BaseContext = func(ln net.Listener) context.Context {
				local = append(local, ln.Addr())
				return base
			}
			server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				if _, isTLS := c.(*tls.Conn); isTLS != secure {
					t.Errorf("the connection is a %T", c)
				}
				if ctx.Value(http.ServerContextKey) == nil {
					t.Error("ConnContext has no server")
				}
				return context.WithValue(ctx, connKey{}, c.RemoteAddr().String()+" "+c.LocalAddr().String())
			}
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			res, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			refresher := <-refreshers
			refresher(ctx, new(adapter.Rerun))
			if len(seen) != 2 || seen[1].Value(ownKey{}) != seen[0].Value(ownKey{}) || seen[1].Value(connKey{}) != seen[0].Value(connKey{}) ||
				seen[1].Value(http.LocalAddrContextKey) != seen[0].Value(http.LocalAddrContextKey) || local[len(local)-1].String() != local[0].String() {
				t.Errorf("the run sees %v %v, the request saw %v %v", seen[1].Value(ownKey{}), seen[1].Value(connKey{}), seen[0].Value(ownKey{}), seen[0].Value(connKey{}))
			}
			want, _ := ctx.Deadline()
			if d, ok := seen[1].Deadline(); !ok || !d.Equal(want) {
				t.Errorf("deadline %v %t", d, ok)
			}
		})
	}
}

// TestServerContextFails: the run goes on without.
func TestServerContextFails(t *testing.T) {
	for name, server := range map[string]*http.Server{
		"BaseContext panics": {BaseContext: func(net.Listener) context.Context { panic("base") }},
		"BaseContext is nil": {BaseContext: func(net.Listener) context.Context { return nil }},
		"ConnContext panics": {ConnContext: func(_ context.Context, c net.Conn) context.Context {
			if _, err := c.Read(nil); err == nil {
				t.Error("the connection can be read")
			}
			panic("conn")
		}},
		"ConnContext is nil": {ConnContext: func(context.Context, net.Conn) context.Context { return nil }},
	} {
		ran := false
		var refresher adapter.Refresher
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ran = refresher != nil; ran && (r.Context().Value(http.ServerContextKey) != server || adapter.RerunFrom(r.Context()) == nil) {
				t.Errorf("%s: the context is incomplete", name)
			}
			var x nethttp.Exchange
			x.Reset(w, r)
			refresher = x.Detach()
		})
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.ServerContextKey, server), http.MethodGet, "/", nil)
		server.Handler.ServeHTTP(httptest.NewRecorder(), r)
		refresher(t.Context(), new(adapter.Rerun))
		if !ran {
			t.Errorf("%s: the handler did not run", name)
		}
	}
}

// TestBackgroundFillEnds: what bounds a handler whose client has left.
func TestBackgroundFillEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		leaves, deadline, ends time.Duration
		err                    error
	}{
		"the client stays":          {0, 0, 0, nil},
		"the client leaves":         {time.Second, 0, 6 * time.Second, context.Canceled},
		"a deadline":                {0, 3 * time.Second, 3 * time.Second, context.DeadlineExceeded},
		"it leaves, and a deadline": {time.Second, 3 * time.Second, 3 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := coretest.NewCache(t, func(p *cacheaside.Config) {
					p.Policy.Requests.BackgroundFill, p.Policy.Stale.RefreshTimeout = true, 5*time.Second
				})
				var kept context.Context
				h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					began := time.Now()
					kept = r.Context() //nolint:fatcontext // to see what becomes of it
					child, cancel := context.WithCancel(r.Context())
					defer cancel()
					select {
					case <-child.Done():
					case <-time.After(time.Minute):
					}
					if took := time.Since(began); !errors.Is(r.Context().Err(), tc.err) || tc.err != nil && took != tc.ends {
						t.Errorf("it ended after %v: %v", took, r.Context().Err())
					}
					_, _ = io.WriteString(w, "page")
				}))
				ctx := context.WithValue(t.Context(), ownKey{}, 1)
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				ctx, leave := context.WithCancel(ctx)
				defer leave()
				if tc.leaves > 0 {
					time.AfterFunc(tc.leaves, leave)
				}
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
				if kept.Err() == nil || kept.Value(ownKey{}) != 1 {
					t.Errorf("after the run: %v, %v", kept.Err(), kept.Value(ownKey{}))
				}
				if stored := cache.Stats().Stores == 1; stored != (tc.err == nil) {
					t.Errorf("stored: %t", stored)
				}
			})
		})
	}
}

// TestDeclaredLength: a handler that knows that its client has left has given the
// whole response if it is as long as it had declared before.
func TestDeclaredLength(t *testing.T) {
	for name, tc := range map[string]struct {
		declares string
		late     bool
		status   int
		stored   bool
	}{
		"no length":        {"", false, 200, false},
		"as declared":      {"4", false, 200, true},
		"another length":   {"5", false, 200, false},
		"declared late":    {"4", true, 200, false},
		"an error as such": {"4", false, 404, false},
	} {
		cache := coretest.NewCache(t, func(p *cacheaside.Config) { p.Policy.StatusTTL = map[int]time.Duration{404: time.Minute} })
		ctx, leave := context.WithCancel(t.Context())
		nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tc.late {
				leave()
			}
			if tc.declares != "" {
				w.Header().Set("Content-Length", tc.declares)
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, "bo")
			leave()
			_ = r.Context().Err()
			_, _ = io.WriteString(w, "dy")
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		leave()
		if stored := cache.Stats().Stores == 1; stored != tc.stored {
			t.Errorf("%s: stored: %t", name, stored)
		}
	}
}

func TestOptions(t *testing.T) {
	h := nethttp.New(coretest.NewCache(t),
		nethttp.WithSkip(func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" }),
		nethttp.WithPartition(func(r *http.Request) string { return r.Header.Get("X-User") }),
	)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "for "+r.Header.Get("X-User")) }))
	for _, user := range []string{"a", "b"} {
		coretest.Want(t, coretest.Get(h, "/x", "X-User: "+user), 200, "for "+user, false)
		coretest.Want(t, coretest.Get(h, "/x", "X-User: "+user), 200, "for "+user, true)
		coretest.Want(t, coretest.Get(h, "/x", "X-User: "+user, "X-Skip: 1"), 200, "for "+user, false)
	}
}

// TestRoutes: in front of a mux, behind one, and between two.
func TestRoutes(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("id")) })
	for name, build := range map[string]func(func(http.Handler) http.Handler) http.Handler{
		"in front": func(m func(http.Handler) http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /users/{id}", handler)
			return m(mux)
		},
		"behind": func(m func(http.Handler) http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /users/{id}", m(handler))
			return mux
		},
		"between": func(m func(http.Handler) http.Handler) http.Handler {
			outer, inner := http.NewServeMux(), http.NewServeMux()
			inner.Handle("/users/{id}", handler)
			outer.Handle("/", m(inner))
			return outer
		},
	} {
		t.Run(name, func(t *testing.T) {
			coretest.Routes(t, "/users/{id}", func(cache *cacheaside.Cache) func(string, ...string) *http.Response {
				h := build(nethttp.New(cache, nethttp.WithRoute(func(r *http.Request) string { return r.Header.Get("X-Route") })))
				return func(target string, fields ...string) *http.Response { return coretest.Get(h, target, fields...) }
			})
		})
	}
}
