package fiberadapter_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/timeout"
	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func TestMain(m *testing.M) {
	const fasthttp = "github.com/valyala/fasthttp"
	goleak.VerifyTestMain(m, // but for what fasthttp and fiber never end, or only seconds later
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/middleware/cache.New.func2"),
		// The same goroutine, inlined or not.
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/middleware/limiter.FixedWindow.New.StartTimeStampUpdater.func2.1"),
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/utils.StartTimeStampUpdater.func1.1"),
		goleak.IgnoreAnyFunction(fasthttp+".updateServerDate.func1"),
		goleak.IgnoreAnyFunction(fasthttp+".(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction(fasthttp+".(*inMemoryCacheManager).handleCleanCache"),
		goleak.IgnoreAnyFunction(fasthttp+"/stackless.funcWorker"))
}

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name:    "fiberadapter",
		Streams: true,
		New:     func(c *cacheaside.Cache) { fiberadapter.New(c) },
		NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error {
			_, err := fiberadapter.NewPurge(c, a)
			return err
		},
		NewInspect: func(c *cacheaside.Cache, r *inspect.Recorder, a inspect.Access) error {
			_, err := fiberadapter.NewInspect(c, r, a)
			return err
		},
		Serve: serve,
		Cannot: map[string]string{
			"103":                            "fasthttp sends no 1xx but 100",
			"HTTP/2":                         "fasthttp speaks HTTP/1 only",
			"ErrAbortHandler":                "a panic that nothing recovers ends the process",
			"Goexit":                         "fasthttp's worker ends and leaves the connection open",
			"stream of a client that leaves": "fasthttp notices only when it writes",
			"client leaves":                  "fasthttp does not watch the connection while a handler runs",
			"trailers not announced":         "fasthttp has only announced trailers",
			"declared length too long":       "fasthttp replaces Content-Length by the length of the body",
			"declared length too short":      "fasthttp replaces Content-Length by the length of the body",
			"sent as it comes, and a panic":  "a panic of a stream writer ends the process",
			"sent as it comes, and filled without its client": "nobody reads a stream whose client has left",
		},
	})
}

func newApp() *fiber.App { return fiber.New(newConfig()) }

