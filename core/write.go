package cacheaside

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
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
)

// write is what is left to do for a response: an entry for the store, under the
// primary key, or as a variant where the response names request fields, together
// with the record that leads to it. It points to nothing of a visit.
type write struct {
	c       *Cache
	primary string
	wire    string // the primary key's
	claim   *claim // nil: the store orders nothing
	tags    []string
	at      string // the key of value
	value   []byte
	keep    time.Duration
	// Of a variant:
	record     []byte
	recordKept time.Duration
	choice     keys.Selecting
	surplus    []string // variants that are one too many
	lead       *lead
	shareable  bool // with those who wait for lead
	stored     bool // it is in the store
	outdated   bool // softly purged since the handler was called
	rerun      *rerun
	begun      atomic.Bool // it has been started or given up
	values     [2]store.Value
	size       int64         // that is reserved
	done       chan struct{} // made by the first who waits, with the mutex of writes
}

// send has content stored, as soon as the client has its answer. The result is
// why it will not be.
func (c *Cache) send(x adapter.Exchange, v *visit, content entry.Content, names []string, verdict httprules.Verdict, now time.Time) (reason string) {
	w, err := c.prepared(x.Context(), v, content, names, now)
	if err != nil {
		c.trouble("encoding", err)
		c.conclude(v.lead, flight.Retry, nil)
		return "store-failed"
	}
	v.value = w.value
	// Otherwise each has to validate it.
	w.shareable = verdict.Store && !verdict.NoCache && verdict.Lifetime > verdict.InitialAge
	if c.coordinator != nil && w.claim == nil || c.BreakerOpen() {
		w.end(errUnclaimed) // of which the log tells
		return "store-failed"
	}
	v.claim = nil // the write's
	if c.slowLately(w.wire, len(w.value), now) {
		w.end(store.ErrSlow)
		return "slow-read"
	}
	if w.lead != nil {
		w.lead.Lead.writes.Store(true)
	}
	if !c.writes.reserve(w) {
		c.stats.storesDropped.Add(1)
		w.end(errUnclaimed)
		return "store-busy"
	}
	v.lead, v.write = nil, w // the write's duty
	return ""
}

