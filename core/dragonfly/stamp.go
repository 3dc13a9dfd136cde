package dragonfly

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core"
)

// endOfNumbers is 2^53-1: all below are exact in Lua. As microseconds it is in
// the year 2255.
const endOfNumbers = 1<<53 - 1

// The scripts touch only the keys that they declare, the clock first. The time
// is the server's: one clock for all, and it goes on where the sequence is lost.
// ARGV[1] is that of this process, for a server whose scripts are not told.
const stampLua = `
local function decimal(v)
	if #v <= 16 and string.find(v, '^[1-9]%d*$') then
		local n = tonumber(v)
		if n < 9007199254740991 then
			return n
		end
	end
	return 0
end
local function text(key)
	local v = redis.pcall('GET', key)
	if type(v) == 'string' then
		return v
	end
	return ''
end
local function sum(key, v)
	local c = 7
	for _, t in ipairs({key, v}) do
		for i = 1, #t do
			c = (c * 257 + string.byte(t, i)) % 16777216
		end
	end
	return string.format('%.0f', c)
end
local function stamp(key)
	local v, check = string.match(text(key), '^([%d ]+) ~(%d+)$')
	if not v or check ~= sum(key, v) then
		return 0, 0
	end
	local h, s = string.match(v, '^(%d+) (%d+)$')
	if h then
		h, s = decimal(h), decimal(s)
	else
		h = decimal(v)
		s = h
	end
	if h == 0 or s < h then
		return 0, 0
	end
	return h, s
end
local function format(h, s)
	if h == s then
		return string.format('%.0f', h)
	end
	return string.format('%.0f %.0f', h, s)
end
local function value(key, v)
	return v .. ' ~' .. sum(key, v)
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
local n = stamp(KEYS[1])
if n == 0 then
	n = now()
	redis.call('SET', KEYS[1], value(KEYS[1], format(n, n)))
end
return format(n, n)`)

	raiseScript = newScript(stampLua + `
local n = math.max(stamp(KEYS[1]) + 1, tonumber(ARGV[2]) + 1, now())
local hard = {}
for i = 2, #KEYS do
	local h, s = stamp(KEYS[i])
	hard[i] = h
	n = math.max(n, s + 1)
end
if n >= 9007199254740991 then
	return redis.error_reply('ERR the sequence is at its end')
end
local both = format(n, n)
redis.call('SET', KEYS[1], value(KEYS[1], both))
for i = 2, #KEYS do
	local v = both
	if ARGV[4] == 'soft' and hard[i] ~= 0 then
		v = format(hard[i], n)
	end
	redis.call('SET', KEYS[i], value(KEYS[i], v), 'PX', ARGV[3])
end
return both`)

	// A clock behind a stamp was lost, and the time was set back meanwhile.
	settleScript = newScript(stampLua + `
local last = stamp(KEYS[1])
local n = last
if n == 0 then
	n = now()
end
n = math.max(n, tonumber(ARGV[2]))
local hard, soft = {}, {}
for i = 2, #KEYS do
	hard[i], soft[i] = stamp(KEYS[i])
	n = math.max(n, soft[i])
end
local newest = format(n, n)
if n ~= last then
	redis.call('SET', KEYS[1], value(KEYS[1], newest))
end
local answer = {}
for i = 2, #KEYS do
	if hard[i] == 0 then
		redis.call('SET', KEYS[i], value(KEYS[i], newest), 'PX', ARGV[3])
		answer[i - 1] = newest
	else
		answer[i - 1] = format(hard[i], soft[i])
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
	text, err := textOf(result)
	if err != nil {
		return 0, failure("sequence: GET", err)
	}
	if n := parseStamp(clock, text).Hard; n != 0 {
		return n, nil
	}
	if result, err = s.run(ctx, sequenceScript, []string{clock}, []string{localTime()}); err != nil {
		return 0, failure("sequence", err)
	}
	n, err := scripted(result)
	if err != nil {
		return 0, failure("sequence", err)
	}
	return n, nil
}

// Raise takes the next number of the sequence and makes it the Soft of all keys
// and, unless soft, their Hard, for ttl, in one script. The number exceeds floor,
// the clock and the stamps there, and is not less than the server's time in
// microseconds since 1970.
//
// Clock and keys must share a hash tag.
func (s *Store) Raise(ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
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
	kind := "hard"
	if soft {
		kind = "soft"
	}
	s.near.writingStamps(keys)
	result, err := s.run(ctx, raiseScript, withClock(clock, keys), []string{localTime(), strconv.FormatUint(floor, 10), strconv.FormatInt(ms, 10), kind})
	s.near.written(keys...)
	if err != nil {
		return 0, failure("raise", err)
	}
	n, err := scripted(result)
	if err != nil {
		return 0, failure("raise", err)
	}
	return n, nil
}

func (s *Store) serverStamps(ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
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
func (s *Store) serverGetStamped(ctx context.Context, key string, dst []core.Stamp, keys []string) (value []byte, found bool, raw []byte, stamps []core.Stamp, err error) {
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
func (s *Store) getWholeStamped(ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
	cmds := make(rueidis.Commands, 1+len(keys))
	cmds[0] = s.client.B().Get().Key(key).Build()
	for i, k := range keys {
		cmds[1+i] = s.client.B().Get().Key(k).Build()
	}
	results, err := s.pipeline(ctx, cmds)
	if err != nil {
		return nil, false, dst, failure("GET with stamps", err)
	}
	stamps, err := appendStamps(dst, keys, results[1:]...)
	if err != nil {
		return nil, false, dst, failure("GET with stamps", err)
	}
	value, err := results[0].AsBytes()
	switch {
	case err == nil:
		return value, true, stamps, nil
	case rueidis.IsRedisNil(err) || isWrongType(err):
		return nil, false, stamps, nil
	}
	return nil, false, dst, failure("GET with stamps", err)
}

// Settle is [Store.Stamps], but creates what is missing, in one script. That
// takes a second round trip, so that nothing missing costs none.
//
// Clock and keys must share a hash tag.
func (s *Store) Settle(ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
	ms, err := milliseconds(ttl)
	if err == nil {
		err = oneTag(clock, keys)
	}
	if err != nil {
		return dst, fmt.Errorf("dragonfly: settle: %w", err)
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	all, err := s.serverStamps(ctx, dst, keys)
	if err != nil {
		return dst, err
	}
	var newest uint64
	var missing []string
	for i, stamp := range all[len(dst):] {
		if newest = max(newest, stamp.Soft); stamp == (core.Stamp{}) {
			missing = append(missing, keys[i])
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	s.near.writingStamps(missing)
	result, err := s.run(ctx, settleScript, withClock(clock, missing), []string{localTime(), strconv.FormatUint(newest, 10), strconv.FormatInt(ms, 10)})
	s.near.written(missing...)
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
		if all[i] != (core.Stamp{}) {
			continue
		}
		text, err := answer[0].ToString()
		if err == nil {
			if all[i] = parseNumbers(text); all[i] == (core.Stamp{}) {
				err = errNoStamp(text)
			}
		}
		if err != nil {
			return dst, failure("settle", err)
		}
		answer = answer[1:]
	}
	return all, nil
}

// appendStamps reads the answers to GETs of keys. It returns dst as it was on error.
func appendStamps(dst []core.Stamp, keys []string, results ...rueidis.RedisResult) ([]core.Stamp, error) {
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

// scripted reads what a script answered, which is a number.
func scripted(result rueidis.RedisResult) (uint64, error) {
	text, err := result.ToString()
	if err != nil {
		return 0, err
	}
	n := number(text)
	if n == 0 {
		return 0, errNoStamp(text)
	}
	return n, nil
}

func errNoStamp(text string) error {
	return fmt.Errorf("the server answered %.40q, which is no stamp", text)
}

// parseStamp reads what is under key: one number or two, and a sum over key and
// numbers, without which a digit that is damaged, or another key's stamp, would
// bring back what was purged. It must agree with stamp of the scripts.
func parseStamp(key, text string) core.Stamp {
	numbers, check, ok := strings.Cut(text, " ~")
	if !ok || uint64(sumOf(key, numbers)) != number(check) {
		return core.Stamp{}
	}
	return parseNumbers(numbers)
}

// sumOf must agree with sum of the scripts, whose numbers are exact to 2^53.
func sumOf(key, numbers string) uint32 {
	c := uint32(7)
	for i := range len(key) {
		c = c*257 + uint32(key[i])
	}
	for i := range len(numbers) {
		c = c*257 + uint32(numbers[i])
	}
	return c & (1<<24 - 1)
}

func parseNumbers(text string) core.Stamp {
	hard, soft, two := strings.Cut(text, " ")
	stamp := core.Stamp{Hard: number(hard)}
	if stamp.Soft = stamp.Hard; two {
		stamp.Soft = number(soft)
	}
	if stamp.Hard == 0 || stamp.Soft < stamp.Hard {
		return core.Stamp{}
	}
	return stamp
}

// number must agree with that of the scripts.
func number(text string) uint64 {
	if text == "" {
		return 0 // spares the error that ParseUint makes
	}
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
