package purges

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// journalLease is how long a copy of the journal is used, counted from before it was
	// read.
	journalLease = 400 * time.Millisecond
	// JournalWait is how long a purge in the journal waits until no process uses an older
	// copy: the lease, and by how much the clocks of machines may differ in speed.
	JournalWait = journalLease + 50*time.Millisecond
	// retryPause is how long the journal is not read again after that has failed.
	retryPause = 100 * time.Millisecond
)

// ErrNoJournal is returned where the journal could not be read.
var ErrNoJournal = errors.New("what has been purged could not be read")

// ErrFull is returned where the journal has no room for another way.
var ErrFull = errors.New("what has been purged has no room for another No-Vary-Search")

// lease is a copy of the journal, and the epoch that the clock had then.
type lease struct {
	*journal
	epoch  uint64
	from   time.Time // before it was read
	stored store.Journal
}

// good reports whether the copy is younger than age for a request that came at now,
// which may be before it was read. A clock that was set back does not make it good for
// ever.
func (l *lease) good(now time.Time, age time.Duration) bool {
	d := now.Sub(l.from)
	return d < age && d > -time.Minute
}

// leases keeps the copy of this process.
type leases struct {
	*Dependencies
	clock    string                // its key
	last     atomic.Pointer[lease] // set with mu, and dropped without
	renewing atomic.Bool
	failedAt atomic.Int64 // when the journal could not be read, Unix nanoseconds
	mu       sync.Mutex
	expiries uint64        // how often expire was called
	reading  chan struct{} // closed when the read that others wait for is over; nil: there is none
	// Which journal was read last, and when another one was found in its place.
	epoch, began uint64
	lost         time.Time
}

// held returns the copy if it is good at now, or nil. It costs two loads. A copy in the
// second half of its lease is renewed in the background.
func (l *leases) held(now time.Time) *lease {
	last := l.last.Load()
	if last == nil || !last.good(now, journalLease) {
		return nil
	}
	if !last.good(now, journalLease/2) && l.renewing.CompareAndSwap(false, true) {
		l.Background(func() {
			defer l.renewing.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), l.RenewTimeout)
			defer cancel()
			_, _ = l.renew(ctx)
		})
	}
	return last
}

// at returns a copy that is good at now. Where there is none, one of the callers reads
// the journal, and the others wait for it.
func (l *leases) at(ctx context.Context, now time.Time) (*lease, bool) {
	if last := l.held(now); last != nil {
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
		return last, last != nil && last.good(now, journalLease)
	}
	if d := now.UnixNano() - l.failedAt.Load(); d >= 0 && d < int64(retryPause) {
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
	fresh, err := l.renew(ctx)
	return fresh, err == nil
}

// of is at for what has begun in that epoch: a copy of another one may be from before the
// clock was lost, and is read again.
func (l *leases) of(ctx context.Context, now time.Time, epoch uint64) (*lease, bool) {
	at, ok := l.at(ctx, now)
	if !ok || at.epoch == epoch {
		return at, ok
	}
	l.last.CompareAndSwap(at, nil) // unless somebody has read it meanwhile
	return l.at(ctx, l.Now())
}

// renew reads the journal.
func (l *leases) renew(ctx context.Context) (*lease, error) {
	expiries, from := l.expired(), l.Now()
	stored, err := l.Store.ReadJournal(ctx, l.clock)
	fresh := l.decode(stored, from)
	if err == nil && fresh == nil {
		// It is not ours: begin a new one, in which everything counts as purged.
		j := &journal{All: newest{Hard: nextNumber, Soft: nextNumber}}
		if stored, _, err = l.Store.WriteJournal(ctx, l.clock, stored, j.encode()); err == nil {
			if fresh = l.decode(stored, from); fresh == nil {
				err = ErrNoJournal
			}
		}
	}
	if err != nil {
		l.failedAt.Store(l.Now().UnixNano())
		l.Failed("reading what was purged", err)
		return nil, err
	}
	l.keep(fresh, expiries)
	return fresh, nil
}

// decode returns nil where the journal is not ours. What has not changed is not decoded
// again.
func (l *leases) decode(stored store.Journal, from time.Time) *lease {
	var j *journal
	if last := l.last.Load(); last != nil && last.epoch == stored.Mark.Epoch && last.stored.Began == stored.Began && last.stored.Text == stored.Text {
		j = last.journal
	} else {
		var ok bool
		if j, ok = decodeJournal(stored); !ok {
			return nil
		}
		l.Learn(j.Ways)
	}
	return &lease{journal: j, epoch: stored.Mark.Epoch, from: from, stored: stored}
}

// keep puts a copy into use, unless expire was called since it was asked for. It notes
// when another journal is found in place of the last one, which was lost.
func (l *leases) keep(fresh *lease, expiries uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != 0 && (l.epoch != fresh.epoch || l.began != fresh.stored.Began) {
		l.lost = time.Now()
	}
	l.epoch, l.began = fresh.epoch, fresh.stored.Began
	if l.expiries == expiries {
		l.last.Store(fresh)
	}
}

// expire drops the copy and any read in flight, so that the next caller reads it anew.
func (l *leases) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expiries++
	l.last.Store(nil)
}

func (l *leases) expired() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expiries
}
