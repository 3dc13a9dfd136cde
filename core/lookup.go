package cacheaside

import (
	"context"
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

type finding uint8

const (
	foundNothing finding = iota
	foundOtherVariants
	foundInner // a handle further in has stored it
	foundEntry
)

// nearby looks in this process for a fresh response to the request. It takes no lock, no
// deadline and no memory; whatever needs more than that goes through find.
func (v *visit) nearby() (d httprules.Decision, ok bool) {
	at := v.key.Wire
	if known, ok := v.c.variants.Get(at, v.now.UnixNano(), memoAge); ok {
		v.selecting = known
		v.scratch = known.AppendValues(v.scratch[:0], &v.req)
		v.variant = v.key.AppendVariant(v.variant[:0], v.scratch)
		at = viewOf(v.variant)
	}
	var b []byte
	var judged bool
	var soft uint64
	if v.c.judging != nil {
		b, judged, soft, ok = v.c.judging.GetJudged(at)
	} else {
		b, ok = v.c.local.GetLocal(at)
	}
	if !ok || entry.View(b, &v.entry) != nil || v.entry.Kind != entry.KindResponse || v.entry.Key != v.key.Primary ||
		!matches(&v.entry, &v.req, v.scratch) || v.withheld() != "" || !v.c.ledger.CurrentHere(&v.Check, &v.entry, at, v.c.way, v.now, judged, soft) || !v.represent() {
		return d, false
	}
	v.near = !v.c.inProcess
	d = v.decide(v.now)
	return d, d.Use != httprules.Validate
}

// find looks for what is stored, and decides what it is good for. What is stored for
// another URL it finds only where that answers as it is.
func (v *visit) find(ctx context.Context) (found finding, d httprules.Decision) {
	if v.c.searches != nil {
		if d, ok := v.lately(ctx); ok {
			return foundEntry, d
		}
	}
	switch found = v.lookup(ctx); found {
	case foundEntry:
		d = v.decide(v.now)
		v.why = v.unusable(d)
	case foundNothing, foundOtherVariants:
		if v.c.searches != nil {
			if d, ok := v.search(ctx); ok {
				return foundEntry, d
			}
		}
	}
	return found, d
}

// unusable is why the entry found cannot answer the request as it is.
func (v *visit) unusable(d httprules.Decision) observe.Cause {
	switch {
	case d.Fwd == fwdRequest:
		return observe.CauseRequest
	case d.Fwd == fwdPartial:
		return observe.CausePartial
	case v.Soft > 0 && v.age(v.now) < time.Duration(v.entry.Lifetime):
		return observe.CausePurged
	}
	return observe.CauseExpired
}

// lookup reads what is stored for the request. A hit takes one command: also
// that on a variant, while the names of its Vary are remembered.
func (v *visit) lookup(ctx context.Context) finding {
	v.why = observe.CauseCold
	// That the client has left is no failure of the store.
	if v.c.inProcess {
		ctx = context.Background()
	} else {
		l := v.c.deadlines.begin(ctx, v.c.cfg.Timeouts.Lookup)
		defer v.c.deadlines.end(l)
		ctx = l
	}
	known, ok := v.c.variants.Get(v.key.Wire, v.now.UnixNano(), memoAge)
	if ok {
		v.selecting = known
		if v.readVariant(ctx, known) {
			return v.granted()
		}
	}
	if !v.read(ctx, v.key.Wire) {
		return foundNothing
	}
	if v.entry.Kind == entry.KindResponse {
		v.c.variants.Drop(v.key.Wire)
		v.selecting = keys.Selecting{}
		if v.forThis(ctx, v.key.Wire) {
			return v.granted()
		}
		return foundNothing
	}
	v.record, v.hasRec = decodeVaryRecord(&v.entry), true
	if len(v.record.Names) == 0 {
		return foundNothing
	}
	v.selecting = v.record.Selecting
	v.c.variants.Put(v.key.Wire, v.record.Selecting, v.now.UnixNano())
	same := known.Generation == v.record.Generation && slices.Equal(known.Names, v.selecting.Names)
	if !same && v.readVariant(ctx, v.record.Selecting) {
		return v.granted()
	}
	if v.why == observe.CauseCold {
		v.why = observe.CauseVary
	}
	return foundOtherVariants
}

func (v *visit) readVariant(ctx context.Context, selecting keys.Selecting) bool {
	v.scratch = selecting.AppendValues(v.scratch[:0], &v.req)
	wire := v.key.Variant(v.scratch)
	return v.read(ctx, wire) && v.entry.Kind == entry.KindResponse && v.forThis(ctx, wire)
}

// forThis reports whether the response found under wire was selected by what the request
// has, and was not purged.
func (v *visit) forThis(ctx context.Context, wire string) bool {
	if !matches(&v.entry, &v.req, v.scratch) {
		return false
	}
	if v.c.ledger.Current(ctx, &v.Check, &v.entry, wire, v.c.way, v.now) {
		return true
	}
	v.why = v.gone()
	return false
}

// gone is why the entry found is not current.
func (v *visit) gone() observe.Cause {
	switch v.Why {
	case purges.Lost:
		return observe.CauseLost
	case purges.Failed:
		return v.c.failing()
	}
	return observe.CausePurged
}

// failing is why the store could not be asked.
func (c *Cache) failing() observe.Cause {
	if c.BreakerOpen() {
		return observe.CauseBreaker
	}
	return observe.CauseStoreError
}

// read decodes what is under a key, and reads along the stamps of the tags that
// were under it last. Whatever is not an entry of ours for this request is
// absent.
func (v *visit) read(ctx context.Context, wire string) bool {
	var b []byte
	var found bool
	var err error
	v.Stamps, v.near, v.Known = v.Stamps[:0], false, v.c.ledger.Known(wire, v.now)
	ahead := v.ahead
	switch {
	case ahead != nil && ahead.read && ahead.key == wire:
		b, found, v.Stamps, v.Known = ahead.value, ahead.found, ahead.stamps, ahead.known
	case len(v.Known.Keys) > 0: // what is near, with its stamps, was found before
		b, found, v.Stamps, err = v.c.coordinator.GetStamped(ctx, wire, v.Stamps, v.Known.Keys)
	case v.c.tiered != nil && v.c.tiered.Near():
		b, found, v.near, err = v.c.tiered.GetTier(ctx, wire)
	default:
		b, found, err = v.c.store.Get(ctx, wire)
	}
	if err != nil {
		v.why = v.c.failing()
		if !v.c.slow.note(v.key.Wire, err, v.c.cfg.Now()) {
			v.c.storeError("reading", err)
		}
		return false
	}
	if !found {
		if why := v.c.fates.why(wire, v.now); why != observe.CauseCold {
			v.why = why
		}
		return false
	}
	v.entryKey = wire
	if err := entry.Decode(b, &v.entry); err != nil || v.entry.Key != v.key.Primary ||
		!v.c.inProcess && v.entry.Kind == entry.KindResponse && !v.entry.Harmless() {
		v.c.stats.corrupt.Add(1)
		v.why = observe.CauseCorrupt
		return false
	}
	return true
}

// granted says whether the entry that was found is for this request.
func (v *visit) granted() finding {
	switch v.withheld() {
	case "":
		if v.represent() {
			return foundEntry
		}
		v.c.stats.corrupt.Add(1)
		v.why = observe.CauseCorrupt
		return foundNothing
	case adapter.ReasonInner:
		return foundInner
	case detailOrigin:
		v.why = observe.CauseVary
		return foundOtherVariants
	}
	v.why = observe.CauseRequest
	return foundNothing
}

// lookahead is what a second look has found under a key.
type lookahead struct {
	key    string
	known  *purges.TagSet
	read   bool
	value  []byte
	found  bool
	late   bool
	stamps []store.Stamp
}

// lookaheadAt says what the second look is to read: where the response would be, as far
// as is known.
func (v *visit) lookaheadAt() *lookahead {
	at := v.key.Wire
	if len(v.selecting.Names) > 0 {
		v.scratch = v.selecting.AppendValues(v.scratch[:0], &v.req)
		at = v.key.Variant(v.scratch)
	}
	return &lookahead{key: at, known: v.c.ledger.Known(at, v.c.cfg.Now())}
}

// lookAgain looks for what may have been stored since the last look, in ahead first if
// that is not nil. Where there is nothing better, v stays as it is.
func (v *visit) lookAgain(ahead *lookahead) (httprules.Decision, bool) {
	if ahead != nil && !ahead.found {
		return httprules.Decision{}, false
	}
	old, soft, had := v.entry, v.Soft, v.stale
	v.hasRec = false
	v.now = v.c.cfg.Now() // time has passed, and there may have been purges
	v.ahead = ahead
	found := v.lookup(v.x.Context())
	v.ahead = nil
	if found != foundEntry {
		v.entry, v.Soft = old, soft
		return httprules.Decision{}, false
	}
	d, ok := v.usable()
	switch {
	case ok:
	case v.lacking():
		v.lacks(d)
	case !had:
		v.stale, v.fwd, v.gap = true, d.Fwd, httprules.ByteRange{}
	}
	return d, ok
}

// usable reports whether v.entry answers the request as it is.
func (v *visit) usable() (httprules.Decision, bool) {
	d := v.decide(v.c.cfg.Now())
	return d, d.Use != httprules.Validate
}
