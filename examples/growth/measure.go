package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

const (
	round  = 200 // calls
	rounds = 5   // at least
	host   = "example.com"
)

// site is a service behind a cache.
type site struct {
	cache   *cacheaside.Cache
	handler http.Handler
}

// newSite has bodies of so many bytes, with so many tags.
func newSite(cache *cacheaside.Cache, bytes, tags int) *site {
	body := []byte(strings.Repeat("0123456789abcdef", bytes/16+1)[:bytes])
	return &site{cache, nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if tags > 0 {
			w.Header().Set("Cache-Tag", tagsOf(r.URL.Path, tags))
		}
		_, _ = w.Write(body)
	}))}
}

const everyTag = "every"

// tagsOf are one that all responses have, and those that ten of them share.
func tagsOf(path string, n int) string {
	i, _ := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:])
	tags := make([]string, n)
	tags[0] = everyTag
	for j := 1; j < n; j++ {
		tags[j] = fmt.Sprintf("blog-%d-%d", i/10, j)
	}
	return strings.Join(tags, ",")
}

func pathOf(i int) string { return "/blogs/" + strconv.Itoa(i) }

// client asks again and again with the same request and writer, so that they cost
// nothing.
type client struct {
	*site
	r *http.Request
	w writer
}

func (s *site) client() *client {
	return &client{site: s, r: httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+host+"/", nil), w: writer{header: http.Header{}}}
}

func (c *client) get(path string) {
	clear(c.w.header)
	c.r.URL.Path, c.r.RequestURI = path, path
	c.handler.ServeHTTP(&c.w, c.r)
}

type writer struct{ header http.Header }

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) WriteHeader(int)             {}
func (w *writer) Write(b []byte) (int, error) { return len(b), nil }

// load stores the first n responses.
func (s *site) load(ctx context.Context, n int) error {
	const clients, part = 8, 4096 // less at a time than may be on its way to the store
	before := s.cache.Stats()
	for done := 0; done < n; done += part {
		var all sync.WaitGroup
		for k := range clients {
			all.Go(func() {
				c := s.client()
				for i := done + k; i < min(done+part, n); i += clients {
					c.get(pathOf(i))
				}
			})
		}
		all.Wait()
		if err := errors.Join(s.stored(before, min(done+part, n)), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// stored waits until n more responses are in the store than before.
func (s *site) stored(before cacheaside.Stats, n int) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Microsecond) {
		now := s.cache.Stats()
		lost := now.Overtaken + now.Contended + now.Refused + now.TagsRefused + now.StoresDropped + now.StoreErrors
		switch stores := now.Stores - before.Stores; {
		case stores == uint64(n):
			return nil
		case stores > uint64(n) || lost > 0 || time.Now().After(deadline):
			return fmt.Errorf("%d of %d responses were stored: %+v", stores, n, now)
		}
	}
}

// best is what one call of op costs in the best of many rounds; prepare comes before
// each, and end belongs to it.
func best(each time.Duration, prepare func(), op func(i int) error, end func() error) (time.Duration, error) {
	cost := time.Duration(1<<63 - 1)
	start := time.Now()
	for n := 0; n < rounds || time.Since(start) < each; n++ {
		prepare()
		begun := time.Now()
		for i := range round {
			if err := op(i); err != nil {
				return 0, err
			}
		}
		if err := end(); err != nil {
			return 0, err
		}
		cost = min(cost, time.Since(begun))
	}
	return cost / round, nil
}

// measure makes a cache with so many entries, and measures it.
func (g growth) measure(ctx context.Context, kind string, tags, size int) (cost costs, err error) {
	st, err := open(ctx, kind, g.addr)
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	cache, err := cacheaside.New(cacheaside.Config{
		Store:     st.Store,
		Namespace: st.namespace,
		Logger:    slog.New(slog.DiscardHandler),
		Timeouts:  cacheaside.Timeouts{Lookup: 10 * time.Second, Write: 10 * time.Second, Purge: 10 * time.Second},
		Policy:    cacheaside.Policy{TTL: 24 * time.Hour},
	})
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, cache.Close(context.WithoutCancel(ctx))) }()
	s := newSite(cache, g.bytes, tags)
	c := s.client()

	before, err := st.used(ctx)
	if err == nil {
		err = s.load(ctx, size)
	}
	if err != nil {
		return cost, err
	}
	after, err := st.used(ctx)
	if err != nil {
		return cost, err
	}
	cost.bytes = (after - before) / int64(size)

	paths := make([]string, round)
	atRandom := func() {
		for i := range paths {
			paths[i] = pathOf(rand.IntN(size))
		}
	}
	var was cacheaside.Stats
	cost.hit, err = best(g.each, func() { atRandom(); was = cache.Stats() }, func(i int) error {
		c.get(paths[i])
		return nil
	}, func() error {
		if now := cache.Stats(); now.Hits-was.Hits != round {
			return fmt.Errorf("%d of %d requests were hits: %+v", now.Hits-was.Hits, round, now)
		}
		return ctx.Err()
	})
	if err != nil {
		return cost, err
	}

	next := size
	cost.fill, err = best(g.each, func() {
		for i := range paths {
			paths[i] = pathOf(next + i)
		}
		next += round
		was = cache.Stats()
	}, func(i int) error {
		c.get(paths[i])
		return nil
	}, func() error {
		if now := cache.Stats(); now.Misses-was.Misses != round {
			return fmt.Errorf("%d of %d requests were misses: %+v", now.Misses-was.Misses, round, now)
		}
		return errors.Join(s.stored(was, round), ctx.Err())
	})
	if err != nil {
		return cost, err
	}

	cost.url, err = best(g.each, atRandom, func(i int) error {
		return cache.PurgeURL(ctx, "http://"+host+paths[i])
	}, ctx.Err)
	if err == nil {
		err = c.gone(paths[0])
	}
	if tags == 0 || err != nil {
		return cost, err
	}
	cost.tag, err = best(g.each, func() {}, func(int) error { return cache.PurgeTags(ctx, everyTag) }, ctx.Err)
	if err == nil {
		err = c.gone(pathOf(next - 1))
	}
	return cost, err
}

// gone checks that a purge has removed what was under path.
func (c *client) gone(path string) error {
	was := c.cache.Stats()
	c.get(path)
	if now := c.cache.Stats(); now.Misses != was.Misses+1 {
		return fmt.Errorf("%s was purged, and no miss: %+v", path, now)
	}
	return nil
}
