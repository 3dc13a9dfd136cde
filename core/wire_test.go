package cacheaside_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

// wire is a store that notes the keys that it is given, by what is done with
// them.
type wire struct {
	m    *standin
	mu   sync.Mutex
	keys map[string]map[string]bool
	bad  []string
}

func (w *wire) note(call string, keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[string]map[string]bool{}
	}
	if w.keys[call] == nil {
		w.keys[call] = map[string]bool{}
	}
	for _, key := range keys {
		w.keys[call][key] = true
		if len(key) < 17 || strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 ||
			strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 || strings.Index(key, "}")-strings.Index(key, "{") < 2 {
			w.bad = append(w.bad, call+" "+key)
		}
		if tag := slotTag(key); tag != slotTag(keys[0]) {
			w.bad = append(w.bad, fmt.Sprintf("%s: %q and %q do not share a slot", call, key, keys[0]))
		}
	}
}

func slotTag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, _ := strings.Cut(rest, "}")
	return tag
}

func (w *wire) Get(ctx context.Context, key string) ([]byte, bool, error) {
	w.note("Get", key)
	return w.m.Get(ctx, key)
}

func (w *wire) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	w.note("Set", key)
	return w.m.Set(ctx, key, value, ttl)
}

func (w *wire) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		w.note("Delete", key)
	}
	return w.m.Delete(ctx, keys...)
}

func (w *wire) Close() error { return w.m.Close() }

func (w *wire) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	w.note("Begin", f.Lock)
	if f.Key != "" {
		w.note("Begin's value", f.Lock, f.Key)
	}
	w.note("Begin's stamps", append([]string{f.Clock}, f.Stamps...)...)
	return w.m.Begin(ctx, f)
}

func (w *wire) CompareAndExtend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	w.note("CompareAndExtend", key)
	return w.m.CompareAndExtend(ctx, key, token, ttl)
}

func (w *wire) CompareAndSwap(ctx context.Context, key, token, next string, ttl time.Duration) (bool, error) {
	w.note("CompareAndSwap", key)
	return w.m.CompareAndSwap(ctx, key, token, next, ttl)
}

func (w *wire) Write(ctx context.Context, f store.Write) (store.Written, error) {
	keys := []string{f.Lock}
	for _, v := range f.Values {
		keys = append(keys, v.Key)
	}
	w.note("Write", keys...)
	w.note("Write's stamps", append([]string{f.Clock}, f.Stamps...)...)
	return w.m.Write(ctx, f)
}

func (w *wire) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	w.note("Bump", append([]string{clock}, keys...)...)
	return w.m.Bump(ctx, clock, keys, soft, at, ttl)
}

func (w *wire) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	w.note("ReadJournal", clock)
	return w.m.ReadJournal(ctx, clock)
}

func (w *wire) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	w.note("WriteJournal", clock)
	return w.m.WriteJournal(ctx, clock, old, text)
}

func (w *wire) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	w.note("Stamps", keys...)
	return w.m.Stamps(ctx, dst, keys)
}

func (w *wire) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	w.note("GetStamped", key)
	w.note("GetStamped's stamps", keys...)
	return w.m.GetStamped(ctx, key, dst, keys)
}

