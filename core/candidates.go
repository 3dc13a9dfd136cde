package cacheaside

import (
	"context"
	"net/http"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
)

// maxCandidates bounds the variants that one request validates.
const maxCandidates = 4

// readCandidates reads the variants, latest first, of which one might be what the
// handler would give now (RFC 9111 section 4.3.1): those with an ETag of their
// own. One with a content coding is not for a client that did not ask for it,
// whatever the handler says.
func (v *visit) readCandidates(ctx context.Context) []entry.Entry {
	if !v.c.policy.Requests.ValidateVariants || len(v.record.variants) == 0 {
		return nil
	}
	at := v.c.deadlines.begin(ctx, v.c.cfg.Timeouts.Lookup)
	defer v.c.deadlines.end(at)
	old := v.entry
	defer func() { v.entry = old }()
	var out []entry.Entry
	for _, ref := range v.record.variants {
		if len(out) == maxCandidates {
			break
		}
		if !keys.IsDigest(ref.digest) || !v.read(at, keys.WithDigest(v.key.Wire, ref.digest)) || v.entry.Kind != entry.KindResponse || v.entry.Status != http.StatusOK {
			continue
		}
		if parts.VersionOf(&v.entry).ETag != "" && !v.coded() && v.represent() {
			out = append(out, v.entry)
		}
	}
	return out
}

// selected makes that candidate the entry found which a 304 from the handler
// selects by its ETag, or, without one, by being the only one.
func (f *found) selected(notModified adapter.Header) bool {
	tags := notModified.Values("Etag")
	for i := range f.candidates {
		e := &f.candidates[i]
		if len(tags) == 0 && len(f.candidates) == 1 || len(tags) > 0 && tags[0] == parts.VersionOf(e).ETag {
			f.entry, f.candidates = *e, nil
			return true
		}
	}
	return false
}

// coded reports whether the entry found has a content coding.
func (f *found) coded() bool {
	for h := range f.entry.Header {
		if h.Name == "Content-Encoding" {
			return true
		}
	}
	return false
}
