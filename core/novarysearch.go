package cacheaside

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/internal/recent"
	"github.com/cacheaside/cacheaside/core/observe"
)

// A response with No-Vary-Search answers for other URLs than its own (KeyPolicy's
// NoVarySearch). It is stored under its own, as any other. Two hints in the store lead to
// it from the others: what responses for the path have said last, and for each such saying
// and what it leaves of a query, the primary key of the response. Hints are not to be
// trusted: whether a response answers a request is seen in its own key, header and tags.
//
// Who purges one of these URLs has to know all such sayings, so each is a way to tell URLs
// apart (ways.go): it is in the journal before the handlers of responses run that are used
// by it, and these are tagged with what it leaves of their URL. The first response that
// says something new is therefore used for its own URL alone.

// maxSayings is how many are kept for a path. A server should not change what it says
// (section 6 of the draft).
const maxSayings = 4

// searches is what a process remembers of the hints.
type searches struct {
	begun  atomic.Bool          // the journal was read for ways
	paths  recent.Map[[]said]   // under the keys of sayings
	others recent.Map[keys.Key] // what has answered a request, by the key of that
}

// said is one saying for a path.
type said struct {
	variance httprules.Variance
	text     string
	expires  int64 // Unix nanoseconds
}

// Of responses that differ by Vary the hint has the names of the selecting fields, and a
// hint for each of their values leads to the response.

// lately is [visit.search] where it is known what has answered such a request a moment ago.
func (v *visit) lately(ctx context.Context) (d httprules.Decision, ok bool) {
	s := v.c.searches
	target, known := s.others.Get(v.key.Wire, v.now.UnixNano(), memoAge)
	if !known {
		return d, false
	}
	own, isSearched := keys.SearchedOf(v.key.Primary)
	if d, ok = v.answers(ctx, &own, target); !isSearched || !ok {
		s.others.Drop(v.key.Wire)
	}
	return d, ok
}

// search looks for a response to another URL that answers the request as it is.
func (v *visit) search(ctx context.Context) (d httprules.Decision, ok bool) {
	if v.why == observe.CauseStoreError || v.why == observe.CauseBreaker || !v.c.mayFind(ctx) {
		return d, false
	}
	own, ok := keys.SearchedOf(v.key.Primary)
	if !ok {
		return d, false
	}
	for _, said := range v.c.sayings(ctx, v.c.keys.SayingsKey(&own), v.now) {
		hint, ok := v.c.keys.HintKey(&own, said.variance)
		if !ok {
			return d, false
		}
		primary, varies, ok := v.hint(ctx, hint)
		if !ok || primary == v.key.Primary {
			continue
		}
		wire, target := v.key.Wire, v.c.keys.KeyOf(primary)
		if d, ok := v.answers(ctx, &own, target); ok {
			if !varies {
				v.c.searches.others.Put(wire, target, v.now.UnixNano())
			}
			return d, true
		}
	}
	return d, false
}

// mayFind reports whether this process has heard of any No-Vary-Search.
func (c *Cache) mayFind(ctx context.Context) bool {
	if !c.urls.searching.Load() && !c.searches.begun.Swap(true) { // not even of that of others
		at := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
		defer c.deadlines.end(at)
		_ = c.ledger.ReadJournal(at) // what fails is reported there
	}
	return c.urls.searching.Load()
}

// answers looks under target, the key of another URL, and reports whether what is there
// answers the request as it is. If not, v stays as it was, but for what memory it has.
func (v *visit) answers(ctx context.Context, own *keys.Searched, target keys.Key) (d httprules.Decision, ok bool) {
	key, was, soft := v.key, v.found, v.Soft
	v.key, v.found = target, found{}
	if v.lookup(ctx) == foundEntry && v.isFor(ctx, own) {
		if d = v.decide(v.now); d.Use != httprules.Validate {
			v.elsewhere = true
			return d, true
		}
	}
	v.key, v.found, v.Soft = key, was, soft
	return d, false
}

// isFor reports whether the entry found, which is under v.key, says that it is for the URL
// of the request as well, and is within reach of a purge of that.
func (v *visit) isFor(ctx context.Context, own *keys.Searched) bool {
	var field string
	for f := range v.entry.Header {
		if f.Name == noVarySearch {
			field = joined(field, f.Value)
		}
	}
	h := v.c.heed(field, v.now)
	if h == nil {
		return false
	}
	its, ok := keys.SearchedOf(v.entry.Key)
	if !ok || !own.Equivalent(&its, h.variance) || !v.c.ledger.Announced(ctx, h.way, v.entry.Epoch, v.entry.Stamp, v.now) {
		return false
	}
	tags := urlTagsBy(nil, &v.req, h.maker)
	for tag := range v.entry.Tags {
		if at := slices.Index(tags, tag); at >= 0 {
			tags = slices.Delete(tags, at, at+1)
		}
	}
	return len(tags) == 0
}

