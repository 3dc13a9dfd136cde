package cacheaside

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/observe"
)

// What the inspector asks of a cache. It reads the store as a request would, but counts
// nothing, remembers nothing, and calls no handler.

func init() {
	inside.Of = func(cache any) inside.Cache {
		c := cache.(*Cache)
		c.probing.Store(c.probe.Load() == nil) // the next request shows how one is sent
		return insideOf{c}
	}
	inside.Settle = func(ctx context.Context, cache any) error { return cache.(*Cache).settle(ctx) }
}

// settle waits for what runs in the background, and for what that has begun to write.
func (c *Cache) settle(ctx context.Context) error {
	if err := c.background.Settle(ctx); err != nil {
		return err
	}
	return c.Flush(ctx)
}

// maxHandles is how many policies the inspector is told of.
const maxHandles = 64

type insideOf struct{ c *Cache }

func (i insideOf) Namespace() string { return i.c.cfg.Namespace }
func (i insideOf) InProcess() bool   { return i.c.inProcess }
func (i insideOf) Breaker() bool     { return i.c.breaker != nil }

// Reaches implements [inside.Cache].
func (i insideOf) Reaches(url string) ([]string, error) {
	req, err := i.c.requestFor(url)
	if err != nil {
		return nil, err
	}
	return i.c.purgedURLs(req), nil
}

// CheckPurge implements [inside.Cache].
func (i insideOf) CheckPurge(p any) error {
	_, err := i.c.planPurge(p.(*Purge))
	return err
}

// own is a key that is none of an entry's.
func (i insideOf) own(key string) string { return i.c.cfg.Namespace + ":inspect:" + key }

// Get implements [inside.Cache].
func (i insideOf) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, i.c.cfg.Timeouts.Write)
	defer cancel()
	return i.c.store.Get(ctx, i.own(key))
}

// Set implements [inside.Cache].
func (i insideOf) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, i.c.cfg.Timeouts.Write)
	defer cancel()
	return i.c.store.Set(ctx, i.own(key), value, ttl)
}

// Server implements [inside.Cache].
func (i insideOf) Server(ctx context.Context) (inside.Server, bool, error) {
	if i.c.described == nil {
		return inside.Server{}, false, nil
	}
	s, err := i.c.described.Describe(ctx)
	return inside.Server{
		Name: s.Name, Version: s.Version, Address: s.Address, Used: s.Used, Max: s.Max, Latency: s.Latency,
	}, true, err
}

// Lookup implements [inside.Cache].
func (i insideOf) Lookup(ctx context.Context, req *adapter.Request) (all []inside.Found, err error) {
	ctx = breaker.Insist(ctx)
	at := map[string]int{}
	for _, c := range i.c.handles() {
		l := newLooking(c)
		f, err := l.look(ctx, req)
		if err != nil {
			return nil, err
		}
		id := f.Key + " " + f.Reason
		if n, ok := at[id]; ok { // another policy with the same key
			all[n].Handles = append(all[n].Handles, c.policy.Name)
			continue
		}
		at[id] = len(all)
		f.Handles = []string{c.policy.Name}
		all = append(all, f)
	}
	return all, nil
}

// looking is a look by the policy of a handle.
type looking struct{ *visit }

func newLooking(c *Cache) looking {
	l := looking{new(visit)}
	l.c = c
	return l
}

