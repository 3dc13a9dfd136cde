package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

// The journal is "EPOCH BEGAN " and a text, with a sum over its key and that. One of
// another epoch than the clock's says nothing of what was purged since, and counts as
// none.

// journalLua reads the journal under KEYS[3], and makes it where there is none.
const journalLua = `
local function journal(epoch, seq, ttl)
	local v = text(KEYS[3])
	local h = string.sub(v, 1, -9)
	if #v >= 40 and string.sub(v, -8) == sum(KEYS[3], h) and string.sub(h, 1, 16) == epoch then
		return h
	end
	h = string.format('%s %014x ', epoch, seq)
	redis.call('SET', KEYS[3], h .. sum(KEYS[3], h), 'PX', ttl)
	return h
end
`

var (
	readJournalScript = newScript(prelude + journalLua + `
local epoch, seq = clock(ARGV[2])
return {string.format('%s %014x', epoch, seq), journal(epoch, seq, ARGV[2])}`)

	// writeJournalScript replaces the journal ARGV[3] by ARGV[4] with the next number.
	writeJournalScript = newScript(prelude + journalLua + `
local epoch, seq = clock(ARGV[2])
local h = journal(epoch, seq, ARGV[2])
local mark = string.format('%s %014x', epoch, seq)
if h ~= ARGV[3] then
	return {mark, h, 0}
end
local elements
elements, seq = keepUp(seq, ARGV[5])
mark = put(epoch, seq + 1, ARGV[2])
-- No tag's number, but in its place, so that the ring still reaches back beyond it.
elements[#elements + 1] = '...........h' .. string.format('%011x', seq + 1)
if type(redis.pcall('LPUSH', KEYS[2], unpack(elements))) == 'number' then
	redis.call('LTRIM', KEYS[2], 0, ` + strconv.Itoa(ringSize-1) + `)
	redis.call('PEXPIRE', KEYS[2], ARGV[2])
else
	redis.call('DEL', KEYS[2])
end
h = string.sub(h, 1, 32) .. string.gsub(ARGV[4], '%^N', string.format('%.0f', seq + 1))
redis.call('SET', KEYS[3], h .. sum(KEYS[3], h), 'PX', ARGV[2])
return {mark, h, 1}`)
)

func withJournal(clock string) []string {
	return []string{clock, ringKey(clock), journalKey(clock)}
}

// ReadJournal returns the journal, and the moment of the clock: in one script, which
// makes both where they are lost. While their slot moves to another node they are read
// without it.
func (s *Store) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	result, err := s.run(ctx, readJournalScript, withJournal(clock), []string{newEpoch(), clockMS})
	if err != nil {
		return store.Journal{}, failure("journal", err)
	}
	answer, err := result.ToArray()
	if isMoving(err) {
		if j, found, err := s.PeekJournal(ctx, clock); found || err != nil {
			return j, err
		}
	}
	if err == nil && len(answer) != 2 {
		err = errNoJournal
	}
	if err != nil {
		return store.Journal{}, failure("journal", err)
	}
	j, err := parseJournal(answer)
	if err != nil {
		return store.Journal{}, failure("journal", err)
	}
	return j, nil
}

// PeekJournal is ReadJournal for somebody who only looks: what is missing or not sound is
// not made, and nothing is found. It takes two reads and no script. A purge in between is
// in the journal, and perhaps not in its Mark.
func (s *Store) PeekJournal(ctx context.Context, clock string) (j store.Journal, found bool, err error) {
	key := journalKey(clock)
	results, err := s.pipeline(ctx, rueidis.Commands{s.client.B().Get().Key(clock).Build(), s.client.B().Get().Key(key).Build()})
	var texts [2]string
	for i := 0; err == nil && i < len(results); i++ {
		texts[i], err = textOf(results[i])
	}
	if err != nil {
		return store.Journal{}, false, failure("journal: GET", err)
	}
	mark, ok := parseClock(clock, texts[0])
	if !ok || !sound(key, texts[1]) {
		return store.Journal{}, false, nil
	}
	j, err = journalOf(mark, texts[1][:len(texts[1])-sumLen])
	return j, err == nil, nil // one of another epoch is none
}

// WriteJournal puts text, with the number of the purge for each [store.Number], in the place of
// old: see [store.Coordinator].
func (s *Store) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	result, err := s.insist(ctx, writeJournalScript, withJournal(clock), []string{newEpoch(), clockMS, formatJournal(old), text, s.timely()})
	if err != nil {
		return store.Journal{}, false, failure("journal", err)
	}
	answer, err := result.ToArray()
	if err == nil && len(answer) != 3 {
		err = errNoJournal
	}
	if err != nil {
		return store.Journal{}, false, failure("journal", err)
	}
	j, err := parseJournal(answer[:2])
	if err != nil {
		return store.Journal{}, false, failure("journal", err)
	}
	n, err := answer[2].AsInt64()
	return j, n == 1, err
}

var errNoJournal = errors.New("the server's answer is no journal")

func formatJournal(j store.Journal) string {
	return fmt.Sprintf("%016x %014x %s", j.Mark.Epoch, j.Began, j.Text)
}

func parseJournal(answer []rueidis.RedisMessage) (store.Journal, error) {
	var j store.Journal
	text, err := answer[0].ToString()
	if err != nil {
		return j, err
	}
	mark, ok := parseMark(text)
	if text, err = answer[1].ToString(); err != nil {
		return j, err
	}
	if !ok {
		return j, errNoJournal
	}
	return journalOf(mark, text)
}

// journalOf reads what is under the key of a journal, without the sum.
func journalOf(mark store.Mark, text string) (j store.Journal, err error) {
	epoch, rest, _ := strings.Cut(text, " ")
	began, text, found := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(began, 16, 64)
	if !found || err != nil || n == 0 || epoch != fmt.Sprintf("%016x", mark.Epoch) {
		return j, errNoJournal
	}
	return store.Journal{Mark: mark, Began: n, Text: text}, nil
}
