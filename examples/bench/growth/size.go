package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// row is one of a table: a store, and how far it has grown.
type row struct {
	x    int
	kind string
	point
}

// entriesAxis grows the number of entries. Ten share a tag.
func (l *lab) entriesAxis(ctx context.Context) ([]section, error) {
	sh := shape{Bytes: l.bytes, Tags: 1}
	sizes := powers(least, l.max)
	rows, err := l.grown(ctx, sh, []string{inMemory}, powers(least, min(l.max, 1_000_000)))
	if err != nil {
		return nil, err
	}
	more, err := l.grown(ctx, sh, []string{onServer, nearTier}, sizes)
	if err != nil {
		return nil, err
	}
	rows = append(rows, more...)
	return sizeSections("entries", "Entries", "entries", rows, true), nil
}

// tagsAxis grows the number of tags that an entry has.
func (l *lab) tagsAxis(ctx context.Context) ([]section, error) {
	var rows []row
	for _, kinds := range [][]string{{inMemory}, {onServer, nearTier}} {
		for _, n := range l.tags {
			some, err := l.grown(ctx, shape{Bytes: l.bytes, Tags: n}, kinds, []int{least})
			if err != nil {
				return nil, fmt.Errorf("%d tags: %w", n, err)
			}
			for i := range some {
				some[i].x = n
			}
			rows = append(rows, some...)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return order(a.kind) - order(b.kind) })
	return sizeSections("tags", "Tags of an entry", "tags", rows, false), nil
}

func order(kind string) int { return slices.Index([]string{inMemory, onServer, nearTier}, kind) }

// grown fills stores with more and more entries, and measures them at each size. Those
// but the first one share what the first one fills.
func (l *lab) grown(ctx context.Context, sh shape, kinds []string, sizes []int) (rows []row, err error) {
	sites, space, err := l.sites(ctx, sh, kinds)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.done(ctx, sites, space)) }()
	first := sites[0]
	before, err := l.used(ctx, first)
	if err != nil {
		return nil, err
	}
	var copies *copier
	from := 0
	for _, size := range sizes {
		l.say("%s, %d tags: %d entries", kinds[0], sh.Tags, size)
		if err := l.grow(ctx, first, space, &copies, from, size); err != nil {
			return nil, fmt.Errorf("filling to %d entries: %w", size, err)
		}
		after, err := l.used(ctx, first)
		if err != nil {
			return nil, err
		}
		for _, s := range sites {
			p, err := l.measure(ctx, s, size, sh)
			if err != nil {
				return nil, fmt.Errorf("%s, %d entries: %w", s.kind, size, err)
			}
			p.bytes = (after - before) / float64(size)
			rows = append(rows, row{size, s.kind, p})
		}
		from = size
	}
	slices.SortStableFunc(rows, func(a, b row) int { return order(a.kind) - order(b.kind) })
	return rows, nil
}

// grow stores entries: the first thousand by requests, and so all of them in memory; on a
// server the others are copies.
func (l *lab) grow(ctx context.Context, s *site, space string, copies **copier, from, to int) (err error) {
	if s.kind == inMemory || to <= least {
		return s.load(ctx, upTo(from, to))
	}
	if *copies == nil {
		if *copies, err = newCopier(ctx, l.backend, space, 0); err != nil {
			return err
		}
	}
	return (*copies).fill(ctx, from/shared, to/shared)
}

// sites are sites of several kinds with one namespace.
func (l *lab) sites(ctx context.Context, sh shape, kinds []string) (sites []*site, space string, err error) {
	space = namespace()
	for _, kind := range kinds {
		t, err := open(ctx, kind, l.backend.addr)
		if err == nil {
			var s *site
			s, err = newSite(t, space, sh)
			sites = append(sites, s)
		}
		if err != nil {
			return nil, "", errors.Join(fmt.Errorf("%s: %w", kind, err), l.done(ctx, slices.DeleteFunc(sites, func(s *site) bool { return s == nil }), space))
		}
	}
	return sites, space, nil
}

