package transparency

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/basicauth"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	"github.com/gofiber/fiber/v2/middleware/earlydata"
	"github.com/gofiber/fiber/v2/middleware/encryptcookie"
	fiberetag "github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/favicon"
	"github.com/gofiber/fiber/v2/middleware/filesystem"
	"github.com/gofiber/fiber/v2/middleware/healthcheck"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/fiber/v2/middleware/keyauth"
	"github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/gofiber/fiber/v2/middleware/logger"
	recoverer "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/redirect"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"github.com/gofiber/fiber/v2/middleware/rewrite"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/gofiber/fiber/v2/middleware/timeout"
	"github.com/gorilla/handlers"
	"github.com/unrolled/secure"

	"github.com/cacheaside/cacheaside/fiberadapter"
)

func (e *env) fiber() fiber.Handler {
	if e.cache == nil {
		return func(c *fiber.Ctx) error { return c.Next() }
	}
	return fiberadapter.New(e.cache)
}

func fiberRoutes(r fiber.Router, each ...fiber.Handler) {
	handle := func(methods, path string, h fiber.Handler) {
		for _, m := range strings.Fields(methods) {
			r.Add(m, path, append(each[:len(each):len(each)], h)...)
		}
	}
	get := func(path string, h fiber.Handler) { handle("GET HEAD", path, h) }
	send := func(c *fiber.Ctx, body string, fields ...string) error {
		c.Set("Content-Type", plain)
		for i := 0; i < len(fields); i += 2 {
			c.Set(fields[i], fields[i+1])
		}
		return c.SendString(body)
	}
	get("/page", func(c *fiber.Ctx) error { return send(c, pageText) })
	get("/untyped", func(c *fiber.Ctx) error { return c.SendString("<!doctype html><p>hello</p>") })
	get("/json", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"a": 1, "b": []string{"x", "<y>"}}) })
	get("/tagged", func(c *fiber.Ctx) error { return send(c, pageText, "ETag", etag, "Last-Modified", modified) })
	get("/file", func(c *fiber.Ctx) error { return c.SendFile(filepath.Join(files, "hello.txt")) })
	get("/big", func(c *fiber.Ctx) error { return send(c, bigText) })
	get("/huge", func(c *fiber.Ctx) error { return send(c, hugeText) })
	get("/declared", func(c *fiber.Ctx) error { return send(c, pageText, "X-Extra", "1") })
	get("/pieces", func(c *fiber.Ctx) error {
		c.Append("X-Many", "1")
		c.Response().Header.Add("X-Lines", "1")
		c.Response().Header.Add("X-Lines", "2")
		c.Status(http.StatusNonAuthoritativeInfo)
		for i := range 200 {
			fmt.Fprintf(c, "piece %d\n", i)
		}
		return nil
	})
	get("/encoded", func(c *fiber.Ctx) error {
		c.Set("Content-Encoding", "gzip")
		c.Set("Content-Type", plain)
		return c.Send(bytes.Clone(packed)) // it is not copied, and somebody in front may write to it
	})
	get("/vary", func(c *fiber.Ctx) error {
		c.Vary("Accept-Language")
		return send(c, "language: "+c.Get("Accept-Language"))
	})
	get("/expiring", func(c *fiber.Ctx) error {
		return send(c, pageText, "Cache-Control", "public, max-age=60", "X-Frame-Options", "SAMEORIGIN")
	})
	get("/stream", func(c *fiber.Ctx) error {
		c.Set("Content-Type", plain)
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
			for range 3 {
				_, _ = w.WriteString(pageText)
				_ = w.Flush()
			}
		})
		return nil
	})
	get("/private", func(c *fiber.Ctx) error { return send(c, pageText, "Cache-Control", "private") })
	get("/nothing", func(*fiber.Ctx) error { return nil })
	get("/empty", func(c *fiber.Ctx) error { return c.Status(200).SendString("") })
	get("/no-content", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
	get("/accepted", func(c *fiber.Ctx) error { c.Status(http.StatusAccepted); return nil })
	get("/redirect", func(c *fiber.Ctx) error { return c.Redirect("/page?a=b", http.StatusMovedPermanently) })
	get("/found", func(c *fiber.Ctx) error { return c.Redirect("/page") })
	get("/missing", func(*fiber.Ctx) error { return fiber.NewError(http.StatusNotFound, "none") })
	get("/failing", func(c *fiber.Ctx) error { return c.Status(http.StatusInternalServerError).SendString("failed") })
	get("/error", func(c *fiber.Ctx) error { c.Set("X-Set", "before"); return errors.New("an error") })
	get("/mapped", func(*fiber.Ctx) error { return fmt.Errorf("wrapped: %w", errNoRow) })
	get("/panic", func(c *fiber.Ctx) error { c.Set("X-Set", "before"); panic("on purpose") })
	get("/late-panic", func(c *fiber.Ctx) error {
		_ = send(c, "half of", "X-Set", "before")
		panic("on purpose")
	})
	get("/cookie", func(c *fiber.Ctx) error {
		c.Cookie(&fiber.Cookie{Name: "a", Value: "1"})
		c.Cookie(&fiber.Cookie{Name: "b", Value: "2", HTTPOnly: true})
		return send(c, "cookies")
	})
	get("/no-cache-cookie", func(c *fiber.Ctx) error {
		c.Cookie(&fiber.Cookie{Name: "a", Value: "1"})
		return send(c, "cookies", "Cache-Control", `max-age=60, no-cache="Set-Cookie"`)
	})
	get("/no-store", func(c *fiber.Ctx) error { return send(c, "once", "Cache-Control", "no-store") })
	get("/rendered", func(c *fiber.Ctx) error { c.Locals("data", fiber.Map{"a": 1}); return nil })
	get("/slow", func(c *fiber.Ctx) error {
		if waits(c.UserContext()) {
			return c.UserContext().Err()
		}
		return send(c, "fast")
	})
	get("/hints", func(c *fiber.Ctx) error { return send(c, pageText, "Link", "</style.css>; rel=preload") })
	get("/trailer", func(c *fiber.Ctx) error {
		if err := c.Response().Header.SetTrailer("X-Sum"); err != nil {
			return err
		}
		return send(c, pageText, "X-Sum", "1")
	})
	get("/named", func(c *fiber.Ctx) error { return send(c, "named", "X-Early", "1") })
	get("/appended", func(c *fiber.Ctx) error {
		c.Append("X-Front", "handler")
		c.Vary("Accept-Language")
		return send(c, "appended")
	})
	get("/pattern", func(c *fiber.Ctx) error { return send(c, c.Route().Path) })
	get("/items/:id", func(c *fiber.Ctx) error { return send(c, c.Params("id")+" "+c.Route().Path) })
	get("/session", func(c *fiber.Ctx) error {
		if store, ok := c.Locals("sessions").(*session.Store); ok {
			s, err := store.Get(c)
			if err != nil {
				return err
			}
			s.Set("seen", true)
			if err := s.Save(); err != nil {
				return err
			}
		}
		return send(c, "session")
	})
	handle("GET HEAD POST", "/form", func(c *fiber.Ctx) error {
		t, _ := c.Locals("csrf").(string)
		return send(c, c.Method()+" token="+t, "Content-Type", "text/html; charset=utf-8")
	})
	handle("POST PUT DELETE", "/echo", func(c *fiber.Ctx) error { return send(c, c.Method()+" "+string(c.Body())) })
}

