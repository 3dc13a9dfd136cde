package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

// The scripts of a lock touch nothing but the keys that they declare, as Dragonfly and
// clusters require.
var (
	extendScript = newScript(`
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
	return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`)

	// lockScript is SET with NX and GET, and PEXPIRE with GT where ARGV[3] is 1, for
	// servers without these.
	lockScript = newScript(`
local held = redis.pcall('GET', KEYS[1])
if not held then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return false
end
if ARGV[3] == '1' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
	redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return held`)

	swapScript = newScript(`
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
if ARGV[2] == '' then
	redis.call('DEL', KEYS[1])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1`)

	// writeScript writes, while the token is under the lock, what is under KEYS[2] and
	// up, ARGV[2] of them; keys beyond these are removed. Whoever purges deletes the
	// lock: the server runs the script before that or after it.
	writeScript = newScript(`
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
local n = tonumber(ARGV[2])
for i = 1, n do
	redis.call('SET', KEYS[i + 1], ARGV[2 * i + 1], 'PX', ARGV[2 * i + 2])
end
redis.call('DEL', KEYS[1])
for i = n + 2, #KEYS do
	redis.pcall('UNLINK', KEYS[i])
end
return 1`)
)

var (
	errNoToken = errors.New("the token is empty: it could not be told from none")
	errForeign = errors.New("the key holds what is no token")
)

// Begin takes the lock of a fill, or says who has it, with a second look at the value
// and the stamps, and the moment of the clock: in one round trip, of which each shard
// or node sees its own commands in order. Where there is no clock, or it is damaged, a
// script makes one, which takes another round trip.
//
// What is no string, or an empty one, has no business under the lock, and goes.
func (s *Store) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	ms, err := milliseconds(f.TTL)
	if err == nil && f.Token == "" {
		err = errNoToken
	}
	if err != nil {
		return store.Begun{}, fmt.Errorf("dragonfly: begin: %w", err)
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	begun, err := s.begin(ctx, &f, ms)
	if errors.Is(err, errForeign) && s.Delete(ctx, f.Lock) == nil {
		begun, err = s.begin(ctx, &f, ms)
	}
	if err != nil {
		return store.Begun{}, failure("begin", err)
	}
	return begun, nil
}

func (s *Store) begin(ctx context.Context, f *store.Fill, ms int64) (begun store.Begun, err error) {
	b := s.client.B()
	cmds := make(rueidis.Commands, 0, 4+len(f.Stamps))
	old := s.noSetGet.Load() // Redis before 7.0 knows NX and GET, but not together
	if old {
		args := []string{f.Token, strconv.FormatInt(ms, 10), "0"}
		if f.Adopt {
			args[2] = "1"
		}
		call := invocation{lockScript, []string{f.Lock}, args}
		cmds = append(cmds, call.long(b))
	} else {
		cmds = append(cmds, b.Set().Key(f.Lock).Value(f.Token).Nx().Get().PxMilliseconds(ms).Build())
		if f.Adopt {
			cmds = append(cmds, b.Pexpire().Key(f.Lock).Milliseconds(ms).Gt().Build())
		}
	}
	look := len(cmds)
	if f.Key != "" {
		cmds = append(cmds, b.Get().Key(f.Key).Build())
		for _, key := range f.Stamps {
			cmds = append(cmds, b.Get().Key(key).Build())
		}
	}
	// With one byte more, which a sound clock does not have: scripts see it, too.
	cmds = append(cmds, b.Getrange().Key(f.Clock).Start(0).End(clockLen).Build())
	results, err := s.pipeline(ctx, cmds)
	if err != nil {
		return begun, err
	}
	if begun.Token, err = tokenOf(results[0], f.Token); err != nil {
		if !old && isSyntaxError(err) {
			s.noSetGet.Store(true)
			return s.begin(ctx, f, ms)
		}
		return begun, err
	}
	if f.Key != "" {
		if begun.Value, begun.Found, err = valueOf(results[look]); err != nil {
			return begun, err
		}
		if begun.Stamps, err = appendStamps(nil, f.Stamps, results[look+1:len(results)-1]...); err != nil {
			return begun, err
		}
		if raw := begun.Value; isStub(raw) {
			begun.Value, begun.Found, err = s.getLarge(ctx, f.Key, raw)
			if begun.Late = errors.Is(err, store.ErrSlow); err != nil && !begun.Late {
				return begun, err
			}
		}
	}
	text, err := textOf(results[len(results)-1])
	if err != nil {
		return begun, err
	}
	var ok bool
	if begun.Mark, ok = parseClock(f.Clock, text); !ok {
		begun.Mark, err = s.mark(ctx, f.Clock)
	}
	return begun, err
}

// tokenOf reads what is under a lock, from the answer to the command for it: nothing
// was, where there is none.
func tokenOf(result rueidis.RedisResult, own string) (string, error) {
	token, err := result.ToString()
	if rueidis.IsRedisNil(err) {
		return own, nil
	}
	if err == nil && token == "" || err != nil && isWrongType(err) {
		err = errForeign
	}
	return token, err
}

// clockAge is how long a clock lives that nobody purges by.
const clockAge = 365 * 24 * time.Hour

var clockMS = strconv.FormatInt(clockAge.Milliseconds(), 10)

// mark reads the clock, or makes it.
func (s *Store) mark(ctx context.Context, clock string) (store.Mark, error) {
	result, err := s.run(ctx, clockScript, withClock(clock, nil), []string{newEpoch(), clockMS})
	if err != nil {
		return store.Mark{}, err
	}
	return markOf(result)
}

