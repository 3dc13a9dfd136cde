package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
	"github.com/cacheaside/cacheaside/core/inspect"
)

func newTop(a *app) *cobra.Command {
	var by string
	var limit int
	var previous bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The keys with the most requests, bytes or misses",
		Long: `The keys with the most requests, bytes or misses in the current hour of one process.
Counts are estimates: what is counted is at most COUNT, and at least COUNT - ERROR.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch by {
			case "requests", "bytes", "misses":
			default:
				return usagef("--by: use requests, bytes or misses")
			}
			if limit < 1 || limit > 100 {
				return usagef("--limit: use a number from 1 to 100")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"by": {by}, "limit": {strconv.Itoa(limit)}}
			if previous {
				query.Set("period", "previous")
			}
			var t inspect.Top
			if err := c.get(cmd.Context(), "top", query, "keys", &t); err != nil {
				return asUsage(err)
			}
			if a.flags.json {
				return a.printJSON(&t)
			}
			a.top(&t)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&by, "by", "requests", "`WHAT` is counted: requests, bytes or misses")
	f.IntVar(&limit, "limit", 20, "how many keys, 100 at most")
	f.BoolVar(&previous, "previous", false, "the hour before")
	complete(cmd, "by", "requests", "bytes", "misses")
	return cmd
}

func (a *app) top(t *inspect.Top) {
	a.printf("by %s, %s to %s%s\n", a.paint(plain, t.By), at(t.Since, time.TimeOnly), at(t.Until, time.TimeOnly), sampled(t.Sample))
	if len(t.Keys) == 0 {
		a.printf("no keys in that time\n")
		return
	}
	show := count[uint64]
	if t.By == "bytes" {
		show = units.Bytes[uint64]
	}
	rows := make([][]cell, 0, len(t.Keys))
	for _, k := range t.Keys {
		off := cell{right: true, color: dim}
		if k.Error > 0 {
			off.text = "-" + show(k.Error)
		}
		rows = append(rows, []cell{number(show(k.Count)), off, text(k.Key.Text)})
	}
	a.table([]string{"COUNT", "ERROR", "KEY"}, rows)
}

func sampled(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" (above 200 hits a second, one of %d is counted)", n)
}
