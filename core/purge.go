package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/observe"
)

// ErrCannotPurge is returned, wrapped, where the store is no [store.Coordinator]: then only
// PurgeURL works, without its guarantees, and only for what has a key of its URL alone.
var ErrCannotPurge = errors.New("the store keeps no purge stamps: use one that is a store.Coordinator")

// Purge names what [Cache.Purge] removes: one of the first four fields at least.
type Purge struct {
	// Tags are those of the responses: see [AddTags].
	Tags []string `json:"tags,omitempty"`
	// URLs are absolute. What is stored for one is removed by whatever handle and
	// policy of the cache it was stored: all variants, all partitions, with http and
	// https alike.
	URLs []string `json:"urls,omitempty"`
	// Prefixes are absolute URLs. What is stored for one and for all below its path
	// is removed, whatever the query: https://example.com/blog stands for /blog,
	// /blog?page=2 and /blog/1000, but not for /blogs. A '*' at the end is an error.
	Prefixes []string `json:"prefixes,omitempty"`
	// All stands for everything that is stored under the namespace.
	All bool `json:"all,omitempty"`
	// Soft makes responses stale in place of removing them. For a minute at least, or
	// for as long as they have stale-while-revalidate, one of them answers while it is
	// being renewed in the background. It goes with tags, prefixes and all, not with
	// URLs.
	Soft bool `json:"soft,omitempty"`
}

// Purge removes responses. Once it has returned without an error, no request that
// begins later is answered with one of them, in any process that shares the store,
// even if a handler was producing it at the time. The cost is the same whatever the
// number of responses. Prefixes and All take half a second, for which no process needs
// to look at the store.
//
// Where something in p makes no sense nothing is purged, and the error names all of it.
// Any other error means that the store has not acknowledged: purge again.
// [ErrCannotPurge] is what a store that is no [store.Coordinator] gives.
func (c *Cache) Purge(ctx context.Context, p Purge) error {
	plan, err := c.planPurge(&p)
	if err != nil {
		return err
	}
	return c.purge(ctx, &plan)
}

// PurgeTags is [Cache.Purge] of tags. Without tags it does nothing.
func (c *Cache) PurgeTags(ctx context.Context, tags ...string) error {
	if len(tags) == 0 {
		return nil
	}
	return c.Purge(ctx, Purge{Tags: tags})
}

// PurgeURL is [Cache.Purge] of an absolute URL.
func (c *Cache) PurgeURL(ctx context.Context, url string) error {
	return c.Purge(ctx, Purge{URLs: []string{url}})
}

// purgePlan is a [Purge] that makes sense, as the store knows it.
type purgePlan struct {
	tags      []string        // in their stored form
	resources []*keys.Request // of the URLs
	prefixes  []*keys.Request
	all, soft bool
}

// planPurge finds what is wrong before anything is purged.
func (c *Cache) planPurge(p *Purge) (plan purgePlan, err error) {
	plan.all, plan.soft = p.All, p.Soft
	var errs []error
	wrong := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("cacheaside: Purge.%s: %w", field, err))
		}
	}
	for _, tag := range p.Tags {
		wrong("Tags", checkTag(tag))
		plan.tags = append(plan.tags, purges.OfHandler+tag)
	}
	for _, u := range p.URLs {
		req, err := c.requestFor(u)
		wrong("URLs", err)
		plan.resources = append(plan.resources, req)
	}
	for _, u := range p.Prefixes {
		req, err := c.prefixFor(u)
		wrong("Prefixes", err)
		plan.prefixes = append(plan.prefixes, req)
	}
	errs = append(errs, p.sensible())
	if c.coordinator == nil && (len(p.Tags) > 0 || len(p.Prefixes) > 0 || p.All) {
		errs = append(errs, fmt.Errorf("cacheaside: Purge: %w", ErrCannotPurge))
	}
	return plan, errors.Join(errs...)
}

// sensible reports what is wrong with what p has together.
func (p *Purge) sensible() error {
	switch {
	case len(p.Tags)+len(p.URLs)+len(p.Prefixes) == 0 && !p.All:
		return errors.New("cacheaside: Purge: nothing to purge: give Tags, URLs, Prefixes or All")
	case p.Soft && len(p.URLs) > 0:
		return errors.New("cacheaside: Purge.Soft: a URL cannot be purged softly: leave Soft out, or use Prefixes")
	}
	return nil
}

