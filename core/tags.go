package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
)

// A stored response carries tags (surrogate keys), under which it can be purged: those
// that its handler gives it, the groups that it names, and where a purge of its URL
// cannot name its key, that URL.

// MaxTagBytes is the longest tag. A response with a longer one is not stored.
const MaxTagBytes = 256

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
		out = append(out, purges.OfHandler+tag)
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
		if !strings.HasPrefix(tag, purges.OfURL) {
			n++
		}
	}
	return n
}

// groupTag is the tag of a group, which is one origin's own (RFC 9875 section 2).
func groupTag(req *keys.Request, group string) string {
	return purges.OfGroup + req.Scheme + "://" + httprules.ToLower(req.Host) + "|" + group
}
