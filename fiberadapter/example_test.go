package fiberadapter_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func ExampleNew() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})) // in this process: no Store is given
	defer cache.Close(context.Background())

	app := fiber.New()
	app.Use(fiberadapter.New(cache))
	app.Get("/blogs/:id", func(c *fiber.Ctx) error {
		fmt.Println("the handler runs")
		return c.SendString("blog " + c.Params("id"))
	})

	for range 2 {
		res := cacheaside.Must(app.Test(httptest.NewRequest(fiber.MethodGet, "/blogs/1000", nil)))
		body := cacheaside.Must(io.ReadAll(res.Body))
		fmt.Println(string(body), "from the cache:", strings.Contains(res.Header.Get("Cache-Status"), "hit"))
	}
	// Output:
	// the handler runs
	// blog 1000 from the cache: false
	// blog 1000 from the cache: true
}

// One route can have a policy of its own.
func ExampleNew_route() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}}))
	defer cache.Close(context.Background())
	news := cacheaside.Must(cache.With(func(p *cacheaside.Policy) { p.TTL = time.Second }))

	app := fiber.New()
	app.Get("/news", fiberadapter.New(news), func(c *fiber.Ctx) error { return c.SendString("news") })
	app.Get("/about", fiberadapter.New(cache), func(c *fiber.Ctx) error { return c.SendString("about") })
	app.Get("/stats", func(c *fiber.Ctx) error { return c.SendString(fmt.Sprint(cache.Stats().Stores, " stored")) })

	for _, path := range []string{"/news", "/about", "/stats"} {
		res := cacheaside.Must(app.Test(httptest.NewRequest(fiber.MethodGet, path, nil)))
		fmt.Println(string(cacheaside.Must(io.ReadAll(res.Body))))
	}
	// Output:
	// news
	// about
	// 2 stored
}
