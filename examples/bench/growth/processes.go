package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// processRow is what so many processes measure, which share a server or have a memory of
// their own each.
type processRow struct {
	n               int
	kind            string
	hit, fill, url  cost          // took is the time in a process; the others are per call of any
	floor           report.Sample // a bare GET of the same value, in nanoseconds
	rate, floorRate report.Sample // of all processes, in a second
	runs            report.Sample // of the handler, for a key that all ask for at once
	ratio           report.Sample // of hits, from cold
	nextNew         int
}

const (
	coldKeys = 20
	coldSlow = 5 * time.Millisecond // the handler's time, while all come
	traffic  = 16_000               // requests of all processes
	urls     = 4000                 // that they are for
)

// processesAxis grows the number of processes, each of which is this program once more.
func (l *lab) processesAxis(ctx context.Context) ([]section, error) {
	var rows []*processRow
	for _, n := range l.processes {
		some, err := l.processRows(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		rows = append(rows, some...)
	}
	return processSections(rows), nil
}

func (l *lab) processRows(ctx context.Context, n int) (rows []*processRow, err error) {
	ctx, cancel := context.WithCancel(ctx) // which ends the processes, if nothing else does
	defer cancel()
	var all fleet
	defer func() { err = errors.Join(err, all.end()) }()
	for range n {
		p, err := spawn(ctx, l.backend.addr)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, kind := range []string{inMemory, onServer, nearTier} {
		l.say("%d processes: %s", n, kind)
		r := &processRow{n: n, kind: kind}
		if err := l.together(ctx, all, r); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// together measures all processes with stores of one kind.
func (l *lab) together(ctx context.Context, all fleet, r *processRow) (err error) {
	space := namespace()
	same := func(j job) func(int) job { return func(int) job { return j } }
	defer func() {
		_, closed := all.do(same(job{Do: "close"}))
		err = errors.Join(err, closed)
		if r.kind != inMemory {
			err = errors.Join(err, l.backend.clean(ctx, space))
		}
	}()
	sh := shape{Bytes: l.bytes, Tags: 1}
	if _, err := all.do(same(job{Do: "open", Kind: r.kind, Space: space, Shape: sh})); err != nil {
		return err
	}
	firsts := all[:1]
	if r.kind == inMemory {
		firsts = all
	}
	if _, err := firsts.do(same(job{Do: "fills", From: 0, To: least})); err != nil {
		return err
	}
	var key string
	if r.kind != inMemory {
		copies, err := newCopier(ctx, l.backend, space, 0)
		if err != nil {
			return err
		}
		key = copies.entry()
	}
	r.nextNew = least
	for round := range l.rounds {
		if err := l.processRound(ctx, all, r, key); err != nil {
			return err
		}
		if err := l.coldRound(all, r); err != nil {
			return err
		}
		if err := l.trafficRound(all, r, uint64(round)); err != nil {
			return err
		}
	}
	return nil
}

// processRound measures hits of what all share, fills of what nobody has, and purges.
func (l *lab) processRound(ctx context.Context, all fleet, r *processRow, key string) error {
	jobs := func(do string) func(int) job {
		return func(i int) job {
			return job{Do: do, From: 0, To: least, For: l.time / 2, Key: key, Seed: l.rand.Uint64() + uint64(i)}
		}
	}
	if r.kind == nearTier {
		if _, err := all.do(jobs("warm")); err != nil {
			return err
		}
	}
	rate, err := l.joint(ctx, all, r, &r.hit, jobs("hits"))
	if err != nil {
		return fmt.Errorf("hits: %w", err)
	}
	r.rate = append(r.rate, rate)
	if r.kind != inMemory {
		var c cost
		if rate, err = l.joint(ctx, all, r, &c, jobs("floor")); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		r.floor, r.floorRate = append(r.floor, c.took...), append(r.floorRate, rate)
	}
	each := max(1, l.calls/len(all))
	own := func(do string) func(int) job {
		return func(i int) job {
			from := r.nextNew + i*each
			return job{Do: do, From: from, To: from + each}
		}
	}
	if _, err := l.joint(ctx, all, r, &r.fill, own("fills")); err != nil {
		return fmt.Errorf("fills: %w", err)
	}
	// What one process purges all have read.
	if r.kind == nearTier {
		if _, err := all.do(func(int) job { return job{Do: "warm", From: r.nextNew, To: r.nextNew + each} }); err != nil {
			return err
		}
	}
	if _, err := l.joint(ctx, all[:1], r, &r.url, own("purges")); err != nil {
		return fmt.Errorf("purges: %w", err)
	}
	r.nextNew += each * len(all)
	return nil
}

// joint measures a job that processes do at the same time, and returns the calls in a
// second of all of them.
func (l *lab) joint(ctx context.Context, all fleet, r *processRow, c *cost, jobs func(int) job) (rate float64, err error) {
	var t *target
	if r.kind == inMemory {
		t = &target{kind: inMemory}
	}
	before, err := l.backend.worked(ctx, t, true)
	if err != nil {
		return 0, err
	}
	answers, err := all.do(jobs)
	if err != nil {
		return 0, err
	}
	after, err := l.backend.worked(ctx, t, false)
	if err != nil {
		return 0, err
	}
	var ops, took, trips float64
	for _, a := range answers {
		ops += float64(a.Ops)
		took += float64(a.Took)
		trips += float64(a.Trips)
		rate += float64(a.Ops) / a.Took.Seconds()
	}
	c.took = append(c.took, took/ops)
	if !math.IsNaN(after.commands) {
		c.trips = append(c.trips, trips/ops)
		c.commands = append(c.commands, (after.commands-before.commands)/ops)
		if cpu := after.cpu - before.cpu; !math.IsNaN(cpu) {
			c.cpu = append(c.cpu, cpu/ops)
		}
	}
	return rate, ctx.Err()
}

// coldRound counts how often handlers run for keys that all processes ask for at once.
func (l *lab) coldRound(all fleet, r *processRow) error {
	from := r.nextNew
	r.nextNew += coldKeys
	answers, err := all.do(func(int) job { return job{Do: "cold", From: from, To: from + coldKeys, Slow: coldSlow} })
	if err != nil {
		return fmt.Errorf("cold keys: %w", err)
	}
	var runs float64
	for _, a := range answers {
		runs += float64(a.Calls)
	}
	if runs < coldKeys {
		return fmt.Errorf("%v runs of handlers for %d cold keys", runs, coldKeys)
	}
	r.runs = append(r.runs, runs/coldKeys)
	return nil
}

// trafficRound has all processes ask for URLs by their popularity, none of which is stored
// at first.
func (l *lab) trafficRound(all fleet, r *processRow, round uint64) error {
	from := r.nextNew
	r.nextNew += urls
	answers, err := all.do(func(i int) job {
		seed := l.seed<<32 + round<<16 + uint64(i)
		return job{Do: "traffic", From: from, To: from + urls, Requests: traffic / len(all), Seed: seed}
	})
	if err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	var runs, requests float64
	for _, a := range answers {
		runs += float64(a.Calls)
		requests += float64(a.Ops)
	}
	r.ratio = append(r.ratio, 1-runs/requests)
	return nil
}