// leaving begins the write when its response can be changed no more, unless what
// the client sees is for nobody else: middleware in front may have made it so as
// the header was written. It keeps nobody waiting but for a store in this process.
func (w *write) leaving(sent adapter.Header) {
	if !w.begun.CompareAndSwap(false, true) {
		return
	}
	switch {
	case w.personal(sent):
		w.c.writes.over(w)
		w.end(errPersonal)
	case w.c.inProcess || w.rerun != nil:
		if w.run(context.Background(), nil); w.rerun != nil && w.stored {
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

// replied is called when Reply has returned. Where the framework sends the response
// later, it leaves soon, or somebody in front has put another one in its place.
func (w *write) replied(sent bool) {
	switch {
	case w.begun.Load():
	case !sent:
		w.abandon()
	default: // no longer than what it made for it is good for
		time.AfterFunc(maxHold, w.abandon)
	}
}

// abandon gives the write up, if it has not begun.
func (w *write) abandon() {
	if w.begun.CompareAndSwap(false, true) {
		w.c.writes.over(w)
		w.end(errUnclaimed)
	}
}

// prepared makes the write for content. Only the record of a variant may have to
// be read for that.
func (c *Cache) prepared(ctx context.Context, v *visit, content entry.Content, names []string, now time.Time) (*write, error) {
	keep := keptFor(&content, now)
	var w *write
	if f := v.fill; f != nil && f.write.c == nil {
		w = &f.write
	} else {
		w = new(write)
	}
	w.c, w.primary, w.wire, w.claim, w.tags = c, v.key.Primary, v.key.Wire, v.claim, content.Tags
	w.at, w.keep, w.lead, w.rerun = v.key.Wire, keep, v.lead, v.rerun
	if v.claim != nil {
		content.Epoch, content.Stamp = v.claim.since.Epoch, v.claim.since.Seq
	}
	if len(names) > 0 {
		if !v.hasRec { // the names were remembered, or nothing was there
			c.readRecord(ctx, v)
		}
		// A response belongs to the fields that any earlier one named as well:
		// that may miss more often but never answers wrongly.
		v.record.Names = mergeNames(names, v.record.Names)
		content.Vary = selectingFields(v.record.Names, &v.req)
		v.scratch = v.record.AppendValues(v.scratch[:0], &v.req)
		w.at = v.key.Variant(v.scratch)
		w.choice = v.record.Selecting
		w.surplus = v.record.add(variantRef{keys.DigestOf(w.at), now.Add(keep).UnixNano()}, now.UnixNano(), c.policy.Storing.MaxVariants)
		var err error
		if w.record, w.recordKept, err = v.record.encode(v.key.Primary, now.UnixNano()); err != nil {
			return nil, err
		}
		w.recordKept = max(w.recordKept, time.Millisecond)
	}
	var err error
	w.value, err = entry.Encode(content)
	return w, err
}

// keptFor is how long an entry stays in the store: as long as it may be used.
func keptFor(content *entry.Content, now time.Time) time.Duration {
	fresh := max(0, time.Duration(content.Born+content.Lifetime-now.UnixNano()))
	keep := fresh + time.Duration(max(content.SWR, content.SIE))
	for _, f := range content.Header {
		if f.Name == "Etag" || f.Name == "Last-Modified" {
			keep = max(keep, fresh+staleKept(time.Duration(content.Lifetime)))
			break
		}
	}
	return max(keep, time.Millisecond)
}

// staleKept is how long an entry with a validator stays beyond its freshness,
// so that it can be validated instead of fetched anew.
func staleKept(lifetime time.Duration) time.Duration {
	return min(max(lifetime, time.Minute), time.Hour)
}

// readRecord reads the resource's record, or begins one.
func (c *Cache) readRecord(ctx context.Context, v *visit) {
	at := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
	defer c.deadlines.end(at)
	var e entry.Entry
	b, found, err := c.store.Get(at, v.key.Wire)
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

func (w *write) run(context.Context, func()) {
	defer w.c.writes.over(w)
	_ = w.store()
}

// dropped is called when the cache has been closed and may not wait any longer.
func (w *write) dropped() {
	defer w.c.writes.over(w)
	w.c.stats.storesDropped.Add(1)
	w.end(errUnclaimed)
}

// store writes it, within StoreTimeout, unless something was purged meanwhile,
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
			w.lead.Vouch(phase)
		}
		if err == nil {
			w.stored = true
			c.stats.stores.Add(1)
		}
		w.end(err)
	}()
	if err := w.put(ctx); err != nil {
		return err
	}
	if w.record == nil {
		c.variants.drop(w.wire)
		return nil
	}
	c.variants.put(w.wire, w.choice, c.cfg.Now().UnixNano())
	var surplus []string
	for _, d := range w.surplus {
		if keys.IsDigest(d) {
			surplus = append(surplus, keys.WithDigest(w.wire, d))
		}
	}
	if len(surplus) > 0 {
		if err := c.store.Delete(ctx, surplus...); err != nil {
			c.storeTrouble("deleting variants", err)
		}
	}
	return nil
}

// put writes the values, if nothing of them was purged since the handler was called. A
// variant is written before the record that leads to it. Two processes doing so at once
// may lose one another's note of a variant; it then expires by itself.
func (w *write) put(ctx context.Context) error {
	c := w.c
	w.values[0] = store.Value{Key: w.at, Data: w.value, TTL: w.keep}
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
	at, ok := c.purges.at(ctx, c, c.cfg.Now())
	if !ok {
		return errNoJournal
	}
	wide := at.about(w.primary, w.tags)
	if at.epoch != w.claim.since.Epoch || wide.Hard > w.claim.since.Seq {
		return errPurged
	}
	known := c.tagged(w.tags)
	written, err := c.coordinator.Write(ctx, store.Write{
		Lock: w.claim.lock, Token: w.claim.token, Since: w.claim.since, Clock: c.clock, Stamps: known.keys, Values: values,
	})
	switch {
	case err != nil:
		return w.failed(err)
	case written.Stored:
		c.used(w.claim)
	case w.claim.token != "" && (!w.claim.own || c.live.used(w.claim.token)):
		return errContended
	default:
		return errPurged
	}
	if written.Purged {
		return errPurged
	}
	w.outdated = written.Outdated || wide.Soft > w.claim.since.Seq
	if len(w.tags) > 0 && c.judging == nil { // who judges needs no keys
		c.tagMemo.put(w.at, known, c.cfg.Now().UnixNano())
	}
	return nil
}

// failed takes note of why the store has not taken the write.
func (w *write) failed(err error) error {
	if !w.c.slow(w.wire, err) {
		w.c.storeTrouble("writing", err)
	}
	return err
}

// end tells those who wait how it ended. What could not be stored is still good
// for who came before the handler was called.
func (w *write) end(err error) {
	defer w.forget()
	switch {
	case errors.Is(err, errPurged):
		w.c.stats.overtaken.Add(1)
	case errors.Is(err, errContended):
		w.c.stats.contended.Add(1)
	}
	defer w.c.release(w.claim, false) // where w.lead has none, or another one
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

// forget lets go of what is large: a handler may keep the memory that w is part of.
func (w *write) forget() { w.value, w.record, w.values = nil, nil, [2]store.Value{} }

// maxWriters bounds the writes that are in the hands of the store at a time.
const maxWriters = 64

// writes are those under way: a bounded number of bytes.
type writes struct {
	jobs    *background
	limit   int64 // of bytes
	mu      sync.Mutex
	pending map[string]*write // by the primary key, the latest one
	all     map[*write]struct{}
	bytes   int64
	ended   atomic.Uint64
	last    [writeSlots]atomic.Uint64 // by key: ended, as the last write left it
}

// writeSlots is how many keys apart wait can tell writes that have just ended.
const writeSlots = 1024

func newWrites(limit int64) *writes {
	jobs := newBackground(maxWriters, math.MaxInt)
	jobs.drains = true
	return &writes{
		jobs: jobs, limit: limit,
		pending: map[string]*write{}, all: map[*write]struct{}{},
	}
}

// reserve reports whether there is room for w, which is then waited for. One that
// is larger than all that there may be gets its turn when there is nothing else. A
// store in this process has the room already.
func (q *writes) reserve(w *write) bool {
	w.size = int64(len(w.value) + len(w.record))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > 0 && q.bytes+w.size > q.limit && !w.c.inProcess {
		return false
	}
	q.bytes += w.size
	q.pending[w.wire] = w
	q.all[w] = struct{}{}
	return true
}

// submit has a write done for which there is room.
func (q *writes) submit(w *write) {
	if !q.jobs.submit(w) { // closed: nobody would wait for it
		w.run(context.Background(), nil)
	}
}

func (q *writes) over(w *write) {
	q.last[q.slot(w.wire)].Store(q.ended.Add(1))
	q.mu.Lock()
	q.bytes -= w.size
	if q.pending[w.wire] == w {
		delete(q.pending, w.wire)
	}
	delete(q.all, w)
	if w.done != nil {
		close(w.done)
	}
	q.mu.Unlock()
}

// ends is closed when w is over. It needs the mutex, and w among all.
func (w *write) ends() <-chan struct{} {
	if w.done == nil {
		w.done = make(chan struct{})
	}
	return w.done
}

func (q *writes) slot(wire string) uint64 { return maphash.String(memoSeed, wire) % writeSlots }

// wait waits for a write under way of what is under a primary key, and reports
// whether there was one that has ended in time, or probably one since ended was
// mark: then it is worth while to look again.
func (q *writes) wait(ctx context.Context, wire string, mark uint64, timeout time.Duration) bool {
	q.mu.Lock()
	w := q.pending[wire]
	if w == nil {
		q.mu.Unlock()
		return q.last[q.slot(wire)].Load() > mark
	}
	done := w.ends()
	q.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Flush waits until the responses that are on their way to the store when it is
// called have arrived there, or failed to. It returns the error of ctx if that
// ends first. A request never needs it: one for what is on its way waits for that.
func (c *Cache) Flush(ctx context.Context) error {
	c.writes.mu.Lock()
	all := make([]<-chan struct{}, 0, len(c.writes.all))
	for w := range c.writes.all {
		all = append(all, w.ends())
	}
	c.writes.mu.Unlock()
	for _, done := range all {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
