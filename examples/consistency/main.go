// Command consistency checks that an acknowledged purge holds:
//
//	go run ./examples/consistency -reads 200000
//
// Processes in four frameworks serve the same rows through the cache on one
// server. Writers change rows and purge them, by tag, URL, prefix or all,
// through any of the processes; readers note, before each read, which version a
// purge was acknowledged for, and what they get must not be older. Meanwhile keys
// are evicted at random, connections are cut, and the server loses all its data.
// It prints a table, and ends with status 1 if there were violations.
//
// With -near the processes keep copies of their own, which learn of a purge a
// little later: then it prints how much later, and ends with status 1 if that was
// more than what a copy may be old at most.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
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
	flag.StringVar(&c.server, "dragonfly", "", "Dragonfly or Redis `address`, host:port; its data is flushed again and again (empty: start one that is on the PATH, which is killed as well)")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of what happens to the server, and of who does what")
	flag.IntVar(&c.reads, "reads", 200_000, "how many reads")
	flag.IntVar(&c.processes, "processes", 4, "how many processes, of fiber, gin, echo and chi in turn")
	flag.IntVar(&c.rows, "rows", 24, "how many rows")
	flag.IntVar(&c.near, "near", 0, "bytes of each process's near tier (0: none)")
	flag.Parse()
	if flag.NArg() > 0 || c.reads < 1 || c.processes < 1 || c.rows < 1 || c.near < 0 {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "-reads, -processes and -rows must be positive, and there are no arguments")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := c.run(ctx)
	if err == nil {
		fmt.Print(r.table(c))
		err = r.broken(c)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "consistency:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
