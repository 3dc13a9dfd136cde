package dragonfly

import (
	"crypto/fips140"
	"crypto/sha1" //nolint:gosec // no secret: against damage, and what scripts have
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// The clock is "EPOCH SEQ" in hexadecimal digits of fixed width, and a sum over its
// key and that. The ring, a list of its own, has the last purges, newest first: a hash
// of the stamp's key, 'h' or 's' for hard or soft, and the number. Each tag of a purge
// has a number of its own, so that one sees how far back the ring reaches: of what was
// purged before its oldest element nothing is known.
//
// A replica that takes over may have an older clock than entries that are stored, and
// would give numbers again that they know: so what is purged then would be there still,
// and after a purge of everything, too. Therefore numbers also keep up with the time, as
// the process knows it who purges: they are a second behind at most, and nodes take longer than
// that to agree on another master. Where a purge leaves numbers out, the ring has an element
// 'j' with the last one before them.
const (
	clockLen = 16 + 1 + seqLen + sumLen
	seqLen   = 14
	sumLen   = 8
	// ringSize is how many purges may come between while a handler runs.
	ringSize = 256
	hashLen  = 11
	// maxSeq is as far as scripts can count, which is for ever.
	maxSeq = 1 << 44
	// perMS is how many tags are purged in a millisecond at most, for hours on end.
	perMS = 8
	// mayLag is how far numbers may be behind the time.
	mayLag = 1000 * perMS
)

// numbersBegan is when the time was 0: numbers keep up until 2059.
var numbersBegan = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// timely is the number that the next purge has if the last one's is far behind.
func (s *Store) timely() string {
	n := s.now().Sub(numbersBegan).Milliseconds() * perMS
	return strconv.FormatInt(max(0, min(n, maxSeq/2)), 10)
}

func ringKey(clock string) string    { return clock + ":ring" }
func journalKey(clock string) string { return clock + ":journal" }

// prelude is what all scripts of a clock share. KEYS[1] and KEYS[2] are clock and ring,
// ARGV[1] is the epoch of a clock that has to be made: then nothing is known of what
// was before.
var prelude = `
local function sum(key, v)
	return string.sub(redis.sha1hex(key .. v), 1, 8)
end
local function text(key)
	local v = redis.pcall('GET', key)
	if type(v) == 'string' then
		return v
	end
	return ''
end
local function put(epoch, seq, ttl)
	local v = string.format('%s %014x', epoch, seq)
	redis.call('SET', KEYS[1], v .. sum(KEYS[1], v), 'PX', ttl)
	return v
end
local function clock(ttl)
	local v = text(KEYS[1])
	if #v == 39 then
		local h = string.sub(v, 1, 31)
		local epoch, seq = string.match(h, '^(%x+) (%x+)$')
		if epoch and #epoch == 16 and string.sub(v, 32) == sum(KEYS[1], h) then
			return epoch, tonumber(seq, 16)
		end
	end
	redis.call('DEL', KEYS[2])
	put(ARGV[1], 1, ttl)
	return ARGV[1], 1
end
-- What the ring gets, and the number after which the next one comes.
local function keepUp(seq, timely)
	if tonumber(timely) - seq < ` + strconv.Itoa(mayLag) + ` then
		return {}, seq
	end
	return {'...........j' .. string.format('%011x', seq)}, tonumber(timely)
end
`

// stampLua reads and writes stamps: "EPOCH HARD SOFT AT", and a sum.
const stampLua = `
local function stamp(key)
	local v = text(key)
	local h = string.sub(v, 1, -9)
	if #v < 9 or string.sub(v, -8) ~= sum(key, h) then
		return nil
	end
	local e, hard, soft = string.match(h, '^(%x+) (%x+) (%x+) %x+$')
	if not e then
		return nil
	end
	return e, tonumber(hard, 16), tonumber(soft, 16)
end
local function format(key, e, hard, soft, at)
	local v = string.format('%s %x %x %s', e, hard, soft, at)
	return v .. sum(key, v)
end
`

var (
	// clockScript reads the clock, or makes it.
	clockScript = newScript(prelude + `
local epoch, seq = clock(ARGV[2])
return string.format('%s %014x', epoch, seq)`)

	// bumpScript purges the tags of KEYS[3] and up, whose hashes are ARGV[6] and up. A
	// stamp that is not there stays so: whoever makes it looks at the ring.
	bumpScript = newScript(prelude + stampLua + `
local epoch, seq = clock(ARGV[2])
if seq + #KEYS >= 17592186044416 then
	return redis.error_reply('ERR the clock of purges is at its end: delete its key')
end
-- The order is such that a script which ends in its midst, for lack of memory, has
-- purged too much.
local flag, elements = 'h', nil
if ARGV[3] == 'soft' then
	flag = 's'
end
elements, seq = keepUp(seq, ARGV[5])
for i = 3, #KEYS do
	elements[#elements + 1] = ARGV[i + 3] .. flag .. string.format('%011x', seq + i - 2)
end
local mark = put(epoch, seq + #KEYS - 2, ARGV[2])
if #elements > 0 then
	if type(redis.pcall('LPUSH', KEYS[2], unpack(elements))) ~= 'number' then
		redis.call('DEL', KEYS[2])
		redis.call('LPUSH', KEYS[2], unpack(elements))
	end
	redis.call('LTRIM', KEYS[2], 0, ` + strconv.Itoa(ringSize-1) + `)
	redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
for i = 3, #KEYS do
	local n, key = seq + i - 2, KEYS[i]
	local hard = n
	if flag == 's' then
		local e, h = stamp(key)
		if e == epoch then
			hard = h
		end
	end
	redis.call('SET', key, format(key, epoch, hard, n, ARGV[4]), 'XX', 'KEEPTTL')
end
return mark`)

	// settleScript makes the stamps that are missing, or of another epoch, and lets all
	// live for ARGV[3] ms at least: those that it has to touch for ARGV[4] ms, which is
	// longer, so that the next fills need not. A tag of whose purges the ring does not
	// know was purged by its base at the latest, whatever the number of who asks. A ring
	// that lacks a number, up to the newest, goes. The hashes are ARGV[5] and up.
	settleScript = newScript(prelude + stampLua + `
local epoch, seq = clock(ARGV[2])
local all, base
local function ring()
	all, base = '', seq
	local list = redis.pcall('LRANGE', KEYS[2], 0, -1)
	local sound = type(list) == 'table' and not list.err
	local next = seq
	for i = 1, sound and #list or 0 do
		local e = list[i]
		local n = #e == 23 and tonumber(string.sub(e, 13), 16) or -1
		if string.sub(e, 12, 12) == 'j' then
			sound = sound and n >= 0 and n <= next
			next = n
		else
			sound = sound and n == next
			next = next - 1
		end
	end
	if not sound or next < 1 then
		redis.call('DEL', KEYS[2])
		return
	end
	all, base = table.concat(list), next
end
local function last(hash)
	local hard, soft, at = base, base, 1
	while true do
		local found = string.find(all, hash, at, true)
		if not found then
			return hard, soft
		end
		if (found - 1) % 23 == 0 then
			local n = tonumber(string.sub(all, found + 12, found + 22), 16)
			if n > soft then
				soft = n
			end
			if string.sub(all, found + 11, found + 11) ~= 's' then
				return n, soft
			end
		end
		at = found + 1
	end
end
local answer = {string.format('%s %014x', epoch, seq)}
for i = 3, #KEYS do
	local key = KEYS[i]
	local e, hard, soft = stamp(key)
	if e ~= epoch then
		if not all then
			ring()
		end
		hard, soft = last(ARGV[i + 2])
		redis.call('SET', key, format(key, epoch, hard, soft, '0'), 'PX', ARGV[4])
	elseif redis.call('PTTL', key) < tonumber(ARGV[3]) then
		redis.call('PEXPIRE', key, ARGV[4])
	end
	answer[i - 1] = string.format('%s %x %x 0', epoch, hard, soft)
end
return answer`)
)

// newEpoch is one that a clock has which this call has to make. It is not 0.
func newEpoch() string { return fmt.Sprintf("%016x", rand.Uint64()|1) }

// tagHash is what the ring has of a stamp's key. Two that are alike purge one another.
func tagHash(key string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// parseClock reads what is under the key of a clock.
func parseClock(key, text string) (store.Mark, bool) {
	if len(text) != clockLen || !sound(key, text) {
		return store.Mark{}, false
	}
	return parseMark(text[:clockLen-sumLen])
}

// parseMark reads what scripts return of a clock.
func parseMark(text string) (store.Mark, bool) {
	if len(text) != clockLen-sumLen || text[16] != ' ' {
		return store.Mark{}, false
	}
	epoch, err := strconv.ParseUint(text[:16], 16, 64)
	seq, err2 := strconv.ParseUint(text[17:], 16, 64)
	return store.Mark{Epoch: epoch, Seq: seq}, err == nil && err2 == nil && epoch != 0 && seq != 0
}

// sound reports whether text is what was put under key: at its end is a sum over both,
// without which a digit that is damaged, or another key's value, would bring back what
// was purged. It must agree with sum of the scripts.
func sound(key, text string) bool {
	var b [256]byte
	n := len(text) - sumLen
	if n < 0 {
		return false
	}
	in := append(append(b[:0], key...), text[:n]...)
	var digest [sha1.Size]byte
	if fips140.Enforced() {
		digest = unenforced(string(in))
	} else {
		digest = sha1.Sum(in) //nolint:gosec // it is no signature
	}
	var sum [sumLen]byte
	hex.Encode(sum[:], digest[:sumLen/2])
	return text[n:] == string(sum[:])
}

func unenforced(in string) (digest [sha1.Size]byte) {
	fips140.WithoutEnforcement(func() { digest = sha1.Sum([]byte(in)) }) //nolint:gosec // as above
	return digest
}
