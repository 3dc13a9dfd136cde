package chiadapter_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/chiadapter"
	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name:  "chiadapter",
		New:   func(c *core.Cache) { chiadapter.New(c) },
		Serve: serve,
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	r := chi.NewRouter()
	for _, m := range app.Outer {
		r.Use(native(m))
	}
	if app.Global != nil {
		r.Use(chiadapter.New(app.Global))
	}
	for _, m := range app.Inner {
		r.Use(native(m))
	}
	r.Route("/group", func(g chi.Router) {
		if app.Group != nil {
			g.Use(chiadapter.New(app.Group))
		}
		for _, route := range app.Routes {
			if path, ok := route.InGroup(); ok {
				add(g, path, route)
			}
		}
	})
	for _, route := range app.Routes {
		if _, ok := route.InGroup(); !ok {
			add(r, route.Path, route)
		}
	}
	coretest.ServeHTTP(tb, r, ln)
}

func add(r chi.Router, path string, route coretest.Route) {
	if route.Cache != nil {
		r = r.With(chiadapter.New(route.Cache))
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
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			_ = m(ctx{coretest.HTTP{W: ww, R: r}, ww}, func() error {
				next.ServeHTTP(ww, r)
				return nil
			})
		})
	}
}

type ctx struct {
	coretest.HTTP
	ww middleware.WrapResponseWriter
}

func (c ctx) Path() string        { return c.HTTP.Path() + " " + chi.URLParam(c.R, "*") }
func (c ctx) Written() (int, int) { return c.ww.Status(), c.ww.BytesWritten() }

func newCache(tb testing.TB, cfg core.Config) *core.Cache {
	tb.Helper()
	cache, err := core.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cache.Close(tb.Context()) })
	return cache
}

func get(h http.Handler, target string, fields ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}
