// Command growth measures what grows with a cache, and what does not:
//
//	go run ./examples/bench/growth -max 1000000
//
// It has five axes, each of them measured by itself: the entries there are, the tags that
// an entry has, the entries that a tag has, the processes that share a server, and the
// purges in a second. On each it measures what hits, fills and purges cost, in time, in
// round trips, and in commands and processor time of the server; the bytes that an entry
// takes; and the hit ratio. It does so in memory, on a server, and with a near tier. Of
// each answer it is checked that it was a hit or a miss as it should be.
//
// The tables go to the standard output. With -out it writes a report in HTML, with charts;
// with -docs it renews the tables and charts of its own README.
//
// Without -dragonfly it starts the dragonfly, valkey-server or redis-server on the PATH
// for itself. On a server that it is given, it removes what it has stored and nothing
// else; should others use that meanwhile, the figures are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

func main() {
	if ran, err := runWorker(os.Stdin, os.Stdout); ran {
		exit(err)
	}
	l, out, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = l.run(ctx, os.Stdout, out)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const least = 1000 // entries

// lab is what is measured, and on what.
type lab struct {
	addr      string
	axes      []string
	max       int
	bytes     int // of a body
	rounds    int
	calls     int           // in a round
	time      time.Duration // of a round where it is that long
	seed      uint64
	tags      []int
	processes []int
	rates     []int

	progress io.Writer
	begun    time.Time
	rand     *rand.Rand
	backend  *backend
}

// output is where the results go, besides the standard output.
type output struct {
	report string // directory; empty: nowhere
	docs   string // directory with the README; empty: nowhere
}

func parse(args []string, messages io.Writer) (*lab, output, error) {
	l := &lab{tags: []int{0, 1, 5, 10, 20, 50}, processes: []int{1, 2, 4, 8}, rates: []int{0, 10, 100, 1000}, progress: messages}
	var out output
	f := flag.NewFlagSet("growth", flag.ContinueOnError)
	f.SetOutput(messages)
	f.StringVar(&l.addr, "dragonfly", os.Getenv("DRAGONFLY_ADDR"), "Dragonfly or Redis `address`, host:port (empty: start one that is on the PATH)")
	f.IntVar(&l.max, "max", 1_000_000, "how many `entries` there are in the end, 1000 at least; in memory a million at most")
	f.IntVar(&l.bytes, "bytes", 128, "of the `body` of a response, up to 8192")
	f.IntVar(&l.rounds, "rounds", 5, "how `often` each cost is measured")
	f.IntVar(&l.calls, "calls", 500, "`how many` fills and purges there are in a round, 10 to 500")
	f.DurationVar(&l.time, "time", time.Second, "how `long` a round takes where it goes by time: with several processes half of it")
	f.Uint64Var(&l.seed, "seed", 1, "of what is read and purged at random")
	only := f.String("only", "", "`axes`, with commas: "+strings.Join(axisNames(), ", ")+" (empty: all)")
	f.StringVar(&out.report, "out", "", "`directory` for report.html and its charts")
	docs := f.Bool("docs", false, "renew the tables and charts of this program's README")
	if err := f.Parse(args); err != nil {
		return nil, out, err
	}
	l.axes = axisNames()
	if *only != "" {
		l.axes = strings.Split(*only, ",")
	}
	if *docs {
		dir, err := report.SourceDir()
		if err != nil {
			return nil, out, err
		}
		out.docs = dir
	}
	return l, out, l.check(f.Args())
}

func (l *lab) check(args []string) error {
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{len(args) > 0, fmt.Sprintf("%q: there are flags only, no arguments", args)},
		{l.max < least || l.max > 100_000_000, fmt.Sprintf("-max %d: want 1000 to 100000000", l.max)},
		{l.bytes < 0 || l.bytes > 8192, fmt.Sprintf("-bytes %d: want 0 to 8192", l.bytes)},
		{l.rounds < 1, fmt.Sprintf("-rounds %d: want 1 at least", l.rounds)},
		{l.calls < shared || l.calls > least/2, fmt.Sprintf("-calls %d: want %d to %d", l.calls, shared, least/2)},
		{l.time < time.Millisecond, fmt.Sprintf("-time %v: want a millisecond at least", l.time)},
	} {
		if wrong.is {
			return errors.New(wrong.text)
		}
	}
	for _, name := range l.axes {
		if !slices.Contains(axisNames(), name) {
			return fmt.Errorf("-only %q: want some of %s, with commas", name, strings.Join(axisNames(), ", "))
		}
	}
	return nil
}

// axis is one that a cache grows on. Its sections have the names of their places in the
// README.
type axis struct {
	name    string
	measure func(*lab, context.Context) ([]section, error)
}

func axes() []axis {
	return []axis{
		{"entries", (*lab).entriesAxis},
		{"tags", (*lab).tagsAxis},
		{"pertag", (*lab).perTagAxis},
		{"processes", (*lab).processesAxis},
		{"purges", (*lab).purgesAxis},
	}
}

func axisNames() (names []string) {
	for _, a := range axes() {
		names = append(names, a.name)
	}
	return names
}

func (l *lab) run(ctx context.Context, tables io.Writer, out output) error {
	l.begun = time.Now()
	var all []section
	for _, a := range axes() {
		if !slices.Contains(l.axes, a.name) {
			continue
		}
		sections, err := l.along(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		for _, s := range sections {
			_, _ = fmt.Fprintf(tables, "%s\n\n%s\n", s.Title, s.Table.Text())
		}
		all = append(all, sections...)
	}
	l.say("done")
	return l.write(all, out)
}

// along measures an axis, as if it were the only one: a server that has held ten million
// keys is busy with that for a while.
func (l *lab) along(ctx context.Context, a axis) (sections []section, err error) {
	l.rand = random(l.seed)
	entry := int64(2*l.bytes + 1024) // more than one takes
	if l.backend, err = start(ctx, l.addr, 512<<20+int64(l.max)*entry); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.backend.close()) }()
	if err := l.warm(ctx); err != nil {
		return nil, err
	}
	return a.measure(l, ctx)
}

// warm has a server make, once, what it keeps besides entries: scripts and buffers.
func (l *lab) warm(ctx context.Context) (err error) {
	sites, space, err := l.sites(ctx, shape{Bytes: l.bytes, Tags: 1}, []string{onServer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.done(ctx, sites, space)) }()
	return sites[0].load(ctx, upTo(0, least))
}

// say tells how far it is.
func (l *lab) say(format string, args ...any) {
	_, _ = fmt.Fprintf(l.progress, "%6.1f s  %s\n", time.Since(l.begun).Seconds(), fmt.Sprintf(format, args...))
}

// facts are where and when it was measured.
func (l *lab) facts() []report.Fact {
	return append(append([]report.Fact{report.Today()}, report.Machine()...),
		report.Fact{Name: "server", Value: l.backend.name + ", on the same machine"},
		report.Fact{Name: "seed", Value: strconv.FormatUint(l.seed, 10)},
		report.Fact{Name: "rounds", Value: strconv.Itoa(l.rounds)})
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
