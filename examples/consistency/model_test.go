package main

import (
	"slices"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// TestJudge: the model finds what it is there to find, and nothing else. In each
// case versions 1 to 5 were written 10 minutes to 10 s ago, and 5 is current.
func TestJudge(t *testing.T) {
	now := time.Now()
	at := func(version int64) *promise { return &promise{version, now.Add(-time.Second)} }
	ages := []time.Duration{10 * time.Minute, 5 * time.Minute, time.Minute, 50 * time.Second, 10 * time.Second}
	brief := policy{name: "brief", ttl: time.Second, swr: 30 * time.Second, sie: 30 * time.Second, soft: 1}
	plain := policy{name: "plain", ttl: time.Hour}
	const hit, stored = "cacheaside; hit; ttl=1", "cacheaside; fwd=miss; stored"
	const swr, sie, late = "cacheaside; hit; ttl=-1; " + whileRevalidate, "cacheaside; fwd=stale; " + ifError, "cacheaside; fwd=stale; " + softTimeout
	for _, c := range []struct {
		name     string
		p        policy
		a        answer
		ok, late bool
	}{
		{"current", plain, answer{version: 5, status: hit}, true, false},
		{"from the future", plain, answer{version: 6, status: hit}, false, false},
		{"not purged", plain, answer{version: 3, status: hit}, true, false},
		{"purged", plain, answer{version: 3, status: hit, hard: at(4)}, false, true},
		{"not purged, but older ones", plain, answer{version: 4, status: hit, hard: at(4)}, true, false},
		{"purged, by a run of the handler", plain, answer{version: 3, status: stored, hard: at(4)}, false, true},
		{"purged, stale while revalidated", brief, answer{version: 4, status: swr, hard: at(5)}, false, true},
		{"purged, in place of an error", brief, answer{version: 4, status: sie, hard: at(5)}, false, true},
		{"purged, after a soft time-out", brief, answer{version: 4, status: late, hard: at(5)}, false, true},
		{"purged hard, then softly", brief, answer{version: 3, status: swr, hard: at(4), soft: at(5)}, false, true},
		{"purged softly, as fresh", plain, answer{version: 4, status: hit, soft: at(5)}, false, true},
		{"purged softly, by a run of the handler", plain, answer{version: 4, status: stored, soft: at(5)}, false, true},
		{"purged softly, as stale", plain, answer{version: 4, status: swr, soft: at(5)}, true, false},
		{"purged softly, for long", brief, answer{version: 3, status: swr, soft: at(5)}, true, false},
		{"purged softly, for too long", brief, answer{version: 2, status: swr, soft: at(5)}, true, false},
		{"purged softly, for much too long", brief, answer{version: 1, status: swr, soft: at(5)}, false, false},
		{"purged softly, in place of an error", brief, answer{version: 4, status: sie, soft: at(5)}, true, false},
		{"stale, where that is not to be", policy{ttl: time.Hour, unbending: true}, answer{version: 4, status: swr, soft: at(5)}, false, false},
		{"stale, without policy or purge", plain, answer{version: 5, status: swr}, false, false},
		{"stale, purged softly before it was written", plain, answer{version: 5, status: swr, soft: &promise{4, now.Add(-15 * time.Second)}}, false, false},
		{"stale, purged softly while it was asked for", plain, answer{version: 5, status: swr, soft: &promise{4, now.Add(-11 * time.Second)}}, true, false},
		{"stale for an error, without policy", plain, answer{version: 5, status: sie}, false, false},
		{"stale for a soft time-out, without policy", policy{name: "sie", sie: time.Minute}, answer{version: 5, status: late}, false, false},
		{"fresh for too long", brief, answer{version: 4, status: hit}, false, false},
		{"stale for as long as may be", brief, answer{version: 4, status: swr}, true, false},
		{"stale for too long", brief, answer{version: 3, status: sie}, false, false},
	} {
		r := &row{policy: &c.p}
		r.version.Store(5)
		for _, age := range ages {
			r.written = append(r.written, now.Add(-age))
		}
		if c.a.soft != nil {
			r.softening()(c.a.soft.at)
		}
		c.a.began = now
		switch f := r.judge(c.a); {
		case (f == nil) != c.ok:
			t.Errorf("%s: %+v", c.name, f)
		case f != nil && f.late != c.late:
			t.Errorf("%s: late is %v: %s", c.name, f.late, f.what)
		}
	}
}

// TestCheck: what does not fit together in one response is found.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		v    view
		ok   bool
	}{
		{"whole", view{code: 200, version: "7", etag: `"7 de"`, body: "7 de", selected: "de"}, true},
		{"HEAD", view{head: true, code: 200, version: "7", etag: `"7 de"`, selected: "de"}, true},
		{"HEAD with a body", view{head: true, code: 200, version: "7", etag: `"7 de"`, body: "7 de", selected: "de"}, false},
		{"304", view{code: 304, sent: []string{`"6 de"`, `"7 de"`}, version: "7", etag: `"7 de"`, selected: "de"}, true},
		{"304 for another", view{code: 304, sent: []string{`"6 de"`}, version: "7", etag: `"7 de"`, selected: "de"}, false},
		{"304 for no condition", view{code: 304, version: "7", etag: `"7 de"`, selected: "de"}, false},
		{"another variant", view{code: 200, version: "7", etag: `"7 fr"`, body: "7 fr", selected: "de"}, false},
		{"an old body", view{code: 200, version: "7", etag: `"7 de"`, body: "6 de", selected: "de"}, false},
		{"an old ETag", view{code: 200, version: "7", etag: `"6 de"`, body: "7 de", selected: "de"}, false},
		{"an ETag of the cache", view{code: 200, version: "7", etag: `"5fa3"`, body: "7 de", selected: "de", etagsOfTheCache: true}, true},
		{"no version", view{code: 200, body: "7 de", selected: "de"}, false},
	} {
		if v, what := c.v.check(); (what == "") != c.ok || c.ok && v != 7 {
			t.Errorf("%s: %d, %q", c.name, v, what)
		}
	}
}

