package purges

import (
	"context"
	"time"
)

// purge enters purges of prefixes into the journal, of everything where one is empty,
// and waits until no process uses an older copy. It asks for the prefixes once all ways
// in the journal are known.
func (l *leases) purge(ctx context.Context, prefixes func() []string, soft bool) error {
	old := l.last.Load() // with a good copy one script is enough
	for {                // until no other write comes between
		if old == nil {
			var err error
			if old, err = l.renew(ctx); err != nil {
				return err
			}
		}
		next := old.journal
		for _, url := range prefixes() {
			next = next.withPurge(url, soft, l.micros())
		}
		stored, written, err := l.Store.WriteJournal(ctx, l.clock, old.stored, next.encode())
		if err != nil {
			return err
		}
		if written {
			break
		}
		old = l.decode(stored, l.Now())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	l.expire()
	if l.Alone {
		return nil
	}
	return sleep(ctx, JournalWait)
}

// announce enters a way into the journal, unless it is there. It fails with ErrFull where
// there is no room for it.
func (l *leases) announce(ctx context.Context, w *Way) error {
	old, err := l.renew(ctx)
	if err != nil {
		return err
	}
	for old.since(w) == 0 {
		if old.full(w) {
			return ErrFull
		}
		expiries, from := l.expired(), l.Now()
		stored, _, err := l.Store.WriteJournal(ctx, l.clock, old.stored, old.withWay(*w).encode())
		if err != nil {
			return err
		}
		if old = l.decode(stored, from); old == nil { // somebody else's
			return ErrNoJournal
		}
		l.keep(old, expiries)
	}
	return nil
}

// waitOutLost waits, if the journal was lost a moment ago, until no process uses a copy
// of it, and with it entries stored by ways that the new journal does not have.
func (l *leases) waitOutLost(ctx context.Context) error {
	l.mu.Lock()
	left := JournalWait - time.Since(l.lost)
	l.mu.Unlock()
	if left <= 0 {
		return nil
	}
	return sleep(ctx, left)
}

// sleep waits for d, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
