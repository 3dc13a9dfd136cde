package core

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The purges of everything and of path prefixes are in one value in the store,
// the journal. A process may use its copy for a lease, so that a hit needs no
// look at it, and who purges waits for that long: then no copy without the
// purge is in use any more, in whatever process.

const (
	// journalLease is how long a copy is used, counted from before it was read.
	journalLease = 400 * time.Millisecond
	// journalWait is what a purge waits: the lease, and what clocks of different
	// machines may differ in speed.
	journalWait = journalLease + 50*time.Millisecond
	// journalAge is how long the journal lives without a purge. Without it,
	// everything stored counts as purged.
	journalAge = 365 * 24 * time.Hour
	// maxPrefixes bounds the journal. One prefix too many, and the oldest counts
	// for everything.
	maxPrefixes = 64
)

var errNoJournal = errors.New("what has been purged could not be read")

// journal is the content. It never changes once it is in use.
type journal struct {
	All      Stamp    `json:"all"`
	Prefixes []prefix `json:"prefixes,omitempty"` // oldest first
}

type prefix struct {
	Key   string `json:"key"` // what primary keys begin with
	Stamp Stamp  `json:"stamp"`
}

// of returns the newest purges that concern a primary key.
func (j *journal) of(primary string) (hard, soft uint64) {
	hard, soft = j.All.Hard, j.All.Soft
	if len(j.Prefixes) == 0 {
		return hard, soft
	}
	received := asReceived(primary)
	for i := range j.Prefixes {
		if p := &j.Prefixes[i]; p.covers(primary) || received != "" && p.covers(received) {
			hard, soft = max(hard, p.Stamp.Hard), max(soft, p.Stamp.Soft)
		}
	}
	return hard, soft
}

// covers reports whether primary is the prefix itself or below it: /blog covers
// /blog?page=2 and /blog/1000, but not /blogs.
func (p *prefix) covers(primary string) bool {
	rest, ok := strings.CutPrefix(primary, p.Key)
	return ok && (rest == "" || strings.HasSuffix(p.Key, "/") || strings.IndexByte("/?|", rest[0]) >= 0)
}

// asReceived is a primary key with path and query as they were before an outer
// layer rewrote them; empty where none has.
func asReceived(primary string) string {
	before, target, ok := strings.Cut(primary, "|t:")
	if !ok {
		return ""
	}
	target, _, _ = strings.Cut(target, "|")
	if _, rest, ok := strings.Cut(target, "://"); ok && target[0] != '/' { // the absolute form
		target = "/"
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			target = rest[i:]
		}
	}
	scheme, rest, _ := strings.Cut(before, "//")
	if i := strings.IndexAny(rest, "/?|"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "//" + rest + target
}

// with returns j after a purge. One with a greater number may be there already:
// who purges takes the number first and writes later.
func (j *journal) with(key string, soft bool, n uint64) *journal {
	out := &journal{All: j.All}
	raise := func(s *Stamp) {
		s.Soft = max(s.Soft, n)
		if !soft {
			s.Hard = max(s.Hard, n)
		}
	}
	if key == "" {
		raise(&out.All)
		for _, p := range j.Prefixes { // what a hard purge of all leaves of them
			if p.Stamp.Hard > out.All.Hard || p.Stamp.Soft > out.All.Soft {
				out.Prefixes = append(out.Prefixes, p)
			}
		}
		return out
	}
	mine := prefix{Key: key, Stamp: Stamp{Hard: j.All.Hard, Soft: j.All.Soft}}
	for _, p := range j.Prefixes {
		if p.Key == key {
			mine.Stamp = p.Stamp
		} else {
			out.Prefixes = append(out.Prefixes, p)
		}
	}
	raise(&mine.Stamp)
	out.Prefixes = append(out.Prefixes, mine)
	for len(out.Prefixes) > maxPrefixes {
		oldest := out.Prefixes[0]
		out.Prefixes = out.Prefixes[1:]
		out.All.Hard, out.All.Soft = max(out.All.Hard, oldest.Stamp.Hard), max(out.All.Soft, oldest.Stamp.Soft)
	}
	return out
}

// decodeJournal takes a journal only if it is whole: one digit that is damaged
// could bring back what was purged.
func decodeJournal(text string) (*journal, bool) {
	j := new(journal)
	text, sum, _ := strings.Cut(text, " ~")
	if sum != sumOf(text) {
		return j, false
	}
	err := json.Unmarshal([]byte(text), j)
	return j, err == nil && j.All.Hard > 0 && j.All.Soft >= j.All.Hard
}

func (j *journal) encode() string {
	b, _ := json.Marshal(j) // there is nothing in it that could fail
	return string(b) + " ~" + sumOf(string(b))
}

func sumOf(text string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 16)
}

// lease is a copy of the journal, and the sequence number known with it.
type lease struct {
	*journal
	seq  uint64
	busy bool // the number has grown since the last copy
	from time.Time
	text string
}

// holds reports whether the copy is younger than age for a request that came at
// now, which may be before it was read; a clock that was set back is no reason
// to use it for ever.
func (l *lease) holds(now time.Time, age time.Duration) bool {
	d := now.Sub(l.from)
	return d < age && d > -time.Minute
}