func newConfig() fiber.Config {
	return fiber.Config{
		DisableStartupMessage: true,
		RequestMethods:        append([]string{"PURGE", "QUERY"}, fiber.DefaultMethods...),
		BodyLimit:             64 << 20,
		ReadBufferSize:        256 << 10, // of the oversized query
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			status := fiber.StatusInternalServerError
			var e *fiber.Error
			if errors.As(err, &e) {
				status = e.Code
			}
			return c.Status(status).JSON(fiber.Map{"error": err.Error()})
		},
	}
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	var options []fiberadapter.Option
	if app.Outcome {
		options = append(options, fiberadapter.WithOutcome(), fiberadapter.WithXCache(""))
	}
	config := newConfig()
	config.DisableHeaderNormalizing, config.StreamRequestBody = app.Spelled, app.Streamed
	f := fiber.New(config)
	for _, m := range app.Outer {
		f.Use(native(m))
	}
	if app.Global != nil {
		f.Use(fiberadapter.New(app.Global, options...))
	}
	for _, m := range app.Inner {
		f.Use(native(m))
	}
	var inGroup []fiber.Handler
	if app.Group != nil {
		inGroup = append(inGroup, fiberadapter.New(app.Group, options...))
	}
	g := f.Group("/group", inGroup...)
	for _, route := range app.Routes {
		var handlers []fiber.Handler
		if route.Cache != nil {
			handlers = append(handlers, fiberadapter.New(route.Cache, options...))
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
	if app.Purge != nil {
		purge := cacheaside.Must(fiberadapter.NewPurge(app.Global, *app.Purge))
		for _, method := range coretest.PurgeMethods {
			f.Add(method, coretest.PurgePath, purge)
		}
		f.Add("PURGE", "/a", purge)
	}
	if app.Inspect != nil {
		h := cacheaside.Must(fiberadapter.NewInspect(app.Global, app.Inspect.Recorder, app.Inspect.Access))
		for _, method := range []string{fiber.MethodGet, fiber.MethodPost} {
			f.Add(method, coretest.InspectPath+"*", h)
		}
	}
	if app.Entry != nil {
		app.Entry(fiberadapter.Entry(f))
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
	return func(c *fiber.Ctx) error {
		x := &ctx{c: c}
		err := m(x, c.Next)
		for pair := range slices.Chunk(x.late, 2) {
			c.Response().Header.Add(pair[0], pair[1])
		}
		return err
	}
}

// TestUserContextAfterwards: middleware in front sees the context that was set behind
// the cache, and only that.
func TestUserContextAfterwards(t *testing.T) {
	type key struct{}
	var seen any
	var err error
	app := newApp()
	app.Use(func(c *fiber.Ctx) error {
		defer func() { seen, err = c.UserContext().Value(key{}), c.UserContext().Err() }()
		return c.Next()
	}, fiberadapter.New(coretest.NewCache(t)))
	app.Get("/set", func(c *fiber.Ctx) error {
		ctx, cancel := context.WithCancel(context.WithValue(c.UserContext(), key{}, 1))
		cancel()
		c.SetUserContext(ctx)
		return c.SendString("set")
	})
	app.Get("/left", func(c *fiber.Ctx) error { return c.SendString("left") })
	for path, want := range map[string]any{"/set": 1, "/left": nil} {
		res, failed := app.Test(httptest.NewRequest(http.MethodGet, path, nil))
		if failed != nil {
			t.Fatal(failed)
		}
		coretest.Want(t, res, 200, path[1:], false)
		if seen != want || (err != nil) != (want != nil) {
			t.Errorf("%s: %v, %v", path, seen, err)
		}
	}
}

// TestBegunInFront: what a handler appends to somebody's greeting is stored for
// nobody else.
func TestBegunInFront(t *testing.T) {
	app := newApp()
	app.Use(func(c *fiber.Ctx) error {
		_, _ = c.WriteString("hello " + c.Get("X-User") + ": ")
		return c.Next()
	}, fiberadapter.New(coretest.NewCache(t)))
	app.Get("/x", func(c *fiber.Ctx) error {
		_, err := c.WriteString("page")
		return err
	})
	for _, user := range []string{"alice", "bob"} {
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Header.Set("X-User", user)
		res, err := app.Test(r)
		if err != nil {
			t.Fatal(err)
		}
		coretest.Want(t, res, 200, "hello "+user+": page", false)
	}
}

type ctx struct {
	c    *fiber.Ctx
	late []string
}

func (c *ctx) Late(name, value string) { c.late = append(c.late, name, value) }

func (c *ctx) Context() context.Context { return c.c.UserContext() }

func (c *ctx) Contexts() []context.Context {
	return []context.Context{c.c.UserContext(), c.c.Context()}
}
func (c *ctx) Method() string { return c.c.Method() }
func (c *ctx) Path() string {
	return c.c.Path() + " " + string(c.c.Request().URI().Path()) + " " + c.c.Params("*")
}
func (c *ctx) Query(name string) string { return strings.Clone(c.c.Query(name)) }
func (c *ctx) BodyReader() io.Reader {
	if in := c.c.Context().RequestBodyStream(); in != nil {
		return in
	}
	return bytes.NewReader(c.c.Request().Body())
}
func (c *ctx) Header(name string) string    { return strings.Clone(c.c.Get(name)) }
func (c *ctx) Cookie(name string) string    { return strings.Clone(c.c.Cookies(name)) }
func (c *ctx) Body() ([]byte, error)        { return bytes.Clone(c.c.Body()), nil }
func (c *ctx) SetHeader(name, value string) { c.c.Set(name, value) }
func (c *ctx) SetRequestHeader(name, value string) {
	if value == "" {
		c.c.Request().Header.Del(name)
	} else {
		c.c.Request().Header.Set(name, value)
	}
}
func (c *ctx) AddHeader(name, value string) { c.c.Response().Header.Add(name, value) }

func (c *ctx) SpellHeader(name, value string) {
	c.c.Response().Header.SetCanonical([]byte(name), []byte(value))
}
func (c *ctx) DelHeader(name string)               { c.c.Response().Header.Del(name) }
func (c *ctx) JSON(status int, v any) error        { return c.c.Status(status).JSON(v) }
func (c *ctx) Status(code int)                     { c.c.Status(code) }
func (c *ctx) Write(p []byte) (int, error)         { return c.c.Write(p) }
func (c *ctx) EarlyHints() error                   { return errors.ErrUnsupported }
func (c *ctx) Route() string                       { return c.c.Route().Path }
func (c *ctx) Outcome() (cacheaside.Outcome, bool) { return fiberadapter.Outcome(c.c) }

func (c *ctx) Written() (int, int) { return c.c.Response().StatusCode(), len(c.c.Response().Body()) }

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

func get(tb testing.TB, app *fiber.App, target string, fields ...string) *http.Response {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	coretest.SetFields(r.Header, fields)
	res, err := app.Test(r, -1)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

func TestOptions(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t),
		fiberadapter.WithSkip(func(c *fiber.Ctx) bool { return c.Get("X-Skip") != "" }),
		fiberadapter.WithPartition(func(c *fiber.Ctx) string { return c.Get("X-User") })))
	app.Get("/x", func(c *fiber.Ctx) error { return c.SendString("for " + c.Get("X-User")) })
	for _, user := range []string{"a", "b"} {
		coretest.Want(t, get(t, app, "/x", "X-User: "+user), 200, "for "+user, false)
		coretest.Want(t, get(t, app, "/x", "X-User: "+user), 200, "for "+user, true)
		coretest.Want(t, get(t, app, "/x", "X-User: "+user, "X-Skip: 1"), 200, "for "+user, false)
	}
}

