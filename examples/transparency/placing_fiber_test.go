package transparency

import (
	"net/http"
	"strings"
	"time"

	jwtware "github.com/gofiber/contrib/jwt"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/basicauth"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	fiberetag "github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/filesystem"
	"github.com/gofiber/fiber/v2/middleware/keyauth"
	"github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/gofiber/fiber/v2/middleware/logger"
	recoverer "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/gofiber/fiber/v2/middleware/timeout"
	"github.com/golang-jwt/jwt/v5"

	"github.com/cacheaside/cacheaside/fiberadapter"
)

func fiberHouse() house {
	return house{
		name: "Fiber",
		uses: map[string]string{
			"recover": "`recover`", "logger": "`logger`", "request id": "`requestid`", "CORS": "`cors`",
			"limiter": "`limiter`", "static": "`filesystem`", "basic auth": "`basicauth`", "JWT": "`contrib/jwt`", "API key": "`keyauth`",
			"session": "`session`", "csrf": "`csrf`", "compression": "`compress`", "etag": "`etag`", "timeout": "`timeout`",
		},
		ownETag: true,
		build: func(order []string, dir string) builder {
			return func(e *env) server {
				return onFiber(func(outermost fiber.Handler) *fiber.App {
					app := newFiber()
					app.Use(outermost)
					for _, l := range layersOf(order, func(name string) fiber.Handler { return fiberLayer(e, name, dir) }, onlyFiber) {
						app.Use(l)
					}
					app.Get("/me", func(c *fiber.Ctx) error { return c.SendString("hello " + fiberUser(c)) })
					fiberRoutes(app)
					return app
				})
			}
		},
	}
}

func onlyFiber(path string, l fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if c.Path() == path {
			return l(c)
		}
		return c.Next()
	}
}

func fiberUser(c *fiber.Ctx) string {
	if token, ok := c.Locals("user").(*jwt.Token); ok {
		name, _ := token.Claims.GetSubject()
		return name
	}
	name, _ := c.Locals("username").(string)
	return name
}

func fiberLayer(e *env, name, dir string) fiber.Handler {
	switch name {
	case "cache":
		return e.fiber()
	case "cache per user":
		return fiberadapter.New(e.cache, fiberadapter.WithPartition(fiberUser))
	case "recover":
		return recoverer.New()
	case "logger":
		return logger.New(logger.Config{Output: e.log, Format: "${method} ${path} ${status}\n"})
	case "request id":
		return requestid.New()
	case "CORS":
		return cors.New(cors.Config{AllowOrigins: strings.Join(origins, ","), AllowCredentials: true})
	case "limiter":
		return limiter.New(limiter.Config{Max: limit, Expiration: time.Hour})
	case "static":
		return filesystem.New(filesystem.Config{Root: http.Dir(dir), Next: func(c *fiber.Ctx) bool { return !strings.HasPrefix(c.Path(), "/files/") }})
	case "basic auth":
		return basicauth.New(basicauth.Config{Users: map[string]string{"jack": "secret", "jill": "secret"}})
	case "JWT":
		return jwtware.New(jwtware.Config{SigningKey: jwtware.SigningKey{Key: []byte(signingKey)}})
	case "API key":
		return keyauth.New(keyauth.Config{KeyLookup: "header:X-Key", Validator: func(_ *fiber.Ctx, key string) (bool, error) {
			return key == "secret", nil
		}})
	case "session":
		store := session.New()
		return func(c *fiber.Ctx) error {
			c.Locals("sessions", store)
			return c.Next()
		}
	case "rolling":
		return func(c *fiber.Ctx) error {
			s, err := c.Locals("sessions").(*session.Store).Get(c)
			if err != nil {
				return err
			}
			s.Set("rolled", true)
			if err := s.Save(); err != nil {
				return err
			}
			return c.Next()
		}
	case "csrf":
		return csrf.New(csrf.Config{ContextKey: "csrf"})
	case "compression":
		return compress.New()
	case "etag":
		return fiberetag.New(fiberetag.Config{Next: func(*fiber.Ctx) bool {
			e.log.printf("etag\n")
			return false
		}})
	case "timeout":
		through := func(c *fiber.Ctx) error { return c.Next() }
		short, long := timeout.NewWithContext(through, shortest), timeout.NewWithContext(through, time.Minute)
		return func(c *fiber.Ctx) error {
			if c.Get("X-Slow") != "" {
				return short(c)
			}
			return long(c)
		}
	}
	panic("no layer " + name)
}
