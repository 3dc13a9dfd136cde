package echoadapter_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func Benchmark(b *testing.B) {
	app := func(cache *cacheaside.Cache, body func(target string) []byte) coretest.BenchApp {
		e := echo.New()
		if cache != nil {
			e.Use(echoadapter.New(cache))
		}
		e.GET("/blogs/:id", func(c echo.Context) error {
			return c.Blob(http.StatusOK, "text/plain", body(c.Request().RequestURI))
		})
		return coretest.BenchTargets(e)
	}
	coretest.Benchmark(b, func(cache *cacheaside.Cache) coretest.BenchApp {
		return app(cache, func(string) []byte { return coretest.BenchBody })
	}, func(get func(string) []byte) coretest.BenchApp { return app(nil, get) })
}

// BenchmarkCompression is next to Echo's own compression.
func BenchmarkCompression(b *testing.B) {
	coretest.BenchmarkCompression(b, func(cache *cacheaside.Cache, compress bool, body []byte) coretest.BenchApp {
		e := echo.New()
		if compress {
			e.Use(middleware.Gzip())
		}
		if cache != nil {
			e.Use(echoadapter.New(cache))
		}
		e.GET("/blogs/:id", func(c echo.Context) error { return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body) })
		return coretest.BenchTargets(e)
	})
}
