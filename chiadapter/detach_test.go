package chiadapter

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// detached keeps the refresher of a request, the marker of one that is run
// again, and what the handler sees.
type detached struct {
	mu         sync.Mutex
	refreshers []adapter.Refresher
	reruns     []*adapter.Rerun
	seen       []seen
	ctx        context.Context // of the last request
	outer      int             // how often the layer in front has run
}

type seen struct {
	Method, Path, ID, Route, Query, Host, Target, Remote string
	TLS, Body                                            bool
	Header                                               http.Header
}

func (d *detached) detach(x adapter.Exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rerun := x.Request().Rerun; rerun != nil {
		d.reruns = append(d.reruns, rerun)
	} else {
		d.refreshers = append(d.refreshers, x.Detach())
	}
}

func (d *detached) see(r *http.Request, id, route string) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = r.Context()
	d.seen = append(d.seen, seen{
		Method: r.Method, Path: r.URL.EscapedPath(), ID: id, Route: route, Query: r.URL.RawQuery, Host: r.Host,
		Target: r.RequestURI, Remote: r.RemoteAddr, TLS: r.TLS != nil, Body: len(body) > 0, Header: r.Header.Clone(),
	})
}

type outerKey struct{}

// inFront is the layer in front of the cache.
func (d *detached) inFront(r *http.Request) *http.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outer++
	return r.WithContext(context.WithValue(r.Context(), outerKey{}, d.outer))
}

// check sends requests to h, runs the first one again and compares.
func (d *detached) check(t *testing.T, h http.Handler, method, target string) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	defer server.Close()
	d.send(t, server, method, target)
	d.send(t, server, http.MethodPost, path.Dir(target)+"/other") // takes the first one's context
	original := d.seen[0]

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	rerun := new(adapter.Rerun)
	d.refreshers[0](ctx, rerun)

	want := original
	want.Method, want.Body = http.MethodGet, false
	want.Header = want.Header.Clone()
	maps.DeleteFunc(want.Header, func(name string, _ []string) bool { return adapter.OmittedInRerun(name) })
	if len(want.Header) > len(original.Header)-3 || original.ID == "" || !original.TLS {
		t.Errorf("the original: %+v", original)
	}
	if got := d.seen[2]; !reflect.DeepEqual(got, want) {
		t.Errorf("the handler saw\n%+v\nwant\n%+v", got, want)
	}
	if len(d.reruns) != 1 || d.reruns[0] != rerun {
		t.Error("the marker has not come back")
	}
	if deadline, ok := d.ctx.Deadline(); !ok || time.Until(deadline) < time.Minute {
		t.Errorf("deadline %v %v", deadline, ok)
	}
	if got := d.ctx.Value(outerKey{}); got != 3 {
		t.Errorf("the layer in front ran %v times", got)
	}
	cancel()
	if !errors.Is(d.ctx.Err(), context.Canceled) {
		t.Error("the request does not end with the given context")
	}
}

func (d *detached) send(t *testing.T, server *httptest.Server, method, target string) {
	t.Helper()
	req, err := http.NewRequest(method, server.URL+target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Range", "If-None-Match", "Cache-Control", "Content-Type", "Accept-Language", "Cookie"} {
		req.Header.Set(name, "a=1")
	}
	req.Host = "shop.example"
	res, err := server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

// checkConcurrently runs requests again while others are served.
func (d *detached) checkConcurrently(t *testing.T, h http.Handler) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/a") })
	}
	wg.Wait()
	for _, refresh := range d.refreshers {
		wg.Go(func() { refresh(t.Context(), new(adapter.Rerun)) })
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/b") })
	}
	wg.Wait()
	n := 0
	for _, s := range d.seen[8:] {
		if s.ID == "a" {
			n++
		}
	}
	if len(d.reruns) != 8 || n != 8 {
		t.Errorf("%d requests were run again, %d to their target", len(d.reruns), n)
	}
}

// cache makes an exchange that starts again where New's does.
func (d *detached) cache(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{entry: rootRouter(r)}
		x.Reset(w, r)
		d.detach(x)
		next.ServeHTTP(w, r)
	})
}

type exchange struct {
	nethttp.Exchange
	entry http.Handler
}

func (x *exchange) Detach() adapter.Refresher                       { return x.Refresher(x.entry) }
func (x *exchange) Next(adapter.Forward) (*adapter.Response, error) { return nil, nil }

func (d *detached) handler(w http.ResponseWriter, r *http.Request) {
	c := chi.RouteContext(r.Context())
	d.see(r, c.URLParam("id"), c.RoutePattern())
	_, _ = io.WriteString(w, "answer")
}

func (d *detached) routers() map[string]chi.Router {
	all := map[string]chi.Router{}
	for name, build := range map[string]func(chi.Router){
		"use": func(r chi.Router) {
			r.Use(d.cache)
			r.HandleFunc("/app/{id}", d.handler)
		},
		"with": func(r chi.Router) { r.With(d.cache).HandleFunc("/app/{id}", d.handler) },
		"group": func(r chi.Router) {
			r.Group(func(r chi.Router) {
				r.Use(d.cache)
				r.HandleFunc("/app/{id}", d.handler)
			})
		},
		"route": func(r chi.Router) {
			r.Route("/app", func(r chi.Router) {
				r.Use(d.cache)
				r.HandleFunc("/{id}", d.handler)
			})
		},
		"mount": func(r chi.Router) {
			sub, subsub := chi.NewRouter(), chi.NewRouter()
			subsub.Use(d.cache)
			subsub.HandleFunc("/{id}", d.handler)
			sub.Mount("/", subsub)
			r.Mount("/app", sub)
		},
	} {
		r := chi.NewRouter()
		r.Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, d.inFront(r)) })
		})
		build(r)
		all[name] = r
	}
	return all
}

func TestDetach(t *testing.T) {
	for name := range new(detached).routers() {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(name+" "+method, func(t *testing.T) {
				var d, s detached
				d.check(t, d.routers()[name], method, "/app/a%20b?q=1")
				s.check(t, http.StripPrefix("/shop", s.routers()[name]), method, "/shop/app/a%20b?q=1")
			})
		}
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.checkConcurrently(t, d.routers()["mount"])
}

// TestDetachWithoutServer: the root router will do, unless the path was
// rewritten in front of it.
func TestDetachWithoutServer(t *testing.T) {
	for name := range new(detached).routers() {
		var d detached
		r := d.routers()[name]
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		d.refreshers[0](t.Context(), new(adapter.Rerun))
		if len(d.seen) != 2 || !reflect.DeepEqual(d.seen[0], d.seen[1]) || d.outer != 2 {
			t.Errorf("%s: %+v", name, d.seen)
		}
		http.StripPrefix("/shop", r).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
		if d.refreshers[1] != nil {
			t.Errorf("%s: there is nothing to start from", name)
		}
	}
}

// TestRootRouter: without chi there is none.
func TestRootRouter(t *testing.T) {
	if h := rootRouter(httptest.NewRequest(http.MethodGet, "/", nil)); h != nil {
		t.Errorf("%v", h)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if h := rootRouter(r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, chi.NewRouteContext()))); h != nil {
		t.Errorf("%v", h)
	}
}
