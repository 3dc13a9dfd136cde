package ginadapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name: "ginadapter",
		New:  func(c *cacheaside.Cache) { ginadapter.New(c) },
		NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error {
			_, err := ginadapter.NewPurge(c, a)
			return err
		},
		NewInspect: func(c *cacheaside.Cache, r *inspect.Recorder, a inspect.Access) error {
			_, err := ginadapter.NewInspect(c, r, a)
			return err
		},
		Serve: serve,
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	var options []ginadapter.Option
	if app.Outcome {
		options = append(options, ginadapter.WithOutcome(), ginadapter.WithXCache(""))
	}
	e := gin.New()
	for _, m := range app.Outer {
		e.Use(native(m))
	}
	if app.Global != nil {
		e.Use(ginadapter.New(app.Global, options...))
	}
	for _, m := range app.Inner {
		e.Use(native(m))
	}
	g := e.Group("/group")
	if app.Group != nil {
		g.Use(ginadapter.New(app.Group, options...))
	}
	for _, route := range app.Routes {
		var handlers []gin.HandlerFunc
		if route.Cache != nil {
			handlers = append(handlers, ginadapter.New(route.Cache, options...))
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
	if app.Purge != nil {
		purge := cacheaside.Must(ginadapter.NewPurge(app.Global, *app.Purge))
		e.Match(coretest.PurgeMethods, coretest.PurgePath, purge)
		e.Handle("PURGE", "/a", purge)
	}
	if app.Inspect != nil {
		h := cacheaside.Must(ginadapter.NewInspect(app.Global, app.Inspect.Recorder, app.Inspect.Access))
		e.Match([]string{http.MethodGet, http.MethodPost}, coretest.InspectPath+"*path", h)
	}
	if app.Entry != nil {
		app.Entry(ginadapter.Entry(e))
	}
	coretest.ServeHTTP(tb, e, ln)
}

func native(m coretest.Middleware) gin.HandlerFunc {
	return func(c *gin.Context) {
		goesOn := false
		_ = m(newCtx(c), func() error {
			goesOn = true
			c.Next()
			return nil
		})
		if !goesOn {
			c.Abort()
		}
	}
}

type ctx struct {
	coretest.HTTP
	g *gin.Context
}

func newCtx(c *gin.Context) ctx { return ctx{coretest.HTTP{W: c.Writer, R: c.Request}, c} }

func (c ctx) Context() context.Context     { return c.g.Request.Context() }
func (c ctx) Contexts() []context.Context  { return []context.Context{c.g.Request.Context(), c.g} }
func (c ctx) Path() string                 { return c.HTTP.Path() + " " + c.g.Param("rest") }
func (c ctx) Query(name string) string     { return c.g.Query(name) }
func (c ctx) Header(name string) string    { return c.g.GetHeader(name) }
func (c ctx) Body() ([]byte, error)        { return c.g.GetRawData() }
func (c ctx) SetHeader(name, value string) { c.g.Writer.Header().Set(name, value) }
func (c ctx) Status(code int)              { c.g.Status(code) }
func (c ctx) Write(p []byte) (int, error)  { return c.g.Writer.Write(p) }
func (c ctx) Route() string                { return c.g.FullPath() }

func (c ctx) Outcome() (cacheaside.Outcome, bool) { return ginadapter.Outcome(c.g) }

func (c ctx) Written() (int, int) { return c.g.Writer.Status(), max(0, c.g.Writer.Size()) }

func (c ctx) Late(name, value string) {
	late := &coretest.LateWriter{ResponseWriter: c.g.Writer}
	late.Add(name, value)
	c.g.Writer = lateWriter{c.g.Writer, late}
}

// lateWriter is without Unwrap, like those of many middlewares.
type lateWriter struct {
	gin.ResponseWriter
	late *coretest.LateWriter
}

func (w lateWriter) Write(p []byte) (int, error)       { return w.late.Write(p) }
func (w lateWriter) WriteString(s string) (int, error) { return w.late.Write([]byte(s)) }

func (w lateWriter) WriteHeaderNow() {
	w.late.Now()
	w.ResponseWriter.WriteHeaderNow()
}

func (w lateWriter) Flush() {
	w.late.Now()
	w.ResponseWriter.Flush()
}

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

func TestOptions(t *testing.T) {
	e := gin.New()
	e.Use(ginadapter.New(coretest.NewCache(t),
		ginadapter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Skip") != "" }),
		ginadapter.WithPartition(func(c *gin.Context) string { return c.GetHeader("X-User") })))
	e.GET("/x", func(c *gin.Context) { c.String(200, "for "+c.GetHeader("X-User")) })
	for _, user := range []string{"a", "b"} {
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user), 200, "for "+user, false)
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user), 200, "for "+user, true)
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user, "X-Skip: 1"), 200, "for "+user, false)
	}
}

// TestErrors: what a handler has left to an error handler in front of the
// cache is answered there, and what it reported is not stored.
func TestErrors(t *testing.T) {
	e := gin.New()
	e.Use(func(c *gin.Context) {
		c.Next()
		if len(c.Errors) > 0 && !c.Writer.Written() {
			c.String(500, "handled: "+c.Errors.Last().Error())
		}
	})
	e.Use(ginadapter.New(coretest.NewCache(t)))
	failed := errors.New("failed")
	e.GET("/left", func(c *gin.Context) { _ = c.Error(failed) })
	e.GET("/status", func(c *gin.Context) { _ = c.AbortWithError(502, failed) })
	e.GET("/partly", func(c *gin.Context) {
		_ = c.Error(failed)
		c.String(200, "partly")
	})
	for range 2 {
		coretest.Want(t, coretest.Get(e, "/left"), 500, "handled: failed", false)
		coretest.Want(t, coretest.Get(e, "/status"), 502, "", false)
		coretest.Want(t, coretest.Get(e, "/partly"), 200, "partly", false)
	}
}

