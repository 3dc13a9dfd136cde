// Package purges knows what has been purged, and says of a stored entry whether it is
// still valid.
//
// Each purge takes a number of a clock in the store. An entry carries the clock's epoch
// and number from before its handler ran, and is valid while all that could have purged
// it is older. That is of two kinds:
//
//   - For each tag there is a stamp: see [store.Coordinator]. It says when the tag was
//     purged last. One that is missing counts as purged.
//   - The purges of everything and of path prefixes are in one value, the journal. A
//     process uses its copy for a lease, so that a hit does not read it, and a purge
//     waits for that long: then no process uses a copy without the purge any more.
//
// A hard purge removes what was made before it, a soft purge makes that stale.
package purges

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/recent"
	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// clockAge is how long the clock lives after the last purge. Once it is gone, what was
	// stored before counts as purged.
	clockAge = 365 * 24 * time.Hour
	// tagsAge bounds how long the tags under a key are remembered, so that their stamps
	// can be read together with it.
	tagsAge = time.Minute
)

// Dependencies is what a [Ledger] needs of others.
type Dependencies struct {
	Store store.Coordinator // nil: nothing can be purged, and every entry is current
	Local store.Local       // nil: nothing is in this process
	Keys  Keys
	Now   func() time.Time
	// Alone says that no other process uses the store, so that a purge waits for none.
	Alone bool
	// RenewTimeout bounds a read of the journal in the background.
	RenewTimeout time.Duration
	// Background runs a short function without keeping the caller waiting.
	Background func(func())
	// Failed is told of errors of the store.
	Failed func(doing string, err error)
	// Learn is told of the ways in the journal.
	Learn func([]Way)
	// URLOf returns the URL in a primary key as purges write it; empty where there is
	// none.
	URLOf func(primary string) string
}

func (d *Dependencies) micros() uint64 { return uint64(max(0, d.Now().UnixMicro())) }

// Ledger knows what has been purged, for one process. All methods may be called
// concurrently. Without a store only Current, CurrentHere and Known may be called.
type Ledger struct {
	Dependencies
	leases leases
	tags   recent.Map[*TagSet] // last seen under the keys of the store
}

// New returns a ledger.
func New(d Dependencies) *Ledger {
	l := &Ledger{Dependencies: d}
	l.leases.Dependencies, l.leases.clock = &l.Dependencies, d.Keys.Clock()
	return l
}

// CurrentHere is [Ledger.Current] without a look at the store: it is false where this
// process does not know enough. Where the store has judged the tags of the entry, soft
// is when one of them was purged softly, 0 if none was.
func (l *Ledger) CurrentHere(c *Check, e *entry.Entry, key string, way *Way, now time.Time, judged bool, soft uint64) bool {
	if l.Store == nil {
		return true
	}
	at := l.leases.held(now)
	if at == nil || !l.outlivesJournal(c, e, at, way) {
		return false
	}
	if judged || !e.Tagged() {
		c.noteSoft(soft)
		return true
	}
	known, ok := l.tags.Get(key, now.UnixNano(), tagsAge)
	if !ok || !known.isOf(e) {
		return false
	}
	held := known.held.Load()
	if held == nil || held.mark != l.Local.StampMark() || !now.Before(held.until) {
		stamps, mark, good, ok := l.Local.LocalStamps(nil, known.Keys)
		if !ok {
			return false
		}
		held = &heldStamps{stamps, mark, now.Add(min(good, tagsAge))}
		known.held.Store(held)
	}
	return c.outlivesAll(e, held.stamps)
}

// Current reports whether e, found under key at now by a policy with that way, was made
// after all hard purges that concern it, and if not, notes in c why. Of soft ones it
// notes the time in c. The stamps in c are used if c.Known is what e has; otherwise they
// are read.
func (l *Ledger) Current(ctx context.Context, c *Check, e *entry.Entry, key string, way *Way, now time.Time) bool {
	c.Soft = 0
	if l.Store == nil {
		return true
	}
	at, ok := l.leases.at(ctx, now)
	switch {
	case !ok:
		return c.gone(Failed)
	case !l.outlivesJournal(c, e, at, way):
		return false
	case !e.Tagged():
		return true
	}
	known := c.Known
	same := known.isOf(e)
	if !same {
		var tags []string
		for tag := range e.Tags {
			tags = append(tags, strings.Clone(tag))
		}
		known = l.TagSet(tags)
		l.tags.Put(key, known, now.UnixNano())
	}
	if !same || len(c.Stamps) != len(known.Keys) {
		var err error
		if c.Stamps, err = l.Store.Stamps(ctx, c.Stamps[:0], known.Keys); err != nil {
			l.Failed("reading stamps", err)
			return c.gone(Failed)
		}
	}
	return c.outlivesAll(e, c.Stamps)
}

