package fiberadapter_test

import (
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func Benchmark(b *testing.B) {
	coretest.Benchmark(b, func(cache *core.Cache) func() func() {
		app := fiber.New()
		if cache != nil {
			app.Use(fiberadapter.New(cache))
		}
		app.Get("/blogs/:id", func(c *fiber.Ctx) error {
			c.Type("txt")
			return c.Send(coretest.BenchBody)
		})
		h := app.Handler()
		return func() func() {
			ctx := &fasthttp.RequestCtx{}
			ctx.Request.SetRequestURI(coretest.BenchTarget)
			ctx.Request.Header.SetHostBytes(ctx.Request.URI().Host()) // as a client does
			return func() {
				ctx.Response.Reset()
				h(ctx)
				if len(ctx.Response.Body()) != len(coretest.BenchBody) {
					panic("the benchmark's handler sent another body")
				}
			}
		}
	})
}
