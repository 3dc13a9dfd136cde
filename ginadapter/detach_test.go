package ginadapter

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

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
func (d *detached) cache(engine *gin.Engine) gin.HandlerFunc {
	return func(c *gin.Context) {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(c.Writer, c.Request)
		x.c, x.engine, x.errs = c, engine, len(c.Errors)
		d.Detach(x)
		_, _ = x.Next(adapter.Forward{})
	}
}

func (d *detached) handler(c *gin.Context) {
	d.See(c.Request, c.Param("id"), c.FullPath())
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	c.String(http.StatusOK, "answer")
}

// engine has the cache on a group; layers in front of Gin wrap it.
func (d *detached) engine(option bool) *gin.Engine {
	gin.SetMode(gin.TestMode)
	e := gin.New()
	e.Use(func(c *gin.Context) {
		if _, found := c.Get("handler"); found {
			panic("the context of another request")
		}
		c.Request = d.InFront(c.Request)
	})
	named := e
	if !option {
		named = nil
	}
	e.Group("/app", d.cache(named)).Any("/:id", func(c *gin.Context) { c.Set("handler", true) }, d.handler)
	return e
}

func TestDetach(t *testing.T) {
	for _, option := range []bool{true, false} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			var d, s detached
			d.Check(t, d.engine(option), method, "/app/a%20b?q=1")
			s.Check(t, http.StripPrefix("/shop", s.engine(option)), method, "/shop/app/a%20b?q=1")
		}
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.CheckConcurrently(t, d.engine(false))
}

func TestDetachWithoutServer(t *testing.T) {
	for _, option := range []bool{true, false} {
		var d detached
		e := d.engine(option)
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		http.StripPrefix("/shop", e).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
		if can := d.Refreshers[0] != nil; can != option || d.Refreshers[1] != nil {
			t.Errorf("run again: %t, engine named: %t", can, option)
		}
	}
}

func TestDetachPanic(t *testing.T) {
	var d detached
	e := gin.New()
	e.GET("/", d.cache(e), func(c *gin.Context) {
		if adapter.RerunFrom(c.Request.Context()) != nil {
			panic("handler")
		}
	})
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if v := panicOf(func() { d.Refreshers[0](t.Context(), new(adapter.Rerun)) }); v != "handler" {
		t.Errorf("panic %v", v)
	}
}

func TestWithEngine(t *testing.T) {
	var o options
	e := gin.New()
	WithEngine(e)(&o)
	if o.engine != e {
		t.Error("the engine is not kept")
	}
}

// TestPanic: after a panic of the handler another response may take its place.
func TestPanic(t *testing.T) {
	for name, last := range map[string]gin.HandlerFunc{
		"written": func(c *gin.Context) {
			c.Header("Content-Length", "1000")
			c.String(http.StatusTeapot, "part")
			panic("handler")
		},
		"unwritten": func(c *gin.Context) {
			c.Status(http.StatusTeapot)
			panic("handler")
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := gin.New()
			e.Use(func(c *gin.Context) {
				_ = c.Error(errors.New("in front"))
				c.Header("X-Outer", "1")
				c.Next()
				if len(c.Errors) != 1 || c.Writer.Status() != 200 || c.Writer.Size() != 5 || c.Request.Header.Get("Accept") != "" {
					t.Errorf("%v %d %d", c.Errors, c.Writer.Status(), c.Writer.Size())
				}
			}, func(c *gin.Context) {
				x := exchange{c: c, errs: len(c.Errors)}
				x.Reset(c.Writer, c.Request)
				if v := panicOf(func() {
					_, _ = x.Next(adapter.Forward{Capture: true, Set: http.Header{"Accept": {"a"}}})
				}); v != "handler" {
					t.Errorf("panic %v", v)
				}
				_ = x.Reply(&adapter.Response{Status: 200, Header: adapter.Fields{{Name: "X-Stale", Value: "1"}}, Body: []byte("stale")})
			})
			e.GET("/", func(c *gin.Context) {
				c.Header("X-Outer", "changed")
				c.Header("X-Handler", "1")
				_ = c.Error(errors.New("handler"))
				last(c)
			}, func(*gin.Context) { t.Error("the chain goes on") })
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			want := http.Header{"X-Outer": {"1"}, "X-Stale": {"1"}}
			if h := w.Result().Header; w.Code != 200 || w.Body.String() != "stale" || h.Get("X-Handler") != "" || h.Get("X-Outer") != "1" || h.Get("Content-Length") != "" {
				t.Errorf("%d %q %v, want %v", w.Code, w.Body, h, want)
			}
		})
	}
}
