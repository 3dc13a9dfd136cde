package nethttp

import (
	"context"
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

type accountKey struct{}

// TrackOutcome returns the request to pass on to where a cache with [WithOutcome] is, for
// middleware in front that will ask [Outcome] about it.
func TrackOutcome(r *http.Request) *http.Request {
	if a := account(r); a != nil && !a.Begun() { // somebody further out asks, too
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), accountKey{}, new(adapter.Account)))
}

// Outcome returns what the cache did with the request, which [TrackOutcome] has returned,
// once the handler that it was passed to has returned or panicked. False: no cache with
// [WithOutcome] has dealt with it, or one still does.
func Outcome(r *http.Request) (cacheaside.Outcome, bool) { return cacheaside.OutcomeIn(account(r)) }

func account(r *http.Request) *adapter.Account {
	a, _ := r.Context().Value(accountKey{}).(*adapter.Account)
	return a
}
