package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/doctor"
	"github.com/cacheaside/cacheaside/core/dragonfly"
)

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	Status   doctor.Status    `json:"status"` // the worst there is
	Findings []doctor.Finding `json:"findings"`
}

func newDoctor(a *app) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Whether the server is fit for a cache, and what to do",
		Long: `Whether the server is fit for a cache, and what to do: connection and TLS, version, memory
and eviction, replica, cluster, each right of the user, each script, client tracking, clock,
and latency against the time-outs that a cache has by default.

It tries what a cache would do, on keys of its own below the namespace, and removes them.
Give the URL that the services have, since it is the rights of their user that count.

Exit status 1: something fails, or, with --strict, is not as it should be.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := &a.flags
			if f.store == "" {
				return usagef("this needs the server where the entries are: give its URL as --store or CACHEASIDE_STORE")
			}
			if _, err := dragonfly.ParseURL(f.store); err != nil { // it quotes nothing
				return usagef("--store: %w", err)
			}
			d := diagnosis{Findings: doctor.Run(cmd.Context(), doctor.Options{URL: f.store, Namespace: f.namespace, Timeout: f.timeout})}
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			d.Status = doctor.Worst(d.Findings)
			if f.json {
				if err := a.printJSON(&d); err != nil {
					return err
				}
			} else {
				a.diagnosed(d.Findings)
			}
			if d.Status == doctor.Fail || strict && d.Status != doctor.OK {
				return exit(exitFailure)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 also for what only warns")
	return cmd
}

// diagnosed prints what was found, and below it what to do.
func (a *app) diagnosed(findings []doctor.Finding) {
	colors := map[doctor.Status]color{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red}
	var rows [][]cell
	for _, f := range findings {
		name := strings.TrimPrefix(f.Name, "right ")
		rows = append(rows, []cell{colored(colors[f.Status], string(f.Status)), text(name), text(f.Detail)})
		if f.Remedy != "" {
			rows = append(rows, []cell{text(""), text(""), colored(bold, "→ "+f.Remedy)})
		}
	}
	a.table(nil, rows)
}
