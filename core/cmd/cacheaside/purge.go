package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// everything is what is typed before all is purged.
const everything = "everything"

func newPurge(a *app) *cobra.Command {
	var soft, yes bool
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Purge responses: by tag, URL, prefix, or all",
		Long: `Purge responses: by tag, URL, prefix, or all. When it ends with 0, no request that begins
later is answered with one of them, in any process on that server. With status 4 the server
has not acknowledged: repeat it.

On a terminal it asks first; elsewhere it needs --yes.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usagef("purge what? tag, url, prefix or all") },
	}
	f := cmd.PersistentFlags()
	f.BoolVar(&soft, "soft", false, "make responses stale in place of removing them; not with url")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	kind := func(use, short string, args cobra.PositionalArgs, fill func(*cacheaside.Purge, []string)) {
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: args,
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, args []string) error {
				p := cacheaside.Purge{Soft: soft}
				fill(&p, args)
				if p.Soft && len(p.URLs) > 0 {
					return usagef("--soft: a URL cannot be purged softly: leave it out, or use purge prefix")
				}
				return a.purge(cmd.Context(), p, yes)
			},
		})
	}
	kind("tag TAG...", "What has one of the tags", cobra.MinimumNArgs(1), func(p *cacheaside.Purge, args []string) { p.Tags = args })
	kind("url URL...", "What is stored for a URL: all variants, all partitions", cobra.MinimumNArgs(1), func(p *cacheaside.Purge, args []string) { p.URLs = args })
	kind("prefix URL...", "What is stored for a URL and all below its path", cobra.MinimumNArgs(1), func(p *cacheaside.Purge, args []string) { p.Prefixes = args })
	kind("all", "All that is stored under the namespace", cobra.NoArgs, func(p *cacheaside.Purge, _ []string) { p.All = true })
	return cmd
}

// purger is who purges: the inspector of a service, or the store.
type purger interface {
	// preview says what is wrong with a purge, and gives its targets.
	preview(ctx context.Context, p cacheaside.Purge) (inspect.Preview, error)
	// purge fails with direct.ErrNotAcknowledged where the purge may not have reached all.
	purge(ctx context.Context, p cacheaside.Purge) error
}

func (a *app) purge(ctx context.Context, p cacheaside.Purge, yes bool) error {
	if !yes && !isTerminal(a.stdin) {
		return usagef("nothing was purged: the standard input is no terminal, so nobody can be asked: give --yes")
	}
	by, done, err := a.purger(ctx)
	if err != nil {
		return err
	}
	defer done()
	preview, err := by.preview(ctx, p)
	if err != nil {
		return asUsage(err)
	}
	if !yes {
		if err := a.confirm(ctx, preview, p.All); err != nil {
			return err
		}
	}
	if err := by.purge(ctx, p); err != nil {
		if errors.Is(err, direct.ErrNotAcknowledged) {
			return failf(exitNotAcknowledged, "%w", err)
		}
		return asUsage(err)
	}
	if a.flags.json {
		return a.printJSON(map[string]any{"purged": true, "soft": p.Soft, "targets": shownTargets(preview)})
	}
	for _, t := range shownTargets(preview) {
		a.printf("%s %s\n", a.paint(green, purged(p.Soft)), a.paint(plain, strings.TrimSpace(t.Kind+" "+t.Text)))
	}
	return nil
}

func purged(soft bool) string {
	if soft {
		return "made stale:"
	}
	return "purged:"
}

// shownTargets are those of a preview, as they may be shown: what was typed may have been
// copied from somewhere, secrets and all.
func shownTargets(p inspect.Preview) []inspect.Target {
	out := make([]inspect.Target, len(p.Targets))
	for i, t := range p.Targets {
		t.Text = redact.Text(t.Text, maxText)
		reaches := make([]string, len(t.Reaches))
		for j, r := range t.Reaches {
			reaches[j] = redact.Text(r, maxText)
		}
		t.Reaches = reaches
		out[i] = t
	}
	return out
}

// confirm shows what is to be purged and asks, more for all of it. Nil: it may be.
func (a *app) confirm(ctx context.Context, p inspect.Preview, all bool) error {
	how := "To be purged:"
	if p.Soft {
		how = "To be made stale:"
	}
	a.tell("%s\n", how)
	for _, t := range shownTargets(p) {
		switch t.Kind {
		case "all":
			a.tell("  everything that is stored under the namespace\n")
		default:
			a.tell("  %s %s\n", redact.Clean(t.Kind, 20), t.Text)
		}
		for _, r := range t.Reaches {
			if r != t.Text {
				a.tell("    also %s\n", r)
			}
		}
	}
	question, want := "Go on? [y/N] ", []string{"y", "yes"}
	if all {
		question, want = "Type "+everything+" to go on: ", []string{everything}
	}
	a.tell("%s", question)
	given, err := a.line(ctx)
	if err != nil {
		a.tell("\n")
		return failf(exitFailure, "interrupted: nothing was purged")
	}
	for _, w := range want {
		if strings.EqualFold(strings.TrimSpace(given), w) {
			return nil
		}
	}
	return failf(exitFailure, "nothing was purged")
}

// line reads one, until ctx ends.
func (a *app) line(ctx context.Context) (string, error) {
	type result struct {
		text string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := bufio.NewReader(a.stdin).ReadString('\n')
		read <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-read:
		return r.text, r.err
	}
}

// preview asks the inspector.
func (c *client) preview(ctx context.Context, p cacheaside.Purge) (v inspect.Preview, err error) {
	return v, c.post(ctx, "preview", p, "targets", &v)
}

func (c *client) purge(ctx context.Context, p cacheaside.Purge) error {
	err := c.post(ctx, "purge", p, "purged", &struct{}{})
	var silent *silentError
	var e *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &silent) && silent.sent, ctx.Err() != nil: // who knows how far it has come
	case errors.As(err, &e) && e.status < http.StatusBadRequest: // somebody else has answered
	case errors.As(err, &e) && e.status >= http.StatusInternalServerError && e.status != http.StatusNotImplemented:
	default:
		return err
	}
	return fmt.Errorf("%w: %w", direct.ErrNotAcknowledged, err)
}
