package ginadapter

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// detached keeps the refresher of a request, the marker of one that is run
// again, and what the handler sees.
type detached struct {
	mu         sync.Mutex
	refreshers []adapter.Refresher
	reruns     []*adapter.Rerun
	seen       []seen
	ctx        context.Context // of the last request
	outer      int             // how often the layer in front has run
}

type seen struct {
	Method, Path, ID, Route, Query, Host, Target, Remote string
	TLS, Body                                            bool
	Header                                               http.Header
}

func (d *detached) detach(x adapter.Exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rerun := x.Request().Rerun; rerun != nil {
		d.reruns = append(d.reruns, rerun)
	} else {
		d.refreshers = append(d.refreshers, x.Detach())
	}
}

func (d *detached) see(r *http.Request, id, route string) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = r.Context()
	d.seen = append(d.seen, seen{
		Method: r.Method, Path: r.URL.EscapedPath(), ID: id, Route: route, Query: r.URL.RawQuery, Host: r.Host,
		Target: r.RequestURI, Remote: r.RemoteAddr, TLS: r.TLS != nil, Body: len(body) > 0, Header: r.Header.Clone(),
	})
}

type outerKey struct{}

// inFront is the layer in front of the cache.
func (d *detached) inFront(r *http.Request) *http.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outer++
	return r.WithContext(context.WithValue(r.Context(), outerKey{}, d.outer))
}

// check sends requests to h, runs the first one again and compares.
func (d *detached) check(t *testing.T, h http.Handler, method, target string) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	defer server.Close()
	d.send(t, server, method, target)
	d.send(t, server, http.MethodPost, path.Dir(target)+"/other") // takes the first one's context
	original := d.seen[0]

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	rerun := new(adapter.Rerun)
	d.refreshers[0](ctx, rerun)

	want := original
	want.Method, want.Body = http.MethodGet, false
	want.Header = want.Header.Clone()
	maps.DeleteFunc(want.Header, func(name string, _ []string) bool { return adapter.OmittedInRerun(name) })
	if len(want.Header) > len(original.Header)-3 || original.ID == "" || !original.TLS {
		t.Errorf("the original: %+v", original)
	}
	if got := d.seen[2]; !reflect.DeepEqual(got, want) {
		t.Errorf("the handler saw\n%+v\nwant\n%+v", got, want)
	}
	if len(d.reruns) != 1 || d.reruns[0] != rerun {
		t.Error("the marker has not come back")
	}
	if deadline, ok := d.ctx.Deadline(); !ok || time.Until(deadline) < time.Minute {
		t.Errorf("deadline %v %v", deadline, ok)
	}
	if got := d.ctx.Value(outerKey{}); got != 3 {
		t.Errorf("the layer in front ran %v times", got)
	}
	cancel()
	if !errors.Is(d.ctx.Err(), context.Canceled) {
		t.Error("the request does not end with the given context")
	}
}

func (d *detached) send(t *testing.T, server *httptest.Server, method, target string) {
	t.Helper()
	req, err := http.NewRequest(method, server.URL+target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Range", "If-None-Match", "Cache-Control", "Content-Type", "Accept-Language", "Cookie"} {
		req.Header.Set(name, "a=1")
	}
	req.Host = "shop.example"
	res, err := server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

// checkConcurrently runs requests again while others are served.
func (d *detached) checkConcurrently(t *testing.T, h http.Handler) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/a") })
	}
	wg.Wait()
	for _, refresh := range d.refreshers {
		wg.Go(func() { refresh(t.Context(), new(adapter.Rerun)) })
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/b") })
	}
	wg.Wait()
	n := 0
	for _, s := range d.seen[8:] {
		if s.ID == "a" {
			n++
		}
	}
	if len(d.reruns) != 8 || n != 8 {
		t.Errorf("%d requests were run again, %d to their target", len(d.reruns), n)
	}
}

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
		d.detach(x)
		_, _ = x.Next(adapter.Forward{})
	}
}

func (d *detached) handler(c *gin.Context) {
	d.see(c.Request, c.Param("id"), c.FullPath())
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
		c.Request = d.inFront(c.Request)
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
			d.check(t, d.engine(option), method, "/app/a%20b?q=1")
			s.check(t, http.StripPrefix("/shop", s.engine(option)), method, "/shop/app/a%20b?q=1")
		}
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.checkConcurrently(t, d.engine(false))
}

func TestDetachWithoutServer(t *testing.T) {
	for _, option := range []bool{true, false} {
		var d detached
		e := d.engine(option)
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
		http.StripPrefix("/shop", e).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
		if can := d.refreshers[0] != nil; can != option || d.refreshers[1] != nil {
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
	if v := panicOf(func() { d.refreshers[0](t.Context(), new(adapter.Rerun)) }); v != "handler" {
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
