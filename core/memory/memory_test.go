package memory_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

var (
	_ store.Coordinator = (*memory.Store)(nil)
	_ store.Local       = (*memory.Store)(nil)
	_ store.Judge       = (*memory.Store)(nil)
)

func open(tb testing.TB, maxBytes int64, opts ...memory.Option) *memory.Store {
	tb.Helper()
	s, err := memory.New(maxBytes, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

// fakeClock stands still until it is moved.
type fakeClock struct{ nanos atomic.Int64 }

func newFakeClock() *fakeClock {
	c := &fakeClock{}
	c.nanos.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *fakeClock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *fakeClock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

func TestStore(t *testing.T) {
	t.Run("FakeClock", func(t *testing.T) {
		clock := newFakeClock()
		storetest.Run(t, func(t *testing.T) store.Store {
			return open(t, 32<<20, memory.WithClock(clock.Now))
		}, storetest.Clock(clock.Advance))
	})
	t.Run("RealClock", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return open(t, 32<<20, memory.WithClock(nil)) })
	})
}

func TestNewRefusesBadSize(t *testing.T) {
	for _, n := range []int64{0, -1, -64 << 20} {
		s, err := memory.New(n)
		if err == nil || s != nil {
			t.Fatalf("New(%d) = %v, %v, want an error", n, s, err)
		}
		if !strings.Contains(err.Error(), "maxBytes") || !strings.Contains(err.Error(), "64<<20") {
			t.Errorf("New(%d): %q does not name the field and the fix", n, err)
		}
	}
}

func TestExpiryIsExact(t *testing.T) {
	clock := newFakeClock()
	s := open(t, 1<<20, memory.WithClock(clock.Now))
	ctx := context.Background()
	if err := s.Set(ctx, "k", []byte("v"), 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	clock.Advance(1500*time.Millisecond - 1)
	if _, found, _ := s.Get(ctx, "k"); !found {
		t.Fatal("gone a nanosecond early")
	}
	clock.Advance(1)
	if _, found, _ := s.Get(ctx, "k"); found {
		t.Fatal("there at the moment of expiry")
	}
}

func TestNoCopy(t *testing.T) {
	s := open(t, 1<<20)
	ctx := context.Background()
	v := []byte("value")
	if err := s.Set(ctx, "k", v, time.Hour); err != nil {
		t.Fatal(err)
	}
	got, _, _ := s.Get(ctx, "k")
	if &got[0] != &v[0] {
		t.Error("the value was copied")
	}
}

func TestTooLarge(t *testing.T) {
	s := open(t, 10_000)
	ctx := context.Background()
	if err := s.Set(ctx, "k", make([]byte, 5_000), time.Hour); err != nil {
		t.Fatal(err)
	}
	err := s.Set(ctx, "k", make([]byte, 10_000), time.Hour)
	if !errors.Is(err, memory.ErrTooLarge) {
		t.Fatalf("Set of a value as large as the store: %v, want ErrTooLarge", err)
	}
	if _, found, _ := s.Get(ctx, "k"); found {
		t.Error("the value that was to be replaced is still there")
	}
	// What a short slice keeps alive counts.
	if err := s.Set(ctx, "k", make([]byte, 1, 10_000), time.Hour); !errors.Is(err, memory.ErrTooLarge) {
		t.Errorf("Set of a short slice of a large array: %v, want ErrTooLarge", err)
	}
}

func TestWriteTooLarge(t *testing.T) {
	s := open(t, 1<<20)
	ctx := context.Background()
	if err := s.Set(ctx, "k", []byte("old"), time.Hour); err != nil {
		t.Fatal(err)
	}
	begun := begin(t, s)
	if err := s.Delete(ctx, "lock"); err != nil {
		t.Fatal(err)
	}
	if written, err := s.Write(ctx, writeOf(begun, "k", make([]byte, 2<<20), "tag")); written.Stored || err != nil {
		t.Errorf("Write under a lock that was deleted: %+v, %v", written, err)
	}
	if _, found, _ := s.Get(ctx, "k"); !found {
		t.Error("a write that did not happen removed the old value")
	}
	written, err := s.Write(ctx, writeOf(begin(t, s), "k", make([]byte, 2<<20), "tag"))
	if written.Stored || !errors.Is(err, memory.ErrTooLarge) || !errors.Is(err, store.ErrRefused) {
		t.Errorf("Write of too much: %+v, %v, want ErrTooLarge and ErrRefused", written, err)
	}
	if _, found, _ := s.Get(ctx, "k"); found {
		t.Error("the old value outlived the write that was to replace it")
	}
	if n := s.Stamped(); n != 0 {
		t.Errorf("%d stamps are left of it", n)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestGetAllocatesNothing(t *testing.T) {
	s := open(t, 1<<20)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := s.Set(ctx, "present", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"present", "absent"} {
		if n := testing.AllocsPerRun(1000, func() {
			if _, _, err := s.Get(ctx, key); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("Get of a key that is %s allocates %v times", key, n)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for range 3 {
		s, err := memory.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			if err := s.Set(context.Background(), strconv.Itoa(i), make([]byte, 1000), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
