package fiberadapter_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/valyala/fasthttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func Benchmark(b *testing.B) {
	coretest.Benchmark(b, func(cache *cacheaside.Cache) coretest.BenchApp {
		app := fiber.New()
		if cache != nil {
			app.Use(fiberadapter.New(cache))
		}
		app.Get("/blogs/:id", func(c *fiber.Ctx) error {
			c.Type("txt")
			return c.Send(coretest.BenchBody)
		})
		return benchServer(app.Handler())
	}, func(get func(string) []byte) coretest.BenchApp { // without Fiber, whose router costs something, too
		return benchServer(func(c *fasthttp.RequestCtx) {
			c.Response.Header.SetContentType("text/plain; charset=utf-8")
			uri := c.RequestURI()
			c.Response.SetBody(get(unsafe.String(&uri[0], len(uri))))
		})
	})
}

// BenchmarkContentHit is a hit of a request whose content is part of its key.
func BenchmarkContentHit(b *testing.B) {
	for _, n := range []int{200, 16 << 10} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cache := coretest.NewCache(b, func(c *cacheaside.Config) { c.Policy.Requests.Methods = []string{"QUERY"} })
			app := fiber.New(newConfig())
			app.Add("QUERY", "/blogs/:id", fiberadapter.New(cache), func(c *fiber.Ctx) error { return c.Send(coretest.BenchBody) })
			h, ctx := app.Handler(), &fasthttp.RequestCtx{}
			ctx.Request.Header.SetMethod("QUERY")
			ctx.Request.SetRequestURI("/blogs/1000?page=2")
			ctx.Request.Header.SetHost("example.com")
			ctx.Request.Header.SetContentLength(n)
			ctx.Request.SetBodyRaw(make([]byte, n))
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				if h(ctx); len(ctx.Response.Body()) != len(coretest.BenchBody) {
					b.Fatal("another body")
				}
			}
			if s := cache.Stats(); s.Misses != 1 || s.Bypasses != 0 {
				b.Fatalf("%+v", s)
			}
		})
	}
}

// BenchmarkCompression is next to Fiber's own compression.
func BenchmarkCompression(b *testing.B) {
	coretest.BenchmarkCompression(b, func(cache *cacheaside.Cache, compressing bool, body []byte) coretest.BenchApp {
		app := fiber.New()
		if compressing {
			app.Use(compress.New())
		}
		if cache != nil {
			app.Use(fiberadapter.New(cache))
		}
		app.Get("/blogs/:id", func(c *fiber.Ctx) error {
			c.Type("json")
			return c.Send(body)
		})
		return benchServer(app.Handler())
	})
}

func benchServer(h fasthttp.RequestHandler) coretest.BenchApp {
	return coretest.BenchApp{New: func(fields ...string) func(string) int {
		ctx, last := &fasthttp.RequestCtx{}, ""
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			ctx.Request.Header.Set(name, value)
		}
		return func(target string) int {
			if target != last {
				last = target
				ctx.Request.SetRequestURI(target[len("http://example.com"):]) // as a client writes it
				ctx.Request.Header.SetHost("example.com")
			}
			ctx.Response.Reset()
			h(ctx)
			return len(ctx.Response.Body())
		}
	}, Serve: func(l net.Listener) { _ = fasthttp.Serve(l, h) }}
}

func BenchmarkFirstByte(b *testing.B) {
	coretest.FirstByte(b, coretest.Framework{Name: "fiberadapter", Serve: serve, Streams: true})
}