// TestPolicies: what judge takes for the most is what the handles have.
func TestPolicies(t *testing.T) {
	base := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}}))
	t.Cleanup(func() { _ = base.Close(t.Context()) })
	for _, p := range everything.policies() {
		for process := range 4 {
			var got cacheaside.Policy
			if _, err := base.With(func(c *cacheaside.Policy) { p.change(process)(c); got = *c }); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
			if got.TTL > p.ttl || got.Stale.WhileRevalidate > p.swr || got.Stale.IfError > p.sie {
				t.Errorf("%s in process %d has more than it says: %v, %v, %v", p.name, process, got.TTL, got.Stale.WhileRevalidate, got.Stale.IfError)
			}
		}
	}
	if n := len(Features{}.policies()); n != 1 {
		t.Errorf("without anything there are %d policies", n)
	}
}

// TestSorted: keys are told apart by what they are for.
func TestSorted(t *testing.T) {
	const digest = ":0123456789abcdef0123456789abcdef"
	for key, want := range map[string]kind{
		"cacheaside:2:{GET:http://example.com/plain/1}":                         evictedValues,
		"cacheaside:2:{GET:http://example.com/plain/0}":                         evictedRecords,
		"cacheaside:2:{GET:http://example.com/plain/0}" + digest:                evictedVariants,
		"cacheaside:2:{GET:http://example.com/plain/0}:lock":                    evictedLocks,
		"cacheaside:2:{GET:http://example.com/plain/0}" + digest + ":lock":      evictedLocks,
		"cacheaside:2:{GET:http://example.com/plain/0}" + digest + ":auth:lock": evictedLocks,
		"cacheaside:2:{tags}:t:plain-1":                                         evictedStamps,
		"cacheaside:2:{tags}:u://example.com/plain/0":                           evictedStamps,
		"cacheaside:2:{tags}:clock":                                             evictedClocks,
		"cacheaside:2:{tags}:clock:ring":                                        evictedRings,
		"cacheaside:2:{tags}:clock:journal":                                     evictedJournals,
	} {
		by := sorted([]string{"cacheaside:2:{GET:http://example.com/plain/0}" + digest, key})
		if !slices.Contains(by[want], key) {
			t.Errorf("%s is not under %d: %v", key, want, by)
		}
	}
}
