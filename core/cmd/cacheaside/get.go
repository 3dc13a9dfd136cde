package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

func newGet(a *app) *cobra.Command {
	var header []string
	var head, headers, body bool
	cmd := &cobra.Command{
		Use:   "get URL",
		Short: "What is stored for a URL",
		Long: `What is stored for a URL: the response or its variants, with tags and when they were purged,
age, TTL, size and fields, and how the request would be answered.

The inspector knows how a request becomes a key. By the store alone, keys are read instead,
which finds what has a readable key of that URL.

Exit status 3: nothing is stored.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := asked(args[0], header, head)
			if err != nil {
				return err
			}
			if body {
				return a.getBody(cmd.Context(), &ask)
			}
			l, err := a.lookup(cmd.Context(), &ask)
			if err != nil {
				return asUsage(err)
			}
			n := redactTags(&l)
			if a.flags.json {
				err = a.printJSON(&l)
			} else {
				a.lookedUp(&l, headers)
			}
			if err == nil && n == 0 {
				return exit(exitAbsent)
			}
			return err
		},
	}
	requestFlags(cmd, &header, &head)
	f := cmd.Flags()
	f.BoolVar(&headers, "headers", false, "show the fields of the response")
	f.BoolVar(&body, "body", false, "write the body, as it is stored, and nothing else; needs --store")
	return cmd
}

// lookup asks the inspector, or the store where there is none.
func (a *app) lookup(ctx context.Context, ask *inspect.Ask) (l inspect.Lookup, err error) {
	if a.byStore() {
		return a.lookupStore(ctx, ask)
	}
	if a.flags.inspect == "" {
		return l, errNeither
	}
	c, err := a.client()
	if err != nil {
		return l, err
	}
	return l, c.post(ctx, "lookup", ask, "found", &l)
}

func (a *app) lookedUp(l *inspect.Lookup, headers bool) {
	if len(l.Found) == 0 {
		a.printf("nothing is stored for %s\n", a.paint(plain, redact.URL(l.URL)))
	}
	for i := range l.Found {
		if i > 0 {
			a.printf("\n")
		}
		f := &l.Found[i]
		name := f.Key.Text
		if name == "" { // the request has none
			name = redact.URL(l.URL)
		}
		a.printf("%s\n", a.paint(bold, name))
		var rows [][]cell
		add := func(name string, c cell) {
			if c.text != "" {
				rows = append(rows, []cell{colored(dim, "  "+name), c})
			}
		}
		why := f.Because
		if cause := f.Cause + f.Reason; cause != "" {
			why = cause + ": " + why
		}
		add("result", colored(colorOf(f.Result), strings.TrimSuffix(f.Result+", "+why, ", ")))
		add("policies", text(policies(f.Policies)))
		add("vary", text(strings.Join(f.Vary, ", ")))
		a.table(nil, rows)
		for j := range f.Entries {
			a.stored(&f.Entries[j], fmt.Sprintf("%d of %d", j+1, len(f.Entries)+f.More), headers)
		}
		if f.More > 0 {
			a.printf("\n  %s left out\n", plural(f.More, "variant"))
		}
		if len(f.Entries) == 0 {
			a.printf("  nothing is stored\n")
		}
	}
}

func policies(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		if all[i] = n; n == "" {
			all[i] = "(default)"
		}
	}
	return strings.Join(all, ", ")
}

// stored shows a stored response.
func (a *app) stored(e *inspect.Entry, which string, headers bool) {
	title := "response " + which
	if e.Selected {
		title += ", selected"
	}
	a.printf("\n  %s\n", a.paint(bold, title))
	var rows [][]cell
	add := func(name string, c cell) { rows = append(rows, []cell{colored(dim, "    "+name), c}) }
	if e.Problem != "" {
		add("problem", colored(red, e.Problem))
	}
	if e.Result != "" {
		add("state", colored(colorOf(e.Result), strings.TrimSuffix(e.Result+", "+e.Because, ", ")))
	}
	if e.Status > 0 { // else it could not be read
		add("status", text(strconv.Itoa(e.Status)))
		ttl := colored(plain, span(e.TTL)+" of "+span(e.Lifetime))
		if e.TTL <= 0 {
			ttl = colored(yellow, "stale for "+span(-e.TTL))
		}
		add("age", text(span(e.Age)))
		add("ttl", ttl)
		add("stored", text(at(e.StoredAt, time.DateTime)))
	}
	if e.Gone > 0 {
		add("gone in", text(span(e.Gone)))
	}
	if e.Size > 0 {
		sizes := units.Bytes(e.Size)
		if e.Status > 0 {
			sizes += ", body " + units.Bytes(e.BodyBytes)
			if e.Coding != "" {
				sizes += " (" + e.Coding + ", " + units.Bytes(e.Plain) + " without)"
			}
		}
		add("size", text(sizes))
	}
	if e.Parts != "" {
		add("in parts", text(e.Parts))
	}
	if e.Saves > 0 {
		add("saves", text(span(e.Saves)+" of the handler"))
	}
	for _, s := range e.Selecting {
		add("selected by", text(s.Name+": "+s.Value))
	}
	for _, t := range e.Tags {
		add("tag", colored(colorOf(t.State), tagText(&t)))
	}
	a.table(nil, rows)
	if !headers {
		return
	}
	for _, f := range e.Header {
		a.printf("    %s: %s\n", a.paint(plain, f.Name), a.paint(plain, f.Value))
	}
}

// redactTags has tags that hold URLs shown as those are, and counts the responses.
func redactTags(l *inspect.Lookup) (n int) {
	for i := range l.Found {
		for _, e := range l.Found[i].Entries {
			n++
			for k := range e.Tags {
				e.Tags[k].Name = redact.Text(e.Tags[k].Name, maxText)
			}
		}
	}
	return n
}

// tagText is a tag, with its kind, what became of it, and its place in the order of purges.
func tagText(t *inspect.Tag) string {
	s := t.Name + " (" + t.Kind + ", " + t.State
	if t.Stamp != "" && t.Stamp != "0" {
		s += ", stamp " + t.Stamp
	}
	return s + ")"
}
