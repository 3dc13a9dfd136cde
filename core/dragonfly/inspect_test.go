package dragonfly

import (
	"strings"
	"testing"
)

func TestReadInfo(t *testing.T) {
	for _, c := range []struct {
		name    string
		info    map[string]string
		want    server
		warning string
	}{
		{
			"Dragonfly",
			map[string]string{"redis_version": "7.4.0", "dragonfly_version": "df-v1.40.1", "redis_mode": "standalone", "cache_mode": "cache", "maxmemory": "1073741824", "maxmemory_policy": "eviction"},
			server{"Dragonfly", "v1.40.1", "cache", 1 << 30, false, false}, "",
		},
		{
			"Dragonfly as a store",
			map[string]string{"redis_version": "7.4.0", "dragonfly_version": "df-v1.40.1", "cache_mode": "store", "maxmemory": "1073741824"},
			server{"Dragonfly", "v1.40.1", "store", 1 << 30, false, false}, "--cache_mode=true",
		},
		{
			"Redis without limit",
			map[string]string{"redis_version": "7.0.15", "redis_mode": "standalone", "maxmemory": "0", "maxmemory_policy": "noeviction"},
			server{"Redis", "7.0.15", "noeviction", 0, false, false}, "set maxmemory and",
		},
		{
			"Redis that refuses",
			map[string]string{"redis_version": "7.0.15", "redis_mode": "cluster", "maxmemory": "100", "maxmemory_policy": "noeviction"},
			server{"Redis", "7.0.15", "noeviction", 100, true, false}, "set maxmemory-policy",
		},
		{
			"Valkey",
			map[string]string{"redis_version": "7.2.4", "valkey_version": "8.1.0", "server_mode": "standalone", "maxmemory": "100", "maxmemory_policy": "volatile-lru"},
			server{"Valkey", "8.1.0", "volatile-lru", 100, false, false}, "",
		},
		{"nothing", map[string]string{}, server{maxmemory: -1}, ""},
	} {
		got := readInfo(c.info)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if w := got.warning(); (w == "") != (c.warning == "") || !strings.Contains(w, c.warning) {
			t.Errorf("%s: warning %q, want %q", c.name, w, c.warning)
		}
	}
}
