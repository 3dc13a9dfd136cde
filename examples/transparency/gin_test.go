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

	gincors "github.com/gin-contrib/cors"
	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-contrib/requestid"
	ginsecure "github.com/gin-contrib/secure"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	limits "github.com/gin-contrib/size"
	"github.com/gin-contrib/static"
	gintimeout "github.com/gin-contrib/timeout"
	"github.com/gin-gonic/gin"
	"github.com/justinas/nosurf"

	"github.com/cacheaside/cacheaside/ginadapter"
)

func (e *env) gin() gin.HandlerFunc {
	if e.cache == nil {
		return func(*gin.Context) {}
	}
	return ginadapter.New(e.cache)
}

func ginRoutes(r gin.IRouter) {
	get := func(path string, h gin.HandlerFunc) { r.Match([]string{"GET", "HEAD"}, path, h) }
	get("/page", func(c *gin.Context) { c.Data(200, plain, []byte(pageText)) })
	get("/untyped", func(c *gin.Context) { c.Data(200, "", []byte("<!doctype html><p>hello</p>")) })
	get("/json", func(c *gin.Context) { c.JSON(200, gin.H{"a": 1, "b": []string{"x", "<y>"}}) })
	get("/tagged", func(c *gin.Context) {
		c.Header("ETag", etag)
		c.Header("Last-Modified", modified)
		c.Data(200, plain, []byte(pageText))
	})
	get("/file", func(c *gin.Context) {
		c.Header("Content-Type", plain)
		c.Header("ETag", etag)
		http.ServeContent(c.Writer, c.Request, "file.txt", written, strings.NewReader(pageText))
	})
	get("/big", func(c *gin.Context) { c.Data(200, plain, []byte(bigText)) })
	get("/huge", func(c *gin.Context) { c.Data(200, plain, []byte(hugeText)) })
	get("/declared", func(c *gin.Context) {
		c.DataFromReader(200, int64(len(pageText)), plain, strings.NewReader(pageText), map[string]string{"X-Extra": "1"})
	})
	get("/pieces", func(c *gin.Context) {
		c.Header("Content-Type", plain)
		c.Writer.Header().Add("X-Many", "1")
		c.Writer.Header().Add("X-Many", "2")
		c.Status(http.StatusNonAuthoritativeInfo)
		for i := range 200 {
			fmt.Fprintf(c.Writer, "piece %d\n", i)
		}
	})
	get("/encoded", func(c *gin.Context) {
		c.Header("Content-Encoding", "gzip")
		c.Data(200, plain, packed)
	})
	get("/vary", func(c *gin.Context) {
		c.Writer.Header().Add("Vary", "Accept-Language")
		c.String(200, "language: %s", c.GetHeader("Accept-Language"))
	})
	get("/expiring", func(c *gin.Context) {
		c.Header("Cache-Control", "public, max-age=60")
		c.Header("X-Frame-Options", "SAMEORIGIN")
		c.Data(200, plain, []byte(pageText))
	})
	get("/stream", func(c *gin.Context) {
		c.Header("Content-Type", plain)
		n := 0
		c.Stream(func(w io.Writer) bool {
			_, _ = io.WriteString(w, pageText)
			n++
			return n < 3
		})
	})
	get("/private", func(c *gin.Context) {
		c.Header("Cache-Control", "private")
		c.Data(200, plain, []byte(pageText))
	})
	get("/nothing", func(*gin.Context) {})
	get("/empty", func(c *gin.Context) { c.Status(200); c.Writer.WriteHeaderNow() })
	get("/no-content", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	get("/accepted", func(c *gin.Context) { c.Status(http.StatusAccepted) })
	get("/redirect", func(c *gin.Context) { c.Redirect(http.StatusMovedPermanently, "/page?a=b") })
	get("/found", func(c *gin.Context) { c.Redirect(http.StatusFound, "/page") })
	get("/missing", func(c *gin.Context) { c.String(http.StatusNotFound, "none") })
	get("/failing", func(c *gin.Context) { c.JSON(http.StatusInternalServerError, gin.H{"error": "failed"}) })
	get("/error", func(c *gin.Context) { _ = c.AbortWithError(http.StatusInternalServerError, errors.New("an error")) })
	get("/mapped", func(c *gin.Context) { _ = c.Error(errNoRow) })
	get("/panic", func(c *gin.Context) { c.Header("X-Set", "before"); panic("on purpose") })
	get("/late-panic", func(c *gin.Context) { c.Header("X-Set", "before"); c.String(200, "half of"); panic("on purpose") })
	get("/cookie", func(c *gin.Context) {
		c.SetCookie("a", "1", 0, "/", "", false, false)
		c.SetCookie("b", "2", 0, "/", "", false, true)
		c.String(200, "cookies")
	})
	get("/no-cache-cookie", func(c *gin.Context) {
		c.SetCookie("a", "1", 0, "/", "", false, false)
		c.Header("Cache-Control", `max-age=60, no-cache="Set-Cookie"`)
		c.String(200, "cookies")
	})
	get("/no-store", func(c *gin.Context) { c.Header("Cache-Control", "no-store"); c.String(200, "once") })
	get("/rendered", func(c *gin.Context) { c.Set("data", gin.H{"a": 1}) })
	get("/slow", func(c *gin.Context) {
		if !waits(c.Request.Context()) {
			c.String(200, "fast")
		}
	})
	get("/hints", func(c *gin.Context) {
		c.Header("Link", "</style.css>; rel=preload")
		c.String(200, pageText)
	})
	get("/trailer", func(c *gin.Context) {
		c.Header("Trailer", "X-Sum")
		c.String(200, pageText)
		c.Header("X-Sum", "1")
	})
	get("/named", func(c *gin.Context) {
		c.Header("X-Early", "1")
		c.String(200, "named")
		c.Header("X-Late", "1")
	})
	get("/appended", func(c *gin.Context) {
		c.Writer.Header().Add("X-Front", "handler")
		c.Writer.Header().Add("Vary", "Accept-Language")
		c.String(200, "appended")
	})
	get("/pattern", func(c *gin.Context) { c.String(200, c.FullPath()) })
	get("/items/:id", func(c *gin.Context) { c.String(200, "%s %s", c.Param("id"), c.FullPath()) })
	get("/session", func(c *gin.Context) {
		if _, ok := c.Get(ginsessions.DefaultKey); ok {
			s := ginsessions.Default(c)
			s.Set("seen", true)
			_ = s.Save()
		}
		c.String(200, "session")
	})
	r.Match([]string{"GET", "HEAD", "POST"}, "/form", func(c *gin.Context) {
		c.Data(200, "text/html; charset=utf-8", []byte(c.Request.Method+" token="+nosurf.Token(c.Request)))
	})
	r.Match([]string{"POST", "PUT", "DELETE"}, "/echo", func(c *gin.Context) {
		b, err := io.ReadAll(c.Request.Body)
		if err != nil {
			if !c.IsAborted() {
				c.AbortWithStatus(http.StatusRequestEntityTooLarge)
			}
			return
		}
		c.String(200, "%s %s", c.Request.Method, b)
	})
}

// ginEngine has all routes behind mws, and once more in a group.
func ginEngine(mws ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Use(mws...)
	ginRoutes(r)
	ginRoutes(r.Group("/mounted"))
	r.Static("/static", files)
	return r
}

func ginStacks() []stack {
	named := func(name string, mws func(*env) []gin.HandlerFunc) stack {
		return stack{
			name:   name,
			front:  func(e *env) server { return std(ginEngine(append(mws(e), e.gin())...)) },
			behind: func(e *env) server { return std(ginEngine(append([]gin.HandlerFunc{e.gin()}, mws(e)...)...)) },
		}
	}
	plainly := func(name string, mw ...gin.HandlerFunc) stack {
		return named(name, func(*env) []gin.HandlerFunc { return mw })
	}
	// around is middleware of net/http around the engine.
	around := func(name string, mw wrapper) stack {
		return stack{name: name, front: func(e *env) server { return std(mw(ginEngine(e.gin()))) }}
	}
	logger := func(e *env) gin.HandlerFunc {
		return gin.LoggerWithConfig(gin.LoggerConfig{Output: e.log, Formatter: func(p gin.LogFormatterParams) string {
			return fmt.Sprintf("%s %s %d %d %s\n", p.Method, p.Path, p.StatusCode, max(p.BodySize, 0), p.ErrorMessage)
		}})
	}
	recovery := func(e *env) gin.HandlerFunc {
		return gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, v any) {
			e.log.printf("recovered %v\n", v)
			c.AbortWithStatus(http.StatusInternalServerError)
		})
	}
	return []stack{
		plainly("nothing"),
		named("recovery", func(e *env) []gin.HandlerFunc { return []gin.HandlerFunc{recovery(e)} }),
		named("logger", func(e *env) []gin.HandlerFunc { return []gin.HandlerFunc{logger(e)} }),
		plainly("request-id", requestid.New()),
		plainly("cors", gincors.New(gincors.Config{AllowOrigins: []string{"https://a.example", "https://b.example"}, AllowMethods: []string{"GET", "PUT"}, AllowCredentials: true})),
		plainly("cors-any", gincors.Default()),
		plainly("secure", ginsecure.New(ginsecure.Config{FrameDeny: true, ContentTypeNosniff: true, ReferrerPolicy: "no-referrer", IENoOpen: true})),
		plainly("gzip", gingzip.Gzip(gingzip.DefaultCompression)),
		plainly("timeout", gintimeout.New(gintimeout.WithTimeout(time.Minute))),
		plainly("sessions", ginsessions.Sessions("store", cookie.NewStore([]byte("secret")))),
		plainly("sessions-in-front", ginsessions.Sessions("store", cookie.NewStore([]byte("secret"))), func(c *gin.Context) {
			if c.FullPath() == "/session" {
				s := ginsessions.Default(c)
				s.Set("count", 1)
				_ = s.Save()
			}
		}),
		plainly("size-limit", limits.RequestSizeLimiter(1<<10)),
		plainly("basic-auth", gin.BasicAuth(gin.Accounts{"jack": "secret"})).onlyFront().with("Authorization", credentials).policy(authorized),
		plainly("basic-auth-behind", gin.BasicAuth(gin.Accounts{"jack": "secret"})).onlyBehind().with("Authorization", credentials).neverStored("all requests have Authorization"),
		plainly("static", static.Serve("/", static.LocalFile(files, false))),
		plainly("error-logger", gin.ErrorLogger()),
		named("observer", func(e *env) []gin.HandlerFunc {
			return []gin.HandlerFunc{func(c *gin.Context) {
				c.Next()
				e.log.printf("%d %d %t %s %v\n", c.Writer.Status(), max(c.Writer.Size(), 0), c.Writer.Written(), c.FullPath(), c.Errors.Errors())
			}}
		}),
		plainly("error-mapping", func(c *gin.Context) {
			c.Next()
			if len(c.Errors) == 0 || c.Writer.Written() {
				return
			}
			if errors.Is(c.Errors.Last(), errNoRow) {
				c.JSON(http.StatusNotFound, gin.H{"error": "no such row"})
			} else {
				c.JSON(-1, gin.H{"error": "it failed"})
			}
		}),
		plainly("renderer", func(c *gin.Context) {
			c.Next()
			if v, ok := c.Get("data"); ok && !c.Writer.Written() {
				c.JSON(http.StatusOK, v)
			}
		}),
		plainly("body-dump", func(c *gin.Context) {
			w := &ginDump{ResponseWriter: c.Writer}
			c.Writer = w
			c.Next()
			if n := max(c.Writer.Size(), 0); n != w.dump.Len() && c.Request.Method != "HEAD" {
				c.Writer.Header().Set("X-Dump", "not whole")
				panic("the dump is not whole")
			}
		}),
		plainly("body-rewrite", func(c *gin.Context) {
			w := &ginBuffer{ResponseWriter: c.Writer}
			c.Writer = w
			c.Next()
			c.Writer = w.ResponseWriter
			if w.body.Len() > 0 {
				c.Writer.Header().Del("Content-Length")
				_, _ = c.Writer.Write(bytes.ReplaceAll(w.body.Bytes(), []byte("Jack"), []byte("Wendy")))
			}
		}),
		plainly("etag", func(c *gin.Context) {
			w := &ginBuffer{ResponseWriter: c.Writer}
			c.Writer = w
			c.Next()
			c.Writer = w.ResponseWriter
			if w.body.Len() == 0 {
				return
			}
			tag := strconv.Quote(strconv.Itoa(w.body.Len()))
			if c.Writer.Status() == 200 && c.Writer.Header().Get("ETag") == "" {
				c.Header("ETag", tag)
				if c.GetHeader("If-None-Match") == tag {
					c.Status(http.StatusNotModified)
					return
				}
			}
			_, _ = c.Writer.Write(w.body.Bytes())
		}),
		plainly("footer", func(c *gin.Context) {
			c.Next()
			if strings.HasPrefix(c.Writer.Header().Get("Content-Type"), "text/") && c.Writer.Status() == 200 && c.FullPath() != "/declared" && c.FullPath() != "/file" {
				_, _ = c.Writer.WriteString("<!-- footer -->")
			}
		}),
		plainly("late-cookie", func(c *gin.Context) {
			c.Writer = &ginCookie{ResponseWriter: c.Writer}
			c.Next()
		}).neverStored("each answer has a cookie"),
		plainly("same-fields", func(c *gin.Context) {
			c.Header("Content-Type", plain)
			c.Header("ETag", etag)
			c.Header("X-Frame-Options", "SAMEORIGIN")
			c.Header("Cache-Control", "public, max-age=60")
			c.Writer.Header().Add("X-Front", "middleware")
			c.Writer.Header().Add("Vary", "Origin")
		}),
		plainly("status-in-front", func(c *gin.Context) { c.Status(http.StatusAccepted) }),
		{name: "handle-context", differ: true, front: func(e *env) server {
			r := ginEngine(e.gin())
			r.GET("/old/*rest", func(c *gin.Context) {
				c.Request.URL.Path = c.Param("rest")
				r.HandleContext(c)
			})
			return std(r)
		}, behind: func(e *env) server { // the cache on the routes alone
			r := gin.New()
			ginRoutes(r.Group("/", e.gin()))
			r.GET("/old/*rest", func(c *gin.Context) {
				c.Request.URL.Path = c.Param("rest")
				r.HandleContext(c)
			})
			return std(r)
		}},
		{name: "handle-context-in-middleware", differ: true, front: func(e *env) server {
			r := gin.New()
			r.Use(func(c *gin.Context) {
				if rest, ok := strings.CutPrefix(c.Request.URL.Path, "/old"); ok {
					c.Request.URL.Path = rest
					r.HandleContext(c)
					c.Abort()
				}
			}, e.gin())
			ginRoutes(r)
			return std(r)
		}, behind: func(e *env) server {
			r := gin.New()
			r.Use(e.gin(), func(c *gin.Context) {
				if rest, ok := strings.CutPrefix(c.Request.URL.Path, "/old"); ok {
					c.Request.URL.Path = rest
					r.HandleContext(c)
					c.Abort()
				}
			})
			ginRoutes(r)
			return std(r)
		}},
		{name: "per-route", front: func(e *env) server {
			r := gin.New()
			r.Use(logger(e), recovery(e))
			ginRoutes(r.Group("/", e.gin()))
			ginRoutes(r.Group("/mounted").Group("", e.gin()))
			return std(r)
		}},
		{name: "mounted-engine", differ: true, front: func(e *env) server {
			outer := gin.New()
			outer.Use(e.gin())
			outer.Any("/mounted/*rest", gin.WrapH(http.StripPrefix("/mounted", ginEngine())))
			ginRoutes(outer)
			return std(outer)
		}, behind: func(e *env) server {
			outer := gin.New()
			outer.Use(logger(e))
			outer.NoRoute(gin.WrapH(ginEngine(e.gin())))
			return std(outer)
		}},
		{name: "method-not-allowed", front: func(e *env) server {
			r := ginEngine(e.gin())
			r.HandleMethodNotAllowed = true
			r.NoRoute(func(c *gin.Context) { c.JSON(404, gin.H{"error": "no route"}) })
			r.NoMethod(func(c *gin.Context) { c.JSON(405, gin.H{"error": "no method"}) })
			return std(r)
		}},
		{name: "extra-slash", front: func(e *env) server {
			r := ginEngine(e.gin())
			r.RemoveExtraSlash, r.RedirectFixedPath = true, true
			return std(r)
		}},
		{name: "popular", front: func(e *env) server {
			return std(ginEngine(logger(e), recovery(e), requestid.New(), gincors.Default(), gingzip.Gzip(gingzip.BestSpeed), e.gin()))
		}},
		around("timeout-handler", byPath),
		around("max-bytes", func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 1<<10) }),
		around("nosurf", func(next http.Handler) http.Handler {
			h := nosurf.New(next)
			h.SetIsTLSFunc(func(*http.Request) bool { return false })
			return h
		}),
		func() stack {
			s := around("h2c", func(next http.Handler) http.Handler { return next })
			s.h2c = true
			return s
		}(),
	}
}