// CompareAndExtend lets the lock last for ttl from now on if token holds it, and reports whether
// it does.
func (s *Store) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	ms, err := milliseconds(ttl)
	if err == nil && token == "" {
		err = errNoToken
	}
	if err != nil {
		return false, fmt.Errorf("dragonfly: extend: %w", err)
	}
	return s.ask(ctx, "extend", extendScript, []string{lock}, []string{token, strconv.FormatInt(ms, 10)})
}

// CompareAndSwap puts next in the place of token for ttl if token holds the lock, and reports
// whether it did. An empty next removes it.
func (s *Store) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	var ms int64
	var err error
	if next != "" {
		ms, err = milliseconds(ttl)
	}
	if err == nil && token == "" {
		err = errNoToken
	}
	if err != nil {
		return false, fmt.Errorf("dragonfly: swap: %w", err)
	}
	return s.ask(ctx, "swap", swapScript, []string{lock}, []string{token, next, strconv.FormatInt(ms, 10)})
}

// ask runs a script that answers 1 or 0.
func (s *Store) ask(ctx context.Context, what string, script *script, keys, args []string) (bool, error) {
	result, err := s.run(ctx, script, keys, args)
	if err == nil {
		var n int64
		if n, err = result.AsInt64(); err == nil {
			return n == 1, nil
		}
	}
	return false, failure(what, err)
}

func isSyntaxError(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.Contains(e.Error(), "syntax error")
}

// Write stores what a fill has got, in one script with seeing that its token is still
// under the lock, and in one round trip with what settles its tags: see [store.Write].
// A script that the server does not know yet costs another round trip. The bytes of
// large values are there before.
//
// The values share a hash tag with the lock, and the stamps with the clock.
func (s *Store) Write(ctx context.Context, w store.Write) (store.Written, error) {
	var all [2]invocation
	calls, err := s.calls(all[:0], &w)
	if err != nil {
		return store.Written{}, fmt.Errorf("dragonfly: write: %w", err)
	}
	for i, v := range w.Values {
		if _, ok := s.large.bodyKey(v.Key, 0); !ok || !isLarge(v.Data) {
			continue
		}
		stub, other, held, err := s.putLarge(ctx, w.Lock, w.Token, v)
		if err != nil {
			return store.Written{}, failure("write of a large value", err)
		}
		if !held {
			return store.Written{}, nil
		}
		calls[0].keys = append(calls[0].keys, other)
		calls[0].args[2+2*i] = stub
	}
	for _, v := range w.Values {
		s.near.writing(v.Key)
		defer s.near.written(v.Key)
	}
	results, err := s.runAll(ctx, calls)
	if err != nil {
		return store.Written{}, failure("write", err)
	}
	var written store.Written
	for i, result := range results[1:] {
		keys := calls[1+i].keys[2:]
		stamps, err := settled(&written, w.Since, result)
		if err == nil && len(stamps) != len(keys) {
			err = fmt.Errorf("the server answered %d stamps for %d keys", len(stamps), len(keys))
		}
		if err != nil {
			return store.Written{}, failure("settling stamps", err)
		}
		s.near.settled(keys, stamps)
	}
	n, err := results[0].AsInt64()
	if err != nil {
		return written, failure("write", err)
	}
	written.Stored = n == 1
	return written, nil
}

// calls are the scripts of a write.
func (s *Store) calls(dst []invocation, w *store.Write) ([]invocation, error) {
	if w.Token == "" {
		return nil, errNoToken
	}
	var life int64
	keys, args := make([]string, 1, 4), make([]string, 2, 8)
	keys[0], args[0], args[1] = w.Lock, w.Token, strconv.Itoa(len(w.Values))
	for _, v := range w.Values {
		ms, err := milliseconds(v.TTL)
		if err != nil {
			return nil, err
		}
		life = max(life, ms)
		keys = append(keys, v.Key)
		args = append(args, rueidis.BinaryString(v.Data), strconv.FormatInt(ms, 10))
	}
	if err := oneTag(w.Lock, keys); err != nil {
		return nil, err
	}
	dst = append(dst, invocation{writeScript, keys, args})
	for some := w.Stamps; len(some) > 0; some = some[min(len(some), maxKeys):] {
		stamps := some[:min(len(some), maxKeys)]
		if err := oneTag(w.Clock, stamps); err != nil {
			return nil, err
		}
		args := append(make([]string, 0, 4+len(stamps)), newEpoch(), clockMS, strconv.FormatInt(life, 10),
			strconv.FormatInt(min(life+life/8+1000, maxTTL.Milliseconds()), 10))
		for _, key := range stamps {
			args = append(args, tagHash(key))
		}
		dst = append(dst, invocation{settleScript, withClock(w.Clock, stamps), args})
	}
	return dst, nil
}

// settled takes from the answer of settleScript the stamps, and what they say of a fill
// that began at since.
func settled(written *store.Written, since store.Mark, result rueidis.RedisResult) ([]store.Stamp, error) {
	answer, err := result.AsStrSlice()
	if err != nil {
		return nil, err
	}
	stamps := make([]store.Stamp, 0, len(answer))
	for i, text := range answer {
		if i == 0 {
			mark, ok := parseMark(text)
			if !ok {
				return nil, fmt.Errorf("the server answered %.40q, which is no clock", text)
			}
			written.Purged = written.Purged || mark.Epoch != since.Epoch
			continue
		}
		stamp, ok := parseNumbers(text)
		if !ok {
			return nil, fmt.Errorf("the server answered %.40q, which is no stamp", text)
		}
		written.Purged = written.Purged || stamp.Hard > since.Seq
		written.Outdated = written.Outdated || stamp.Soft > since.Seq
		stamps = append(stamps, stamp)
	}
	return stamps, nil
}
