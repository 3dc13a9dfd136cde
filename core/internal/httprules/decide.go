package httprules

import "time"

// Stored is what a stored response says about its use. A duration of 0 or less
// is none.
type Stored struct {
	Lifetime, StaleWhileRevalidate, StaleIfError time.Duration
	NoCache, MustRevalidate                      bool
	// StatedStale says that the response itself grants StaleWhileRevalidate or
	// StaleIfError, which then count in spite of MustRevalidate.
	StatedStale bool
}

// Use says what a stored response is good for.
type Use uint8

// The uses.
const (
	Fresh        Use = iota // answer from it
	StaleAllowed            // stale, but the request's max-stale permits it
	Validate                // to be validated with the handler, or fetched anew
)

// Decision is the result of [Decide].
type Decision struct {
	Use Use
	// Fwd is, for Validate, why the handler is asked (RFC 9211 section 2.2):
	// "stale", or "request" where only the request rules a fresh response out.
	Fwd string
	// TTL is the freshness that is left, negative when stale.
	TTL time.Duration
	// MaySWR and MaySIE say, for Validate, whether the response may be served
	// while it is being revalidated and when that fails (RFC 5861).
	MaySWR, MaySIE bool
}

// Decide says whether a response of this age answers a request (RFC 9111
// section 4).
func Decide(s Stored, age time.Duration, rc RequestControl) Decision {
	lifetime := max(s.Lifetime, 0)
	age = max(age, 0)
	d := Decision{TTL: lifetime - age}
	fresh := lifetime > age // RFC 9111 section 4.2
	mayStale := !s.NoCache && !s.MustRevalidate

	// RFC 9111 sections 5.2.1.1, 5.2.1.3 and 5.2.1.4.
	wanted := !rc.NoCache &&
		!(rc.MaxAge.OK && (rc.MaxAge.D <= 0 || age > rc.MaxAge.D)) &&
		!(rc.MinFresh.OK && d.TTL < rc.MinFresh.D)
	if wanted && !s.NoCache {
		if fresh {
			return d
		}
		if mayStale && rc.MaxStale.OK && -d.TTL <= rc.MaxStale.D {
			d.Use = StaleAllowed
			return d
		}
	}

	d.Use, d.Fwd = Validate, "stale"
	if fresh && !s.NoCache {
		d.Fwd = "request"
	}
	if mayStale || s.StatedStale && !s.NoCache {
		// A client that limits age or staleness has ruled out what the origin
		// would have permitted. In place of an error it gets the response all
		// the same: RFC 5861 section 4 has that regardless of other freshness
		// information, which no-cache is not.
		d.MaySWR = wanted && !fresh && !rc.MaxAge.OK && !rc.MaxStale.OK && within(-d.TTL, s.StaleWhileRevalidate)
		d.MaySIE = !rc.NoCache && (within(-d.TTL, s.StaleIfError) || mayStale && rc.StaleIfError.OK && within(-d.TTL, rc.StaleIfError.D))
	}
	return d
}

func within(staleness, window time.Duration) bool { return window > 0 && staleness <= window }
