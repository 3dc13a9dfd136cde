package dragonfly_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

var (
	_ store.Coordinator = (*dragonfly.Store)(nil)
	_ store.Tiered      = (*dragonfly.Store)(nil)
	_ store.Local       = (*dragonfly.Store)(nil)
)

func open(tb testing.TB, url string, opts ...dragonfly.Option) *dragonfly.Store {
	tb.Helper()
	s, err := storetest.Patiently(func() (*dragonfly.Store, error) { return dragonfly.Open(context.Background(), url, opts...) })
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

// openPatiently opens a store, by an address or a URL, that takes neither a connection
// nor an answer for lost only because the machine is busy.
func openPatiently(tb testing.TB, addr string, opts ...dragonfly.Option) *dragonfly.Store {
	tb.Helper()
	option := rueidis.ClientOption{InitAddress: []string{addr}}
	if strings.Contains(addr, "://") {
		var err error
		if option, err = dragonfly.ParseURL(addr); err != nil {
			tb.Fatal(err)
		}
	}
	option.Dialer, option.ConnWriteTimeout = patient, time.Minute
	s, err := dragonfly.OpenClientOption(context.Background(), option, append(opts, dragonfly.WithCallTimeout(time.Minute))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel() // it mostly waits
	addr := storetest.Server(t)
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, addr) })
}

