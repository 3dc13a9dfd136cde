package dragonfly

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// endOfNumbers is 2^53-1: all below are exact in Lua. As microseconds it is in
// the year 2255.
const endOfNumbers = 1<<53 - 1

// The scripts touch only the keys that they declare, the clock first. The time
// is the server's: one clock for all, and it goes on where the sequence is lost.
// ARGV[1] is that of this process, for a server whose scripts are not told.
const stampLua = `
local function number(key)
	local v = redis.pcall('GET', key)
	if type(v) == 'string' and #v <= 16 and string.find(v, '^[1-9]%d*$') then
		local n = tonumber(v)
		if n < 9007199254740991 then
			return n
		end
	end
	return 0
end
local function now()
	local t = redis.pcall('TIME')
	if type(t) == 'table' and t[2] then
		return tonumber(t[1]) * 1000000 + tonumber(t[2])
	end
	return tonumber(ARGV[1])
end
`

var (
	sequenceScript = newScript(stampLua + `
local n = number(KEYS[1])
if n == 0 then
	n = now()
	redis.call('SET', KEYS[1], string.format('%.0f', n))
end
return string.format('%.0f', n)`)

	raiseScript = newScript(stampLua + `
local n = math.max(number(KEYS[1]) + 1, tonumber(ARGV[2]) + 1, now())
for i = 2, #KEYS do
	n = math.max(n, number(KEYS[i]) + 1)
end
if n >= 9007199254740991 then
	return redis.error_reply('ERR the sequence is at its end')
end
local s = string.format('%.0f', n)
redis.call('SET', KEYS[1], s)
for i = 2, #KEYS do
	redis.call('SET', KEYS[i], s, 'PX', ARGV[3])
end
return s`)

	// A clock behind a stamp was lost, and the time was set back meanwhile.
	settleScript = newScript(stampLua + `
local last = number(KEYS[1])
local n = last
if n == 0 then
	n = now()
end
n = math.max(n, tonumber(ARGV[2]))
local stamps = {}
for i = 2, #KEYS do
	stamps[i] = number(KEYS[i])
	n = math.max(n, stamps[i])
end
local s = string.format('%.0f', n)
if n ~= last then
	redis.call('SET', KEYS[1], s)
end
local answer = {}
for i = 2, #KEYS do
	if stamps[i] == 0 then
		redis.call('SET', KEYS[i], s, 'PX', ARGV[3])
		answer[i - 1] = s
	else
		answer[i - 1] = string.format('%.0f', stamps[i])
	end
end
return answer`)
)

// Sequence returns the number given out last, in one command. Where there is
// none a script creates it from the server's time, so that all agree.
func (s *Store) Sequence(ctx context.Context, clock string) (uint64, error) {
	result, err := s.do(ctx, s.client.B().Get().Key(clock).Build())
	if err != nil {
		return 0, failure("sequence: GET", err)
	}
	n, err := stamp(result)
	if err != nil {
		return 0, failure("sequence: GET", err)
	}
	if n != 0 {
		return n, nil
	}
	if result, err = s.run(ctx, sequenceScript, []string{clock}, []string{localTime()}); err != nil {
		return 0, failure("sequence", err)
	}
	if n, err = scripted(result.ToMessage()); err != nil {
		return 0, failure("sequence", err)
	}
	return n, nil
}

// Raise takes the next number of the sequence and puts it under all keys for
// ttl, in one script. The number exceeds floor, the clock and the stamps there,
// and is not less than the server's time in microseconds since 1970.
//
// Clock and keys must share a hash tag.
func (s *Store) Raise(ctx context.Context, clock string, keys []string, floor uint64, ttl time.Duration) (uint64, error) {
	ms, err := milliseconds(ttl)
	if err == nil {
		err = oneTag(clock, keys)
	}
	if err == nil && floor >= endOfNumbers {
		err = fmt.Errorf("floor is %d: it must be below %d", floor, endOfNumbers)
	}
	if err != nil {
		return 0, fmt.Errorf("dragonfly: raise: %w", err)
	}
	result, err := s.run(ctx, raiseScript, withClock(clock, keys), []string{localTime(), strconv.FormatUint(floor, 10), strconv.FormatInt(ms, 10)})
	if err != nil {
		return 0, failure("raise", err)
	}
	n, err := scripted(result.ToMessage())
	if err != nil {
		return 0, failure("raise", err)
	}
	return n, nil
}

