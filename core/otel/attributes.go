package otel

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/cacheaside/cacheaside/core/observe"
)

// The attributes of metrics and spans. The route is http.route.
const (
	keyResult    = attribute.Key("cacheaside.result")
	keyTier      = attribute.Key("cacheaside.tier")
	keyCause     = attribute.Key("cacheaside.cause")
	keyReason    = attribute.Key("cacheaside.reason")
	keyMode      = attribute.Key("cacheaside.mode")
	keyOutcome   = attribute.Key("cacheaside.outcome")
	keyTrigger   = attribute.Key("cacheaside.trigger")
	keyOp        = attribute.Key("cacheaside.op")
	keyKind      = attribute.Key("cacheaside.kind")
	keySoft      = attribute.Key("cacheaside.soft")
	keyNotStored = attribute.Key("cacheaside.not_stored") // of spans, as those below
	keyBypass    = attribute.Key("cacheaside.bypass")
	keyStale     = attribute.Key("cacheaside.stale")
	keyAge       = attribute.Key("cacheaside.age")
	keyTTL       = attribute.Key("cacheaside.ttl")
	keyPolicy    = attribute.Key("cacheaside.policy")
	keyFlight    = attribute.Key("cacheaside.flight.id")
	keyKey       = attribute.Key("cacheaside.key")
)

// enum is a type of core/observe whose values are counted from 1 on.
type enum interface {
	~uint8
	String() string
}

// The number of values of each, with the zero one.
var (
	results  = number[observe.Result]()
	tiers    = number[observe.Tier]()
	causes   = number[observe.Cause]()
	reasons  = number[observe.Reason]()
	waits    = number[observe.Wait]()
	ops      = number[observe.Op]()
	outcomes = number[observe.Outcome]()
	triggers = number[observe.Trigger]()
	kinds    = number[observe.Purge]()
)

func number[T enum]() int {
	n := 1
	for T(n).String() != "" {
		n++
	}
	return n
}

// at is the place of v among n values. A value that is none has that of zero.
func at[T enum](v T, n int) int {
	if int(v) < n {
		return int(v)
	}
	return 0
}

// name is the attribute with the name of v.
func name[T enum](k attribute.Key, v T) attribute.KeyValue { return k.String(v.String()) }

func mode(background bool) attribute.KeyValue {
	if background {
		return keyMode.String("background")
	}
	return keyMode.String("foreground")
}

// prepared is a set of attributes, as the methods of instruments take it.
type prepared struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// prepare makes a set. Attributes whose value is an empty string are left out.
func prepare(attrs ...attribute.KeyValue) *prepared {
	set, _ := attribute.NewSetWithFiltered(attrs, func(kv attribute.KeyValue) bool {
		return kv.Value.Type() != attribute.STRING || kv.Value.AsString() != ""
	})
	o := metric.WithAttributeSet(set)
	return &prepared{add: []metric.AddOption{o}, record: []metric.RecordOption{o}}
}

// table has a prepared set for each combination of values, made when it is needed first.
type table []atomic.Pointer[prepared]

// put makes the i-th set. It does not matter who of several comes first.
func (t table) put(i int, attrs ...attribute.KeyValue) *prepared {
	p := prepare(attrs...)
	t[i].Store(p)
	return p
}

// tables has those sets in which there is no route.
type tables struct {
	answers, results, bypasses, waits, refreshes, stores, calls, purges table
}

func newTables() tables {
	return tables{
		answers:   make(table, results*tiers),
		results:   make(table, results),
		bypasses:  make(table, reasons),
		waits:     make(table, waits),
		refreshes: make(table, triggers*outcomes),
		stores:    make(table, outcomes),
		calls:     make(table, ops*outcomes),
		purges:    make(table, 2*kinds*outcomes),
	}
}

func (t *tables) answer(e *observe.Event) *prepared {
	i := at(e.Result, results)*tiers + at(e.Tier, tiers)
	if p := t.answers[i].Load(); p != nil {
		return p
	}
	return t.answers.put(i, name(keyResult, e.Result), name(keyTier, e.Tier))
}

func (t *tables) result(e *observe.Event) *prepared {
	i := at(e.Result, results)
	if p := t.results[i].Load(); p != nil {
		return p
	}
	return t.results.put(i, name(keyResult, e.Result))
}

func (t *tables) bypass(e *observe.Event) *prepared {
	i := at(e.Bypass, reasons)
	if p := t.bypasses[i].Load(); p != nil {
		return p
	}
	return t.bypasses.put(i, name(keyReason, e.Bypass))
}

func (t *tables) wait(e *observe.Event) *prepared {
	i := at(e.Waited, waits)
	if p := t.waits[i].Load(); p != nil {
		return p
	}
	return t.waits.put(i, name(keyOutcome, e.Waited))
}

