package transparency

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/sessions"
	"github.com/labstack/echo-contrib/session"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/cacheaside/cacheaside/echoadapter"
)

func echoHouse() house {
	return house{
		name: "Echo",
		uses: map[string]string{
			"recover": "`Recover`", "logger": "`RequestLogger`", "request id": "`RequestID`", "CORS": "`CORS`",
			"limiter": "`RateLimiter`", "static": "`Static`", "basic auth": "`BasicAuth`", "JWT": "echo-jwt", "API key": "`KeyAuth`",
			"session": "echo-contrib/session", "csrf": "`CSRF`", "compression": "`Gzip`", "etag": "the policy", "timeout": "`ContextTimeout`",
		},
		build: func(order []string, dir string) builder {
			return func(e *env) server {
				app := newEcho()
				app.Use(layersOf(order, func(name string) echo.MiddlewareFunc { return echoLayer(e, name, dir) }, onlyEcho)...)
				app.GET("/me", func(c echo.Context) error { return c.String(200, "hello "+echoUser(c)) })
				echoRoutes(app)
				return std(app)
			}
		},
	}
}

func onlyEcho(path string, l echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		there := l(next)
		return func(c echo.Context) error {
			if c.Path() == path {
				return there(c)
			}
			return next(c)
		}
	}
}

func echoUser(c echo.Context) string {
	if token, ok := c.Get("user").(*jwt.Token); ok {
		name, _ := token.Claims.GetSubject()
		return name
	}
	name, _ := c.Get("name").(string)
	return name
}

func echoLayer(e *env, name, dir string) echo.MiddlewareFunc {
	switch name {
	case "cache":
		return e.echo()
	case "cache per user":
		return echoadapter.New(e.cache, echoadapter.WithPartition(echoUser))
	case "recover":
		return middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, DisableStackAll: true})
	case "logger":
		return middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
			LogMethod: true, LogURIPath: true, LogStatus: true,
			LogValuesFunc: func(_ echo.Context, v middleware.RequestLoggerValues) error {
				e.log.printf("%s %s %d\n", v.Method, v.URIPath, v.Status)
				return nil
			},
		})
	case "request id":
		return middleware.RequestID()
	case "CORS":
		return middleware.CORSWithConfig(middleware.CORSConfig{AllowOrigins: origins, AllowCredentials: true})
	case "limiter":
		return middleware.RateLimiter(middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{Rate: 1e-6, Burst: limit, ExpiresIn: time.Hour}))
	case "static":
		return middleware.StaticWithConfig(middleware.StaticConfig{Root: dir})
	case "basic auth":
		return middleware.BasicAuth(func(name, password string, c echo.Context) (bool, error) {
			c.Set("name", name)
			return (name == "jack" || name == "jill") && password == "secret", nil
		})
	case "JWT":
		return echojwt.JWT([]byte(signingKey))
	case "API key":
		return middleware.KeyAuthWithConfig(middleware.KeyAuthConfig{KeyLookup: "header:X-Key", Validator: func(key string, _ echo.Context) (bool, error) {
			return key == "secret", nil
		}})
	case "session":
		return session.Middleware(sessions.NewCookieStore([]byte("secret")))
	case "rolling":
		return func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				s, err := session.Get("store", c)
				if err != nil {
					return err
				}
				s.Values["rolled"] = true
				if err := s.Save(c.Request(), c.Response()); err != nil {
					return err
				}
				return next(c)
			}
		}
	case "csrf":
		return middleware.CSRFWithConfig(middleware.CSRFConfig{CookiePath: "/"})
	case "compression":
		return middleware.Gzip()
	case "timeout":
		return func(next echo.HandlerFunc) echo.HandlerFunc {
			short, long := middleware.ContextTimeout(shortest)(next), middleware.ContextTimeout(time.Minute)(next)
			return func(c echo.Context) error {
				if c.Request().Header.Get("X-Slow") != "" {
					return short(c)
				}
				return long(c)
			}
		}
	}
	panic("no layer " + name)
}