func newFiber(cfg ...fiber.Config) *fiber.App {
	cfg = append(cfg, fiber.Config{})
	cfg[0].DisableStartupMessage = true
	return fiber.New(cfg[0])
}

// fiberApp has all routes behind mws, and once more in an app that is mounted. A
// panic that nobody recovers ends the process with Fiber, so that somebody does.
func fiberApp(mws ...fiber.Handler) *fiber.App {
	app := newFiber()
	app.Use(recoverer.New())
	for _, mw := range mws {
		app.Use(mw)
	}
	fiberRoutes(app)
	inner := newFiber()
	fiberRoutes(inner)
	app.Mount("/mounted", inner)
	app.Static("/static", files)
	return app
}

func fiberStacks() []stack {
	serve := func(mws ...fiber.Handler) server {
		return onFiber(func(outermost fiber.Handler) *fiber.App {
			return fiberApp(append([]fiber.Handler{outermost}, mws...)...)
		})
	}
	named := func(name string, mws func(*env) []fiber.Handler) stack {
		return stack{
			name:   name,
			front:  func(e *env) server { return serve(append(mws(e), e.fiber())...) },
			behind: func(e *env) server { return serve(append([]fiber.Handler{e.fiber()}, mws(e)...)...) },
		}
	}
	plainly := func(name string, mws ...fiber.Handler) stack {
		return named(name, func(*env) []fiber.Handler { return mws })
	}
	fresh := func(name string, mw func() fiber.Handler) stack { // with a state of its own
		return named(name, func(*env) []fiber.Handler { return []fiber.Handler{mw()} })
	}
	log := func(e *env) fiber.Handler {
		return logger.New(logger.Config{Output: e.log, Format: "${method} ${path} ${status} ${bytesSent} ${error} route=${route}\n"})
	}
	return []stack{
		plainly("nothing"),
		plainly("recover", recoverer.New(recoverer.Config{EnableStackTrace: false})),
		named("logger", func(e *env) []fiber.Handler { return []fiber.Handler{log(e)} }),
		plainly("request-id", requestid.New()),
		plainly("cors", cors.New(cors.Config{AllowOrigins: "https://a.example, https://b.example", AllowCredentials: true})),
		plainly("cors-any", cors.New()),
		plainly("helmet", helmet.New()),
		plainly("compress", compress.New()),
		plainly("compress-best", compress.New(compress.Config{Level: compress.LevelBestCompression})),
		plainly("timeout", func(c *fiber.Ctx) error {
			d := time.Minute
			if c.Path() == "/slow" {
				d = shortest
			}
			return timeout.NewWithContext(func(c *fiber.Ctx) error { return c.Next() }, d)(c)
		}),
		plainly("etag", fiberetag.New()),
		plainly("etag-weak", fiberetag.New(fiberetag.Config{Weak: true})),
		fresh("csrf", func() fiber.Handler { return csrf.New(csrf.Config{ContextKey: "csrf"}) }),
		fresh("session", func() fiber.Handler {
			store := session.New()
			return func(c *fiber.Ctx) error {
				c.Locals("sessions", store)
				return c.Next()
			}
		}),
		fresh("session-in-front", func() fiber.Handler {
			store := session.New()
			return func(c *fiber.Ctx) error {
				if c.Path() == "/session" {
					s, err := store.Get(c)
					if err != nil {
						return err
					}
					s.Set("count", 1)
					if err := s.Save(); err != nil {
						return err
					}
				}
				return c.Next()
			}
		}),
		fresh("limiter", func() fiber.Handler { return limiter.New(limiter.Config{Max: 1e6, Expiration: time.Hour}) }),
		plainly("basic-auth", basicauth.New(basicauth.Config{Users: map[string]string{"jack": "secret"}})).onlyFront().with("Authorization", credentials).policy(authorized),
		plainly("key-auth", keyauth.New(keyauth.Config{KeyLookup: "header:X-Key", Validator: func(_ *fiber.Ctx, key string) (bool, error) {
			if key != "secret" {
				return false, keyauth.ErrMissingOrMalformedAPIKey
			}
			return true, nil
		}})).with("X-Key", "secret"),
		plainly("rewrite", rewrite.New(rewrite.Config{Rules: map[string]string{"/old/*": "/$1"}})),
		plainly("redirect", redirect.New(redirect.Config{Rules: map[string]string{"/old/*": "/$1"}, StatusCode: 301})),
		plainly("favicon", favicon.New(favicon.Config{File: ""})),
		plainly("filesystem", filesystem.New(filesystem.Config{Root: lateDir{}, MaxAge: 60, Next: func(c *fiber.Ctx) bool { return !strings.HasPrefix(c.Path(), "/static/") }})),
		plainly("healthcheck", healthcheck.New(healthcheck.Config{LivenessEndpoint: "/ping"})),
		fresh("idempotency", func() fiber.Handler { return idempotency.New() }),
		plainly("early-data", earlydata.New()),
		plainly("encrypt-cookie", encryptcookie.New(encryptcookie.Config{Key: encryptcookie.GenerateKey()})),
		plainly("unrolled-secure", adaptor.HTTPMiddleware(secure.New(secure.Options{FrameDeny: true, ContentTypeNosniff: true}).Handler)),
		plainly("gorilla-cors", adaptor.HTTPMiddleware(handlers.CORS(handlers.AllowedOrigins([]string{"https://a.example"})))),
		named("observer", func(e *env) []fiber.Handler {
			return []fiber.Handler{func(c *fiber.Ctx) error {
				err := c.Next()
				e.log.printf("%d %d %v route=%s\n", c.Response().StatusCode(), len(c.Response().Body()), err, c.Route().Path)
				return err
			}}
		}),
		plainly("error-mapping", func(c *fiber.Ctx) error {
			err := c.Next()
			if errors.Is(err, errNoRow) {
				return fiber.ErrNotFound
			}
			return err
		}),
		plainly("error-page", func(c *fiber.Ctx) error {
			if err := c.Next(); err != nil {
				return c.Status(http.StatusTeapot).SendString("page of " + err.Error())
			}
			return nil
		}),
		plainly("renderer", func(c *fiber.Ctx) error {
			if err := c.Next(); err != nil {
				return err
			}
			if v := c.Locals("data"); v != nil && len(c.Response().Body()) == 0 {
				return c.JSON(v)
			}
			return nil
		}),
		plainly("late-cookie", func(c *fiber.Ctx) error {
			err := c.Next()
			c.Cookie(&fiber.Cookie{Name: "late", Value: "1"})
			return err
		}).neverStored("each answer has a cookie"),
		plainly("footer", func(c *fiber.Ctx) error {
			err := c.Next()
			if err == nil && !c.Response().IsBodyStream() && bytes.HasPrefix(c.Response().Header.ContentType(), []byte("text/")) && c.Response().StatusCode() == 200 && len(c.Response().Header.Peek("Content-Encoding")) == 0 {
				_, _ = c.WriteString("<!-- footer -->")
			}
			return err
		}),
		plainly("body-rewrite", func(c *fiber.Ctx) error { // in place
			err := c.Next()
			if b := c.Response().Body(); err == nil && !c.Response().IsBodyStream() {
				copy(b, bytes.ToUpper(b[:min(10, len(b))]))
			}
			return err
		}),
		plainly("same-fields", func(c *fiber.Ctx) error {
			c.Set("Content-Type", plain)
			c.Set("ETag", etag)
			c.Set("X-Frame-Options", "SAMEORIGIN")
			c.Set("Cache-Control", "public, max-age=60")
			c.Append("X-Front", "middleware")
			c.Vary("Origin")
			return c.Next()
		}),
		plainly("status-in-front", func(c *fiber.Ctx) error { c.Status(http.StatusAccepted); return c.Next() }),
		{name: "per-route", front: func(e *env) server {
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app := newFiber()
				app.Use(outermost, recoverer.New(), log(e))
				fiberRoutes(app, e.fiber())
				fiberRoutes(app.Group("/mounted", e.fiber()))
				return app
			})
		}},
		{name: "mount", differ: true, front: func(e *env) server { // the cache in the mounted app alone
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app, inner := newFiber(), newFiber()
				app.Use(outermost, recoverer.New(), log(e))
				inner.Use(e.fiber())
				fiberRoutes(inner)
				app.Mount("/mounted", inner)
				fiberRoutes(app)
				return app
			})
		}, behind: func(e *env) server { // one app in another, with an error handler of its own
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app := newFiber()
				app.Use(outermost, recoverer.New(), e.fiber())
				inner := newFiber(fiber.Config{ErrorHandler: func(c *fiber.Ctx, err error) error {
					return c.Status(http.StatusTeapot).SendString("inner: " + err.Error())
				}})
				fiberRoutes(inner)
				app.Mount("/mounted", inner)
				fiberRoutes(app)
				return app
			})
		}},
		{name: "error-handler", front: func(e *env) server {
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app := newFiber(fiber.Config{ErrorHandler: func(c *fiber.Ctx, err error) error {
					return c.Status(http.StatusTeapot).JSON(fiber.Map{"error": err.Error()})
				}})
				app.Use(outermost, recoverer.New(), log(e), e.fiber())
				fiberRoutes(app)
				return app
			})
		}},
		{name: "config", front: func(e *env) server {
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app := newFiber(fiber.Config{StrictRouting: true, CaseSensitive: true, ETag: true, ServerHeader: "house", BodyLimit: 8 << 10, DisableDefaultContentType: true, DisableDefaultDate: true, StreamRequestBody: true})
				app.Use(outermost, recoverer.New(), e.fiber())
				fiberRoutes(app)
				return app
			})
		}},
		{name: "in-net-http", front: func(e *env) server {
			return std(adaptor.FiberApp(fiberApp(e.fiber())))
		}},
		{name: "handlers-of-net-http", front: func(e *env) server {
			return onFiber(func(outermost fiber.Handler) *fiber.App {
				app := newFiber()
				app.Use(outermost, recoverer.New(), e.fiber())
				app.All("/hints", func(c *fiber.Ctx) error { return c.SendStatus(404) }) // fasthttp has no interim responses
				app.All("/*", adaptor.HTTPHandler(mux()))
				return app
			})
		}},
		{name: "popular", front: func(e *env) server {
			return serve(log(e), requestid.New(), cors.New(), helmet.New(), compress.New(), fiberetag.New(), e.fiber())
		}},
	}
}

// lateDir is the folder of files, which is not known when the stacks are made.
type lateDir struct{}

func (lateDir) Open(name string) (http.File, error) {
	if !strings.HasPrefix(name, "/static") {
		return nil, os.ErrNotExist
	}
	return http.Dir(files).Open(strings.TrimPrefix(name, "/static"))
}
