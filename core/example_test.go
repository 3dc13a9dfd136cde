package cacheaside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// visit asks h for path and prints the answer, with hit or what Cache-Status says of why
// the handler was asked.
func visit(h http.Handler, path string, fields ...string) {
	r := httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	status := w.Header().Get("Cache-Status")
	var says []string
	for param := range strings.SplitSeq(status, "; ") {
		if param == "hit" || strings.HasPrefix(param, "fwd=") || strings.HasPrefix(param, "detail=") {
			says = append(says, param)
		}
	}
	fmt.Printf("%s: %s (%s)\n", path, w.Body, strings.Join(says, ", "))
}

// saying is a handler that answers with s.
func saying(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, s) })
}

// A cache for a whole service is a middleware around its router.
func ExampleNew() {
	cache, err := cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(context.Background())

	mux := http.NewServeMux()
	mux.Handle("GET /blogs/{id}", saying("a blog"))
	service := nethttp.New(cache)(mux)

	visit(service, "/blogs/1")
	visit(service, "/blogs/1")
	visit(service, "/blogs/2")
	// Output:
	// /blogs/1: a blog (fwd=miss)
	// /blogs/1: a blog (hit)
	// /blogs/2: a blog (fwd=miss)
}

// All that is wrong with a config is said at once.
func ExampleNew_error() {
	_, err := cacheaside.New(cacheaside.Config{
		Namespace: "my service",
		Policy:    cacheaside.Policy{TTL: 30, Stale: cacheaside.StalePolicy{IfError: -time.Minute}},
	})
	fmt.Println(err)
	// Output:
	// cacheaside: Config.Namespace: "my service": use 1 to 64 letters, digits, '.', '_' or '-'
	// cacheaside: Config.Policy.TTL: 30ns is less than a millisecond: was the unit forgotten, as in 30 * time.Second?
	// cacheaside: Config.Policy.Stale.IfError: -1m0s is negative: use 0 for the default or a positive duration
}

// A group of routes is cached by putting the middleware around them alone.
func Example_group() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: 30 * time.Second}}))
	defer cache.Close(context.Background())

	public := http.NewServeMux()
	public.Handle("GET /public/news", saying("news"))
	public.Handle("GET /public/about", saying("about us"))

	service := http.NewServeMux()
	service.Handle("/public/", nethttp.New(cache)(public))
	service.Handle("GET /health", saying("ok"))

	visit(service, "/public/news")
	visit(service, "/public/news")
	visit(service, "/health")
	// Output:
	// /public/news: news (fwd=miss)
	// /public/news: news (hit)
	// /health: ok ()
}

// One route has a policy of its own, on the same cache.
func ExampleCache_With() {
	clock := newClock()
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Policy: cacheaside.Policy{TTL: time.Hour},
		Now:    clock.Now,
	}))
	defer cache.Close(context.Background())
	news, err := cache.With(func(p *cacheaside.Policy) { p.TTL = 5 * time.Second })
	if err != nil {
		fmt.Println(err)
		return
	}

	service := http.NewServeMux()
	service.Handle("GET /news", nethttp.New(news)(saying("news")))
	service.Handle("GET /about", nethttp.New(cache)(saying("about us")))

	visit(service, "/news")
	visit(service, "/about")
	clock.Advance(10 * time.Second)
	visit(service, "/news")
	visit(service, "/about")
	// Output:
	// /news: news (fwd=miss)
	// /about: about us (fwd=miss)
	// /news: news (fwd=miss)
	// /about: about us (hit)
}

// Skip leaves requests to the handler, before it runs. (For a function of the
// framework's own context, adapters have WithSkip.)
func ExamplePolicy_skip() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTL:  30 * time.Second,
		Skip: func(r *cacheaside.Request) bool { return strings.HasPrefix(r.Path, "/admin/") },
	}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(saying("hello"))

	visit(service, "/admin/users")
	visit(service, "/admin/users")
	// Output:
	// /admin/users: hello (fwd=bypass, detail=skip)
	// /admin/users: hello (fwd=bypass, detail=skip)
}

