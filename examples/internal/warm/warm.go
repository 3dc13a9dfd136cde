// Package warm warms up the cache of a service when that starts, with what a file lists.
package warm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Options are the flags.
type Options struct {
	File  string   // empty: nothing is warmed up
	Hosts []string // of the service; none: those of the address that it listens on
}

// Prepare reads the list for a service that listens on addr, as the flag says it, and at. Nothing
// is asked yet: run does that, until ctx ends. Nil: there is nothing to do.
func (o *Options) Prepare(cache *cacheaside.Cache, entry adapter.Entry, addr string, at net.Addr) (run func(ctx context.Context), err error) {
	if o.File == "" {
		return nil, nil //nolint:nilnil // there is nothing to do
	}
	hosts := o.Hosts
	if len(hosts) == 0 {
		hosts = ownHosts(addr, at)
	}
	requests, err := Read(o.File, hosts)
	if err != nil {
		return nil, fmt.Errorf("flag -warm: %w", err)
	}
	return func(ctx context.Context) {
		show, done := progress(os.Stderr, len(requests), term.IsTerminal(int(os.Stderr.Fd())))
		report, err := cacheaside.Warmup{Entry: entry, Progress: show}.Run(ctx, cache, requests...)
		done()
		summarize(slog.Default(), report, err)
	}, nil
}

// ownHosts are the hosts by which clients may name a service, the first as the flag says
// it.
func ownHosts(addr string, at net.Addr) (hosts []string) {
	host, _, _ := net.SplitHostPort(addr)
	bound, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return []string{"localhost"}
	}
	ip := net.ParseIP(bound)
	local := ip.IsLoopback() || ip.IsUnspecified()
	names := []string{host, "localhost", "127.0.0.1", "::1"}
	if !local {
		names = []string{host, bound}
	}
	for _, name := range names {
		if name == "" || net.ParseIP(name).IsUnspecified() {
			continue
		}
		named := net.JoinHostPort(name, port)
		if port == "80" { // which clients leave out
			named = strings.TrimSuffix(named, ":80")
		}
		if !slices.Contains(hosts, named) {
			hosts = append(hosts, named)
		}
	}
	return hosts
}

// progress shows on a terminal a bar, elsewhere a line for each tenth.
func progress(w io.Writer, total int, terminal bool) (show func(cacheaside.WarmProgress), done func()) {
	if !terminal {
		next := 1
		return func(p cacheaside.WarmProgress) {
			if p.Done < p.Total && p.Done*10 >= p.Total*next {
				next = p.Done*10/p.Total + 1
				slog.Info("warming up", "done", p.Done, "of", p.Total)
			}
		}, func() {}
	}
	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("warming up"),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	return func(cacheaside.WarmProgress) { _ = bar.Add(1) }, func() { _ = bar.Exit() }
}

// maxFailures are told of one by one.
const maxFailures = 5

// summarize says what has become of it.
func summarize(log *slog.Logger, report cacheaside.WarmReport, err error) {
	if err != nil && len(report.Results) == 0 {
		log.Error("warm-up: nothing was asked", "error", err)
		return
	}
	reasons, told := map[string]int{}, 0
	for _, r := range report.Results {
		switch r.Outcome {
		case cacheaside.WarmNotStored:
			reasons[r.Reason]++
		case cacheaside.WarmFailed:
			if told++; told <= maxFailures {
				log.Warn("warm-up", "url", fmt.Sprintf("%.200s", r.URL), "error", r.Err)
			}
		}
	}
	if told > maxFailures {
		log.Warn("warm-up", "more_failures", told-maxFailures)
	}
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		why = append(why, reason+": "+strconv.Itoa(reasons[reason]))
	}
	attrs := []any{"stored", report.Stored, "present", report.Present, "not_stored", report.NotStored, "failed", report.Failed}
	if len(why) > 0 {
		attrs = append(attrs, "reasons", strings.Join(why, ", "))
	}
	if report.NotRun > 0 {
		attrs = append(attrs, "not_run", report.NotRun)
	}
	log.Info("warm-up is over", attrs...)
}
