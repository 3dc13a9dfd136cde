package chiadapter

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// detached makes the exchange that [coretest.Detached] runs again.
type detached struct{ coretest.Detached }

// cache makes an exchange that starts again where New's does.
func (d *detached) cache(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{entry: rootRouter(r)}
		x.Reset(w, r)
		d.Detach(x)
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
	d.See(r, c.URLParam("id"), c.RoutePattern())
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
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, d.InFront(r)) })
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
				d.Check(t, d.routers()[name], method, "/app/a%20b?q=1")
				s.Check(t, http.StripPrefix("/shop", s.routers()[name]), method, "/shop/app/a%20b?q=1")
			})
		}
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.CheckConcurrently(t, d.routers()["mount"])
}

// TestDetachWithoutServer: the root router will do, unless the path was
// rewritten in front of it.
func TestDetachWithoutServer(t *testing.T) {
	for name := range new(detached).routers() {
		var d detached
		r := d.routers()[name]
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		d.Refreshers[0](t.Context(), new(adapter.Rerun))
		if len(d.Seen) != 2 || !reflect.DeepEqual(d.Seen[0], d.Seen[1]) || d.Outer != 2 {
			t.Errorf("%s: %+v", name, d.Seen)
		}
		http.StripPrefix("/shop", r).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
		if d.Refreshers[1] != nil {
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
