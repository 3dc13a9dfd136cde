package cacheaside

import (
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
)

// Serve answers one request: from the store where the rules allow it, else by
// running the handler, whose response it stores where the rules allow that. It
// is what adapters call. The error is the framework's or the client
// connection's own; trouble of the store never becomes one.
func (c *Cache) Serve(x adapter.Exchange) error {
	v := visits.Get().(*visit)
	defer v.release()
	req := &v.req
	v.header, v.asked = req.Enter(x.Request())
	v.depth, v.rerun = c.nest(req), engineRerun(req.Rerun)
	if fwd, detail := c.bypass(req, v.asked); fwd != "" {
		return c.pass(x, v, fwd, detail)
	}
	var ok bool
	if v.key, v.wire, ok = c.keys.View(v.wire, req); !ok {
		return c.pass(x, v, "bypass", "key-too-long")
	}
	if v.asked&keys.AskedDirected != 0 && !c.policy.Requests.IgnoreDirectives && req.Rerun == nil {
		v.control = httprules.ParseRequestControl(v.header)
	}

	v.now = c.cfg.Now()
	if c.local != nil && req.Rerun == nil {
		if d, ok := c.nearby(v); ok {
			if c.policy.Stale.RefreshAhead > 0 && c.early(v) {
				v.key = c.keys.Own(v.key)
				c.refresh(x, v)
			}
			return c.hit(x, v, d)
		}
		v.entry, v.by, v.soft = entry.Entry{}, keys.Selecting{}, 0
	}
	v.key, v.epoch = c.keys.Own(v.key), c.flights.Ended()
	if r := v.rerun; r != nil && r.by.shared == c.shared {
		return c.serveRerun(x, v)
	} else if req.Rerun != nil && (r == nil || !servedBy(req, r.by.shared)) { // meant for another cache further in
		return c.passRerun(x, v)
	}
	mark := c.writes.ended.Load()
	found, d := c.find(x.Context(), v)
	if (found != foundEntry || d.Use == httprules.Validate) && c.writes.wait(x.Context(), v.key.Wire, mark, c.cfg.Timeouts.Lookup) {
		found, d = c.find(x.Context(), v)
	}
	switch {
	case found == foundInner && c.leavesToInner(v):
		return c.passInner(x, v)
	case found == foundOtherVariants:
		v.fwd = "vary-miss"
		return c.miss(x, v)
	case found != foundEntry:
		v.fwd = "miss"
		return c.miss(x, v)
	}
	if d.Use != httprules.Validate {
		if c.policy.Stale.RefreshAhead > 0 && c.early(v) {
			c.refresh(x, v)
		}
		return c.hit(x, v, d)
	}
	v.fwd = d.Fwd
	return c.revalidate(x, v, d)
}

// nearby looks in this process for a response that answers the request as it is. It
// takes no lock, no deadline and no memory: what else there is to do takes the long
// way.
func (c *Cache) nearby(v *visit) (d httprules.Decision, ok bool) {
	at := v.key.Wire
	if known, ok := c.variants.get(at, v.now.UnixNano(), memoAge); ok {
		v.by = known
		v.scratch = known.AppendValues(v.scratch[:0], &v.req)
		v.variant = v.key.AppendVariant(v.variant[:0], v.scratch)
		at = viewOf(v.variant)
	}
	var b []byte
	var judged bool
	var soft uint64
	if c.judging != nil {
		b, judged, soft, ok = c.judging.GetJudged(at)
	} else {
		b, ok = c.local.GetLocal(at)
	}
	if !ok || entry.View(b, &v.entry) != nil || v.entry.Kind != entry.KindResponse || v.entry.Key != v.key.Primary ||
		!matches(&v.entry, &v.req, v.scratch) || c.withheld(v) != "" || !c.stillCurrent(v, at, judged, soft) {
		return d, false
	}
	v.near = !c.inProcess
	d = v.decide(v.now)
	return d, d.Use != httprules.Validate
}

// find looks for what is stored, and decides what it is good for.
func (c *Cache) find(ctx context.Context, v *visit) (found finding, d httprules.Decision) {
	if found = c.lookup(ctx, v); found == foundEntry {
		d = v.decide(v.now)
	}
	return found, d
}

