package cacheaside

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
)

// startWrite has content stored, as soon as the client has its answer. The result is
// why it will not be.
func (v *visit) startWrite(content entry.Content, names []string, verdict httprules.Verdict, now time.Time) (reason string) {
	w, err := v.encoded(v.x.Context(), content, names, now)
	if err != nil {
		v.c.reportError("encoding", err)
		return detailStoreFailed
	}
	v.value = w.value
	v.lifetime = verdict.Lifetime - verdict.InitialAge
	if v.observed {
		v.size = len(w.value) + len(w.record)
		w.seen = &writeSeen{v.aboutLater(w.key), now, v.lifetime}
	}
	// Otherwise each has to validate it.
	w.shareable = verdict.Store && !verdict.NoCache && verdict.Lifetime > verdict.InitialAge
	if v.c.coordinator != nil && w.claim == nil || v.c.BreakerOpen() {
		w.end(errUnclaimed) // of which the log tells
		return detailStoreFailed
	}
	v.claim = nil // the write's
	if v.c.slow.lately(w.wire, len(w.value), now) {
		w.end(store.ErrSlow)
		return detailSlowRead
	}
	if w.lead != nil {
		w.lead.Leader.writes.Store(true)
	}
	if !v.c.writes.reserve(w) {
		v.c.stats.storesDropped.Add(1)
		w.end(errDropped)
		return detailStoreBusy
	}
	w.warming = v.warming
	w.warming.begin()
	v.lead, v.write, v.kept = nil, w, true // the write's duty
	return ""
}

// encoded makes the write for content. Only the record of a variant may have to
// be read for that.
func (v *visit) encoded(ctx context.Context, content entry.Content, names []string, now time.Time) (*write, error) {
	keep := keptFor(&content, now)
	var w *write
	if f := v.fill; f != nil && f.write.c == nil {
		w = &f.write
	} else {
		w = new(write)
	}
	w.c, w.primary, w.wire, w.claim, w.tags = v.c, v.key.Primary, v.key.Wire, v.claim, content.Tags
	w.key, w.keep, w.lead, w.rerun = v.key.Wire, keep, v.lead, v.rerun
	if content.Coding == 0 {
		w.recoding, w.level = v.recoding, v.c.compression.levels[v.recoding.to]
	}
	if v.claim != nil {
		content.Epoch, content.Stamp = v.claim.since.Epoch, v.claim.since.Seq
	}
	if len(names) > 0 {
		if !v.hasRec { // the names were remembered, or nothing was there
			v.readRecord(ctx)
		}
		// A response belongs to the fields that any earlier one named as well:
		// that may miss more often but never answers wrongly.
		v.record.Names = v.c.withoutOwn(mergeNames(names, v.record.Names))
		content.Vary = selectingFields(v.record.Names, &v.req)
		v.scratch = v.record.AppendValues(v.scratch[:0], &v.req)
		w.key = v.key.Variant(v.scratch)
		w.selecting = v.record.Selecting
		w.surplus = v.record.add(variantRef{keys.DigestOf(w.key), now.Add(keep).UnixNano()}, now.UnixNano(), v.c.policy.Storing.MaxVariants)
		var err error
		if w.record, w.recordKept, err = v.record.encode(v.key.Primary, now.UnixNano()); err != nil {
			return nil, err
		}
		w.recordKept = max(w.recordKept, time.Millisecond)
	}
	if w.saying = nil; v.c.searches != nil {
		v.says(&content, w)
	}
	var err error
	w.value, err = entry.Encode(content)
	return w, err
}

// readRecord reads the resource's record, or begins one.
func (v *visit) readRecord(ctx context.Context) {
	at := v.c.deadlines.begin(ctx, v.c.cfg.Timeouts.Lookup)
	defer v.c.deadlines.end(at)
	var e entry.Entry
	b, found, err := v.c.store.Get(at, v.key.Wire)
	if err == nil && found && entry.Decode(b, &e) == nil && e.Kind == entry.KindVary && e.Key == v.key.Primary {
		v.record = decodeVaryRecord(&e)
	} else {
		v.beginRecord()
	}
	v.hasRec = true
}

// beginRecord is for a resource that has none.
func (v *visit) beginRecord() {
	v.record, v.hasRec = varyRecord{Selecting: keys.Selecting{Generation: rand.Uint64()}}, true
}