// TestCookie: Fiber keeps cookies apart from the other fields.
func TestCookie(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	n := 0
	app.Get("/x", func(c *fiber.Ctx) error {
		n++
		c.Cookie(&fiber.Cookie{Name: "id", Value: strconv.Itoa(n)})
		return c.SendString(strconv.Itoa(n))
	})
	for i := range 2 {
		res := get(t, app, "/x")
		want := strconv.Itoa(i + 1)
		if got := res.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "id="+want) {
			t.Errorf("Set-Cookie: %q", got)
		}
		coretest.Want(t, res, 200, want, false)
	}
}

// TestBodyChangedInFront: what a middleware in front makes of a hit's body
// stays with that response.
func TestBodyChangedInFront(t *testing.T) {
	app := newApp()
	app.Use(func(c *fiber.Ctx) error {
		err := c.Next()
		c.Response().AppendBodyString("+")
		return err
	})
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Get("/x", func(c *fiber.Ctx) error { return c.SendString("body") })
	for i := range 4 {
		coretest.Want(t, get(t, app, "/x"), 200, "body+", i > 0)
	}
}

// TestFiberMiddleware: Fiber's own middlewares on either side of the cache.
func TestFiberMiddleware(t *testing.T) {
	body := strings.Repeat("compress me ", 200)
	for name, mw := range map[string]func() fiber.Handler{
		"compress": func() fiber.Handler { return compress.New() },
		"etag":     func() fiber.Handler { return etag.New() },
		"recover":  func() fiber.Handler { return fiberrecover.New() },
		"helmet":   func() fiber.Handler { return helmet.New() },
		"cors":     func() fiber.Handler { return cors.New() },
	} {
		for _, before := range []bool{true, false} {
			app := newApp()
			cache := fiberadapter.New(coretest.NewCache(t))
			if before {
				app.Use(mw(), cache)
			} else {
				app.Use(cache, mw())
			}
			app.Get("/x", func(c *fiber.Ctx) error { return c.SendString(body) })
			app.Get("/panic", func(c *fiber.Ctx) error {
				if c.Get("X-Fine") == "" {
					panic("handler")
				}
				return c.SendString("fine")
			})
			ask := func(fields ...string) *http.Response { return get(t, app, "/x", fields...) }
			switch name {
			case "compress":
				coretest.CheckCompression(t, body, before, ask)
				app = newApp()
				coding := fiberadapter.New(coretest.NewCache(t, coretest.Compressing("br", "gzip")))
				if before {
					app.Use(mw(), coding)
				} else {
					app.Use(coding, mw())
				}
				app.Get("/x", func(c *fiber.Ctx) error { return c.SendString(body) })
				coretest.CheckCompression(t, body, false, ask)
			case "etag":
				first := ask()
				tag := first.Header.Get("Etag")
				if tag == "" {
					t.Fatal("no ETag")
				}
				coretest.Want(t, first, 200, body, false)
				res := ask("If-None-Match: " + tag)
				coretest.Want(t, res, 304, "", true)
				coretest.Want(t, ask(), 200, body, true)
			case "recover":
				coretest.Want(t, get(t, app, "/panic"), 500, `{"error":"handler"}`, false)
				coretest.Want(t, get(t, app, "/panic", "X-Fine: 1"), 200, "fine", false)
				coretest.Want(t, get(t, app, "/panic"), 200, "fine", true)
			default:
				first, second := ask("Origin: https://a.test"), ask("Origin: https://a.test")
				for k, v := range first.Header {
					if k != "Age" && k != "Cache-Status" && k != "Date" && !slices.Equal(v, second.Header[k]) {
						t.Errorf("%s in front: %t: %s is %q, then %q", name, before, k, v, second.Header[k])
					}
				}
				coretest.Want(t, first, 200, body, false)
				coretest.Want(t, second, 200, body, true)
			}
		}
	}
}