// The handler tags its response, and whoever changes the data purges the tag.
func ExampleAddTags() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}}))
	defer cache.Close(context.Background())
	name := "Ada"
	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cacheaside.AddTags(r.Context(), "user-7") // or the field Cache-Tag: user-7
		_, _ = fmt.Fprint(w, name)
	}))

	visit(service, "/users/7")
	visit(service, "/users/7")
	name = "Grace" // first the database …
	if err := cache.PurgeTags(context.Background(), "user-7"); err != nil {
		fmt.Println(err) // … and then the purge: with an error it may not be effective
	}
	visit(service, "/users/7")
	// Output:
	// /users/7: Ada (fwd=miss)
	// /users/7: Ada (hit)
	// /users/7: Grace (fwd=miss, detail=purged)
}

// Browsers validate what they have each time, and the cache answers them without the handler.
func ExampleSetTTL() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache") // for browsers
		cacheaside.SetTTL(r.Context(), time.Hour)   // for the cache
		_, _ = fmt.Fprint(w, "page")
	}))

	visit(service, "/")
	visit(service, "/")
	// Output:
	// /: page (fwd=miss)
	// /: page (hit)
}

// Errors inside of a 200 are not stored, and empty results only briefly.
func ExampleStoringPolicy_decide() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTL: time.Hour,
		Storing: cacheaside.StoringPolicy{Decide: func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
			switch {
			case strings.Contains(string(r.Body), `"errors":`):
				return cacheaside.Decision{NoStore: true, KeepStale: true}
			case string(r.Body) == "[]":
				return cacheaside.Decision{TTL: 5 * time.Second}
			}
			return cacheaside.Decision{}
		}},
	}}))
	defer cache.Close(context.Background())
	failing, empty := nethttp.New(cache)(saying(`{"errors":[]}`)), nethttp.New(cache)(saying("[]"))

	visit(failing, "/failing")
	visit(failing, "/failing")
	visit(empty, "/empty")
	visit(empty, "/empty")
	// Output:
	// /failing: {"errors":[]} (fwd=miss, detail=decided)
	// /failing: {"errors":[]} (fwd=miss, detail=decided)
	// /empty: [] (fwd=miss)
	// /empty: [] (hit)
}

// Purge takes tags, URLs and prefixes, all together.
func ExampleCache_Purge() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(saying("page"))
	paths := []string{"/about", "/blogs", "/blogs/1?page=2", "/news"}
	for _, path := range paths {
		visit(service, path)
	}

	err := cache.Purge(context.Background(), cacheaside.Purge{
		URLs:     []string{"https://example.com/about"},
		Prefixes: []string{"https://example.com/blogs"},
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, path := range paths {
		visit(service, path)
	}
	// Output:
	// /about: page (fwd=miss)
	// /blogs: page (fwd=miss)
	// /blogs/1?page=2: page (fwd=miss)
	// /news: page (fwd=miss)
	// /about: page (fwd=miss, detail=purged)
	// /blogs: page (fwd=miss, detail=purged)
	// /blogs/1?page=2: page (fwd=miss, detail=purged)
	// /news: page (hit)
}

// An old answer stands in for an error.
func ExampleStalePolicy() {
	clock := newClock()
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Policy: cacheaside.Policy{
			TTL:   time.Minute,
			Stale: cacheaside.StalePolicy{IfError: time.Hour},
		},
		Now: clock.Now,
	}))
	defer cache.Close(context.Background())
	broken := false
	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken {
			http.Error(w, "the database is gone", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprint(w, "news")
	}))

	visit(service, "/news")
	clock.Advance(2 * time.Minute)
	broken = true
	visit(service, "/news")
	// Output:
	// /news: news (fwd=miss)
	// /news: news (fwd=stale, detail=stale-if-error)
}

