// Command consistency checks that an acknowledged purge holds:
//
//	go run ./examples/consistency -reads 200000
//
// Processes in four frameworks serve the same rows through the cache on one
// server, each with several policies, a path for each. Writers change rows and
// purge them, by tag, URL, prefix or all, hard or softly, through any of the
// processes; readers note, before each read, which version a purge was
// acknowledged for. Meanwhile keys of every kind are evicted at random (values,
// variants and their records, locks, stamps, the clock of purges, its ring and its
// journal), connections are cut, scripts are forgotten, processes are stopped in the
// midst of what they do, and the server loses all its data. A Redis that the program
// has started does not know the command TIME. Of each answer, to GET or HEAD, a 304
// too, it checks:
//
//   - It is not older than what was purged hard, for whatever reason it was served:
//     from the store, from a run in the background, while it was revalidated, in
//     place of an error, after a soft time-out, brought back by a 304.
//   - What was purged softly is served as stale only.
//   - What is stale is served where its policy has that, and no longer than its
//     policy has it.
//   - Its fields and its body are of one version, and of what was asked for.
//
// In the end everything is purged once more, softly, and has to be renewed and
// fresh again within 15 seconds. It prints a table of what has happened how often,
// and ends with status 1 if there were violations.
//
// Everything is on by default. Flags turn it off one by one: -policies, -ahead,
// -swr, -sie, -soft-timeout, -stated, -validate, -head, -conditional, -soft and -pause, as in
// -soft=false. Without any of it all rows have the plain policy, with which only a
// purge ends what is stored.
//
// With -near the processes keep copies of their own, which learn of a purge a
// little later: then it prints how much later, and ends with status 1 if that was
// more than what a copy may be old at most.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// asWorker names the variable that makes this program a worker; it holds its
// settings.
const asWorker = "CONSISTENCY_WORKER"

func main() {
	if settings := os.Getenv(asWorker); settings != "" {
		var w worker
		err := json.Unmarshal([]byte(settings), &w)
		if err == nil {
			err = w.serve()
		}
		exit(err)
	}
	var c check
	flag.StringVar(&c.server, "dragonfly", "", "Dragonfly or Redis `address`, host:port; its data is flushed again and again (empty: the one that DRAGONFLY_ADDR names, if it has no data; without that start one that is on the PATH, which is killed as well)")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of what happens to the server, and of who does what")
	flag.IntVar(&c.reads, "reads", 200_000, "how many reads")
	flag.IntVar(&c.processes, "processes", 4, "how many processes, of fiber, gin, echo and chi in turn")
	flag.IntVar(&c.rows, "rows", 60, "how many rows, of the policies in turn")
	flag.IntVar(&c.near, "near", 0, "bytes of each process's near tier (0: none)")
	flag.BoolVar(&c.Policies, "policies", true, "several policies in each process: other parts of the key, no coalescing, one handle inside another, and one URL with another policy in each process")
	flag.BoolVar(&c.Ahead, "ahead", true, "a policy with RefreshAhead")
	flag.BoolVar(&c.SWR, "swr", true, "a policy with StaleWhileRevalidate")
	flag.BoolVar(&c.SIE, "sie", true, "a policy with StaleIfError, where the origin fails at random")
	flag.BoolVar(&c.SoftTimeout, "soft-timeout", true, "a policy with SoftTimeout, where the origin is slow at random")
	flag.BoolVar(&c.Stated, "stated", true, "a policy where the responses themselves say how long they may be served")
	flag.BoolVar(&c.Validate, "validate", true, "the origin answers 304 where the cache asks whether a version is still good, and purges come without a new version")
	flag.BoolVar(&c.Head, "head", true, "readers send HEAD as well")
	flag.BoolVar(&c.Conditional, "conditional", true, "readers send If-None-Match as well")
	flag.BoolVar(&c.Soft, "soft", true, "writers purge softly as well")
	flag.BoolVar(&c.Pause, "pause", true, "processes are stopped now and then, for longer than their tokens live")
	flag.Parse()
	c.most = c.reads
	if flag.NArg() > 0 || c.reads < 1 || c.processes < 1 || c.rows < 1 || c.near < 0 {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "-reads, -processes and -rows must be positive, and there are no arguments")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := c.runSomewhere(ctx)
	if err == nil {
		fmt.Print(r.table(c))
		err = r.broken(c)
	}
	exit(err)
}

// runSomewhere runs on the server that is named, by the flag or by DRAGONFLY_ADDR, else on one
// of its own.
func (c check) runSomewhere(ctx context.Context) (r *result, err error) {
	if c.server != "" {
		return c.run(ctx)
	}
	lent, empty, err := server.LentStore(ctx)
	if err != nil {
		return nil, err
	}
	if lent == "" {
		return c.run(ctx)
	}
	c.server = lent
	defer func() { err = errors.Join(err, empty(context.WithoutCancel(ctx))) }()
	return c.run(ctx)
}

func exit(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "consistency:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
