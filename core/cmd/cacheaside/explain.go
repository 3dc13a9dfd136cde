package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/inspect"
)

func newExplain(a *app) *cobra.Command {
	var header []string
	var head, send bool
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Why a URL would be a hit or a miss",
		Long: `Why a URL would be a hit or a miss: a request is sent through the service's own router and
what is in front of the cache, to the cache and no further. With --send it is a request like
any other, which runs the handler and so tells whether the response can be stored; that
needs the token that may purge.

Exit status 3: the handler would be asked, or was, for what is not stored.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := asked(args[0], header, head)
			if err != nil {
				return err
			}
			if a.flags.inspect == "" {
				return usagef("explain goes through the router of the service, which only its inspector can: give its URL as --inspect or CACHEASIDE_INSPECT")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ask.Send = send
			var x inspect.Explanation
			if err := c.post(cmd.Context(), "explain", ask, "result", &x); err != nil {
				return asUsage(err)
			}
			if a.flags.json {
				err = a.printJSON(&x)
			} else {
				a.explain(&x)
			}
			if err == nil && asksHandler(x.Result) {
				return exit(exitAbsent)
			}
			return err
		},
	}
	requestFlags(cmd, &header, &head)
	cmd.Flags().BoolVar(&send, "send", false, "really send the request: the handler runs on a miss")
	return cmd
}

// asksHandler reports whether a request with such a result has nothing of the cache.
func asksHandler(result string) bool {
	switch result {
	case "hit", "stale", "revalidated":
		return false
	}
	return true
}

func (a *app) explain(x *inspect.Explanation) {
	a.printf("%s  %s\n", a.paint(colorOf(x.Result)+bold, x.Result), a.paint(plain, x.Because))
	if x.Remedy != "" {
		a.printf("%s\n", a.paint(plain, x.Remedy))
	}
	a.printf("\n")
	var rows [][]cell
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []cell{colored(dim, name), text(value)})
		}
	}
	add("route", x.Route)
	add("policy", x.Policy)
	if x.Key != nil {
		add("key", x.Key.Text)
	}
	add("cause", x.Cause)
	add("reason", x.Reason)
	if x.Status > 0 {
		add("status", strconv.Itoa(x.Status))
	}
	if x.Handler > 0 {
		add("handler took", span(x.Handler))
	}
	a.table(nil, rows)
	if len(x.Steps) > 0 {
		a.printf("\n%s\n", a.paint(bold, "steps"))
		steps := make([][]cell, 0, len(x.Steps))
		for i, s := range x.Steps {
			steps = append(steps, []cell{number(fmt.Sprintf("%d.", i+1)), text(s.Step), text(s.Result)})
		}
		a.table(nil, steps)
	}
	a.fields("response", x.Header)
}

// fields lists some of a response.
func (a *app) fields(title string, all []inspect.Field) {
	if len(all) == 0 {
		return
	}
	a.printf("\n%s\n", a.paint(bold, title))
	for _, f := range all {
		a.printf("  %s: %s\n", a.paint(plain, f.Name), a.paint(plain, f.Value))
	}
}
