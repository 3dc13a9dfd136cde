package main

import (
	"context"
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/units"
	"github.com/cacheaside/cacheaside/core/inspect"
)

// getBody writes the body that a request selects, by the store: no inspector gives any.
func (a *app) getBody(ctx context.Context, ask *inspect.Ask) error {
	if a.flags.store == "" {
		return usagef("--body: the inspector shows no bodies: give the server as --store or CACHEASIDE_STORE")
	}
	s, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := a.find(ctx, s, ask)
	if err != nil {
		return err
	}
	var selected []inspect.Key
	for i := range found {
		for j := range found[i].Entries {
			if e := &found[i].Entries[j]; e.Selected {
				selected = append(selected, e.Key)
			}
		}
	}
	switch len(selected) {
	case 0:
		return failf(exitAbsent, "nothing is stored for such a request")
	case 1:
	default:
		return failf(exitFailure, "%d responses are stored for the URL, under keys that differ in what only the service knows of a request, such as a partition", len(selected))
	}
	b, ok, err := s.Body(ctx, selected[0])
	switch {
	case err != nil:
		return err
	case !ok:
		return failf(exitAbsent, "it has just gone")
	case a.flags.json:
		return a.printJSON(&b)
	case b.Parts != "":
		return failf(exitFailure, "the response is stored in parts, not as a whole (%s): ask for it with -json", b.Parts)
	case isTerminal(a.stdout) && !readable(b.Body):
		return failf(exitFailure, "the body (%s) is binary, or has what a terminal would obey: send it to a file or through a pipe, such as | less", units.Bytes(int64(len(b.Body))))
	}
	_, err = a.stdout.Write(b.Body)
	return err
}

// readable reports whether a terminal shows what is there and does nothing else.
func readable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1, unicode.Is(unicode.Bidi_Control, r):
			return false
		case unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t':
			return false
		}
		b = b[n:]
	}
	return true
}

func headerOf(ask *inspect.Ask) http.Header {
	h := http.Header{}
	for _, f := range ask.Header {
		h.Add(f.Name, f.Value)
	}
	return h
}
