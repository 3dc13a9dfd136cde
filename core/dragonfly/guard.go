package dragonfly

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Who deletes the guard ends all writes under it: the server runs the script
// before that or after it. A third key is that of the bytes which a stub replaces.
var guardScript = newScript(`
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
	redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
	if KEYS[3] then
		redis.pcall('UNLINK', KEYS[3])
	end
	return 1
end
return 0`)

// SetGuarded is [Store.Set], in one script with seeing that guard still holds
// token; otherwise nothing is written. A call that ends early may still write,
// but only while that is so.
//
// Guard and key must share a hash tag. A script the server does not know yet
// costs a second round trip, with the value. The bytes of a large value are there
// before the script runs, which makes them visible.
func (s *Store) SetGuarded(ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
	ms, err := milliseconds(ttl)
	if err == nil && token == "" {
		err = errNoToken
	}
	if err == nil {
		err = oneTag(guard, []string{key})
	}
	if err != nil {
		return false, fmt.Errorf("dragonfly: guarded set: %w", err)
	}
	if _, ok := s.large.bodyKey(key, 0); ok && isLarge(value) {
		written, err := s.setLarge(ctx, guard, token, key, value, ms)
		if err != nil {
			return false, failure("guarded set of a large value", err)
		}
		return written, nil
	}
	s.near.writing(key)
	result, err := s.run(ctx, guardScript, []string{guard, key}, []string{token, rueidis.BinaryString(value), strconv.FormatInt(ms, 10)})
	s.near.written(key)
	if err != nil {
		return false, failure("guarded set", err)
	}
	written, err := result.AsInt64()
	if err != nil {
		return false, failure("guarded set", err)
	}
	return written == 1, nil
}
