package echoadapter_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name:  "echoadapter",
		New:   func(c *core.Cache) { echoadapter.New(c) },
		Serve: serve,
	})
}

func newEcho() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	return e
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	e := newEcho()
	for _, m := range app.Outer {
		e.Use(native(m))
	}
	if app.Global != nil {
		e.Use(echoadapter.New(app.Global))
	}
	for _, m := range app.Inner {
		e.Use(native(m))
	}
	var inGroup []echo.MiddlewareFunc
	if app.Group != nil {
		inGroup = append(inGroup, echoadapter.New(app.Group))
	}
	g := e.Group("/group", inGroup...)
	for _, route := range app.Routes {
		var own []echo.MiddlewareFunc
		if route.Cache != nil {
			own = append(own, echoadapter.New(route.Cache))
		}
		h := func(c echo.Context) error { return route.Handler(newCtx(c)) }
		if path, ok := route.InGroup(); ok {
			g.Match(route.AllMethods(), path, h, own...)
		} else {
			e.Match(route.AllMethods(), route.Path, h, own...)
		}
	}
	coretest.ServeHTTP(tb, e, ln)
}

func native(m coretest.Middleware) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			return m(newCtx(c), func() error { return next(c) })
		}
	}
}

type ctx struct {
	coretest.HTTP
	e echo.Context
}

func newCtx(c echo.Context) ctx { return ctx{coretest.HTTP{W: c.Response(), R: c.Request()}, c} }

func (c ctx) Path() string                         { return c.HTTP.Path() + " " + c.e.Param("*") }
func (c ctx) Query(name string) string             { return c.e.QueryParam(name) }
func (c ctx) JSON(status int, v any) error         { return c.e.JSON(status, v) }
func (c ctx) NoContent(status int) error           { return c.e.NoContent(status) }
func (c ctx) Redirect(status int, to string) error { return c.e.Redirect(status, to) }
func (c ctx) Error(status int, text string) error  { return echo.NewHTTPError(status, text) }
func (c ctx) Written() (int, int)                  { return c.e.Response().Status, int(c.e.Response().Size) }

func (c ctx) Send(status int, contentType string, body []byte) error {
	if contentType == "" {
		return c.HTTP.Send(status, "", body)
	}
	return c.e.Blob(status, contentType, body)
}

// EarlyHints goes around Echo's Response, which takes a 1xx for the response.
func (c ctx) EarlyHints() error {
	c.e.Response().Writer.WriteHeader(http.StatusEarlyHints)
	return nil
}

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