func TestExpiryOnTheWire(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx := context.Background()
	c := s.Client()
	for _, ttl := range []time.Duration{1500 * time.Millisecond, 90*time.Second + 250*time.Millisecond, 250 * time.Millisecond, time.Hour, 1<<63 - 1} {
		key := storetest.Prefix() + ttl.String()
		start := time.Now()
		if err := s.Set(ctx, key, []byte("v"), ttl); err != nil {
			t.Fatal(err)
		}
		ms, err := c.Do(ctx, c.B().Pttl().Key(key).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		want := min(ttl, 8*365*24*time.Hour)
		if got := time.Duration(ms) * time.Millisecond; got > want || got < want-time.Since(start)-50*time.Millisecond {
			t.Errorf("a ttl of %v is %v on the server", ttl, got)
		}
	}
}

// calls reads how often the server ran each command.
func calls(t *testing.T, c rueidis.Client) map[string]int {
	t.Helper()
	text, err := c.Do(context.Background(), c.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	stats := map[string]int{}
	for line := range strings.Lines(text) {
		var n int
		if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":"); ok {
			if _, err := fmt.Sscanf(rest, "calls=%d", &n); err == nil {
				stats[strings.ToLower(name)] = n
			}
		}
	}
	return stats
}

func TestOneCommandPerCall(t *testing.T) {
	s := open(t, storetest.StartServer(t).Addr)
	ctx := context.Background()
	// All connections are made before the counting.
	for range 50 {
		if _, _, err := s.Get(ctx, "some:key:of:ours"); err != nil {
			t.Fatal(err)
		}
	}
	r := resourceOn(t, s, 2)
	begin := func(key string, adopt bool) func() error {
		f := r.fill("a")
		f.Key, f.Adopt = key, adopt
		return func() error { _, err := s.Begin(ctx, f); return err }
	}
	write := func(stamps []string) func() error {
		w := r.value("v")
		w.Token, w.Stamps = "a", stamps
		return func() error { _, err := s.Write(ctx, w); return err }
	}
	journal := func() error { _, err := s.ReadJournal(ctx, r.clock); return err }
	calledFirst := []func() error{ // the scripts, too, are known before
		begin("", false), write(r.stamps), journal,
		func() error { _, err := s.CompareAndExtend(ctx, r.lock, "a", time.Hour); return err },
		func() error { _, err := s.CompareAndSwap(ctx, r.lock, "a", "", 0); return err },
		func() error { _, err := s.Bump(ctx, r.clock, r.stamps, false, 0, time.Hour); return err },
	}
	for _, call := range calledFirst {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	for what, call := range map[string]func() error{
		"evalsha of Write":              write(nil),
		"evalsha of CompareAndExtend":   calledFirst[3],
		"evalsha of CompareAndSwap":     calledFirst[4],
		"evalsha of Bump":               calledFirst[5],
		"evalsha of ReadJournal":        journal,
		"evalsha evalsha of tagged":     write(r.stamps),
		"set getrange of Begin":         begin("", false),
		"set getrange get of Begin":     begin(r.key, false),
		"set getrange pexpire of Adopt": begin("", true),
		"get of Stamps":                 func() error { _, err := s.Stamps(ctx, nil, r.stamps[:1]); return err },
		"get get of Stamps":             func() error { _, err := s.Stamps(ctx, nil, r.stamps); return err },
		"get of GetStamped":             func() error { _, _, _, err := s.GetStamped(ctx, "some:key:of:ours", nil, nil); return err },
		"get get get of GetStamped":     func() error { _, _, _, err := s.GetStamped(ctx, "some:key:of:ours", nil, r.stamps); return err },
		"set of Set":                    func() error { return s.Set(ctx, "some:key:of:ours", []byte("v"), time.Hour) },
		"get of Get":                    func() error { _, _, err := s.Get(ctx, "some:key:of:ours"); return err },
		"unlink of Delete":              func() error { return s.Delete(ctx, "some:key:of:ours") },
	} {
		names, _, _ := strings.Cut(what, " of ")
		want := map[string]int{}
		for _, name := range strings.Fields(names) {
			want[name] += 100
		}
		got := ran(t, s.Client(), func() {
			for range 100 {
				if err := call(); err != nil {
					t.Fatal(err)
				}
			}
		})
		delete(got, "ping")
		delete(got, "hello")     // of a connection that comes late
		if want["evalsha"] > 0 { // what scripts run is theirs
			maps.DeleteFunc(got, func(name string, _ int) bool { return name != "evalsha" })
		}
		if !maps.Equal(got, want) {
			t.Errorf("100 of %s are %v, want %v", what, got, want)
		}
	}
}

func TestForeignTypeIsAbsent(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx, c, key := context.Background(), s.Client(), storetest.Prefix()+"key"
	if err := c.Do(ctx, c.B().Hset().Key(key).FieldValue().FieldValue("f", "v").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Get(ctx, key); found || err != nil {
		t.Errorf("Get of a hash: %v, %v", found, err)
	}
	r := resourceOn(t, s, 1)
	want, _ := r.settle(r.mark(), r.stamps...)
	if value, found, got, err := s.GetStamped(ctx, key, nil, r.stamps); len(value) != 0 || found || err != nil || !slices.Equal(got, want) {
		t.Errorf("GetStamped of a hash: %q, %v, %d, %v; want stamp %d", value, found, got, err, want)
	}
	if err := s.Set(ctx, key, []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, found, err := s.Get(ctx, key); string(got) != "v" || !found || err != nil {
		t.Errorf("Get after Set: %q, %v, %v", got, found, err)
	}
}

func TestRefusedForMemory(t *testing.T) {
	p := storetest.StartServer(t, servers.Memory(256<<20), servers.NoEviction())
	s := open(t, p.Addr)
	ctx := context.Background()
	var err error
	for i := range 500 {
		if err = s.Set(ctx, fmt.Sprintf("some:key:of:ours:%d", i), make([]byte, 1<<20), time.Hour); err != nil {
			break
		}
	}
	if !errors.Is(err, dragonfly.ErrRefused) {
		t.Fatalf("writes to a full server: %v, want ErrRefused", err)
	}
	if _, found, err := s.Get(ctx, "some:key:of:ours:0"); !found || err != nil {
		t.Errorf("Get from a full server: %v, %v", found, err)
	}
}

func TestServerComesAndGoes(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr)
	storeWorks(t, s)
	for range 2 {
		p.Kill()
		for range 3 {
			for name, call := range map[string]func(context.Context) error{
				"Get":    func(ctx context.Context) error { _, _, err := s.Get(ctx, "some:key:of:ours"); return err },
				"Set":    func(ctx context.Context) error { return s.Set(ctx, "some:key:of:ours", nil, time.Hour) },
				"Delete": func(ctx context.Context) error { return s.Delete(ctx, "some:key:of:ours") },
			} {
				start := time.Now()
				if err := call(context.Background()); err == nil {
					t.Errorf("%s without a server gave no error", name)
				}
				if took := time.Since(start); took > 2*time.Second { // the machine may be busy
					t.Errorf("%s without a server took %v", name, took)
				}
			}
		}
		p.Start()
		eventually(t, s)
		storeWorks(t, s)
	}
}

// eventually waits until the store answers, over all of its connections: a call may
// find that another one, whose time was over, has given up on connecting.
func eventually(t *testing.T, s *dragonfly.Store) {
	t.Helper()
	key := storetest.Prefix() + "eventually"
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		_, _, err := s.Get(ctx, key)
		for i := 0; i < 16 && err == nil; i++ {
			err = s.Set(ctx, key, []byte("value"), time.Minute)
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server is back, but not for the store: %v", err)
		}
	}
}

// TestSilentServer floods a server that stops answering: every call must still
// end with its context, although their commands pile up, and all must be well
// when the server goes on, or when its connections have been given up.
func TestSilentServer(t *testing.T) {
	t.Parallel() // it mostly waits
	p := storetest.StartServer(t)
	s := open(t, p.Addr)
	storeWorks(t, s)
	for _, silence := range []time.Duration{300 * time.Millisecond, 3 * time.Second} {
		const deadline = 50 * time.Millisecond
		// A call that waits for the connection to be given up takes two seconds and
		// more, each time. What the machine adds is another matter.
		for attempt := 1; ; attempt++ {
			p.Pause()
			longest, idle := flood(t, s, silence, deadline)
			p.Resume()
			eventually(t, s)
			if longest <= deadline+500*time.Millisecond+2*idle {
				break
			}
			if attempt == 3 {
				t.Errorf("a call with a deadline of %v took %v, when a timer was late by %v", deadline, longest, idle)
				break
			}
		}
		// And with as many at once as before.
		var wg sync.WaitGroup
		for range 256 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if _, _, err := s.Get(ctx, "some:key:of:ours"); err != nil {
					t.Errorf("after %v of silence: %v", silence, err)
				}
			})
		}
		wg.Wait()
	}
}

