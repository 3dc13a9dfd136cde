package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// ErrCannotPurge is returned, wrapped, where the store is no [Coordinator]: then only
// PurgeURL works, without its guarantees, and only for what has a key of its URL alone.
var ErrCannotPurge = errors.New("the store keeps no purge stamps: use one that is a store.Coordinator")

// PurgeTags removes all responses that have one of the tags (see [AddTags]; the
// handler may set Cache-Tag or Surrogate-Key instead). Once it has returned
// without an error, no request that begins later is answered with one of them,
// in any process that shares the store, even if a handler was producing it at
// the time. It costs the same whatever the number of responses.
//
// An error means that the store has not acknowledged: purge again.
func (c *Cache) PurgeTags(ctx context.Context, tags ...string) error {
	return c.purgeTags(ctx, tags, false)
}

// SoftPurgeTags is PurgeTags, but makes the responses stale instead of removing
// them. For a minute at least, or for as long as they have
// stale-while-revalidate, one of them answers while it is being renewed in the
// background.
func (c *Cache) SoftPurgeTags(ctx context.Context, tags ...string) error {
	return c.purgeTags(ctx, tags, true)
}

func (c *Cache) purgeTags(ctx context.Context, tags []string, soft bool) error {
	own := make([]string, len(tags))
	for i, tag := range tags {
		if err := checkTag(tag); err != nil {
			return err
		}
		own[i] = ofHandler + tag
	}
	return c.raise(insisting(ctx), "PurgeTags", own, soft)
}

// raise purges tags in their stored form.
func (c *Cache) raise(ctx context.Context, what string, tags []string, soft bool) error {
	if len(tags) == 0 {
		return nil
	}
	if c.coordinator == nil {
		return fmt.Errorf("cacheaside: %s: %w", what, ErrCannotPurge)
	}
	for some := range slices.Chunk(tags, maxPurged) {
		if err := c.raiseSome(ctx, some, soft); err != nil {
			return c.purged(what, err)
		}
	}
	return c.purged(what, nil)
}

// maxPurged is how many tags PurgeTimeout is meant for.
const maxPurged = 1024

func (c *Cache) raiseSome(ctx context.Context, tags []string, soft bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PurgeTimeout)
	defer cancel()
	_, err := c.coordinator.Raise(ctx, c.clock, c.tagged(tags).keys, soft, c.micros(), clockAge)
	return err
}

func (c *Cache) micros() uint64 { return uint64(max(0, c.cfg.Now().UnixMicro())) }

func (c *Cache) purged(what string, err error) error {
	if err != nil {
		c.stats.purgeErrors.Add(1)
		return fmt.Errorf("cacheaside: %s: the store has not acknowledged: %w", what, err)
	}
	c.stats.purges.Add(1)
	return nil
}

// PurgeURL removes what is stored for an absolute URL, by whatever handle and policy of
// the cache: all variants, all partitions, with http and https alike. The guarantee is
// that of PurgeTags.
func (c *Cache) PurgeURL(ctx context.Context, rawURL string) error {
	req, err := c.requestFor("PurgeURL", rawURL)
	if err != nil {
		return err
	}
	return c.purgeRequest(insisting(ctx), req)
}

// purgeRequest removes what is stored for the URL of req. A lock that goes keeps
// responses under way from being stored.
func (c *Cache) purgeRequest(ctx context.Context, req *request) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PurgeTimeout)
	defer cancel()
	urls := c.purgedURLs(req)
	if len(urls) == 0 {
		return nil
	}
	if c.coordinator == nil {
		return c.purged("PurgeURL", c.deleteURL(ctx, req, urls))
	}
	read := make(chan error, 1)
	go func() {
		_, err := c.purges.renew(ctx, c)
		read <- err
	}()
	err := c.purgeTexts(ctx, urls)
	if err = errors.Join(err, <-read); err == nil { // perhaps other processes have ways of their own
		if err = c.purgeTexts(ctx, c.purgedURLs(req)[len(urls):]); err == nil && c.urls.project() {
			err = c.purges.overLost(ctx)
		}
	}
	return c.purged("PurgeURL", err)
}

// purgeTexts removes what is stored under the keys that can be named, and what is
// tagged.
func (c *Cache) purgeTexts(ctx context.Context, urls []string) error {
	if len(urls) == 0 {
		return nil
	}
	var keys, tags []string
	for _, url := range urls {
		tags = append(tags, c.stampKey(ofURL+url))
	}
	for _, k := range c.namedKeys(urls) {
		c.variants.drop(k.wire)
		keys = append(keys, lockKey(k.wire), k.wire)
	}
	raised := make(chan error, 1)
	go func() {
		_, err := c.coordinator.Raise(ctx, c.clock, tags, false, c.micros(), clockAge)
		raised <- err
	}()
	err := c.store.Delete(ctx, keys...)
	return errors.Join(err, <-raised)
}

