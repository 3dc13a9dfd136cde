package echoadapter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func ExampleNew() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})) // in this process: no Store is given
	defer cache.Close(context.Background())

	e := echo.New()
	e.Use(echoadapter.New(cache))
	e.GET("/blogs/:id", func(c echo.Context) error {
		fmt.Println("the handler runs")
		return c.String(http.StatusOK, "blog "+c.Param("id"))
	})

	for range 2 {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/blogs/1000", nil))
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

	e := echo.New()
	e.GET("/news", func(c echo.Context) error { return c.String(http.StatusOK, "news") }, echoadapter.New(news))
	e.GET("/about", func(c echo.Context) error { return c.String(http.StatusOK, "about") }, echoadapter.New(cache))
	e.GET("/stats", func(c echo.Context) error {
		return c.String(http.StatusOK, fmt.Sprint(cache.Stats().Stores, " stored"))
	})

	for _, path := range []string{"/news", "/about", "/stats"} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Body)
	}
	// Output:
	// news
	// about
	// 2 stored
}