func (t *tables) refresh(e *observe.Event) *prepared {
	i := at(e.Trigger, triggers)*outcomes + at(e.Outcome, outcomes)
	if p := t.refreshes[i].Load(); p != nil {
		return p
	}
	return t.refreshes.put(i, name(keyTrigger, e.Trigger), name(keyOutcome, e.Outcome))
}

func (t *tables) store(e *observe.Event) *prepared {
	i := at(e.Outcome, outcomes)
	if p := t.stores[i].Load(); p != nil {
		return p
	}
	return t.stores.put(i, name(keyOutcome, e.Outcome))
}

func (t *tables) call(e *observe.Event) *prepared {
	i := at(e.Op, ops)*outcomes + at(e.Outcome, outcomes)
	if p := t.calls[i].Load(); p != nil {
		return p
	}
	return t.calls.put(i, name(keyOp, e.Op), name(keyOutcome, e.Outcome))
}

func (t *tables) purge(e *observe.Event) *prepared {
	i := at(e.Purge, kinds)*outcomes + at(e.Outcome, outcomes)
	if e.Soft {
		i += kinds * outcomes
	}
	if p := t.purges[i].Load(); p != nil {
		return p
	}
	return t.purges.put(i, name(keyKind, e.Purge), keySoft.Bool(e.Soft), name(keyOutcome, e.Outcome))
}

// route has the sets of one route.
type route struct {
	attr     attribute.KeyValue // http.route
	template bool               // it is what that attribute is for, and not a name in the place of it

	answers, causes, reasons, modes table
	only                            *prepared // the route alone
}

func newRoute(text string) *route {
	text = clean(text)
	// ServeMux has the method in its patterns, http.route has not.
	if i := strings.IndexAny(text, " \t"); i > 0 && strings.Trim(text[:i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		if path := strings.TrimLeft(text[i:], " \t"); path != "" {
			text = path
		}
	}
	attr := semconv.HTTPRoute(text)
	return &route{
		attr:     attr,
		template: strings.Contains(text, "/"),
		answers:  make(table, results*tiers),
		causes:   make(table, causes),
		reasons:  make(table, reasons),
		modes:    make(table, 2),
		only:     prepare(attr),
	}
}

func (r *route) answer(e *observe.Event) *prepared {
	i := at(e.Result, results)*tiers + at(e.Tier, tiers)
	if p := r.answers[i].Load(); p != nil {
		return p
	}
	return r.answers.put(i, r.attr, name(keyResult, e.Result), name(keyTier, e.Tier))
}

func (r *route) cause(e *observe.Event) *prepared {
	i := at(e.Cause, causes)
	if p := r.causes[i].Load(); p != nil {
		return p
	}
	return r.causes.put(i, r.attr, name(keyCause, e.Cause))
}

func (r *route) notStored(e *observe.Event) *prepared {
	i := at(e.NotStored, reasons)
	if p := r.reasons[i].Load(); p != nil {
		return p
	}
	return r.reasons.put(i, r.attr, name(keyReason, e.NotStored))
}

func (r *route) handler(e *observe.Event) *prepared {
	i := 0
	if e.Background {
		i = 1
	}
	if p := r.modes[i].Load(); p != nil {
		return p
	}
	return r.modes.put(i, r.attr, mode(e.Background))
}

// routes are those seen by all caches that an observer is given to: observe.MaxRoutes,
// observe.Unmatched, and observe.Other for all beyond.
type routes struct {
	known  atomic.Pointer[map[string]*route] // never written to: copied when it grows
	mu     sync.Mutex                        // held by who lets it grow
	other  *route
	beyond atomic.Int64 // events whose route was one too many
}

func newRoutes() *routes {
	unmatched := newRoute(observe.Unmatched)
	r := &routes{other: newRoute(observe.Other)}
	r.known.Store(&map[string]*route{observe.Other: r.other, observe.Unmatched: unmatched, "": unmatched})
	return r
}

// room is how many texts routes knows at most; three of them are there from the start.
const room = observe.MaxRoutes + 3

// find returns the route with that text, or other if there is no room for it.
func (r *routes) find(text string) *route {
	if len(text) > maxText {
		text = text[:maxText]
	}
	known := *r.known.Load()
	if found := known[text]; found != nil {
		return found
	}
	if len(known) < room {
		return r.grow(text)
	}
	return r.other
}

// count is find for the route of an event.
func (r *routes) count(text string) *route {
	found := r.find(text)
	if found == r.other && text != observe.Other {
		r.beyond.Add(1)
	}
	return found
}

func (r *routes) grow(text string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.known.Load()
	if found := known[text]; found != nil {
		return found
	}
	if len(known) >= room {
		return r.other
	}
	more := make(map[string]*route, len(known)+1)
	maps.Copy(more, known)
	text = strings.Clone(text) // of one that was longer
	added := newRoute(text)
	more[text] = added
	r.known.Store(&more)
	return added
}

// maxText is how many bytes of a text go into an attribute, but for keys.
const maxText = 256

// clean is s as an attribute may have it: a text that is not UTF-8 would have an
// exporter refuse the whole batch.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
