package main

import (
	"context"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// storm is how long the server is in trouble, followed by three times as long when
// keys are evicted only.
const storm = 500 * time.Millisecond

// command sends one to the server.
type command func(words ...string) rueidis.RedisResult

// harm does what can happen to a server. One that is started again lives as long
// as the run.
func (t traffic) harm(ctx, run context.Context, rng *mathrand.Rand, c rueidis.Client, own *servers.Server) error {
	time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	do := func(words ...string) rueidis.RedisResult {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return c.Do(ctx, c.B().Arbitrary(words...).Build())
	}
	k := rng.IntN(400)
	if time.Since(t.began)/storm%4 != 1 { // who reconnects all the time has nothing to answer from
		k %= 300
	}
	if t.near > 0 && rng.IntN(10) > 0 { // all copies go with a connection: leave them some time
		k %= 300
	}
	for _, first := range []struct {
		kind kind
		k    int
		near bool
	}{{flushes, 0, true}, {cuts, 300, false}, {losses, 390, false}} { // not too late in a short run
		if t.count[first.kind].Load() == 0 && (first.near || t.near == 0) && rng.IntN(20) == 0 {
			k = first.k
		}
	}
	switch {
	case k < 10:
		if do("SCRIPT", "FLUSH").Error() == nil {
			t.count[flushes].Add(1)
		}
	case k < 300:
		t.evict(rng, do)
	case k < 390:
		cutting, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = servers.Disconnect(cutting, c)
		cancel()
		t.count[cuts].Add(1)
	case k < 396 || own == nil:
		do("FLUSHALL")
		t.count[losses].Add(1)
	default:
		own.Kill()
		t.count[losses].Add(1)
		return own.Start(run)
	}
	return nil
}

// evictable are the kinds of keys. Without the clock, and without the journal,
// everything that is stored is of no use, so these go less often: one part in as many.
var evictable = []struct {
	kind  kind
	parts int
}{
	{evictedValues, 1}, {evictedVariants, 1}, {evictedRecords, 2}, {evictedLocks, 1}, {evictedStamps, 1},
	{evictedRings, 4}, {evictedClocks, 25}, {evictedJournals, 25},
}

// evict removes one key, as a server does that needs room. That is no purge: what was
// not purged may be served for as long as it is there, and what was may not come back.
func (t traffic) evict(rng *mathrand.Rand, do command) {
	keys, err := do("KEYS", "*").AsStrSlice()
	if err != nil {
		return
	}
	by := sorted(keys)
	which := evictable[rng.IntN(len(evictable))]
	seldom := rng.IntN(which.parts) > 0 && t.count[which.kind].Load() > 0 // the first one soon
	if some := by[which.kind]; len(some) > 0 && !seldom {
		remove := []string{"DEL", "UNLINK"}[rng.IntN(2)]
		if n, err := do(remove, some[rng.IntN(len(some))]).AsInt64(); err == nil && n == 1 {
			t.count[which.kind].Add(1)
		}
	}
}

var variantKey = regexp.MustCompile(`^(.*\}):[0-9a-f]{16,}$`)

// sorted tells the keys of the cache apart by what is there for. What is under the
// primary key of something that has variants is taken for the record of these.
func sorted(keys []string) map[kind][]string {
	by := map[kind][]string{}
	varied := map[string]bool{}
	for _, key := range keys {
		if m := variantKey.FindStringSubmatch(key); m != nil {
			varied[m[1]] = true
		}
	}
	for _, key := range keys {
		k := evictedValues
		_, tag, isTag := strings.Cut(key, ":{tags}:")
		switch {
		case strings.HasSuffix(key, ":lock"):
			k = evictedLocks
		case isTag && strings.HasSuffix(tag, ":ring"):
			k = evictedRings
		case isTag && strings.HasSuffix(tag, ":journal"):
			k = evictedJournals
		case isTag && strings.Trim(tag, "|") == "clock":
			k = evictedClocks
		case isTag:
			k = evictedStamps
		case variantKey.MatchString(key):
			k = evictedVariants
		case varied[key]:
			k = evictedRecords
		}
		by[k] = append(by[k], key)
	}
	return by
}

// pause stops a process for longer than a token of it lives, at most: what it does
// then, in the midst of whatever it was doing, it does too late.
func (t traffic) pause(ctx context.Context, rng *mathrand.Rand) error {
	pause := 5000
	if t.count[pauses].Load() == 0 {
		pause = 500
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(time.Duration(rng.IntN(pause)) * time.Millisecond):
	}
	p := t.nodes[rng.IntN(len(t.nodes))].process
	if err := server.Pause(p); err != nil {
		return err
	}
	time.Sleep(time.Duration(rng.IntN(4)) * lockTTL)
	t.count[pauses].Add(1)
	return server.Resume(p)
}
