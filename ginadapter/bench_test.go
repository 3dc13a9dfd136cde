package ginadapter_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func Benchmark(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	app := func(cache *cacheaside.Cache, body func(target string) []byte) coretest.BenchApp {
		r := gin.New()
		if cache != nil {
			r.Use(ginadapter.New(cache))
		}
		r.GET("/blogs/:id", func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", body(c.Request.RequestURI)) })
		return coretest.BenchTargets(r)
	}
	coretest.Benchmark(b, func(cache *cacheaside.Cache) coretest.BenchApp {
		return app(cache, func(string) []byte { return coretest.BenchBody })
	}, func(get func(string) []byte) coretest.BenchApp { return app(nil, get) })
}

// BenchmarkCompression is next to gzhttp, as Gin has no compression of its own.
func BenchmarkCompression(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	coretest.BenchmarkCompression(b, func(cache *cacheaside.Cache, compress bool, body []byte) coretest.BenchApp {
		r := gin.New()
		if cache != nil {
			r.Use(ginadapter.New(cache))
		}
		r.GET("/blogs/:id", func(c *gin.Context) { c.Data(http.StatusOK, gin.MIMEJSON, body) })
		if compress {
			return coretest.BenchTargets(gzhttp.GzipHandler(r))
		}
		return coretest.BenchTargets(r)
	})
}
