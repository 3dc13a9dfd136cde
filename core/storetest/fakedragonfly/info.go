package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// ours are the sections of INFO that this program writes; others are those of the server
// behind.
var ours = []string{"SERVER", "CLIENTS", "MEMORY", "STATS", "REPLICATION", "KEYSPACE", "CPU", "CLUSTER"}

func (c *conn) info(args []string) []byte {
	if len(args) > 2 {
		return failure(syntaxError)
	}
	section := upper(second(args))
	var all []string
	for _, name := range ours {
		if section == "" || section == "ALL" || section == "EVERYTHING" || section == name {
			all = append(all, c.s.section(name))
		}
	}
	if section == "COMMANDSTATS" {
		all = append(all, c.s.commandStats())
	} else if len(all) == 0 {
		all = append(all, c.s.behind(section))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return verbatim(c.resp, strings.Join(all, "\r\n"))
}

// called counts what clients ask for.
func (s *server) called(name string) {
	n, ok := s.calls.Load(name)
	if !ok {
		if len(name) > 32 { // no command
			return
		}
		n, _ = s.calls.LoadOrStore(name, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

func (s *server) commandStats() string {
	var pairs []any
	s.calls.Range(func(name, n any) bool {
		calls := n.(*atomic.Int64).Load()
		pairs = append(pairs, "cmdstat_"+strings.ToLower(name.(string)), fmt.Sprintf("calls=%d,usec=%d,usec_per_call=1", calls, calls))
		return true
	})
	return lines("Commandstats", pairs...)
}

func (s *server) behind(section string) string { return s.back.do("INFO", section).text }

func (s *server) section(name string) string {
	up := int(time.Since(s.started).Seconds())
	switch name {
	case "SERVER":
		return lines("Server", "redis_version", redisVersion, "dragonfly_version", version, "redis_mode", s.mode(), "arch_bits", 64,
			"os", runtime.GOOS, "thread_count", s.threads, "multiplexing_api", "iouring", "tcp_port", s.port,
			"uptime_in_seconds", up, "uptime_in_days", up/86400)
	case "CLIENTS":
		return lines("Clients", "connected_clients", len(s.all()), "max_clients", 64000, "client_read_buffer_bytes", 0, "blocked_clients", 0)
	case "MEMORY":
		return s.memorySection()
	case "CLUSTER":
		enabled := 0
		if s.clustered() {
			enabled = 1
		}
		return lines("Cluster", "cluster_enabled", enabled)
	}
	return s.behind(name)
}

func (s *server) memorySection() string {
	values := infoOf(s.behind("memory"))
	mode, policy := "store", "noeviction"
	if s.cacheMode {
		mode, policy = "cache", "eviction"
	}
	s.mu.Lock()
	limit := s.maxmemory
	s.mu.Unlock()
	return lines("Memory", "used_memory", values["used_memory"], "used_memory_human", values["used_memory_human"],
		"used_memory_peak", values["used_memory_peak"], "used_memory_rss", values["used_memory_rss"],
		"maxmemory", limit, "maxmemory_human", human(limit), "used_memory_lua", values["used_memory_lua"],
		"cache_mode", mode, "maxmemory_policy", policy)
}

// lines is a section: its title, then names and values.
func lines(title string, pairs ...any) string {
	var b strings.Builder
	b.WriteString("# " + title + "\r\n")
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%v:%v\r\n", pairs[i], pairs[i+1])
	}
	return b.String()
}
