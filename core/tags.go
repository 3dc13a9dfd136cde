package cacheaside

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
)

// A stored response carries tags (surrogate keys), under which it can be purged.
// What is stored begins with a letter that says where a tag comes from:
//
//	t:blog-1000                     the handler
//	g:https://example.com|blogs     Cache-Groups of that origin (RFC 9875)
//	u://example.com/blogs?page=2    its own URL, where PurgeURL cannot name its key
//
// For each tag there is a stamp in the store: see [store.Coordinator]. A response is
// valid while the stamps of all its tags exist, are of its epoch, and no newer than the
// moment before its handler ran.
const (
	ofHandler = "t:"
	ofGroup   = "g:"
	ofURL     = "u:"

	// MaxTagBytes is the longest tag. A response with a longer one is not stored.
	MaxTagBytes = 256
	// clockAge is how long the clock of purges lives after the last one. When it is
	// gone, what was stored before counts as purged.
	clockAge = 365 * 24 * time.Hour
	// tagsAge bounds how long the tags under a key are remembered, so that their
	// stamps can be read together with it.
	tagsAge = time.Minute
)

// AddTags gives the response to the request of ctx tags under which
// [Cache.PurgeTags] finds it, like a Cache-Tag field would. It may be called
// from anywhere behind the cache, until the handler returns, with whatever the
// framework has as a context for the request: that of the *http.Request,
// *gin.Context, Fiber's Ctx.UserContext and Ctx.Context. A tag is any text of 1 to
// 256 bytes. AddTags reports whether it was heard: not where no cache is in front,
// or none that deals with the request, or the handler has returned.
func AddTags(ctx context.Context, tags ...string) bool {
	r, _ := ctx.Value(adapter.RunKey).(*adapter.Run)
	own := engineRun(r)
	return own != nil && own.addTags(tags)
}

func checkTag(tag string) error {
	switch {
	case tag == "":
		return errors.New("an empty tag: leave it out")
	case len(tag) > MaxTagBytes:
		return fmt.Errorf("a tag of %d bytes: use %d at most", len(tag), MaxTagBytes)
	}
	return nil
}

