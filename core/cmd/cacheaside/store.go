package main

import (
	"context"
	"errors"
	"strings"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// byStore reports whether the store is to be asked: where there is no inspector, or it is
// the store that was named by a flag.
func (a *app) byStore() bool {
	f := &a.flags
	return f.store != "" && (f.inspect == "" || f.storeByFlag && !f.inspectFlag)
}

// open opens the store, which done closes.
func (a *app) open(ctx context.Context) (s *direct.Store, done func(), err error) {
	if a.flags.store == "" {
		return nil, nil, usagef("this needs the server where the entries are: give its URL as --store or CACHEASIDE_STORE")
	}
	s, err = direct.Open(ctx, a.flags.store, a.flags.namespace, direct.Options{Timeout: a.flags.timeout})
	if errors.Is(err, direct.ErrUsage) { // it quotes nothing
		return nil, nil, usagef("--store: %s", cause(err))
	}
	return s, func() { _ = s.Close() }, err
}

// cause is what an error says without the sentinel in front of it.
func cause(err error) string {
	return strings.TrimPrefix(err.Error(), direct.ErrUsage.Error()+": ")
}

// ofStore gives an error of the store the status to exit with.
func ofStore(err error) error {
	if errors.Is(err, direct.ErrUsage) {
		return failf(exitUsage, "%s", cause(err))
	}
	return err
}

// storePurger purges by the store.
type storePurger struct{ store *direct.Store }

func (s storePurger) preview(_ context.Context, p cacheaside.Purge) (v inspect.Preview, err error) {
	if err := s.store.Check(p); err != nil {
		return v, ofStore(err)
	}
	v.Soft = p.Soft
	for kind, texts := range map[string][]string{"tag": p.Tags, "url": p.URLs, "prefix": p.Prefixes} {
		for _, t := range texts { // all are of one kind
			v.Targets = append(v.Targets, inspect.Target{Kind: kind, Text: t})
		}
	}
	if p.All {
		v.Targets = append(v.Targets, inspect.Target{Kind: "all"})
	}
	return v, nil
}

func (s storePurger) purge(ctx context.Context, p cacheaside.Purge) error {
	return ofStore(s.store.Purge(ctx, p))
}

// purger is the inspector, or the store. done closes it.
func (a *app) purger(ctx context.Context) (by purger, done func(), err error) {
	if a.flags.store == "" && a.flags.inspect == "" {
		return nil, nil, errNeither
	}
	if !a.byStore() {
		c, err := a.client()
		return c, func() {}, err
	}
	s, done, err := a.open(ctx)
	return storePurger{s}, done, err
}

var errNeither = usagef("nobody is there to be asked: give the URL of an inspector (--inspect or CACHEASIDE_INSPECT) or of the server (--store or CACHEASIDE_STORE)")

// lookupStore finds what is stored for a URL by readable keys.
func (a *app) lookupStore(ctx context.Context, ask *inspect.Ask) (l inspect.Lookup, err error) {
	s, done, err := a.open(ctx)
	if err != nil {
		return l, err
	}
	defer done()
	l.URL = redact.Clean(redact.URL(ask.URL), maxText)
	l.Found, err = a.find(ctx, s, ask)
	return l, err
}

// find is Store.Find; that it is not all is no error where there is something.
func (a *app) find(ctx context.Context, s *direct.Store, ask *inspect.Ask) ([]inspect.Found, error) {
	found, err := s.Find(ctx, ask.URL, headerOf(ask))
	if errors.Is(err, direct.ErrIncomplete) && len(found) > 0 {
		a.warn(err)
		err = nil
	}
	if found == nil {
		found = []inspect.Found{}
	}
	return found, ofStore(err)
}
