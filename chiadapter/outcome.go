package chiadapter

import (
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TrackOutcome returns the request to pass on to where a cache with [WithOutcome] is, for
// middleware in front that will ask [Outcome] about it.
func TrackOutcome(r *http.Request) *http.Request { return nethttp.TrackOutcome(r) }

// Outcome returns what the cache did with the request, which [TrackOutcome] has returned,
// once the handler that it was passed to has returned or panicked. False: no cache with
// [WithOutcome] has dealt with it, or one still does.
func Outcome(r *http.Request) (cacheaside.Outcome, bool) { return nethttp.Outcome(r) }
