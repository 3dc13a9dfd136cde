package chiadapter_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/inspect"
)

func TestMain(m *testing.M) {
	chi.RegisterMethod("PURGE")
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name: "chiadapter",
		New:  func(c *cacheaside.Cache) { chiadapter.New(c) },
		NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error {
			_, err := chiadapter.NewPurge(c, a)
			return err
		},
		NewInspect: func(c *cacheaside.Cache, r *inspect.Recorder, a inspect.Access) error {
			_, err := chiadapter.NewInspect(c, r, a)
			return err
		},
		Serve: serve,
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	var options []chiadapter.Option
	if app.Outcome {
		options = append(options, chiadapter.WithOutcome(), chiadapter.WithXCache(""))
	}
	r := chi.NewRouter()
	for _, m := range app.Outer {
		r.Use(native(m))
	}
	if app.Global != nil {
		r.Use(chiadapter.New(app.Global, options...))
	}
	for _, m := range app.Inner {
		r.Use(native(m))
	}
	r.Route("/group", func(g chi.Router) {
		if app.Group != nil {
			g.Use(chiadapter.New(app.Group, options...))
		}
		for _, route := range app.Routes {
			if path, ok := route.InGroup(); ok {
				add(g, path, route, options)
			}
		}
	})
	for _, route := range app.Routes {
		if _, ok := route.InGroup(); !ok {
			add(r, route.Path, route, options)
		}
	}
	if app.Purge != nil {
		purge := cacheaside.Must(chiadapter.NewPurge(app.Global, *app.Purge))
		for _, method := range coretest.PurgeMethods {
			r.Method(method, coretest.PurgePath, purge)
		}
		r.Method("PURGE", "/a", purge)
	}
	if app.Inspect != nil {
		h := cacheaside.Must(chiadapter.NewInspect(app.Global, app.Inspect.Recorder, app.Inspect.Access))
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r.Method(method, coretest.InspectPath+"*", h)
		}
	}
	if app.Entry != nil {
		app.Entry(chiadapter.Entry(r))
	}
	coretest.ServeHTTP(tb, r, ln)
}

func add(r chi.Router, path string, route coretest.Route, options []chiadapter.Option) {
	if route.Cache != nil {
		r = r.With(chiadapter.New(route.Cache, options...))
	}
	for _, method := range route.AllMethods() {
		r.MethodFunc(method, path, func(w http.ResponseWriter, r *http.Request) {
			_ = route.Handler(ctx{HTTP: coretest.HTTP{W: w, R: r}})
		})
	}
}

// native wraps the writer as chi's own middlewares do.
func native(m coretest.Middleware) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = chiadapter.TrackOutcome(r)
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			late := new(coretest.LateWriter)
			_ = m(ctx{coretest.HTTP{W: ww, R: r}, ww, late}, func() error {
				if late.ResponseWriter = ww; late.Any() {
					next.ServeHTTP(late, r)
				} else {
					next.ServeHTTP(ww, r)
				}
				return nil
			})
		})
	}
}

type ctx struct {
	coretest.HTTP
	ww   middleware.WrapResponseWriter
	late *coretest.LateWriter
}

func (c ctx) Late(name, value string) { c.late.Add(name, value) }

func (c ctx) Path() string        { return c.HTTP.Path() + " " + chi.URLParam(c.R, "*") }
func (c ctx) Route() string       { return chi.RouteContext(c.R.Context()).RoutePattern() }
func (c ctx) Written() (int, int) { return c.ww.Status(), c.ww.BytesWritten() }

func TestOptions(t *testing.T) {
	r := chi.NewRouter()
	r.Use(chiadapter.New(coretest.NewCache(t),
		chiadapter.WithSkip(func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" }),
		chiadapter.WithPartition(func(r *http.Request) string { return r.Header.Get("X-User") })))
	r.Get("/x", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "for "+r.Header.Get("X-User")) })
	for _, user := range []string{"a", "b"} {
		coretest.Want(t, coretest.Get(r, "/x", "X-User: "+user), 200, "for "+user, false)
		coretest.Want(t, coretest.Get(r, "/x", "X-User: "+user), 200, "for "+user, true)
		coretest.Want(t, coretest.Get(r, "/x", "X-User: "+user, "X-Skip: 1"), 200, "for "+user, false)
	}
}

func TestNilHandler(t *testing.T) {
	text := coretest.Panics(t, func() { chiadapter.New(coretest.NewCache(t))(nil) })
	if !strings.Contains(text, "chiadapter.New") {
		t.Errorf("the panic says %q", text)
	}
}

// TestMounts: one handler under two prefixes is two resources.
func TestMounts(t *testing.T) {
	cache := coretest.NewCache(t)
	r := chi.NewRouter()
	for _, name := range []string{"a", "b"} {
		sub := chi.NewRouter()
		sub.Use(chiadapter.New(cache))
		sub.Get("/x", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
		r.Mount("/mount-"+name, sub)
		r.Handle("/strip-"+name+"/*", http.StripPrefix("/strip-"+name, sub))
	}
	for _, hit := range []bool{false, true} {
		for _, path := range []string{"/mount-a", "/mount-b", "/strip-a", "/strip-b"} {
			coretest.Want(t, coretest.Get(r, path+"/x"), 200, path[len(path)-1:], hit)
		}
	}
}

// TestCompress: chi's own compression on either side of the cache.
func TestCompress(t *testing.T) {
	body := strings.Repeat("compress me ", 200)
	for i := range 4 {
		before, coding := i%2 == 0, i > 1
		var policy []func(*cacheaside.Config)
		if coding {
			policy = append(policy, coretest.Compressing("br", "gzip"))
		}
		r := chi.NewRouter()
		zip, cache := middleware.Compress(5), chiadapter.New(coretest.NewCache(t, policy...))
		if before {
			r.Use(zip, cache)
		} else {
			r.Use(cache, zip)
		}
		r.Get("/x", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, body)
		})
		coretest.CheckCompression(t, body, before && !coding, func(fields ...string) *http.Response { return coretest.Get(r, "/x", fields...) })
	}
}

// TestRoutes: wherever the cache is.
func TestRoutes(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, chi.URLParam(r, "id")) }
	for name, build := range map[string]func(chi.Router, func(http.Handler) http.Handler){
		"router": func(r chi.Router, m func(http.Handler) http.Handler) { r.Use(m); r.Get("/users/{id}", handler) },
		"sub-router": func(r chi.Router, m func(http.Handler) http.Handler) {
			r.Route("/users", func(r chi.Router) { r.Use(m); r.Get("/{id}", handler) })
		},
		"mount": func(r chi.Router, m func(http.Handler) http.Handler) {
			sub := chi.NewRouter()
			sub.Get("/{id}", handler)
			r.Use(m)
			r.Mount("/users", sub)
		},
		"group": func(r chi.Router, m func(http.Handler) http.Handler) {
			r.Group(func(r chi.Router) { r.Use(m); r.Get("/users/{id}", handler) })
		},
		"route": func(r chi.Router, m func(http.Handler) http.Handler) { r.With(m).Get("/users/{id}", handler) },
	} {
		t.Run(name, func(t *testing.T) {
			coretest.Routes(t, "/users/{id}", func(cache *cacheaside.Cache) func(string, ...string) *http.Response {
				r := chi.NewRouter()
				build(r, chiadapter.New(cache, chiadapter.WithRoute(func(r *http.Request) string { return r.Header.Get("X-Route") })))
				return func(target string, fields ...string) *http.Response { return coretest.Get(r, target, fields...) }
			})
		})
	}
}
