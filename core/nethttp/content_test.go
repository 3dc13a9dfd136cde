package nethttp_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// echoing answers with its content, behind a cache and front.
func echoing(t *testing.T, front func(http.Handler) http.Handler) http.Handler {
	cache := coretest.NewCache(t, func(c *cacheaside.Config) { c.Policy.Requests.Methods = []string{"QUERY", "POST"} })
	return front(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %v", b, r.PostForm)
	})))
}

func post(h http.Handler, method, content, mediaType string) *http.Response {
	r := httptest.NewRequest(method, "/x", strings.NewReader(content))
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestContentReadInFront: what the handler has of content that somebody in front has read
// is in no key.
func TestContentReadInFront(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for name, front := range map[string]func(*http.Request){
		"read":          func(r *http.Request) { _, _ = io.ReadAll(r.Body) },
		"read a little": func(r *http.Request) { _, _ = r.Body.Read(make([]byte, 1)) },
		"dropped":       func(r *http.Request) { r.Body = http.NoBody },
		"nil":           func(r *http.Request) { r.Body = nil },
		"form":          func(r *http.Request) { _ = r.ParseForm() },
		"parts":         func(r *http.Request) { _ = r.ParseMultipartForm(1 << 10) },
		"of no length":  func(r *http.Request) { _, _ = io.ReadAll(r.Body); r.ContentLength = -1 },
	} {
		h := echoing(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				front(r)
				if r.Body == nil {
					r.Body = http.NoBody // for the handler
				}
				next.ServeHTTP(w, r)
			})
		})
		for range 2 {
			for _, content := range []string{"a=1", "a=2"} {
				res := post(h, http.MethodPost, content, form)
				if status := res.Header.Get("Cache-Status"); res.StatusCode != 200 || !strings.Contains(status, "fwd=bypass; detail=content-unread") {
					t.Errorf("%s: %d with %q", name, res.StatusCode, status)
				}
			}
		}
	}
	// Who puts other content in its place has the handler, and the key, see that.
	h := echoing(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(bytes.ToUpper(b)))
			next.ServeHTTP(w, r)
		})
	})
	coretest.Want(t, post(h, "QUERY", "abc", ""), 200, "ABC map[]", false)
	coretest.Want(t, post(h, "QUERY", "aBc", ""), 200, "ABC map[]", true)
	coretest.Want(t, post(h, "QUERY", "abd", ""), 200, "ABD map[]", false)
}

// TestContentReadAfterwards: who reads it when the cache has answered finds nothing of
// another request.
func TestContentReadAfterwards(t *testing.T) {
	var bodies []io.Reader
	h := echoing(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			bodies = append(bodies, r.Body)
		})
	})
	for range 3 {
		for _, content := range []string{"first", "other"} {
			_ = post(h, "QUERY", content, "").Body.Close()
		}
	}
	for i, body := range bodies[2:] {
		if b, err := io.ReadAll(body); len(b) > 0 || err != nil {
			t.Errorf("after hit %d there is %q, %v", i, b, err)
		}
	}
}
