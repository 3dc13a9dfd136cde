// Command faultlab breaks the server of the cache, the network to it and the
// handlers behind it in every way that it knows, while clients ask a service in
// each of the four frameworks, and checks that nobody is told anything wrong and
// that nobody sees an error which the handler has not caused.
//
//	go run ./examples/faultlab            # 5 s per fault
//	go run ./examples/faultlab -quick     # 1 s
//	go run ./examples/faultlab -only 'silent|slow' -v
//	go run ./examples/faultlab -soak 10m  # no faults, but does it stay as small as it is?
//
// It takes the server that DRAGONFLY_ADDR names, if that has no data, for what does not break
// the server itself; for what does, or where none is named, the first of dragonfly,
// valkey-server and redis-server on the PATH that can have the fault, which it starts, kills
// and stops. The exit status is 1 if anything was wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	var l lab
	quick := flag.Bool("quick", false, "one second per fault")
	only := flag.String("only", "", "only the faults whose names match this regular expression")
	markdown := flag.Bool("markdown", false, "print a table for a README")
	flag.DurationVar(&l.length, "for", 5*time.Second, "how long each fault lasts")
	flag.Uint64Var(&l.seed, "seed", uint64(time.Now().UnixNano()), "of the load and of what is broken at random")
	soak := flag.Duration("soak", 0, "no faults, but so long a run over 100,000 rows, with a look at what the process holds")
	flag.IntVar(&l.near, "near", 0, "bytes of a near tier; 0: none")
	flag.BoolVar(&l.verbose, "v", false, "a line for each framework, and what was wrong")
	flag.Parse()
	if *quick {
		l.length = time.Second
	}
	var err error
	if l.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "faultlab: -only:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	on, err := l.choose(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultlab:", err)
		return 1
	}
	defer func() {
		if err := l.giveBack(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "faultlab: the server is left with what was stored:", err)
		}
	}()
	if *soak > 0 {
		if err := l.soak(ctx, *soak, 100_000, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "faultlab:", err)
			return 1
		}
		return 0
	}
	t := newTable(os.Stdout, *markdown)
	if !*markdown {
		fmt.Printf("seed %d, %v per fault, %s\n", l.seed, l.length, on)
	}
	ok, err := l.run(ctx, t.add)
	t.end()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "faultlab:", err)
		return 1
	case !ok:
		fmt.Fprintln(os.Stderr, "faultlab: there were wrong answers, or errors that no handler has caused")
		return 1
	}
	return 0
}
