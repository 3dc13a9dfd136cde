package cachetest

import "testing"

// AssertHit checks that what was stored has answered, fresh or stale. Like all of these it
// returns what the response says, reports a failure by tb.Errorf, and goes on.
func AssertHit[R Response](tb testing.TB, response R) Outcome {
	tb.Helper()
	return assert(tb, response, "a hit", func(o Outcome) bool { return o.Hit })
}

// AssertMiss checks that the handler was asked because what was stored could not answer,
// whether its response is stored or not. A bypass is no miss, nor is the answer that
// another request has got.
func AssertMiss[R Response](tb testing.TB, response R) Outcome {
	tb.Helper()
	return assert(tb, response, "a miss", func(o Outcome) bool { return o.asked() && !o.Collapsed })
}

// AssertStored checks that the handler was asked, and its response is being stored.
func AssertStored[R Response](tb testing.TB, response R) Outcome {
	tb.Helper()
	return assert(tb, response, "a response that is stored", func(o Outcome) bool { return o.Stored })
}

// AssertNotStored checks that the handler was asked, and its response is not stored;
// Detail says why.
func AssertNotStored[R Response](tb testing.TB, response R) Outcome {
	tb.Helper()
	return assert(tb, response, "a response that is not stored", func(o Outcome) bool { return o.Forward != "" && !o.Stored && !o.Collapsed })
}

// AssertBypass checks that the cache has left the request to the handler, because of the
// policy, the request or its method.
func AssertBypass[R Response](tb testing.TB, response R) Outcome {
	tb.Helper()
	return assert(tb, response, "a bypass", Outcome.bypassed)
}

func assert[R Response](tb testing.TB, response R, want string, is func(Outcome) bool) Outcome {
	tb.Helper()
	o, err := OutcomeOf(response)
	switch {
	case err != nil:
		tb.Errorf("want %s: %v", want, err)
	case !is(o):
		tb.Errorf("want %s, got %v", want, o)
	}
	return o
}
