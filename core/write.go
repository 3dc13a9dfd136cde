package cacheaside

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// What is stored is complete, and needs nothing of the request any more, before
// the client has its answer; the writing itself is done beside it, by a write.

var (
	// errPurged says that a response was purged before it was stored.
	errPurged = errors.New("purged meanwhile")
	// errPersonal says that what went out is for one client, as middleware in front
	// of the cache has made it.
	errPersonal = errors.New("not for others as it went out")
	// errContended says that another response was stored first, by a token that was
	// there already.
	errContended = errors.New("another response was stored first")
	// errUnclaimed says that the store failed when the handler was called.
	errUnclaimed = errors.New("nothing could be claimed")
	// errDropped says that there was no room, or no time any more.
	errDropped = errors.New("given up before it was written")
)

// write is what is left to do for a response: an entry for the store, under the
// primary key, or as a variant where the response names request fields, together
// with the record that leads to it. It points to nothing of a visit.
type write struct {
	c        *Cache
	primary  string
	wire     string // the primary key's
	claim    *claim // nil: the store orders nothing
	tags     []string
	key      string // of value
	value    []byte
	keep     time.Duration
	recoding recoding // of the body, before it is written
	level    int
	// Of a variant:
	record     []byte
	recordKept time.Duration
	selecting  keys.Selecting
	surplus    []string // variants that are one too many
	lead       *inFlight
	shareable  bool    // with those who wait for lead
	saying     *saying // of its No-Vary-Search; nil: it has none
	stored     bool    // it is in the store
	outdated   bool    // softly purged since the handler was called
	rerun      *rerun
	post       *fill       // of the POST whose response it is; nil: of none
	begun      atomic.Bool // it has been started or given up
	seen       *writeSeen  // nil: nobody observes
	warming    *warming    // nil: it is for no warm-up
	values     [2]store.Value
	size       int64         // that is reserved
	done       chan struct{} // made by the first who waits, with the mutex of writes
}

// leaving begins the write when the response goes out and can change no more, unless
// what goes out is for one client: middleware in front may have made it so as the header
// was written. Only a store in this process is written to at once; else nobody waits.
func (w *write) leaving(sent adapter.Header) {
	if !w.begun.CompareAndSwap(false, true) {
		return
	}
	switch {
	case w.personal(sent):
		w.c.writes.over(w)
		w.end(errPersonal)
	case w.c.inProcess && w.recoding.to == coding.Identity || w.rerun != nil:
		if w.Run(context.Background(), nil); w.rerun != nil && w.stored {
			w.rerun.done.Store(true)
		}
	default:
		w.c.writes.submit(w)
	}
}

// personal reports whether a response is for one client (RFC 9111 section 3).
func (w *write) personal(sent adapter.Header) bool {
	if !w.c.policy.Storing.SetCookie && len(sent.Values("Set-Cookie")) > 0 {
		return true
	}
	control := httprules.ParseResponseControl(sent, w.c.targets)
	return control.Private || control.NoStore && !control.MustUnderstand
}

// replied is called when Reply has returned. A framework that sends later calls leaving
// soon, or never, where middleware in front has put another response in its place.
func (w *write) replied(sent bool) {
	switch {
	case w.begun.Load():
	case !sent:
		w.abandon()
	default: // its claim is good for no longer
		time.AfterFunc(maxHold, w.abandon)
	}
}

// abandon gives the write up if it has not begun.
func (w *write) abandon() {
	if w.begun.CompareAndSwap(false, true) {
		w.c.writes.over(w)
		w.end(errDropped)
	}
}

// Run implements [jobs.Job].
func (w *write) Run(context.Context, func()) {
	defer w.c.writes.over(w)
	w.recode()
	if w.store() == nil && w.saying != nil {
		w.c.note(w.saying)
	}
}

// recode brings the body into the coding in which it is stored. One that does not become
// shorter stays as it is; so does one that the handler has coded in a way that cannot be
// read.
func (w *write) recode() {
	var e entry.Entry
	if w.recoding.to == coding.Identity || entry.View(w.value, &e) != nil || len(e.Body) == 0 {
		return
	}
	if w.recoding.own {
		defer w.c.derived.place()()
		if size, err := coding.Size(w.recoding.to, e.Body, uint64(w.c.policy.Storing.MaxBytes)); err == nil {
			w.value = entry.Recode(w.value, &e, uint8(w.recoding.to), size, e.Flags|entry.OwnCoding, e.Body)
		}
		return
	}
	coded, err := w.c.derived.encode(w.recoding.to, w.level, e.Body)
	if err == nil && len(coded) < len(e.Body) {
		w.value = entry.Recode(w.value, &e, uint8(w.recoding.to), uint64(len(e.Body)), e.Flags, coded)
	}
}

// Dropped is called when the cache has been closed and may not wait any longer.
func (w *write) Dropped() {
	defer w.c.writes.over(w)
	w.c.stats.storesDropped.Add(1)
	w.end(errDropped)
}

