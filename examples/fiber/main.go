// Command fiber serves users and blogs with Fiber v2, cached.
package main

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/blog"
	"github.com/cacheaside/cacheaside/examples/internal/server"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func main() { blog.Main(run) }

func run(ctx context.Context, opt blog.Options) error {
	store, err := server.OpenStore(ctx, opt.Dragonfly)
	if err != nil {
		return err
	}
	cache, err := core.New(opt.Config(core.Config{Store: store})) // the flags are fields of core.Config
	if err != nil {
		return err
	}
	db, err := blog.Open(ctx, opt.Latency)
	if err != nil {
		return err
	}
	defer server.Close(cache, store, db)

	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReadTimeout:           5 * time.Second, // or an unused connection keeps Shutdown waiting
		IdleTimeout:           time.Minute,
	})
	app.Use(fiberrecover.New())
	cached := fiberadapter.New(cache)
	app.Get("/users/:id", cached, func(c *fiber.Ctx) error {
		return send(c, db.User(c.UserContext(), c.Params("id")))
	})
	app.Get("/blogs/:id", cached, func(c *fiber.Ctx) error {
		return send(c, db.Blog(c.UserContext(), c.Params("id")))
	})
	app.Get("/stats", func(c *fiber.Ctx) error {
		c.Set("Cache-Control", "no-store")
		return send(c, db.Stats(cache.Stats()))
	})
	return server.Serve(ctx, opt.Addr, app.Listener, app.ShutdownWithContext)
}

func send(c *fiber.Ctx, a blog.Answer) error {
	return c.Status(a.Status).Type("json").Send(a.JSON)
}