// tagsOf returns the tags of a response as they are stored. It fails where they
// exceed the limits: a response without some of its tags could not be purged.
func (v *visit) tagsOf(resp adapter.Header, varied bool) ([]string, bool) {
	var out []string
	add := func(tag string) bool {
		out = append(out, ofHandler+tag)
		return checkTag(tag) == nil && len(out) <= v.c.policy.Storing.MaxTags
	}
	for _, line := range resp.Values("Cache-Tag") {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = httprules.TrimOWS(tag); tag != "" && !add(tag) {
				return nil, false
			}
		}
	}
	for _, line := range resp.Values("Surrogate-Key") {
		for tag := range strings.FieldsFuncSeq(line, ows) {
			if !add(tag) {
				return nil, false
			}
		}
	}
	if v.run != nil {
		for _, tag := range v.run.takeTags() {
			if !add(tag) {
				return nil, false
			}
		}
	}
	for _, group := range httprules.Groups(resp.Values("Cache-Groups")) {
		out = append(out, groupTag(&v.req, group))
	}
	if len(out) > v.c.policy.Storing.MaxTags {
		return nil, false
	}
	named := v.c.named(v.key.Primary, &v.req)
	if !named && v.c.coordinator == nil {
		v.c.urls.unnamed.Store(true)
	}
	if varied || v.claim != nil && v.claim.lock != v.key.Lock || !named {
		out = v.c.urlTags(out, &v.req)
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

func ows(r rune) bool { return r == ' ' || r == '\t' }

// given counts the tags that are not those of the URL.
func given(tags []string) (n int) {
	for _, tag := range tags {
		if !strings.HasPrefix(tag, ofURL) {
			n++
		}
	}
	return n
}

// groupTag is the tag of a group, which is one origin's own (RFC 9875 section 2).
func groupTag(req *keys.Request, group string) string {
	return ofGroup + req.Scheme + "://" + httprules.ToLower(req.Host) + "|" + group
}

// received returns req with path and query as they were before an outer layer
// rewrote them: who purges a URL, or names it in Location, knows nothing of that.
func received(req keys.Request) (keys.Request, bool) {
	u, err := url.ParseRequestURI(req.Target)
	if err != nil || u.Opaque != "" {
		return req, false
	}
	if req.Path, req.RawQuery = u.EscapedPath(), u.RawQuery; req.Path == "" {
		req.Path = "/"
	}
	return req, true
}

// stampKey is the key of a tag's stamp: ASCII, 17 bytes or more, and in one slot
// with all others.
func (s *shared) stampKey(tag string) string {
	b := append(make([]byte, 0, len(s.tagPrefix)+len(tag)+8), s.tagPrefix...)
	if len(tag) > MaxTagBytes { // a group of a long name
		sum := sha256.Sum256([]byte(tag))
		return string(hex.AppendEncode(append(b, tag[:2]...), sum[:]))
	}
	return string(padded(keys.AppendEscaped(b, tag)))
}

// padded makes a key long enough, by what no escaped tag ends in.
func padded(key []byte) []byte {
	for len(key) < keys.MinBytes {
		key = append(key, '|')
	}
	return key
}

// tagged are the tags that were last seen under a key, and their stamps' keys.
type tagged struct {
	tags, keys []string
	held       atomic.Pointer[heldStamps] // of keys, in this process
}

// heldStamps are good until then, unless the store has another mark.
type heldStamps struct {
	stamps []store.Stamp
	mark   uint64
	until  time.Time
}

var untagged tagged

func (s *shared) tagged(tags []string) *tagged {
	if len(tags) == 0 {
		return &untagged
	}
	t := &tagged{tags: tags, keys: make([]string, len(tags))}
	for i, tag := range tags {
		t.keys[i] = s.stampKey(tag)
	}
	return t
}

// are reports whether e has exactly these tags.
func (t *tagged) are(e *entry.Entry) bool {
	i := 0
	for tag := range e.Tags {
		if i >= len(t.tags) || t.tags[i] != tag {
			return false
		}
		i++
	}
	return i == len(t.tags)
}

// stillCurrent is current as far as this process knows by itself. Where the store has
// judged the tags, soft is when one of them was purged softly.
func (v *visit) stillCurrent(wire string, judged bool, soft uint64) bool {
	if v.c.coordinator == nil {
		return true
	}
	at := v.c.purges.held(v.c, v.now)
	if at == nil || !v.outlivesJournal(at) || !v.announcedIn(at) {
		return false
	}
	if judged || !v.entry.Tagged() {
		v.softly(soft)
		return true
	}
	known, ok := v.c.tagMemo.Get(wire, v.now.UnixNano(), tagsAge)
	if !ok || !known.are(&v.entry) {
		return false
	}
	held := known.held.Load()
	if held == nil || held.mark != v.c.local.StampMark() || !v.now.Before(held.until) {
		stamps, mark, good, ok := v.c.local.LocalStamps(nil, known.keys)
		if !ok {
			return false
		}
		held = &heldStamps{stamps, mark, v.now.Add(min(good, tagsAge))}
		known.held.Store(held)
	}
	return v.outlivesAll(held.stamps)
}

// current reports whether nothing of v.entry has been purged since it was made.
// A soft purge leaves it, as stale. Stamps in v.stamps belong to known.
func (v *visit) current(ctx context.Context, wire string, known *tagged) bool {
	e := &v.entry
	v.soft = 0
	if v.c.coordinator == nil {
		return true
	}
	at, ok := v.c.purges.at(ctx, v.c, v.now)
	if !ok {
		return false
	}
	if !v.outlivesJournal(at) || !v.announcedIn(at) {
		return false
	}
	if !e.Tagged() {
		return true
	}
	same := known.are(e)
	if !same {
		var tags []string
		for tag := range e.Tags {
			tags = append(tags, strings.Clone(tag))
		}
		known = v.c.tagged(tags)
		v.c.tagMemo.Put(wire, known, v.now.UnixNano())
	}
	if !same || len(v.stamps) != len(known.keys) {
		var err error
		if v.stamps, err = v.c.coordinator.Stamps(ctx, v.stamps[:0], known.keys); err != nil {
			v.c.storeError("reading stamps", err)
			return false
		}
	}
	return v.outlivesAll(v.stamps)
}

// outlivesJournal reports whether v.entry was made after what at knows to have been
// purged. Of what another clock has counted nothing is known.
func (v *visit) outlivesJournal(at *lease) bool {
	p := at.of(&v.entry)
	return v.outlives(store.Stamp{Epoch: at.epoch, Hard: p.Hard, Soft: p.Soft, SoftAt: p.At})
}

func (f *found) outlivesAll(stamps []store.Stamp) bool {
	for _, s := range stamps {
		if !f.outlives(s) {
			return false
		}
	}
	return true
}

// outlives reports whether v.entry was made after a hard purge, and notes when a soft
// one was.
func (f *found) outlives(s store.Stamp) bool {
	e := &f.entry
	if s.Hard == 0 || s.Epoch != e.Epoch || s.Hard > e.Stamp {
		return false
	}
	if s.Soft > e.Stamp {
		f.softly(max(s.SoftAt, 1))
	}
	return true
}

// softly notes when a soft purge was: the first one counts. 0: there was none.
func (f *found) softly(at uint64) {
	if at != 0 && (f.soft == 0 || at < f.soft) {
		f.soft = at
	}
}