func (l looking) look(ctx context.Context, req *adapter.Request) (f inside.Found, err error) {
	v := l.visit
	v.header, v.asked = v.req.Enter(req)
	v.now = l.c.cfg.Now()
	if fwd, detail := v.bypass(); fwd != "" {
		if detail == "" {
			detail = detailMethod
		}
		return inside.Found{Result: observe.ResultBypass.String(), Reason: detail, Because: "the cache has nothing to do with such a request"}, nil
	}
	var ok bool
	if v.key, ok = l.c.keys.Key(&v.req); !ok {
		return inside.Found{Result: observe.ResultBypass.String(), Reason: detailKeyTooLong, Because: "the key would be longer than KeyPolicy.MaxBytes"}, nil
	}
	if !l.c.policy.Requests.IgnoreDirectives {
		v.control = httprules.ParseRequestControl(v.header)
	}
	f = inside.Found{Key: v.key.Wire, Result: observe.ResultMiss.String(), Cause: observe.CauseCold.String(), Because: inside.Because(observe.CauseCold)}
	b, found, err := l.read(ctx, v.key.Wire)
	if err != nil || !found {
		if why := l.c.fates.why(v.key.Wire, v.now); err == nil && why != observe.CauseCold {
			f.Cause, f.Because = why.String(), inside.Because(why)
		}
		return f, err
	}
	if entry.Decode(b, &v.entry) == nil && v.entry.Kind == entry.KindVary && v.entry.Key == v.key.Primary {
		return f, l.variants(ctx, &f)
	}
	e, cause, err := l.describe(ctx, v.key.Wire, b)
	e.Selected = true
	f.Entries = append(f.Entries, e)
	f.Result, f.Because, f.Cause = e.Result, e.Because, cause.String()
	return f, err
}

// read is a Get with the deadline of one.
func (l looking) read(ctx context.Context, wire string) ([]byte, bool, error) {
	at := l.c.deadlines.begin(ctx, l.c.cfg.Timeouts.Lookup)
	defer l.c.deadlines.end(at)
	return l.c.store.Get(at, wire)
}

// variants describes those that the record found leads to.
func (l looking) variants(ctx context.Context, f *inside.Found) error {
	v := l.visit
	record := decodeVaryRecord(&v.entry)
	for _, name := range record.Names {
		f.Vary = append(f.Vary, strings.Clone(name))
	}
	v.scratch = record.AppendValues(v.scratch[:0], &v.req)
	selected := v.key.Variant(v.scratch)
	f.Cause, f.Because = observe.CauseVary.String(), inside.Because(observe.CauseVary)
	for _, ref := range record.variants {
		if !keys.IsDigest(ref.digest) || ref.expires <= v.now.UnixNano() {
			continue
		}
		wire := keys.WithDigest(v.key.Wire, ref.digest)
		b, found, err := l.read(ctx, wire)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		e, cause, err := l.describe(ctx, wire, b)
		if err != nil {
			return err
		}
		e.Gone = time.Duration(ref.expires - v.now.UnixNano())
		if e.Selected = wire == selected; e.Selected {
			f.Result, f.Because, f.Cause = e.Result, e.Because, cause.String()
		}
		f.Entries = append(f.Entries, e)
	}
	return nil
}

// describe says what is under a key, and how it would answer the request.
func (l looking) describe(ctx context.Context, wire string, b []byte) (e inside.Entry, cause observe.Cause, err error) {
	v := l.visit
	e = inside.Entry{Key: wire, Size: int64(len(b)), Result: observe.ResultMiss.String()}
	if e.Problem = v.problem(b); e.Problem != "" {
		e.Because = inside.Because(observe.CauseCorrupt)
		return e, observe.CauseCorrupt, nil
	}
	m := &v.entry
	e.Status, e.Born, e.Body, e.Took = int(m.Status), time.Unix(0, m.Born), int64(len(m.Body)), time.Duration(m.Took)*time.Microsecond
	e.Parts = parts.InWords(m)
	if m.Coding != 0 {
		e.Coding, e.Plain = coding.Coding(m.Coding).String(), int64(m.Size)
	}
	for f := range m.Header {
		if adapter.Op(f.Op) != adapter.OpDel {
			e.Header = append(e.Header, inside.Field{Name: f.Name, Value: f.Value})
		}
	}
	for f := range m.Vary {
		e.Selecting = append(e.Selecting, inside.Field{Name: f.Name, Value: f.Value})
	}
	if err := l.tags(ctx, &e); err != nil {
		return e, 0, err
	}
	v.Check.Reset()
	v.Known = l.c.ledger.Known(wire, v.now)
	current := l.c.ledger.Current(ctx, &v.Check, m, wire, l.c.way, v.now)
	d := v.decide(v.now)
	e.Age, e.TTL, e.Lifetime = v.age(v.now), d.TTL, time.Duration(m.Lifetime)
	switch reason := v.withheld(); {
	case !current && v.Why == purges.Failed:
		return e, 0, purges.ErrNoJournal
	case !current:
		cause = v.gone()
	case !matches(m, &v.req, v.scratch):
		cause = observe.CauseVary
	case reason == adapter.ReasonInner:
		e.Result, e.Because = observe.ResultBypass.String(), "a handle further in, with another policy, has stored it"
		return e, 0, nil
	case reason != "":
		e.Because = "it is not for this request: " + reason
		return e, observe.CauseRequest, nil
	default:
		if result, why := inside.Answers(d); result != 0 {
			e.Result, e.Because = result.String(), why
			return e, 0, nil
		}
		cause = v.unusable(d)
	}
	e.Because = inside.Because(cause)
	return e, cause, nil
}

