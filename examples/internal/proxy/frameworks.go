// Package proxy is a caching reverse proxy in each of the frameworks.
package proxy

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/fiberadapter"
	"github.com/cacheaside/cacheaside/ginadapter"
)

const readHeaderTimeout = 10 * time.Second

// extraMethods are those that Fiber and Gin do not know by themselves.
var extraMethods = []string{
	"ACL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY",
	"MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "ORDERPATCH", "PROPFIND", "PROPPATCH", "PURGE", "QUERY",
	"REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
}

// Server is a proxy that is ready to serve; *http.Server is one.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// Frameworks are the names that New takes; the first is the plainest.
func Frameworks() []string { return []string{"chi", "gin", "echo", "fiber"} }

// New returns a proxy in the framework named that answers from cache or else
// forwards to origin.
func New(framework string, cache *cacheaside.Cache, origin *url.URL) (Server, error) {
	h := newOrigin(origin)
	switch framework {
	case "chi":
		h = newChi(cache, h)
	case "gin":
		h = newGin(cache, h)
	case "echo":
		h = newEcho(cache, h)
	case "fiber":
		return fiberServer{newFiber(cache, h)}, nil
	default:
		return nil, errors.New("not one of fiber, gin, echo and chi")
	}
	return &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout}, nil
}

type fiberServer struct{ *fiber.App }

func (s fiberServer) Serve(l net.Listener) error         { return s.Listener(l) }
func (s fiberServer) Shutdown(ctx context.Context) error { return s.ShutdownWithContext(ctx) }

func newChi(cache *cacheaside.Cache, origin http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(chiadapter.New(cache))
	r.Handle("/*", origin)
	r.NotFound(origin.ServeHTTP)
	r.MethodNotAllowed(origin.ServeHTTP) // methods that chi does not know
	return r
}

func newEcho(cache *cacheaside.Cache, origin http.Handler) http.Handler {
	e := echo.New()
	cached := echoadapter.New(cache)
	h := func(c echo.Context) error {
		origin.ServeHTTP(echoWriter{c.Response()}, c.Request())
		return nil
	}
	e.Any("/*", h, cached)
	e.RouteNotFound("/*", h, cached) // methods that Any does not register
	return e
}

// echoWriter sends interim responses (103 Early Hints), which Echo takes for
// the final one.
type echoWriter struct{ *echo.Response }

func (w echoWriter) WriteHeader(status int) {
	if nethttp.Informational(status) {
		w.Writer.WriteHeader(status)
		return
	}
	w.Response.WriteHeader(status)
}

func newGin(cache *cacheaside.Cache, origin http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	cached, h := ginadapter.New(cache), gin.WrapH(origin)
	r.Any("/*path", cached, h)
	r.Match(extraMethods, "/*path", cached, h)
	r.NoRoute(func(c *gin.Context) { // methods beyond these; the adapter has no part in NoRoute
		h(c)
		c.Writer.WriteHeaderNow()
	})
	return r
}

func newFiber(cache *cacheaside.Cache, origin http.Handler) *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage:     true,
		DisableDefaultContentType: true,
		DisableDefaultDate:        true, // the origin's is passed on
		RequestMethods:            slices.Concat(fiber.DefaultMethods, extraMethods),
		BodyLimit:                 math.MaxInt32,
		ReadBufferSize:            64 << 10, // also the limit of a request's header
	})
	// The adaptor collects the response, so event streams and WebSocket do not
	// get through here.
	app.Use(dated, fiberadapter.New(cache), func(c *fiber.Ctx) error {
		var date string
		err := adaptor.HTTPHandler(complete(origin, &date))(c)
		if date != "" {
			fiberadapter.SetDate(c, date)
		}
		return err
	})
	return app
}

// dated adds Date where the origin sent none (RFC 9110 section 6.6.1).
func dated(c *fiber.Ctx) error {
	err := c.Next()
	if len(c.Response().Header.Peek(fiber.HeaderDate)) == 0 {
		fiberadapter.SetDate(c, time.Now().UTC().Format(http.TimeFormat))
	}
	return err
}
