package cachetest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cachetest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// newBlog is the service under test.
func newBlog(cache *cacheaside.Cache) http.Handler {
	return nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cacheaside.AddTags(r.Context(), "blog-1")
		fmt.Fprintln(w, "the blog")
	}))
}

// testBlog would be called TestBlog in your tests.
func testBlog(t *testing.T) {
	cache := cachetest.New(t, cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})
	blog := newBlog(cache.Cache)
	get := func() *http.Response {
		w := httptest.NewRecorder()
		blog.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/blogs/1", nil))
		return w.Result()
	}

	cachetest.AssertStored(t, get())
	cache.Advance(10 * time.Second)
	cachetest.AssertHit(t, get())
	cache.Advance(20 * time.Second)
	cachetest.AssertMiss(t, get())
	if err := cache.PurgeTags(t.Context(), "blog-1"); err != nil {
		t.Fatal(err)
	}
	cachetest.AssertMiss(t, get())
}

// A test of a service: what is cached, for how long, and what takes it away. OutcomeOf has
// all that a response says.
func Example() {
	_ = testBlog // which go test calls

	response := &http.Response{Header: http.Header{"Cache-Status": {"cacheaside; fwd=miss; detail=set-cookie"}}}
	outcome, err := cachetest.OutcomeOf(response)
	fmt.Println(outcome.Hit, outcome.Forward, outcome.Stored, outcome.Detail, err)
	fmt.Println(outcome)
	// Output:
	// false miss false set-cookie <nil>
	// a miss, for nothing usable was stored, not stored, detail set-cookie (Cache-Status: cacheaside; fwd=miss; detail=set-cookie)
}
