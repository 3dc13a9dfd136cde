package ginadapter_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/ginadapter"
)

// TestHandleContext: Gin swaps the writer while the handler runs, so the capture
// stays empty. That is no response.
func TestHandleContext(t *testing.T) {
	for name, inner := range map[string]bool{"alone": false, "both cached": true} {
		t.Run(name, func(t *testing.T) {
			cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
			t.Cleanup(func() { _ = cache.Close(t.Context()) })
			r := gin.New()
			r.GET("/old", ginadapter.New(cache), func(c *gin.Context) {
				c.Request.URL.Path = "/new"
				r.HandleContext(c)
			})
			handlers := []gin.HandlerFunc{func(c *gin.Context) { c.String(http.StatusOK, "the new page") }}
			if inner {
				handlers = append([]gin.HandlerFunc{ginadapter.New(cache)}, handlers...)
			}
			r.GET("/new", handlers...)
			s := httptest.NewServer(r)
			t.Cleanup(s.Close)
			for _, path := range []string{"/old", "/old", "/new", "/old"} {
				res, err := http.Get(s.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(b) != "the new page" || res.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %q %v", path, res.StatusCode, b, err)
				}
			}
		})
	}
}

// TestStatusAlone: middleware in front sees a status that was set without anything
// being written as without the cache, and may make a page of it.
func TestStatusAlone(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNotFound, http.StatusMovedPermanently} { // that would be stored
		for _, cached := range []bool{false, true} {
			cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute, StatusTTL: map[int]time.Duration{http.StatusNotFound: time.Minute}}}))
			t.Cleanup(func() { _ = cache.Close(t.Context()) })
			r := gin.New()
			r.Use(func(c *gin.Context) {
				c.Next()
				if !c.Writer.Written() {
					c.String(c.Writer.Status(), "a page of %s", c.GetString("data"))
				}
			})
			if cached {
				r.Use(ginadapter.New(cache))
			}
			r.GET("/x", func(c *gin.Context) {
				c.Set("data", "x")
				c.Status(status)
			})
			for range 2 {
				w := httptest.NewRecorder()
				r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
				if w.Code != status || w.Body.String() != "a page of x" {
					t.Errorf("cached %t: %d %q", cached, w.Code, w.Body)
				}
			}
		}
	}
}

// TestCompleteWithoutBody: a status with a length, or that leads elsewhere, is all that a
// proxy has to say.
func TestCompleteWithoutBody(t *testing.T) {
	for name, value := range map[string]string{"Content-Length": "0", "Location": "/y"} {
		r := gin.New()
		r.Use(ginadapter.New(coretest.NewCache(t)))
		r.GET("/x", func(c *gin.Context) {
			c.Header(name, value)
			c.Header("Cache-Control", "max-age=60")
			c.Status(http.StatusMovedPermanently)
		})
		for _, want := range []string{"stored", "hit"} {
			w := httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
			if got := w.Header().Get("Cache-Status"); w.Code != http.StatusMovedPermanently || w.Header().Get(name) != value || !strings.Contains(got, want) {
				t.Errorf("%s: %d %v, want %s", name, w.Code, w.Header(), want)
			}
		}
	}
}

// TestInterimBehindWriter: a writer of middleware in front that embeds Gin's, as most
// do, has no way for an interim response; it must not be taken for the final one.
func TestInterimBehindWriter(t *testing.T) {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	t.Cleanup(func() { _ = cache.Close(t.Context()) })
	r := gin.New()
	r.Use(func(c *gin.Context) { c.Writer = struct{ gin.ResponseWriter }{c.Writer} }, ginadapter.New(cache))
	r.Any("/x", func(c *gin.Context) {
		c.Writer.WriteHeader(http.StatusEarlyHints)
		c.String(http.StatusNotFound, "none")
	})
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		req, err := http.NewRequest(method, s.URL+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		coretest.Want(t, res, http.StatusNotFound, "none", false)
	}
}

// deciding takes back the coding that was announced where there is an error, as the
// first bytes come; Gin has only taken note of the status by then.
type deciding struct{ gin.ResponseWriter }

func (d deciding) Write(p []byte) (int, error) {
	if d.Status() >= http.StatusBadRequest {
		d.Header().Del("Content-Encoding")
	}
	return d.ResponseWriter.Write(p)
}

func (d deciding) WriteString(s string) (int, error) { return d.Write([]byte(s)) }

// TestHeaderAtFirstWrite: what is not held back is not sent earlier than without the
// cache either.
func TestHeaderAtFirstWrite(t *testing.T) {
	type seen struct {
		status  int
		coding  string
		written bool
	}
	ask := func(cached bool, method, path string) (s seen) {
		r := gin.New()
		r.Use(func(c *gin.Context) {
			c.Header("Content-Encoding", "gzip")
			c.Writer = deciding{c.Writer}
			c.Next()
			s.written = c.Writer.Written()
		})
		if cached {
			r.Use(ginadapter.New(coretest.NewCache(t)))
		}
		r.Any("/bad", func(c *gin.Context) { c.String(http.StatusBadRequest, "bad") })
		r.Any("/error", func(c *gin.Context) {
			_ = c.Error(io.EOF)
			c.JSON(http.StatusConflict, "error")
		})
		r.Any("/aborted", func(c *gin.Context) { _ = c.AbortWithError(http.StatusForbidden, io.EOF) })
		r.Any("/early", func(c *gin.Context) {
			c.Status(http.StatusGone)
			c.Writer.WriteHeaderNow()
			_, _ = c.Writer.WriteString("gone")
		})
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		res := w.Result()
		s.status, s.coding = res.StatusCode, res.Header.Get("Content-Encoding")
		return s
	}
	for _, path := range []string{"/bad", "/error", "/aborted", "/early", "/none"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			if path == "/early" && method != http.MethodPost {
				continue // held back
			}
			if want, got := ask(false, method, path), ask(true, method, path); got != want {
				t.Errorf("%s %s: %+v, without the cache %+v", method, path, got, want)
			}
		}
	}
}
