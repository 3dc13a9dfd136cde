package core

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// ErrCannotPurge is returned, wrapped, where the store is no [Stamper] or no
// [Guarder]: then only PurgeURL works, and without its guarantees.
var ErrCannotPurge = errors.New("the store keeps no purge stamps")

// guardAge is how long a handler may run and still have its response stored.
const guardAge = 2 * time.Minute

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
	if c.stamper == nil {
		return fmt.Errorf("cacheaside: %s: %w", what, ErrCannotPurge)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PurgeTimeout)
	defer cancel()
	n, err := c.stamper.Raise(ctx, c.clock, c.tagged(tags).keys, soft, c.floor(), stampAge)
	c.purges.see(n)
	return c.purged(what, err)
}

func (c *Cache) purged(what string, err error) error {
	if err != nil {
		c.stats.purgeErrors.Add(1)
		return fmt.Errorf("cacheaside: %s: the store has not acknowledged: %w", what, err)
	}
	c.stats.purges.Add(1)
	return nil
}

// floor is a sequence number that was given out once.
func (c *Cache) floor() uint64 { return c.purges.seq.Load() }

// PurgeURL removes what is stored for an absolute URL: all variants, and all
// partitions. Scheme, host and query count as far as they do for the keys of c's
// policy. The guarantee is that of PurgeTags.
func (c *Cache) PurgeURL(ctx context.Context, rawURL string) error {
	req, err := c.requestFor("PurgeURL", rawURL)
	if err != nil {
		return err
	}
	return c.purgeRequest(insisting(ctx), req)
}

// purgeRequest removes what is stored for the URL of req.
func (c *Cache) purgeRequest(ctx context.Context, req *Request) error {
	plain := *req
	plain.Method, plain.forwarded = http.MethodGet, false // others have the tag of the URL
	k, ok := c.keys.key(&plain)
	if !ok {
		return nil // nothing with so long a key is ever stored
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PurgeTimeout)
	defer cancel()
	c.variants.drop(k.wire)
	// First what keeps responses under way from being stored. Variants have the
	// tag of the URL: once it is raised, their record may go.
	var err error
	if c.stamper != nil {
		var n uint64
		n, err = c.stamper.Raise(ctx, c.clock, []string{c.stampKey(c.urlTag(req))}, false, c.floor(), stampAge)
		c.purges.see(n)
	}
	keys := []string{guardKey(k.wire), k.wire}
	if c.stamper == nil {
		keys = append(keys, c.variantKeys(ctx, k)...)
	}
	for _, key := range keys {
		if err == nil {
			err = c.store.Delete(ctx, key)
		}
	}
	return c.purged("PurgeURL", err)
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

func guardKey(wire string) string { return wire + ":guard" }

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
	key, err := c.prefixFor(rawURL)
	if err != nil || key == "" {
		return err
	}
	return c.purgeJournal(ctx, "PurgePrefix", []string{key}, soft)
}

// prefixFor is what the primary keys of a URL and of those below it begin with;
// empty where they would be too long for anything to be stored.
func (c *Cache) prefixFor(rawURL string) (string, error) {
	req, err := c.requestFor("PurgePrefix", rawURL)
	if err != nil {
		return "", err
	}
	if c.cfg.KeyGenerator != nil {
		return "", errors.New("cacheaside: PurgePrefix: keys made by KeyGenerator have no path: use PurgeTags or PurgeAll")
	}
	req.RawQuery = ""
	key, ok := c.urls.appendPrimary(nil, req)
	if !ok {
		return "", nil
	}
	return string(key), nil
}

// PurgeAll removes everything that is stored under the namespace, in constant
// time but for half a second as with PurgePrefix. The guarantee is that of
// PurgeTags.
func (c *Cache) PurgeAll(ctx context.Context) error {
	return c.purgeJournal(ctx, "PurgeAll", []string{""}, false)
}

// SoftPurgeAll is to PurgeAll what SoftPurgeTags is to PurgeTags.
func (c *Cache) SoftPurgeAll(ctx context.Context) error {
	return c.purgeJournal(ctx, "PurgeAll", []string{""}, true)
}

func (c *Cache) purgeJournal(ctx context.Context, what string, keys []string, soft bool) error {
	if c.stamper == nil {
		return fmt.Errorf("cacheaside: %s: %w", what, ErrCannotPurge)
	}
	ctx, cancel := context.WithTimeout(insisting(ctx), c.cfg.PurgeTimeout+journalWait)
	defer cancel()
	return c.purged(what, c.purges.purge(ctx, c, keys, soft))
}

// requestFor is the request that a URL stands for.
func (c *Cache) requestFor(what, rawURL string) (*Request, error) {
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
	return &Request{
		Method: http.MethodGet, Scheme: strings.ToLower(u.Scheme), Host: u.Host, Path: path, RawQuery: u.RawQuery,
		Header: http.Header{},
	}, nil
}
