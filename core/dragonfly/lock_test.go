package dragonfly_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestLockOnOldServer plays a server that refuses SET with both NX and GET.
func TestLockOnOldServer(t *testing.T) {
	m := miniredis.RunT(t)
	var refused atomic.Int64
	m.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if strings.EqualFold(cmd, "SET") && slices.Contains(args, "NX") && slices.Contains(args, "GET") {
			refused.Add(1)
			c.WriteError("ERR syntax error")
			return true
		}
		return false
	})
	var opened int64
	opts := []storetest.Option{storetest.Clock(m.FastForward)}
	for _, name := range []string{
		"GuardedConcurrent", "StampSequence", "StampRaise", "StampSoft", "StampedGet", "StampFloor", "StampSettle", "StampExpiry", "StampMany",
		"StampConcurrent", "StampTogether", "StampRefused", "StampDoneContext",
	} {
		opts = append(opts, storetest.Lacks(name, "it does not need SET with NX and GET, and an imitation runs scripts slowly"))
	}
	storetest.Run(t, func(t *testing.T) core.Store {
		opened++
		s, err := dragonfly.OpenOption(t.Context(), rueidis.ClientOption{
			InitAddress: []string{m.Addr()}, ConnWriteTimeout: time.Minute, // scripts take their time
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, opts...)
	if n := refused.Load(); n == 0 || n > 64*opened {
		t.Errorf("%d stores asked %d times for what the server refuses", opened, n)
	}

	s := open(t, m.Addr())
	before := refused.Load()
	for range 10 {
		if got, err := s.Lock(context.Background(), "some:key:of:ours", "a", time.Hour); err != nil || got != "" && got != "a" {
			t.Errorf("Lock: %q, %v", got, err)
		}
	}
	if n := refused.Load() - before; n != 1 {
		t.Errorf("the store asked %d times for what the server refuses, want once", n)
	}
}

// TestLockOverWhatIsNone: what does not belong there would keep a URL, or all of
// them, from being stored for good.
func TestLockOverWhatIsNone(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx, c, prefix := context.Background(), s.Client(), storetest.Prefix()
	hash, empty := prefix+"hash", prefix+"empty"
	if err := c.Do(ctx, c.B().Hset().Key(hash).FieldValue().FieldValue("f", "v").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, empty, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{hash, empty} {
		if held, _ := s.Extend(ctx, key, "a", time.Hour); held {
			t.Errorf("Extend of %s says that the lock is held", key)
		}
		_ = s.Unlock(ctx, key, "a", "note", time.Hour)
		if got, err := s.Lock(ctx, key, "a", time.Hour); got != "" || err != nil {
			t.Errorf("Lock of %s: %q, %v", key, got, err)
		}
		if got, err := s.Lock(ctx, key, "b", time.Hour); got != "a" || err != nil {
			t.Errorf("Lock of %s, which is taken: %q, %v", key, got, err)
		}
	}
}

func TestLockWithoutServer(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr, dragonfly.WithTimeout(80*time.Millisecond))
	storeWorks(t, s)
	p.Pause()
	defer p.Resume()
	for name, call := range map[string]func(context.Context) error{
		"Lock": func(ctx context.Context) error { _, err := s.Lock(ctx, "some:key:of:ours", "a", time.Hour); return err },
		"Extend": func(ctx context.Context) error {
			_, err := s.Extend(ctx, "some:key:of:ours", "a", time.Hour)
			return err
		},
		"Unlock": func(ctx context.Context) error { return s.Unlock(ctx, "some:key:of:ours", "a", "", 0) },
	} {
		start := time.Now()
		if err, took := call(context.Background()), time.Since(start); err == nil || took > time.Second {
			t.Errorf("%s of a silent server: %v after %v", name, err, took)
		}
	}
}

func BenchmarkLock(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key := storetest.Prefix() + "key"
	b.Run("free", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Lock(ctx, key, "token", time.Hour); err != nil {
				b.Fatal(err)
			}
			if err := s.Unlock(ctx, key, "token", "", 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	if _, err := s.Lock(ctx, key, "token", time.Hour); err != nil {
		b.Fatal(err)
	}
	b.Run("held", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Lock(ctx, key, "another", time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
}
