package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

func newLs(a *app) *cobra.Command {
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "The keys on the server, by the beginning of their URLs",
		Long: `The keys on the server, by the beginning of their URLs, in no order:

  cacheaside ls https://example.com/blogs/   entries and locks, with http and https alike
  cacheaside ls /blogs/                      the same, of whatever host
  cacheaside ls tag:blog-                    stamps of tags
  cacheaside ls                              all that is of the namespace

TTL does not tell of purges: get does. A page may have fewer keys than the limit though there are more. It goes on with --cursor.
Keys are looked for with SCAN, so the user needs that right; it does not hold up the server.

Exit status 3: there is nothing.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			if limit < 1 || limit > direct.MaxLimit {
				return usagef("--limit: use a number from 1 to %d", direct.MaxLimit)
			}
			s, done, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			page, err := s.List(cmd.Context(), prefix, limit, cursor)
			if err != nil {
				return ofStore(err)
			}
			for i := range page.Items { // a tag may hold a URL
				if it := &page.Items[i]; it.Kind == direct.Stamp {
					it.Key.Text = redact.Text(it.Key.Text, maxText)
				}
			}
			if a.flags.json {
				err = a.printJSON(&page)
			} else {
				a.listed(&page)
			}
			if err == nil && len(page.Items) == 0 && page.Next == "" && cursor == "" {
				return exit(exitAbsent)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 100, fmt.Sprintf("about how many keys, %d at most", direct.MaxLimit))
	f.StringVar(&cursor, "cursor", "", "where the last page ended: the `CURSOR` that it gave")
	return cmd
}

func (a *app) listed(p *direct.Page) {
	rows := make([][]cell, 0, len(p.Items))
	for i := range p.Items {
		rows = append(rows, a.item(&p.Items[i]))
	}
	if len(rows) > 0 {
		a.table([]string{"KIND", "STATUS", "AGE", "TTL", "GONE IN", "SIZE", "KEY"}, rows)
	}
	if p.Next != "" {
		_ = a.stdout.flush() // it is said in the end
		a.tell("there is more: --cursor %s\n", redact.Clean(p.Next, 200))
	}
}

func (a *app) item(it *direct.Item) []cell {
	row := []cell{text(string(it.Kind)), {right: true}, {right: true}, {right: true}, {right: true}, {right: true}, text(it.Key.Text)}
	if it.Of > 0 {
		row[1].text, row[2].text, row[3].text = strconv.Itoa(it.Of), span(it.Age), span(it.TTL)
		if it.TTL <= 0 {
			row[3].text, row[3].color = "stale", yellow
		}
	}
	if it.Gone >= 0 {
		row[4].text = span(it.Gone)
	}
	if it.Size >= 0 {
		row[5].text = units.Bytes(it.Size)
	}
	if it.More > 0 {
		row[6].text += fmt.Sprintf(" (%s)", plural(it.More, "variant"))
	}
	if it.Parts != "" {
		row[6].text += " (in parts)"
	}
	if it.Note != "" {
		row[0].color = red
		row[6].text += " – " + it.Note
	} else if it.Kind == direct.Foreign || it.Kind == direct.OtherForm {
		row[0].color = yellow
		row[6].text += " – " + it.What
	}
	return row
}
