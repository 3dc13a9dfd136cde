package memory_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestFirstOfATag: each first response with a new tag is stored, while tags and URLs of
// others are purged twenty times a second.
func TestFirstOfATag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := coretest.NewCache(t)
		h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(50 * time.Millisecond)
			w.Header().Set("Cache-Tag", "tag-of-"+r.URL.Path[1:])
			_, _ = w.Write([]byte("hello"))
		}))
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Second / 20):
				}
				if err := cache.PurgeTags(context.Background(), "other-"+strconv.Itoa(i)); err != nil {
					t.Error(err)
				}
				if err := cache.PurgeURL(context.Background(), "http://example.com/other/"+strconv.Itoa(i)); err != nil {
					t.Error(err)
				}
			}
		}()
		const n = 39
		for range 2 {
			for i := range n {
				coretest.Get(h, "http://example.com/"+strconv.Itoa(i))
			}
		}
		close(stop)
		synctest.Wait()
		if got := cache.Stats(); got.Stores != n || got.Hits != n || got.Misses != n || got.Overtaken != 0 {
			t.Errorf("%d of %d first responses were stored, %d are hits: %+v", got.Stores, n, got.Hits, got)
		}
	})
}

// TestPurgedInMemory: a soft purge of any of its tags makes a response stale, a hard one
// removes it, and a purge of another tag does neither.
func TestPurgedInMemory(t *testing.T) {
	cache, runs := coretest.NewCache(t), 0
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		runs++
		w.Header().Set("Cache-Tag", "a, b")
		_, _ = w.Write([]byte(strconv.Itoa(runs)))
	}))
	softPurgeTags := func(ctx context.Context, tags ...string) error {
		return cache.Purge(ctx, cacheaside.Purge{Tags: tags, Soft: true})
	}
	for i, step := range []struct {
		purge func(context.Context, ...string) error
		tag   string
		want  int
		how   string
	}{
		{nil, "", 1, "fwd=miss"},
		{nil, "", 1, "hit"},
		{softPurgeTags, "c", 1, "hit"},
		{cache.PurgeTags, "c", 1, "hit"},
		{softPurgeTags, "b", 2, "fwd=stale"},
		{nil, "", 2, "hit"},
		{cache.PurgeTags, "a", 3, "fwd=miss"},
		{nil, "", 3, "hit"},
	} {
		if step.purge != nil {
			if err := step.purge(context.Background(), step.tag); err != nil {
				t.Fatal(err)
			}
		}
		res := coretest.Get(h, "http://example.com/")
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != strconv.Itoa(step.want) || !strings.Contains(res.Header.Get("Cache-Status"), step.how) {
			t.Errorf("step %d: got %s, %v with %q, want %d, %s", i, b, err, res.Header.Get("Cache-Status"), step.want, step.how)
		}
	}
}
