package dragonfly_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// stampKeys returns a clock and two keys of stamps.
func stampKeys() (clock, a, b string) {
	prefix := storetest.Prefix() + "{stamps}:"
	return prefix + "clock", prefix + "a", prefix + "b"
}

func sequence(t *testing.T, s *dragonfly.Store, clock string) uint64 {
	t.Helper()
	n, err := s.Sequence(context.Background(), clock)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func raise(t *testing.T, s *dragonfly.Store, clock string, floor uint64, keys ...string) uint64 {
	t.Helper()
	n, err := s.Raise(context.Background(), clock, keys, false, floor, time.Hour)
	if err != nil || n <= floor {
		t.Fatalf("Raise above %d: %d, %v", floor, n, err)
	}
	return n
}

func settle(t *testing.T, s *dragonfly.Store, clock string, keys ...string) []core.Stamp {
	t.Helper()
	got, err := s.Settle(context.Background(), clock, nil, keys, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func stamps(t *testing.T, s *dragonfly.Store, keys ...string) []core.Stamp {
	t.Helper()
	got, err := s.Stamps(context.Background(), nil, keys)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// hard returns stamps with the same number twice.
func hard(numbers ...uint64) []core.Stamp {
	stamps := make([]core.Stamp, len(numbers))
	for i, n := range numbers {
		stamps[i] = core.Stamp{Hard: n, Soft: n}
	}
	return stamps
}

func TestLostStamps(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx := context.Background()
	clock, a, b := stampKeys()
	n := raise(t, s, clock, 0, a)
	m := raise(t, s, clock, 0, b)
	if err := s.Delete(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got := stamps(t, s, a, b); !slices.Equal(got, hard(0, m)) {
		t.Fatalf("stamps %d, want 0 and %d", got, m)
	}
	if got := settle(t, s, clock, a, b); !slices.Equal(got, hard(m, m)) || m < n {
		t.Fatalf("settled %d, want %d twice", got, m)
	}
}

// TestLostClock loses the sequence while the time is behind it, as after a floor
// or a clock set back, and after that while the time has passed it.
func TestLostClock(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx := context.Background()
	clock, a, b := stampKeys()
	lose := func() {
		t.Helper()
		if err := s.Delete(ctx, clock); err != nil {
			t.Fatal(err)
		}
	}

	n := raise(t, s, clock, 0, a)
	lose()
	if m := sequence(t, s, clock); m <= n {
		t.Errorf("a new sequence begins at %d, after %d", m, n)
	}
	lose()
	if m := raise(t, s, clock, 0, b); m <= n {
		t.Errorf("%d after %d", m, n)
	}

	ahead := raise(t, s, clock, uint64(time.Now().Add(time.Hour).UnixMicro()), a)
	lose()
	if m := raise(t, s, clock, 0, a); m != ahead+1 {
		t.Errorf("%d after %d, want the next", m, ahead)
	}
	lose()
	if m := raise(t, s, clock, ahead+10, b); m != ahead+11 {
		t.Errorf("%d above a floor of %d, want the next", m, ahead+10)
	}
	lose()
	if err := s.Delete(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got := settle(t, s, clock, a, b); !slices.Equal(got, hard(ahead+11, ahead+11)) {
		t.Errorf("settled %d, want %d, the newest there is", got, ahead+11)
	}
	if m := sequence(t, s, clock); m != ahead+11 {
		t.Errorf("the sequence is at %d behind a stamp of %d", m, ahead+11)
	}
}

func TestSequenceIsTime(t *testing.T) {
	s := open(t, storetest.Server(t))
	clock, a, _ := stampKeys()
	for name, get := range map[string]func() uint64{
		"Sequence": func() uint64 { return sequence(t, s, clock) },
		"Raise":    func() uint64 { return raise(t, s, clock, 0, a) },
	} {
		if off := time.Since(time.UnixMicro(int64(get()))); off < -time.Minute || off > time.Minute {
			t.Errorf("%s is %v from now", name, off)
		}
	}
}

func TestForeignContentIsNoStamp(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx, c := context.Background(), s.Client()
	for _, text := range []string{"a hash", "", "x", "0", "-5", "007", "1.5", "1e3", "0x10", " 1", "1 ", "1_000", "9007199254740991", "18446744073709551615", "5", "5 6", "5 6 ~1", "5 6 ~", "~", " ~7", "5 4", "5 05", "05 6", "0 5", "5 0", "5  6", " 5 6", "5 6 ", "5 6 7", "5 x", "5 9007199254740991", "5\n6", "99999999999999999999999"} {
		spoil := func(key string) {
			t.Helper()
			err := s.Set(ctx, key, []byte(text), time.Hour)
			if text == "a hash" {
				_ = s.Delete(ctx, key)
				err = c.Do(ctx, c.B().Hset().Key(key).FieldValue().FieldValue("f", "v").Build()).Error()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		clock, a, b := stampKeys()
		for _, key := range []string{clock, a, b} {
			spoil(key)
		}
		if got := stamps(t, s, a, b); !slices.Equal(got, hard(0, 0)) {
			t.Errorf("stamps %d from %q", got, text)
		}
		for _, keys := range [][]string{{a}, {a, b}} {
			_, _, got, err := s.GetStamped(ctx, "some:key:of:ours:that:is:absent", nil, keys)
			if want := make([]core.Stamp, len(keys)); err != nil || !slices.Equal(got, want) {
				t.Errorf("GetStamped: %d, %v from %q", got, err, text)
			}
		}
		if got := stamps(t, s, a); !slices.Equal(got, hard(0)) {
			t.Errorf("stamp %d from %q", got, text)
		}
		n := sequence(t, s, clock)
		if got := settle(t, s, clock, a); !slices.Equal(got, hard(n)) {
			t.Errorf("settled %d over %q, want %d", got, text, n)
		}
		spoil(clock)
		if m := raise(t, s, clock, 0, a, b); m <= n {
			t.Errorf("%d after %d over %q", m, n, text)
		} else if got := stamps(t, s, a, b); !slices.Equal(got, hard(m, m)) {
			t.Errorf("stamps %d over %q, want %d", got, text, m)
		}
		spoil(a)
		m, err := s.Raise(ctx, clock, []string{a}, true, 0, time.Hour)
		if got := stamps(t, s, a); err != nil || !slices.Equal(got, hard(m)) {
			t.Errorf("stamps %d, %v over %q, want %d", got, err, text, m)
		}
	}
}

// TestStampOnTheWire is what other versions and people with redis-cli rely on.
func TestStampOnTheWire(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx := context.Background()
	clock, a, _ := stampKeys()
	summed := func(numbers string) string {
		c := 7
		for _, b := range []byte(a + numbers) {
			c = (c*257 + int(b)) % (1 << 24)
		}
		return fmt.Sprint(numbers, " ~", c)
	}
	content := func(want string) {
		t.Helper()
		want = summed(want)
		if got, _, err := s.Get(ctx, a); err != nil || string(got) != want {
			t.Errorf("the stamp is %q, %v; want %q", got, err, want)
		}
	}
	n := raise(t, s, clock, 0, a)
	content(strconv.FormatUint(n, 10))
	m, err := s.Raise(ctx, clock, []string{a}, true, 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	content(fmt.Sprint(n, m))
	for text, want := range map[string]core.Stamp{
		"5 6":                               {Hard: 5, Soft: 6},
		"5 5":                               {Hard: 5, Soft: 5},
		"9007199254740989 9007199254740990": {Hard: 1<<53 - 3, Soft: 1<<53 - 2},
	} {
		if err := s.Set(ctx, a, []byte(summed(text)), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := settle(t, s, clock, a); got[0] != want {
			t.Errorf("%q is %d, want %d", text, got[0], want)
		}
	}
	// One digit that is damaged, and another key's stamp, are none.
	_, other, _ := stampKeys()
	raise(t, s, clock, 0, other)
	stolen, _, err := s.Get(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{strings.Replace(summed("5 6"), "6", "7", 1), "5 6", string(stolen)} {
		if err := s.Set(ctx, a, []byte(text), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := stamps(t, s, a); got[0] != (core.Stamp{}) {
			t.Errorf("%q is %d", text, got[0])
		}
		n := raise(t, s, clock, 0)
		if got := settle(t, s, clock, a); got[0].Hard < n { // for the script as well
			t.Errorf("%q counts: settled %d after %d", text, got, n)
		}
	}
}

func TestStampsShareOneTag(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx := context.Background()
	for _, key := range []string{"some:key:of:ours", "some:key:of:{others}", "some:key:of:{}{ours}", "some:key:of:{ours"} {
		if _, err := s.Raise(ctx, "some:clock:of:{ours}", []string{"some:key:of:{ours}", key}, false, 0, time.Hour); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Raise of %s: %v", key, err)
		}
		if _, err := s.Settle(ctx, "some:clock:of:{ours}", nil, []string{key}, time.Hour); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Settle of %s: %v", key, err)
		}
	}
}

func TestStampsWithoutServer(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr, dragonfly.WithTimeout(80*time.Millisecond))
	storeWorks(t, s)
	p.Pause()
	defer p.Resume()
	clock, a, b := stampKeys()
	keys := []string{a, b}
	for name, call := range map[string]func(context.Context) error{
		"Sequence": func(ctx context.Context) error { _, err := s.Sequence(ctx, clock); return err },
		"Raise":    func(ctx context.Context) error { _, err := s.Raise(ctx, clock, keys, false, 0, time.Hour); return err },
		"Stamps":   func(ctx context.Context) error { _, err := s.Stamps(ctx, nil, keys); return err },
		"GetStamped": func(ctx context.Context) error {
			_, _, _, err := s.GetStamped(ctx, "some:key:of:ours", nil, keys)
			return err
		},
		"Settle": func(ctx context.Context) error { _, err := s.Settle(ctx, clock, nil, keys, time.Hour); return err },
	} {
		start := time.Now()
		if err, took := call(context.Background()), time.Since(start); err == nil || took > time.Second {
			t.Errorf("%s of a silent server: %v after %v", name, err, took)
		}
	}
}

func BenchmarkStamps(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	clock, a, c := stampKeys()
	keys := []string{a, c}
	entry, five := storetest.Prefix()+"entry", []string{a, c, a + "2", a + "3", a + "4"}
	if _, err := s.Raise(ctx, clock, five, false, 0, time.Hour); err != nil {
		b.Fatal(err)
	}
	if err := s.Set(ctx, entry, make([]byte, 1024), time.Hour); err != nil {
		b.Fatal(err)
	}
	dst := make([]core.Stamp, 0, 8)
	for name, call := range map[string]func() error{
		"Sequence":    func() error { _, err := s.Sequence(ctx, clock); return err },
		"Raise":       func() error { _, err := s.Raise(ctx, clock, keys, false, 0, time.Hour); return err },
		"one":         func() error { _, err := s.Stamps(ctx, dst, keys[:1]); return err },
		"two":         func() error { _, err := s.Stamps(ctx, dst, keys); return err },
		"GetStamped0": func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, nil); return err },
		"GetStamped1": func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, keys[:1]); return err },
		"GetStamped5": func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, five); return err },
		"Settle":      func() error { _, err := s.Settle(ctx, clock, dst, keys, time.Hour); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestStampsWithoutServerTime forbids TIME: the time is then this process's.
func TestStampsWithoutServerTime(t *testing.T) {
	p := storetest.StartServer(t)
	if p.Kind == "dragonfly" {
		t.Skip("needs the ACL of Redis or Valkey")
	}
	s := open(t, p.Addr)
	ctx, c := context.Background(), s.Client()
	if err := c.Do(ctx, c.B().Arbitrary("ACL", "SETUSER", "default", "-time").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	clock, a, b := stampKeys()
	n := sequence(t, s, clock)
	if off := time.Since(time.UnixMicro(int64(n))); off < -time.Minute || off > time.Minute {
		t.Errorf("the sequence is %v from now", off)
	}
	m := raise(t, s, clock, 0, a)
	if got := settle(t, s, clock, a, b); m <= n || !slices.Equal(got, hard(m, m)) {
		t.Errorf("settled %d, want %d twice, after %d", got, m, n)
	}
}
