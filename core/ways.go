package cacheaside

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
)

// A policy that leaves the host or parameters out of keys has its own way to tell URLs
// apart. Who purges a URL has to know it, in whatever process: so the ways are in the
// journal before anything is stored by them, and each purge of a URL reads that. What
// is older than the entry of its way in the journal, because that was lost, is not used.

// maxWays bounds the ways in the journal. Where there is one too many, the oldest is
// not known any more, and what was stored by it not used.
const maxWays = 64

// way is what a policy leaves out of URLs.
type way struct {
	NoHost bool     `json:"no_host,omitempty"`
	Only   bool     `json:"only,omitempty"` // Allow is not nil
	Allow  []string `json:"allow,omitempty"`
	Deny   []string `json:"deny,omitempty"`
	Since  uint64   `json:"since"` // the number by which it came into the journal
	id     uint64
}

// wayOf is nil where the policy leaves nothing out.
func wayOf(c *KeyPolicy) *way {
	if !c.IgnoreHost && c.Query.Allow == nil && len(c.Query.Deny) == 0 {
		return nil
	}
	w := &way{NoHost: c.IgnoreHost, Only: c.Query.Allow != nil, Allow: sorted(c.Query.Allow), Deny: sorted(c.Query.Deny)}
	w.identify()
	return w
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

func (w *way) identify() {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%t %t %q %q", w.NoHost, w.Only, w.Allow, w.Deny)
	w.id = h.Sum64()
}

// maker writes URLs in the way.
func (w *way) maker() keys.Maker {
	query := keys.NewSelector(nil, w.Deny)
	if w.Only {
		query = keys.NewSelector(append([]string{}, w.Allow...), nil)
	}
	return keys.NewMaker("", keys.Policy{IgnoreHost: w.NoHost, Query: query})
}

// since is when w came into the journal; 0: it is not there.
func (j *journal) since(w *way) uint64 {
	for i := range j.Ways {
		if j.Ways[i].id == w.id {
			return j.Ways[i].Since
		}
	}
	return 0
}

// announcing returns j with one more way, which has no number yet.
func (j *journal) announcing(w way) *journal {
	out := *j
	w.Since = thisPurge
	out.Ways = append(slices.Clone(j.Ways[max(0, len(j.Ways)+1-maxWays):]), w)
	return &out
}

// announced sees to it that whoever purges knows how the policy tells URLs apart.
func (c *Cache) announced(ctx context.Context) error {
	if c.way == nil {
		return nil
	}
	if at, ok := c.purges.at(ctx, c, c.cfg.Now()); ok && at.since(c.way) > 0 {
		return nil
	}
	return c.purges.announce(ctx, c)
}

// announce enters the way of c.
func (l *leases) announce(ctx context.Context, c *Cache) error {
	old, err := l.renew(ctx, c)
	for err == nil && old.since(c.way) == 0 {
		l.mu.Lock()
		era := l.era
		l.mu.Unlock()
		var read store.Journal
		from := c.cfg.Now()
		read, _, err = c.coordinator.WriteJournal(ctx, c.clock, old.read, old.announcing(*c.way).encode())
		if err != nil {
			break
		}
		if old = c.lease(read, from); old == nil { // somebody else's
			return errNoJournal
		}
		l.keep(old, era)
	}
	return err
}

// announcedIn reports whether the journal says by what way v.entry was stored.
func (v *visit) announcedIn(at *lease) bool {
	if v.c.way == nil {
		return true
	}
	since := at.since(v.c.way)
	return since > 0 && since <= v.entry.Stamp
}

// keep puts a copy into use, unless a purge of our own has come since era. It takes note
// of a journal that was lost.
func (l *leases) keep(fresh *lease, era uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != 0 && (l.epoch != fresh.epoch || l.began != fresh.read.Began) {
		l.lost = time.Now()
	}
	l.epoch, l.began = fresh.epoch, fresh.read.Began
	if l.era == era {
		l.last.Store(fresh)
	}
}

// overLost waits, where the journal was lost a moment ago, until no process uses a copy
// of the lost one, and with it what was stored by ways that the new one does not have.
func (l *leases) overLost(ctx context.Context) error {
	l.mu.Lock()
	left := journalWait - time.Since(l.lost)
	l.mu.Unlock()
	if left <= 0 {
		return nil
	}
	return sleep(ctx, left)
}
