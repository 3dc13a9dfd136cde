package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// cost is what one call costs, round by round.
type cost struct {
	took          report.Sample // nanoseconds
	trips         report.Sample // round trips
	commands, cpu report.Sample // of the server; nanoseconds
}

// point is what is measured of a cache of some size.
type point struct {
	hit, fill, tag, url cost
	bytes               float64 // of an entry
}

// round measures one round of so many calls.
func (l *lab) round(ctx context.Context, t *target, c *cost, calls int, run func() error) error {
	before, err := l.backend.worked(ctx, t, true)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := run(); err != nil {
		return err
	}
	took := time.Since(begun)
	after, err := l.backend.worked(ctx, t, false)
	if err != nil {
		return err
	}
	add := func(s *report.Sample, x float64) {
		if !math.IsNaN(x) {
			*s = append(*s, x/float64(calls))
		}
	}
	add(&c.took, float64(took))
	add(&c.trips, after.trips-before.trips)
	add(&c.commands, after.commands-before.commands)
	add(&c.cpu, after.cpu-before.cpu)
	return ctx.Err()
}

// measure measures hits, fills and purges of a site with so many entries, and leaves it as
// it was. What is purged is filled again, which is how it is known to have gone.
func (l *lab) measure(ctx context.Context, s *site, entries int, sh shape) (p point, err error) {
	groups := upTo(0, entries/shared)
	if s.kind == nearTier { // which is for what is read often
		l.rand.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
		groups = groups[:min(len(groups), hot/shared)]
	}
	c := s.client()
	for range l.rounds {
		if err := l.hits(ctx, c, &p, groups); err != nil {
			return p, fmt.Errorf("hits: %w", err)
		}
		some := make([]int, 0, l.calls/shared) // different groups
		for _, i := range sampled(l.rand, len(groups), l.calls/shared) {
			some = append(some, groups[i])
		}
		if err := l.purges(ctx, c, &p, some, sh); err != nil {
			return p, err
		}
	}
	return p, nil
}

const hot = 1000 // entries that the near tier has

func (l *lab) hits(ctx context.Context, c *client, p *point, groups []int) error {
	return l.someHits(ctx, c, &p.hit, func() int {
		return groups[l.rand.IntN(len(groups))]*shared + l.rand.IntN(shared)
	})
}

// someHits measures hits of entries that next gives.
func (l *lab) someHits(ctx context.Context, c *client, to *cost, next func() int) error {
	calls := l.calls * 4
	if c.kind != onServer {
		calls = l.calls * 20 // they are short
	}
	paths := make([]string, calls)
	for i := range paths {
		paths[i] = pathOf(next())
	}
	if c.kind == nearTier {
		if err := c.warm(ctx, paths); err != nil {
			return err
		}
	}
	return l.round(ctx, c.target, to, calls, func() error {
		was := c.cache.Stats()
		for _, path := range paths {
			c.get(path)
		}
		return c.count(was, calls)
	})
}

// warm reads until the near tier takes no more of it.
func (c *client) warm(ctx context.Context, paths []string) error {
	last := uint64(0)
	for range 100 {
		for _, path := range paths { // twice at once, or others that share its place are in between
			c.get(path)
			c.get(path)
		}
		was := c.cache.Stats()
		for _, path := range paths {
			c.get(path)
		}
		near := c.cache.Stats().Near - was.Near
		if near == last && c.count(was, len(paths)) == nil {
			return nil
		}
		last = near
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("the near tier takes %d of %d entries: %+v", last, len(paths), c.cache.Stats())
}

// purges measures purges of URLs and fills of the entries in some groups, and purges of
// their tags.
func (l *lab) purges(ctx context.Context, c *client, p *point, groups []int, sh shape) error {
	entries := make([]int, 0, len(groups)*shared)
	for _, g := range groups {
		entries = append(entries, upTo(g*shared, (g+1)*shared)...)
	}
	l.rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	err := l.round(ctx, c.target, &p.url, len(entries), func() error {
		for _, i := range entries {
			if err := c.cache.PurgeURL(ctx, urlOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purges of URLs: %w", err)
	}
	err = l.round(ctx, c.target, &p.fill, len(entries), func() error { return c.fill(entries) })
	if err != nil {
		return fmt.Errorf("fills after purges of URLs: %w", err)
	}
	if sh.Tags == 0 {
		return nil
	}
	err = l.round(ctx, c.target, &p.tag, len(groups), func() error {
		for _, g := range groups {
			if err := c.cache.PurgeTags(ctx, tagOf(g, 0)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purges of tags: %w", err)
	}
	if err := c.load(ctx, entries); err != nil {
		return fmt.Errorf("fills after purges of tags: %w", err)
	}
	return nil
}

// fill has entries stored, one after the other, and returns when they are.
func (c *client) fill(entries []int) error {
	was := c.cache.Stats()
	for _, i := range entries {
		c.get(pathOf(i))
	}
	return c.stored(was, len(entries))
}

// sampled are k different numbers below n, at random, or all of them if there are fewer.
func sampled(r *rand.Rand, n, k int) []int {
	if k >= n {
		return r.Perm(n)
	}
	seen, all := map[int]bool{}, make([]int, 0, k)
	for len(all) < k {
		if i := r.IntN(n); !seen[i] {
			seen[i] = true
			all = append(all, i)
		}
	}
	return slices.Clip(all)
}
