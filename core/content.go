package cacheaside

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

func (v *visit) meta(verdict httprules.Verdict, anyOrigin bool, status int, now time.Time) entry.Meta {
	m := entry.Meta{
		Kind: entry.KindResponse, Status: uint16(status), Flags: entry.Flags(0).WithDepth(v.depth),
		Born: now.UnixNano() - int64(verdict.InitialAge), Date: verdict.Date.UnixNano(),
		Lifetime: int64(verdict.Lifetime), SWR: int64(verdict.StaleWhileRevalidate.D), SIE: int64(verdict.StaleIfError.D),
		Took: uint32(min(max(now.Sub(v.began).Microseconds(), 0), math.MaxUint32)),
	}
	if verdict.PolicyTTL {
		m.Flags |= entry.PolicyTTL
	}
	if anyOrigin {
		m.Flags |= entry.AnyOrigin
	}
	switch {
	case verdict.StatedStale && verdict.MustRevalidate: // no other window than what is stated
		m.Flags |= entry.StatedStale
	default:
		if !verdict.StaleIfError.OK {
			m.SIE = int64(v.c.policy.Stale.IfError)
		}
		if !verdict.StaleWhileRevalidate.OK {
			m.SWR = int64(v.c.policy.Stale.WhileRevalidate)
		}
	}
	if verdict.NoCache {
		m.Flags |= entry.NoCache
	}
	if verdict.MustRevalidate {
		m.Flags |= entry.MustRevalidate
	}
	return m
}

// storable gives the fields of resp that are kept, or says why they cannot be. Length is
// that of its body as the handler gave it. The fields are good while v is.
func (v *visit) storable(resp *adapter.Response, verdict httprules.Verdict, length int) (fields []entry.Field, reason string) {
	out := v.stored[:0]
	hasDate := false
	for _, f := range resp.Header {
		if !v.keeps(&f, resp, length) || slices.Contains(verdict.Strip, f.Name) {
			continue
		}
		hasDate = hasDate || f.Name == "Date"
		out = append(out, entry.Field{Name: f.Name, Value: f.Value, Op: uint8(f.Op)})
	}
	if !v.c.policy.Storing.ForwardTags && resp.Effective != nil {
		for _, name := range httprules.TagFields { // those that somebody in front adds to hits as well
			if len(resp.Effective.Values(name)) > len(resp.Header.Values(name)) {
				out = append(out, entry.Field{Name: name, Op: uint8(adapter.OpDel)})
			}
		}
	}
	if !hasDate { // RFC 9110 section 6.6.1
		date := verdict.Date.UTC().AppendFormat(v.date[:0], http.TimeFormat)
		out = append(out, entry.Field{Name: "Date", Value: viewOf(date)})
	}
	out = v.recoding.negotiated(out)
	v.stored = out
	size := 0
	for i := range out {
		size += len(out[i].Name) + len(out[i].Value)
		if !entry.ValidField(out[i].Name, out[i].Value) {
			return nil, detailHeader
		}
	}
	if size > v.c.policy.Storing.MaxHeaderBytes {
		return nil, detailHeaderTooLarge
	}
	return out, ""
}

// keeps reports whether a field of resp is stored, whose value it may change.
func (v *visit) keeps(f *adapter.Field, resp *adapter.Response, length int) bool {
	switch f.Name {
	case "Age", "Content-Range": // made anew for every reply
		return false
	case "Content-Length":
		// Only where the handler says so: others may have more to add, or the server
		// says it.
		f.Value = strconv.Itoa(length)
		return f.Op != adapter.OpDel && adapter.BodyAllowed(resp.Status)
	case "Cache-Tag", "Surrogate-Key":
		return v.c.policy.Storing.ForwardTags || f.Op == adapter.OpDel
	case "Date", "Content-Type", "Content-Encoding", "Vary", "Cache-Control", "Expires", "Etag", "Last-Modified", "Location", "No-Vary-Search":
		return true
	}
	if f.Name == v.req.XCache { // of a cache further in
		return false
	}
	return v.c.policy.Storing.Headers.hasField(f.Name) || v.c.targeted(f.Name)
}

// targeted reports whether a field, named in canonical form, speaks to this cache.
func (c *Cache) targeted(name string) bool {
	return slices.Contains(c.targets, name)
}

// maxGeneratedETag bounds the bodies that are hashed.
const maxGeneratedETag = 1 << 20

// generateETag gives a response without a validator one; it goes to the client
// of the miss as well.
func generateETag(resp *adapter.Response) {
	h := resp.Effective
	if resp.Status != http.StatusOK || len(resp.Body) > maxGeneratedETag ||
		len(h.Values("Etag")) > 0 || len(h.Values("Last-Modified")) > 0 {
		return
	}
	sum := sha256.Sum256(resp.Body)
	f := adapter.Field{Name: "Etag", Value: `"` + hex.EncodeToString(sum[:16]) + `"`}
	resp.Header = append(resp.Header, f)
	resp.Extra = append(resp.Extra, f)
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
