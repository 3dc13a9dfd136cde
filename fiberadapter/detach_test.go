package fiberadapter

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/rewrite"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// detached is a middleware that makes the exchange as New does. It keeps the
// refresher of a request and the marker of one that is run again.
type detached struct {
	mu         sync.Mutex
	refreshers []adapter.Refresher
	reruns     []*adapter.Rerun
	seen       []seen
	ctx        context.Context // of the last request
}

func (d *detached) cache(c *fiber.Ctx) error {
	x := exchanges.Get().(*exchange)
	defer x.release()
	x.reset(c)
	d.mu.Lock()
	if rerun := x.Request().Rerun; rerun != nil {
		d.reruns = append(d.reruns, rerun)
	} else {
		d.refreshers = append(d.refreshers, x.Detach())
	}
	d.mu.Unlock()
	_, err := x.Next(adapter.Forward{})
	return err
}

type seen struct {
	Method, Path, ID, Query, Original, Host, URIPath, Scheme, Protocol, IP string
	Remote, Local                                                          string
	TLS, Body                                                              bool
	Route, Form                                                            string
	Header                                                                 map[string][]string
	User                                                                   any
}

// handler notes what it sees. Strings are copied: Fiber reuses its memory.
func (d *detached) handler(c *fiber.Ctx) error {
	uri, f := c.Request().URI(), c.Context()
	s := seen{
		Method: c.Method(), Path: strings.Clone(c.Path()), ID: strings.Clone(c.Params("id")), Query: string(uri.QueryString()),
		Original: strings.Clone(c.OriginalURL()), Host: strings.Clone(c.Hostname()), URIPath: string(uri.PathOriginal()),
		Scheme: string(uri.Scheme()), Protocol: c.Protocol(), IP: c.IP(), Remote: f.RemoteAddr().String(), Local: f.LocalAddr().String(),
		TLS: f.IsTLS() && f.TLSConnectionState().HandshakeComplete, Body: len(c.Body()) > 0, Route: c.Route().Path, Form: string(c.Request().PostArgs().Peek("a")),
		Header: map[string][]string{}, User: c.Locals("user"),
	}
	c.Request().Header.VisitAll(func(k, v []byte) { s.Header[string(k)] = append(s.Header[string(k)], string(v)) })
	d.mu.Lock()
	d.seen, d.ctx = append(d.seen, s), c.UserContext()
	d.mu.Unlock()
	c.Set("X-Answer", "1")
	return c.SendString("answer")
}

// serve starts app, with TLS or without, and returns its URL and a client.
func serve(t *testing.T, app *fiber.App, secure bool) (string, *http.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url, transport := "http://"+ln.Addr().String(), &http.Transport{}
	if secure {
		donor := httptest.NewTLSServer(nil) // for its certificate
		t.Cleanup(donor.Close)
		url = "https://" + ln.Addr().String()
		transport.TLSClientConfig = donor.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		ln = tls.NewListener(ln, &tls.Config{Certificates: donor.TLS.Certificates})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = app.Listener(ln)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = app.ShutdownWithTimeout(time.Second)
		<-done
	})
	return url, &http.Client{Transport: transport}
}

func send(t *testing.T, client *http.Client, method, url string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader("a=b"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Range": "bytes=0-1", "If-None-Match": `"a"`, "If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT",
		"Cache-Control": "no-cache", "Pragma": "no-cache", "Content-Type": "application/x-www-form-urlencoded",
		"Accept-Language": "de", "Cookie": "a=1; b=2", "X-Any": "1", "User-Agent": "test",
	} {
		req.Header.Set(name, value)
	}
	req.Host = "shop.example"
	res, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

func newApp(layers ...fiber.Handler) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	n := 0
	var mu sync.Mutex
	app.Use(func(c *fiber.Ctx) error {
		_ = c.Request().PostArgs() // parsed once
		mu.Lock()
		n++
		c.Locals("user", n)
		mu.Unlock()
		return c.Next()
	})
	for _, layer := range layers {
		app.Use(layer)
	}
	return app
}

