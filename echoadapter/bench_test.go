package echoadapter_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func Benchmark(b *testing.B) {
	coretest.Benchmark(b, func(cache *core.Cache) func() func() {
		e := echo.New()
		if cache != nil {
			e.Use(echoadapter.New(cache))
		}
		e.GET("/blogs/:id", func(c echo.Context) error { return c.Blob(http.StatusOK, "text/plain", coretest.BenchBody) })
		return coretest.BenchHTTP(e)
	})
}
