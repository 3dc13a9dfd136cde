package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/inspect"
)

// tailFilters are the parameters of the API that select events, with what completes them.
var tailFilters = []struct {
	name, usage string
	values      []string
}{
	{"kind", "only events of this `KIND`: request, handler, store, store_call, refresh, purge, breaker",
		[]string{"request", "handler", "store", "store_call", "refresh", "purge", "breaker"}},
	{"result", "only requests with this `RESULT`: hit, stale, revalidated, collapsed, miss, bypass, error",
		[]string{"hit", "stale", "revalidated", "collapsed", "miss", "bypass", "error"}},
	{"cause", "only misses by this `CAUSE`: cold, expired, vary, purged, request, corrupt, store_error, breaker, lost",
		[]string{"cold", "expired", "vary", "purged", "request", "corrupt", "store_error", "breaker", "lost"}},
	{"reason", "only what was not stored, or not the cache's business, for this `REASON`, such as private", nil},
	{"outcome", "only what ended like this: `OUTCOME` such as ok, refused, timeout, error",
		[]string{"ok", "renewed", "refused", "purged", "contended", "dropped", "timeout", "error", "opened", "closed"}},
	{"route", "only events of this `ROUTE`, such as /blogs/{id}", nil},
	{"key", "only events whose key has this `TEXT` in it", nil},
}

const tailPage = 500 // what the API gives at most

func newTail(a *app) *cobra.Command {
	var limit int
	var once bool
	var every time.Duration
	filters := make([]string, len(tailFilters))
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "What happens in the cache of a service, as it happens",
		Long: `What happens in the cache of a service, as it happens, until it is interrupted. The latest
events come first. Hits are among them while somebody looks. Filters are combined; with
--json each event is a line.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEvery(every); err != nil {
				return err
			}
			if limit < 1 || limit > tailPage {
				return usagef("--limit: use a number from 1 to %d", tailPage)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t := tailing{app: a, client: c, query: url.Values{}, limit: limit}
			for i, f := range tailFilters {
				if filters[i] != "" {
					t.query.Set(f.name, filters[i])
				}
			}
			if once {
				return asUsage(t.more(cmd.Context()))
			}
			return asUsage(a.follow(cmd.Context(), every, func() error { return t.more(cmd.Context()) }))
		},
	}
	f := cmd.Flags()
	for i, filter := range tailFilters {
		f.StringVar(&filters[i], filter.name, "", filter.usage)
		complete(cmd, filter.name, filter.values...)
	}
	f.IntVarP(&limit, "limit", "n", 20, "how many of the latest events to begin with, 500 at most")
	f.BoolVar(&once, "once", false, "end after the latest events")
	everyFlag(cmd, &every, time.Second)
	return cmd
}

// tailing is where one has come to in the tail of a process.
type tailing struct {
	app      *app
	client   *client
	query    url.Values
	limit    int    // of the next page
	instance string // empty: any
	after    uint64
	changes  int // how often another one has answered
}

// more shows all that there is after the cursor.
func (t *tailing) more(ctx context.Context) error {
	for {
		t.query.Set("limit", strconv.Itoa(t.limit))
		t.query.Set("after", strconv.FormatUint(t.after, 10))
		var page inspect.Tail
		if err := t.client.get(ctx, "tail", t.query, "instance", &page); err != nil {
			return err
		}
		if t.instance != "" && page.Instance != t.instance {
			// Numbers of events are those of one process.
			if t.changes++; t.changes <= 3 {
				t.app.say("another process answers: it was started anew, or several share the address: then give the address of one")
			}
			t.instance, t.after = "", 0
			continue
		}
		if page.Missed > 0 {
			t.app.say(plural(page.Missed, "event") + " missed: more happened than the service keeps")
		}
		for i := range page.Events {
			if t.app.flags.json {
				if err := t.app.printJSONLine(&page.Events[i]); err != nil {
					return err
				}
				continue
			}
			t.app.event(&page.Events[i])
		}
		full := t.after > 0 && len(page.Events) == t.limit && page.Next > t.after
		t.instance, t.after, t.limit = page.Instance, page.Next, tailPage
		if !full {
			return nil
		}
		if err := t.app.stdout.flush(); err != nil {
			return err
		}
	}
}

// event shows one in a line: when, what, how it ended, why, how long it took, of what.
func (a *app) event(e *inspect.Event) {
	ended := e.Result + e.Outcome
	var why []string
	for _, s := range []string{e.Cause, e.Reason, e.Stale, e.Op, e.Trigger, e.Purge} {
		if s != "" {
			why = append(why, s)
		}
	}
	if e.Soft {
		why = append(why, "soft")
	}
	if e.Background {
		why = append(why, "background")
	}
	status := "   "
	if e.Status > 0 {
		status = fmt.Sprintf("%3d", e.Status)
	}
	var of []string
	if e.Tier == "near" || e.Tier == "memory" {
		of = append(of, "("+e.Tier+")")
	}
	if e.Key != nil {
		of = append(of, e.Key.Text)
	} else if e.Route != "" {
		of = append(of, e.Route)
	}
	if e.Error != "" {
		of = append(of, "– "+e.Error)
	}
	a.printf("%s  %s  %s  %s  %s  %s  %s\n", at(e.Time, "15:04:05.000"), a.padded(plain, e.Kind, 10), a.padded(colorOf(ended), ended, 11),
		a.padded(plain, strings.Join(why, " "), 14), status, a.padded(plain, span(e.Total), 6), a.paint(plain, strings.Join(of, " ")))
}
