package fiberadapter_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cachetest"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

// TestCachetest: core/cachetest is good for what app.Test returns.
func TestCachetest(t *testing.T) {
	cache := cachetest.New(t, cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute, Stale: cacheaside.StalePolicy{WhileRevalidate: time.Hour}}})
	app := newApp()
	app.Use(fiberadapter.New(cache.Cache))
	app.Get("/", func(c *fiber.Ctx) error { return c.SendString("page") })
	get := func() *http.Response {
		response, err := app.Test(httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response
	}
	cachetest.AssertStored(t, get())
	cache.Advance(2 * time.Minute)
	if o := cachetest.AssertHit(t, get()); o.TTL != -time.Minute {
		t.Errorf("not what is stale: %v", o)
	}
	cache.Wait()
	if o := cachetest.AssertHit(t, get()); o.TTL != time.Minute {
		t.Errorf("not renewed: %v", o)
	}
	cache.Empty()
	cachetest.AssertMiss(t, get())
}
