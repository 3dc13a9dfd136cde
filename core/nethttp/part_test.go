package nethttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestPartThatCannotBeHeldBack reaches nobody: the whole is asked for in its place.
func TestPartThatCannotBeHeldBack(t *testing.T) {
	const whole = "0123456789"
	for name, send := range map[string]func(w http.ResponseWriter){
		"announced trailers": func(w http.ResponseWriter) {
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, whole[5:])
			w.Header().Set("X-Sum", "1")
		},
		"trailers": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, whole[5:])
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		},
		"an event stream": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, whole[5:])
		},
		"too long": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusPartialContent)
			for range 100 {
				_, _ = io.WriteString(w, whole)
			}
		},
		"too long, as it says": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, strings.Repeat(whole, 100))
		},
		"shorter than it says": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, whole[5:7])
		},
		"two status codes": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, whole[5:])
			w.WriteHeader(http.StatusOK)
		},
		"a flushed 416": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes */10")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			cache := coretest.NewCache(t, func(c *cacheaside.Config) { c.Policy.Storing.MaxBytes = 100 })
			asked := 0
			s := httptest.NewServer(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				h := w.Header()
				h.Set("Cache-Control", "max-age=60")
				h.Set("Etag", `"a"`)
				switch r.Header.Get("Range") {
				case "bytes=0-4":
					h.Set("Content-Range", "bytes 0-4/10")
					w.WriteHeader(http.StatusPartialContent)
					_, _ = io.WriteString(w, whole[:5])
				case "":
					_, _ = io.WriteString(w, whole)
				default:
					h.Set("Content-Range", "bytes 5-9/10")
					send(w)
				}
			})))
			defer s.Close()
			get := func(fields ...string) (*http.Response, string) {
				t.Helper()
				req := cacheaside.Must(http.NewRequest(http.MethodGet, s.URL, nil))
				for i := 0; i < len(fields); i += 2 {
					req.Header.Set(fields[i], fields[i+1])
				}
				res, err := s.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res, string(b)
			}
			if res, body := get("Range", "bytes=0-4"); res.StatusCode != http.StatusPartialContent || body != whole[:5] {
				t.Fatalf("%d %q", res.StatusCode, body)
			}
			_ = cache.Flush(t.Context())
			res, body := get()
			if res.StatusCode != http.StatusOK || body != whole || res.Header.Get("Content-Range") != "" || len(res.Trailer) > 0 {
				t.Errorf("%d %q %v %v", res.StatusCode, body, res.Header, res.Trailer)
			}
			if asked != 3 {
				t.Errorf("the handler was asked %d times, want 3", asked)
			}
		})
	}
}
