package dragonfly_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
)

func TestGuardSharesTag(t *testing.T) {
	s := open(t, storetest.Server(t))
	for _, key := range []string{"some:key:of:ours", "some:key:of:{others}"} {
		written, err := s.SetGuarded(context.Background(), "some:guard:of:{ours}", "a", key, []byte("v"), time.Hour)
		if written || err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "hash tag") {
			t.Errorf("SetGuarded of %s: %v, %v", key, written, err)
		}
	}
}

func TestForeignGuardIsNone(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx, c, prefix := context.Background(), s.Client(), storetest.Prefix()+"{ours}:"
	if err := c.Do(ctx, c.B().Hset().Key(prefix+"guard").FieldValue().FieldValue("f", "v").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if written, err := s.SetGuarded(ctx, prefix+"guard", "a", prefix+"key", []byte("v"), time.Hour); written || err != nil {
		t.Errorf("SetGuarded with a hash for a guard: %v, %v", written, err)
	}
	if _, found, err := s.Get(ctx, prefix+"key"); found || err != nil {
		t.Errorf("Get: %v, %v", found, err)
	}
	// A key that holds something else is replaced, as by Set.
	if holder, err := s.Lock(ctx, prefix+"other", "a", time.Hour); holder != "" || err != nil {
		t.Fatal(holder, err)
	}
	if written, err := s.SetGuarded(ctx, prefix+"other", "a", prefix+"guard", []byte("v"), time.Hour); !written || err != nil {
		t.Errorf("SetGuarded over a hash: %v, %v", written, err)
	}
}

func TestGuardedRefusedForMemory(t *testing.T) {
	if p := storetest.StartServer(t); p.Kind == "dragonfly" {
		t.Skip("Dragonfly evicts, or needs 256 MiB to be filled")
	}
	p := storetest.StartServer(t, "--maxmemory", "6mb", "--maxmemory-policy", "noeviction")
	s := open(t, p.Addr)
	ctx := context.Background()
	if _, err := s.Lock(ctx, "some:guard:of:{ours}", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	write := func(token, key string) (bool, error) {
		return s.SetGuarded(ctx, "some:guard:of:{ours}", token, key, make([]byte, 1<<20), time.Hour)
	}
	n := 0
	var err error
	for ; n < 20 && err == nil; n++ {
		var written bool
		if written, err = write("a", fmt.Sprintf("some:key:of:{ours}:%d", n)); written != (err == nil) {
			t.Errorf("SetGuarded: %v, %v", written, err)
		}
	}
	if !errors.Is(err, dragonfly.ErrRefused) {
		t.Fatalf("writes to a full server: %v, want ErrRefused", err)
	}
	if _, found, err := s.Get(ctx, fmt.Sprintf("some:key:of:{ours}:%d", n-1)); found || err != nil {
		t.Errorf("Get of what was refused: %v, %v", found, err)
	}
	if written, err := write("b", "some:key:of:{ours}:0"); written || err != nil {
		t.Errorf("SetGuarded with another token: %v, %v", written, err)
	}
	// A purge works on a full server.
	if err := s.Delete(ctx, "some:guard:of:{ours}"); err != nil {
		t.Error(err)
	}
	if written, err := write("a", "some:key:of:{ours}:0"); written || err != nil {
		t.Errorf("SetGuarded after Delete: %v, %v", written, err)
	}
}

// TestGuardedCallLeftBehind gives up on a write that the server takes up later:
// the guard is gone by then.
func TestGuardedCallLeftBehind(t *testing.T) {
	p := storetest.StartServer(t)
	s, other := open(t, p.Addr), open(t, p.Addr)
	ctx, guard, key := context.Background(), "some:guard:of:{ours}", "some:key:of:{ours}"
	if _, err := s.Lock(ctx, guard, "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if written, err := s.SetGuarded(ctx, guard, "a", key, []byte("v"), time.Hour); !written || err != nil {
		t.Fatal(written, err)
	}
	if err := other.Delete(ctx, guard); err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	p.Pause()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if written, err := s.SetGuarded(short, guard, "a", key, []byte("v"), time.Hour); written || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("SetGuarded of a silent server: %v, %v after %v", written, err, time.Since(start))
	}
	p.Resume()
	eventually(t, s)
	if _, found, err := s.Get(ctx, key); found || err != nil {
		t.Errorf("Get after the purge: %v, %v", found, err)
	}
}

func BenchmarkSetGuarded(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	prefix := storetest.Prefix() + "{ours}:"
	guard, key := prefix+"guard", prefix+"key"
	if _, err := s.Lock(ctx, guard, "a token", time.Hour); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1 << 10, 1 << 20} {
		value := make([]byte, size)
		b.Run(fmt.Sprintf("Set%dKiB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Set(ctx, key, value, time.Hour); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("SetGuarded%dKiB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if written, err := s.SetGuarded(ctx, guard, "a token", key, value, time.Hour); !written || err != nil {
					b.Fatal(written, err)
				}
			}
		})
		b.Run(fmt.Sprintf("Refused%dKiB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if written, err := s.SetGuarded(ctx, guard, "another", key, value, time.Hour); written || err != nil {
					b.Fatal(written, err)
				}
			}
		})
	}
}