// byPath is http.TimeoutHandler with times by path.
func byPath(next http.Handler) http.Handler {
	short, long := http.TimeoutHandler(next, shortest, "too slow"), http.TimeoutHandler(next, time.Minute, "")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			short.ServeHTTP(w, r)
		} else {
			long.ServeHTTP(w, r)
		}
	})
}

type ginDump struct {
	gin.ResponseWriter
	dump bytes.Buffer
}

func (w *ginDump) Write(b []byte) (int, error) {
	w.dump.Write(b)
	return w.ResponseWriter.Write(b)
}

func (w *ginDump) WriteString(s string) (int, error) {
	w.dump.WriteString(s)
	return w.ResponseWriter.WriteString(s)
}

type ginBuffer struct {
	gin.ResponseWriter
	body bytes.Buffer
}

func (w *ginBuffer) Write(b []byte) (int, error)       { return w.body.Write(b) }
func (w *ginBuffer) WriteString(s string) (int, error) { return w.body.WriteString(s) }
func (w *ginBuffer) WriteHeaderNow()                   {}
func (w *ginBuffer) Flush()                            {}

type ginCookie struct {
	gin.ResponseWriter
	done bool
}

func (w *ginCookie) set() {
	if !w.done {
		w.done = true
		w.Header().Add("Set-Cookie", "late=1")
	}
}

func (w *ginCookie) WriteHeaderNow() {
	w.set()
	w.ResponseWriter.WriteHeaderNow()
}

func (w *ginCookie) Write(b []byte) (int, error) {
	w.set()
	return w.ResponseWriter.Write(b)
}

func (w *ginCookie) WriteString(s string) (int, error) {
	w.set()
	return w.ResponseWriter.WriteString(s)
}