// A search by QUERY is answered from the cache, its content being part of the key.
func ExampleContentPolicy() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTL: time.Minute,
		Requests: cacheaside.RequestPolicy{
			Methods: []string{"GET", "HEAD", "QUERY"},
			Content: cacheaside.ContentPolicy{Normalize: func(_ *cacheaside.Request, content []byte) ([]byte, bool) {
				return bytes.ToLower(content), true
			}},
		},
	}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "what there is about %s", content)
	}))

	for _, content := range []string{"Gophers", "gophers", "crabs"} {
		r := httptest.NewRequest("QUERY", "https://example.com/search", strings.NewReader(content))
		r.Header.Set("Content-Type", "text/plain")
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		status, _, _ := strings.Cut(w.Header().Get("Cache-Status"), "; ttl")
		fmt.Printf("%s (%s)\n", w.Body, status)
	}
	// Output:
	// what there is about Gophers (cacheaside; fwd=miss)
	// what there is about Gophers (cacheaside; hit)
	// what there is about crabs (cacheaside; fwd=miss)
}

// Each user has entries of their own. (For a function of the framework's own context,
// adapters have WithPartition.)
func ExampleKeyPolicy_partition() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTL: time.Minute,
		Key: cacheaside.KeyPolicy{Partition: func(r *cacheaside.Request) string {
			// As an authentication in front of the cache has it.
			return strings.Join(r.Header.Values("X-User"), "")
		}},
	}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "hello "+r.Header.Get("X-User"))
	}))

	visit(service, "/me", "X-User", "ada")
	visit(service, "/me", "X-User", "grace")
	visit(service, "/me", "X-User", "ada")
	// Output:
	// /me: hello ada (fwd=miss)
	// /me: hello grace (fwd=miss)
	// /me: hello ada (hit)
}

// mapStore is the least that a store can be: see package store. One that orders fills
// and purges is a store.Coordinator as well.
type mapStore struct {
	mu      sync.Mutex
	entries map[string]mapEntry
}

type mapEntry struct {
	value   []byte
	expires time.Time
}

func (s *mapStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.entries[key]
	if !found || time.Now().After(e.expires) {
		return nil, false, nil
	}
	return e.value, true, nil
}

func (s *mapStore) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key] = mapEntry{value, time.Now().Add(ttl)}
	return nil
}

func (s *mapStore) Delete(_ context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return nil
}

func (s *mapStore) Close() error { return nil }

var _ store.Store = (*mapStore)(nil)

// A store of your own: four methods are enough to cache, and to purge URLs.
func ExampleConfig_store() {
	own := &mapStore{entries: map[string]mapEntry{}}
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Store: own, Policy: cacheaside.Policy{TTL: time.Minute}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(saying("news"))

	visit(service, "/news")
	if err := cache.Flush(context.Background()); err != nil { // what is on its way to the store has arrived
		fmt.Println(err)
	}
	visit(service, "/news")
	err := cache.PurgeTags(context.Background(), "news")
	fmt.Println("purging a tag:", errors.Is(err, cacheaside.ErrCannotPurge))
	fmt.Println("purging a URL:", cache.PurgeURL(context.Background(), "https://example.com/news"))
	visit(service, "/news")
	// Output:
	// /news: news (fwd=miss)
	// /news: news (hit)
	// purging a tag: true
	// purging a URL: <nil>
	// /news: news (fwd=miss, detail=purged)
}

// Whatever the cache does can be logged, counted or measured.
func ExampleConfig_observer() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Policy: cacheaside.Policy{TTL: time.Minute},
		Observer: observe.Func(func(e *observe.Event) {
			if e.Kind == observe.KindRequest {
				fmt.Printf("%s: %s, cause=%q, not_stored=%q\n", e.Route, e.Result, e.Cause, e.NotStored)
			}
		}),
	}))
	defer cache.Close(context.Background())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a blog") })
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private")
		fmt.Fprint(w, "you")
	})
	h := nethttp.New(cache)(mux)
	for _, target := range []string{"/blogs/1", "/blogs/1", "/me"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
	}
	// Output:
	// /blogs/{id}: miss, cause="cold", not_stored=""
	// /blogs/{id}: hit, cause="", not_stored=""
	// /me: miss, cause="cold", not_stored="private"
}
