package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
	"github.com/cacheaside/cacheaside/core/inspect"
)

func newStats(a *app) *cobra.Command {
	var watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "How the cache of a service is doing",
		Long: `How the cache of a service is doing: hit share, handler time saved, results, causes of
misses, writes, circuit breaker, near tier and server. All counts are those of the one
process that answers.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEvery(every); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			show := func() error {
				var s inspect.Status
				if err := c.get(cmd.Context(), "status", nil, "instance", &s); err != nil {
					return err
				}
				return a.showStats(&s, watch)
			}
			if watch {
				return a.follow(cmd.Context(), every, show)
			}
			return show()
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on: redrawn on a terminal, else a line each")
	everyFlag(cmd, &every, 2*time.Second)
	return cmd
}

// showStats shows a status, which may be one of many.
func (a *app) showStats(s *inspect.Status, watch bool) error {
	switch {
	case a.flags.json && watch:
		return a.printJSONLine(s)
	case a.flags.json:
		return a.printJSON(s)
	case !watch:
		a.stats(s)
	case isTerminal(a.stdout) && a.getenv("TERM") != "dumb":
		a.printf("\x1b[H\x1b[2J")
		a.stats(s)
	default:
		r := &s.Recent
		a.printf("%s  requests %d  hits %s  saved %s  misses %d  bypasses %d  errors %d  breaker %s\n", at(s.Now, time.TimeOnly),
			r.Requests, share(r.HitShare), span(r.Saved), r.Results["miss"], r.Results["bypass"], r.Results["error"], breakerState(&s.Breaker))
	}
	return nil
}

func breakerState(b *inspect.Breaker) string {
	switch {
	case b.Off:
		return "none"
	case b.Open:
		return "open"
	}
	return "closed"
}

// stats shows a status, what an operator wants to know first at the top.
func (a *app) stats(s *inspect.Status) {
	i, r, t := &s.Instance, &s.Recent, &s.Started
	a.printf("%s  %s\n", a.paint(bold, i.Host), a.paint(dim, fmt.Sprintf("pid %d, up %s, keys of %s", i.PID, span(float64(s.Now-i.Started)/1000), s.Namespace)))
	for _, w := range warnings(s) {
		a.printf("%s %s\n", a.paint(w.color, "!"), a.paint(w.color, w.text))
	}
	a.printf("\n")
	rows := [][]cell{
		{text("hit share"), number(share(r.HitShare)), number(share(t.HitShare))},
		{text("handler time saved"), number(span(r.Saved)), number(span(t.Saved))},
		{text("requests"), number(count(r.Requests)), number(count(t.Requests))},
		{text("bodies sent"), number(units.Bytes(r.BodyBytes)), number(units.Bytes(t.BodyBytes))},
	}
	counted := func(title string, recent, total map[string]uint64) {
		for n, name := range largest(total) {
			if n == 0 {
				rows = append(rows, nil, []cell{colored(bold, title)})
			}
			lately := cell{right: true}
			if recent != nil { // else it is counted since the start alone
				lately.text = count(recent[name])
			}
			rows = append(rows, []cell{colored(colorOf(name), "  "+name), lately, number(count(total[name]))})
		}
	}
	counted("results", r.Results, t.Results)
	counted("causes of misses", r.Causes, t.Causes)
	counted("responses to be stored", r.Stores, t.Stores)
	counted("refreshes", r.Refreshes, t.Refreshes)
	counted("purges", r.Purges, t.Purges)
	a.table([]string{"", "last 15 min", "since the start"}, rows)

	sv, n, g := &s.Server, &s.Near, &s.Gauges
	a.printf("\n")
	a.table(nil, [][]cell{
		{text("breaker"), breakerCell(&s.Breaker)},
		{text("near tier"), nearCell(n)},
		{text("server"), text(serverText(sv))},
		{text("store calls"), text(callsText(&s.Store))},
		{text("under way"), text(fmt.Sprintf("%s waiting, %s queued, %s to be written", plural(g.Waiting, "request"), plural(g.RefreshQueue, "refresh run"), units.Bytes(g.WriteBuffer)))},
	})
}

func breakerCell(b *inspect.Breaker) cell {
	switch {
	case b.Off:
		return text("none")
	case b.Opened == 0 && !b.Open:
		return text("closed, has never opened")
	}
	c := colored(green, fmt.Sprintf("%s, opened %s, last change %s", breakerState(b), plural(b.Opened, "time"), at(b.Since, time.DateTime)))
	if b.Open {
		c.color = red
	}
	return c
}

func nearCell(n *inspect.Near) cell {
	if !n.Exists {
		return text("none")
	}
	state, c := "on", plain
	if !n.On {
		state, c = "off", yellow
	}
	copies := fmt.Sprintf("%d copies", n.Entries)
	if n.Entries == 1 {
		copies = "1 copy"
	}
	return colored(c, fmt.Sprintf("%s, %s of %s, %s, %s", state, copies, units.Bytes(n.Bytes), plural(n.Hits, "hit"), plural(n.Invalidations, "invalidation")))
}

func serverText(s *inspect.Server) string {
	var all []string
	switch {
	case s.InProcess:
		all = append(all, "in the process")
	case s.Name == "":
		all = append(all, "not known")
	default:
		all = append(all, strings.TrimSpace(s.Name+" "+s.Version))
	}
	if s.Address != "" {
		all = append(all, s.Address)
	}
	if s.Used > 0 {
		used := units.Bytes(s.Used)
		if s.Max > 0 {
			used += " of " + units.Bytes(s.Max) + " (" + percent(float64(s.Used)/float64(s.Max)) + ")"
		}
		all = append(all, used)
	}
	if s.Latency > 0 {
		all = append(all, "answers in "+span(s.Latency))
	}
	return strings.Join(all, ", ")
}

func callsText(c *inspect.Calls) string {
	out := listed(c.ByOutcome)
	if c.P99 > 0 {
		out += fmt.Sprintf("; p50 %s, p99 %s", span(c.P50), span(c.P99))
	}
	return out
}

// warning is what is wrong, with what to do.
type warning struct {
	color color
	text  string
}

func warnings(s *inspect.Status) (all []warning) {
	add := func(c color, format string, args ...any) { all = append(all, warning{c, fmt.Sprintf(format, args...)}) }
	if s.Started.Requests == 0 {
		add(yellow, "no requests yet: if the service has traffic, is the inspector's recorder the Observer of the cache's Config?")
	}
	if s.Breaker.Open {
		add(red, "the circuit breaker is open: requests are answered as if nothing were stored until the server answers again")
	}
	if s.Server.Error != "" {
		add(red, "the server does not answer as it should: %s", s.Server.Error)
	}
	if used := float64(s.Server.Used) / float64(max(s.Server.Max, 1)); s.Server.Max > 0 && used > 0.9 {
		add(yellow, "the server's memory is nearly full, %s: let it evict, give it more, or shorten lifetimes", percent(used))
	}
	if s.Near.Exists && !s.Near.On {
		add(yellow, "the near tier is off: the server does not announce changes just now, so each hit asks it")
	}
	if s.Gauges.RoutesBeyond > 0 {
		add(yellow, "more routes than are told apart: %s counted as other: give the adapter patterns, not paths (WithRoute)", plural(s.Gauges.RoutesBeyond, "event"))
	}
	if s.Problem != "" {
		add(yellow, "something is missing here: %s", s.Problem)
	}
	return all
}

// colorOf is that of a result, an outcome or a state.
func colorOf(name string) color {
	switch name {
	case "hit", "revalidated", "ok", "renewed", "valid", "closed":
		return green
	case "stale", "collapsed", "soft", "refused", "dropped", "contended":
		return yellow
	case "error", "timeout", "store_error", "breaker", "corrupt", "opened":
		return red
	case "bypass":
		return dim
	}
	return plain
}