func TestDetach(t *testing.T) {
	for name, build := range map[string]func(*detached) *fiber.App{
		"app": func(d *detached) *fiber.App {
			app := newApp(d.cache)
			app.All("/app/:id", d.handler)
			return app
		},
		"route": func(d *detached) *fiber.App {
			app := newApp()
			app.All("/app/:id", d.cache, d.handler)
			return app
		},
		"group": func(d *detached) *fiber.App {
			app := newApp()
			app.Group("/app", d.cache).All("/:id", d.handler)
			return app
		},
		"mounted": func(d *detached) *fiber.App {
			app, sub := newApp(), fiber.New()
			sub.Use(d.cache)
			sub.All("/:id", d.handler)
			app.Mount("/app", sub)
			return app
		},
		"mounted twice": func(d *detached) *fiber.App {
			app, sub, subsub := newApp(), fiber.New(), fiber.New()
			subsub.All("/:id", d.cache, d.handler)
			sub.Mount("/", subsub)
			app.Group("/app").Mount("/", sub)
			return app
		},
		"rewritten": func(d *detached) *fiber.App {
			app := newApp(rewrite.New(rewrite.Config{Rules: map[string]string{"/app/*": "/$1/item"}}), d.cache)
			app.All("/:id/item", d.handler)
			return app
		},
		"path set": func(d *detached) *fiber.App {
			app := newApp(func(c *fiber.Ctx) error {
				path, ok := strings.CutPrefix(c.Path(), "/app")
				if !ok {
					return fiber.ErrNotFound
				}
				c.Path(path)
				return c.Next()
			}, d.cache)
			app.All("/:id", d.handler)
			return app
		},
	} {
		for _, secure := range []bool{false, true} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				t.Run(name+map[bool]string{true: " TLS "}[secure]+" "+method, func(t *testing.T) {
					var d detached
					url, client := serve(t, build(&d), secure)
					send(t, client, method, url+"/app/a%2Fb?q=1&r=%20")
					send(t, client, http.MethodPost, url+"/app/other")
					original := d.seen[0]

					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					defer cancel()
					rerun := new(adapter.Rerun)
					d.refreshers[0](ctx, rerun)

					want := original
					want.Method, want.Body, want.Form, want.User = http.MethodGet, false, "", 3
					want.Header = maps.Clone(want.Header)
					maps.DeleteFunc(want.Header, func(name string, _ []string) bool { return adapter.OmittedInRerun(name, false) })
					if len(want.Header) > len(original.Header)-6 {
						t.Errorf("the original request has too few fields to leave out: %v", original.Header)
					}
					if got := d.seen[2]; !reflect.DeepEqual(got, want) {
						t.Errorf("the handler saw\n%+v\nwant\n%+v", got, want)
					}
					if original.TLS != secure || original.ID == "" {
						t.Errorf("the original: %+v", original)
					}
					if len(d.reruns) != 1 || d.reruns[0] != rerun {
						t.Error("the marker has not come back")
					}
					if deadline, ok := d.ctx.Deadline(); !ok || time.Until(deadline) < time.Minute {
						t.Errorf("deadline %v %v", deadline, ok)
					}
					cancel()
					if !errors.Is(d.ctx.Err(), context.Canceled) {
						t.Error("the request does not end with the given context")
					}
				})
			}
		}
	}
}

type outerKey struct{}

// TestDetachUserContext: layers in front derive the user context from the
// given one, or replace it; the marker comes back either way.
func TestDetachUserContext(t *testing.T) {
	for _, replace := range []bool{false, true} {
		var d detached
		app := newApp(func(c *fiber.Ctx) error {
			ctx := c.UserContext()
			if replace {
				ctx = context.Background()
			}
			c.SetUserContext(context.WithValue(ctx, outerKey{}, 1))
			return c.Next()
		}, d.cache)
		app.All("/", d.handler)
		url, client := serve(t, app, false)
		send(t, client, http.MethodGet, url)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		d.refreshers[0](ctx, new(adapter.Rerun))
		cancel()
		if _, limited := d.ctx.Deadline(); limited == replace || d.ctx.Value(outerKey{}) != 1 {
			t.Errorf("deadline: %t, value %v", limited, d.ctx.Value(outerKey{}))
		}
		if len(d.reruns) != 1 {
			t.Error("the marker is lost")
		}
	}
}

// TestDetachErrors: the app's error handler and its recovery are behind the
// entry; a panic that nothing recovers comes out.
func TestDetachErrors(t *testing.T) {
	for _, recovery := range []bool{false, true} {
		var d detached
		var handled []error
		app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: func(_ *fiber.Ctx, err error) error {
			handled = append(handled, err)
			return nil
		}})
		if recovery {
			app.Use(fiberrecover.New())
		}
		app.Get("/error", d.cache, func(*fiber.Ctx) error { return fiber.ErrTeapot })
		failing := false
		app.Get("/panic", d.cache, func(*fiber.Ctx) error {
			if failing {
				panic("handler")
			}
			return nil
		})
		url, client := serve(t, app, false)
		send(t, client, http.MethodGet, url+"/error")
		send(t, client, http.MethodGet, url+"/panic")
		d.refreshers[0](t.Context(), new(adapter.Rerun))
		if len(handled) != 2 || handled[1] != fiber.ErrTeapot { //nolint:errorlint // the very value
			t.Errorf("handled %v", handled)
		}
		failing = true
		if v := panicOf(func() { d.refreshers[1](t.Context(), new(adapter.Rerun)) }); (v == nil) != recovery {
			t.Errorf("panic %v, recovered in front: %t", v, recovery)
		}
	}
}