// leases keeps the copy of this process.
type leases struct {
	last     atomic.Pointer[lease] // changed with mu
	seq      atomic.Uint64         // that of the last copy, even if it has expired
	renewing atomic.Bool
	failed   atomic.Int64 // when the journal could not be read, Unix nanoseconds
	mu       sync.Mutex
	era      uint64        // how often all copies, also those on their way, have expired
	reading  chan struct{} // closed when a reader is done for whom others wait; nil: there is none
}

// journalPause is how long a failure to read the journal is not repeated.
const journalPause = 100 * time.Millisecond

// held returns the copy if it is good at now, or nil. It costs two loads; a copy
// that has become old is renewed beside it.
func (l *leases) held(c *Cache, now time.Time) *lease {
	last := l.last.Load()
	if last == nil || !last.holds(now, journalLease) {
		return nil
	}
	if !last.holds(now, journalLease/2) && l.renewing.CompareAndSwap(false, true) {
		c.background.aside(func() {
			defer l.renewing.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), c.cfg.StoreTimeout)
			defer cancel()
			l.renew(ctx, c)
		})
	}
	return last
}

// at returns a copy that is good at now, and reads one if there is none.
func (l *leases) at(ctx context.Context, c *Cache, now time.Time) (*lease, bool) {
	if last := l.held(c, now); last != nil {
		return last, true
	}
	l.mu.Lock()
	if reading := l.reading; reading != nil {
		l.mu.Unlock()
		select {
		case <-reading:
		case <-ctx.Done():
			return nil, false
		}
		last := l.last.Load()
		return last, last != nil && last.holds(now, journalLease)
	}
	if d := now.UnixNano() - l.failed.Load(); d >= 0 && d < int64(journalPause) {
		l.mu.Unlock()
		return nil, false
	}
	reading := make(chan struct{})
	l.reading = reading
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reading = nil
		close(reading)
	}()
	return l.renew(ctx, c)
}

// renew reads the journal, or begins one.
func (l *leases) renew(ctx context.Context, c *Cache) (*lease, bool) {
	l.mu.Lock()
	era := l.era
	l.mu.Unlock()
	fresh := &lease{from: c.cfg.Now()}
	var err error
	if fresh.seq, err = c.stamper.Sequence(ctx, c.clock); err == nil {
		// What was stored before the journal was lost is not known to be good.
		none := journal{All: Stamp{fresh.seq, fresh.seq}}
		text := none.encode()
		var held string
		held, err = c.guarder.Lock(ctx, c.journalKey, text, journalAge)
		if errors.Is(err, ErrRefused) { // a full store can still be read
			var b []byte
			var found bool
			if b, found, err = c.store.Get(ctx, c.journalKey); err == nil && !found {
				err = ErrRefused
			}
			held = string(b)
		}
		if err == nil {
			if held != "" {
				text = held
			}
			fresh.text, fresh.busy = text, l.seq.Load() != fresh.seq
			var ok bool
			if fresh.journal, ok = decodeJournal(text); !ok { // somebody else's: begin a new one
				err = c.guarder.Unlock(ctx, c.journalKey, text, none.encode(), journalAge)
				fresh.journal = &none
			}
		}
	}
	if err != nil {
		l.failed.Store(c.cfg.Now().UnixNano())
		c.trouble("reading what was purged", err)
		return nil, false
	}
	l.seq.Store(fresh.seq)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.era == era { // else a purge of our own has come between
		l.last.Store(fresh)
	}
	return fresh, true
}

// expire has the next who asks read anew, and what is being read not used by
// anybody else.
func (l *leases) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era++
	l.last.Store(nil)
}

// see takes note of a number that has been given out: what is asked for from now
// on is newer.
func (l *leases) see(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := l.last.Load(); last != nil && last.seq < n {
		next := *last
		next.seq = n
		l.last.Store(&next)
	}
}

// purge enters purges into the journal, of everything where a key is empty, and
// waits until no process uses an older copy.
func (l *leases) purge(ctx context.Context, c *Cache, keys []string, soft bool) error {
	n, err := c.stamper.Raise(ctx, c.clock, nil, soft, c.floor(), stampAge)
	if err != nil {
		return err
	}
	for { // until no other purge comes between
		old, ok := l.renew(ctx, c)
		if !ok {
			return errNoJournal
		}
		next := old.journal
		for _, key := range keys {
			next = next.with(key, soft, n)
		}
		text := next.encode()
		if err := c.guarder.Unlock(ctx, c.journalKey, old.text, text, journalAge); err != nil {
			return err
		}
		held, err := c.guarder.Lock(ctx, c.journalKey, text, journalAge)
		if err != nil {
			return err
		}
		if j, ok := decodeJournal(held); held == "" || held == text || ok && j.hasAll(keys, soft, n) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	l.expire()
	if c.ownStore { // no other process has a copy
		return nil
	}
	timer := time.NewTimer(journalWait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *journal) hasAll(keys []string, soft bool, n uint64) bool {
	for _, key := range keys {
		if !j.has(key, soft, n) {
			return false
		}
	}
	return true
}

// has reports whether the purge n is in j, or was overtaken by a later one.
func (j *journal) has(key string, soft bool, n uint64) bool {
	hard, softer := j.All.Hard, j.All.Soft
	for _, p := range j.Prefixes {
		if p.Key == key {
			hard, softer = max(hard, p.Stamp.Hard), max(softer, p.Stamp.Soft)
		}
	}
	return soft && softer >= n || hard >= n
}
