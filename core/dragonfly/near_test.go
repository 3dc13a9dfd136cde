package dragonfly_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

func withNear() dragonfly.Option {
	return dragonfly.WithNear(dragonfly.NearOptions{Bytes: 16 << 20, MaxAge: time.Hour, HotWithin: time.Minute})
}

// openNear opens a store with copies on a server of its own.
func openNear(t *testing.T, opts ...dragonfly.Option) (*dragonfly.Store, *storetest.Process) {
	t.Helper()
	p := storetest.StartServer(t)
	s := open(t, p.Addr, append([]dragonfly.Option{withNear()}, opts...)...)
	if !s.NearStats().On {
		t.Fatal("the near tier is off")
	}
	return s, p
}

// other is a client of another process.
func other(t *testing.T, addr string) rueidis.Client {
	t.Helper()
	c, err := storetest.Patiently(func() (rueidis.Client, error) { return dragonfly.NewClient(context.Background(), addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func run(t *testing.T, c rueidis.Client, args ...string) {
	t.Helper()
	if err := c.Do(context.Background(), c.B().Arbitrary(args...).Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%v: %v", args, err)
	}
}

func tier(t *testing.T, s *dragonfly.Store, key string) (value string, found, near bool) {
	t.Helper()
	v, found, near, err := s.GetTier(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(v), found, near
}

// heat reads key until it comes from here.
func heat(t *testing.T, s *dragonfly.Store, key string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Microsecond) {
		if _, found, near := tier(t, s, key); near {
			return
		} else if !found {
			t.Fatalf("%s is not there", key)
		}
		if time.Now().After(end) {
			t.Fatalf("no copy of %s is made: %+v", key, s.NearStats())
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// untilDone is until for what says why not.
func untilDone(t *testing.T, what string, do func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Microsecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute: %v", what, err)
		}
	}
}

func TestNearOptions(t *testing.T) {
	for want, o := range map[string]dragonfly.NearOptions{
		"Bytes is 0":        {},
		"Bytes is -1":       {Bytes: -1},
		"Bytes is 1000":     {Bytes: 1000},
		"Bytes is 4611":     {Bytes: 1 << 62},
		"MaxAge is -1s":     {Bytes: 1 << 20, MaxAge: -time.Second},
		"MaxAge is 1ns":     {Bytes: 1 << 20, MaxAge: 1},
		"MaxAge is 25h0m0s": {Bytes: 1 << 20, MaxAge: 25 * time.Hour},
		"HotWithin is -1s":  {Bytes: 1 << 20, HotWithin: -time.Second},
		"HotWithin is 2h":   {Bytes: 1 << 20, HotWithin: 2 * time.Hour},
		"InitAddress":       {Bytes: 1 << 20, Connect: &rueidis.ClientOption{}},
	} {
		s, err := dragonfly.Open(context.Background(), "127.0.0.1:1", dragonfly.WithNear(o))
		if err == nil || !strings.Contains(err.Error(), "NearOptions."+want) && want != "InitAddress" || !strings.Contains(err.Error(), want) || s != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	c := other(t, storetest.Server(t))
	if _, err := dragonfly.FromClient(c, withNear()); err == nil || !strings.Contains(err.Error(), "NearOptions.Connect") {
		t.Errorf("FromClient: %v", err)
	}
}

func TestNearFromClient(t *testing.T) {
	p := storetest.StartServer(t)
	s, err := dragonfly.FromClient(other(t, p.Addr), dragonfly.WithNear(dragonfly.NearOptions{
		Bytes: 1 << 20, Connect: &rueidis.ClientOption{InitAddress: []string{p.Addr}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	storeWorks(t, s)
	if err := s.Set(context.Background(), "some:key:of:ours:near", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	heat(t, s, "some:key:of:ours:near")
}

// tiered reads all that it can from this process.
type tiered struct{ *dragonfly.Store }

func (s tiered) Get(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, _, err := s.GetTier(ctx, key)
	return value, found, err
}

func TestNearStore(t *testing.T) {
	t.Parallel() // it mostly waits
	addr := storetest.Server(t)
	storetest.Run(t, func(t *testing.T) store.Store { return tiered{openPatiently(t, addr, withNear())} })
}

func TestNearHotOnly(t *testing.T) {
	s, p := openNear(t)
	ctx := context.Background()
	for i := range 500 {
		key := fmt.Sprintf("some:key:of:ours:%d", i)
		if err := s.Set(ctx, key, []byte("v"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, _, near := tier(t, s, key); near {
			t.Errorf("the first read of %s is near", key)
		}
		for range 5 {
			tier(t, s, fmt.Sprintf("some:absent:key:%d", i))
		}
	}
	time.Sleep(20 * time.Millisecond)
	if n := s.NearStats(); n.Admissions+n.Rejections+n.Hits != 0 {
		t.Errorf("cold and absent keys: %+v", n)
	}
	if p.Kind != "dragonfly" {
		text, err := s.Client().Do(ctx, s.Client().B().Info().Section("stats").Build()).ToString()
		if err != nil || !strings.Contains(text, "tracking_total_keys:0") {
			t.Errorf("keys are tracked: %v\n%s", err, text)
		}
	}
	heat(t, s, "some:key:of:ours:1")
	if n := s.NearStats(); n.Admissions != 1 || n.Entries != 1 {
		t.Errorf("one hot key: %+v", n)
	}
	// Values too large are left alone, absent or foreign ones too.
	if err := s.Set(ctx, "some:large:key:of:ours", make([]byte, 3<<20), time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		tier(t, s, "some:large:key:of:ours")
	}
	if n := s.NearStats(); n.Admissions+n.Rejections != 1 {
		t.Errorf("a large value: %+v", n)
	}
}

// TestNearCoherence measures how long after its acknowledgement a write of
// another process is seen.
func TestNearCoherence(t *testing.T) {
	s, p := openNear(t)
	c := other(t, p.Addr)
	ctx := context.Background()
	key := storetest.Prefix() + "key"
	for name, write := range map[string]struct {
		args   []string
		want   string
		found  bool
		rounds int
	}{
		"SET":      {[]string{"SET", key, "new", "PX", "60000"}, "new", true, 150},
		"DEL":      {[]string{"DEL", key}, "", false, 150},
		"UNLINK":   {[]string{"UNLINK", key}, "", false, 100},
		"PEXPIRE":  {[]string{"PEXPIRE", key, "1"}, "", false, 50},
		"EVAL":     {[]string{"EVAL", "redis.call('SET', KEYS[1], 'new', 'PX', 60000)", "1", key}, "new", true, 100},
		"FLUSHALL": {[]string{"FLUSHALL"}, "", false, 50},
	} {
		delays := make([]time.Duration, 0, write.rounds)
		for range write.rounds {
			run(t, c, "SET", key, "old", "PX", "60000")
			// The word of this SET may still remove a copy.
			until(t, "a copy of the old value", func() bool { v, _, near := tier(t, s, key); return near && v == "old" })
			run(t, c, write.args...)
			start := time.Now()
			until(t, name, func() bool { v, found, _ := tier(t, s, key); return v == write.want && found == write.found })
			delays = append(delays, time.Since(start))
		}
		slices.Sort(delays)
		t.Logf("%s seen after p50 %v, p99 %v, max %v", name, delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
	}
	// Expiry on the server is ours, too, whatever it tells.
	run(t, c, "SET", key, "old", "PX", "60")
	start := time.Now()
	for {
		asked := time.Now()
		_, found, _, err := s.GetTier(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
		if took := asked.Sub(start); took > 90*time.Millisecond {
			t.Fatalf("an entry of 60ms is there after %v", took)
		}
	}
	t.Logf("%+v", s.NearStats())
}

func TestNearMaxAge(t *testing.T) {
	const maxAge = 40 * time.Millisecond
	s := open(t, storetest.StartServer(t).Addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20, MaxAge: maxAge}))
	ctx, key := context.Background(), storetest.Prefix()+"key"
	if err := s.Set(ctx, key, []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		heat(t, s, key)
		admitted, start := s.NearStats().Admissions, time.Now()
		for {
			asked := time.Now()
			_, _, near := tier(t, s, key)
			if !near {
				break
			}
			if took := asked.Sub(start); took > 2*maxAge && s.NearStats().Admissions == admitted {
				t.Fatalf("a copy is there after %v", took)
			}
		}
	}
	if n := s.NearStats(); n.Admissions < 10 {
		t.Errorf("%+v", n)
	}
}

// TestNearRace writes many keys while they are read and copied. Once all is
// quiet no copy may be old.
func TestNearRace(t *testing.T) {
	s, p := openNear(t)
	c := other(t, p.Addr)
	ctx := context.Background()
	const keys = 4000
	rounds := storetest.Rounds(1, 5)
	name := func(i int) string { return fmt.Sprintf("some:key:of:ours:%d", i) }
	for i := range keys {
		run(t, c, "SET", name(i), "0", "EX", "3600")
	}
	var writer, readers sync.WaitGroup
	var done atomic.Bool
	for r := range 4 {
		readers.Go(func() {
			for i := r * 1000; !done.Load(); i++ {
				for range 3 {
					if _, found, _, err := s.GetTier(ctx, name(i%keys)); err != nil || !found {
						t.Errorf("%v, %v", found, err)
						return
					}
				}
			}
		})
	}
	writer.Go(func() {
		for round := 1; round <= rounds; round++ {
			for i := range keys {
				if err := c.Do(ctx, c.B().Set().Key(name(i)).Value(strconv.Itoa(round)).ExSeconds(3600).Build()).Error(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	writer.Wait()
	done.Store(true)
	readers.Wait()
	time.Sleep(200 * time.Millisecond)
	var stale, near int
	for i := range keys {
		v, _, from := tier(t, s, name(i))
		if v != strconv.Itoa(rounds) {
			stale++
		}
		if from {
			near++
		}
	}
	t.Logf("%d of %d keys near, %d stale; %+v", near, keys, stale, s.NearStats())
	if stale != 0 || near == 0 {
		t.Errorf("%d of %d are stale, %d near", stale, keys, near)
	}
}

// TestNearOwnWrites reads every write back at once, while others read and copy.
func TestNearOwnWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	s, _ := openNear(t)
	ctx, prefix := context.Background(), storetest.Prefix()
	var readers, writers sync.WaitGroup
	var done atomic.Bool
	var near atomic.Int64
	key := func(w int) string { return prefix + "{k}" + strconv.Itoa(w) }
	for w := range 4 {
		readers.Go(func() {
			for !done.Load() {
				if _, _, from, err := s.GetTier(ctx, key(w)); err != nil {
					t.Error(err)
					return
				} else if from {
					near.Add(1)
				}
			}
		})
		writers.Go(func() {
			lock := prefix + "{k}lock" + strconv.Itoa(w)
			for i := range storetest.Rounds(60, 1500) {
				want := []byte(strconv.Itoa(i))
				var err error
				switch i % 3 {
				case 0:
					err = s.Set(ctx, key(w), want, time.Hour)
				case 1:
					if err = s.Set(ctx, lock, []byte("token"), time.Hour); err == nil {
						_, err = s.Write(ctx, store.Write{Lock: lock, Token: "token", Values: []store.Value{{Key: key(w), Data: want, TTL: time.Hour}}})
					}
				case 2:
					want, err = nil, s.Delete(ctx, key(w))
				}
				if err != nil {
					t.Error(err)
					return
				}
				for range 4 {
					if got, found, _, err := s.GetTier(ctx, key(w)); err != nil || !bytes.Equal(got, want) || found != (want != nil) {
						t.Errorf("round %d: read %q, %v, %v after %q was written", i, got, found, err, want)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	t.Logf("%+v", s.NearStats())
	if n := s.NearStats(); near.Load() == 0 || n.Admissions < 100 {
		t.Errorf("%d near: %+v", near.Load(), n)
	}
}

func TestNearConnectionLost(t *testing.T) {
	storetest.LongOnly(t)
	s, p := openNear(t)
	ctx, c := context.Background(), other(t, p.Addr)
	const key, value = "some:key:of:ours:near", "v"
	set := func(v string) { run(t, c, "SET", key, v, "EX", "3600") }
	set(value)
	heat(t, s, key)
	for i := range 5 {
		before := s.NearStats().Drops
		storetest.Disconnect(t, c, "cacheaside-near")
		start := time.Now()
		until(t, "the drop", func() bool { return s.NearStats().Drops > before })
		t.Logf("dropped %v after the connection was killed", time.Since(start))
		set(strconv.Itoa(i))
		until(t, "the new value", func() bool { v, _, _ := tier(t, s, key); return v == strconv.Itoa(i) })
		heat(t, s, key)
	}

	p.Stop()
	until(t, "the drop", func() bool { _, _, near, err := s.GetTier(ctx, key); return !near && err != nil })
	p.Start()
	eventually(t, s)
	if _, found, near := tier(t, s, key); found || near {
		t.Errorf("after a restart: %v, %v", found, near)
	}
	until(t, "a client of the new server", func() bool {
		return c.Do(ctx, c.B().Set().Key(key).Value(value).ExSeconds(3600).Build()).Error() == nil
	})
	heat(t, s, key)

	// While the server is silent its copies serve until the connection is given up.
	before := s.NearStats().Drops
	p.Pause()
	start := time.Now()
	if _, _, near := tier(t, s, key); !near {
		t.Error("the copy is gone at once")
	}
	until(t, "the drop", func() bool { return s.NearStats().Drops > before })
	t.Logf("dropped %v after the server fell silent", time.Since(start))
	if _, _, near, err := s.GetTier(ctx, key); near || err == nil {
		t.Errorf("from a silent server: %v, %v", near, err)
	}
	p.Resume()
	eventually(t, s)
	heat(t, s, key)
}

func TestNearStartsLate(t *testing.T) {
	p := storetest.StartServer(t)
	p.Kill()
	s := open(t, p.Addr, withNear(), dragonfly.WithLazyConnect())
	if _, _, _, err := s.GetTier(context.Background(), "some:key:of:ours:near"); err == nil {
		t.Error("no error without a server")
	}
	p.Start()
	eventually(t, s)
	if err := s.Set(context.Background(), "some:key:of:ours:near", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	heat(t, s, "some:key:of:ours:near")
}

func TestNearBytes(t *testing.T) {
	const limit = 1 << 20
	s := open(t, storetest.StartServer(t).Addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: limit, HotWithin: time.Minute}))
	ctx := context.Background()
	value := make([]byte, 4<<10)
	var most uint64
	for i := range 1500 {
		key := fmt.Sprintf("some:key:of:ours:%d", i)
		if err := s.Set(ctx, key, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		tier(t, s, key)
		tier(t, s, key)
		most = max(most, s.NearStats().Bytes)
	}
	until(t, "the bound", func() bool { return s.NearStats().Bytes <= limit })
	n := s.NearStats()
	t.Logf("at most %d of %d; %+v", most, limit, n)
	if n.Bytes < limit/2 || n.Admissions < 500 || most > limit+limit/4 {
		t.Errorf("at most %d of %d; %+v", most, limit, n)
	}
}

func TestNearOff(t *testing.T) {
	works := func(t *testing.T, option rueidis.ClientOption, why string) {
		t.Helper()
		logger, log := logTo()
		s, err := dragonfly.OpenClientOption(context.Background(), option, withNear(), logger)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		storeWorks(t, s)
		if err := s.Set(t.Context(), "some:key:of:ours", []byte("v"), time.Hour); err != nil {
			t.Fatal(err)
		}
		until(t, "no near tier", func() bool { // some of what it needs is found out with the first key
			tier(t, s, "some:key:of:ours")
			return !s.NearStats().On
		})
		if n := s.NearStats(); n.Hits+n.Admissions != 0 {
			t.Errorf("%+v", n)
		}
		until(t, "why in the log", func() bool { return strings.Contains(log.String(), "no near tier") })
		if text := log.String(); strings.Count(text, "no near tier") != 1 || !strings.Contains(text, why) {
			t.Errorf("logged, want once %q:\n%s", why, text)
		}
	}
	p := storetest.StartServer(t)
	t.Run("RESP2", func(t *testing.T) {
		works(t, rueidis.ClientOption{InitAddress: []string{p.Addr}, AlwaysRESP2: true}, "RESP3")
	})
	c := other(t, p.Addr)
	all := []string{"client|tracking", "client|caching", "client", "pttl", "multi"}
	if p.Kind == servers.Dragonfly { // which has no rights of subcommands
		all = all[2:]
	}
	for _, denied := range all {
		t.Run(denied, func(t *testing.T) {
			run(t, c, append([]string{"ACL", "SETUSER", "near"}, strings.Fields(nothing+">secret ~* +@all -"+denied)...)...)
			why := denied
			if p.Kind == servers.Dragonfly { // it does not say what
				why = "NOPERM"
			}
			works(t, rueidis.ClientOption{InitAddress: []string{p.Addr}, Username: "near", Password: "secret"}, why)
		})
	}
}

// TestNearOfAnother: the user of the connection for copies may not read the keys.
func TestNearOfAnother(t *testing.T) {
	p := storetest.StartServer(t)
	run(t, other(t, p.Addr), append([]string{"ACL", "SETUSER", "near"}, strings.Fields(nothing+">secret ~other:* +@all")...)...)
	logger, log := logTo()
	s := open(t, p.Addr, logger, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20, Connect: &rueidis.ClientOption{
		InitAddress: []string{p.Addr}, Username: "near", Password: "secret", Dialer: patient,
	}}))
	storeWorks(t, s)
	if err := s.Set(t.Context(), "some:key:of:ours", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	until(t, "no near tier", func() bool {
		tier(t, s, "some:key:of:ours")
		return !s.Near()
	})
	until(t, "why in the log", func() bool { return strings.Contains(log.String(), "NOPERM") })
	if n := s.NearStats(); n.Hits+n.Admissions != 0 {
		t.Errorf("%+v", n)
	}
}

func TestNearStamps(t *testing.T) {
	p := storetest.StartServer(t)
	here, there := open(t, p.Addr, withNear()), open(t, p.Addr)
	ctx := t.Context()
	r := resourceOn(t, here, 3)
	keys := r.stamps
	if err := here.Set(ctx, r.key, []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	warm := func() {
		t.Helper()
		until(t, "copies", func() bool {
			before := here.NearStats().Hits
			value, found, stamps, err := here.GetStamped(ctx, r.key, make([]store.Stamp, 1), keys)
			if err != nil || string(value) != "v" || !found || len(stamps) != 4 {
				t.Fatal(value, found, stamps, err)
			}
			return here.NearStats().Hits == before+4
		})
	}
	r.settle(r.mark(), keys...)
	warm()
	done, cancel := context.WithCancel(ctx)
	cancel()
	for name, read := range map[string]func() error{
		"GetStamped": func() error { _, _, _, err := here.GetStamped(done, r.key, nil, keys); return err },
		"Stamps":     func() error { _, err := here.Stamps(done, nil, keys); return err },
	} {
		if err := read(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s of copies, the context being done: %v", name, err)
		}
	}
	for i := range 300 {
		if i%30 == 0 {
			warm()
		}
		soft := i%4 == 3
		n := r.purge(soft, keys[i%2:2]...).Seq
		_, _, got, err := here.GetStamped(ctx, r.key, nil, keys)
		if err != nil || got[1].Soft != n || !soft && got[1].Hard != n {
			t.Fatalf("after Bump to %d: %v, %v", n, got, err)
		}
		if got, err = here.Stamps(ctx, nil, keys); err != nil || got[1].Soft != n || got[2].Soft >= n {
			t.Fatalf("after Bump to %d: %v, %v", n, got, err)
		}
		want, err := there.Stamps(ctx, nil, keys)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v here, %v there, %v", got, want, err)
		}
	}
	warm()
	n, err := there.Bump(ctx, r.clock, keys, false, 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the stamp of another process", func() bool {
		got, err := here.Stamps(ctx, nil, keys)
		return err == nil && got[0].Hard == n.Seq-2 && got[1].Hard == n.Seq-1 && got[2].Hard == n.Seq
	})
	run(t, there.Client(), "DEL", keys[0])
	until(t, "the loss of a stamp", func() bool {
		got, err := here.Stamps(ctx, nil, keys)
		return err == nil && got[0] == (store.Stamp{}) && got[1].Hard == n.Seq-1
	})
}

// TestNearWrite: what a fill writes is found by this process at once, whatever copies it
// had of value, record and stamps; and stamps that a fill leaves as they are stay here.
func TestNearWrite(t *testing.T) {
	p := storetest.StartServer(t)
	here, there := open(t, p.Addr, withNear()), open(t, p.Addr)
	ctx := t.Context()
	r := resourceOn(t, here, 2)
	variant := r.key + ":variant"
	hits := func(key string) bool {
		_, _, near := tier(t, here, key)
		return near
	}
	for i := range 60 {
		data := fmt.Sprint(i)
		begun := r.begin(r.fill("a"))
		if begun.Token != "a" {
			t.Fatal(begun)
		}
		if written := r.write("b", begun.Mark, "of another token"); written.Stored {
			t.Fatal(written)
		}
		w := r.value("record " + data)
		w.Token, w.Since = "a", begun.Mark
		w.Values = append([]store.Value{{Key: variant, Data: []byte(data), TTL: time.Hour}}, w.Values...)
		written, err := here.Write(ctx, w)
		if err != nil || !written.Stored || written.Purged {
			t.Fatal(written, err)
		}
		for key, want := range map[string]string{variant: data, r.key: "record " + data} {
			if got, _, _ := tier(t, here, key); got != want {
				t.Fatalf("%s is %q after %q was written", key, got, want)
			}
		}
		stamps, err := here.Stamps(ctx, nil, r.stamps)
		if err != nil || stamps[0].Epoch != begun.Mark.Epoch || stamps[0].Hard > begun.Mark.Seq {
			t.Fatalf("%d: stamps %v, %v for what was filled at %v", i, stamps, err, begun.Mark)
		}
		for _, key := range []string{variant, r.key} {
			heat(t, here, key)
		}
		until(t, "copies of stamps", func() bool {
			_, _ = here.Stamps(ctx, nil, r.stamps)
			_, _, _, found := here.LocalStamps(nil, r.stamps)
			return found
		})
		switch i % 6 {
		case 1: // a stamp that is lost and settled by this process
			run(t, there.Client(), "DEL", r.stamps[0])
		case 2: // another epoch
			run(t, there.Client(), "DEL", r.clock)
		case 3:
			if _, err := there.Bump(ctx, r.clock, r.stamps, i%4 == 1, 0, time.Hour); err != nil {
				t.Fatal(err)
			}
		case 4: // nothing: the copies stay
			begun := r.begin(r.fill("a"))
			if written := r.write("a", begun.Mark, "the same stamps"); !written.Stored {
				t.Fatal(written)
			}
			if _, _, _, found := here.LocalStamps(nil, r.stamps); !found {
				t.Errorf("%d: a fill that changes no stamp drops its copy", i)
			}
			until(t, "a copy", func() bool { return hits(r.key) })
		}
	}
	if n := here.NearStats(); n.Admissions < 100 {
		t.Errorf("%+v", n)
	}
}

func TestNearDoneContext(t *testing.T) {
	s, _ := openNear(t)
	if err := s.Set(context.Background(), "some:key:of:ours:near", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	heat(t, s, "some:key:of:ours:near")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if v, _, near, err := s.GetTier(ctx, "some:key:of:ours:near"); !near || string(v) != "v" {
		t.Errorf("a copy: %q, %v, %v", v, near, err)
	}
	if _, _, _, err := s.GetTier(ctx, "another:key:of:ours:near"); !errors.Is(err, context.Canceled) {
		t.Errorf("without a copy: %v", err)
	}
}

func TestNearHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s, _ := openNear(t)
	ctx, key := context.Background(), "some:key:of:ours:near"
	if err := s.Set(ctx, key, make([]byte, 1024), time.Hour); err != nil {
		t.Fatal(err)
	}
	heat(t, s, key)
	least := 1.0
	for range 5 {
		least = min(least, testing.AllocsPerRun(1000, func() {
			if _, _, near, err := s.GetTier(ctx, key); !near || err != nil {
				t.Error(near, err)
			}
		}))
	}
	if least != 0 {
		t.Errorf("a near hit allocates %v times", least)
	}
}

func BenchmarkNear(b *testing.B) {
	if !storetest.HasServer() {
		b.Skip("needs a server that tracks")
	}
	s := open(b, storetest.Server(b), withNear())
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key := storetest.Prefix() + "key"
	if err := s.Set(ctx, key, make([]byte, 1024), time.Hour); err != nil {
		b.Fatal(err)
	}
	for near := false; !near; {
		_, _, near, _ = s.GetTier(ctx, key)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, near, _ := s.GetTier(ctx, key); !near {
				b.Fatal("not near")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, _, near, _ := s.GetTier(ctx, key); !near {
					b.Error("not near")
				}
			}
		})
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, found, _ := s.Get(ctx, key); !found {
				b.Fatal("not found")
			}
		}
	})
}

func TestNearOffOnMiniredis(t *testing.T) {
	m := miniredis.RunT(t)
	logger, log := logTo()
	s := open(t, m.Addr(), withNear(), logger)
	storeWorks(t, s)
	if text := log.String(); s.NearStats().On || strings.Count(text, "no near tier") != 1 {
		t.Errorf("logged %s", text)
	}
}

// TestLocalStamps: what was made of copies of stamps is good until one of them
// changes, wherever it does, also if the copy was pushed out before.
func TestLocalStamps(t *testing.T) {
	p := storetest.StartServer(t)
	here := open(t, p.Addr, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 64 << 10, MaxAge: time.Hour, HotWithin: time.Minute}))
	there, ctx := open(t, p.Addr), context.Background()
	const clock = "some:clock:of:{ours}"
	keys := []string{"some:stamp:of:{ours}", "other:stamp:of:{ours}"}
	if _, err := here.Write(ctx, store.Write{
		Lock: "some:{lock}", Token: "of nobody", Clock: clock, Stamps: keys, Values: []store.Value{{Key: "some:{lock}:key", TTL: 50 * time.Second}},
	}); err != nil {
		t.Fatal(err)
	}
	warm := func() (stamps []store.Stamp, mark uint64) {
		t.Helper()
		until(t, "copies of stamps", func() bool {
			if _, err := here.Stamps(ctx, nil, keys); err != nil {
				t.Fatal(err)
			}
			got, m, good, found := here.LocalStamps(make([]store.Stamp, 1), keys)
			if found && (len(got) != 3 || good <= 0 || good > time.Minute) {
				t.Fatalf("%v, good for %v", got, good)
			}
			if found {
				stamps, mark = got[1:], m
			}
			return found && m == here.StampMark()
		})
		return stamps, mark
	}
	changed := func(what string, mark uint64) {
		t.Helper()
		until(t, "another mark after "+what, func() bool { return here.StampMark() != mark })
	}

	_, mark := warm()
	n, err := there.Bump(ctx, clock, keys[:1], false, 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	changed("a purge elsewhere", mark)
	got, mark := warm()
	if got[0].Hard != n.Seq || got[1].Hard >= n.Seq {
		t.Errorf("after a purge elsewhere to %v: %v", n, got)
	}

	if n, err = here.Bump(ctx, clock, keys[1:], true, 0, time.Minute); err != nil || here.StampMark() == mark {
		t.Errorf("a purge here, and the same mark: %v", err)
	}
	if got, mark = warm(); got[1].Soft != n.Seq || got[1].Hard >= n.Seq {
		t.Errorf("after a soft purge here to %v: %v", n, got)
	}

	storetest.Disconnect(t, there.Client())
	changed("the loss of the connection", mark)
	until(t, "a connection again", func() bool { _, err := here.Stamps(ctx, nil, keys); return err == nil })

	// What this process writes besides is no reason to look at stamps again.
	_, mark = warm()
	for range 10 {
		if err := here.Set(ctx, "some:value:of:{ours}", []byte("v"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if here.StampMark() != mark {
		t.Error("a value has changed the mark")
	}

	value := strings.Repeat("v", 4<<10)
	pushedOut := func() bool { _, _, _, found := here.LocalStamps(nil, keys[:1]); return !found }
	for i := 0; i%50 != 0 || !pushedOut(); i++ { // which is a reason to keep it
		if i == 3000 {
			t.Fatal("nothing pushes the copy of a stamp out")
		}
		key := fmt.Sprintf("some:value:of:{ours}:%d", i)
		run(t, there.Client(), "SET", key, value, "EX", "60")
		heat(t, here, key)
		for range 20 {
			_, _, _ = tier(t, here, key)
		}
	}
	mark = here.StampMark()
	if _, err = there.Bump(ctx, clock, keys[:1], false, 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	changed("a purge of what was pushed out", mark)
}

// TestNearDamaged: no copy is made of an entry that is not whole or not harmless,
// because nobody looks closely at copies.
func TestNearDamaged(t *testing.T) {
	s, p := openNear(t)
	c := other(t, p.Addr)
	encode := func(fields ...entry.Field) string {
		b, err := entry.Encode(entry.Content{
			Meta: entry.Meta{Kind: entry.KindResponse, Status: 200}, Key: "some key", Header: fields, Body: []byte("a body"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := encode()
	flipped := []byte(good)
	flipped[len(flipped)-1] ^= 1
	for name, bad := range map[string]string{
		"damaged":   string(flipped),
		"cut":       good[:len(good)-1],
		"splitting": encode(entry.Field{Name: "X-A", Value: "a\r\nX-B: b"}),
	} {
		key := "some:key:of:ours:" + name
		run(t, c, "SET", key, bad, "EX", "60")
		before := s.NearStats()
		until(t, "tracked reads of what is "+name, func() bool {
			if _, _, near := tier(t, s, key); near {
				t.Fatalf("there is a copy of what is %s", name)
			}
			return s.NearStats().Rejections >= before.Rejections+3
		})
		run(t, c, "SET", key, good, "EX", "60")
		heat(t, s, key)
	}
}
