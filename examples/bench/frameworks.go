package main

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/fiberadapter"
	"github.com/cacheaside/cacheaside/ginadapter"
)

// site is a service to be built in a framework.
type site struct {
	answer   func(path string) ([]byte, error)
	cache    *cacheaside.Cache // nil: none
	zipping  *cacheaside.Cache // the same with another policy, which compresses
	fibers   fiber.Handler     // Fiber's own cache, in Fiber
	compress bool              // the framework's middleware compresses under /gzip/
	ready    bool              // a floor: what is under /gzip/ is compressed, and lengths are known
}

const (
	jsonType   = "application/json"
	gzipPrefix = "/gzip/"
)

// routes are those with the cache in front of the handler, but for the last.
func routes(param func(string) string) (plain, slow, zip, idle string) {
	return "/plain/" + param("size") + "/" + param("key"), "/slow/" + param("key"), gzipPrefix + param("key"), "/ready"
}

func colon(name string) string { return ":" + name }
func brace(name string) string { return "{" + name + "}" }

// build makes the service; the result serves until the listener is closed.
func (s site) build(framework string) func(net.Listener) error {
	var h http.Handler
	switch framework {
	case fiberName:
		return s.fiber().Listener
	case "gin":
		h = s.gin()
	case "echo":
		h = s.echo()
	default:
		h = s.chi()
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve
}

// field are the header fields that a floor knows besides.
func (s site) field(path string, body []byte, set func(name, value string)) {
	if !s.ready {
		return
	}
	set("Content-Length", strconv.Itoa(len(body)))
	if strings.HasPrefix(path, gzipPrefix) {
		set("Content-Encoding", "gzip")
	}
}

func (s site) fiber() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	handle := func(c *fiber.Ctx) error {
		b, err := s.answer(c.Path())
		if err != nil {
			return err
		}
		s.field(c.Path(), b, func(name, value string) { // fasthttp knows the length
			if name != fiber.HeaderContentLength {
				c.Set(name, value)
			}
		})
		c.Set(fiber.HeaderContentType, jsonType)
		return c.Send(b)
	}
	var front, zip []fiber.Handler
	if s.compress {
		zip = append(zip, compress.New())
	}
	switch {
	case s.cache != nil:
		front, zip = append(front, fiberadapter.New(s.cache)), append(zip, fiberadapter.New(s.zipping))
	case s.fibers != nil:
		front, zip = append(front, s.fibers), append(zip, s.fibers)
	}
	front, zip = append(front, handle), append(zip, handle)
	plain, slow, zipped, idle := routes(colon)
	app.Get(plain, front...)
	app.Get(slow, front...)
	app.Get(zipped, zip...)
	app.Get(idle, func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
	return app
}

func (s site) gin() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	handle := func(c *gin.Context) {
		b, err := s.answer(c.Request.URL.Path)
		if err != nil {
			c.String(http.StatusNotFound, err.Error())
			return
		}
		s.field(c.Request.URL.Path, b, c.Header)
		c.Data(http.StatusOK, jsonType, b)
	}
	var front, zip []gin.HandlerFunc
	if s.cache != nil {
		front, zip = append(front, ginadapter.New(s.cache)), append(zip, ginadapter.New(s.zipping))
	}
	front, zip = append(front, handle), append(zip, handle)
	plain, slow, zipped, idle := routes(colon)
	r.GET(plain, front...)
	r.GET(slow, front...)
	r.GET(zipped, zip...)
	r.GET(idle, func(c *gin.Context) { c.Status(http.StatusNoContent) })
	if !s.compress {
		return r
	}
	return only(gzhttp.GzipHandler(r), r) // Gin has no middleware of its own for that
}

// only sends requests under /gzip/ through the one, others through the other.
func only(zip, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, gzipPrefix) {
			zip.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

func (s site) echo() http.Handler {
	e := echo.New()
	handle := func(c echo.Context) error {
		b, err := s.answer(c.Request().URL.Path)
		if err != nil {
			return echo.NewHTTPError(http.StatusNotFound, err.Error())
		}
		s.field(c.Request().URL.Path, b, c.Response().Header().Set)
		return c.Blob(http.StatusOK, jsonType, b)
	}
	var front, zip []echo.MiddlewareFunc
	if s.compress {
		zip = append(zip, echomiddleware.Gzip())
	}
	if s.cache != nil {
		front, zip = append(front, echoadapter.New(s.cache)), append(zip, echoadapter.New(s.zipping))
	}
	plain, slow, zipped, idle := routes(colon)
	e.GET(plain, handle, front...)
	e.GET(slow, handle, front...)
	e.GET(zipped, handle, zip...)
	e.GET(idle, func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	return e
}

func (s site) chi() http.Handler {
	r := chi.NewRouter()
	handle := func(w http.ResponseWriter, r *http.Request) {
		b, err := s.answer(r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		s.field(r.URL.Path, b, w.Header().Set)
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(b)
	}
	var front, zip chi.Middlewares
	if s.compress {
		zip = append(zip, middleware.Compress(5))
	}
	if s.cache != nil {
		front, zip = append(front, chiadapter.New(s.cache)), append(zip, chiadapter.New(s.zipping))
	}
	plain, slow, zipped, idle := routes(brace)
	r.With(front...).Get(plain, handle)
	r.With(front...).Get(slow, handle)
	r.With(zip...).Get(zipped, handle)
	r.Get(idle, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return r
}

// zipped compresses what a floor has ready.
func zipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