// TestKeysOnTheWire: whatever is asked, stored, locked or purged, all keys are
// printable ASCII of 17 bytes or more with one hash tag, as Dragonfly does not
// tell of the end of others; and those of one call share it.
func TestKeysOnTheWire(t *testing.T) {
	for _, namespace := range []string{"a", strings.Repeat("n", 64)} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{m: newStandin()}
			t.Cleanup(func() { _ = w.Close() })
			cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
				Store:     w,
				Namespace: namespace,
				Policy: cacheaside.Policy{
					TTL: time.Hour,
					Key: cacheaside.KeyPolicy{Headers: []string{"X-Key"}, IgnoreScheme: true, IgnoreHost: namespace == "a", Partition: func(r *cacheaside.Request) string { return first(r.Header.Values("X-User")) }},
				},
			}))
			t.Cleanup(func() { _ = cache.Close(context.Background()) })
			h := nethttp.New(cache)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch r.Header.Get("X-How") {
				case "vary":
					rw.Header().Set("Vary", "Accept")
				case "slow":
					time.Sleep(5 * time.Second) // longer than the lock lasts
				case "private":
					rw.Header().Set("Cache-Control", "private")
				case "stale":
					rw.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
				}
				for _, name := range []string{"Cache-Tag", "Cache-Groups", "Cache-Group-Invalidation"} {
					if v := r.Header.Get("X-" + name); v != "" {
						rw.Header().Set(name, v)
					}
				}
				cacheaside.AddTags(r.Context(), r.Header.Values("X-Add")...)
				_, _ = io.WriteString(rw, "x")
			}))
			send := func(method, target string, fields ...string) {
				r := httptest.NewRequest(method, target, nil)
				for i := 0; i+1 < len(fields); i += 2 {
					r.Header.Add(fields[i], fields[i+1])
				}
				r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{Handler: h}))
				h.ServeHTTP(httptest.NewRecorder(), r)
				must(t, cache.Flush(context.Background()))
			}
			targets := []string{"/", "/a", "/ä?ö=%FF&x={y}", "/%7B%7D|^", "/?" + strings.Repeat("q", 500), "http://Hä.example:8080/x", "http://[::1]/", "//"}
			fields := [][]string{
				nil, {"X-How", "vary", "Accept", "ü"}, {"X-How", "private"}, {"X-How", "stale"}, {"X-Key", "ü{}"}, {"X-User", "ü}"}, {"Authorization", "x"},
				{"X-Cache-Tag", "a"}, {"X-Cache-Tag", "a,ü, {b}"}, {"X-Cache-Groups", `"g", "` + strings.Repeat("g", 400) + `"`}, {"X-Add", "\x00\n}{ ü"},
				{"X-Add", strings.Repeat("ü", 128)}, {"X-Add", "x"}, {"X-Cache-Tag", "a", "X-How", "vary", "X-Key", "k"},
			}
			ctx := context.Background()
			for i, target := range targets {
				for j, f := range fields {
					more := append(slices.Clone(f), "X-Key", fmt.Sprint(j))
					for range 3 {
						send(http.MethodGet, target, more...)
					}
					send(http.MethodHead, target, more...)
				}
				send(http.MethodGet, target, "X-How", "slow", "X-Key", fmt.Sprint("slow", i))
				send(http.MethodPost, target, "X-Cache-Group-Invalidation", `"g", ""`)
				send("PURGE", target)
			}
			time.Sleep(2 * time.Minute) // the tags under a key are not remembered any more
			send(http.MethodGet, "/a", append(slices.Clone(fields[7]), "X-Key", "7")...)
			for _, tags := range [][]string{{"x"}, {"ü"}, {"{", "}"}, {strings.Repeat("ü", 128)}, {"\x00"}} {
				must(t, cache.PurgeTags(ctx, tags...))
				must(t, cache.Purge(ctx, cacheaside.Purge{Tags: tags, Soft: true}))
			}
			for _, u := range []string{"http://h", "http://h/ä{}?q=ü", "http://h/" + strings.Repeat("x", 1000)} {
				must(t, cache.PurgeURL(ctx, u))
				must(t, cache.Purge(ctx, cacheaside.Purge{Prefixes: []string{u}}))
			}
			must(t, cache.Purge(ctx, cacheaside.Purge{All: true}))
			time.Sleep(time.Minute)
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, bad := range w.bad[:min(len(w.bad), 20)] {
				t.Errorf("namespace %.5s: %q", namespace, bad)
			}
			for _, call := range []string{"Get", "Delete", "Begin", "Begin's value", "Begin's stamps", "CompareAndExtend", "CompareAndSwap", "Write", "Write's stamps", "Bump", "ReadJournal", "WriteJournal", "Stamps", "GetStamped", "GetStamped's stamps"} {
				if len(w.keys[call]) == 0 {
					t.Errorf("nothing called %s", call)
				}
			}
		})
	}
}
