package inside

import (
	"errors"
	"fmt"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Because says in words why the handler would be asked.
func Because(cause observe.Cause) string { return causes[cause] }

var causes = [...]string{
	observe.CauseCold:       "nothing is stored",
	observe.CauseExpired:    "it is stale, or has gone in its time",
	observe.CauseVary:       "what is stored answers other requests",
	observe.CausePurged:     "it was purged",
	observe.CauseRequest:    "the request rules it out",
	observe.CauseCorrupt:    "what is there is no entry of this cache",
	observe.CauseStoreError: "the store has failed",
	observe.CauseBreaker:    "the circuit breaker is open",
	observe.CausePartial:    "what is stored is not all that is asked for",
	observe.CauseLost:       "it has gone before its time, or nobody can tell any more whether it was purged",
}

// Answers says what a decision makes of a stored response that is given as it is; 0: it is
// not.
func Answers(d httprules.Decision) (result observe.Result, because string) {
	switch {
	case d.Use == httprules.Fresh:
		return observe.ResultHit, fmt.Sprintf("it is fresh for another %v", d.TTL.Round(time.Second))
	case d.Use == httprules.StaleAllowed:
		return observe.ResultStale, "it is stale, which the request allows"
	case d.MaySWR:
		return observe.ResultStale, "it is stale, and would be renewed in the background"
	}
	return 0, ""
}

// Problem says why a value could not be decoded; "" if it could.
func Problem(err error) string {
	switch {
	case errors.Is(err, entry.ErrVersion):
		return "it is of another format version, and will be overwritten"
	case err != nil:
		return "it is no entry: " + err.Error()
	}
	return ""
}

// AnotherResource is what is wrong with an entry under the key of one that it is not of.
const AnotherResource = "it is the entry of another resource"
