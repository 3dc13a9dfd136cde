// Command gin serves users and blogs with Gin, cached.
package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/blog"
	"github.com/cacheaside/cacheaside/examples/internal/server"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func main() { blog.Main(run) }

func run(ctx context.Context, opt blog.Options) error {
	store, err := opt.OpenStore(ctx)
	if err != nil {
		return err
	}
	operating, err := opt.Operating()
	if err != nil {
		return err
	}
	cache, err := cacheaside.New(opt.Config(cacheaside.Config{
		Store:    store,
		Observer: operating.Observer(),
		Policy:   cacheaside.Policy{Requests: cacheaside.RequestPolicy{Cookies: cacheaside.None()}},
	}))
	if err != nil {
		return err
	}
	db, err := blog.Open(ctx, opt.DB, opt.Latency)
	if err != nil {
		return err
	}
	defer server.Close(cache, store, db)
	if err := operating.Serve(ctx, cache); err != nil {
		return err
	}

	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery())
	get := []string{http.MethodGet, http.MethodHead}
	cached := ginadapter.New(cache)
	r.Match(get, "/", cached, func(c *gin.Context) { send(c, db.Page(c.Request.Context())) })
	r.Match(get, "/style.css", cached, func(c *gin.Context) { send(c, blog.Style()) })
	r.Match(get, "/blogs", cached, func(c *gin.Context) { send(c, db.Blogs(c.Request.Context())) })
	r.Match(get, "/users/:id", cached, func(c *gin.Context) {
		send(c, db.User(c.Request.Context(), c.Param("id")))
	})
	r.Match(get, "/blogs/:id", cached, func(c *gin.Context) {
		send(c, db.Blog(c.Request.Context(), c.Param("id")))
	})
	r.PUT("/users/:id", func(c *gin.Context) {
		send(c, db.PutUser(c.Request.Context(), cache, c.Param("id"), blog.ReadBody(c.Request.Body)))
	})
	r.POST("/blogs", func(c *gin.Context) {
		send(c, db.PostBlog(c.Request.Context(), cache, blog.ReadBody(c.Request.Body)))
	})
	if opt.PurgeToken != "" {
		purge, err := ginadapter.NewPurge(cache, cacheaside.PurgeAccess{Token: opt.PurgeToken})
		if err != nil {
			return err
		}
		r.POST("/purge", purge)
		for _, path := range []string{"/", "/style.css", "/blogs", "/blogs/:id", "/users/:id"} {
			r.Handle("PURGE", path, purge)
		}
	}
	r.Match(get, "/stats", func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		send(c, db.Stats(cache.Stats()))
	})
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	return opt.Serve(ctx, srv.Serve, srv.Shutdown, opt.WarmUp(cache, ginadapter.Entry(r)))
}

func send(c *gin.Context, a blog.Answer) {
	for name, value := range a.Fields() {
		c.Header(name, value)
	}
	c.Data(a.Status, a.Type, a.Body)
}
