package main

import (
	"context"

	"github.com/cacheaside/cacheaside/core/inspect"
)

// byStore reports whether the store is to be asked: where there is no inspector, or it is
// the store that was named.
func (a *app) byStore() bool {
	f := &a.flags
	return f.store != "" && (f.inspect == "" || f.storeByFlag && !f.inspectFlag)
}

// purger is the inspector, or the store. done closes it.
func (a *app) purger(_ context.Context) (by purger, done func(), err error) {
	c, err := a.client()
	return c, func() {}, err
}

func (a *app) lookupStore(_ context.Context, _ *inspect.Ask) (inspect.Lookup, error) {
	return inspect.Lookup{}, usagef("not yet")
}

func (a *app) getBody(_ context.Context, _ *inspect.Ask) error { return usagef("not yet") }
