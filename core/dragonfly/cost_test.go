package dragonfly_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// costly is a cache whose time stands still, so that nothing but requests asks
// the server, in front of a handler that answers with the fields of the query
// and with tags.
func costly(tb testing.TB, store store.Store, tags ...string) (cache *cacheaside.Cache, get func(target, want string)) {
	tb.Helper()
	now := time.Now()
	cache = cacheaside.Must(cacheaside.New(cacheaside.Config{
		Store:     store,
		Namespace: "cost",
		Now:       func() time.Time { return now },
		Timeouts:  cacheaside.Timeouts{Lookup: 10 * time.Second, Write: 10 * time.Second, Purge: 10 * time.Second},
		Policy:    cacheaside.Policy{TTL: time.Hour},
	}))
	tb.Cleanup(func() { _ = cache.Close(context.Background()) })
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			w.Header()[name] = values
		}
		w.Header()["Surrogate-Key"] = tags
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(coretest.BenchBody)
	}))
	return cache, func(target, want string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://example.com"+target, nil))
		if s := w.Header().Get("Cache-Status"); !strings.Contains(s, want) || w.Body.Len() != len(coretest.BenchBody) {
			tb.Errorf("%s: %d bytes, Cache-Status %q, want %s", target, w.Body.Len(), s, want)
		}
	}
}

// ran is what the server ran for f.
func ran(t *testing.T, c rueidis.Client, f func()) map[string]int {
	t.Helper()
	before := calls(t, c)
	f()
	after := calls(t, c)
	maps.DeleteFunc(after, func(name string, n int) bool { return name == "info" || n == before[name] })
	for name := range after {
		after[name] -= before[name]
	}
	return after
}

// sending counts what is sent at once.
type sending struct {
	net.Conn
	n *atomic.Int64
}

func (s sending) Write(p []byte) (int, error) {
	s.n.Add(1)
	return s.Conn.Write(p)
}

// TestCommandsOfAHit: a hit without tags is one command, and one with tags or
// Vary is sent at once.
func TestCommandsOfAHit(t *testing.T) {
	var sent atomic.Int64
	p := storetest.StartServer(t)
	s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
		InitAddress: []string{p.Addr},
		DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			conn, err := d.DialContext(ctx, "tcp", addr)
			return sending{conn, &sent}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	cache, get := costly(t, s)
	const hits = 50
	for _, c := range []struct {
		name, target string
		gets         int // for one hit
	}{
		{"plain", "/plain", 1},
		{"a tag", "/1?Cache-Tag=a", 2},
		{"five tags", "/5?Cache-Tag=a,b,c,d,e", 6},
		{"Vary", "/v?Vary=Accept", 2},
		{"Vary and two tags", "/vt?Vary=Accept&Cache-Tag=a,b", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 { // stored, and all remembered that makes it cheap
				get(c.target, "")
				if err := cache.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var trips int64
			got := ran(t, other(t, p.Addr), func() {
				before := sent.Load()
				for range hits {
					get(c.target, "; hit;")
				}
				trips = sent.Load() - before
			})
			delete(got, "hello")
			delete(got, "client|setinfo")
			if want := map[string]int{"get": c.gets * hits}; !maps.Equal(got, want) {
				t.Errorf("%d hits are %v, want %v", hits, got, want)
			}
			if trips != hits {
				t.Errorf("%d hits were sent in %d pieces", hits, trips)
			}
		})
	}
}

