package main

import "hash/crc32"

// shardOf returns the shard, from 1, that has all keys, or 0.
func (s *server) shardOf(keys []string) int {
	shard := 0
	for _, key := range keys {
		i := 1 + int(crc32.ChecksumIEEE([]byte(key))%uint32(s.shards))
		if shard != 0 && i != shard {
			return 0
		}
		shard = i
	}
	return shard
}

// burst is what a client has sent at once. In a bad one some writes are refused, as they
// are where eviction does not keep up.
type burst struct {
	writes  int
	refused int // how many are still to be refused
}

func (b *burst) refuses(s *server, write bool) bool {
	if !write || s.refuse <= 0 {
		return false
	}
	b.writes++
	if b.refused == 0 && b.writes >= s.refuseDepth && s.chance(s.refuse) {
		b.refused = 1 + s.intN(4)
	}
	if b.refused == 0 {
		return false
	}
	b.refused--
	return true
}