func (c *Cache) purge(ctx context.Context, plan *purgePlan) error {
	ctx = breaker.Insist(ctx)
	errs := []error{c.bump(ctx, observe.PurgeTags, plan.tags, plan.soft)}
	for _, req := range plan.resources {
		errs = append(errs, c.purgeRequest(ctx, req, observe.PurgeURL, ""))
	}
	if len(plan.prefixes) > 0 || plan.all { // together, because that takes its time
		kind := observe.PurgePrefix
		if plan.all {
			kind = observe.PurgeAll
		}
		errs = append(errs, c.purgeJournal(ctx, kind, func() (urls []string) {
			for _, req := range plan.prefixes {
				urls = append(urls, c.purgedURLs(req)...)
			}
			if plan.all {
				urls = append(urls, "")
			}
			return urls
		}, plan.soft))
	}
	return errors.Join(errs...)
}

// bump purges tags in their stored form.
func (c *Cache) bump(ctx context.Context, kind observe.Purge, tags []string, soft bool) error {
	if len(tags) == 0 {
		return nil
	}
	if c.coordinator == nil {
		return fmt.Errorf("cacheaside: purging %s: %w", purgedText[kind], ErrCannotPurge)
	}
	ctx, p := c.beginPurge(ctx, kind, soft)
	for some := range slices.Chunk(tags, maxPurged) {
		if err := c.bumpSome(ctx, some, soft); err != nil {
			return p.end(err)
		}
	}
	return p.end(nil)
}

// maxPurged is how many tags Timeouts.Purge is meant for.
const maxPurged = 1024

func (c *Cache) bumpSome(ctx context.Context, tags []string, soft bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Purge)
	defer cancel()
	return c.ledger.BumpTags(ctx, tags, soft)
}

// purgedText says in errors what was to be purged.
var purgedText = [...]string{
	observe.PurgeTags: "tags", observe.PurgeURL: "a URL", observe.PurgePrefix: "prefixes", observe.PurgeAll: "everything",
	observe.PurgeUnsafe: "what an unsafe request may have changed",
}

// purging is a purge under way.
type purging struct {
	c     *Cache
	ctx   context.Context //nolint:containedctx // of who purges
	kind  observe.Purge
	soft  bool
	began time.Time
	span  span
}

func (c *Cache) beginPurge(ctx context.Context, kind observe.Purge, soft bool) (context.Context, purging) {
	p := purging{c: c, ctx: ctx, kind: kind, soft: soft, began: c.cfg.Now()}
	ctx, p.span = c.startSpan(ctx, observe.Start{Kind: observe.SpanPurge, Policy: c.label})
	return ctx, p
}

// end counts the purge, and returns err as one of it.
func (p purging) end(err error) error {
	outcome := observe.OutcomeOK
	if err != nil {
		outcome = observe.OutcomeError
		p.c.stats.purgeErrors.Add(1)
		err = fmt.Errorf("cacheaside: purging %s: the store has not acknowledged: %w", purgedText[p.kind], err)
	} else {
		p.c.stats.purges.Add(1)
	}
	p.c.tellOf(observe.KindPurge, func(e *observe.Event) {
		defer p.c.endSpan(p.span, e)
		e.Context, e.Time, e.Total = p.ctx, p.began, p.c.cfg.Now().Sub(p.began)
		e.Purge, e.Soft, e.Outcome, e.Err = p.kind, p.soft, outcome, err
	})
	return err
}

// purgeRequest removes what is stored for the URL of req. A lock that goes keeps
// responses under way from being stored; only spared stays, which may be "".
func (c *Cache) purgeRequest(ctx context.Context, req *keys.Request, kind observe.Purge, spared string) error {
	urls := c.purgedURLs(req)
	if len(urls) == 0 {
		return nil
	}
	ctx, p := c.beginPurge(ctx, kind, false)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Purge)
	defer cancel()
	if c.coordinator == nil {
		return p.end(c.deleteURL(ctx, req, urls))
	}
	read := make(chan error, 1)
	go func() { read <- c.ledger.ReadJournal(ctx) }()
	err := c.purgeTexts(ctx, urls, spared)
	if err = errors.Join(err, <-read); err == nil { // perhaps other processes have ways of their own
		if err = c.purgeTexts(ctx, c.purgedURLs(req)[len(urls):], spared); err == nil && c.urls.project() {
			err = c.ledger.WaitOutLost(ctx)
		}
	}
	return p.end(err)
}

