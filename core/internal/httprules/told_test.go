package httprules

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLifetimeOfTheHandler goes through all that a response may say, with and without a
// lifetime that the handler has given in code: that takes the place of all freshness, and
// of nothing else.
func TestLifetimeOfTheHandler(t *testing.T) {
	const d = 90 * second
	directives := []string{"", "no-store", "private", `private="content-type"`, "no-cache", `no-cache="x-a"`, `no-cache="content-type"`,
		"max-age=0", "max-age=10", "s-maxage=5", "must-revalidate", "proxy-revalidate", "public", "must-understand, no-store", "stale-if-error=9"}
	n := 0
	for i, one := range directives {
		for _, two := range directives[i:] {
			for _, name := range []string{"Cache-Control", "Cdn-Cache-Control"} {
				for _, more := range []string{"", "Set-Cookie: a=b", "Vary: *", "Expires: 0", "Etag: \"a\"", "Age: 100", "Content-Range: bytes 0-1/2"} {
					for _, request := range []string{"", "Authorization: x", "Cache-Control: no-store"} {
						for _, status := range []int{200, 206, 404, 500} {
							for bits := range 4 {
								h := http.Header{name: {strings.Trim(one+", "+two, ", ")}}
								if k, v, ok := strings.Cut(more, ": "); ok {
									h.Set(k, v)
								}
								f := fill().status(status).rules(Rules{Targets: []string{"CDN-Cache-Control"}, AnyStatus: bits&1 != 0, Listed: bits&2 != 0}).took(3 * second)
								f.ResponseHeader = h
								if k, v, ok := strings.Cut(request, ": "); ok {
									f = f.request(k, v)
								}
								n++
								checkTold(t, f, d)
							}
						}
					}
				}
			}
		}
	}
	if n < 50_000 {
		t.Errorf("%d cases", n)
	}
}

// checkTold compares the verdicts on f without and with what a handler says in code.
func checkTold(t *testing.T, f Fill, d time.Duration) {
	t.Helper()
	f.Lifetime, f.NoStore = 0, false
	without := Judge(f)
	f.Lifetime = d
	with := Judge(f)
	c := ParseResponseControl(f.ResponseHeader, f.Rules.Targets)
	what := fmt.Sprintf("%d %v to %v by %+v: %+v, with a lifetime %+v", f.Status, f.ResponseHeader, f.RequestHeader, f.Rules, without, with)
	if with.Store && !without.Store {
		switch without.Reason {
		case reasonNoFreshness, reasonExpired, reasonNoCache:
		case reasonStatus: // of a status that any freshness of its own makes storable
			if !f.Rules.AnyStatus || without.Explicit {
				t.Fatalf("stored in spite of its status: %s", what)
			}
		default:
			t.Fatalf("stored though forbidden: %s", what)
		}
	}
	if without.Store && !with.Store && (without.Explicit || explicitStatus(f.Status)) {
		t.Fatalf("not stored any more: %s", what)
	}
	credentials := len(f.RequestHeader.Values("Authorization")) > 0
	switch {
	case with.Lifetime-with.InitialAge != min(d, maxDelta) || !with.Explicit || with.PolicyTTL || with.LacksLifetime:
		t.Fatalf("another lifetime: %s", what)
	case with.NoCache && len(c.NoCacheFields) == 0:
		t.Fatalf("no-cache counts: %s", what)
	case c.ProxyRevalidate && !with.MustRevalidate, (c.Targeted || credentials) && c.MustRevalidate && !with.MustRevalidate, credentials && c.SMaxAge.OK && !with.MustRevalidate:
		t.Fatalf("what is for shared caches is lost: %s", what)
	case !c.Targeted && !credentials && !c.ProxyRevalidate && with.MustRevalidate != with.NoCache:
		t.Fatalf("what is for browsers counts: %s", what)
	case with.StaleIfError != without.StaleIfError, len(with.Strip) != len(without.Strip):
		t.Fatalf("something else has changed: %s", what)
	}
	f.NoStore = true
	if v := Judge(f); v.Store || v.LacksLifetime || with.Store && v.Reason != reasonNoStore {
		t.Fatalf("stored in spite of NoStore: %s", what)
	}
	checkFor(t, without, what)
}

// checkFor: a lifetime of the policy's is for what only lacks one.
func checkFor(t *testing.T, v Verdict, what string) {
	t.Helper()
	if !v.LacksLifetime {
		return
	}
	if v.Store || v.Reason != reasonNoFreshness && v.Reason != reasonExpired {
		t.Fatalf("it lacks more than a lifetime: %s", what)
	}
	d := v.For(7 * second)
	if !d.Store || d.Reason != "" || d.LacksLifetime || d.Lifetime-d.InitialAge != 7*second || d.MustRevalidate != v.MustRevalidate || d.PolicyTTL != v.PolicyTTL {
		t.Fatalf("for 7 s it is %+v: %s", d, what)
	}
}

func TestLacksLifetime(t *testing.T) {
	ttl := Rules{TTL: time.Minute, Listed: true}
	for _, tt := range []struct {
		name          string
		fill          Fill
		lacks, policy bool
	}{
		{"nothing is said", fill(), true, true},
		{"public", fill("Cache-Control", "public"), true, false},
		{"stale on arrival", fill("Cache-Control", "max-age=0"), true, false},
		{"the policy has one", fill().rules(ttl), false, true},
		{"it has one", fresh(), false, false},
		{"private", fill("Cache-Control", "private"), false, false},
		{"no-cache without a validator", fill("Cache-Control", "no-cache"), false, false},
		{"another status", fill().status(500), false, false},
		{"credentials", fill().request("Authorization", "x"), false, false},
		{"a part", func() Fill { f := fill("Content-Range", "bytes 0-1/2").status(206); f.Part = true; return f }(), false, true},
	} {
		v := Judge(tt.fill)
		equal(t, tt.name+": LacksLifetime", v.LacksLifetime, tt.lacks)
		equal(t, tt.name+": PolicyTTL", v.PolicyTTL, tt.policy)
	}
	equal(t, "beyond what a field can say", Judge(fill()).For(1<<62).Lifetime, maxDelta)
}
