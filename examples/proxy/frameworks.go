package main

import (
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/chiadapter"
	"github.com/cacheaside/cacheaside/core"
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

// handlers are the proxies in the frameworks on net/http.
var handlers = map[string]func(*core.Cache, http.Handler) http.Handler{
	"gin": newGin, "echo": newEcho, "chi": newChi,
}

func newChi(cache *core.Cache, origin http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(chiadapter.New(cache))
	r.Handle("/*", origin)
	r.NotFound(origin.ServeHTTP)
	r.MethodNotAllowed(origin.ServeHTTP) // methods that chi does not know
	return r
}

func newEcho(cache *core.Cache, origin http.Handler) http.Handler {
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
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.Writer.WriteHeader(status)
		return
	}
	w.Response.WriteHeader(status)
}

func newGin(cache *core.Cache, origin http.Handler) http.Handler {
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

func newFiber(cache *core.Cache, origin http.Handler) *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage:     true,
		DisableDefaultContentType: true,
		RequestMethods:            slices.Concat(fiber.DefaultMethods, extraMethods),
		BodyLimit:                 math.MaxInt32,
		ReadBufferSize:            64 << 10, // also the limit of a request's header
	})
	// The adaptor collects the response, so event streams and WebSocket do not
	// get through here.
	app.Use(fiberadapter.New(cache), adaptor.HTTPHandler(complete(origin)))
	return app
}
