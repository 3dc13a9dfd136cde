package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

const (
	host   = "example.com"
	shared = 10 // entries have the same tags
)

// shape is what the responses are like.
type shape struct {
	Bytes int  // of a body
	Tags  int  // that ten responses share
	Every bool // one more tag, which all of them have
}

// site is a service behind a cache.
type site struct {
	*target
	cache   *cacheaside.Cache
	handler http.Handler
	calls   atomic.Int64 // of the handler behind the cache
	slow    atomic.Int64 // how long it takes, in nanoseconds
}

func newSite(t *target, namespace string, sh shape) (*site, error) {
	long := 10 * time.Second // a busy machine is no reason to give up
	cache, err := cacheaside.New(cacheaside.Config{
		Store:     t.Store,
		Namespace: namespace,
		Logger:    slog.New(slog.DiscardHandler),
		Timeouts:  cacheaside.Timeouts{Lookup: long, Write: long, Purge: long},
		Policy:    cacheaside.Policy{TTL: 24 * time.Hour},
	})
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	s := &site{target: t, cache: cache}
	body := []byte(strings.Repeat("0123456789abcdef", sh.Bytes/16+1)[:sh.Bytes])
	s.handler = nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		if d := s.slow.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		w.Header().Set("Content-Type", "text/plain")
		if tags := tagsOf(r.URL.Path, sh); tags != "" {
			w.Header().Set("Cache-Tag", tags)
		}
		_, _ = w.Write(body)
	}))
	return s, nil
}

func (s *site) close(ctx context.Context) error {
	return errors.Join(s.cache.Close(context.WithoutCancel(ctx)), s.Close())
}

// Ten entries have the same name of a group in their paths and tags, always as long.
const everyTag = "every"

func groupName(group int) string { return fmt.Sprintf("g%08d", group) }

func pathOf(i int) string { return "/blogs/" + groupName(i/shared) + "/" + strconv.Itoa(i%shared) }

func urlOf(i int) string { return "http://" + host + pathOf(i) }

func tagOf(group, n int) string { return groupName(group) + "-" + strconv.Itoa(n) }

func tagsOf(path string, sh shape) string {
	name := path[len("/blogs/"):strings.LastIndexByte(path, '/')]
	tags := make([]string, 0, sh.Tags+1)
	for n := range sh.Tags {
		tags = append(tags, name+"-"+strconv.Itoa(n))
	}
	if sh.Every {
		tags = append(tags, everyTag)
	}
	return strings.Join(tags, ",")
}

// client asks again and again with the same request and writer, so that they cost
// nothing. It is not for concurrent use.
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

// load has the entries stored, by clients at the same time. All of them must be misses.
func (s *site) load(ctx context.Context, entries []int) error {
	const clients, part = 8, 4096 // less at a time than may be on its way to the store
	for len(entries) > 0 {
		some := entries[:min(part, len(entries))]
		entries = entries[len(some):]
		was := s.cache.Stats()
		var all sync.WaitGroup
		for k := range clients {
			all.Go(func() {
				c := s.client()
				for i := k; i < len(some); i += clients {
					c.get(pathOf(some[i]))
				}
			})
		}
		all.Wait()
		if err := errors.Join(s.stored(was, len(some)), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// stored waits until n more responses are in the store than before, as many as were misses.
func (s *site) stored(was cacheaside.Stats, n int) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Microsecond) {
		now := s.cache.Stats()
		lost := now.Overtaken + now.Contended + now.Refused + now.TagsRefused + now.StoresDropped + now.StoreErrors -
			(was.Overtaken + was.Contended + was.Refused + was.TagsRefused + was.StoresDropped + was.StoreErrors)
		misses, stores := now.Misses-was.Misses, now.Stores-was.Stores
		switch {
		case stores == uint64(n) && misses == uint64(n):
			return nil
		case misses != uint64(n) || lost > 0 || time.Now().After(deadline):
			return fmt.Errorf("of %d requests %d were misses and %d were stored: %+v", n, misses, stores, now)
		}
	}
}

// mostly is how many of the hits the near tier must answer, where there is one. It may
// never learn that an entry is read often, where two of its many tags share a place in the
// table of what was read last.
const mostly = 0.8

// count checks that all of n requests were hits, and near ones where there is a near tier.
func (s *site) count(was cacheaside.Stats, n int) error {
	now := s.cache.Stats()
	if hits := now.Hits - was.Hits; hits != uint64(n) {
		return fmt.Errorf("%d of %d requests were hits: %+v", hits, n, now)
	}
	if near := now.Near - was.Near; s.kind == nearTier && float64(near) < mostly*float64(n) {
		return fmt.Errorf("%d of %d hits were answered by the near tier: %+v", near, n, now)
	}
	return nil
}

// upTo are the numbers from one to another.
func upTo(from, to int) []int {
	all := make([]int, 0, max(0, to-from))
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}