// bypass says, as a token for Cache-Status, why the cache has nothing to do
// with a request; "" where it has.
func (c *Cache) bypass(req *keys.Request, asked keys.Asked) (fwd, detail string) {
	switch {
	case req.Bypass != "":
		return "bypass", req.Bypass
	case c.policy.Skip != nil && c.policy.Skip(&req.Request):
		return "bypass", "skip"
	}
	switch req.Method {
	case http.MethodGet:
		if !c.answers[0] {
			return "bypass", "method"
		}
	case http.MethodHead:
		if !c.answers[1] {
			return "bypass", "method"
		}
	default:
		return "method", ""
	}
	switch {
	case req.HasBody, asked&keys.AskedChunked != 0: // the key cannot tell two bodies apart
		return "bypass", "request-body"
	case req.Upgrade, asked&keys.AskedUpgrade != 0:
		return "bypass", "upgrade"
	case asked&keys.AskedPrecondition != 0:
		return "bypass", "precondition"
	case asked&keys.AskedOverride != 0:
		return "bypass", "override"
	}
	return "", ""
}

// pass runs the handler with its response going straight to the client. Of two
// handles that a request passes, the one nearest to the handler tells of it, and
// does what there is to do.
func (c *Cache) pass(x adapter.Exchange, v *visit, fwd, detail string) error {
	run := c.onward(&v.req, v.depth)
	defer func() {
		if !run.dealtWith() {
			c.stats.bypasses.Add(1)
		}
	}()
	note := annotate(run, httprules.CacheStatus{Fwd: fwd, Detail: detail})
	if fwd == "method" && !safe(v.req.Method) {
		note = c.invalidating(x, v, run, note)
	}
	return c.letPass(x, run, note)
}

// annotate gives the Cache-Status field for a response that is not replied by
// the engine, unless a handle further in has said what there is to say.
func annotate(run *run, s httprules.CacheStatus) func(int, adapter.Header, string) adapter.Fields {
	return func(_ int, _ adapter.Header, reason string) adapter.Fields { return noted(run, s, reason) }
}

func noted(run *run, s httprules.CacheStatus, reason string) adapter.Fields {
	if run.dealtWith() {
		return nil
	}
	if reason != "" {
		s.Detail = reason
	}
	return adapter.Fields{{Name: "Cache-Status", Value: statusValue(s), Op: adapter.OpAdd}}
}

// shownKey is the key for Cache-Status, where the policy shows it.
func (c *Cache) shownKey(v *visit) string {
	if c.policy.Requests.ShowKey == nil || !c.policy.Requests.ShowKey(&v.req.Request) {
		return ""
	}
	return v.key.Wire
}

func statusValue(s httprules.CacheStatus) string {
	return string(appendStatus(make([]byte, 0, 64), s))
}

func appendStatus(b []byte, s httprules.CacheStatus) []byte {
	s.Name = "cacheaside"
	return s.Append(b)
}

// visit is the state of one request on its way through the engine. It is
// pooled: nothing that outlives Serve may point into it.
type visit struct {
	visitState
	visitRoom
}

// visitRoom is memory that the next visit uses again.
type visitRoom struct {
	wire    []byte                     // where key is, until it is owned
	variant []byte                     // of a variant's key
	scratch []byte                     // for other keys and values
	fields  []adapter.Field            // the reply's fields
	stamps  []store.Stamp              // of known
	stored  []entry.Field              // the fields of an entry
	date    [len(http.TimeFormat)]byte // among them
	settle  func(status int, h adapter.Header) bool
}

