package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest/servers"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// trial is a scenario that a real server and the real engine go through as well.
type trial struct {
	seed     uint64
	requests int
	keys     int
	zipf     float64
	oneOff   float64
	body     int
	room     int64 // bytes beyond what the empty server uses
	policy   string
	pace     time.Duration // from request to request at least
}

func newTrial() trial {
	return trial{seed: 1, requests: 40_000, keys: 20_000, zipf: 1.02, body: 1024, room: 4 << 20, policy: lru}
}

// compared is what was measured beside what was simulated.
type compared struct {
	measured, simulated float64 // hit ratio
	held, simulatedHeld int64   // keys in the end
	rps                 float64
}

// run needs Redis or Valkey on the PATH: Dragonfly starts with 256 MiB at least.
func (t trial) run(ctx context.Context) (c compared, err error) {
	dir, err := os.MkdirTemp("", "cacheaside-simulate-")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := servers.Start(ctx, dir, servers.Memory(64<<20), servers.Only("CONFIG SET of a policy", servers.Redis, servers.Valkey))
	if err != nil {
		return c, err
	}
	defer s.Stop()
	client, err := dragonfly.NewClient(ctx, s.Addr, quiet())
	if err != nil {
		return c, err
	}
	defer client.Close()
	if err := t.measure(ctx, s.Addr, client, &c); err != nil {
		return c, err
	}
	r, err := simulate(t.scenario(c.rps))
	if err != nil {
		return c, err
	}
	c.simulated, c.simulatedHeld = r.hitRatio(), int64(r.entries)
	return c, nil
}

func quiet() dragonfly.Option { return dragonfly.WithLogger(slog.New(slog.DiscardHandler)) }

// scenario is what is simulated, with the entry's size of the sizing page.
func (t trial) scenario(rps float64) scenario {
	return scenario{
		seed: t.seed, rps: rps, keys: t.keys, zipf: t.zipf, oneOff: t.oneOff,
		duration:  time.Duration(float64(t.requests) / rps * float64(time.Second)),
		instances: 1, handler: time.Microsecond, ttl: time.Hour, scope: cacheaside.CoalesceAll,
		policy: t.policy, memory: t.room, value: valueBytes(int64(t.body)), entry: entryBytes(int64(t.body), 0),
	}
}

// measure sends the same requests, one after the other, to the engine.
func (t trial) measure(ctx context.Context, url string, client rueidis.Client, c *compared) (err error) {
	store, err := dragonfly.Open(ctx, url, quiet(), dragonfly.WithCallTimeout(10*time.Second))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cache, err := cacheaside.New(cacheaside.Config{
		Store: store, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour},
		// A machine that is busy with something else must not make misses.
		Timeouts: cacheaside.Timeouts{Lookup: 5 * time.Second, Write: 5 * time.Second},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close(context.WithoutCancel(ctx))) }()
	body := make([]byte, t.body)
	for i := range body { // incompressible
		body[i] = byte(rand.Uint32())
	}
	handler := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(body)
	}))
	used, err := usedMemory(ctx, client)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"maxmemory": strconv.FormatInt(used+t.room, 10), "maxmemory-policy": "allkeys-" + t.policy} {
		if err := client.Do(ctx, client.B().ConfigSet().ParameterValue().ParameterValue(name, value).Build()).Error(); err != nil {
			return fmt.Errorf("CONFIG SET %s: %w", name, err)
		}
	}
	rng := rand.New(rand.NewPCG(t.seed, 2))
	requests := newTraffic(rng, 1, t.keys, t.zipf, t.oneOff)
	began := time.Now()
	for i := range t.requests {
		time.Sleep(time.Until(began.Add(time.Duration(i) * t.pace)))
		_, key := requests.request()
		if err := ctx.Err(); err != nil {
			return err
		}
		// As long as the key that the sizing reckons with.
		target := fmt.Sprintf("http://example.com/simulated/%018d", key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil))
		if w.Code != http.StatusOK || w.Body.Len() != t.body {
			return fmt.Errorf("%s: status %d and %d bytes", target, w.Code, w.Body.Len())
		}
	}
	c.rps = float64(t.requests) / time.Since(began).Seconds()
	stats := cache.Stats()
	if n := stats.Hits + stats.Misses; n != uint64(t.requests) || stats.StoreErrors > 0 {
		return fmt.Errorf("of %d requests %d were hits or misses, with %d errors of the store", t.requests, n, stats.StoreErrors)
	}
	c.measured = float64(stats.Hits) / float64(t.requests)
	c.held, err = client.Do(ctx, client.B().Dbsize().Build()).AsInt64()
	return err
}

func usedMemory(ctx context.Context, client rueidis.Client) (int64, error) {
	info, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	value, _, _ := strings.Cut(rest, "\r")
	return strconv.ParseInt(value, 10, 64)
}

// trials are those that -check runs.
func trials(seed uint64) (all []trial) {
	for _, policy := range []string{lru, lfu} {
		for _, oneOff := range []float64{0, 0.2} {
			for _, room := range []int64{2 << 20, 8 << 20} {
				t := newTrial()
				t.seed, t.policy, t.oneOff, t.room = seed, policy, oneOff, room
				all = append(all, t)
			}
		}
	}
	return all
}

// checkTable runs all trials.
func checkTable(ctx context.Context, seed uint64, progress io.Writer) (*report.Table, error) {
	table := &report.Table{Head: []string{"policy", "one-off", "room for entries", "hit ratio measured", "simulated", "difference", "keys held", "simulated"}}
	for _, t := range trials(seed) {
		c, err := t.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s, %v one-off, %d bytes: %w", t.policy, t.oneOff, t.room, err)
		}
		table.Add("allkeys-"+t.policy, report.Share(t.oneOff), report.Bytes(float64(t.room)), fmt.Sprintf("%.3f", c.measured), fmt.Sprintf("%.3f", c.simulated),
			fmt.Sprintf("%+.3f", c.simulated-c.measured), report.Count(float64(c.held)), report.Count(float64(c.simulatedHeld)))
		_, _ = fmt.Fprintf(progress, "checked %s, %v one-off, %s: %.0f requests a second\n", t.policy, t.oneOff, report.Bytes(float64(t.room)), c.rps)
	}
	return table, nil
}
