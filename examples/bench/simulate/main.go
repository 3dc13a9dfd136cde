// Command simulate says what a cache is good for before there is one: hit ratio, load of
// the handlers and of the server, for Zipf traffic over several instances.
//
//	go run ./examples/bench/simulate -rps 5000 -keys 100000 -instances 8 -near 8388608
//	go run ./examples/bench/simulate -size -rps 5000 -keys 1000000 -body 4096 -ttl 1m -instances 8
//	go run ./examples/bench/simulate -check
//	go run ./examples/bench/simulate -out report
//
// Without a mode it simulates what the flags say, once. With -size it does not simulate but
// adds up, as core/SIZING.md describes. With -check it compares the simulation with a real
// redis-server, which must be on the PATH. With -out or -docs it runs all the scenarios of
// the README, which takes a minute or two, and -check.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	scenario
	sizing   sizing
	body     int64
	coalesce string
	mode     struct {
		size, check bool
		out, docs   string
	}
}

func parse(args []string, errs io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("simulate", flag.ContinueOnError)
	f.SetOutput(errs)
	f.BoolVar(&o.mode.size, "size", false, "do not simulate: reckon what is needed, as core/SIZING.md says")
	f.BoolVar(&o.mode.check, "check", false, "compare with a real redis-server")
	f.StringVar(&o.mode.out, "out", "", "run all scenarios of the README, and write report.html and the charts to a `directory`")
	docs := f.Bool("docs", false, "run all scenarios, and renew the tables and charts of this program's README")

	f.Uint64Var(&o.seed, "seed", 1, "of chance: the same one gives the same result")
	f.Float64Var(&o.rps, "rps", 5000, "requests per second of all instances together")
	f.IntVar(&o.keys, "keys", 100_000, "how many different responses there are")
	f.Float64Var(&o.zipf, "zipf", 1.02, "exponent of the requests' distribution: 0 asks for all alike, 0.7 to 1.1 is usual")
	f.Float64Var(&o.oneOff, "one-off", 0, "share of the requests that are for what nobody asks for again")
	f.Int64Var(&o.body, "body", 1024, "bytes of a body, compressed if it is")
	f.DurationVar(&o.ttl, "ttl", time.Minute, "lifetime of a response")
	f.Float64Var(&o.jitter, "jitter", 0, "TTLJitter")
	f.Float64Var(&o.ahead, "ahead", 0, "RefreshAhead")
	f.DurationVar(&o.stale, "stale", 0, "WhileRevalidate")
	f.IntVar(&o.instances, "instances", 4, "of the service")
	f.Int64Var(&o.near, "near", 0, "bytes of the near tier of an instance (0: none)")
	f.DurationVar(&o.nearAge, "near-age", 10*time.Second, "MaxAge of the near tier")

	f.DurationVar(&o.hotWithin, "hot-within", time.Second, "HotWithin of the near tier; not with -size")
	f.StringVar(&o.coalesce, "coalesce", "all", "all, process or none; not with -size")
	f.StringVar(&o.policy, "policy", dash, "of eviction: lru, lfu (Redis) or 2q (Dragonfly); not with -size")
	f.Int64Var(&o.memory, "memory", 64<<20, "bytes for entries on the server; not with -size")
	f.DurationVar(&o.handler, "handler", 50*time.Millisecond, "how long the handler takes, mean; not with -size")
	f.Float64Var(&o.spread, "spread", 0.5, "of the logarithm of that time; not with -size")
	f.Float64Var(&o.purges, "purges", 0, "of URLs, per second; not with -size")
	f.DurationVar(&o.duration, "duration", 4*time.Minute, "in virtual time; not with -size")
	f.DurationVar(&o.warmup, "warmup", 2*time.Minute, "of the duration, not counted; not with -size")
	f.BoolVar(&o.prefill, "prefill", false, "begin with everything stored at once; not with -size")

	f.IntVar(&o.sizing.tags, "tags", 0, "of a response; only with -size")
	f.IntVar(&o.sizing.cpus, "cpus", 4, "of an instance, as GOMAXPROCS has it; only with -size")
	f.Int64Var(&o.sizing.server, "server-memory", 64<<30, "bytes of the largest server that you would run; only with -size")
	f.IntVar(&o.sizing.threads, "server-threads", 8, "of the server: 1 for Redis; only with -size")
	f.Float64Var(&o.sizing.perThread, "server-commands", 100_000, "that a thread of it does per second; only with -size")
	f.Float64Var(&o.sizing.network, "server-network", 1.25e9, "bytes per second of it; only with -size")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: there are no arguments, only flags", f.Arg(0))
	}
	if *docs {
		var err error
		if o.mode.docs, err = report.SourceDir(); err != nil {
			return nil, err
		}
	}
	return o, o.complete()
}

func (o *options) complete() error {
	scopes := map[string]cacheaside.CoalescingScope{}
	for _, s := range []cacheaside.CoalescingScope{cacheaside.CoalesceAll, cacheaside.CoalesceProcess, cacheaside.CoalesceNone} {
		scopes[s.String()] = s
	}
	scope, ok := scopes[o.coalesce]
	if !ok {
		return fmt.Errorf("-coalesce: %q is unknown: use all, process or none", o.coalesce)
	}
	o.scope = scope
	o.sizing.body = o.body
	o.sizing.load = load{
		rps: o.rps, keys: o.keys, zipf: o.zipf, oneOff: o.oneOff, ttl: o.ttl, stale: o.stale, jitter: o.jitter, ahead: o.ahead,
		instances: o.instances, near: o.near, nearAge: o.nearAge,
	}
	if o.mode.size {
		return o.sizing.check()
	}
	o.value, o.entry = valueBytes(o.body), entryBytes(o.body, 0)
	return o.scenario.check()
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	o, err := parse(args, errs)
	if err != nil {
		return err
	}
	switch m := o.mode; {
	case m.size:
		return o.sizing.write(out)
	case m.out != "" || m.docs != "":
		return o.publish(ctx, errs)
	case m.check:
		table, err := checkTable(ctx, o.seed, errs)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, table.Text())
		return err
	}
	r, err := simulate(o.scenario)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, r.table().Text())
	return err
}

// table is one result.
func (r *result) table() *report.Table {
	t := &report.Table{Head: []string{"what", "how much"}}
	t.Add("requests", report.Count(r.rate(r.requests))+" /s")
	t.Add("hit ratio", fmt.Sprintf("%.4f", r.hitRatio()))
	t.Add("near hit ratio", fmt.Sprintf("%.4f", r.nearRatio()))
	for _, part := range []struct {
		name string
		n    uint64
	}{{"hits on the server", r.hits}, {"stale", r.stale}, {"collapsed", r.collapsed}, {"misses", r.misses}} {
		t.Add(part.name, report.Count(r.rate(part.n))+" /s")
	}
	t.Add("handler calls", report.Count(r.rate(r.calls))+" /s")
	t.Add("  in the background", report.Count(r.rate(r.background))+" /s")
	t.Add("  peak", report.Count(r.peak())+" in a second")
	t.Add("server commands", report.Count(r.rate(r.commands))+" /s")
	t.Add("entries in the end", strconv.Itoa(r.entries))
	t.Add("bytes at most", report.Bytes(float64(r.mostBytes)))
	t.Add("evictions", report.Count(float64(r.evicted)))
	return t
}