// deleteURL is for a store that orders nothing. It can do no more than name keys.
func (c *Cache) deleteURL(ctx context.Context, req *request, urls []string) error {
	named, plain := c.namedKeys(urls), *req
	plain.Method, plain.forwarded = http.MethodGet, false
	if k, ok := c.keys.key(&plain); ok {
		named = append(named, k)
	}
	var keys []string
	for _, k := range named {
		c.variants.drop(k.wire)
		keys = append(append(keys, k.wire), c.variantKeys(ctx, k)...)
	}
	err := c.store.Delete(ctx, keys...)
	if err == nil && c.urls.unnamed.Load() {
		err = fmt.Errorf("something is stored under a key that is not made of the URL alone, and may be left: %w", ErrCannotPurge)
	}
	return err
}

// variantKeys are the keys of the variants that the record under k lists.
func (c *Cache) variantKeys(ctx context.Context, k key) (keys []string) {
	b, found, err := c.store.Get(ctx, k.wire)
	var e entry.Entry
	if err != nil || !found || entry.Decode(b, &e) != nil || e.Kind != entry.KindVary {
		return nil
	}
	for _, ref := range decodeVaryRecord(&e).variants {
		if validDigest(ref.digest) {
			keys = append(keys, k.wire+":"+ref.digest)
		}
	}
	return keys
}

// PurgePrefix removes what is stored for an absolute URL and for all below its
// path, whatever the query. It takes half a second, which no process needs to
// look at the store for, and the guarantee is that of PurgeTags.
func (c *Cache) PurgePrefix(ctx context.Context, rawURL string) error {
	return c.purgePrefix(ctx, rawURL, false)
}

// SoftPurgePrefix is to PurgePrefix what SoftPurgeTags is to PurgeTags.
func (c *Cache) SoftPurgePrefix(ctx context.Context, rawURL string) error {
	return c.purgePrefix(ctx, rawURL, true)
}

func (c *Cache) purgePrefix(ctx context.Context, rawURL string, soft bool) error {
	req, err := c.prefixFor(rawURL)
	if err != nil {
		return err
	}
	return c.purgeJournal(ctx, "PurgePrefix", func() []string { return c.purgedURLs(req) }, soft)
}

// prefixFor is a request for what a URL and those below it begin with.
func (c *Cache) prefixFor(rawURL string) (*request, error) {
	req, err := c.requestFor("PurgePrefix", rawURL)
	if err == nil {
		req.RawQuery = ""
	}
	return req, err
}

// PurgeAll removes everything that is stored under the namespace, in constant
// time but for half a second as with PurgePrefix. The guarantee is that of
// PurgeTags.
func (c *Cache) PurgeAll(ctx context.Context) error {
	return c.purgeJournal(ctx, "PurgeAll", everything, false)
}

// SoftPurgeAll is to PurgeAll what SoftPurgeTags is to PurgeTags.
func (c *Cache) SoftPurgeAll(ctx context.Context) error {
	return c.purgeJournal(ctx, "PurgeAll", everything, true)
}

func everything() []string { return []string{""} }

func (c *Cache) purgeJournal(ctx context.Context, what string, urls func() []string, soft bool) error {
	if c.coordinator == nil {
		return fmt.Errorf("cacheaside: %s: %w", what, ErrCannotPurge)
	}
	ctx, cancel := context.WithTimeout(insisting(ctx), c.cfg.PurgeTimeout+journalWait)
	defer cancel()
	return c.purged(what, c.purges.purge(ctx, c, urls, soft))
}

// requestFor is the request that a URL stands for.
func (c *Cache) requestFor(what, rawURL string) (*request, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cacheaside: %s: %w", what, err)
	case u.Scheme == "" && !c.cfg.IgnoreScheme, u.Host == "" && !c.cfg.IgnoreHost:
		return nil, fmt.Errorf("cacheaside: %s: %q lacks a scheme or host, which are part of the keys: use one like https://example.com/path", what, rawURL)
	case u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("cacheaside: %s: %q is no URL of a resource", what, rawURL)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &request{Request: adapter.Request{
		Method: http.MethodGet, Scheme: strings.ToLower(u.Scheme), Host: u.Host, Path: path, RawQuery: u.RawQuery,
		Header: http.Header{},
	}}, nil
}