// purgeTexts removes what is stored under the keys that can be named, and what is
// tagged, but not the lock spared.
func (c *Cache) purgeTexts(ctx context.Context, urls []string, spared string) error {
	if len(urls) == 0 {
		return nil
	}
	var wires, tags []string
	for _, url := range urls {
		tags = append(tags, purges.OfURL+url)
	}
	for _, k := range c.namedKeys(urls) {
		c.variants.Drop(k.Wire)
		c.fates.purged(k.Wire)
		for _, lock := range c.locksOf(k.Wire) {
			if lock != spared {
				wires = append(wires, lock)
			}
		}
		wires = append(wires, k.Wire)
	}
	bumped := make(chan error, 1)
	go func() { bumped <- c.ledger.BumpTags(ctx, tags, false) }()
	err := c.store.Delete(ctx, wires...)
	return errors.Join(err, <-bumped)
}

// locksOf are the locks by which something is stored under a primary key.
func (s *shared) locksOf(wire string) []string {
	if s.inProcess {
		return []string{keys.LockKey(wire), postLock(wire)}
	}
	return []string{keys.LockKey(wire)}
}

// deleteURL is for a store that orders nothing. It can do no more than name keys.
func (c *Cache) deleteURL(ctx context.Context, req *keys.Request, urls []string) error {
	named, plain := c.namedKeys(urls), *req
	plain.Method, plain.Forwarded = http.MethodGet, false
	if k, ok := c.keys.Key(&plain); ok {
		named = append(named, k)
	}
	var keys []string
	for _, k := range named {
		c.variants.Drop(k.Wire)
		c.fates.purged(k.Wire)
		keys = append(append(keys, k.Wire), c.variantKeys(ctx, k)...)
	}
	err := c.store.Delete(ctx, keys...)
	if err == nil && c.urls.unnamed.Load() {
		err = fmt.Errorf("something is stored under a key that is not made of the URL alone, and may be left: %w", ErrCannotPurge)
	}
	return err
}

// variantKeys are the keys of the variants that the record under k lists.
func (c *Cache) variantKeys(ctx context.Context, k keys.Key) (wires []string) {
	b, found, err := c.store.Get(ctx, k.Wire)
	var e entry.Entry
	if err != nil || !found || entry.Decode(b, &e) != nil || e.Kind != entry.KindVary {
		return nil
	}
	for _, ref := range decodeVaryRecord(&e).variants {
		if keys.IsDigest(ref.digest) {
			wires = append(wires, keys.WithDigest(k.Wire, ref.digest))
		}
	}
	return wires
}

// prefixFor is a request for what a URL and those below it begin with.
func (c *Cache) prefixFor(rawURL string) (*keys.Request, error) {
	if strings.HasSuffix(rawURL, "*") {
		return nil, fmt.Errorf("%q: a prefix stands for all below it: leave the '*' out", rawURL)
	}
	req, err := c.requestFor(rawURL)
	if err == nil {
		req.RawQuery = ""
	}
	return req, err
}

func (c *Cache) purgeJournal(ctx context.Context, kind observe.Purge, urls func() []string, soft bool) error {
	ctx, p := c.beginPurge(ctx, kind, soft)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Purge+purges.JournalWait)
	defer cancel()
	return p.end(c.ledger.PurgePrefixes(ctx, urls, soft))
}

// requestFor is the request that a URL stands for.
func (c *Cache) requestFor(rawURL string) (*keys.Request, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme == "" && !c.policy.Key.IgnoreScheme, u.Host == "" && !c.policy.Key.IgnoreHost:
		return nil, fmt.Errorf("%q lacks a scheme or host, which are part of the keys: use one like https://example.com/path", rawURL)
	case u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("%q is no URL of a resource", rawURL)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &keys.Request{Request: adapter.Request{
		Method: http.MethodGet, Scheme: strings.ToLower(u.Scheme), Host: u.Host, Path: path, RawQuery: u.RawQuery,
		Header: http.Header{},
	}}, nil
}
