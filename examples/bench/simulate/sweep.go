package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// base is what all scenarios of the README begin with.
func base(seed uint64) scenario {
	return scenario{
		seed: seed, rps: 5000, keys: 100_000, zipf: 1.02, duration: 150 * time.Second, warmup: 90 * time.Second, instances: 8,
		handler: 50 * time.Millisecond, spread: 0.5, ttl: time.Minute, scope: cacheaside.CoalesceAll,
		policy: dash, memory: 100_000 * entryBytes(1024, 0), value: valueBytes(1024), entry: entryBytes(1024, 0),
		nearAge: 10 * time.Second, hotWithin: time.Second,
	}
}

// job is one scenario of a table.
type job struct {
	name string // of a row or series
	x    float64
	scenario
	*result
}

// simulateAll runs jobs on all processors. What they give does not depend on the order.
func simulateAll(ctx context.Context, jobs []*job) error {
	var next atomic.Int64
	errs := make([]error, len(jobs))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(jobs); i = int(next.Add(1)) - 1 {
				if errs[i] = ctx.Err(); errs[i] == nil {
					jobs[i].result, errs[i] = simulate(jobs[i].scenario)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// part is a section of the report; its name is that of its table in the README.
type part struct {
	name string
	report.Section
}

func ratio(f float64) string { return fmt.Sprintf("%.3f", f) }

// series puts jobs of one name into one line.
func series(jobs []*job, y func(*result) float64) (all []report.Series) {
	at := map[string]int{}
	for _, j := range jobs {
		if _, ok := at[j.name]; !ok {
			at[j.name] = len(all)
			all = append(all, report.Series{Name: j.name})
		}
		s := &all[at[j.name]]
		s.Points = append(s.Points, report.Point{X: j.x, Y: y(j.result)})
	}
	return all
}

var policyNames = map[string]string{lru: "LRU", lfu: "LFU", dash: "2Q"}

// memoryPart is hit ratio over memory, by policy, without and with one-off requests.
func memoryPart(ctx context.Context, seed uint64) (part, error) {
	shares := []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1}
	jobs := make([]*job, 0, len(shares)*len(policies)*2)
	for _, oneOff := range []float64{0, 0.2} {
		for _, policy := range policies {
			for _, share := range shares {
				sc := base(seed)
				// Long lifetimes, so that the memory is what counts.
				sc.policy, sc.oneOff, sc.ttl, sc.duration, sc.warmup = policy, oneOff, time.Hour, 100*time.Second, 60*time.Second
				sc.memory = int64(share * float64(int64(sc.keys)*sc.entry))
				name := policyNames[policy]
				if oneOff > 0 {
					name += " +"
				}
				jobs = append(jobs, &job{name: name, x: share * 100, scenario: sc})
			}
		}
	}
	if err := simulateAll(ctx, jobs); err != nil {
		return part{}, err
	}
	table := &report.Table{Head: []string{"memory"}}
	for _, s := range series(jobs, (*result).hitRatio) {
		table.Head = append(table.Head, s.Name)
	}
	for i, share := range shares {
		row := []string{fmt.Sprintf("%g %%", share*100)}
		for n := i; n < len(jobs); n += len(shares) {
			row = append(row, ratio(jobs[n].hitRatio()))
		}
		table.Add(row...)
	}
	return part{"memory", report.Section{
		Title: "Memory and eviction", Table: table,
		Text: "Hit ratio over the memory of the server, in percent of what all 100,000 entries take. LRU and LFU are those of Redis, 2Q is that of Dragonfly. + is with 20 % one-off requests. The lifetime is an hour; the first minute, which begins empty, is not counted.",
		Charts: []report.Chart{
			memoryChart("memory", "Hit ratio over memory", jobs[:len(jobs)/2]),
			memoryChart("memory-one-off", "Hit ratio over memory, 20 % one-off requests", jobs[len(jobs)/2:]),
		},
	}}, nil
}

func memoryChart(name, title string, jobs []*job) report.Chart {
	return report.Chart{Name: name, Title: title, XLabel: "memory, % of all entries", YLabel: "hit ratio", LogX: true, Series: series(jobs, (*result).hitRatio)}
}

// instancesPart is what each switch does, over the number of instances.
func instancesPart(ctx context.Context, seed uint64) (part, error) {
	jobs := make([]*job, 0, 35)
	for _, c := range []struct {
		name string
		set  func(*scenario)
	}{
		{"coalescing among all", func(*scenario) {}},
		{"coalescing in a process", func(s *scenario) { s.scope = cacheaside.CoalesceProcess }},
		{"no coalescing", func(s *scenario) { s.scope = cacheaside.CoalesceNone }},
		{"near tier of 256 KiB", func(s *scenario) { s.near = 256 << 10 }},
		{"near tier of 16 MiB", func(s *scenario) { s.near = 16 << 20 }},
	} {
		for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
			sc := base(seed)
			sc.instances, sc.keys, sc.handler, sc.ttl = n, 10_000, time.Second, 10*time.Second
			sc.duration, sc.warmup = 50*time.Second, 20*time.Second
			c.set(&sc)
			jobs = append(jobs, &job{name: c.name, x: float64(n), scenario: sc})
		}
	}
	if err := simulateAll(ctx, jobs); err != nil {
		return part{}, err
	}
	table := &report.Table{Head: []string{"", "instances", "hit ratio", "near hit ratio", "handler calls /s", "in the busiest second", "server commands /s"}}
	for _, j := range jobs {
		if j.x == 2 || j.x == 16 || j.x == 32 {
			continue // these are in the charts
		}
		table.Add(j.name, report.Count(j.x), ratio(j.hitRatio()), ratio(j.nearRatio()), report.Count(j.rate(j.calls)), report.Count(j.peak()), report.Count(j.rate(j.commands)))
	}
	chart := func(jobs []*job, name, title, label string, y func(*result) float64) report.Chart {
		return report.Chart{Name: name, Title: title, XLabel: "instances", YLabel: label, LogX: true, FromZero: true, Series: series(jobs, y)}
	}
	per := len(jobs) / 5
	return part{"instances", report.Section{
		Title: "Instances, coalescing, near tier", Table: table,
		Text: "5,000 requests a second in all, 10,000 keys, a lifetime of 10 s, a handler that takes a second, memory for everything.",
		Charts: []report.Chart{
			chart(jobs[:3*per], "calls", "Handler calls over instances, in the busiest second", "calls", (*result).peak),
			chart(append(jobs[:per:per], jobs[3*per:]...), "commands", "Server commands over instances", "commands per second", func(r *result) float64 { return r.rate(r.commands) }),
		},
	}}, nil
}

// jitterPart is the handler's load after everything was stored at once.
func jitterPart(ctx context.Context, seed uint64) (part, error) {
	jobs := make([]*job, 0, 4)
	for _, jitter := range []float64{0, 0.1, 0.3, 0.5} {
		sc := base(seed)
		sc.jitter, sc.prefill, sc.warmup = jitter, true, 0
		jobs = append(jobs, &job{name: fmt.Sprintf("jitter %g", jitter), scenario: sc})
	}
	if err := simulateAll(ctx, jobs); err != nil {
		return part{}, err
	}
	table := &report.Table{Head: []string{"TTLJitter", "hit ratio", "handler calls /s", "in the busiest second"}}
	chart := report.Chart{Name: "jitter", Title: "Handler calls after everything was stored at once (TTL 60 s)", XLabel: "seconds", YLabel: "calls per second", FromZero: true}
	for _, j := range jobs {
		table.Add(fmt.Sprint(j.jitter), ratio(j.hitRatio()), report.Count(j.rate(j.calls)), report.Count(j.peak()))
		line := report.Series{Name: j.name}
		const step = 2 // seconds to a point
		for i := 0; i+step <= len(j.perSecond); i += step {
			line.Points = append(line.Points, report.Point{X: float64(i), Y: (j.perSecond[i] + j.perSecond[i+1]) / step})
		}
		chart.Series = append(chart.Series, line)
	}
	return part{"jitter", report.Section{
		Title: "Jitter", Table: table, Charts: []report.Chart{chart},
		Text: "All 100,000 responses are stored at the beginning, as by a program that warms the cache, with a lifetime of 60 s. Of 150 s.",
	}}, nil
}

// aheadPart is what refresh-ahead and stale-while-revalidate cost and save.
func aheadPart(ctx context.Context, seed uint64) (part, error) {
	var jobs []*job
	add := func(name string, x float64, set func(*scenario)) {
		sc := base(seed)
		set(&sc)
		jobs = append(jobs, &job{name: name, x: x, scenario: sc})
	}
	add("neither", 0, func(*scenario) {})
	aheads := []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95}
	for _, a := range aheads {
		add(fmt.Sprintf("RefreshAhead %g", a), a, func(s *scenario) { s.ahead = a })
	}
	for _, d := range []time.Duration{10 * time.Second, time.Minute} {
		add(fmt.Sprintf("WhileRevalidate %v", d), 0, func(s *scenario) { s.stale = d })
	}
	if err := simulateAll(ctx, jobs); err != nil {
		return part{}, err
	}
	table := &report.Table{Head: []string{"", "requests that wait for a handler", "stale answers", "handler calls /s", "to none"}}
	waits := func(r *result) float64 { return float64(r.misses+r.collapsed) / float64(r.requests) }
	plain := jobs[0].rate(jobs[0].calls)
	lines := []report.Series{{Name: "requests that wait for a handler"}, {Name: "handler calls"}}
	for _, j := range jobs {
		calls := j.rate(j.calls)
		table.Add(j.name, report.Share(waits(j.result)), report.Share(float64(j.stale())/float64(j.requests)), report.Count(calls), report.Ratio(calls/plain))
		if j.x > 0 {
			lines[0].Points = append(lines[0].Points, report.Point{X: j.x, Y: 100 * waits(j.result) / waits(jobs[0].result)})
			lines[1].Points = append(lines[1].Points, report.Point{X: j.x, Y: 100 * calls / plain})
		}
	}
	return part{"ahead", report.Section{
		Title: "Refresh-ahead and stale-while-revalidate", Table: table,
		Text: "100,000 keys, 5,000 requests a second, a lifetime of 60 s, a handler that takes 50 ms.",
		Charts: []report.Chart{{
			Name: "ahead", Title: "What refresh-ahead costs and saves", XLabel: "RefreshAhead, fraction of the lifetime", YLabel: "% of what is without", FromZero: true, Series: lines,
		}},
	}}, nil
}

