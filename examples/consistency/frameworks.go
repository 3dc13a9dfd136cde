package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/fiberadapter"
	"github.com/cacheaside/cacheaside/ginadapter"
)

// route is all below a path, with the handles in front of it, the outermost first.
type route struct {
	path    string
	handles []*cacheaside.Cache
}

// newServer returns a server in one of the frameworks whose handlers get rows
// from the origin. It serves until the process ends.
func newServer(framework string, routes []route, from origin) (serve func(net.Listener) error, err error) {
	var h http.Handler
	switch framework {
	case "fiber":
		return newFiber(routes, from).Listener, nil
	case "gin":
		h = newGin(routes, from)
	case "echo":
		h = newEcho(routes, from)
	case "chi":
		h = newChi(routes, from)
	default:
		return nil, errors.New("not one of fiber, gin, echo and chi")
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve, nil
}

func newChi(routes []route, from origin) http.Handler {
	r := chi.NewRouter()
	for _, to := range routes {
		r.Route(to.path, func(r chi.Router) {
			for _, c := range to.handles {
				r.Use(chiadapter.New(c))
			}
			r.Handle("/*", from)
		})
	}
	return r
}

func newGin(routes []route, from origin) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	for _, to := range routes {
		g := r.Group(to.path)
		for _, c := range to.handles {
			g.Use(ginadapter.New(c))
		}
		g.Any("/*row", gin.WrapH(from))
	}
	return r
}

func newEcho(routes []route, from origin) http.Handler {
	e := echo.New()
	for _, to := range routes {
		g := e.Group(to.path)
		for _, c := range to.handles {
			g.Use(echoadapter.New(c))
		}
		g.Any("/*", echo.WrapHandler(from))
	}
	return e
}

func newFiber(routes []route, from origin) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	for _, to := range routes {
		g := app.Group(to.path)
		for _, c := range to.handles {
			g.Use(fiberadapter.New(c))
		}
		g.All("/*", func(c *fiber.Ctx) error {
			resp, body := from.get(c.UserContext(), c.OriginalURL(), func(name string) string { return c.Get(name) }) //nolint:bodyclose // get has read it
			for _, name := range passedOn {
				for _, value := range resp.Header[name] {
					c.Set(name, value)
				}
			}
			c.Status(resp.StatusCode)
			if len(body) == 0 {
				return nil
			}
			return c.Send(body)
		})
	}
	return app
}

// origin is where the rows come from, http://host:port.
type origin string

// Fields that go to the origin, and that come from it.
var (
	selecting = []string{"Accept-Language", "X-Part", "If-None-Match"}
	passedOn  = []string{"Cache-Control", "Cache-Tag", "Content-Type", "Etag", "Vary", version}
)

var toOrigin = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}

// get asks for the whole of a row, whatever the method: the framework takes the
// body away where there is to be none.
func (o origin) get(ctx context.Context, target string, header func(string) string) (*http.Response, []byte) {
	failed := &http.Response{StatusCode: http.StatusBadGateway}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(o)+target, nil)
	if err != nil {
		return failed, nil
	}
	for _, name := range selecting {
		if value := header(name); value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := toOrigin.Do(req)
	if err != nil {
		return failed, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return failed, nil
	}
	return resp, body
}

func (o origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp, body := o.get(r.Context(), r.URL.RequestURI(), r.Header.Get) //nolint:bodyclose // get has read it
	for _, name := range passedOn {
		if values := resp.Header[name]; len(values) > 0 {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body)
}