// outlivesJournal reports whether e was made after what the journal says to have been
// purged, and after the way by which it was stored came into the journal.
func (l *Ledger) outlivesJournal(c *Check, e *entry.Entry, at *lease, way *Way) bool {
	p := at.All
	if len(at.Prefixes) > 0 {
		p = at.purgesOf(l.URLOf(e.Key), e.Tags)
	}
	if !c.outlives(e, store.Stamp{Epoch: at.epoch, Hard: p.Hard, Soft: p.Soft, SoftAt: p.At}) {
		return false
	}
	if way == nil {
		return true
	}
	if since := at.since(way); since == 0 || since > e.Stamp {
		return c.gone(Lost)
	}
	return true
}

// BeginJournal returns once there is a journal, which says what is purged from then on.
func (l *Ledger) BeginJournal(ctx context.Context) error {
	if _, ok := l.leases.at(ctx, l.Now()); !ok {
		return ErrNoJournal
	}
	return nil
}

// JournalStamp returns when the journal says that what has this primary key and tags was
// purged last, for a fill that began in that epoch.
func (l *Ledger) JournalStamp(ctx context.Context, primary string, tags []string, epoch uint64) (store.Stamp, error) {
	at, ok := l.leases.of(ctx, l.Now(), epoch)
	if !ok {
		return store.Stamp{}, ErrNoJournal
	}
	p := at.purgesOf(l.URLOf(primary), slices.Values(tags))
	return store.Stamp{Epoch: at.epoch, Hard: p.Hard, Soft: p.Soft, SoftAt: p.At}, nil
}

// TagSet returns the set of tags, in their stored form.
func (l *Ledger) TagSet(tags []string) *TagSet { return l.Keys.tagSet(tags) }

// Known returns the tags last seen under key, an empty set if they are not known.
func (l *Ledger) Known(key string, now time.Time) *TagSet {
	if l.Store != nil {
		if known, ok := l.tags.Get(key, now.UnixNano(), tagsAge); ok {
			return known
		}
	}
	return &noTags
}

// Remember notes that what is under key has these tags.
func (l *Ledger) Remember(key string, tags *TagSet) { l.tags.Put(key, tags, l.Now().UnixNano()) }

// Announced reports whether way was in the journal before that moment of the clock of
// purges, and still is.
func (l *Ledger) Announced(ctx context.Context, way *Way, epoch, seq uint64, now time.Time) bool {
	at, ok := l.leases.at(ctx, now)
	if !ok || at.epoch != epoch {
		return false
	}
	since := at.since(way)
	return since > 0 && since <= seq
}

// Announce enters a way into the journal, unless it is there or nil. That comes before
// anything is stored by it. [ErrFull] is no failure of the store.
func (l *Ledger) Announce(ctx context.Context, way *Way) error {
	if way == nil {
		return nil
	}
	if at, ok := l.leases.at(ctx, l.Now()); ok && at.since(way) > 0 {
		return nil
	}
	return l.leases.announce(ctx, way)
}

// BumpTags purges tags, in their stored form.
func (l *Ledger) BumpTags(ctx context.Context, tags []string, soft bool) error {
	_, err := l.Store.Bump(ctx, l.leases.clock, l.TagSet(tags).Keys, soft, l.micros(), clockAge)
	return err
}

// PurgePrefixes purges what is stored for URLs and all below them, or everything where
// one is empty, and waits until no process uses an older copy of the journal. It asks
// for the URLs, possibly several times, once Learn was told of all ways in the journal.
func (l *Ledger) PurgePrefixes(ctx context.Context, urls func() []string, soft bool) error {
	return l.leases.purge(ctx, urls, soft)
}

// ReadJournal reads the journal anew, so that Learn is told of all ways in it.
func (l *Ledger) ReadJournal(ctx context.Context) error {
	_, err := l.leases.renew(ctx)
	return err
}

// WaitOutLost waits, if the journal was lost a moment ago, until no process uses a copy
// of it, and with it entries stored by ways that the new journal does not have.
func (l *Ledger) WaitOutLost(ctx context.Context) error { return l.leases.waitOutLost(ctx) }
