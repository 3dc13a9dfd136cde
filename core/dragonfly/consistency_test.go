package dragonfly_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

var (
	consistencyReads = flag.Int("consistency.reads", storetest.Rounds(6_000, 20_000), "reads of TestConsistency")
	consistencySeed  = flag.Uint64("consistency.seed", 0, "seed of TestConsistency; 0: the time")
)

// row is a row of the database: its version, and the newest one that a purge has
// been acknowledged for.
type row struct {
	version, promised atomic.Int64
	mu                sync.Mutex // of its writer
}

// TestConsistency: once a purge is acknowledged, no request that begins later is
// answered with what was purged, by any of four processes, whatever is evicted,
// cut or lost on the server in the meantime.
func TestConsistency(t *testing.T) {
	if !storetest.HasServer() {
		t.Skip("no server that can be restarted")
	}
	seed := *consistencySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-consistency.seed=%d", seed)
	const nodes, rowCount = 4, 24
	p := storetest.StartServer(t)
	rows := make([]row, rowCount)
	// What a row is like: odd ones are tagged, every third has variants, every
	// fourth is kept by a field of the request.
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return
		}
		i, _ := strconv.Atoi(r.URL.Path[1:])
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		v := rows[i].version.Load()
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
		if i%2 == 1 {
			cacheaside.AddTags(r.Context(), "row-"+strconv.Itoa(i), "rows")
		}
		if i%3 == 0 {
			w.Header().Set("Vary", "Accept-Language")
		}
		fmt.Fprint(w, v)
	})
	// plain and parted are the handles of each process.
	plain, parted := make([]*cacheaside.Cache, nodes), make([]*cacheaside.Cache, nodes)
	handlers := make([]http.Handler, nodes)
	for n := range nodes {
		s := open(t, p.Addr, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
		plain[n] = cacheaside.Must(cacheaside.New(cacheaside.Config{Store: s, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour}}))
		t.Cleanup(func() { _ = plain[n].Close(context.Background()) })
		parted[n] = cacheaside.Must(plain[n].With(func(c *cacheaside.Policy) { c.Key.Headers = []string{"X-Part"} }))
		one, two := nethttp.New(plain[n])(origin), nethttp.New(parted[n])(origin)
		handlers[n] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i, _ := strconv.Atoi(r.URL.Path[1:]); i%4 == 0 {
				two.ServeHTTP(w, r)
			} else {
				one.ServeHTTP(w, r)
			}
		})
	}
	send := func(rng *rand.Rand, method string, i int) (body, status string, code int) {
		r := httptest.NewRequest(method, fmt.Sprintf("http://example.com/%d", i), nil)
		if i%3 == 0 {
			r.Header.Set("Accept-Language", []string{"de", "en", "fr"}[rng.IntN(3)])
		}
		if i%4 == 0 {
			r.Header.Set("X-Part", strconv.Itoa(rng.IntN(2)))
		}
		w := httptest.NewRecorder()
		handlers[rng.IntN(nodes)].ServeHTTP(w, r)
		b, _ := io.ReadAll(w.Body)
		return string(b), w.Header().Get("Cache-Status"), w.Code
	}

	var reads, hits, coalesced, purges, refused, violations, evicted, kills, losses atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	work := func(n int, f func(rng *rand.Rand)) {
		for k := range n {
			rng := rand.New(rand.NewPCG(seed, uint64(n*1000+k)))
			wg.Go(func() {
				for ctx.Err() == nil {
					f(rng)
				}
			})
		}
	}
	work(12, func(rng *rand.Rand) { // readers
		i := rng.IntN(rowCount)
		promised := rows[i].promised.Load()
		body, status, code := send(rng, http.MethodGet, i)
		got, err := strconv.ParseInt(body, 10, 64)
		switch {
		case err != nil || code != http.StatusOK:
			t.Errorf("row %d: %d %q", i, code, body)
		case got < promised:
			violations.Add(1)
			t.Errorf("row %d: %d after %d was promised; %s", i, got, promised, status)
		}
		if strings.Contains(status, "; hit") {
			hits.Add(1)
		}
		if strings.Contains(status, "collapsed") {
			coalesced.Add(1)
		}
		if reads.Add(1) >= int64(*consistencyReads) {
			stop()
		}
	})
	work(6, func(rng *rand.Rand) { // writers
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
		i := rng.IntN(rowCount)
		r := &rows[i]
		r.mu.Lock()
		defer r.mu.Unlock()
		v := r.version.Add(1)
		c := plain[rng.IntN(nodes)]
		if i%4 == 0 {
			c = parted[rng.IntN(nodes)]
		}
		url := fmt.Sprintf("http://example.com/%d", i)
		var err error
		switch k := rng.IntN(400); {
		case k == 0:
			err = c.Purge(ctx, cacheaside.Purge{All: true})
		case k == 1:
			err = c.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/"}})
		case i%2 == 1 && k < 240:
			err = c.PurgeTags(ctx, "row-"+strconv.Itoa(i))
		case i%2 == 1 && k < 250:
			err = c.PurgeTags(ctx, "rows")
		default:
			err = c.PurgeURL(ctx, url)
		}
		if err != nil {
			refused.Add(1)
			return
		}
		purges.Add(1)
		r.promised.Store(v)
	})
	chaos := other(t, p.Addr)
	work(1, func(rng *rand.Rand) { // what can happen to a server
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		do := func(cmd ...string) rueidis.RedisResult {
			c, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return chaos.Do(c, chaos.B().Arbitrary(cmd...).Build())
		}
		switch k := rng.IntN(200); {
		case k < 150:
			if key, err := do("RANDOMKEY").ToString(); err == nil {
				do("DEL", key)
				evicted.Add(1)
			}
		case k < 190:
			c, cancel := context.WithTimeout(ctx, time.Second)
			_ = servers.Disconnect(c, chaos)
			cancel()
			kills.Add(1)
		case k < 196:
			do("FLUSHALL")
			losses.Add(1)
		default:
			p.Kill()
			p.Start()
			losses.Add(1)
		}
	})
	wg.Wait()
	t.Logf("%d reads, %d hits, %d coalesced, %d purges and %d refused, %d keys evicted, %d times all connections cut, %d times everything lost: %d violations",
		reads.Load(), hits.Load(), coalesced.Load(), purges.Load(), refused.Load(), evicted.Load(), kills.Load(), losses.Load(), violations.Load())
}