func (l *lab) done(ctx context.Context, sites []*site, space string) (err error) {
	onlyMemory := true
	for _, s := range sites {
		err = errors.Join(err, s.close(ctx))
		onlyMemory = onlyMemory && s.kind == inMemory
	}
	if !onlyMemory {
		err = errors.Join(err, l.backend.clean(ctx, space))
	}
	return err
}

func (l *lab) used(ctx context.Context, s *site) (float64, error) {
	if s.kind == inMemory {
		return heap(), nil
	}
	return l.backend.used(ctx)
}

// perTagAxis grows the number of entries that have one tag, and purges that.
func (l *lab) perTagAxis(ctx context.Context) ([]section, error) {
	sh := shape{Bytes: l.bytes, Every: true}
	var rows []tagRow
	for _, kind := range []string{inMemory, onServer, nearTier} {
		most := min(l.max, 1_000_000)
		switch kind {
		case inMemory: // where each of them is filled anew for each purge
			most = min(most, 100_000)
		case nearTier: // which has no more
			most = hot
		}
		for _, n := range powers(1, most) {
			l.say("%s: %d entries with one tag", kind, n)
			r, err := l.perTag(ctx, sh, kind, n)
			if err != nil {
				return nil, fmt.Errorf("%s, %d entries: %w", kind, n, err)
			}
			rows = append(rows, r)
		}
	}
	return perTagSections(rows), nil
}

// again is how often a tag is purged in a round. The first time there is something under it,
// which the purge does not look at.
const again = 20

// tagRow is what a purge of a tag of n entries costs.
type tagRow struct {
	n             int
	kind          string
	hit, tag      cost
	refill        cost    // the first request for what was purged
	before, after float64 // bytes that all take before the purge and after it
}

func (l *lab) perTag(ctx context.Context, sh shape, kind string, n int) (r tagRow, err error) {
	r = tagRow{n: n, kind: kind}
	sites, space, err := l.sites(ctx, sh, []string{kind})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.done(ctx, sites, space)) }()
	s, c := sites[0], sites[0].client()
	start, err := l.used(ctx, s)
	if err != nil {
		return r, err
	}
	if err := s.load(ctx, upTo(0, min(n, least))); err != nil {
		return r, err
	}
	var copies *copier
	if n > least {
		if err := l.grow(ctx, s, space, &copies, least, n); err != nil {
			return r, err
		}
	}
	full, err := l.used(ctx, s)
	if err != nil {
		return r, err
	}
	for range l.rounds {
		entries := sampled(l.rand, n, min(n, l.calls))
		if err := l.someHits(ctx, c, &r.hit, func() int { return entries[l.rand.IntN(len(entries))] }); err != nil {
			return r, err
		}
		err := l.round(ctx, s.target, &r.tag, again, func() (err error) {
			for range again {
				err = errors.Join(err, s.cache.PurgeTags(ctx, everyTag))
			}
			return err
		})
		if err != nil {
			return r, err
		}
		emptied, err := l.used(ctx, s)
		if err != nil {
			return r, err
		}
		r.after = emptied - start
		err = l.round(ctx, s.target, &r.refill, len(entries), func() error { return c.fill(entries) })
		if err != nil {
			return r, fmt.Errorf("after the purge: %w", err)
		}
		if err := l.refill(ctx, s, copies, entries, n); err != nil { // so that the next purge has all of them
			return r, fmt.Errorf("filling again: %w", err)
		}
	}
	r.before = full - start
	return r, nil
}

// refill stores all n entries again but those that are.
func (l *lab) refill(ctx context.Context, s *site, copies *copier, are []int, n int) error {
	most := n
	if copies != nil {
		most = shared // the group that is copied
	}
	there := map[int]bool{}
	for _, i := range are {
		there[i] = true
	}
	err := s.load(ctx, slices.DeleteFunc(upTo(0, most), func(i int) bool { return there[i] }))
	if err == nil && copies != nil {
		err = copies.fill(ctx, 1, n/shared)
	}
	return err
}

// powers are those of ten from a first one on, and the last.
func powers(first, last int) (all []int) {
	for n := first; n < last; n *= 10 {
		all = append(all, n)
	}
	return append(all, last)
}