type visitState struct {
	req     keys.Request
	rerun   *rerun         // by which the engine has made the request; nil: it has not
	header  adapter.Header // of req
	asked   keys.Asked     // by header
	depth   uint8          // handles of the same cache in front
	inner   bool           // a handle further in has dealt with the request
	counter *atomic.Uint64 // to be counted in, see count
	control httprules.RequestControl
	now     time.Time // when the request came
	key     keys.Key
	fwd     string         // why the handler is asked, for Cache-Status
	stale   bool           // an entry was found that may not be used as it is
	entry   entry.Entry    // what was found
	at      string         // its key in the store
	by      keys.Selecting // the resource's Vary names, if known
	record  varyRecord     // valid if hasRec
	hasRec  bool           // it is known whether the primary key holds one
	epoch   uint64         // flights that had ended when the request came
	soft    uint64         // when a purge has made the entry stale, in microseconds since 1970; 0: none has
	known   *tagged        // the tags that were last seen under the entry's key
	claim   *claim         // by which the response may be stored; nil: by none
	begun   bool           // one was asked for
	leaves  bool           // storing was left to a handle further in
	passes  bool           // the handler's response is not for others
	ahead   *lookahead     // what was read of the store before
	near    bool           // the entry was in this process
	run     *run           // of the handler; nil: it was not called
	fill    *fill          // has run
	lead    *lead          // whom others wait for; nil: nobody waits
	value   []byte         // what was written to the store
	write   *write         // that goes when the response does; nil: none
	own     adapter.Fields // what a 304 says to this client alone
	// candidates are variants for other requests that the handler may select.
	candidates []entry.Entry
	extra      [2]adapter.Field // Age and Cache-Status
	reply      adapter.Response // on its way to the adapter
	began      time.Time        // when the handler was called
	failure    int              // the status with which the handler has failed
	handle     *Cache           // for settle
}

var visits = sync.Pool{New: func() any { return new(visit) }}

func (v *visit) release() {
	if v.write != nil { // nothing was sent
		v.write.abandon()
	}
	clear(v.fields)
	clear(v.stored)
	if cap(v.scratch)+cap(v.wire) > 16<<10 {
		v.scratch, v.wire = nil, nil
	}
	v.fields, v.stored, v.stamps = v.fields[:0], v.stored[:0], v.stamps[:0]
	v.scratch, v.wire, v.variant = v.scratch[:0], v.wire[:0], v.variant[:0]
	v.visitState = visitState{}
	visits.Put(v)
}

func (v *visit) rules() httprules.Stored {
	return httprules.Stored{
		Lifetime:             time.Duration(v.entry.Lifetime),
		StaleWhileRevalidate: time.Duration(v.entry.SWR),
		StaleIfError:         time.Duration(v.entry.SIE),
		StatedStale:          v.entry.Flags&entry.StatedStale != 0,
		NoCache:              v.entry.Flags&entry.NoCache != 0,
		MustRevalidate:       v.entry.Flags&entry.MustRevalidate != 0,
	}
}

// softGrace is how long at least a softly purged response may be served while
// it is being revalidated.
const softGrace = time.Minute

// decide says what v.entry is good for. A soft purge has ended its freshness.
func (v *visit) decide(now time.Time) httprules.Decision {
	rules, age := v.rules(), v.age(now)
	if v.soft > 0 {
		at := min(age, time.Duration(time.UnixMicro(int64(min(v.soft, math.MaxInt64/1000))).UnixNano()-v.entry.Born))
		if at < rules.Lifetime { // what was stale already is of no more use than before
			rules.StaleWhileRevalidate = max(rules.StaleWhileRevalidate, softGrace)
		}
		rules.Lifetime = max(0, min(rules.Lifetime, at))
	}
	return httprules.Decide(rules, age, v.control)
}

// age is current_age by RFC 9111 section 4.2.3. An entry of the future was made by a
// machine whose clock is ahead: nobody knows how old it is, so it is as old as it
// may be while fresh, or it would be fresh until the other clock's time has come.
func (v *visit) age(now time.Time) time.Duration {
	age := time.Duration(now.UnixNano() - v.entry.Born)
	if age < -clockSkew {
		return time.Duration(v.entry.Lifetime)
	}
	return max(0, age)
}

// clockSkew is by how much the clocks of machines may differ.
const clockSkew = 2 * time.Second

type finding uint8

const (
	foundNothing finding = iota
	foundOtherVariants
	foundInner // a handle further in has stored it
	foundEntry
)

