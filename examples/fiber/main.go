// Command fiber serves users and blogs with Fiber v2, cached.
package main

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/blog"
	"github.com/cacheaside/cacheaside/examples/internal/server"
	"github.com/cacheaside/cacheaside/fiberadapter"
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

	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		RequestMethods:        append([]string{"PURGE"}, fiber.DefaultMethods...),
		ReadTimeout:           5 * time.Second, // or an unused connection keeps Shutdown waiting
		IdleTimeout:           time.Minute,
	})
	app.Use(fiberrecover.New())
	cached := fiberadapter.New(cache)
	app.Get("/", cached, func(c *fiber.Ctx) error { return send(c, db.Page(c.UserContext())) })
	app.Get("/style.css", cached, func(c *fiber.Ctx) error { return send(c, blog.Style()) })
	app.Get("/blogs", cached, func(c *fiber.Ctx) error { return send(c, db.Blogs(c.UserContext())) })
	app.Get("/users/:id", cached, func(c *fiber.Ctx) error {
		return send(c, db.User(c.UserContext(), c.Params("id")))
	})
	app.Get("/blogs/:id", cached, func(c *fiber.Ctx) error {
		return send(c, db.Blog(c.UserContext(), c.Params("id")))
	})
	app.Put("/users/:id", func(c *fiber.Ctx) error {
		return send(c, db.PutUser(c.UserContext(), cache, c.Params("id"), c.Body()))
	})
	app.Post("/blogs", func(c *fiber.Ctx) error {
		return send(c, db.PostBlog(c.UserContext(), cache, c.Body()))
	})
	if opt.PurgeToken != "" {
		purge, err := fiberadapter.NewPurge(cache, cacheaside.PurgeAccess{Token: opt.PurgeToken})
		if err != nil {
			return err
		}
		app.Post("/purge", purge)
		for _, path := range []string{"/", "/style.css", "/blogs", "/blogs/:id", "/users/:id"} {
			app.Add("PURGE", path, purge)
		}
	}
	app.Get("/stats", func(c *fiber.Ctx) error {
		c.Set("Cache-Control", "no-store")
		return send(c, db.Stats(cache.Stats()))
	})
	return opt.Serve(ctx, app.Listener, app.ShutdownWithContext, opt.WarmUp(cache, fiberadapter.Entry(app)))
}

func send(c *fiber.Ctx, a blog.Answer) error {
	for name, value := range a.Fields() {
		c.Set(name, value)
	}
	return c.Status(a.Status).Send(a.Body)
}