// TestDate sends the Date of what is stored, where the app leaves it to handlers,
// also in the place of an error.
func TestDate(t *testing.T) {
	app := fiber.New(fiber.Config{DisableDefaultDate: true})
	app.Use(fiberadapter.New(cacheaside.Must(coretest.NewCache(t).With(func(p *cacheaside.Policy) { p.Stale.IfError = time.Hour }))))
	date := time.Now().Add(-10 * time.Second).UTC().Format(http.TimeFormat)
	fails := false
	app.Get("/:lifetime", func(c *fiber.Ctx) error {
		if fails {
			return c.SendStatus(fiber.StatusServiceUnavailable)
		}
		fiberadapter.SetDate(c, date)
		c.Set("Cache-Control", "max-age="+c.Params("lifetime"))
		return c.SendString("x")
	})
	for _, at := range []struct {
		path string
		hit  bool
	}{{"/60", false}, {"/60", true}, {"/5", false}, {"/5", false}} {
		res := get(t, app, at.path)
		coretest.Want(t, res, 200, "x", at.hit)
		if got := res.Header.Values("Date"); !slices.Equal(got, []string{date}) {
			t.Errorf("%s: Date %q, want %q", at.path, got, date)
		}
		if age := res.Header.Get("Age"); at.hit && !strings.HasPrefix(age, "1") {
			t.Errorf("%s: Age %q, want 10 or a little more", at.path, age)
		}
		fails = at.path == "/5"
	}
}

