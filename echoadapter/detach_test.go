package echoadapter

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/coretest"
)

// detached makes the exchange that [coretest.Detached] runs again.
type detached struct{ coretest.Detached }

// panicOf runs f and gives what it panics with.
func panicOf(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// cache makes the exchange as New does.
func (d *detached) cache(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(c.Response(), c.Request())
		x.c, x.next = c, next
		d.Detach(x)
		_, err := x.Next(adapter.Forward{})
		return err
	}
}

func (d *detached) handler(c echo.Context) error {
	d.See(c.Request(), c.Param("id"), c.Path())
	c.Response().WriteHeader(http.StatusOK)
	c.Response().Flush()
	return c.String(http.StatusOK, "answer")
}

// echo has the cache on a group.
func (d *detached) echo() *echo.Echo {
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Get("handler") != nil {
				t := "the context of another request"
				panic(t)
			}
			c.SetRequest(d.InFront(c.Request()))
			return next(c)
		}
	})
	e.Group("/app", d.cache).Any("/:id", func(c echo.Context) error {
		c.Set("handler", true)
		return d.handler(c)
	})
	return e
}

func TestDetach(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		var d, s, p detached
		d.Check(t, d.echo(), method, "/app/a%20b?q=1")
		s.Check(t, http.StripPrefix("/shop", s.echo()), method, "/shop/app/a%20b?q=1")
		e := p.echo()
		e.Pre(middleware.Rewrite(map[string]string{"/v1/*": "/app/$1"}))
		p.Check(t, e, method, "/v1/a?q=1")
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.CheckConcurrently(t, d.echo())
}

// TestDetachWithoutServer: the Echo will do, unless the path was rewritten in
// front of it.
func TestDetachWithoutServer(t *testing.T) {
	var d detached
	e := d.echo()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
	d.Refreshers[0](t.Context(), new(adapter.Rerun))
	if len(d.Seen) != 2 || !reflect.DeepEqual(d.Seen[0], d.Seen[1]) || d.Outer != 2 {
		t.Errorf("%+v", d.Seen)
	}
	http.StripPrefix("/shop", e).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
	if d.Refreshers[1] != nil {
		t.Error("there is nothing to start from")
	}
}

func TestDetachPanic(t *testing.T) {
	var d detached
	e := echo.New()
	e.GET("/", func(c echo.Context) error {
		if adapter.RerunFrom(c.Request().Context()) != nil {
			panic("handler")
		}
		return nil
	}, d.cache)
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if v := panicOf(func() { d.Refreshers[0](t.Context(), new(adapter.Rerun)) }); v != "handler" {
		t.Errorf("panic %v", v)
	}
}

// TestPanic: after a panic of the handler another response may take its place,
// and without one Echo's recovery answers.
func TestPanic(t *testing.T) {
	for name, last := range map[string]echo.HandlerFunc{
		"committed": func(c echo.Context) error {
			c.Response().Header().Set("Content-Length", "1000")
			_ = c.String(http.StatusTeapot, "part")
			panic("handler")
		},
		"uncommitted": func(echo.Context) error { panic("handler") },
		"a writer left behind": func(c echo.Context) error {
			_ = c.String(http.StatusTeapot, "part")
			c.Response().Writer = httptest.NewRecorder()
			panic("handler")
		},
		"in the error handler": func(echo.Context) error { return errors.New("handler") },
	} {
		for _, reply := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", replied", false: ", recovered"}[reply], func(t *testing.T) {
				e := echo.New()
				failing := true
				e.HTTPErrorHandler = func(err error, c echo.Context) {
					if failing {
						panic(err.Error())
					}
					e.DefaultHTTPErrorHandler(err, c)
				}
				e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err }}))
				e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
					return func(c echo.Context) error {
						c.Response().Header().Set("X-Outer", "1")
						c.Response().Before(func() { c.Response().Header().Set("X-Before", "1") })
						return next(c)
					}
				}, func(next echo.HandlerFunc) echo.HandlerFunc {
					return func(c echo.Context) error {
						res := c.Response()
						inner := res.Writer
						x := exchange{c: c, next: next}
						x.Reset(res, c.Request())
						v := panicOf(func() {
							_, _ = x.Next(adapter.Forward{
								Capture: true, Set: http.Header{"Accept": {"a"}}, HandleError: func(int, adapter.Header) bool { return true },
							})
						})
						failing = false
						if v != "handler" {
							t.Errorf("panic %v", v)
						}
						if res.Committed || res.Size != 0 || res.Writer != inner || c.Request().Header.Get("Accept") != "" {
							t.Errorf("%+v", res)
						}
						if !reply {
							panic(v)
						}
						err := x.Reply(&adapter.Response{Status: 200, Header: adapter.Fields{{Name: "X-Stale", Value: "1"}}, Body: []byte("stale")})
						if !res.Committed || res.Size != 5 || res.Status != 200 {
							t.Errorf("%+v", res)
						}
						return err
					}
				})
				e.GET("/", func(c echo.Context) error {
					c.Response().Header().Set("X-Outer", "changed")
					c.Response().Header().Set("X-Handler", "1")
					return last(c)
				})
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				h := w.Result().Header
				if reply && (w.Code != 200 || w.Body.String() != "stale" || h.Get("X-Handler") != "" || h.Get("X-Outer") != "1" || h.Get("X-Before") != "1" || h.Get("Content-Length") != "") {
					t.Errorf("%d %q %v", w.Code, w.Body, h)
				}
				if !reply && (w.Code != 500 || !strings.Contains(w.Body.String(), "Internal") || h.Get("Content-Length") != "") {
					t.Errorf("%d %q %v", w.Code, w.Body, h)
				}
			})
		}
	}
}
