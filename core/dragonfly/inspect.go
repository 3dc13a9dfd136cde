package dragonfly

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

// nameDragonfly is what a Dragonfly is called.
const nameDragonfly = "Dragonfly"

// server is what a server says of itself.
type server struct {
	name      string // Dragonfly, Valkey or Redis; empty if it keeps that to itself
	version   string
	eviction  string // cache_mode of Dragonfly, else maxmemory_policy
	maxmemory int64  // bytes; -1 if unknown, 0 for no limit
	cluster   bool
	emulated  bool // it is one Dragonfly, which takes itself for a cluster; only connect finds out
}

// inspect requires an answer to PING, and reads INFO where that is allowed.
func inspect(ctx context.Context, client rueidis.Client) (server, error) {
	answers := client.DoMulti(ctx,
		client.B().Ping().Build(),
		client.B().Info().Section("server").Build(),
		client.B().Info().Section("memory").Build(),
	)
	if err := answers[0].Error(); err != nil {
		// A user may be allowed GET and SET and no PING.
		if !isNoPerm(err) {
			return server{}, err
		}
	}
	info := map[string]string{}
	for _, answer := range answers[1:] {
		text, err := answer.ToString()
		if _, refused := rueidis.IsRedisErr(err); err != nil && !refused {
			return server{}, err
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[name] = value
			}
		}
	}
	return readInfo(info), nil
}

// isNoPerm reports whether the user lacks a right.
func isNoPerm(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "NOPERM")
}

func readInfo(info map[string]string) server {
	s := server{maxmemory: -1, cluster: info["redis_mode"] == "cluster" || info["server_mode"] == "cluster"}
	if n, err := strconv.ParseInt(info["maxmemory"], 10, 64); err == nil {
		s.maxmemory = n
	}
	switch {
	case info["dragonfly_version"] != "":
		s.name, s.version, s.eviction = nameDragonfly, strings.TrimPrefix(info["dragonfly_version"], "df-"), info["cache_mode"]
	case info["valkey_version"] != "":
		s.name, s.version, s.eviction = "Valkey", info["valkey_version"], info["maxmemory_policy"]
	case info["redis_version"] != "":
		s.name, s.version, s.eviction = "Redis", info["redis_version"], info["maxmemory_policy"]
	}
	return s
}

// warning says why nothing will be evicted, if that is so.
func (s server) warning() string {
	switch {
	case s.name == nameDragonfly && s.eviction != "" && s.eviction != "cache":
		return "Dragonfly does not evict: when its memory is full, writes are refused; start it with --cache_mode=true"
	case s.name == nameDragonfly, s.maxmemory < 0 || s.eviction == "":
		return ""
	case s.maxmemory == 0:
		return "the server has no memory limit, so it never evicts: set maxmemory and maxmemory-policy allkeys-lru"
	case s.eviction == "noeviction":
		return "the server does not evict: when its memory is full, writes are refused; set maxmemory-policy allkeys-lru"
	}
	return ""
}

func (s server) log(ctx context.Context, logger *slog.Logger, option rueidis.ClientOption) {
	name := s.name
	if name == "" {
		name = "unknown"
	}
	eviction := "maxmemory_policy"
	if s.name == nameDragonfly {
		eviction = "cache_mode"
	}
	attrs := []any{
		"address", strings.Join(option.InitAddress, ","), "server", name, "version", s.version,
		eviction, s.eviction, "maxmemory", s.maxmemory, "cluster", s.cluster, "tls", option.TLSConfig != nil,
	}
	if s.emulated {
		attrs = append(attrs, "emulated", true)
	}
	if w := s.warning(); w != "" {
		logger.WarnContext(ctx, "dragonfly: connected, but "+w, attrs...)
		return
	}
	logger.InfoContext(ctx, "dragonfly: connected", attrs...)
}

// Describe implements [store.Describer]: it asks one node of a cluster.
func (s *Store) Describe(ctx context.Context) (store.Description, error) {
	began := time.Now()
	if err := s.client.Do(ctx, s.client.B().Ping().Build()).Error(); err != nil && !isNoPerm(err) {
		return store.Description{}, fmt.Errorf("dragonfly: PING: %w", err)
	}
	latency := time.Since(began)
	found, err := inspect(ctx, s.client)
	if err != nil {
		return store.Description{}, fmt.Errorf("dragonfly: INFO: %w", err)
	}
	memory, _ := s.client.Do(ctx, s.client.B().Info().Section("memory").Build()).ToString() // some users may not
	_, memory, _ = strings.Cut(memory, "used_memory:")
	line, _, _ := strings.Cut(memory, "\r")
	used, _ := strconv.ParseInt(line, 10, 64)
	return store.Description{
		Name: found.name, Version: found.version, Address: strings.Join(slices.Sorted(maps.Keys(s.client.Nodes())), ", "),
		Used: used, Max: max(found.maxmemory, 0), Latency: latency,
	}, nil
}