// noVarySearch is the field, in canonical form.
const noVarySearch = "No-Vary-Search"

// joined is a field of one line more (RFC 9110 section 5.3).
func joined(field, line string) string {
	if field == "" {
		return line
	}
	return field + ", " + line
}

// heeded is what a field says to a handle.
type heeded struct {
	variance httprules.Variance
	way      *purges.Way
	maker    keys.Maker // writes URLs in the way
}

// heed reads a field; nil where it says nothing.
func (c *Cache) heed(field string, now time.Time) *heeded {
	if field == "" {
		return nil
	}
	if h, ok := c.heeds.Get(field, now.UnixNano(), time.Hour); ok {
		return h
	}
	var h *heeded
	if variance, ok := httprules.ParseNoVarySearch([]string{field}); ok {
		way := c.searching(variance)
		h = &heeded{variance, way, makerOf(way)}
	}
	if len(field) <= maxHeeded {
		c.heeds.Put(strings.Clone(field), h, now.UnixNano())
	}
	return h
}

// maxHeeded bounds the fields that are remembered, in bytes.
const maxHeeded = 1 << 10

// searching is the way to tell URLs apart that variance makes of the policy's own. The
// order of parameters makes no difference to a purge.
func (c *Cache) searching(variance httprules.Variance) *purges.Way {
	variance.Unordered = true
	k := &c.policy.Key
	return purges.NewWay(k.IgnoreHost, k.Query.Allow, k.Query.Deny).Searching(variance.Text())
}

// saying is what is to be noted of a response that was stored.
type saying struct {
	*heeded
	primary  string
	hint     keys.Key
	names    []string // of the selecting fields
	selected string   // the key of the hint for their values
	tagged   bool     // the response is, in that way
	keep     time.Duration
}

// says tags content with its URL as its No-Vary-Search tells URLs apart, and has w note
// that.
func (v *visit) says(content *entry.Content, w *write) {
	var field string
	for i := range content.Header {
		if f := &content.Header[i]; f.Name == noVarySearch {
			field = joined(field, f.Value)
		}
	}
	h := v.c.heed(field, v.c.cfg.Now())
	if h == nil {
		return
	}
	its, ok := keys.SearchedOf(v.key.Primary)
	if !ok {
		return
	}
	s := &saying{heeded: h, primary: v.key.Primary, keep: w.keep}
	if s.hint, ok = v.c.keys.HintKey(&its, h.variance); !ok {
		return
	}
	if w.record != nil {
		by := keys.Selecting{Names: v.record.Names}
		if old, err := v.c.readNote(v.x.Context(), s.hint); err == nil && old != nil { // of another URL
			if names := mergeNames(by.Names, selectingNames(old)); len(names) <= maxVaryNames {
				by.Names = names
			}
		}
		s.names, s.selected = by.Names, s.hint.Variant(by.AppendValues(nil, &v.req))
	}
	if s.tagged = v.c.urls.knows(s.way); s.tagged {
		tags := urlTagsBy(slices.Clone(content.Tags), &v.req, h.maker)
		slices.Sort(tags)
		content.Tags = slices.Compact(tags)
		w.tags = content.Tags
	}
	w.saying = s
}

// note makes what a response says known to others, and leaves the hints to it.
func (c *Cache) note(s *saying) {
	ctx := context.Background()
	if !c.inProcess {
		at := c.deadlines.begin(ctx, c.cfg.Timeouts.Write)
		defer c.deadlines.end(at)
		ctx = at
	}
	if err := c.ledger.Announce(ctx, s.way); err != nil {
		if !errors.Is(err, purges.ErrFull) {
			c.storeError("announcing a No-Vary-Search", err)
		}
		return
	}
	if !s.tagged {
		return
	}
	now, at := c.cfg.Now(), s.hint
	var err error
	if s.selected != "" {
		var content entry.Content
		for _, name := range s.names {
			content.Vary = append(content.Vary, entry.Field{Name: name})
		}
		err = c.setNote(ctx, at, content, s.keep, now)
		at.Wire = s.selected
	}
	err = errors.Join(err, c.setNote(ctx, at, entry.Content{Body: []byte(s.primary)}, s.keep, now))
	if its, ok := keys.SearchedOf(s.primary); ok && err == nil {
		err = c.setSaying(ctx, c.keys.SayingsKey(&its), s, now)
	}
	if err != nil {
		c.storeError("writing where a response is", err)
	}
}

