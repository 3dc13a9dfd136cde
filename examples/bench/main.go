// The program bench measures side by side what a user would choose between: no cache,
// cacheaside, and Fiber's own cache. See its README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
	programs "github.com/cacheaside/cacheaside/examples/internal/server"
)

type options struct {
	rounds, clients, crowd int
	time, lost, wait, slow time.Duration
	seed                   uint64
	out                    string
	docs                   string // the folder of the README

	choices    []choice
	situations []situation
	frameworks []string
}

func main() {
	if text := os.Getenv(serviceVariable); text != "" {
		if err := serve(text, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the flags.
func parse(args []string, out io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(out)
	f.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	f.DurationVar(&o.time, "time", 200*time.Millisecond, "of one measure, after a quarter of it to warm up")
	f.DurationVar(&o.lost, "lost", time.Second, "how long clients ask after the server has gone")
	f.IntVar(&o.clients, "clients", 64, "that ask at a time, each over a connection of its own")
	f.IntVar(&o.crowd, "crowd", 500, "clients that ask at once for a cold key")
	f.DurationVar(&o.wait, "wait", time.Millisecond, "of the handler, as for a database")
	f.DurationVar(&o.slow, "slow", 50*time.Millisecond, "wait of the handler of a cold key")
	f.Uint64Var(&o.seed, "seed", 1, "of the order in which things are measured")
	f.StringVar(&o.out, "out", "", "directory for report.html and its plots; empty: none")
	docs := f.Bool("docs", false, "renew the tables and plots of this program's README")
	only := f.String("only", "", "choices, by commas; empty: all of none,memory,near,server,fiber-memory,fiber-redis,fiber-rueidis,floor-memory,floor-server")
	cases := f.String("cases", "", "situations, by commas; empty: all of hit-1,hit-16,hit-256,gzip,miss,cold,paused,ended")
	in := f.String("frameworks", "", "by commas; empty: all of fiber,gin,echo,chi. The first stands for all where the server goes")
	short := f.Bool("short", false, "one quick round, whose figures say little")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag: see -help", f.Arg(0))
	}
	if *short {
		given := map[string]bool{}
		f.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"rounds": "1", "time": "30ms", "lost": "200ms"} {
			if !given[name] {
				err = errors.Join(err, f.Set(name, value))
			}
		}
	}
	if *docs && *only+*cases+*in != "" {
		return o, errors.New("-docs: the documents have everything: leave out -only, -cases and -frameworks")
	}
	if *docs {
		if o.docs, err = report.SourceDir(); err != nil {
			return o, err
		}
	}
	var some []kind
	var all []kind
	for _, k := range kinds {
		all = append(all, k.kind)
	}
	var e1, e2, e3 error
	some, e1 = picked("only", *only, all, func(k kind) string { return string(k) })
	o.situations, e2 = picked("cases", *cases, situations, func(s situation) string { return s.id })
	o.frameworks, e3 = picked("frameworks", *in, frameworks, func(s string) string { return s })
	o.choices = choices(some, o.frameworks)
	return o, errors.Join(err, e1, e2, e3, o.validate())
}

func (o options) validate() error {
	var errs []error
	least := func(name string, n, least int) {
		if n < least {
			errs = append(errs, fmt.Errorf("-%s is %d: use %d or more", name, n, least))
		}
	}
	span := func(name string, d, least, most time.Duration) {
		if d < least || d > most {
			errs = append(errs, fmt.Errorf("-%s is %v: use %v to %v", name, d, least, most))
		}
	}
	least("rounds", o.rounds, 1)
	least("clients", o.clients, 1)
	least("crowd", o.crowd, 1)
	span("time", o.time, 10*time.Millisecond, time.Minute)
	span("lost", o.lost, 10*time.Millisecond, time.Minute)
	span("wait", o.wait, 0, time.Second)
	span("slow", o.slow, 0, time.Second)
	return errors.Join(errs...)
}

// run is the program. It ends early when ctx does, with what there is then.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	opt, err := parse(args, log)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cacheaside-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &measuring{opt: opt}
	end, err := m.connect(ctx, dir)
	if err != nil {
		return err
	}
	tell, finish := progress(log)
	r, err := m.run(ctx, tell)
	finish()
	err = errors.Join(err, end())
	switch {
	case ctx.Err() != nil:
		_, _ = fmt.Fprintln(log, "interrupted: this is what there is")
		return m.tellAll(r, out, log, true)
	case err != nil: // what took minutes is not lost
		return errors.Join(err, m.tellAll(r, out, log, true))
	}
	return m.tellAll(r, out, log, false)
}

// connect starts a server, or takes the one that DRAGONFLY_ADDR names. End ends or empties it.
func (m *measuring) connect(ctx context.Context, dir string) (end func() error, err error) {
	addr, empty, err := programs.LentStore(ctx)
	if err != nil {
		return nil, err
	}
	m.store = &servers.Server{Addr: addr}
	if m.own = addr == ""; m.own {
		if m.store, err = programs.StartStore(ctx, dir); err != nil {
			return nil, err
		}
	}
	if m.client, err = dragonfly.NewClient(ctx, m.store.Addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		return nil, err
	}
	return func() error {
		m.client.Close()
		if m.own {
			m.store.Stop()
			return nil
		}
		return empty(context.WithoutCancel(ctx))
	}, nil
}

// progress is a bar on a terminal, and a line for each thing that begins elsewhere.
func progress(w io.Writer) (tell func(done, of int, what string), finish func()) {
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		last := ""
		return func(done, of int, what string) {
			if what != last {
				_, _ = fmt.Fprintf(w, "%3d %%  %s\n", 100*done/of, what)
			}
			last = what
		}, func() {}
	}
	var bar *progressbar.ProgressBar
	return func(done, of int, what string) {
			if bar == nil {
				bar = progressbar.NewOptions(of, progressbar.OptionSetWriter(w), progressbar.OptionSetPredictTime(true),
					progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
			}
			bar.Describe(what)
			_ = bar.Set(done)
		}, func() {
			if bar != nil {
				_ = bar.Exit()
			}
		}
}