// TestSendStatusNotModified takes the Content-Type that fasthttp makes up for
// the text of SendStatus for none of the 304.
func TestSendStatusNotModified(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Get("/x", func(c *fiber.Ctx) error {
		c.Set("ETag", `"a"`)
		c.Set("Cache-Control", "no-cache")
		if c.Get("If-None-Match") != "" {
			return c.SendStatus(fiber.StatusNotModified)
		}
		return c.JSON("x")
	})
	for range 2 {
		if res := get(t, app, "/x"); res.StatusCode != 200 || res.Header.Get("Content-Type") != fiber.MIMEApplicationJSON {
			t.Errorf("%d, %v", res.StatusCode, res.Header)
		}
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(name, []byte("<p>0123456789</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Get("/file", func(c *fiber.Ctx) error { return c.SendFile(name) })
	app.Get("/stream", func(c *fiber.Ctx) error { return c.SendStream(strings.NewReader("streamed")) })
	for range 2 {
		coretest.Want(t, get(t, app, "/file", "Range: bytes=3-6"), 206, "0123", false)
	}
	for _, hit := range []bool{false, true} {
		coretest.Want(t, get(t, app, "/file"), 200, "<p>0123456789</p>", hit)
		coretest.Want(t, get(t, app, "/stream"), 200, "streamed", hit)
	}
	coretest.Want(t, get(t, app, "/file", "Range: bytes=3-6"), 206, "0123", true)
}

// TestMount: a mounted app's handlers behind the cache of the app that it is
// mounted in.
func TestMount(t *testing.T) {
	app, sub := newApp(), newApp()
	sub.Get("/x", func(c *fiber.Ctx) error { return c.SendString("sub") })
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Get("/x", func(c *fiber.Ctx) error { return c.SendString("top") })
	app.Mount("/sub", sub)
	for _, hit := range []bool{false, true} {
		coretest.Want(t, get(t, app, "/x"), 200, "top", hit)
		coretest.Want(t, get(t, app, "/sub/x"), 200, "sub", hit)
	}
}

// TestChangedURL: Fiber writes a new path or query over the old one, of which the
// cache has views.
func TestChangedURL(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Use(func(c *fiber.Ctx) error {
		c.Request().URI().SetQueryString("z=9")
		c.Request().SetRequestURI("/other")
		c.Request().URI().SetPath("/zzzz")
		c.Request().URI().SetHost("other.test")
		return c.Next()
	})
	n := 0
	app.Get("/item", func(c *fiber.Ctx) error {
		n++
		return c.SendString(strconv.Itoa(n))
	})
	app.Put("/item", func(c *fiber.Ctx) error { return c.SendString("changed") })
	coretest.Want(t, get(t, app, "/item?a=1"), 200, "1", false)
	coretest.Want(t, get(t, app, "/item?a=1"), 200, "1", true)
	res, err := app.Test(httptest.NewRequest(http.MethodPut, "/item?a=1", nil), -1)
	if err != nil {
		t.Fatal(err)
	}
	coretest.Want(t, res, 200, "changed", false)
	coretest.Want(t, get(t, app, "/item?a=1"), 200, "2", false)
}

// TestTimeouts: fasthttp sends another response than the handler's after
// TimeoutError, and Fiber's middleware ends the context that it has made.
func TestTimeouts(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	late := true
	app.Get("/late", func(c *fiber.Ctx) error {
		if late {
			c.Context().TimeoutErrorWithCode("late", fiber.StatusOK)
			return nil
		}
		return c.SendString("in time")
	})
	app.Get("/x", timeout.NewWithContext(func(c *fiber.Ctx) error { return c.SendString("a") }, time.Minute))
	res := get(t, app, "/late")
	if got := res.Header.Get("Cache-Status"); got != "cacheaside; fwd=miss; detail=handler" {
		t.Errorf("Cache-Status %q", got)
	}
	coretest.Want(t, res, 200, "late", false)
	late = false
	coretest.Want(t, get(t, app, "/late"), 200, "in time", false)
	coretest.Want(t, get(t, app, "/late"), 200, "in time", true)
	coretest.Want(t, get(t, app, "/x"), 200, "a", false)
	coretest.Want(t, get(t, app, "/x"), 200, "a", true)
}

// TestTwoHosts: what a handler makes of a Host that the request-target overrules is
// not for those who ask for that target.
func TestTwoHosts(t *testing.T) {
	app := newApp()
	app.Use(fiberadapter.New(coretest.NewCache(t)))
	app.Get("/x", func(c *fiber.Ctx) error { return c.SendString(c.Hostname() + " or " + c.Get("Host")) })
	app.Handler() // builds the routes
	ask := func(target, host string) *http.Response {
		t.Helper()
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- app.Server().ServeConn(server) }()
		defer func() { <-done }()
		defer func() { _ = client.Close() }()
		if _, err := io.WriteString(client, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body = io.NopCloser(bytes.NewReader(b))
		return res
	}
	for _, hit := range []bool{false, true} {
		coretest.Want(t, ask("http://a.test/x", "evil.test"), 200, "a.test or evil.test", hit)
		coretest.Want(t, ask("/x", "a.test"), 200, "a.test or a.test", hit)
		coretest.Want(t, ask("http://a.test/x", "A.test"), 200, "a.test or a.test", true)
	}
}

// TestRoutes: wherever the cache is.
func TestRoutes(t *testing.T) {
	handler := func(c *fiber.Ctx) error { return c.SendString(c.Params("id")) }
	for name, build := range map[string]func(*fiber.App, fiber.Handler){
		"app":   func(app *fiber.App, m fiber.Handler) { app.Use(m); app.Get("/users/:id", handler) },
		"group": func(app *fiber.App, m fiber.Handler) { app.Group("/users", m).Get("/:id", handler) },
		"route": func(app *fiber.App, m fiber.Handler) { app.Get("/users/:id", m, handler) },
		"mount": func(app *fiber.App, m fiber.Handler) {
			sub := newApp()
			sub.Get("/:id", handler)
			app.Use(m)
			app.Mount("/users", sub)
		},
		"among others": func(app *fiber.App, m fiber.Handler) {
			app.Use(m)
			app.Get("/users", handler).Get("/users/:id/posts", handler).Get("/Users/:id", handler).Get("/*", handler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pattern := "/users/:id"
			if name == "among others" { // Fiber minds no case
				pattern = "/Users/:id"
			}
			coretest.Routes(t, pattern, func(cache *cacheaside.Cache) func(string, ...string) *http.Response {
				app := newApp()
				build(app, fiberadapter.New(cache, fiberadapter.WithRoute(func(c *fiber.Ctx) string { return c.Get("X-Route") })))
				return func(target string, fields ...string) *http.Response { return get(t, app, target, fields...) }
			})
		})
	}
}

// TestContentOfForms: of a form in several parts that Fiber has parsed nobody has the
// bytes, so that it is in no key, unless the app leaves it alone.
func TestContentOfForms(t *testing.T) {
	const form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n%s\r\n--b--\r\n"
	for _, untouched := range []bool{false, true} {
		for _, front := range []bool{false, true} {
			config := newConfig()
			config.DisablePreParseMultipartForm = untouched
			app := fiber.New(config)
			app.Use(func(c *fiber.Ctx) error {
				if front {
					_, _ = c.MultipartForm()
				}
				return c.Next()
			}, fiberadapter.New(coretest.NewCache(t, func(c *cacheaside.Config) { c.Policy.Requests.Methods = []string{"POST"} })))
			app.Post("/x", func(c *fiber.Ctx) error { return c.SendString(c.FormValue("a")) })
			for _, value := range []string{"1", "1", "2"} {
				r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(fmt.Sprintf(form, value)))
				r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
				res, err := app.Test(r)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(res.Body)
				status := res.Header.Get("Cache-Status")
				if passed := strings.Contains(status, "content-unread"); string(b) != value || passed == untouched {
					t.Errorf("untouched %t, parsed in front %t: %q for %s with %q", untouched, front, b, value, status)
				}
			}
		}
	}
}
