package transparency

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-contrib/requestid"
	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/ginadapter"
)

// TestPlacedAsOnThePage runs the code of core/MIDDLEWARE.md, which TestMiddlewarePage
// finds here.
func TestPlacedAsOnThePage(t *testing.T) {
	policy := cacheaside.Policy{TTL: time.Minute}
	policy.Compression.Codings = []string{"gzip"}
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: policy}))
	defer func() { _ = cache.Close(t.Context()) }()
	ran := 0
	deadline := func(*gin.Context) { ran++ }
	r := gin.New()

	r.Use(gin.Recovery(), gin.Logger(), requestid.New(), cors.Default()) // in front: on every request
	r.Static("/assets", "./assets")                                      // registered before the cache: without it
	r.Use(ginadapter.New(cache))                                         // compresses, by its policy
	r.Use(deadline)                                                      // behind: only when the handler runs

	r.GET("/page", func(c *gin.Context) { c.String(http.StatusOK, pageText) })
	ids := map[string]bool{}
	for i := range 2 {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/page", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		body := w.Body.String()
		if i > 0 {
			body = gunzip(w.Body.Bytes())
		}
		if w.Code != http.StatusOK || body != pageText {
			t.Errorf("got %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
		}
		ids[w.Header().Get("X-Request-Id")] = true
	}
	if ran != 1 || len(ids) != 2 {
		t.Errorf("ran %d times behind the cache; %d ids for two requests", ran, len(ids))
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/assets/none", nil))
	if w.Header().Get("Cache-Status") != "" {
		t.Errorf("assets pass the cache: %s", w.Header().Get("Cache-Status"))
	}
}
