package chiadapter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
)

func ExampleNew() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})) // in this process: no Store is given
	defer cache.Close(context.Background())

	r := chi.NewRouter()
	r.Use(chiadapter.New(cache))
	r.Get("/blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the handler runs")
		fmt.Fprintf(w, "blog %s", chi.URLParam(r, "id"))
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

	r := chi.NewRouter()
	r.With(chiadapter.New(news)).Get("/news", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "news") })
	r.With(chiadapter.New(cache)).Get("/about", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "about") })
	r.Get("/stats", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, cache.Stats().Stores, " stored") })

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