// TestAbort: a middleware behind the cache that turns a request away.
func TestAbort(t *testing.T) {
	e := gin.New()
	e.Use(ginadapter.New(coretest.NewCache(t)), func(c *gin.Context) {
		if c.GetHeader("X-Key") == "" {
			c.AbortWithStatusJSON(401, "no")
		}
	})
	e.GET("/x", func(c *gin.Context) { c.String(200, "in") })
	coretest.Want(t, coretest.Get(e, "/x"), 401, `"no"`, false)
	coretest.Want(t, coretest.Get(e, "/x"), 401, `"no"`, false)
	coretest.Want(t, coretest.Get(e, "/x", "X-Key: 1"), 200, "in", false)
	coretest.Want(t, coretest.Get(e, "/x", "X-Key: 1"), 200, "in", true)
}

func TestNoRoute(t *testing.T) {
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.Use(ginadapter.New(coretest.NewCache(t, func(cfg *cacheaside.Config) {
		cfg.Policy.StatusTTL = map[int]time.Duration{404: time.Minute, 405: time.Minute}
	})))
	e.NoRoute(func(c *gin.Context) { c.String(404, "nothing at "+c.Request.URL.Path) })
	e.POST("/post", func(c *gin.Context) { c.String(200, "posted") })
	for range 2 {
		coretest.Want(t, coretest.Get(e, "/none"), 404, "nothing at /none", false)
		coretest.Want(t, coretest.Get(e, "/post"), 405, "405 method not allowed", false)
	}
}

// TestRecovery: Gin's recovery on either side of the cache.
func TestRecovery(t *testing.T) {
	for _, before := range []bool{true, false} {
		e := gin.New()
		recovery, cache := gin.RecoveryWithWriter(io.Discard), ginadapter.New(coretest.NewCache(t))
		if before {
			e.Use(recovery, cache)
		} else {
			e.Use(cache, recovery)
		}
		e.GET("/x", func(c *gin.Context) {
			c.String(200, "part")
			panic("late")
		})
		e.GET("/fine", func(c *gin.Context) { c.String(200, "fine") })
		for range 2 {
			res := coretest.Get(e, "/x")
			if coretest.IsHit(res) {
				t.Errorf("a response that ended in a panic was stored (recovery in front: %t)", before)
			}
			_ = res.Body.Close()
		}
		coretest.Want(t, coretest.Get(e, "/fine"), 200, "fine", false)
		coretest.Want(t, coretest.Get(e, "/fine"), 200, "fine", true)
	}
}

// TestStream uses Gin's own streaming, which needs CloseNotify.
func TestStream(t *testing.T) {
	e := gin.New()
	e.Use(ginadapter.New(coretest.NewCache(t)))
	e.GET("/x", func(c *gin.Context) {
		n := 0
		c.Stream(func(io.Writer) bool {
			n++
			c.SSEvent("tick", n)
			return n < 3
		})
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	coretest.ServeHTTP(t, e, ln)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 2 {
		res, err := client.Get("http://" + ln.Addr().String() + "/x")
		if err != nil {
			t.Fatal(err)
		}
		coretest.Want(t, res, 200, "event:tick\ndata:1\n\nevent:tick\ndata:2\n\nevent:tick\ndata:3\n\n", false)
	}
}

// TestWriter: what a handler sees of Gin's writer is as without the cache.
func TestWriter(t *testing.T) {
	look := func(c *gin.Context) {
		before := fmt.Sprint(c.Writer.Status(), c.Writer.Size(), c.Writer.Written())
		c.Header("X-Before", before)
		c.Status(201)
		c.Header("X-Status", fmt.Sprint(c.Writer.Status(), c.Writer.Written()))
		_, _ = c.Writer.WriteString("four")
		_, _ = fmt.Fprint(c.Writer, " ", c.Writer.Status(), c.Writer.Size(), c.Writer.Written())
	}
	bare, e := gin.New(), gin.New()
	bare.GET("/x", look)
	e.GET("/x", ginadapter.New(coretest.NewCache(t)), look)
	want, got := coretest.Get(bare, "/x"), coretest.Get(e, "/x")
	for _, name := range []string{"X-Before", "X-Status"} {
		if g, w := got.Header.Get(name), want.Header.Get(name); g != w || w == "" {
			t.Errorf("%s is %q, want %q", name, g, w)
		}
	}
	body, err := io.ReadAll(want.Body)
	if err != nil {
		t.Fatal(err)
	}
	coretest.Want(t, got, 201, string(body), false)
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(name, []byte("<p>0123456789</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := gin.New()
	e.GET("/x", ginadapter.New(coretest.NewCache(t)), func(c *gin.Context) { c.File(name) })
	coretest.Want(t, coretest.Get(e, "/x", "Range: bytes=3-6"), 206, "0123", false)
	coretest.Want(t, coretest.Get(e, "/x"), 200, "<p>0123456789</p>", false)
	coretest.Want(t, coretest.Get(e, "/x"), 200, "<p>0123456789</p>", true)
}

func TestRoutes(t *testing.T) {
	coretest.Routes(t, "/users/:id", func(cache *cacheaside.Cache) func(string, ...string) *http.Response {
		e := gin.New()
		e.Use(ginadapter.New(cache, ginadapter.WithRoute(func(c *gin.Context) string { return c.GetHeader("X-Route") })))
		e.GET("/users/:id", func(c *gin.Context) { c.String(200, c.Param("id")) })
		return func(target string, fields ...string) *http.Response { return coretest.Get(e, target, fields...) }
	})
}
