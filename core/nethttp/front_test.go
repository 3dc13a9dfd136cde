package nethttp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// behind puts layers around a cached handler and returns a function that asks for
// it over a connection.
func behind(t *testing.T, layer func(http.Handler) http.Handler, handler http.HandlerFunc, change ...func(*cacheaside.Config)) (get func(method string) (*http.Response, string)) {
	t.Helper()
	cfg := cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}
	for _, f := range change {
		f(&cfg)
	}
	cache := cacheaside.Must(cacheaside.New(cfg))
	t.Cleanup(func() { _ = cache.Close(t.Context()) })
	server := start(t, layer(New(cache)(handler)), false)
	return func(method string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
}

// onHeader is a writer that adds fields as the header is written, like a session's.
type onHeader struct {
	http.ResponseWriter
	name, value string
	done        bool
}

func (w *onHeader) WriteHeader(status int) {
	if !w.done {
		w.done = true
		w.Header()[w.name] = []string{w.value} // under the name as it is
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *onHeader) Write(b []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// TestPersonalAsItGoesOut: what middleware in front makes one client's as the
// header is written is not stored.
func TestPersonalAsItGoesOut(t *testing.T) {
	for _, c := range []struct {
		name, value string
		stored      bool
		change      func(*cacheaside.Config)
	}{
		{"Set-Cookie", "session=1", false, nil},
		{"set-cookie", "session=1", false, nil},
		{"Cache-Control", "private", false, nil},
		{"cache-CONTROL", "private", false, nil},
		{"Cache-Control", "no-store", false, nil},
		{"Cache-Control", "max-age=5", true, nil},
		{"X-Any", "1", true, nil},
		{"Set-Cookie", "a=b", true, func(c *cacheaside.Config) { c.Policy.Storing.SetCookie = true }},
	} {
		for _, size := range []int{0, 3, 100_000} {
			calls := 0
			change := []func(*cacheaside.Config){func(*cacheaside.Config) {}}
			if c.change != nil {
				change = append(change, c.change)
			}
			get := behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(&onHeader{ResponseWriter: w, name: c.name, value: c.value}, r)
				})
			}, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(w, strings.Repeat("x", size))
			}, change...)
			for range 2 {
				if res, body := get(http.MethodGet); len(body) != size || res.Header.Get(c.name) != c.value {
					t.Errorf("%s: %s, %d bytes: %d bytes, %v", c.name, c.value, size, len(body), res.Header)
				}
			}
			if (calls == 1) != c.stored {
				t.Errorf("%s: %s, %d bytes: the handler ran %d times, stored %t", c.name, c.value, size, calls, c.stored)
			}
		}
	}
}

// inPlace writes into what it is given, which io.Writer forbids.
type inPlace struct{ http.ResponseWriter }

func (w inPlace) Write(b []byte) (int, error) {
	for i := range b {
		b[i] ^= 0x20 //nolint:staticcheck // that is what it is for
	}
	return w.ResponseWriter.Write(b)
}

func TestBodyWrittenInPlace(t *testing.T) {
	for _, size := range []int{1, 1000, 100_000} {
		get := behind(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(inPlace{w}, r) })
		}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("a", size)) })
		for range 3 {
			if _, body := get(http.MethodGet); body != strings.Repeat("A", size) {
				t.Errorf("%d bytes: %.10q", size, body)
			}
		}
	}
}

// TestKeeps: bodies are not copied for a server's own writers.
func TestKeeps(t *testing.T) {
	start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !keeps(w) || !keeps(httptest.NewRecorder()) || keeps(inPlace{w}) || keeps(&onHeader{ResponseWriter: w}) {
			t.Error("a writer is taken for another kind")
		}
		holding, _ := newWriter(inPlace{w}, adapter.Forward{Capture: true}, http.MethodGet)
		passing, _ := newWriter(inPlace{w}, adapter.Forward{}, http.MethodGet)
		if !keeps(holding) || keeps(passing) {
			t.Error("a capture copies, what passes through does not")
		}
	}), false)
	for _, tls := range []bool{false, true} {
		server := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !keeps(w) {
				t.Errorf("%s: %T", r.Proto, w)
			}
		}), tls)
		res, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
}

// TestAppendedInFront: what somebody in front appends arrives, and a HEAD says the
// same as a GET.
func TestAppendedInFront(t *testing.T) {
	const footer = "<!-- footer -->"
	for _, size := range []int{10, 3000} {
		get := behind(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				_, _ = io.WriteString(w, footer)
			})
		}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", size)) })
		for range 3 {
			res, body := get(http.MethodGet)
			if body != strings.Repeat("x", size)+footer {
				t.Errorf("%d bytes: %q", len(body), body)
			}
			if head, _ := get(http.MethodHead); head.Header.Get("Content-Length") != res.Header.Get("Content-Length") {
				t.Errorf("HEAD says %q, GET %q", head.Header.Get("Content-Length"), res.Header.Get("Content-Length"))
			}
		}
	}
}

// TestPatternOnAMiss: tracing in front learns the route.
func TestPatternOnAMiss(t *testing.T) {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	t.Cleanup(func() { _ = cache.Close(t.Context()) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}/{rest...}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "user") })
	for name, h := range map[string]http.Handler{"without": mux, "miss": New(cache)(mux)} {
		r := httptest.NewRequest(http.MethodGet, "/users/1/a/b", nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if r.Pattern != "GET /users/{id}/{rest...}" || r.PathValue("id") != "1" || r.PathValue("rest") != "a/b" {
			t.Errorf("%s: %q, id %q, rest %q", name, r.Pattern, r.PathValue("id"), r.PathValue("rest"))
		}
	}
}

// TestFormAfterwards: middleware in front sees the form that the handler has read, and
// the server removes its files.
func TestFormAfterwards(t *testing.T) {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	t.Cleanup(func() { _ = cache.Close(t.Context()) })
	h := New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
	}))
	body := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n" + strings.Repeat("x", 1<<10) + "\r\n--b--\r\n"
	r := httptest.NewRequest(http.MethodPost, "/?q=2", strings.NewReader(body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if r.MultipartForm == nil || len(r.MultipartForm.File["f"]) != 1 || r.Form.Get("q") != "2" || r.PostForm.Get("a") != "1" {
		t.Fatalf("%v %v %v", r.MultipartForm, r.Form, r.PostForm)
	}
	if err := r.MultipartForm.RemoveAll(); err != nil {
		t.Error(err)
	}
}
