package ginadapter_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name:  "ginadapter",
		New:   func(c *core.Cache) { ginadapter.New(c) },
		Serve: serve,
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	e := gin.New()
	for _, m := range app.Outer {
		e.Use(native(m))
	}
	if app.Global != nil {
		e.Use(ginadapter.New(app.Global))
	}
	for _, m := range app.Inner {
		e.Use(native(m))
	}
	g := e.Group("/group")
	if app.Group != nil {
		g.Use(ginadapter.New(app.Group))
	}
	for _, route := range app.Routes {
		var handlers []gin.HandlerFunc
		if route.Cache != nil {
			handlers = append(handlers, ginadapter.New(route.Cache))
		}
		handlers = append(handlers, func(c *gin.Context) { _ = route.Handler(newCtx(c)) })
		path, inGroup := route.InGroup()
		var r gin.IRoutes = g
		if !inGroup {
			r, path = e, route.Path
		}
		if strings.HasSuffix(path, "*") {
			path += "rest"
		}
		for _, method := range route.AllMethods() {
			r.Handle(method, path, handlers...)
		}
	}
	coretest.ServeHTTP(tb, e, ln)
}

func native(m coretest.Middleware) gin.HandlerFunc {
	return func(c *gin.Context) {
		_ = m(newCtx(c), func() error {
			c.Next()
			return nil
		})
	}
}

type ctx struct {
	coretest.HTTP
	g *gin.Context
}

func newCtx(c *gin.Context) ctx { return ctx{coretest.HTTP{W: c.Writer, R: c.Request}, c} }

func (c ctx) Context() context.Context     { return c.g.Request.Context() }
func (c ctx) Path() string                 { return c.HTTP.Path() + " " + c.g.Param("rest") }
func (c ctx) Query(name string) string     { return c.g.Query(name) }
func (c ctx) Header(name string) string    { return c.g.GetHeader(name) }
func (c ctx) Body() ([]byte, error)        { return c.g.GetRawData() }
func (c ctx) SetHeader(name, value string) { c.g.Writer.Header().Set(name, value) }
func (c ctx) Status(code int)              { c.g.Status(code) }
func (c ctx) Write(p []byte) (int, error)  { return c.g.Writer.Write(p) }
func (c ctx) Written() (int, int)          { return c.g.Writer.Status(), max(0, c.g.Writer.Size()) }

func (c ctx) Send(status int, contentType string, body []byte) error {
	if contentType == "" {
		return c.HTTP.Send(status, "", body)
	}
	c.g.Data(status, contentType, body)
	return nil
}

func (c ctx) JSON(status int, v any) error {
	c.g.JSON(status, v)
	return nil
}

func (c ctx) NoContent(status int) error {
	c.g.Status(status)
	return nil
}

func (c ctx) Redirect(status int, location string) error {
	c.g.Redirect(status, location)
	return nil
}

func (c ctx) Error(status int, text string) error {
	c.g.AbortWithStatusJSON(status, gin.H{"error": text})
	return nil
}

func (c ctx) Stream(status int, contentType string, f func(coretest.Stream) error) error {
	c.g.Header("Content-Type", contentType)
	c.g.Status(status)
	return f(stream{c.g.Writer})
}

type stream struct{ gin.ResponseWriter }

func (s stream) Flush() error {
	s.ResponseWriter.Flush()
	return nil
}

// EarlyHints goes around Gin's writer, which knows no 1xx.
func (c ctx) EarlyHints() error {
	w, ok := c.g.Writer.(interface{ Unwrap() http.ResponseWriter })
	if !ok {
		return errors.New("the writer has no Unwrap")
	}
	w.Unwrap().WriteHeader(http.StatusEarlyHints)
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