// store writes it, within Timeouts.Write, unless something was purged meanwhile,
// and tells those who wait. The handler's answer is complete: that the client
// has left is no reason to lose it.
func (w *write) store() (err error) {
	c := w.c
	ctx := context.Background()
	if !c.inProcess {
		at := c.deadlines.begin(ctx, c.cfg.Timeouts.Write+store.TransferTime(len(w.value)))
		defer c.deadlines.end(at)
		ctx = at
	}
	phase := 0
	if w.lead != nil {
		phase = w.lead.Advance()
	}
	defer func() {
		if err == nil && w.lead != nil && !w.outdated { // nothing was purged until the phase began
			w.lead.ValidBefore(phase)
		}
		if err == nil {
			w.stored = true
			c.stats.stores.Add(1)
			w.remember()
		}
		w.end(err)
	}()
	if err := w.put(ctx); err != nil {
		return err
	}
	if c.searches != nil {
		c.searches.others.Drop(w.wire)
	}
	if w.record == nil {
		c.variants.Drop(w.wire)
		return nil
	}
	c.variants.Put(w.wire, w.selecting, c.cfg.Now().UnixNano())
	var surplus []string
	for _, d := range w.surplus {
		if keys.IsDigest(d) {
			surplus = append(surplus, keys.WithDigest(w.wire, d))
			c.fates.forget(keys.WithDigest(w.wire, d))
		}
	}
	if len(surplus) > 0 {
		if err := c.store.Delete(ctx, surplus...); err != nil {
			c.storeError("deleting variants", err)
		}
	}
	return nil
}

// remember notes what is in the store now, and until when.
func (w *write) remember() {
	now := w.c.cfg.Now()
	w.c.fates.set(w.key, now.Add(w.keep))
	if w.record != nil {
		w.c.fates.set(w.wire, now.Add(w.recordKept))
	}
}

// put writes the values, if nothing of them was purged since the handler was called. A
// variant is written before the record that leads to it. Two processes doing so at once
// may lose one another's note of a variant; it then expires by itself.
func (w *write) put(ctx context.Context) error {
	c := w.c
	w.values[0] = store.Value{Key: w.key, Data: w.value, TTL: w.keep}
	values := w.values[:1]
	if w.record != nil {
		values = append(values, store.Value{Key: w.wire, Data: w.record, TTL: w.recordKept})
	}
	if c.coordinator == nil {
		for _, v := range values {
			if err := c.store.Set(ctx, v.Key, v.Data, v.TTL); err != nil {
				return w.failed(err)
			}
		}
		return nil
	}
	wide, err := c.ledger.JournalStamp(ctx, w.primary, w.tags, w.claim.since.Epoch)
	if err != nil {
		return err
	}
	if wide.Epoch != w.claim.since.Epoch || wide.Hard > w.claim.since.Seq {
		return errPurged
	}
	known := c.ledger.TagSet(w.tags)
	written, err := c.coordinator.Write(ctx, store.Write{
		Lock: w.claim.lock, Token: w.claim.token, Since: w.claim.since, Clock: c.clock, Stamps: known.Keys, Values: values,
	})
	switch {
	case err != nil:
		return w.failed(err)
	case written.Stored:
		c.claims.used(w.claim)
	case w.claim.token != "" && (!w.claim.own || c.claims.live.used(w.claim.token)):
		return errContended
	default:
		return errPurged
	}
	if written.Purged {
		return errPurged
	}
	w.outdated = written.Outdated || wide.Soft > w.claim.since.Seq
	if len(w.tags) > 0 && c.judging == nil { // who judges needs no keys
		c.ledger.Remember(w.key, known)
	}
	return nil
}

// failed takes note of why the store has not taken the write.
func (w *write) failed(err error) error {
	if !w.c.slow.note(w.wire, err, w.c.cfg.Now()) {
		w.c.storeError("writing", err)
	}
	return err
}

// end tells those who wait how the write ended. A response that could not be stored is
// still good for whoever came before the handler was called.
func (w *write) end(err error) {
	defer w.forget()
	if w.post != nil {
		posting.CompareAndDelete(w.wire, w.post)
	}
	if w.seen != nil {
		w.tell(err)
	}
	w.warming.written(err)
	switch {
	case errors.Is(err, errPurged):
		w.c.stats.overtaken.Add(1)
	case errors.Is(err, errContended):
		w.c.stats.contended.Add(1)
	}
	defer w.c.claims.release(w.claim, false) // where w.lead has none, or another one
	if w.lead == nil {
		return
	}
	outcome, e := flight.Retry, entry.Entry{} // nobody waits; who comes now, looks
	switch {
	case errors.Is(err, errPurged), errors.Is(err, errContended):
	case errors.Is(err, errPersonal), !w.shareable:
		outcome = flight.Pass
	case w.lead.Waiting() > 0 && entry.Decode(w.value, &e) == nil:
		outcome = flight.Shared
	}
	w.c.end(w.lead, outcome, &e)
}

// writeSeen is what the event of a write tells, and nothing else needs.
type writeSeen struct {
	about
	made     time.Time
	lifetime time.Duration
}

// tell tells the observer what became of the write.
func (w *write) tell(err error) {
	w.c.tellOf(observe.KindStore, func(e *observe.Event) {
		w.seen.of(e)
		e.Time, e.Total, e.TTL = w.seen.made, w.c.cfg.Now().Sub(w.seen.made), w.seen.lifetime
		e.StoredBytes, e.Err = int64(len(w.value)+len(w.record)), err
		if w.claim != nil {
			e.FlightID = strings.TrimPrefix(w.claim.token, freeStart)
		}
		switch {
		case err == nil:
			e.Outcome = observe.OutcomeOK
		case errors.Is(err, errPurged):
			e.Outcome = observe.OutcomePurged
		case errors.Is(err, errContended):
			e.Outcome = observe.OutcomeContended
		case errors.Is(err, errDropped), errors.Is(err, errPersonal), errors.Is(err, store.ErrSlow):
			e.Outcome = observe.OutcomeDropped
		case errors.Is(err, store.ErrRefused):
			e.Outcome = observe.OutcomeRefused
		default:
			e.Outcome = observe.OutcomeError
		}
	})
}

// forget lets go of what is large: a handler may keep the memory that w is part of.
func (w *write) forget() { w.value, w.record, w.values = nil, nil, [2]store.Value{} }
