package cacheaside

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
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
	// maxPrefixes bounds the journal. One prefix too many, and the oldest counts
	// for everything.
	maxPrefixes = 64
)

var errNoJournal = errors.New("what has been purged could not be read")

// journal is the content. It never changes once it is in use.
type journal struct {
	All      purge    `json:"all"`
	Prefixes []prefix `json:"prefixes,omitempty"` // oldest first
	Ways     []way    `json:"ways,omitempty"`     // oldest first
}

// purge is a stamp, of the journal's epoch.
type purge struct {
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
	At   uint64 `json:"at,omitempty"` // of Soft, in microseconds since 1970
}

// prefix is purged for what is below it.
type prefix struct {
	URL   string `json:"url"` // as in the tag of a URL, without a query
	Purge purge  `json:"purge"`
}

// of returns the newest purges that concern an entry.
func (j *journal) of(e *entry.Entry) purge {
	if len(j.Prefixes) == 0 {
		return j.All
	}
	return j.purges(e.Key, e.Tags)
}

// about is of, for what is not an entry yet.
func (j *journal) about(primary string, tags []string) purge {
	return j.purges(primary, slices.Values(tags))
}

func (j *journal) purges(primary string, tags iter.Seq[string]) purge {
	p, own := j.All, keys.URLOf(primary)
	for i := range j.Prefixes {
		if j.Prefixes[i].reaches(own, tags) {
			p = p.or(j.Prefixes[i].Purge)
		}
	}
	return p
}

// or is what two purges are together.
func (p purge) or(q purge) purge {
	if p.Soft < q.Soft {
		p.Soft, p.At = q.Soft, q.At
	}
	p.Hard = max(p.Hard, q.Hard)
	return p
}

// reaches reports whether the prefix is one of an entry: by the URL of its own in its
// key, or by one that it is tagged with.
func (p *prefix) reaches(own string, tags iter.Seq[string]) bool {
	if own != "" && p.covers(own) {
		return true
	}
	for tag := range tags {
		if url, ok := strings.CutPrefix(tag, ofURL); ok && p.covers(url) {
			return true
		}
	}
	return false
}

// covers reports whether url is the prefix itself or below it: /blog covers
// /blog?page=2 and /blog/1000, but not /blogs.
func (p *prefix) covers(url string) bool {
	rest, ok := strings.CutPrefix(url, p.URL)
	return ok && (rest == "" || strings.HasSuffix(p.URL, "/") || strings.IndexByte("/?|", rest[0]) >= 0)
}

// thisPurge stands for the number of a purge that has none yet.
const thisPurge = 1<<53 - 1

// with returns j after a purge that has no number yet; of everything where url is
// empty.
func (j *journal) with(url string, soft bool, at uint64) *journal {
	raise := func(p purge) purge {
		p.Soft, p.At = thisPurge, at
		if !soft {
			p.Hard = thisPurge
		}
		return p
	}
	if url == "" {
		out := &journal{All: raise(j.All), Ways: j.Ways}
		if soft {
			out.Prefixes = j.Prefixes // as far as they are hard
		}
		return out
	}
	out, mine := &journal{All: j.All, Ways: j.Ways}, prefix{url, j.All}
	for _, p := range j.Prefixes {
		if p.URL == url {
			mine = p
		} else {
			out.Prefixes = append(out.Prefixes, p)
		}
	}
	mine.Purge = raise(mine.Purge)
	out.Prefixes = append(out.Prefixes, mine)
	for len(out.Prefixes) > maxPrefixes {
		out.All, out.Prefixes = out.All.or(out.Prefixes[0].Purge), out.Prefixes[1:]
	}
	return out
}

// encode gives the text for the store, which knows the number.
func (j *journal) encode() string {
	b, _ := json.Marshal(j) // there is nothing in it that could fail
	text := strings.ReplaceAll(string(b), "^", `\u005e`)
	for _, name := range []string{`"hard":`, `"soft":`, `"since":`} { // never in a string, where quotes are escaped
		text = strings.ReplaceAll(text, name+strconv.FormatUint(thisPurge, 10), name+store.Number)
	}
	return text
}

