package fiberadapter_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

// locking is a store that locks for several processes, as the engine sees it.
type locking struct{ *memory.Store }

// TestNetHTTPInside: a handler of net/http, with a cache of its own or without, is
// in the same run as Fiber's middleware in front.
func TestNetHTTPInside(t *testing.T) {
	m := cacheaside.Must(memory.New(1 << 20))
	t.Cleanup(func() { _ = m.Close() })
	onStore := func(c *cacheaside.Config) { c.Store = locking{m} }
	cache := coretest.NewCache(t, onStore)
	version := "1"
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cacheaside.AddTags(r.Context(), "tag") {
			t.Error("AddTags is not heard")
		}
		_, _ = io.WriteString(w, version)
	})
	app := fiber.New()
	app.Use(fiberadapter.New(cache))
	app.Get("/bare", adaptor.HTTPHandler(h))
	app.Get("/same", adaptor.HTTPHandler(nethttp.New(cache)(h)))
	app.Get("/other", adaptor.HTTPHandler(nethttp.New(coretest.NewCache(t, onStore))(h)))
	get := func(path string) string {
		began := time.Now()
		req := cacheaside.Must(http.NewRequest(http.MethodGet, path, nil))
		res, err := app.Test(req, int(time.Minute/time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if took := time.Since(began); took > (10*time.Second)/2 {
			t.Errorf("%s has waited %v for itself", path, took)
		}
		if err := cache.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		return string(body)
	}
	for _, path := range []string{"/bare", "/same", "/other"} {
		version = "1"
		if got := get(path); got != "1" {
			t.Errorf("%s: %q", path, got)
		}
		version = "2"
		if got := get(path); got != "1" {
			t.Errorf("%s was not stored: %q", path, got)
		}
		if err := cache.PurgeTags(t.Context(), "tag"); err != nil {
			t.Fatal(err)
		}
		if got := get(path); path == "/bare" && got != "2" {
			t.Errorf("%s was not purged: %q", path, got)
		}
	}
}