// granted says whether the entry that was found is for this request.
func (c *Cache) granted(v *visit) finding {
	switch c.withheld(v) {
	case "":
		return foundEntry
	case adapter.ReasonInner:
		return foundInner
	case detailOrigin:
		return foundOtherVariants
	}
	return foundNothing
}

// lookup reads what is stored for the request. A hit takes one command: also
// that on a variant, while the names of its Vary are remembered.
func (c *Cache) lookup(ctx context.Context, v *visit) finding {
	// That the client has left is no failure of the store.
	if c.inProcess {
		ctx = context.Background()
	} else {
		l := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
		defer c.deadlines.end(l)
		ctx = l
	}
	known, ok := c.variants.get(v.key.Wire, v.now.UnixNano(), memoAge)
	if ok {
		v.by = known
		if c.readVariant(ctx, v, known) {
			return c.granted(v)
		}
	}
	if !c.read(ctx, v, v.key.Wire) {
		return foundNothing
	}
	if v.entry.Kind == entry.KindResponse {
		c.variants.drop(v.key.Wire)
		v.by = keys.Selecting{}
		if matches(&v.entry, &v.req, v.scratch) && c.current(ctx, v, v.key.Wire, v.known) {
			return c.granted(v)
		}
		return foundNothing
	}
	v.record, v.hasRec = decodeVaryRecord(&v.entry), true
	if len(v.record.Names) == 0 {
		return foundNothing
	}
	v.by = v.record.Selecting
	c.variants.put(v.key.Wire, v.record.Selecting, v.now.UnixNano())
	same := known.Generation == v.record.Generation && slices.Equal(known.Names, v.by.Names)
	if !same && c.readVariant(ctx, v, v.record.Selecting) {
		return c.granted(v)
	}
	return foundOtherVariants
}

func (c *Cache) readVariant(ctx context.Context, v *visit, by keys.Selecting) bool {
	v.scratch = by.AppendValues(v.scratch[:0], &v.req)
	wire := v.key.Variant(v.scratch)
	return c.read(ctx, v, wire) && v.entry.Kind == entry.KindResponse &&
		matches(&v.entry, &v.req, v.scratch) && c.current(ctx, v, wire, v.known)
}

// knownTags are those that were last seen under a key, so that their stamps can be read
// together with it.
func (c *Cache) knownTags(wire string, now time.Time) *tagged {
	if c.coordinator != nil {
		if known, ok := c.tagMemo.get(wire, now.UnixNano(), tagsAge); ok {
			return known
		}
	}
	return &untagged
}

// unclaim gives up the claim of a run, unless a write or the flight has it.
func (v *visit) unclaim(c *Cache) {
	if v.claim != nil && (v.lead == nil || !v.lead.Lead.has(v.claim)) {
		c.release(v.claim, v.passes)
	}
	v.claim = nil
}

// read decodes what is under a key, and reads along the stamps of the tags that
// were under it last. Whatever is not an entry of ours for this request is
// absent.
func (c *Cache) read(ctx context.Context, v *visit, wire string) bool {
	var b []byte
	var found bool
	var err error
	v.stamps, v.near, v.known = v.stamps[:0], false, c.knownTags(wire, v.now)
	ahead := v.ahead
	switch {
	case ahead != nil && ahead.read && ahead.key == wire:
		b, found, v.stamps, v.known = ahead.value, ahead.found, ahead.stamps, ahead.known
	case len(v.known.keys) > 0: // what is near, with its stamps, was found before
		b, found, v.stamps, err = c.coordinator.GetStamped(ctx, wire, v.stamps, v.known.keys)
	case c.tiered != nil && c.tiered.Near():
		b, found, v.near, err = c.tiered.GetTier(ctx, wire)
	default:
		b, found, err = c.store.Get(ctx, wire)
	}
	if err != nil {
		if !c.slow(v.key.Wire, err) {
			c.storeTrouble("reading", err)
		}
		return false
	}
	if !found {
		return false
	}
	v.at = wire
	if err := entry.Decode(b, &v.entry); err != nil || v.entry.Key != v.key.Primary ||
		!c.inProcess && v.entry.Kind == entry.KindResponse && !v.entry.Harmless() {
		c.stats.corrupt.Add(1)
		return false
	}
	return true
}
