package transparency

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/rs/cors"

	"github.com/cacheaside/cacheaside/echoadapter"
)

func (e *env) echo() echo.MiddlewareFunc {
	if e.cache == nil {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	return echoadapter.New(e.cache)
}

// echoRouter is what *echo.Echo and *echo.Group have in common.
type echoRouter interface {
	Match(methods []string, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) []*echo.Route
}

func echoRoutes(r echoRouter, each ...echo.MiddlewareFunc) {
	get := func(path string, h echo.HandlerFunc) { r.Match([]string{"GET", "HEAD"}, path, h, each...) }
	set := func(c echo.Context, name, value string) { c.Response().Header().Set(name, value) }
	get("/page", func(c echo.Context) error { return c.Blob(200, plain, []byte(pageText)) })
	get("/untyped", func(c echo.Context) error {
		_, err := c.Response().Write([]byte("<!doctype html><p>hello</p>"))
		return err
	})
	get("/json", func(c echo.Context) error { return c.JSON(200, map[string]any{"a": 1, "b": []string{"x", "<y>"}}) })
	get("/tagged", func(c echo.Context) error {
		set(c, "ETag", etag)
		set(c, "Last-Modified", modified)
		return c.Blob(200, plain, []byte(pageText))
	})
	get("/file", func(c echo.Context) error {
		set(c, "Content-Type", plain)
		set(c, "ETag", etag)
		http.ServeContent(c.Response(), c.Request(), "file.txt", written, strings.NewReader(pageText))
		return nil
	})
	get("/big", func(c echo.Context) error { return c.Blob(200, plain, []byte(bigText)) })
	get("/huge", func(c echo.Context) error { return c.Blob(200, plain, []byte(hugeText)) })
	get("/declared", func(c echo.Context) error {
		set(c, "Content-Length", strconv.Itoa(len(pageText)))
		return c.Stream(200, plain, strings.NewReader(pageText))
	})
	get("/pieces", func(c echo.Context) error {
		set(c, "Content-Type", plain)
		c.Response().Header().Add("X-Many", "1")
		c.Response().Header().Add("X-Many", "2")
		c.Response().WriteHeader(http.StatusNonAuthoritativeInfo)
		for i := range 200 {
			fmt.Fprintf(c.Response(), "piece %d\n", i)
		}
		return nil
	})
	get("/encoded", func(c echo.Context) error {
		set(c, "Content-Encoding", "gzip")
		return c.Blob(200, plain, packed)
	})
	get("/vary", func(c echo.Context) error {
		c.Response().Header().Add("Vary", "Accept-Language")
		return c.String(200, "language: "+c.Request().Header.Get("Accept-Language"))
	})
	get("/expiring", func(c echo.Context) error {
		set(c, "Cache-Control", "public, max-age=60")
		set(c, "X-Frame-Options", "SAMEORIGIN")
		return c.Blob(200, plain, []byte(pageText))
	})
	get("/stream", func(c echo.Context) error {
		set(c, "Content-Type", plain)
		for range 3 {
			_, _ = io.WriteString(c.Response(), pageText)
			c.Response().Flush()
		}
		return nil
	})
	get("/private", func(c echo.Context) error {
		set(c, "Cache-Control", "private")
		return c.Blob(200, plain, []byte(pageText))
	})
	get("/nothing", func(echo.Context) error { return nil })
	get("/empty", func(c echo.Context) error { return c.NoContent(200) })
	get("/no-content", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	get("/accepted", func(c echo.Context) error { return c.NoContent(http.StatusAccepted) })
	get("/redirect", func(c echo.Context) error { return c.Redirect(http.StatusMovedPermanently, "/page?a=b") })
	get("/found", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/page") })
	get("/missing", func(echo.Context) error { return echo.NewHTTPError(http.StatusNotFound, "none") })
	get("/failing", func(c echo.Context) error { return c.String(http.StatusInternalServerError, "failed") })
	get("/error", func(c echo.Context) error { set(c, "X-Set", "before"); return errors.New("an error") })
	get("/mapped", func(echo.Context) error { return fmt.Errorf("wrapped: %w", errNoRow) })
	get("/panic", func(c echo.Context) error { set(c, "X-Set", "before"); panic("on purpose") })
	get("/late-panic", func(c echo.Context) error {
		set(c, "X-Set", "before")
		_ = c.String(200, "half of")
		panic("on purpose")
	})
	get("/cookie", func(c echo.Context) error {
		c.SetCookie(&http.Cookie{Name: "a", Value: "1"})
		c.SetCookie(&http.Cookie{Name: "b", Value: "2", HttpOnly: true})
		return c.String(200, "cookies")
	})
	get("/no-cache-cookie", func(c echo.Context) error {
		c.SetCookie(&http.Cookie{Name: "a", Value: "1"})
		set(c, "Cache-Control", `max-age=60, no-cache="Set-Cookie"`)
		return c.String(200, "cookies")
	})
	get("/no-store", func(c echo.Context) error { set(c, "Cache-Control", "no-store"); return c.String(200, "once") })
	get("/rendered", func(c echo.Context) error { c.Set("data", map[string]int{"a": 1}); return nil })
	get("/slow", func(c echo.Context) error {
		if waits(c.Request().Context()) {
			return c.Request().Context().Err()
		}
		return c.String(200, "fast")
	})
	get("/hints", func(c echo.Context) error {
		set(c, "Link", "</style.css>; rel=preload")
		return c.String(200, pageText)
	})
	get("/trailer", func(c echo.Context) error {
		set(c, "Trailer", "X-Sum")
		err := c.String(200, pageText)
		set(c, "X-Sum", "1")
		return err
	})
	get("/named", func(c echo.Context) error {
		set(c, "X-Early", "1")
		err := c.String(200, "named")
		set(c, "X-Late", "1")
		return err
	})
	get("/appended", func(c echo.Context) error {
		c.Response().Header().Add("X-Front", "handler")
		c.Response().Header().Add("Vary", "Accept-Language")
		return c.String(200, "appended")
	})
	get("/pattern", func(c echo.Context) error { return c.String(200, c.Path()) })
	get("/items/:id", func(c echo.Context) error { return c.String(200, c.Param("id")+" "+c.Path()) })
	get("/session", func(c echo.Context) error {
		if s, err := session.Get("store", c); err == nil {
			s.Values["seen"] = true
			if err := s.Save(c.Request(), c.Response()); err != nil {
				return err
			}
		}
		return c.String(200, "session")
	})
	r.Match([]string{"GET", "HEAD", "POST"}, "/form", func(c echo.Context) error {
		t, _ := c.Get("csrf").(string)
		return c.HTML(200, c.Request().Method+" token="+t)
	}, each...)
	r.Match([]string{"POST", "PUT", "DELETE"}, "/echo", func(c echo.Context) error {
		b, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		return c.String(200, c.Request().Method+" "+string(b))
	}, each...)
}

// echoApp has all routes behind mws, and once more in a group.
func echoApp(mws ...echo.MiddlewareFunc) *echo.Echo {
	e := newEcho()
	e.Use(mws...)
	echoRoutes(e)
	echoRoutes(e.Group("/mounted"))
	e.Static("/static", files)
	e.File("/favicon.ico", files+"/favicon.ico")
	return e
}

func newEcho() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	return e
}

func echoStacks() []stack {
	named := func(name string, mws func(*env) []echo.MiddlewareFunc) stack {
		return stack{
			name:   name,
			front:  func(e *env) server { return std(echoApp(append(mws(e), e.echo())...)) },
			behind: func(e *env) server { return std(echoApp(append([]echo.MiddlewareFunc{e.echo()}, mws(e)...)...)) },
		}
	}
	plainly := func(name string, mws ...echo.MiddlewareFunc) stack {
		return named(name, func(*env) []echo.MiddlewareFunc { return mws })
	}
	pre := func(name string, mw echo.MiddlewareFunc) stack { // before the router
		return stack{name: name, front: func(e *env) server {
			app := echoApp(e.echo())
			app.Pre(mw)
			return std(app)
		}, behind: func(e *env) server { // both
			app := echoApp()
			app.Pre(e.echo(), mw)
			return std(app)
		}}
	}
	around := func(name string, mw wrapper) stack {
		return stack{name: name, front: func(e *env) server { return std(mw(echoApp(e.echo()))) }}
	}
	logger := func(e *env) echo.MiddlewareFunc {
		return middleware.LoggerWithConfig(middleware.LoggerConfig{Output: e.log, Format: "${method} ${uri} ${status} ${bytes_out} ${error} ${route}\n"})
	}
	recovery := middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, DisableStackAll: true})
	return []stack{
		plainly("nothing"),
		plainly("recover", recovery),
		named("logger", func(e *env) []echo.MiddlewareFunc { return []echo.MiddlewareFunc{logger(e)} }),
		named("request-logger", func(e *env) []echo.MiddlewareFunc {
			return []echo.MiddlewareFunc{middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
				LogStatus: true, LogMethod: true, LogResponseSize: true, LogError: true, LogRoutePath: true, HandleError: true,
				LogValuesFunc: func(_ echo.Context, v middleware.RequestLoggerValues) error {
					e.log.printf("%s %d %d %v %s\n", v.Method, v.Status, v.ResponseSize, v.Error, v.RoutePath)
					return nil
				},
			})}
		}),
		plainly("request-id", middleware.RequestID()),
		plainly("cors", middleware.CORSWithConfig(middleware.CORSConfig{AllowOrigins: []string{"https://a.example", "https://b.example"}, AllowCredentials: true})),
		plainly("cors-any", middleware.CORS()),
		plainly("rs-cors", echo.WrapMiddleware(cors.New(cors.Options{AllowedOrigins: []string{"https://a.example"}}).Handler)),
		plainly("secure", middleware.SecureWithConfig(middleware.SecureConfig{XSSProtection: "1", ContentTypeNosniff: "nosniff", XFrameOptions: "DENY", ReferrerPolicy: "same-origin", ContentSecurityPolicy: "default-src 'self'"})),
		plainly("gzip", middleware.Gzip()),
		plainly("gzip-min-length", middleware.GzipWithConfig(middleware.GzipConfig{MinLength: 2048})),
		plainly("decompress", middleware.Decompress()),
		plainly("context-timeout", byEchoPath(middleware.ContextTimeout)),
		// When it fires, the handler goes on with a context that Echo uses again: a race of
		// its own, so that it only ever waits here.
		plainly("timeout", middleware.TimeoutWithConfig(middleware.TimeoutConfig{Timeout: time.Minute})),
		plainly("csrf", middleware.CSRFWithConfig(middleware.CSRFConfig{CookiePath: "/"})),
		plainly("session", session.Middleware(sessions.NewCookieStore([]byte("secret")))),
		plainly("session-in-front", session.Middleware(sessions.NewCookieStore([]byte("secret"))), func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if c.Path() == "/session" {
					s, err := session.Get("store", c)
					if err != nil {
						return err
					}
					s.Values["count"] = 1
					if err := s.Save(c.Request(), c.Response()); err != nil {
						return err
					}
				}
				return next(c)
			}
		}),
		named("rate-limiter", func(*env) []echo.MiddlewareFunc {
			return []echo.MiddlewareFunc{middleware.RateLimiter(middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{Rate: 1e6, Burst: 1e6}))}
		}),
		plainly("basic-auth", middleware.BasicAuth(func(user, password string, _ echo.Context) (bool, error) {
			return user == "jack" && password == "secret", nil
		})).onlyFront().with("Authorization", credentials).policy(authorized),
		plainly("key-auth", middleware.KeyAuthWithConfig(middleware.KeyAuthConfig{KeyLookup: "header:X-Key", Validator: func(key string, _ echo.Context) (bool, error) {
			return key == "secret", nil
		}})).with("X-Key", "secret"),
		named("body-dump", func(e *env) []echo.MiddlewareFunc {
			return []echo.MiddlewareFunc{middleware.BodyDump(func(c echo.Context, in, out []byte) {
				e.log.printf("%s %d in, %d out\n", c.Request().Method, len(in), len(out))
			})}
		}),
		plainly("body-limit", middleware.BodyLimit("1K")),
		plainly("method-override", middleware.MethodOverride()),
		plainly("static", middleware.StaticWithConfig(middleware.StaticConfig{Root: files, Index: "index.html"})),
		pre("rewrite", middleware.Rewrite(map[string]string{"/old/*": "/$1"})),
		pre("remove-trailing-slash", middleware.RemoveTrailingSlash()),
		pre("redirect-trailing-slash", middleware.RemoveTrailingSlashWithConfig(middleware.TrailingSlashConfig{RedirectCode: http.StatusMovedPermanently})),
		pre("add-trailing-slash", middleware.AddTrailingSlash()),
		pre("pre-method-override", middleware.MethodOverride()),
		named("observer", func(e *env) []echo.MiddlewareFunc {
			return []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					err := next(c)
					r := c.Response()
					e.log.printf("%d %d %t %s %v\n", r.Status, r.Size, r.Committed, c.Path(), err)
					return err
				}
			}}
		}),
		named("hooks", func(e *env) []echo.MiddlewareFunc {
			return []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					r := c.Response()
					r.Before(func() { r.Header().Set("X-Before", strconv.Itoa(r.Status)) })
					first := true
					r.After(func() { // after each write
						if first {
							e.log.printf("after %d\n", r.Status)
						}
						first = false
					})
					return next(c)
				}
			}}
		}),
		plainly("error-mapping", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				err := next(c)
				if errors.Is(err, errNoRow) {
					return echo.NewHTTPError(http.StatusNotFound, "no such row")
				}
				return err
			}
		}),
		plainly("error-page", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if err := next(c); err != nil && !c.Response().Committed {
					return c.String(http.StatusTeapot, "page of "+err.Error())
				}
				return nil
			}
		}),
		plainly("renderer", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if err := next(c); err != nil || c.Response().Committed {
					return err
				}
				return c.JSON(http.StatusOK, c.Get("data"))
			}
		}),
		plainly("late-cookie", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				c.Response().Before(func() { c.SetCookie(&http.Cookie{Name: "late", Value: "1"}) })
				return next(c)
			}
		}).neverStored("each answer has a cookie"),
		plainly("footer", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				err := next(c)
				if p := c.Path(); err == nil && (p == "/page" || p == "/json" || p == "/untyped" || p == "/big") {
					_, err = c.Response().Write([]byte("<!-- footer -->"))
				}
				return err
			}
		}),
		plainly("body-rewrite", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				outer := c.Response().Writer
				w := &buffered{ResponseWriter: outer}
				c.Response().Writer = w
				err := next(c)
				c.Response().Writer = outer
				if w.status == 0 && w.body.Len() == 0 {
					return err
				}
				outer.Header().Del("Content-Length")
				if w.status != 0 {
					outer.WriteHeader(w.status)
				}
				_, _ = outer.Write(bytes.ReplaceAll(w.body.Bytes(), []byte("Jack"), []byte("Wendy")))
				return err
			}
		}),
		plainly("same-fields", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				h := c.Response().Header()
				h.Set("Content-Type", plain)
				h.Set("ETag", etag)
				h.Set("X-Frame-Options", "SAMEORIGIN")
				h.Set("Cache-Control", "public, max-age=60")
				h.Add("X-Front", "middleware")
				h.Add("Vary", "Origin")
				return next(c)
			}
		}),
		{name: "per-route", front: func(e *env) server {
			app := newEcho()
			app.Use(logger(e), recovery)
			echoRoutes(app, e.echo())
			echoRoutes(app.Group("/mounted", e.echo()))
			return std(app)
		}},
		{name: "groups", front: func(e *env) server {
			app := newEcho()
			g := app.Group("", recovery, logger(e))
			echoRoutes(g.Group("/mounted", e.echo()))
			echoRoutes(app.Group("", e.echo()))
			return std(app)
		}},
		{name: "mounted-app", differ: true, front: func(e *env) server {
			outer := newEcho()
			outer.Use(e.echo())
			outer.Any("/mounted/*", echo.WrapHandler(http.StripPrefix("/mounted", echoApp())))
			echoRoutes(outer)
			return std(outer)
		}, behind: func(e *env) server {
			outer := newEcho()
			outer.Use(logger(e))
			outer.Any("/*", echo.WrapHandler(echoApp(e.echo())))
			return std(outer)
		}},
		{name: "error-handler", front: func(e *env) server {
			app := echoApp(logger(e), e.echo())
			app.HTTPErrorHandler = func(err error, c echo.Context) {
				if !c.Response().Committed {
					_ = c.JSON(http.StatusTeapot, map[string]string{"error": err.Error()})
				}
			}
			return std(app)
		}},
		{name: "popular", front: func(e *env) server {
			return std(echoApp(logger(e), recovery, middleware.RequestID(), middleware.CORS(), middleware.Secure(), middleware.Gzip(), e.echo()))
		}},
		around("timeout-handler", byPath),
		around("max-bytes", func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 1<<10) }),
		func() stack {
			s := around("h2c", func(next http.Handler) http.Handler { return next })
			s.h2c = true
			return s
		}(),
	}
}

// byEchoPath makes a time-out that is short for /slow, and long for all else.
func byEchoPath(mw func(time.Duration) echo.MiddlewareFunc) echo.MiddlewareFunc {
	short, long := mw(shortest), mw(time.Minute)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		slow, fast := short(next), long(next)
		return func(c echo.Context) error {
			if c.Request().URL.Path == "/slow" {
				return slow(c)
			}
			return fast(c)
		}
	}
}