func (j *job) stale() uint64 { return j.result.stale }

// measuredOnServers are hit ratios of the engine on real servers with 256 MiB: a million
// keys by Zipf 1.02, bodies of 1 KiB that compress, 70,000 requests a second, November
// 2026, redis-server 7.0 and Dragonfly v1.40.1 with one thread.
var measuredOnServers = map[string][2]float64{lru: {0.845, 0.633}, lfu: {0.844, 0.639}, dash: {0.847, 0.635}}

// What the servers held then: that of LFU was not noted.
var heldOnServers = map[string]int64{lru: 290_000, lfu: 290_000, dash: 375_000}

// serversPart is the simulation beside what was measured on real servers. How many
// requests there were was not noted: the number is the one with which LRU, without one-off
// requests, comes nearest to what was measured. The other five are not fitted.
func serversPart(ctx context.Context, seed uint64) (part, error) {
	jobs := make([]*job, 0, 2*len(policies))
	for _, policy := range policies {
		for i, oneOff := range []float64{0, 0.2} {
			sc := base(seed)
			sc.policy, sc.oneOff, sc.rps, sc.keys, sc.ttl, sc.instances = policy, oneOff, 70_000, 1_000_000, time.Hour, 1
			sc.handler, sc.warmup, sc.duration = time.Millisecond, 0, time.Duration(requestsOnServers/sc.rps*float64(time.Second))
			sc.memory = heldOnServers[policy] * sc.entry
			jobs = append(jobs, &job{name: policy, x: float64(i), scenario: sc})
		}
	}
	if err := simulateAll(ctx, jobs); err != nil {
		return part{}, err
	}
	table := &report.Table{Head: []string{"policy", "one-off", "keys", "hit ratio measured", "simulated", "difference"}}
	for _, j := range jobs {
		measured := measuredOnServers[j.name][int(j.x)]
		table.Add(policyNames[j.name], report.Share(j.oneOff), report.Count(float64(heldOnServers[j.name])), ratio(measured), ratio(j.hitRatio()), fmt.Sprintf("%+.3f", j.hitRatio()-measured))
	}
	return part{"servers", report.Section{
		Title: "Beside real servers", Table: table,
		Text: "The engine with 256 MiB, a million keys by Zipf 1.02, 70,000 requests a second, beginning empty. The simulation has room for as many keys as the servers held.",
	}}, nil
}