// decodeJournal fails where there is something else than a journal of ours.
func decodeJournal(from store.Journal) (*journal, bool) {
	if from.Text == "" { // what was before it is not known
		return &journal{All: purge{Hard: from.Began, Soft: from.Began}}, true
	}
	j := new(journal)
	err := json.Unmarshal([]byte(from.Text), j)
	for i := range j.Ways {
		j.Ways[i].identify()
	}
	return j, err == nil && j.All.Hard >= from.Began && j.All.Soft >= j.All.Hard
}

// lease is a copy of the journal, of the epoch that the clock had then.
type lease struct {
	*journal
	epoch uint64
	from  time.Time
	read  store.Journal
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
	renewing atomic.Bool
	failed   atomic.Int64 // when the journal could not be read, Unix nanoseconds
	mu       sync.Mutex
	era      uint64        // how often all copies, also those on their way, have expired
	reading  chan struct{} // closed when a reader is done for whom others wait; nil: there is none
	// The journal that was read last, and when another one was found in its place.
	epoch, began uint64
	lost         time.Time
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
		c.background.Aside(func() {
			defer l.renewing.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeouts.Write)
			defer cancel()
			_, _ = l.renew(ctx, c)
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
	fresh, err := l.renew(ctx, c)
	return fresh, err == nil
}

// renew reads the journal.
func (l *leases) renew(ctx context.Context, c *Cache) (*lease, error) {
	l.mu.Lock()
	era := l.era
	l.mu.Unlock()
	from := c.cfg.Now()
	read, err := c.coordinator.ReadJournal(ctx, c.clock)
	fresh := c.lease(read, from)
	if err == nil && fresh == nil {
		// Somebody else's: begin a new one, in which everything counts as purged.
		j := &journal{All: purge{Hard: thisPurge, Soft: thisPurge}}
		if read, _, err = c.coordinator.WriteJournal(ctx, c.clock, read, j.encode()); err == nil {
			if fresh = c.lease(read, from); fresh == nil {
				err = errNoJournal
			}
		}
	}
	if err != nil {
		l.failed.Store(c.cfg.Now().UnixNano())
		c.storeError("reading what was purged", err)
		return nil, err
	}
	l.keep(fresh, era)
	return fresh, nil
}

// lease is nil where the journal is none of ours.
func (s *shared) lease(read store.Journal, from time.Time) *lease {
	var j *journal
	if last := s.purges.last.Load(); last != nil && last.epoch == read.Mark.Epoch && last.read.Began == read.Began && last.read.Text == read.Text {
		j = last.journal
	} else {
		var ok bool
		if j, ok = decodeJournal(read); !ok {
			return nil
		}
		s.urls.learn(j.Ways)
	}
	return &lease{journal: j, epoch: read.Mark.Epoch, from: from, read: read}
}

// expire drops the copy and any read in flight, so that the next caller reads it anew.
func (l *leases) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era++
	l.last.Store(nil)
}

// purge enters purges into the journal, of everything where a URL is empty, and waits
// until no process uses an older copy. It asks for the URLs when it knows the ways in
// the journal.
func (l *leases) purge(ctx context.Context, c *Cache, urls func() []string, soft bool) error {
	old := l.last.Load() // who has a good copy needs one script
	for {                // until no other purge comes between
		if old == nil {
			var err error
			if old, err = l.renew(ctx, c); err != nil {
				return err
			}
		}
		next := old.journal
		for _, url := range urls() {
			next = next.with(url, soft, uint64(c.cfg.Now().UnixMicro()))
		}
		read, written, err := c.coordinator.WriteJournal(ctx, c.clock, old.read, next.encode())
		if err != nil {
			return err
		}
		if written {
			break
		}
		old = c.lease(read, c.cfg.Now())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	l.expire()
	if c.ownStore { // no other process has a copy
		return nil
	}
	return sleep(ctx, journalWait)
}
