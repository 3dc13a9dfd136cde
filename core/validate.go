package cacheaside

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// revalidate asks the handler whether the stale entry is still good (RFC 9111
// section 4.3), or for a new response where the entry has no validator.
// That is done in the background where it may be, or while the client waits.
func (v *visit) revalidate(d httprules.Decision) error {
	v.stale = true
	if d.MaySWR && v.refresh() {
		v.c.stats.staleWhileRevalidate.Add(1)
		return v.replyStored(v.now, httprules.CacheStatus{
			Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey(), Detail: detailStaleWhileRevalidate,
		})
	}
	v.counter = &v.c.stats.stale
	defer v.count()
	if v.control.OnlyIfCached {
		return v.gatewayTimeout()
	}
	if d.MaySIE && v.softens() {
		return v.coalesceSoftly()
	}
	return v.coalesce()
}

// conditions gives the request fields for the handler, nil for those that the
// request has, and whether they make a 304 speak of v.entry.
func (v *visit) conditions() (set http.Header, validate bool) {
	if v.req.Method != http.MethodGet {
		return nil, false
	}
	var etag, modified string
	if v.stale {
		etag, modified = v.validators()
	} else if v.candidates = v.readCandidates(v.x.Context()); len(v.candidates) > 0 {
		var tags []string
		for i := range v.candidates {
			tags = append(tags, etagOf(&v.candidates[i]))
		}
		etag = strings.Join(tags, ", ")
	}
	if etag == "" && modified == "" {
		// A response for all who wait is not to depend on what this client has.
		if v.lead != nil && v.conditional() {
			return http.Header{"If-None-Match": nil, "If-Modified-Since": nil}, false
		}
		return nil, false
	}
	set = http.Header{"If-None-Match": nil, "If-Modified-Since": nil, "Range": nil, "If-Range": nil}
	if etag != "" {
		set["If-None-Match"] = []string{etag}
	}
	if modified != "" {
		set["If-Modified-Since"] = []string{modified}
	}
	return set, true
}

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
		if etag, _ := v.validators(); etag != "" && !v.coded() {
			out = append(out, v.entry)
		}
	}
	return out
}

// maxCandidates bounds the variants that one request validates.
const maxCandidates = 4

// selected makes that candidate the entry found which a 304 from the handler
// selects by its ETag, or, without one, by being the only one.
func (f *found) selected(notModified adapter.Header) bool {
	tags := notModified.Values("Etag")
	for i := range f.candidates {
		e := &f.candidates[i]
		if len(tags) == 0 && len(f.candidates) == 1 || len(tags) > 0 && tags[0] == etagOf(e) {
			f.entry, f.candidates = *e, nil
			return true
		}
	}
	return false
}

// validated is the answer to a 304 from the handler: what is stored, which the 304 has
// made fresh (RFC 9111 section 4.3.4).
func (v *visit) validated(notModified *adapter.Response, status httprules.CacheStatus) answer {
	if len(v.candidates) > 0 && !v.selected(notModified.Effective) {
		status.FwdStatus, status.Detail = http.StatusNotModified, detailOtherValidator
		return answer{outcome: flight.Retry, code: http.StatusBadGateway, status: status}
	}
	v.c.stats.revalidated.Add(1)
	a := answer{
		outcome: flight.Retry, now: v.c.cfg.Now(),
		status: httprules.CacheStatus{Fwd: v.fwd, FwdStatus: http.StatusNotModified, Key: v.shownKey()},
	}
	if etag, _ := v.validators(); !sameResponse(etag, notModified.Effective) {
		// It speaks of another response than the one it was asked about, and
		// must not update this one.
		a.status.Detail = detailOtherValidator
		return a
	}
	verdict, stored, err := v.update(notModified, a.now)
	if err != nil {
		return answer{outcome: flight.Retry, err: err}
	}
	a.outcome = flight.Pass // unless that is the write's duty now, or was
	if v.rerun != nil {
		v.rerun.done.Store(true)
	}
	v.own = v.ownFields(notModified)
	a.status.Stored, a.status.Detail = stored, verdict.Reason
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		a.status.TTL, a.status.HasTTL = seconds(ttl), true
	}
	return a
}

// ownFields are those of a 304 that are not in the entry that it has freshened:
// what the handler says to this client alone goes to this client.
func (v *visit) ownFields(notModified *adapter.Response) (own adapter.Fields) {
	stored := make(map[string]bool)
	for f := range v.entry.Header {
		stored[f.Name] = f.Name != "Set-Cookie" || v.c.policy.Storing.SetCookie
	}
	for _, f := range notModified.Header {
		switch {
		case f.Op == adapter.OpDel, stored[f.Name], keptOnUpdate(f.Name), f.Name == "Age", f.Name == "Content-Type",
			!v.c.policy.Storing.ForwardTags && slices.Contains(httprules.TagFields, f.Name):
		default:
			own = append(own, f)
		}
	}
	return own
}

// sameResponse reports whether a 304 can be about the response with this ETag:
// a strong ETag of its own has to be the same (RFC 9111 section 4.3.4).
func sameResponse(etag string, notModified adapter.Header) bool {
	tags := notModified.Values("Etag")
	return len(tags) == 0 || strings.HasPrefix(tags[0], "W/") || etag == "" || httprules.ETagWeakMatch(etag, tags[0])
}

// validators returns the ETag and Last-Modified of the entry found.
func (f *found) validators() (etag, modified string) {
	for h := range f.entry.Header {
		switch h.Name {
		case "Etag":
			etag = h.Value
		case "Last-Modified":
			modified = h.Value
		}
	}
	return etag, modified
}

func etagOf(e *entry.Entry) string {
	for f := range e.Header {
		if f.Name == "Etag" {
			return f.Value
		}
	}
	return ""
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