// TestPurgeOfMany: a purge takes the same commands whatever the number of
// responses, and none of them is used after it.
func TestPurgeOfMany(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr)
	cache, get := costly(t, s)
	ctx, c := t.Context(), other(t, p.Addr)
	purge := func() (commands map[string]int, best time.Duration) {
		best = math.MaxInt64
		for range 20 {
			commands = ran(t, c, func() {
				start := time.Now()
				if err := cache.PurgeTags(ctx, "row"); err != nil {
					t.Fatal(err)
				}
				best = min(best, time.Since(start))
			})
		}
		return commands, best
	}
	const target = "/a?Cache-Tag=row,table"
	purge() // the scripts are known then
	get(target, "stored")
	if err := cache.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	const key = "cost:2:{GET:http://example.com/a?Cache-Tag=row,table}"
	value, found, err := s.Get(ctx, key)
	if !found || err != nil {
		t.Fatal(found, err)
	}
	one, took := purge()
	get(target, "fwd=")

	const many = 100_000
	for i := 0; i < many; {
		var cmds rueidis.Commands
		for range 1000 {
			cmds = append(cmds, c.B().Set().Key(fmt.Sprint("cost:2:{GET:http://example.com/", i, "}")).Value(rueidis.BinaryString(value)).Ex(time.Hour).Build())
			i++
		}
		for _, r := range c.DoMulti(ctx, cmds...) {
			if err := r.Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, tookAll := purge()
	get(target, "fwd=")
	if !maps.Equal(one, all) || len(one) == 0 {
		t.Errorf("a purge of one response runs %v, one of %d runs %v", one, many, all)
	}
	t.Logf("a purge of one response: %v in %v; of %d: %v in %v (best of 20)", one, took, many, all, tookAll)
}

// TestMemoryOnTheServer: what an entry takes beyond its key and its body.
func TestMemoryOnTheServer(t *testing.T) {
	entries := storetest.Rounds(3000, 10_000)
	for _, tags := range [][]string{nil, strings.Split(fiveTags, ",")} {
		t.Run(strconv.Itoa(len(tags))+" tags", func(t *testing.T) {
			p := storetest.StartServer(t)
			c := other(t, p.Addr)
			cache, get := costly(t, open(t, p.Addr), tags...)
			path := func(i int) string { return fmt.Sprintf("/%05d", i) }
			fill := func(from, to int) {
				var wg sync.WaitGroup
				for w := range 16 {
					wg.Go(func() {
						for i := from + w; i < to; i += 16 {
							get(path(i), "stored")
						}
					})
				}
				wg.Wait()
				if err := cache.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			fill(entries, entries+100) // buffers of connections, scripts, stamps
			before := used(t, c)
			fill(0, entries)
			key := func(i int) string { return "cost:2:{GET:http://example.com" + path(i) + "}" }
			perEntry := float64(used(t, c)-before) / float64(entries)
			usage, err := c.Do(t.Context(), c.B().MemoryUsage().Key(key(0)).Build()).AsInt64()
			if err != nil {
				t.Fatal(err)
			}
			length, err := c.Do(t.Context(), c.B().Strlen().Key(key(0)).Build()).AsInt64()
			if err != nil {
				t.Fatal(err)
			}
			own := float64(len(key(0)) + len(coretest.BenchBody))
			t.Logf("%s: key and body are %.0f bytes, the value %d; MEMORY USAGE %+.0f, used_memory %+.0f for each of %d",
				p.Kind, own, length, float64(usage)-own, perEntry-own, entries)
			// Headers, times and a checksum of ours, and what the server and its
			// allocator add.
			if most := 700.0; float64(usage)-own > most || perEntry-own > most || perEntry < own {
				t.Errorf("an entry of %.0f bytes takes %d, or %.0f: want at most %.0f more", own, usage, perEntry, most)
			}
		})
	}
}

// TestNothingIsLeft: a fill leaves its value on the server, and for tags their stamps, and
// what a namespace has once; a response that is not stored leaves nothing but a note for
// some seconds. A value of 1 KiB takes no more than 1,500 bytes, all in all.
func TestNothingIsLeft(t *testing.T) {
	p := storetest.StartServer(t)
	c := other(t, p.Addr)
	cache, get := costly(t, open(t, p.Addr))
	keys := func() (all []string) {
		t.Helper()
		if err := cache.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := c.Do(t.Context(), c.B().Keys().Pattern("*").Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all
	}
	wants := func(what string, want ...string) {
		t.Helper()
		slices.Sort(want)
		until(t, what, func() bool { return slices.Equal(keys(), want) }) // some are removed beside the answer
	}
	const url, once = "cost:2:{GET:http://example.com", "cost:2:{tags}:clock"
	get("/a", "stored")
	wants("a value", once, once+":journal", url+"/a}")
	usage, err := c.Do(t.Context(), c.B().MemoryUsage().Key(url+"/a}").Build()).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%s: a response of 1 KiB takes %d bytes", p.Kind, usage); usage > 1500 || usage < 1024 && p.Kind != "dragonfly" {
		t.Errorf("a response of 1 KiB takes %d bytes", usage)
	}
	get("/a", "; hit;")
	get("/b?Cache-Tag=x", "stored")
	wants("a stamp", once, once+":journal", url+"/a}", url+"/b?Cache-Tag=x}", "cost:2:{tags}:t:x")
	if err := cache.PurgeTags(t.Context(), "x", "never:stored"); err != nil {
		t.Fatal(err)
	}
	wants("a ring", once, once+":journal", once+":ring", url+"/a}", url+"/b?Cache-Tag=x}", "cost:2:{tags}:t:x")
	if err := cache.PurgeURL(t.Context(), "http://example.com/a"); err != nil {
		t.Fatal(err)
	}
	wants("no value", once, once+":journal", once+":ring", url+"/b?Cache-Tag=x}", "cost:2:{tags}:t:x")
	get("/private?Cache-Control=private", "")
	wants("a note", once, once+":journal", once+":ring", url+"/b?Cache-Tag=x}", "cost:2:{tags}:t:x", url+"/private?Cache-Control=private}:lock")
	for _, key := range keys() {
		if ms, err := c.Do(t.Context(), c.B().Pttl().Key(key).Build()).AsInt64(); err != nil || ms <= 0 {
			t.Errorf("%s is for ever: %d, %v", key, ms, err)
		}
	}
}

func used(t *testing.T, c rueidis.Client) int64 {
	t.Helper()
	text, err := c.Do(context.Background(), c.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("INFO says nothing of used_memory")
	return 0
}
