package ginadapter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func ExampleNew() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})) // in this process: no Store is given
	defer cache.Close(context.Background())

	r := gin.New()
	r.Use(ginadapter.New(cache))
	r.GET("/blogs/:id", func(c *gin.Context) {
		fmt.Println("the handler runs")
		c.String(http.StatusOK, "blog %s", c.Param("id"))
	})

	for range 2 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/blogs/1000", nil))
		fmt.Println(w.Body, "from the cache:", strings.Contains(w.Header().Get("Cache-Status"), "hit"))
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

	r := gin.New()
	r.GET("/news", ginadapter.New(news), func(c *gin.Context) { c.String(http.StatusOK, "news") })
	r.GET("/about", ginadapter.New(cache), func(c *gin.Context) { c.String(http.StatusOK, "about") })
	r.GET("/stats", func(c *gin.Context) { c.String(http.StatusOK, "%d stored", cache.Stats().Stores) })

	for _, path := range []string{"/news", "/about", "/stats"} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Body)
	}
	// Output:
	// news
	// about
	// 2 stored
}
