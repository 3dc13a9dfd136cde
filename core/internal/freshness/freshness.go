// Package freshness says how old a stored response is, and what it is good for: the rules
// of package httprules, on entries.
package freshness

import (
	"math"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// softGrace is how long at least a softly purged response may be served while
// it is being revalidated.
const softGrace = time.Minute

// clockSkew is by how much the clocks of machines may differ.
const clockSkew = 2 * time.Second

// Decide says what e is good for. A soft purge, in microseconds since 1970, has ended its
// freshness; 0: there was none.
func Decide(e *entry.Entry, soft uint64, now time.Time, control httprules.RequestControl) httprules.Decision {
	rules, age := rulesOf(e), Age(e, now)
	if soft > 0 {
		at := min(age, time.Duration(time.UnixMicro(int64(min(soft, math.MaxInt64/1000))).UnixNano()-e.Born))
		if at < rules.Lifetime { // what was stale already is of no more use than before
			rules.StaleWhileRevalidate = max(rules.StaleWhileRevalidate, softGrace)
		}
		rules.Lifetime = max(0, min(rules.Lifetime, at))
	}
	return httprules.Decide(rules, age, control)
}

func rulesOf(e *entry.Entry) httprules.Stored {
	return httprules.Stored{
		Lifetime:             time.Duration(e.Lifetime),
		StaleWhileRevalidate: time.Duration(e.SWR),
		StaleIfError:         time.Duration(e.SIE),
		StatedStale:          e.Flags&entry.StatedStale != 0,
		NoCache:              e.Flags&entry.NoCache != 0,
		MustRevalidate:       e.Flags&entry.MustRevalidate != 0,
	}
}

// Age is current_age by RFC 9111 section 4.2.3. An entry of the future was made by a
// machine whose clock is ahead: nobody knows how old it is, so it is as old as it
// may be while fresh, or it would be fresh until the other clock's time has come.
func Age(e *entry.Entry, now time.Time) time.Duration {
	age := time.Duration(now.UnixNano() - e.Born)
	if age < -clockSkew {
		return time.Duration(e.Lifetime)
	}
	return max(0, age)
}
