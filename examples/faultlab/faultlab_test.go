package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

func TestSoak(t *testing.T) {
	storetest.LongOnly(t)
	needServer(t)
	var out strings.Builder
	l := lab{seed: 1, lookup: 300 * time.Millisecond}
	if err := l.soak(context.Background(), 10*time.Second, 1000, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}

// needServer skips a test where there is no server to start.
func needServer(t *testing.T) {
	t.Helper()
	if _, _, err := servers.Find(); err != nil && os.Getenv("CACHEASIDE_REQUIRE_SERVER") != "1" {
		t.Skip(err)
	}
}

func TestFlat(t *testing.T) {
	level, growing := make([]sample, 100), make([]sample, 100)
	for i := range level {
		level[i] = sample{goroutines: 100 + i%7, heap: 50 << 20, descriptors: 90}
		growing[i] = sample{goroutines: 100 + i, heap: 50 << 20, descriptors: 90}
	}
	if err := flat(level); err != nil {
		t.Error(err)
	}
	if flat(growing) == nil || flat(level[:5]) == nil {
		t.Error("what grows, or is too short to tell, counts as flat")
	}
}

// TestLink has nothing but the default time-outs.
func TestLink(t *testing.T) {
	storetest.LongOnly(t)
	needServer(t)
	l := lab{length: time.Second, seed: 1}
	results, err := l.link(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Logf("%s: %d of %d requests were hits", r.framework, r.hits, r.requests)
		if !r.ok() {
			t.Errorf("%s: %d wrong, %d errors: %q", r.framework, r.wrong, r.errors, r.what)
		}
	}
}

// some are faults of each kind, for when there is little time.
var some = regexp.MustCompile("^(server killed|connections reset|wrong password|corrupt|handler answers 503, with|handler hangs, with)")

// TestFaults goes through the faults in short.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	needServer(t)
	l := lab{length: time.Duration(storetest.Rounds(200, 500)) * time.Millisecond, seed: 1, verbose: true, lookup: 300 * time.Millisecond}
	if !storetest.Long() {
		l.only = some
	}
	if _, err := l.run(context.Background(), func(results []*result) {
		for _, r := range results {
			t.Logf("%s, %s: %d requests, %d hits, %d errors of the handler, back after %v", r.fault, r.framework, r.requests, r.hits, r.caused, r.recovered)
			if !r.ok() || r.requests == 0 {
				t.Errorf("%s, %s: %d requests, %d wrong, %d errors, back after %v: %q", r.fault, r.framework, r.requests, r.wrong, r.errors, r.recovered, r.what)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