// Stamps appends the stamp under each key to dst, in one round trip. What is no
// number counts as no stamp.
func (s *Store) Stamps(ctx context.Context, dst []uint64, keys []string) ([]uint64, error) {
	switch len(keys) {
	case 0:
		return dst, ctx.Err()
	case 1:
		result, err := s.do(ctx, s.client.B().Get().Key(keys[0]).Build())
		var n uint64
		if err == nil {
			n, err = stamp(result)
		}
		if err != nil {
			return dst, failure("stamps: GET", err)
		}
		return append(dst, n), nil
	}
	cmds := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		cmds[i] = s.client.B().Get().Key(key).Build()
	}
	var results []rueidis.RedisResult
	if _, err := s.bounded(ctx, func(ctx context.Context) rueidis.RedisResult {
		results = s.client.DoMulti(ctx, cmds...)
		for _, result := range results {
			if result.NonRedisError() != nil {
				return result
			}
		}
		return results[0]
	}); err != nil {
		return dst, failure("stamps: GET", err)
	}
	all := dst
	for _, result := range results {
		n, err := stamp(result)
		if err != nil {
			return dst, failure("stamps: GET", err)
		}
		all = append(all, n)
	}
	return all, nil
}

// Settle is [Store.Stamps], but creates what is missing, in one script. That
// takes a second round trip, so that nothing missing costs none.
//
// Clock and keys must share a hash tag.
func (s *Store) Settle(ctx context.Context, clock string, dst []uint64, keys []string, ttl time.Duration) ([]uint64, error) {
	ms, err := milliseconds(ttl)
	if err == nil {
		err = oneTag(clock, keys)
	}
	if err != nil {
		return dst, fmt.Errorf("dragonfly: settle: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	all, err := s.Stamps(ctx, dst, keys)
	if err != nil {
		return dst, err
	}
	var newest uint64
	var missing []string
	for i, n := range all[len(dst):] {
		if newest = max(newest, n); n == 0 {
			missing = append(missing, keys[i])
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	result, err := s.run(ctx, settleScript, withClock(clock, missing), []string{localTime(), strconv.FormatUint(newest, 10), strconv.FormatInt(ms, 10)})
	if err != nil {
		return dst, failure("settle", err)
	}
	answer, err := result.ToArray()
	if err == nil && len(answer) != len(missing) {
		err = fmt.Errorf("the server answered %d stamps for %d keys", len(answer), len(missing))
	}
	if err != nil {
		return dst, failure("settle", err)
	}
	for i := len(dst); i < len(all); i++ {
		if all[i] != 0 {
			continue
		}
		if all[i], err = scripted(answer[0], nil); err != nil {
			return dst, failure("settle", err)
		}
		answer = answer[1:]
	}
	return all, nil
}

// stamp reads the answer to a GET: 0 for nothing, or nothing of ours.
func stamp(result rueidis.RedisResult) (uint64, error) {
	text, err := result.ToString()
	if rueidis.IsRedisNil(err) || err != nil && isWrongType(err) {
		return 0, nil
	}
	return number(text), err
}

// scripted reads what a script answered, which is a number.
func scripted(m rueidis.RedisMessage, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	text, err := m.ToString()
	if err != nil {
		return 0, err
	}
	n := number(text)
	if n == 0 {
		return 0, fmt.Errorf("the server answered %.40q, which is no stamp", text)
	}
	return n, nil
}

// number must agree with that of the scripts.
func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || text[0] == '0' || n >= endOfNumbers {
		return 0
	}
	return n
}

func localTime() string { return strconv.FormatInt(time.Now().UnixMicro(), 10) }

func withClock(clock string, keys []string) []string {
	return append(append(make([]string, 0, 1+len(keys)), clock), keys...)
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
