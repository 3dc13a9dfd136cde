package cachetest

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/inside"
)

// giveUp is how long to wait for what goes on in the background: real time, also where the
// clock of the cache stands still.
const giveUp = 10 * time.Second

// Cache is a cache for one test. All methods may be called concurrently; those that fail
// the test are for its goroutine, as tb.Fatal is.
type Cache struct {
	*cacheaside.Cache
	tb    testing.TB
	clock clock
}

// New makes a cache from cfg, which may be that of the service. It is closed when the test
// ends. Without a Store it is empty and in memory, so that what one request has stored the
// next one finds. Its clock stands still at the present second until Advance moves it, so
// cfg.Now has to be nil. Without a Logger the cache's own trouble goes to the log of the
// test. A wrong cfg fails the test.
//
// A Store that cfg names stays open, and goes by its own clock.
func New(tb testing.TB, cfg cacheaside.Config) *Cache {
	tb.Helper()
	c := &Cache{tb: tb, clock: clock{now: time.Now().Truncate(time.Second)}}
	if cfg.Now != nil {
		tb.Fatal("cachetest.New: Config.Now is set: leave it out, the clock is that of Cache.Advance")
	}
	cfg.Now = c.clock.Now
	log := &testLog{tb: tb}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	var err error
	if c.Cache, err = cacheaside.New(cfg); err != nil {
		tb.Fatalf("cachetest.New: %v", err)
	}
	tb.Cleanup(func() {
		defer log.end()
		ctx, cancel := context.WithTimeout(context.Background(), giveUp)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			tb.Errorf("cachetest: closing the cache, what goes on in the background has not ended: %v", err)
		}
	})
	return c
}

// Off makes a cache that leaves every request to its handler, as if there were none;
// Cache-Status says bypass. A handle that Cache.With makes is off as well, unless it
// replaces Policy.Skip.
func Off(tb testing.TB) *Cache {
	tb.Helper()
	return New(tb, cacheaside.Config{Policy: cacheaside.Policy{Skip: func(*cacheaside.Request) bool { return true }}})
}

// Now is the time of the cache.
func (c *Cache) Now() time.Time { return c.clock.Now() }

// Advance lets time pass for the cache: lifetimes, ages, expiry. It does not wait for
// anything, and timeouts go by real time. Time does not go back: a negative d fails the
// test.
func (c *Cache) Advance(d time.Duration) {
	c.tb.Helper()
	if d < 0 {
		c.tb.Fatalf("cachetest: Advance(%v): time does not go back", d)
	}
	c.clock.advance(d)
}

// Wait waits until nothing goes on in the background: refreshes have ended, and what is to
// be stored has arrived. It fails the test if that takes 10 s.
func (c *Cache) Wait() {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), giveUp)
	defer cancel()
	if err := inside.Settle(ctx, c.Cache); err != nil {
		c.tb.Fatalf("cachetest: Wait: what goes on in the background has not ended: %v", err)
	}
}

// Empty waits like Wait, and then purges all that is stored. Of what was there Cache-Status
// says detail=purged. It fails the test where the store cannot do that.
func (c *Cache) Empty() {
	c.tb.Helper()
	c.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), giveUp)
	defer cancel()
	if err := c.Purge(ctx, cacheaside.Purge{All: true}); err != nil {
		c.tb.Fatalf("cachetest: Empty: %v", err)
	}
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testLog is the log of a test, to which nothing may be written when that is over.
type testLog struct {
	mu   sync.Mutex
	tb   testing.TB
	over bool
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.tb.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
