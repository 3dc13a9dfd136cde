package fiberadapter_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock for the Date field runs until the process ends.
		goleak.IgnoreTopFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name:  "fiberadapter",
		New:   func(c *core.Cache) { fiberadapter.New(c) },
		Serve: serve,
		Cannot: map[string]string{
			"103":                       "fasthttp sends no 1xx but 100",
			"HTTP/2":                    "fasthttp speaks HTTP/1 only",
			"ErrAbortHandler":           "a panic that nothing recovers ends the process",
			"Goexit":                    "fasthttp's worker ends and leaves the connection open",
			"client leaves":             "fasthttp does not watch the connection while a handler runs",
			"trailers not announced":    "fasthttp has only announced trailers",
			"declared length too long":  "fasthttp replaces Content-Length by the length of the body",
			"declared length too short": "fasthttp replaces Content-Length by the length of the body",
		},
	})
}

func newApp() *fiber.App {
	return fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReadBufferSize:        256 << 10, // of the oversized query
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			status := fiber.StatusInternalServerError
			var e *fiber.Error
			if errors.As(err, &e) {
				status = e.Code
			}
			return c.Status(status).JSON(fiber.Map{"error": err.Error()})
		},
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	f := newApp()
	for _, m := range app.Outer {
		f.Use(native(m))
	}
	if app.Global != nil {
		f.Use(fiberadapter.New(app.Global))
	}
	for _, m := range app.Inner {
		f.Use(native(m))
	}
	var inGroup []fiber.Handler
	if app.Group != nil {
		inGroup = append(inGroup, fiberadapter.New(app.Group))
	}
	g := f.Group("/group", inGroup...)
	for _, route := range app.Routes {
		var handlers []fiber.Handler
		if route.Cache != nil {
			handlers = append(handlers, fiberadapter.New(route.Cache))
		}
		handlers = append(handlers, func(c *fiber.Ctx) error { return route.Handler(&ctx{c: c}) })
		path, ok := route.InGroup()
		r := g
		if !ok {
			r, path = f, route.Path
		}
		for _, method := range route.AllMethods() {
			r.Add(method, path, handlers...)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Listener(ln)
	}()
	tb.Cleanup(func() {
		_ = f.ShutdownWithTimeout(time.Second)
		<-done
	})
}

func native(m coretest.Middleware) fiber.Handler {
	return func(c *fiber.Ctx) error { return m(&ctx{c: c}, c.Next) }
}

type ctx struct{ c *fiber.Ctx }

func (c *ctx) Context() context.Context { return c.c.UserContext() }
func (c *ctx) Method() string           { return c.c.Method() }
func (c *ctx) Path() string {
	return c.c.Path() + " " + string(c.c.Request().URI().Path()) + " " + c.c.Params("*")
}
func (c *ctx) Query(name string) string     { return strings.Clone(c.c.Query(name)) }
func (c *ctx) Header(name string) string    { return strings.Clone(c.c.Get(name)) }
func (c *ctx) Body() ([]byte, error)        { return bytes.Clone(c.c.Body()), nil }
func (c *ctx) SetHeader(name, value string) { c.c.Set(name, value) }
func (c *ctx) AddHeader(name, value string) { c.c.Response().Header.Add(name, value) }
func (c *ctx) DelHeader(name string)        { c.c.Response().Header.Del(name) }
func (c *ctx) JSON(status int, v any) error { return c.c.Status(status).JSON(v) }
func (c *ctx) Status(code int)              { c.c.Status(code) }
func (c *ctx) Write(p []byte) (int, error)  { return c.c.Write(p) }
func (c *ctx) EarlyHints() error            { return errors.ErrUnsupported }
func (c *ctx) Written() (int, int)          { return c.c.Response().StatusCode(), len(c.c.Response().Body()) }

func (c *ctx) Redirect(status int, to string) error { return c.c.Redirect(to, status) }
func (c *ctx) Error(status int, text string) error  { return fiber.NewError(status, text) }

func (c *ctx) NoContent(status int) error {
	c.c.Status(status)
	return nil
}

func (c *ctx) Send(status int, contentType string, body []byte) error {
	if contentType != "" {
		c.c.Set(fiber.HeaderContentType, contentType)
	}
	return c.c.Status(status).Send(body)
}

func (c *ctx) Stream(status int, contentType string, f func(coretest.Stream) error) error {
	c.c.Set(fiber.HeaderContentType, contentType)
	c.c.Status(status).Context().SetBodyStreamWriter(func(w *bufio.Writer) { _ = f(w) })
	return nil
}

func (c *ctx) Trailer(body []byte, name, value string, announced bool) error {
	if !announced {
		return errors.ErrUnsupported
	}
	res := c.c.Response()
	if err := res.Header.SetTrailer(name); err != nil {
		return err
	}
	res.Header.Set(name, value)
	c.c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { _, _ = w.Write(body) })
	return nil
}

func (c *ctx) Hijack(f func(net.Conn)) error {
	c.c.Context().HijackSetNoResponse(true)
	c.c.Context().Hijack(func(conn net.Conn) { f(conn) })
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

func get(tb testing.TB, app *fiber.App, target string, fields ...string) *http.Response {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	res, err := app.Test(r, -1)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}
