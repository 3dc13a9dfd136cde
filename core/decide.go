package cacheaside

import (
	"math"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// decide says what v.entry is good for. A soft purge has ended its freshness.
func (v *visit) decide(now time.Time) httprules.Decision {
	rules, age := v.rules(), v.age(now)
	if v.Soft > 0 {
		at := min(age, time.Duration(time.UnixMicro(int64(min(v.Soft, math.MaxInt64/1000))).UnixNano()-v.entry.Born))
		if at < rules.Lifetime { // what was stale already is of no more use than before
			rules.StaleWhileRevalidate = max(rules.StaleWhileRevalidate, softGrace)
		}
		rules.Lifetime = max(0, min(rules.Lifetime, at))
	}
	return httprules.Decide(rules, age, v.control)
}

func (f *found) rules() httprules.Stored {
	return httprules.Stored{
		Lifetime:             time.Duration(f.entry.Lifetime),
		StaleWhileRevalidate: time.Duration(f.entry.SWR),
		StaleIfError:         time.Duration(f.entry.SIE),
		StatedStale:          f.entry.Flags&entry.StatedStale != 0,
		NoCache:              f.entry.Flags&entry.NoCache != 0,
		MustRevalidate:       f.entry.Flags&entry.MustRevalidate != 0,
	}
}

// softGrace is how long at least a softly purged response may be served while
// it is being revalidated.
const softGrace = time.Minute

// age is current_age by RFC 9111 section 4.2.3. An entry of the future was made by a
// machine whose clock is ahead: nobody knows how old it is, so it is as old as it
// may be while fresh, or it would be fresh until the other clock's time has come.
func (f *found) age(now time.Time) time.Duration {
	age := time.Duration(now.UnixNano() - f.entry.Born)
	if age < -clockSkew {
		return time.Duration(f.entry.Lifetime)
	}
	return max(0, age)
}

// clockSkew is by how much the clocks of machines may differ.
const clockSkew = 2 * time.Second
