package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// The scripts touch the one key that they declare, as Dragonfly and clusters
// require.
var (
	extendScript = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`)
	unlockScript = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	if ARGV[2] == '' then
		redis.call('DEL', KEYS[1])
	else
		redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
	end
end
return 0`)
)

var (
	errNoToken = errors.New("the token is empty: it could not be told from no lock")
	errForeign = errors.New("the key holds an empty value, which is no lock")
	errRestive = errors.New("the lock changes hands too fast to say who has it")
)

// Lock takes the lock under key, with token as its content, for ttl, in one
// command. Where somebody else has it, it returns what is under key instead. Who
// is given the own token back has taken the lock by an earlier call whose answer
// was lost. What is no string, or an empty one, has no business there, and goes.
//
// The server may evict a lock: it spares work, and makes nothing safe.
func (s *Store) Lock(ctx context.Context, key, token string, ttl time.Duration) (string, error) {
	ms, err := milliseconds(ttl)
	if err == nil && token == "" {
		err = errNoToken
	}
	if err != nil {
		return "", fmt.Errorf("dragonfly: lock: %w", err)
	}
	holder, err := s.lock(ctx, key, token, ms)
	if err != nil && (isWrongType(err) || errors.Is(err, errForeign)) && s.Delete(ctx, key) == nil {
		holder, err = s.lock(ctx, key, token, ms)
	}
	return holder, err
}

func (s *Store) lock(ctx context.Context, key, token string, ms int64) (string, error) {
	if s.noSetGet.Load() {
		return s.lockInTwo(ctx, key, token, ms)
	}
	result, err := s.do(ctx, s.client.B().Set().Key(key).Value(token).Nx().Get().PxMilliseconds(ms).Build())
	if err != nil {
		return "", failure("lock: SET", err)
	}
	holder, err := result.ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return "", nil
	case err != nil && isSyntaxError(err):
		s.noSetGet.Store(true)
		return s.lockInTwo(ctx, key, token, ms)
	case err == nil && holder == "":
		err = errForeign
	}
	if err != nil {
		return "", failure("lock: SET", err)
	}
	return holder, nil
}

// lockInTwo is for Redis before 7.0, which knows NX and GET, but not together.
func (s *Store) lockInTwo(ctx context.Context, key, token string, ms int64) (string, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	// The lock may end between the two commands, and of one that many want, several
	// times in a row.
	for range 64 {
		result, err := s.do(ctx, s.client.B().Set().Key(key).Value(token).Nx().PxMilliseconds(ms).Build())
		if err == nil {
			err = result.Error()
		}
		if err == nil {
			return "", nil
		}
		if !rueidis.IsRedisNil(err) {
			return "", failure("lock: SET", err)
		}
		result, err = s.do(ctx, s.client.B().Get().Key(key).Build())
		if err != nil {
			return "", failure("lock: GET", err)
		}
		holder, err := result.ToString()
		switch {
		case rueidis.IsRedisNil(err):
			continue
		case err == nil && holder == "":
			err = errForeign
		}
		if err != nil {
			return "", failure("lock: GET", err)
		}
		return holder, nil
	}
	return "", failure("lock", errRestive)
}

// Extend lets the lock last for ttl from now on if token still holds it, and
// reports whether it does.
func (s *Store) Extend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	ms, err := milliseconds(ttl)
	if err == nil && token == "" {
		err = errNoToken
	}
	if err != nil {
		return false, fmt.Errorf("dragonfly: extend: %w", err)
	}
	result, err := s.run(ctx, extendScript, []string{key}, []string{token, strconv.FormatInt(ms, 10)})
	if err != nil {
		return false, failure("extend", err)
	}
	held, err := result.AsInt64()
	if err != nil {
		return false, failure("extend", err)
	}
	return held == 1, nil
}

// Unlock gives the lock up if token still holds it. A note that is not empty
// takes its place for ttl.
func (s *Store) Unlock(ctx context.Context, key, token, note string, ttl time.Duration) error {
	var ms int64
	var err error
	if note != "" {
		ms, err = milliseconds(ttl)
	}
	if err == nil && token == "" {
		err = errNoToken
	}
	if err != nil {
		return fmt.Errorf("dragonfly: unlock: %w", err)
	}
	result, err := s.run(ctx, unlockScript, []string{key}, []string{token, note, strconv.FormatInt(ms, 10)})
	if err == nil {
		err = result.Error()
	}
	if err != nil {
		return failure("unlock", err)
	}
	return nil
}

func isSyntaxError(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.Contains(e.Error(), "syntax error")
}
