package dragonfly

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

// maxKeys bounds the keys of one script: others are not to wait for thousands.
const maxKeys = 256

// Bump purges the tags that have their stamps under keys, softly if soft: those of up
// to 256 in one script, so that more of them are not purged all at once. What it costs
// does not depend on what is stored.
//
// Clock and keys must share a hash tag.
func (s *Store) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	ms, err := milliseconds(ttl)
	if err == nil {
		err = oneTag(clock, keys)
	}
	if err != nil {
		return store.Mark{}, fmt.Errorf("dragonfly: bump: %w", err)
	}
	kind := "hard"
	if soft {
		kind = "soft"
	}
	var mark store.Mark
	for first := true; first || len(keys) > 0; first = false {
		some := keys[:min(len(keys), maxKeys)]
		keys = keys[len(some):]
		args := append(make([]string, 0, 5+len(some)), newEpoch(), strconv.FormatInt(ms, 10), kind, strconv.FormatUint(at, 16), s.timely())
		for _, key := range some {
			args = append(args, tagHash(key))
		}
		s.near.writingStamps(some)
		result, err := s.insist(ctx, bumpScript, withClock(clock, some), args)
		s.near.written(some...)
		if err == nil {
			mark, err = markOf(result)
		}
		if err != nil {
			return store.Mark{}, failure("bump", err)
		}
	}
	return mark, nil
}

// markOf reads the clock as a script returns it.
func markOf(result rueidis.RedisResult) (store.Mark, error) {
	text, err := result.ToString()
	if err != nil {
		return store.Mark{}, err
	}
	mark, ok := parseMark(text)
	if !ok {
		err = fmt.Errorf("the server answered %.40q, which is no clock", text)
	}
	return mark, err
}

func (s *Store) serverStamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	switch len(keys) {
	case 0:
		return dst, ctx.Err()
	case 1:
		result, err := s.do(ctx, s.client.B().Get().Key(keys[0]).Build())
		if err == nil {
			dst, err = appendStamps(dst, keys, result)
		}
		if err != nil {
			return dst, failure("stamps: GET", err)
		}
		return dst, nil
	}
	cmds := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		cmds[i] = s.client.B().Get().Key(key).Build()
	}
	results, err := s.pipeline(ctx, cmds)
	if err == nil {
		dst, err = appendStamps(dst, keys, results...)
	}
	if err != nil {
		return dst, failure("stamps: GET", err)
	}
	return dst, nil
}

// serverGetStamped returns the stub of a large value, too. The value is as old as its
// stub, which was read with the stamps.
func (s *Store) serverGetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) (value []byte, found bool, raw []byte, stamps []store.Stamp, err error) {
	if len(keys) == 0 {
		value, found, raw, err = s.get(ctx, key)
		return value, found, raw, dst, err
	}
	for range 2 { // as in get
		if value, found, stamps, err = s.getWholeStamped(ctx, key, dst, keys); !isStub(value) {
			return value, found, nil, stamps, err
		}
		raw = value
		if value, found, err = s.getLarge(ctx, key, raw); found {
			return value, true, raw, stamps, nil
		}
		if err != nil {
			return nil, false, nil, dst, fmt.Errorf("dragonfly: GET of a large value with stamps: %w", err)
		}
	}
	return nil, false, nil, stamps, nil
}

// getWholeStamped returns what is under key, which may be a stub, and stamps.
func (s *Store) getWholeStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	cmds := make(rueidis.Commands, 1+len(keys))
	cmds[0] = s.client.B().Get().Key(key).Build()
	for i, k := range keys {
		cmds[1+i] = s.client.B().Get().Key(k).Build()
	}
	results, err := s.pipeline(ctx, cmds)
	var value []byte
	var found bool
	stamps := dst
	if err == nil {
		stamps, err = appendStamps(dst, keys, results[1:]...)
	}
	if err == nil {
		value, found, err = valueOf(results[0])
	}
	if err != nil {
		return nil, false, dst, failure("GET with stamps", err)
	}
	return value, found, stamps, nil
}

// valueOf reads the answer to a GET: nothing is found where there is no string.
func valueOf(result rueidis.RedisResult) (value []byte, found bool, err error) {
	value, err = result.AsBytes()
	if rueidis.IsRedisNil(err) || err != nil && isWrongType(err) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// appendStamps reads the answers to GETs of keys. It returns dst as it was on error.
func appendStamps(dst []store.Stamp, keys []string, results ...rueidis.RedisResult) ([]store.Stamp, error) {
	all := dst
	for i, result := range results {
		text, err := textOf(result)
		if err != nil {
			return dst, err
		}
		all = append(all, parseStamp(keys[i], text))
	}
	return all, nil
}

// textOf reads the answer to a GET: nothing where there is no string.
func textOf(result rueidis.RedisResult) (string, error) {
	text, err := result.ToString()
	if rueidis.IsRedisNil(err) || err != nil && isWrongType(err) {
		return "", nil
	}
	return text, err
}

// parseStamp reads what is under key. It must agree with stamp of the scripts.
func parseStamp(key, text string) store.Stamp {
	if !sound(key, text) {
		return store.Stamp{}
	}
	stamp, _ := parseNumbers(text[:len(text)-sumLen])
	return stamp
}

// parseNumbers reads epoch, hard, soft and the time of the soft purge.
func parseNumbers(text string) (store.Stamp, bool) {
	var n [4]uint64
	for i := range n {
		var part string
		var more bool
		part, text, more = strings.Cut(text, " ")
		v, err := strconv.ParseUint(part, 16, 64)
		if err != nil || more != (i < len(n)-1) {
			return store.Stamp{}, false
		}
		n[i] = v
	}
	stamp := store.Stamp{Epoch: n[0], Hard: n[1], Soft: n[2], SoftAt: n[3]}
	if stamp.Epoch == 0 || stamp.Hard == 0 || stamp.Soft < stamp.Hard || stamp.Soft >= maxSeq {
		return store.Stamp{}, false
	}
	return stamp, true
}

// withClock are the keys of a script.
func withClock(clock string, keys []string) []string {
	return append(append(make([]string, 0, 2+len(keys)), clock, ringKey(clock)), keys...)
}

// oneTag finds out on every server what only a cluster would refuse.
func oneTag(clock string, keys []string) error {
	want := hashTag(clock)
	for _, key := range keys {
		if hashTag(key) != want {
			return fmt.Errorf("the keys %.80q and %.80q do not share a hash tag", clock, key)
		}
	}
	return nil
}

// hashTag is the part of key that decides its slot in a cluster.
func hashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}
