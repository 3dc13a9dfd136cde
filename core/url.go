package cacheaside

import (
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
)

// A purge names a public URL, and knows nothing of policies. It can name the key of what
// is stored only where that is made of the URL alone, as most keys are. Everything else
// is tagged with its URL, as [keys.Maker.AppendURL] writes it. Where a policy leaves the
// host or parameters out, what is stored answers for other URLs as well, and has a tag
// for all of them.

// urls knows in what ways the handles of a cache, and other caches of its namespace,
// tell URLs apart.
type urls struct {
	ways    atomic.Pointer[[]keys.Maker] // to write a URL: whole, and those that leave something out
	mu      sync.Mutex
	ids     map[uint64]bool
	unnamed atomic.Bool // something was stored under a key that a purge cannot name
	// searching is set while a way with a No-Vary-Search is known: something may answer for
	// other URLs.
	searching atomic.Bool
}

// learn takes note of ways.
func (u *urls) learn(ways []purges.Way) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := *u.ways.Load()
	for i := range ways {
		if w := &ways[i]; !u.ids[w.ID()] {
			if u.ids == nil {
				u.ids = map[uint64]bool{}
			}
			u.ids[w.ID()] = true
			known = append(known[:len(known):len(known)], makerOf(w))
			if w.Search != "" {
				u.searching.Store(true)
			}
		}
	}
	u.ways.Store(&known)
}

// knows reports whether a purge of this process would reach what is tagged in that way.
func (u *urls) knows(w *purges.Way) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ids[w.ID()]
}

// project reports whether anybody leaves something out.
func (u *urls) project() bool { return len(u.all()) > 1 }

// all are the ways to write a URL, first the whole one.
func (u *urls) all() []keys.Maker { return *u.ways.Load() }

func (u *urls) whole() keys.Maker { return u.all()[0] }

// named reports whether a purge of the URL of req can name the primary key.
func (c *Cache) named(primary string, req *keys.Request) bool {
	url := keys.URLOf(primary)
	if url == "" || req.Target != "" || req.Partition != "" || len(req.PublicHosts()) > 0 {
		return false
	}
	text, ok := c.urls.whole().AppendURL(make([]byte, 0, 128), req)
	return ok && url == string(text)
}

// urlTags appends the tags that stand for the URL of req, as it came and as an outer
// layer has rewritten it.
func (c *Cache) urlTags(tags []string, req *keys.Request) []string {
	return urlTagsBy(tags, req, c.urls.whole(), c.keys)
}

// urlTagsBy is urlTags for some ways to write a URL.
func urlTagsBy(tags []string, req *keys.Request, ways ...keys.Maker) []string {
	requests := []keys.Request{*req}
	if before, ok := received(*req); ok && req.Target != "" {
		requests = append(requests, before)
	}
	n := len(requests)
	for _, host := range req.PublicHosts() {
		for _, public := range requests[:n:n] {
			public.Host = host
			requests = append(requests, public)
		}
	}
	for i := range requests {
		for _, k := range ways {
			if url, ok := k.AppendURL([]byte(purges.OfURL), &requests[i]); ok {
				tags = append(tags, string(url))
			}
		}
	}
	return tags
}

// purgedURLs are all texts that stand for the URL of req in whatever policy; none where
// that is too long for anything to be stored.
func (c *Cache) purgedURLs(req *keys.Request) (texts []string) {
	for _, k := range c.urls.all() {
		if url, ok := k.AppendURL(nil, req); ok && !slices.Contains(texts, string(url)) {
			texts = append(texts, string(url))
		}
	}
	return texts
}

// namedKeys are the keys in the store that a purge of urls can name.
func (s *shared) namedKeys(urls []string) (named []keys.Key) {
	for _, url := range urls {
		named = s.urls.whole().AppendURLKeys(named, url)
	}
	return named
}

// received returns req with path and query as they were before an outer layer
// rewrote them: who purges a URL, or names it in Location, knows nothing of that.
func received(req keys.Request) (keys.Request, bool) {
	u, err := url.ParseRequestURI(req.Target)
	if err != nil || u.Opaque != "" {
		return req, false
	}
	if req.Path, req.RawQuery = u.EscapedPath(), u.RawQuery; req.Path == "" {
		req.Path = "/"
	}
	return req, true
}
