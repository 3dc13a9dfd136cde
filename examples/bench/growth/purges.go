package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// What is purged.
const (
	tagUnread = "tag, not read"
	urlUnread = "URL, not read"
	tagRead   = "tag, read"
	urlRead   = "URL, read"
)

var targets = []string{tagUnread, urlUnread, tagRead, urlRead}

const (
	reads    = 2000 // requests in a second
	pages    = 2000 // URLs that they are for, and as many that nobody reads
	settling = 2    // rounds that are not counted: what was full at first is as full as it stays
)

// purgeRow is what a rate of purges does to reads.
type purgeRow struct {
	rate          int // purges in a second
	what, kind    string
	ratio, expect report.Sample // of hits, as measured and as the order says in which reads and purges came
	hit, miss     report.Sample // median of the round, nanoseconds
	purge         report.Sample // mean, nanoseconds
	commands, cpu report.Sample // of the server, in a second; nanoseconds
}

// purgesAxis grows the rate of purges, of what is read and of what is not.
func (l *lab) purgesAxis(ctx context.Context) ([]section, error) {
	var rows []*purgeRow
	for _, kind := range []string{inMemory, onServer, nearTier} {
		some, err := l.purgeRows(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		rows = append(rows, some...)
	}
	return purgeSections(rows), nil
}

func (l *lab) purgeRows(ctx context.Context, kind string) (rows []*purgeRow, err error) {
	sites, space, err := l.sites(ctx, shape{Bytes: l.bytes, Tags: 1}, []string{kind})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.done(ctx, sites, space)) }()
	s := sites[0]
	if err := s.load(ctx, upTo(0, 2*pages)); err != nil {
		return nil, err
	}
	m := fullModel(2 * pages)
	for _, what := range targets {
		for _, rate := range l.rates {
			if rate == 0 && what != targets[0] {
				continue // it is the same for all
			}
			l.say("%s: %d purges a second, %s", kind, rate, what)
			r := &purgeRow{rate: rate, what: what, kind: kind}
			if rate == 0 {
				r.what = "nothing"
			}
			if err := l.purgeRate(ctx, s, m, r, what); err != nil {
				return nil, fmt.Errorf("%d purges a second of a %s: %w", rate, what, err)
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (l *lab) purgeRate(ctx context.Context, s *site, m *model, r *purgeRow, what string) error {
	for n := range settling + l.rounds {
		events := l.events(r.rate, what)
		to := r
		if n < settling {
			to = &purgeRow{}
		}
		if err := l.play(ctx, s, events, to); err != nil {
			return err
		}
		// As they came: a busy machine does not keep to times of half a millisecond.
		slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
		to.expect = append(to.expect, m.play(events))
	}
	if r.rate == 0 || what == tagUnread || what == urlUnread {
		if low := r.ratio.Low(); low < 1 {
			return fmt.Errorf("%v of the requests were hits, and nothing that is read was purged", low)
		}
	}
	return l.gone(ctx, s, m, what)
}

// gone purges the most popular entry and checks that it is gone.
func (l *lab) gone(ctx context.Context, s *site, m *model, what string) error {
	c := s.client()
	c.get(pathOf(0))
	if err := s.cache.Flush(ctx); err != nil {
		return err
	}
	e := event{purge: true, tag: what == tagRead || what == tagUnread}
	was := s.cache.Stats()
	if err := c.purge(ctx, e); err != nil {
		return err
	}
	err := c.fill(upTo(0, 1))
	if now := s.cache.Stats(); err != nil || now.Hits != was.Hits {
		return fmt.Errorf("%s was purged, and is there: %w", pathOf(0), err)
	}
	for i := range shared { // the others under the tag
		c.get(pathOf(i))
		m.there[i] = true
	}
	return s.cache.Flush(ctx)
}

// event is a read or a purge.
type event struct {
	at         time.Duration
	purge, tag bool
	entry      int
}

// events are a round's, in their order. What is read is purged as often as it is read.
func (l *lab) events(rate int, what string) []event {
	r := rand.New(rand.NewPCG(l.rand.Uint64(), 0))
	popular := newZipf(r, pages)
	all := make([]event, 0, count(reads+rate, l.time)+2)
	for i := range count(reads, l.time) {
		all = append(all, event{at: time.Duration(i) * time.Second / reads, entry: popular()})
	}
	for i := range count(rate, l.time) {
		e := event{at: time.Duration(i)*time.Second/time.Duration(rate) + time.Second/(2*reads), purge: true, entry: popular()}
		e.tag = what == tagUnread || what == tagRead
		if what == tagUnread || what == urlUnread {
			e.entry += pages
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b event) int { return int(a.at - b.at) })
	return all
}

func count(rate int, long time.Duration) int { return int(float64(rate) * long.Seconds()) }

// model knows what should be stored, if each fill were done at once.
type model struct{ there []bool }

func fullModel(n int) *model {
	return &model{slices.Repeat([]bool{true}, n)}
}

// play returns the hit ratio of the events.
func (m *model) play(events []event) float64 {
	var hits, reads float64
	for _, e := range events {
		switch {
		case !e.purge:
			reads++
			if m.there[e.entry] {
				hits++
			}
			m.there[e.entry] = true
		case e.tag:
			first := e.entry / shared * shared
			clear(m.there[first : first+shared])
		default:
			m.there[e.entry] = false
		}
	}
	return hits / reads
}

// play does what the events say, at their times, reads beside purges. It sets the times
// to those at which reads began and purges had been done.
func (l *lab) play(ctx context.Context, s *site, events []event, r *purgeRow) error {
	before, err := l.backend.worked(ctx, s.target, true)
	if err != nil {
		return err
	}
	was, begun := s.cache.Stats(), time.Now()
	var purges time.Duration
	var purged int
	failed := make(chan error, 1)
	go func() {
		c := s.client()
		var err error
		for i := range events {
			e := &events[i]
			if !e.purge || err != nil || ctx.Err() != nil {
				continue
			}
			time.Sleep(e.at - time.Since(begun))
			from := time.Now()
			err = c.purge(ctx, *e)
			e.at = time.Since(begun)
			purges += time.Since(from)
			purged++
		}
		failed <- err
	}()
	hits, misses := readAll(ctx, s, events, begun)
	if err := errors.Join(<-failed, ctx.Err()); err != nil {
		return err
	}
	if err := s.cache.Flush(ctx); err != nil {
		return err
	}
	long := time.Since(begun).Seconds()
	after, err := l.backend.worked(ctx, s.target, false)
	if err != nil {
		return err
	}
	now := s.cache.Stats()
	if got := now.Hits - was.Hits; got != uint64(len(hits)) {
		return fmt.Errorf("the cache says that %d requests were hits, and %d were answered without the handler", got, len(hits))
	}
	r.ratio = append(r.ratio, float64(len(hits))/float64(len(hits)+len(misses)))
	r.hit = appendMedian(r.hit, hits)
	r.miss = appendMedian(r.miss, misses)
	if purged > 0 {
		r.purge = append(r.purge, float64(purges)/float64(purged))
	}
	if commands := after.commands - before.commands; !math.IsNaN(commands) {
		r.commands = append(r.commands, commands/long)
	}
	if cpu := after.cpu - before.cpu; !math.IsNaN(cpu) {
		r.cpu = append(r.cpu, cpu/long)
	}
	return lostSince(was, now)
}

// readAll returns how long each read took.
func readAll(ctx context.Context, s *site, events []event, begun time.Time) (hits, misses report.Sample) {
	c := s.client()
	for i := range events {
		e := &events[i]
		if e.purge || ctx.Err() != nil {
			continue
		}
		time.Sleep(e.at - time.Since(begun))
		path, calls, from := pathOf(e.entry), s.calls.Load(), time.Now()
		e.at = from.Sub(begun)
		c.get(path)
		took := float64(time.Since(from))
		if s.calls.Load() == calls {
			hits = append(hits, took)
		} else {
			misses = append(misses, took)
		}
	}
	return hits, misses
}

func appendMedian(to, of report.Sample) report.Sample {
	if len(of) == 0 {
		return to
	}
	return append(to, of.Median())
}

func (c *client) purge(ctx context.Context, e event) error {
	if e.tag {
		return c.cache.PurgeTags(ctx, tagOf(e.entry/shared, 0))
	}
	return c.cache.PurgeURL(ctx, urlOf(e.entry))
}
