package ginadapter_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func Benchmark(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	coretest.Benchmark(b, func(cache *core.Cache) func() func() {
		r := gin.New()
		if cache != nil {
			r.Use(ginadapter.New(cache))
		}
		r.GET("/blogs/:id", func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", coretest.BenchBody) })
		return coretest.BenchHTTP(r)
	})
}