// setSaying puts what a response says first among the sayings of its path. Two processes
// doing so at once may lose one another's; the next response makes up for it.
func (c *Cache) setSaying(ctx context.Context, at keys.Key, s *saying, now time.Time) error {
	mine := said{s.variance, s.variance.Text(), now.Add(s.keep).UnixNano()}
	old := c.sayings(ctx, at, now)
	if len(old) > 0 && old[0].text == mine.text && old[0].expires >= mine.expires-int64(s.keep/4) {
		return nil
	}
	all := []said{mine}
	last := mine.expires
	for _, o := range old {
		if o.text == mine.text {
			all[0].expires = max(mine.expires, o.expires)
		} else if len(all) < maxSayings && o.expires > now.UnixNano() {
			all = append(all, o)
		}
		last = max(last, o.expires)
	}
	var content entry.Content
	for _, s := range all {
		content.Header = append(content.Header, entry.Field{Name: s.text, Value: strconv.FormatInt(s.expires, 10)})
	}
	err := c.setNote(ctx, at, content, time.Duration(last-now.UnixNano()), now)
	if err == nil {
		c.searches.paths.Put(at.Wire, all, now.UnixNano())
	}
	return err
}

// setNote stores content under a key that no request has, in the form of a Vary record.
func (c *Cache) setNote(ctx context.Context, at keys.Key, content entry.Content, keep time.Duration, now time.Time) error {
	content.Meta, content.Key = entry.Meta{Kind: entry.KindVary, Born: now.UnixNano()}, at.Primary
	b, err := entry.Encode(content)
	if err != nil {
		return err
	}
	return c.store.Set(ctx, at.Wire, b, max(keep, time.Millisecond))
}

// readNote reads what setNote has stored; nil where there is none.
func (c *Cache) readNote(ctx context.Context, at keys.Key) (*entry.Entry, error) {
	if !c.inProcess {
		l := c.deadlines.begin(ctx, c.cfg.Timeouts.Lookup)
		defer c.deadlines.end(l)
		ctx = l
	}
	b, found, err := c.store.Get(ctx, at.Wire)
	if err != nil || !found {
		return nil, err
	}
	e := new(entry.Entry)
	if entry.Decode(b, e) != nil || e.Kind != entry.KindVary || e.Key != at.Primary {
		return nil, nil
	}
	return e, nil
}

// hint is the primary key to which a hint leads, and whether that takes selecting fields.
func (v *visit) hint(ctx context.Context, at keys.Key) (primary string, varies, ok bool) {
	e, err := v.c.readNote(ctx, at)
	if e != nil && err == nil && len(e.Body) == 0 {
		by := keys.Selecting{Names: selectingNames(e)}
		varies, at.Wire = true, at.Variant(by.AppendValues(nil, &v.req))
		e, err = v.c.readNote(ctx, at)
	}
	if err != nil {
		v.c.storeError("reading where a response is", err)
	}
	if e == nil || len(e.Body) == 0 {
		return "", varies, false
	}
	return string(e.Body), varies, true
}

// selectingNames are those in a hint.
func selectingNames(hint *entry.Entry) (names []string) {
	for f := range hint.Vary {
		names = append(names, f.Name)
	}
	return names
}

// sayings are those of a path, latest first, as they were a moment ago.
func (c *Cache) sayings(ctx context.Context, at keys.Key, now time.Time) (all []said) {
	if all, ok := c.searches.paths.Get(at.Wire, now.UnixNano(), memoAge); ok {
		return all
	}
	e, err := c.readNote(ctx, at)
	if err != nil {
		c.storeError("reading what responses have said", err)
		return nil
	}
	if e != nil {
		for f := range e.Header {
			variance, ok := httprules.ParseNoVarySearch([]string{f.Name})
			expires, err := strconv.ParseInt(f.Value, 10, 64)
			if ok && err == nil && len(all) < maxSayings {
				all = append(all, said{variance, strings.Clone(f.Name), expires})
			}
		}
	}
	c.searches.paths.Put(at.Wire, all, now.UnixNano())
	return all
}
