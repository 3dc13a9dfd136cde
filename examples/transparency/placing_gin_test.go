package transparency

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	gincors "github.com/gin-contrib/cors"
	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-contrib/requestid"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/ginadapter"
)

func ginHouse() house {
	return house{
		name: "Gin",
		uses: map[string]string{
			"recover": "`Recovery`", "logger": "`Logger`", "request id": "gin-contrib/requestid", "CORS": "gin-contrib/cors",
			"limiter": "httprate, wrapped", "static": "`r.Static`", "basic auth": "`BasicAuth`", "JWT": "appleboy/gin-jwt", "API key": "your own",
			"session": "gin-contrib/sessions", "csrf": "nosurf, wrapped", "compression": "gin-contrib/gzip", "etag": "the policy", "timeout": "`context.WithTimeout`",
		},
		build: func(order []string, dir string) builder {
			return func(e *env) server {
				r := gin.New()
				for _, name := range order {
					if name == "static" {
						r.Static("/files", filepath.Join(dir, "files"))
						continue
					}
					r.Use(layersOf([]string{name}, func(name string) gin.HandlerFunc { return ginLayer(e, name) }, onlyGin)...)
				}
				r.GET("/me", func(c *gin.Context) { c.String(200, "hello %s", ginUser(c)) })
				ginRoutes(r)
				return std(r)
			}
		},
	}
}

func onlyGin(path string, l gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.Request.URL.Path == path {
			l(c)
		}
	}
}

// wrapGin makes middleware of net/http one of Gin's.
func wrapGin(mw wrapper) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func ginUser(c *gin.Context) string {
	if name, ok := ginjwt.ExtractClaims(c)["sub"].(string); ok {
		return name
	}
	return c.GetString(gin.AuthUserKey)
}

func ginLayer(e *env, name string) gin.HandlerFunc {
	switch name {
	case "cache":
		return e.gin()
	case "cache per user":
		return ginadapter.New(e.cache, ginadapter.WithPartition(ginUser))
	case "recover":
		return gin.RecoveryWithWriter(io.Discard)
	case "logger":
		return gin.LoggerWithConfig(gin.LoggerConfig{Output: e.log, Formatter: func(p gin.LogFormatterParams) string {
			return p.Method + " " + p.Path + " " + strconv.Itoa(p.StatusCode) + "\n"
		}})
	case "request id":
		return requestid.New()
	case "CORS":
		return gincors.New(gincors.Config{AllowOrigins: origins, AllowCredentials: true})
	case "limiter":
		return wrapGin(rateLimit())
	case "basic auth":
		return gin.BasicAuth(gin.Accounts{"jack": "secret", "jill": "secret"})
	case "JWT":
		mw, err := ginjwt.New(&ginjwt.GinJWTMiddleware{Key: []byte(signingKey), IdentityKey: "sub"})
		if err != nil {
			panic(err)
		}
		return mw.MiddlewareFunc()
	case "API key":
		return func(c *gin.Context) {
			if c.GetHeader("X-Key") != "secret" {
				c.AbortWithStatus(http.StatusUnauthorized)
			}
		}
	case "session":
		return ginsessions.Sessions("store", cookie.NewStore([]byte("secret")))
	case "rolling":
		return func(c *gin.Context) {
			s := ginsessions.Default(c)
			s.Set("rolled", true)
			_ = s.Save()
		}
	case "csrf":
		return wrapGin(nosurfed)
	case "compression":
		return gingzip.Gzip(gingzip.DefaultCompression)
	case "timeout":
		return func(c *gin.Context) {
			d := time.Minute
			if c.GetHeader("X-Slow") != "" {
				d = shortest
			}
			ctx, cancel := context.WithTimeout(c.Request.Context(), d)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Next()
			if ctx.Err() != nil && !c.Writer.Written() {
				c.AbortWithStatus(http.StatusServiceUnavailable)
			}
		}
	}
	panic("no layer " + name)
}