func TestDetachConcurrently(t *testing.T) {
	var d detached
	app := newApp(d.cache)
	app.All("/:id", d.handler)
	url, client := serve(t, app, false)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { send(t, client, http.MethodGet, url+"/a") })
	}
	wg.Wait()
	for _, refresh := range d.refreshers {
		wg.Go(func() { refresh(t.Context(), new(adapter.Rerun)) })
		wg.Go(func() { send(t, client, http.MethodGet, url+"/b") })
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

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestDetachStream: nobody reads a stream that is the response, but it ends.
func TestDetachStream(t *testing.T) {
	var d detached
	var streams []*closing
	app := newApp(d.cache)
	app.Get("/", func(c *fiber.Ctx) error {
		streams = append(streams, &closing{Reader: strings.NewReader("a")})
		return c.SendStream(streams[len(streams)-1])
	})
	left := make(chan error, 1)
	app.Get("/writer", func(c *fiber.Ctx) error {
		rerun := len(d.reruns) == 2
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
			var err error
			for err == nil && rerun {
				_, _ = w.WriteString("a")
				err = w.Flush()
			}
			if rerun {
				left <- err
			}
		})
		return nil
	})
	url, client := serve(t, app, false)
	send(t, client, http.MethodGet, url)
	send(t, client, http.MethodGet, url+"/writer")
	d.refreshers[0](t.Context(), new(adapter.Rerun))
	if !streams[1].closed {
		t.Error("the stream is left open")
	}
	d.refreshers[1](t.Context(), new(adapter.Rerun))
	if err := <-left; err == nil {
		t.Error("the writer of a stream does not learn that nobody reads")
	}
}

// panicOf runs f and gives what it panics with.
func panicOf(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// TestPanic: after a panic of the handler another response may take its place.
func TestPanic(t *testing.T) {
	for name, handler := range map[string]fiber.Handler{
		"body": func(c *fiber.Ctx) error {
			c.Set("X-Outer", "changed")
			c.Set("X-Handler", "1")
			c.Cookie(&fiber.Cookie{Name: "handler", Value: "1"})
			_ = c.Status(fiber.StatusTeapot).SendString("part")
			panic("handler")
		},
		"stream": func(c *fiber.Ctx) error {
			c.Set("X-Outer", "changed")
			c.Set("X-Handler", "1")
			_ = c.Status(fiber.StatusTeapot).SendStream(strings.NewReader("part"))
			panic("handler")
		},
		"hijack": func(c *fiber.Ctx) error {
			c.Set("X-Outer", "changed")
			c.Set("X-Handler", "1")
			c.Context().HijackSetNoResponse(true)
			c.Context().Hijack(func(net.Conn) { t.Error("the connection was taken over") })
			panic("handler")
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := fiber.New(fiber.Config{DisableStartupMessage: true})
			app.Use(func(c *fiber.Ctx) error {
				c.Set("X-Outer", "1")
				c.Append("Set-Cookie", "outer=1")
				return c.Next()
			}, func(c *fiber.Ctx) error {
				var x exchange
				x.reset(c)
				if v := panicOf(func() { _, _ = x.Next(adapter.Forward{Capture: true, Set: http.Header{"Accept": nil}}) }); v != "handler" {
					t.Errorf("panic %v", v)
				}
				return x.Reply(&adapter.Response{Status: 200, Header: adapter.Fields{{Name: "X-Stale", Value: "1"}}, Body: []byte("stale")})
			})
			app.Get("/", handler, func(*fiber.Ctx) error {
				t.Error("the chain goes on")
				return nil
			})
			url, client := serve(t, app, false)
			res, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			h := res.Header
			if res.StatusCode != 200 || string(body) != "stale" || h.Get("X-Stale") != "1" || h.Get("X-Outer") != "1" || h.Get("X-Handler") != "" ||
				len(h["Set-Cookie"]) != 1 || h.Get("Set-Cookie") != "outer=1" {
				t.Errorf("%d %q %v", res.StatusCode, body, h)
			}
		})
	}
}