const requestsOnServers = 2_100_000

// publish runs everything, and writes the report and the README's tables and charts.
func (o *options) publish(ctx context.Context, progress io.Writer) error {
	began := time.Now()
	var parts []part
	for _, simulated := range []func(context.Context, uint64) (part, error){memoryPart, instancesPart, jitterPart, aheadPart, serversPart} {
		p, err := simulated(ctx, o.seed)
		if err != nil {
			return err
		}
		parts = append(parts, p)
		_, _ = fmt.Fprintf(progress, "%s: %v\n", p.Title, time.Since(began).Round(time.Second))
	}
	table, err := checkTable(ctx, o.seed, progress)
	if err != nil {
		return err
	}
	parts = append(parts, part{"check", report.Section{Title: "Beside a small redis-server", Table: table, Text: "40,000 requests for 20,000 keys by Zipf 1.02 through the engine to a redis-server, and the same requests simulated."}})
	facts := append(report.Machine(), report.Today(), report.Fact{Name: "seed", Value: strconv.FormatUint(o.seed, 10)})
	if o.mode.out != "" {
		page := report.Page{
			Title: "What a cache is good for", Facts: facts,
			Lead: "Simulated hit ratio and load of handlers and server, for Zipf traffic over several instances. The README of examples/bench/simulate says what is modelled.",
		}
		for _, p := range parts {
			page.Sections = append(page.Sections, p.Section)
		}
		if err := page.Write(o.mode.out); err != nil {
			return err
		}
	}
	if o.mode.docs != "" {
		return document(parts, facts).Write(o.mode.docs)
	}
	return nil
}

// document is the README with its tables and charts.
func document(parts []part, facts []report.Fact) report.Document {
	lines := make([]string, 0, len(facts))
	for _, f := range facts {
		lines = append(lines, f.Name+" "+f.Value)
	}
	d := report.Document{Places: []report.Place{{Name: "facts", Text: "_" + strings.Join(lines, "; ") + "_"}}}
	for _, p := range parts {
		d.Places = append(d.Places, report.Place{Name: p.name, Text: p.Table.Markdown()})
		d.Charts = append(d.Charts, p.Charts...)
	}
	return d
}
