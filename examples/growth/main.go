// Command growth measures what a hit, a fill and purges cost, and how many bytes an
// entry takes, as a cache grows:
//
//	go run ./examples/growth -max 1000000
//
// It fills a cache on net/http, in memory and on a server, with a thousand to a million
// responses of 0, 1, 5 and 50 tags, and prints a table in Markdown. Each response has one
// tag that all have, and shares the others with nine more. A hit is of a response at
// random, a fill the handler's call and the store of one that is new, by one client
// without a connection; each is the best of many rounds. Purges are of the tag that all
// have and of URLs. Of each answer it is checked that it was a hit or a miss as it should
// be.
//
// Without -dragonfly it starts the redis-server, valkey-server or dragonfly on the PATH
// for itself. Nobody else may use the server meanwhile, or the bytes are wrong; what the
// program has stored there is removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

func main() {
	var g growth
	flag.StringVar(&g.addr, "dragonfly", os.Getenv("DRAGONFLY_ADDR"), "Dragonfly or Redis `address`, host:port (empty: start one that is on the PATH)")
	flag.IntVar(&g.most, "max", 1_000_000, "how many entries there are in the end")
	flag.IntVar(&g.bytes, "bytes", 1024, "of the body of a response")
	flag.DurationVar(&g.each, "time", time.Second, "how long each cost is measured")
	only := flag.String("only", "", "memory or server (empty: both)")
	flag.Parse()
	if flag.NArg() > 0 || g.most < least || g.bytes < 0 || g.each <= 0 || *only != "" && *only != "memory" && *only != "server" {
		_, _ = fmt.Fprintf(flag.CommandLine.Output(), "-max must be %d at least, -bytes and -time positive, -only memory or server, and there are no arguments\n", least)
		flag.Usage()
		os.Exit(2)
	}
	g.kinds, g.tags = kinds, tags
	if *only != "" {
		g.kinds = []string{*only}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := g.run(ctx, os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

const least = 1000

var (
	kinds = []string{"memory", "server"} // of stores
	tags  = []int{0, 1, 5, 50}
)

// growth is what is measured.
type growth struct {
	kinds       []string
	tags        []int  // of the responses
	addr        string // of the server
	most, bytes int
	each        time.Duration
}

func (g growth) run(ctx context.Context, out io.Writer) (err error) {
	if g.addr == "" && strings.Contains(strings.Join(g.kinds, " "), "server") {
		dir, err := os.MkdirTemp("", "cacheaside-growth-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		own, err := server.StartStore(context.WithoutCancel(ctx), dir) // until what is stored there was removed
		if err != nil {
			return err
		}
		defer own.Stop()
		g.addr = own.Addr
		if err := unbound(ctx, g.addr); err != nil {
			return err
		}
	}
	for _, kind := range g.kinds { // the first one pays for what the process has from the system
		if _, err := g.measure(ctx, kind, 0, least); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	_, _ = fmt.Fprint(out, "| store | tags | entries | hit | fill | purge of a tag that all have | purge of a URL | bytes an entry |\n"+
		"|---|---|---|---|---|---|---|---|\n")
	for _, kind := range g.kinds {
		for _, n := range g.tags {
			for size := least; size <= g.most; size *= 10 {
				c, err := g.measure(ctx, kind, n, size)
				if err != nil {
					return fmt.Errorf("%s, %d tags, %d entries: %w", kind, n, size, err)
				}
				_, _ = fmt.Fprintf(out, "| %s | %d | %d | %s | %s | %s | %s | %d |\n",
					kind, n, size, took(c.hit), took(c.fill), took(c.tag), took(c.url), c.bytes)
			}
		}
	}
	return nil
}

// costs is a row of the table.
type costs struct {
	hit, fill, tag, url time.Duration
	bytes               int64
}

// took gives two digits.
func took(d time.Duration) string {
	us := float64(d) / float64(time.Microsecond)
	switch {
	case d == 0:
		return "–"
	case us < 1:
		return fmt.Sprintf("%.2f µs", us)
	case us < 10:
		return fmt.Sprintf("%.1f µs", us)
	}
	return fmt.Sprintf("%.0f µs", us)
}
