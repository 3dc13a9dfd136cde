package httprules

import (
	"math"
	"testing"
	"time"
)

func TestRFC9111_4_Decide(t *testing.T) {
	minute := Stored{Lifetime: 60 * second}
	grace := Stored{Lifetime: 60 * second, StaleWhileRevalidate: 10 * second, StaleIfError: 20 * second}
	forbidden := grace
	forbidden.MustRevalidate = true
	never := grace
	never.NoCache = true
	for _, tt := range []struct {
		name    string
		stored  Stored
		age     time.Duration
		request string
		want    Decision
	}{
		{"4.2 fresh", minute, 0, "", Decision{TTL: 60 * second}},
		{"4.2 just fresh", minute, 60*second - 1, "", Decision{TTL: 1}},
		{"4.2 stale when as old as its lifetime", minute, 60 * second, "", Decision{Use: Validate, Fwd: "stale"}},
		{"4.2 stale", minute, 61 * second, "", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"4.2 no lifetime", Stored{}, 0, "", Decision{Use: Validate, Fwd: "stale"}},
		{"4.2 negative lifetime", Stored{Lifetime: -second}, 0, "", Decision{Use: Validate, Fwd: "stale"}},
		{"4.2 negative age", minute, -second, "", Decision{TTL: 60 * second}},
		{"4.2 greatest age", minute, math.MaxInt64, "", Decision{Use: Validate, Fwd: "stale", TTL: 60*second - math.MaxInt64}},

		{"5.2.2.4 no-cache", never, 0, "", Decision{Use: Validate, Fwd: "stale", TTL: 60 * second}},
		{"5.2.2.4 no-cache is not served stale", never, 65 * second, "max-stale", Decision{Use: Validate, Fwd: "stale", TTL: -5 * second}},

		{"5.2.1.1 max-age", minute, 10 * second, "max-age=10", Decision{TTL: 50 * second}},
		{"5.2.1.1 too old", minute, 11 * second, "max-age=10", Decision{Use: Validate, Fwd: "request", TTL: 49 * second}},
		{"5.2.1.1 max-age=0", minute, 0, "max-age=0", Decision{Use: Validate, Fwd: "request", TTL: 60 * second}},
		{"5.2.1.1 stale all the same", minute, 61 * second, "max-age=10", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"5.2.1.2 max-stale", minute, 65 * second, "max-stale=5", Decision{Use: StaleAllowed, TTL: -5 * second}},
		{"5.2.1.2 too stale", minute, 66 * second, "max-stale=5", Decision{Use: Validate, Fwd: "stale", TTL: -6 * second}},
		{"5.2.1.2 any", minute, time.Hour, "max-stale", Decision{Use: StaleAllowed, TTL: 60*second - time.Hour}},
		{"5.2.1.2 must-revalidate", forbidden, 61 * second, "max-stale", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"5.2.1.2 fresh", minute, 0, "max-stale", Decision{TTL: 60 * second}},
		{"5.2.1.2 and max-age", minute, 65 * second, "max-stale, max-age=65", Decision{Use: StaleAllowed, TTL: -5 * second}},
		{"5.2.1.2 and max-age, too old", minute, 66 * second, "max-stale, max-age=65", Decision{Use: Validate, Fwd: "stale", TTL: -6 * second}},
		{"5.2.1.3 min-fresh", minute, 10 * second, "min-fresh=50", Decision{TTL: 50 * second}},
		{"5.2.1.3 not fresh enough", minute, 11 * second, "min-fresh=50", Decision{Use: Validate, Fwd: "request", TTL: 49 * second}},
		{"5.2.1.4 no-cache", minute, 0, "no-cache", Decision{Use: Validate, Fwd: "request", TTL: 60 * second}},
		{"5.2.1.4 no-cache and max-stale", minute, 61 * second, "no-cache, max-stale", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"5.2.1.5 no-store is not about what is stored", minute, 0, "no-store", Decision{TTL: 60 * second}},

		{"5861 3 both windows", grace, 70 * second, "", Decision{Use: Validate, Fwd: "stale", TTL: -10 * second, MaySWR: true, MaySIE: true}},
		{"5861 3 after it", grace, 71 * second, "", Decision{Use: Validate, Fwd: "stale", TTL: -11 * second, MaySIE: true}},
		{"5861 4 after it", grace, 81 * second, "", Decision{Use: Validate, Fwd: "stale", TTL: -21 * second}},
		{"5861 must-revalidate", forbidden, 61 * second, "stale-if-error=60", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"5861 no-cache in the request", grace, 61 * second, "no-cache", Decision{Use: Validate, Fwd: "stale", TTL: -second}},
		{"5861 max-age in the request", grace, 61 * second, "max-age=90", Decision{Use: Validate, Fwd: "stale", TTL: -second, MaySIE: true}},
		{"5861 max-stale exceeded", grace, 65 * second, "max-stale=1", Decision{Use: Validate, Fwd: "stale", TTL: -5 * second, MaySIE: true}},
		{"5861 min-fresh in the request", grace, 61 * second, "min-fresh=1", Decision{Use: Validate, Fwd: "stale", TTL: -second, MaySIE: true}},
		{"5861 4 asked for by the request", minute, 65 * second, "stale-if-error=5", Decision{Use: Validate, Fwd: "stale", TTL: -5 * second, MaySIE: true}},
		{"5861 4 asked for, but shorter", minute, 66 * second, "stale-if-error=5", Decision{Use: Validate, Fwd: "stale", TTL: -6 * second}},
		{"5861 4 longer in the response", grace, 75 * second, "stale-if-error=5", Decision{Use: Validate, Fwd: "stale", TTL: -15 * second, MaySIE: true}},
		{"5861 4 fresh, but reloaded", grace, 0, "max-age=0", Decision{Use: Validate, Fwd: "request", TTL: 60 * second, MaySIE: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rc := ParseRequestControl(fields("Cache-Control", tt.request))
			if got := Decide(tt.stored, tt.age, rc); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(int64(60), int64(10), int64(20), int64(65), "max-stale=5, max-age=0", false, false)
	f.Add(int64(math.MaxInt64), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), "min-fresh=1", true, false)
	f.Add(int64(0), int64(0), int64(0), int64(math.MaxInt64), "no-cache", false, true)
	f.Fuzz(func(t *testing.T, lifetime, swr, sie, age int64, cc string, noCache, must bool) {
		s := Stored{time.Duration(lifetime), time.Duration(swr), time.Duration(sie), noCache, must, false}
		rc := ParseRequestControl(fields("Cache-Control", cc))
		d := Decide(s, time.Duration(age), rc)
		fresh := max(lifetime, 0) > max(age, 0)
		switch {
		case fresh != (d.TTL > 0):
			t.Fatalf("TTL %v", d.TTL)
		case d.Use == Fresh && (!fresh || noCache || rc.NoCache):
			t.Fatalf("taken as fresh: %+v", d)
		case d.Use == StaleAllowed && (fresh || noCache || must || rc.NoCache || !rc.MaxStale.OK):
			t.Fatalf("allowed stale: %+v", d)
		case (d.Use == Validate) != (d.Fwd != ""):
			t.Fatalf("Fwd %q with %v", d.Fwd, d.Use)
		case (d.MaySWR || d.MaySIE) && (d.Use != Validate || noCache || must || rc.NoCache):
			t.Fatalf("stale in spite of: %+v", d)
		case d.MaySWR && (swr <= 0 || fresh), d.MaySIE && sie <= 0 && !rc.StaleIfError.OK:
			t.Fatalf("stale without leave: %+v", d)
		}
		if rc == (RequestControl{}) && fresh && !noCache && d.Use != Fresh {
			t.Fatalf("fresh, and not used: %+v", d)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	s := Stored{Lifetime: 60 * second, StaleWhileRevalidate: 10 * second}
	rc := RequestControl{MaxAge: Delta{90 * second, true}}
	b.ReportAllocs()
	for b.Loop() {
		Decide(s, 61*second, rc)
	}
}

func TestDecideAllocs(t *testing.T) {
	s := Stored{Lifetime: 60 * second}
	if n := testing.AllocsPerRun(100, func() { Decide(s, 61*second, RequestControl{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
