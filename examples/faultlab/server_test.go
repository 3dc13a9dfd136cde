package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// TestLent: a lent server is used for what does not break it, with nothing on the PATH, and
// given back empty. One with data is refused.
func TestLent(t *testing.T) {
	needServer(t)
	ctx := t.Context()
	own, err := server.StartStore(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Kill()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{own.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("DRAGONFLY_ADDR", own.Addr)
	t.Setenv("PATH", t.TempDir())

	if err := c.Do(ctx, c.B().Set().Key("theirs").Value("1").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	l := lab{length: 200 * time.Millisecond, seed: 1, verbose: true, lookup: 300 * time.Millisecond, only: regexp.MustCompile("^(none|server killed|packets dropped|corrupt)")}
	if _, err := l.choose(ctx); err == nil || !strings.Contains(err.Error(), "DRAGONFLY_ADDR") || !strings.Contains(err.Error(), "keys: 1") {
		t.Fatalf("a server with data: %v", err)
	}
	if n := size(t, c); n != 1 {
		t.Fatalf("%d keys, want the one that was there", n)
	}
	if err := c.Do(ctx, c.B().Del().Key("theirs").Build()).Error(); err != nil {
		t.Fatal(err)
	}

	if on, err := l.choose(ctx); err != nil || on != own.Addr {
		t.Fatalf("%q, %v", on, err)
	}
	tried := map[string]bool{}
	if _, err := l.run(ctx, func(results []*result) {
		for _, r := range results {
			tried[r.fault] = true
			if !r.ok() {
				t.Errorf("%s, %s: %d wrong, %d errors, back after %v: %q", r.fault, r.framework, r.wrong, r.errors, r.recovered, r.what)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !tried["none"] || !tried["packets dropped"] || tried["server killed"] || !own.Answers() {
		t.Errorf("tried %v, answers %v", tried, own.Answers())
	}
	if err := l.giveBack(ctx); err != nil || size(t, c) != 0 {
		t.Errorf("%v, %d keys are left", err, size(t, c))
	}
}

func size(t *testing.T, c rueidis.Client) int64 {
	t.Helper()
	n, err := c.Do(t.Context(), c.B().Dbsize().Build()).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBreaks: what is done to a server itself is not done to a lent one.
func TestBreaks(t *testing.T) {
	for _, f := range faults() {
		if f.breaks != (strings.Contains(f.name, "server ") && !strings.Contains(f.name, "slow") || strings.Contains(f.name, "replica") || strings.Contains(f.name, "password")) {
			t.Errorf("%s: breaks is %v", f.name, f.breaks)
		}
		if len(f.opts) > 0 && !f.breaks {
			t.Errorf("%s: a lent server cannot be told %d options", f.name, len(f.opts))
		}
	}
}
