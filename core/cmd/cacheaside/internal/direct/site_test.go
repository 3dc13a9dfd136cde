package direct_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
)

const (
	long   = 30 * time.Second // the machine may be slow
	secret = "sEcReT"         // is a part of all that must not be shown
)

// site is a service whose cache is on a server of the test's own.
type site struct {
	t       *testing.T
	addr    string
	cache   *cacheaside.Cache
	raw     rueidis.Client
	answer  http.HandlerFunc
	handler http.Handler
}

// newSite starts a service of a namespace on a server, which is one node of several where
// it is a cluster.
func newSite(t *testing.T, addr, namespace string, key cacheaside.KeyPolicy) *site {
	t.Helper()
	w := &site{t: t, addr: addr}
	quiet := slog.New(slog.DiscardHandler)
	store, err := storetest.Patiently(func() (*dragonfly.Store, error) {
		return dragonfly.Open(t.Context(), addr, dragonfly.WithLogger(quiet))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.raw = store.Client()
	w.cache, err = cacheaside.New(cacheaside.Config{
		Store: store, Namespace: namespace, Logger: quiet,
		Policy:   cacheaside.Policy{TTL: time.Hour, Key: key, Storing: cacheaside.StoringPolicy{MaxBytes: 4 << 20}},
		Timeouts: cacheaside.Timeouts{Lookup: long, Write: long, Purge: long, Lock: long},
		Breaker:  cacheaside.Breaker{Failures: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.cache.Close(context.Background())
		_ = store.Close()
	})
	w.answer = func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "the body of ", r.URL.Path) }
	w.serve(w.cache)
	return w
}

// get asks the service, and returns when its response is stored.
func (w *site) get(url string, header ...string) {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	if rec.Code != http.StatusOK && rec.Code != http.StatusPartialContent {
		w.t.Fatalf("%s: %d %s", url, rec.Code, rec.Header().Get("Cache-Status"))
	}
	if err := w.cache.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// do gives the server a command.
func (w *site) do(args ...string) string {
	w.t.Helper()
	m, err := w.raw.Do(w.t.Context(), w.raw.B().Arbitrary(args[0]).Keys(args[1:2]...).Args(args[2:]...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		w.t.Fatalf("%.80q: %v", args, err)
	}
	return m.String()
}

// keys are all on the server, with a digest of each value.
func (w *site) dump() (all []string) {
	w.t.Helper()
	keys, err := w.raw.Do(w.t.Context(), w.raw.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys {
		b, _ := w.raw.Do(w.t.Context(), w.raw.B().Dump().Key(key).Build()).ToString()
		all = append(all, fmt.Sprintf("%s %q", key, b))
	}
	slices.Sort(all)
	return all
}

// open reads the store of a service by itself.
func open(t *testing.T, url, namespace string, now ...func() time.Time) *direct.Store {
	t.Helper()
	o := direct.Options{Timeout: long}
	if len(now) > 0 {
		o.Now = now[0]
	}
	s, err := storetest.Patiently(func() (*direct.Store, error) { return direct.Open(t.Context(), url, namespace, o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// find requires an answer without an error.
func find(t *testing.T, s *direct.Store, url string, header ...string) []inspect.Found {
	t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	found, err := s.Find(t.Context(), url, h)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return found
}

// texts are those of the keys found.
func texts(found []inspect.Found) (all []string) {
	for _, f := range found {
		all = append(all, f.Key.Text)
	}
	return all
}

// one requires that there is one key with one entry.
func one(t *testing.T, found []inspect.Found) (inspect.Found, inspect.Entry) {
	t.Helper()
	if len(found) != 1 || len(found[0].Entries) != 1 {
		t.Fatalf("found %+v", found)
	}
	return found[0], found[0].Entries[0]
}

// all are the items of all pages.
func all(t *testing.T, s *direct.Store, prefix string, limit int) (items []direct.Item, pages int) {
	t.Helper()
	seen := map[string]bool{}
	for cursor := ""; ; {
		p, err := s.List(t.Context(), prefix, limit, cursor)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, it := range p.Items {
			if !seen[it.Key.ID] {
				items = append(items, it)
			}
			seen[it.Key.ID] = true
		}
		if cursor = p.Next; cursor == "" {
			return items, pages
		}
		if pages > 10_000 {
			t.Fatal("the pages do not end")
		}
	}
}

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// serve puts a handle of the cache in front of the handler.
func (w *site) serve(cache *cacheaside.Cache) {
	w.handler = nethttp.New(cache)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.answer(rw, r) }))
}

// with gives the handler another policy.
func (w *site) with(change func(*cacheaside.Policy)) {
	w.t.Helper()
	cache, err := w.cache.With(change)
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(cache)
}
