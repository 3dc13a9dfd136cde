package echoadapter_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name: "echoadapter",
		New:  func(c *cacheaside.Cache) { echoadapter.New(c) },
		NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error {
			_, err := echoadapter.NewPurge(c, a)
			return err
		},
		NewInspect: func(c *cacheaside.Cache, r *inspect.Recorder, a inspect.Access) error {
			_, err := echoadapter.NewInspect(c, r, a)
			return err
		},
		Serve: serve,
	})
}

func newEcho() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	return e
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	var options []echoadapter.Option
	if app.Outcome {
		options = append(options, echoadapter.WithOutcome(), echoadapter.WithXCache(""))
	}
	e := newEcho()
	for _, m := range app.Outer {
		e.Use(native(m))
	}
	if app.Global != nil {
		e.Use(echoadapter.New(app.Global, options...))
	}
	for _, m := range app.Inner {
		e.Use(native(m))
	}
	var inGroup []echo.MiddlewareFunc
	if app.Group != nil {
		inGroup = append(inGroup, echoadapter.New(app.Group, options...))
	}
	g := e.Group("/group", inGroup...)
	for _, route := range app.Routes {
		var own []echo.MiddlewareFunc
		if route.Cache != nil {
			own = append(own, echoadapter.New(route.Cache, options...))
		}
		h := func(c echo.Context) error { return route.Handler(newCtx(c)) }
		if path, ok := route.InGroup(); ok {
			g.Match(route.AllMethods(), path, h, own...)
		} else {
			e.Match(route.AllMethods(), route.Path, h, own...)
		}
	}
	if app.Purge != nil {
		purge := cacheaside.Must(echoadapter.NewPurge(app.Global, *app.Purge))
		e.Match(coretest.PurgeMethods, coretest.PurgePath, purge)
		e.Add("PURGE", "/a", purge)
	}
	if app.Inspect != nil {
		h := cacheaside.Must(echoadapter.NewInspect(app.Global, app.Inspect.Recorder, app.Inspect.Access))
		e.Match([]string{http.MethodGet, http.MethodPost}, coretest.InspectPath+"*", h)
	}
	if app.Entry != nil {
		app.Entry(echoadapter.Entry(e))
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
func (c ctx) Route() string                        { return c.e.Path() }

func (c ctx) Outcome() (cacheaside.Outcome, bool) { return echoadapter.Outcome(c.e) }

func (c ctx) Written() (int, int) { return c.e.Response().Status, int(c.e.Response().Size) }

func (c ctx) Send(status int, contentType string, body []byte) error {
	if contentType == "" {
		return c.HTTP.Send(status, "", body)
	}
	return c.e.Blob(status, contentType, body)
}

func (c ctx) Late(name, value string) {
	c.e.Response().Before(func() { c.e.Response().Header().Add(name, value) })
}

// EarlyHints goes around Echo's Response, which takes a 1xx for the response.
func (c ctx) EarlyHints() error {
	c.e.Response().Writer.WriteHeader(http.StatusEarlyHints)
	return nil
}

func TestOptions(t *testing.T) {
	e := newEcho()
	e.Use(echoadapter.New(coretest.NewCache(t),
		echoadapter.WithSkip(func(c echo.Context) bool { return c.Request().Header.Get("X-Skip") != "" }),
		echoadapter.WithPartition(func(c echo.Context) string { return c.Request().Header.Get("X-User") })))
	e.GET("/x", func(c echo.Context) error { return c.String(200, "for "+c.Request().Header.Get("X-User")) })
	for _, user := range []string{"a", "b"} {
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user), 200, "for "+user, false)
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user), 200, "for "+user, true)
		coretest.Want(t, coretest.Get(e, "/x", "X-User: "+user, "X-Skip: 1"), 200, "for "+user, false)
	}
}

func TestNilHandler(t *testing.T) {
	text := coretest.Panics(t, func() { echoadapter.New(coretest.NewCache(t))(nil) })
	if !strings.Contains(text, "echoadapter.New") {
		t.Errorf("the panic says %q", text)
	}
}

// TestUnwrittenHooks: where middleware in front writes in the handler's place, it
// finds the status that the handler has left, and the handler's hooks run.
func TestUnwrittenHooks(t *testing.T) {
	for _, cached := range []bool{false, true} {
		e := newEcho()
		e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if err := next(c); err != nil || c.Response().Committed {
					return err
				}
				return c.String(c.Response().Status, "page")
			}
		})
		if cached {
			e.Use(echoadapter.New(coretest.NewCache(t)))
		}
		after := 0
		e.Any("/x", func(c echo.Context) error {
			c.Response().Before(func() { c.SetCookie(&http.Cookie{Name: "session", Value: "1"}) })
			c.Response().After(func() { after++ })
			c.Response().Status = http.StatusNonAuthoritativeInfo
			return nil
		})
		for i, method := range []string{http.MethodGet, http.MethodGet, http.MethodPost} {
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(method, "/x", nil))
			if w.Code != http.StatusNonAuthoritativeInfo || w.Body.String() != "page" || len(w.Result().Cookies()) != 1 || after != i+1 {
				t.Errorf("cached %t: %d %q %v, After ran %d times", cached, w.Code, w.Body, w.Header(), after)
			}
		}
	}
}