// TestSilentServerFromTheStart: nobody waits for one with more time who connects to
// a server that takes connections and says nothing.
func TestSilentServerFromTheStart(t *testing.T) {
	p := storetest.StartServer(t)
	p.Pause()
	s := open(t, p.Addr, dragonfly.WithLazyConnect(), dragonfly.WithCallTimeout(time.Minute))
	const deadline = 20 * time.Millisecond
	short := func() (took, late time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		began := time.Now()
		// The attempt to connect may have been another one's, whose time was over.
		if _, _, err := s.Get(ctx, "some:key:of:ours"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
		took = time.Since(began)
		began = time.Now()
		time.Sleep(deadline)
		return took, time.Since(began) - deadline
	}
	patient, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 { // one of them connects, all the time
		wg.Go(func() {
			for patient.Err() == nil {
				_, _, _ = s.Get(patient, "some:key:of:ours")
			}
		})
	}
	late, calls := 0, storetest.Rounds(30, 100)
	for range calls {
		if took, noise := short(); took > 3*deadline+2*noise {
			late++
		}
	}
	stop()
	wg.Wait()
	if late > calls/10 { // what the machine adds is another matter
		t.Errorf("%d of %d calls took much longer than their %v", late, calls, deadline)
	}
	p.Resume()
	eventually(t, s)
	storeWorks(t, s)
}

// flood has many callers for as long as the server is silent. It returns how long a
// call took at most, and how late one who only waits was.
func flood(t *testing.T, s *dragonfly.Store, silence, deadline time.Duration) (longest, idle time.Duration) {
	t.Helper()
	var most, late atomic.Int64
	atLeast := func(a *atomic.Int64, d time.Duration) {
		for l := a.Load(); int64(d) > l && !a.CompareAndSwap(l, int64(d)); l = a.Load() {
		}
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for time.Since(start) < silence {
				ctx, cancel := context.WithTimeout(context.Background(), deadline)
				began := time.Now()
				_, _, err := s.Get(ctx, "some:key:of:ours")
				took := time.Since(began)
				cancel()
				if err == nil {
					t.Error("Get from a silent server gave no error")
				}
				atLeast(&most, took)
				if took < time.Millisecond {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for range 16 {
		wg.Go(func() {
			for time.Since(start) < silence {
				began := time.Now()
				time.Sleep(deadline)
				atLeast(&late, time.Since(began)-deadline)
			}
		})
	}
	wg.Wait()
	return time.Duration(most.Load()), time.Duration(late.Load())
}

func TestNoDeadlineIsBounded(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr, dragonfly.WithCallTimeout(80*time.Millisecond))
	storeWorks(t, s)
	p.Pause()
	defer p.Resume()
	start := time.Now()
	_, _, err := s.Get(context.Background(), "some:key:of:ours")
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// TestManyAtOnce has more callers than the queue has places.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := openPatiently(t, storetest.Server(t))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key := storetest.Prefix() + "key"
	if err := s.Set(ctx, key, []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3000 {
		wg.Go(func() {
			for range 5 {
				if got, found, err := s.Get(ctx, key); string(got) != "value" || !found || err != nil {
					t.Errorf("Get: %q, %v, %v", got, found, err)
				}
			}
		})
	}
	wg.Wait()
}

// timedOut is how a connection ends that nobody answers.
type timedOut struct{ net.Conn }

func (timedOut) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestConnectionsTimeOut: commands that have never got a connection, or one that has
// timed out, wait in no queue, so nobody after them is turned away.
func TestConnectionsTimeOut(t *testing.T) {
	addr := storetest.Server(t)
	for name, fail := range map[string]func(net.Conn, error) (net.Conn, error){
		"dialing": func(c net.Conn, err error) (net.Conn, error) {
			if err == nil {
				_ = c.Close()
			}
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		},
		"reading": func(c net.Conn, err error) (net.Conn, error) { return timedOut{c}, err },
	} {
		t.Run(name, func(t *testing.T) {
			var fails atomic.Bool
			var mu sync.Mutex
			var made []net.Conn
			s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
				InitAddress: []string{addr},
				DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
					c, err := patient.DialContext(ctx, "tcp", addr)
					if err == nil {
						mu.Lock()
						made = append(made, c)
						mu.Unlock()
					}
					if fails.Load() {
						return fail(c, err)
					}
					return c, err
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			storeWorks(t, s)
			fails.Store(true)
			mu.Lock()
			for _, c := range made {
				_ = c.Close()
			}
			mu.Unlock()
			until(t, "the end of all connections", func() bool { // of which a call takes any
				for range 100 {
					if _, _, err := s.Get(t.Context(), "some:key:of:ours"); err == nil {
						return false
					}
				}
				return true
			})
			var wg sync.WaitGroup
			for range 2000 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if _, _, err := s.Get(ctx, "some:key:of:ours"); err == nil || strings.Contains(err.Error(), "stopped answering") {
						t.Errorf("Get without a connection: %v", err)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestGetAllocatesTheValueOnly(t *testing.T) {
	switch {
	case raceEnabled:
		t.Skip("the race detector drops pooled commands at random")
	case !storetest.HasServer():
		t.Skip("a server in this process allocates too")
	}
	s := open(t, storetest.Server(t))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	key := storetest.Prefix() + "key"
	if err := s.Set(ctx, key, make([]byte, 1024), time.Hour); err != nil {
		t.Fatal(err)
	}
	// The count is that of the whole process: what connections of earlier tests
	// still do comes on top, so the least of several is that of Get.
	least := math.Inf(1)
	for range 20 {
		least = min(least, testing.AllocsPerRun(100, func() {
			if _, found, err := s.Get(ctx, key); !found || err != nil {
				t.Error(found, err)
			}
		}))
		if least <= 1 {
			return
		}
	}
	t.Errorf("Get allocates %v times", least)
}

func BenchmarkGet(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key := storetest.Prefix() + "key"
	if err := s.Set(ctx, key, make([]byte, 1024), time.Hour); err != nil {
		b.Fatal(err)
	}
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, found, err := s.Get(ctx, key); !found || err != nil {
							b.Error(found, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkSet(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key, value := storetest.Prefix()+"key", make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Set(ctx, key, value, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
