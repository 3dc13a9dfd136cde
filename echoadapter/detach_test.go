package echoadapter

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

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

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
func (d *detached) cache(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.Reset(c.Response(), c.Request())
		x.c, x.next = c, next
		d.detach(x)
		_, err := x.Next(adapter.Forward{})
		return err
	}
}

func (d *detached) handler(c echo.Context) error {
	d.see(c.Request(), c.Param("id"), c.Path())
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
			c.SetRequest(d.inFront(c.Request()))
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
		d.check(t, d.echo(), method, "/app/a%20b?q=1")
		s.check(t, http.StripPrefix("/shop", s.echo()), method, "/shop/app/a%20b?q=1")
		e := p.echo()
		e.Pre(middleware.Rewrite(map[string]string{"/v1/*": "/app/$1"}))
		p.check(t, e, method, "/v1/a?q=1")
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	d.checkConcurrently(t, d.echo())
}

// TestDetachWithoutServer: the Echo will do, unless the path was rewritten in
// front of it.
func TestDetachWithoutServer(t *testing.T) {
	var d detached
	e := d.echo()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/a", nil))
	d.refreshers[0](t.Context(), new(adapter.Rerun))
	if len(d.seen) != 2 || !reflect.DeepEqual(d.seen[0], d.seen[1]) || d.outer != 2 {
		t.Errorf("%+v", d.seen)
	}
	http.StripPrefix("/shop", e).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/shop/app/a", nil))
	if d.refreshers[1] != nil {
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
	if v := panicOf(func() { d.refreshers[0](t.Context(), new(adapter.Rerun)) }); v != "handler" {
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