// TestHooks: hooks of middleware in front run once for each response, and what
// they set goes to one client only.
func TestHooks(t *testing.T) {
	var before, after int
	e := newEcho()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Before(func() {
				before++
				c.Response().Header().Set("X-Hook", strconv.Itoa(before))
				c.Response().Header().Add("X-Added", strconv.Itoa(before))
				if before == 1 {
					c.Response().Header().Set("X-First", "1")
				}
			})
			c.Response().After(func() { after++ })
			return next(c)
		}
	})
	e.Use(echoadapter.New(coretest.NewCache(t)))
	e.GET("/x", func(c echo.Context) error {
		c.Response().Before(func() { c.Response().Header().Set("X-Inner", "inner") })
		return c.String(200, "a")
	})
	for i := range 3 {
		res := coretest.Get(e, "/x")
		if got := res.Header.Get("X-Hook"); got != strconv.Itoa(i+1) {
			t.Errorf("response %d has X-Hook %q", i+1, got)
		}
		if added, first := res.Header.Values("X-Added"), res.Header.Get("X-First"); len(added) != 1 || (first != "") != (i == 0) {
			t.Errorf("response %d has X-Added %q and X-First %q", i+1, added, first)
		}
		if got := res.Header.Get("X-Inner"); got != "inner" {
			t.Errorf("response %d has X-Inner %q of the handler's own hook", i+1, got)
		}
		coretest.Want(t, res, 200, "a", i > 0)
	}
	if before != 3 || after != 3 {
		t.Errorf("for 3 responses the hooks ran %d and %d times", before, after)
	}
}

// TestErrorHandler: the service's own error handler answers, once, and a
// middleware behind the cache still gets the error.
func TestErrorHandler(t *testing.T) {
	failed, handled, seen := errors.New("failed"), 0, 0
	e := newEcho()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		handled++
		if !c.Response().Committed {
			_ = c.String(503, "own: "+err.Error())
		}
	}
	e.Use(echoadapter.New(coretest.NewCache(t)))
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			if errors.Is(err, failed) {
				seen++
			}
			return err
		}
	})
	e.GET("/x", func(echo.Context) error { return failed })
	e.GET("/late", func(c echo.Context) error {
		_ = c.String(200, "part")
		return failed
	})
	for i := range 2 {
		coretest.Want(t, coretest.Get(e, "/x"), 503, "own: failed", false)
		if handled != i+1 || seen != i+1 {
			t.Errorf("after %d requests the error was handled %d times and seen %d times", i+1, handled, seen)
		}
	}
	for range 2 {
		coretest.Want(t, coretest.Get(e, "/late"), 200, "part", false)
	}
}

// TestGzip: Echo's own compression on either side of the cache.
func TestGzip(t *testing.T) {
	body := strings.Repeat("compress me ", 200)
	for i := range 4 {
		before, coding := i%2 == 0, i > 1
		var policy []func(*cacheaside.Config)
		if coding {
			policy = append(policy, coretest.Compressing("br", "gzip"))
		}
		e := newEcho()
		zip, cache := middleware.Gzip(), echoadapter.New(coretest.NewCache(t, policy...))
		if before {
			e.Use(zip, cache)
		} else {
			e.Use(cache, zip)
		}
		e.GET("/x", func(c echo.Context) error { return c.String(200, body) })
		coretest.CheckCompression(t, body, !coding, func(fields ...string) *http.Response { return coretest.Get(e, "/x", fields...) })
	}
}

// TestRecover: Echo's recovery on either side of the cache.
func TestRecover(t *testing.T) {
	for _, before := range []bool{true, false} {
		e := newEcho()
		recovery, cache := middleware.Recover(), echoadapter.New(coretest.NewCache(t))
		if before {
			e.Use(recovery, cache)
		} else {
			e.Use(cache, recovery)
		}
		e.GET("/x", func(echo.Context) error { panic("early") })
		for range 2 {
			res := coretest.Get(e, "/x")
			if res.StatusCode != 500 || coretest.IsHit(res) {
				t.Errorf("%d %q (recovery in front: %t)", res.StatusCode, res.Header.Get("Cache-Status"), before)
			}
			_ = res.Body.Close()
		}
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(name, []byte("<p>0123456789</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEcho()
	e.Use(echoadapter.New(coretest.NewCache(t)))
	e.GET("/x", func(c echo.Context) error { return c.File(name) })
	e.GET("/reader", func(c echo.Context) error { return c.Stream(200, "text/plain", strings.NewReader("read")) })
	coretest.Want(t, coretest.Get(e, "/x", "Range: bytes=3-6"), 206, "0123", false)
	coretest.Want(t, coretest.Get(e, "/x"), 200, "<p>0123456789</p>", false)
	coretest.Want(t, coretest.Get(e, "/x"), 200, "<p>0123456789</p>", true)
	coretest.Want(t, coretest.Get(e, "/reader"), 200, "read", false)
	coretest.Want(t, coretest.Get(e, "/reader"), 200, "read", true)
}

func TestRoutes(t *testing.T) {
	for _, pre := range []bool{false, true} {
		coretest.Routes(t, "/users/:id", func(cache *cacheaside.Cache) func(string, ...string) *http.Response {
			e := newEcho()
			m := echoadapter.New(cache, echoadapter.WithRoute(func(c echo.Context) string { return c.Request().Header.Get("X-Route") }))
			if pre {
				e.Pre(m)
			} else {
				e.Use(m)
			}
			e.GET("/users/:id", func(c echo.Context) error { return c.String(200, c.Param("id")) })
			return func(target string, fields ...string) *http.Response { return coretest.Get(e, target, fields...) }
		})
	}
}