// problem decodes what is under the request's key, or one of its variants', and says what
// it is if it is no response for that.
func (v *visit) problem(b []byte) string {
	if err := entry.Decode(b, &v.entry); err != nil {
		return inside.Problem(err)
	}
	if v.entry.Kind != entry.KindResponse || v.entry.Key != v.key.Primary {
		return inside.AnotherResource
	}
	return ""
}

// tags describes those of the entry found.
func (l looking) tags(ctx context.Context, e *inside.Entry) error {
	var tags []string
	for tag := range l.entry.Tags {
		tags = append(tags, strings.Clone(tag))
	}
	if len(tags) == 0 || l.c.coordinator == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.c.cfg.Timeouts.Write)
	defer cancel()
	stamps, err := l.c.coordinator.Stamps(ctx, nil, l.c.ledger.TagSet(tags).Keys)
	if err != nil {
		return err
	}
	for i, tag := range tags {
		name, kind := purges.Named(tag)
		e.Tags = append(e.Tags, inside.Tag{Name: name, Kind: kind, Stamp: stamps[i].Soft, State: purges.StateOf(&l.entry, stamps[i])})
	}
	return nil
}

// handles are those that the inspector shows, the one of New first.
func (s *shared) handles() []*Cache {
	s.known.Lock()
	defer s.known.Unlock()
	return s.known.list[:len(s.known.list):len(s.known.list)]
}

// known are the handles that there are, as far as they are shown.
type known struct {
	sync.Mutex
	list []*Cache
}

func (k *known) add(c *Cache) {
	k.Lock()
	defer k.Unlock()
	if len(k.list) < maxHandles {
		k.list = append(k.list, c)
	}
}

// Handles implements [inside.Cache].
func (i insideOf) Handles() (all []inside.Handle) {
	wrong := new(problems)
	plain := reflect.ValueOf(Policy{}.validated(wrong))
	for _, c := range i.c.handles() {
		h := inside.Handle{Name: c.policy.Name}
		h.Settings = settings(nil, "", reflect.ValueOf(c.policy), plain)
		all = append(all, h)
	}
	return all
}

// Settings implements [inside.Cache].
func (i insideOf) Settings() []inside.Setting {
	cfg := i.c.cfg
	plain, _ := Config{}.validated()
	cfg.Policy, plain.Policy = Policy{}, Policy{}
	return settings(nil, "", reflect.ValueOf(cfg), reflect.ValueOf(plain))
}

// settings appends the fields of a struct, and those of the structs in it, that say
// something.
func settings(to []inside.Setting, prefix string, v, plain reflect.Value) []inside.Setting {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name := prefix + field.Name
		if !field.IsExported() || field.Type == reflect.TypeFor[Policy]() {
			continue
		}
		if value.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Selection]() {
			to = settings(to, name+".", value, plain.Field(i))
			continue
		}
		text := setting(value)
		to = append(to, inside.Setting{Name: name, Value: text, Default: text == setting(plain.Field(i))})
	}
	return to
}

// setting is a value in words; of what may hold anything, only whether it is set.
func setting(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Func, reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return "not set"
		}
		return "set"
	}
	switch x := v.Interface().(type) {
	case Selection:
		switch {
		case x.Allow != nil && len(x.Allow) == 0:
			return "none"
		case x.Allow != nil:
			return "only " + strings.Join(x.Allow, ", ")
		case len(x.Deny) > 0:
			return "all but " + strings.Join(x.Deny, ", ")
		}
		return "all"
	case []string:
		return strings.Join(x, ", ")
	}
	return fmt.Sprint(v.Interface())
}
