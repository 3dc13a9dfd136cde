// Command echo serves users and blogs with Echo v4, cached.
package main

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/examples/internal/blog"
	"github.com/cacheaside/cacheaside/examples/internal/server"
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

	e := echo.New()
	e.Use(middleware.Recover())
	get := []string{http.MethodGet, http.MethodHead}
	cached := echoadapter.New(cache)
	e.Match(get, "/", func(c echo.Context) error { return send(c, db.Page(c.Request().Context())) }, cached)
	e.Match(get, "/style.css", func(c echo.Context) error { return send(c, blog.Style()) }, cached)
	e.Match(get, "/blogs", func(c echo.Context) error { return send(c, db.Blogs(c.Request().Context())) }, cached)
	e.Match(get, "/users/:id", func(c echo.Context) error {
		return send(c, db.User(c.Request().Context(), c.Param("id")))
	}, cached)
	e.Match(get, "/blogs/:id", func(c echo.Context) error {
		return send(c, db.Blog(c.Request().Context(), c.Param("id")))
	}, cached)
	e.PUT("/users/:id", func(c echo.Context) error {
		r := c.Request()
		return send(c, db.PutUser(r.Context(), cache, c.Param("id"), blog.ReadBody(r.Body)))
	})
	e.POST("/blogs", func(c echo.Context) error {
		r := c.Request()
		return send(c, db.PostBlog(r.Context(), cache, blog.ReadBody(r.Body)))
	})
	if opt.PurgeToken != "" {
		purge, err := echoadapter.NewPurge(cache, cacheaside.PurgeAccess{Token: opt.PurgeToken})
		if err != nil {
			return err
		}
		e.POST("/purge", purge)
		for _, path := range []string{"/", "/style.css", "/blogs", "/blogs/:id", "/users/:id"} {
			e.Add("PURGE", path, purge)
		}
	}
	e.Match(get, "/stats", func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "no-store")
		return send(c, db.Stats(cache.Stats()))
	})
	srv := &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second}
	return opt.Serve(ctx, srv.Serve, srv.Shutdown, opt.WarmUp(cache, echoadapter.Entry(e)))
}

func send(c echo.Context, a blog.Answer) error {
	for name, value := range a.Fields() {
		c.Response().Header().Set(name, value)
	}
	return c.Blob(a.Status, a.Type, a.Body)
}
