package transparency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/csrf"
	"github.com/justinas/nosurf"
)

// The handlers of net/http and chi. Those of the other frameworks do the same with
// their framework's own means.

type stdRoute struct {
	methods string
	path    string
	handler http.HandlerFunc
}

var errNoRow = errors.New("no such row") // what an error-mapping middleware makes 404 of

func send(w http.ResponseWriter, body string, fields ...string) {
	for i := 0; i < len(fields); i += 2 {
		w.Header().Set(fields[i], fields[i+1])
	}
	_, _ = io.WriteString(w, body)
}

func stdRoutes() []stdRoute {
	var all []stdRoute
	get := func(path string, h http.HandlerFunc) { all = append(all, stdRoute{"GET HEAD", path, h}) }
	get("/page", func(w http.ResponseWriter, _ *http.Request) { send(w, pageText, "Content-Type", plain) })
	get("/untyped", func(w http.ResponseWriter, _ *http.Request) { send(w, "<!doctype html><p>hello</p>") })
	get("/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"a": 1, "b": []string{"x", "<y>"}})
	})
	get("/tagged", func(w http.ResponseWriter, _ *http.Request) {
		send(w, pageText, "Content-Type", plain, "ETag", etag, "Last-Modified", modified)
	})
	get("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", plain)
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "file.txt", written, strings.NewReader(pageText))
	})
	get("/big", func(w http.ResponseWriter, _ *http.Request) { send(w, bigText, "Content-Type", plain) })
	get("/huge", func(w http.ResponseWriter, _ *http.Request) { send(w, hugeText, "Content-Type", plain) })
	get("/declared", func(w http.ResponseWriter, _ *http.Request) {
		send(w, pageText, "Content-Type", plain, "Content-Length", strconv.Itoa(len(pageText)))
	})
	get("/pieces", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		for i := range 200 {
			fmt.Fprintf(w, "piece %d\n", i)
		}
	})
	get("/encoded", func(w http.ResponseWriter, _ *http.Request) {
		send(w, string(packed), "Content-Type", plain, "Content-Encoding", "gzip")
	})
	get("/vary", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Language")
		send(w, "language: "+r.Header.Get("Accept-Language"), "Content-Type", plain)
	})
	get("/expiring", func(w http.ResponseWriter, _ *http.Request) {
		send(w, pageText, "Content-Type", plain, "Cache-Control", "public, max-age=60", "X-Frame-Options", "SAMEORIGIN")
	})
	get("/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		for range 3 {
			_, _ = io.WriteString(w, pageText)
			_ = http.NewResponseController(w).Flush()
		}
	})
	get("/private", func(w http.ResponseWriter, _ *http.Request) {
		send(w, pageText, "Content-Type", plain, "Cache-Control", "private")
	})
	get("/nothing", func(http.ResponseWriter, *http.Request) {})
	get("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	get("/no-content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	get("/accepted", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	get("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/page?a=b", http.StatusMovedPermanently)
	})
	get("/found", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) })
	get("/missing", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "none", http.StatusNotFound) })
	get("/failing", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "failed", http.StatusInternalServerError) })
	get("/error", func(_ http.ResponseWriter, r *http.Request) { fail(r, errors.New("an error")) })
	get("/mapped", func(_ http.ResponseWriter, r *http.Request) { fail(r, errNoRow) })
	get("/panic", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Set", "before")
		panic("on purpose")
	})
	get("/late-panic", func(w http.ResponseWriter, _ *http.Request) {
		send(w, "half of", "Content-Type", plain, "X-Set", "before")
		panic("on purpose")
	})
	get("/cookie", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2", HttpOnly: true})
		send(w, "cookies", "Content-Type", plain)
	})
	get("/no-cache-cookie", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		send(w, "cookies", "Content-Type", plain, "Cache-Control", `max-age=60, no-cache="Set-Cookie"`)
	})
	get("/no-store", func(w http.ResponseWriter, _ *http.Request) {
		send(w, "once", "Content-Type", plain, "Cache-Control", "no-store")
	})
	get("/rendered", func(_ http.ResponseWriter, r *http.Request) {
		if b := boxOf(r); b != nil {
			b.data = "rendered by middleware"
		}
	})
	get("/slow", func(w http.ResponseWriter, r *http.Request) {
		if waits(r.Context()) {
			return
		}
		send(w, "fast", "Content-Type", plain)
	})
	get("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		send(w, pageText, "Content-Type", plain)
	})
	get("/trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		send(w, pageText, "Content-Type", plain)
		w.Header().Set("X-Sum", "1")
	})
	get("/named", func(w http.ResponseWriter, _ *http.Request) { // not Last: what is written counts
		w.Header().Set("X-Early", "1")
		send(w, "named", "Content-Type", plain)
		w.Header().Set("X-Late", "1")
	})
	get("/appended", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("X-Front", "handler")
		w.Header().Add("Vary", "Accept-Language")
		send(w, "appended", "Content-Type", plain)
	})
	get("/pattern", func(w http.ResponseWriter, r *http.Request) { send(w, pattern(r), "Content-Type", plain) })
	get("/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		send(w, r.PathValue("id")+" "+pattern(r), "Content-Type", plain)
	})
	get("/session", func(w http.ResponseWriter, r *http.Request) {
		if b := boxOf(r); b != nil && b.session != nil {
			b.session(w, r)
		}
		send(w, "session", "Content-Type", plain)
	})
	form := func(w http.ResponseWriter, r *http.Request) {
		t := csrf.Token(r)
		if t == "" {
			t = nosurf.Token(r)
		}
		send(w, r.Method+" token="+t, "Content-Type", "text/html; charset=utf-8")
	}
	all = append(all, stdRoute{"GET HEAD POST", "/form", form}, stdRoute{"POST PUT DELETE", "/echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		send(w, r.Method+" "+string(b), "Content-Type", plain)
	}})
	return all
}

// pattern is the route as the handler sees it.
func pattern(r *http.Request) string {
	p := "pattern " + r.Pattern
	if c := chi.RouteContext(r.Context()); c != nil {
		p += " chi " + c.RoutePattern()
	}
	return p
}

// box is what middleware shares with handlers by the context.
type box struct {
	data    string
	err     error
	session func(http.ResponseWriter, *http.Request)
}

type boxKey struct{}

func boxOf(r *http.Request) *box {
	b, _ := r.Context().Value(boxKey{}).(*box)
	return b
}

func fail(r *http.Request, err error) {
	if b := boxOf(r); b != nil {
		b.err = err
	}
}

// withBox calls next with a box, and then with what is in it.
func withBox(b *box, then func(http.ResponseWriter, *http.Request, *box)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own := *b
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), boxKey{}, &own)))
			if then != nil {
				then(w, r, &own)
			}
		})
	}
}

// waits waits for the end of a context that has a short time-out; there is one only
// where a stack tests that.
func waits(ctx context.Context) bool {
	if d, ok := ctx.Deadline(); !ok || time.Until(d) > shortest*10 {
		return false
	}
	<-ctx.Done()
	return true
}

const shortest = 10 * time.Millisecond

// timeouts makes a time-out that is short for /slow, and long for all else.
func timeouts[M any](path func() string, of func(time.Duration) M) M {
	if path() == "/slow" {
		return of(shortest)
	}
	return of(time.Minute)
}
