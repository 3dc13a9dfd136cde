package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// everyFlag adds --every.
func everyFlag(cmd *cobra.Command, every *time.Duration, unset time.Duration) {
	cmd.Flags().DurationVar(every, "every", unset, "how long to wait before asking again")
}

func checkEvery(every time.Duration) error {
	if every <= 0 {
		return usagef("--every: use a duration over zero, such as 2s")
	}
	return nil
}

// follow calls show again and again until ctx ends, which is no error, or nobody reads any
// more. A service that has answered once and does not for a while is asked on.
func (a *app) follow(ctx context.Context, every time.Duration, show func() error) error {
	begun, silent := false, false
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := show()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!begun || !again(err)):
			return err
		case err != nil && !silent:
			a.warn(fmt.Errorf("%w (asking on)", err))
		case err == nil && silent:
			a.say("it answers again")
		}
		begun, silent = true, err != nil
		if err := a.stdout.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
