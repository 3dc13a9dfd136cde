package main

import (
	"hash/crc32"
	"strings"
)

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

// slotOf is the hash slot of a key in a cluster: CRC-16 of XMODEM, of its hash tag if it
// has one.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	sum := uint16(0)
	for i := range len(key) {
		sum ^= uint16(key[i]) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return int(sum % 16384)
}
