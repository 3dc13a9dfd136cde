package cacheaside

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/observe"
)

// headAnswered uses the handler's answer to a HEAD for the stored answer to a
// GET: one that agrees with it makes it fresh, any other makes it invalid (RFC
// 9111 section 4.3.5). One without a validator may agree by chance, and says
// nothing.
func (v *visit) headAnswered(resp *adapter.Response) {
	if resp.Reason != "" || v.entry.Status != http.StatusOK || resp.Status != http.StatusOK || v.control.NoStore {
		return
	}
	known := parts.VersionOf(&v.entry)
	agrees := func(name, stored string) bool {
		now := resp.Effective.Values(name)
		return len(now) == 0 || now[0] == stored
	}
	switch {
	case !agrees("Etag", known.ETag), !agrees("Last-Modified", known.LastModified), !agrees("Content-Length", strconv.FormatUint(v.entry.Length(), 10)):
		v.c.invalidate(v.x.Context(), &v.req, "")
	case len(resp.Effective.Values("Etag"))+len(resp.Effective.Values("Last-Modified")) > 0:
		_, _, _ = v.update(resp, v.c.cfg.Now()) // what fails is counted there
	}
}

// update applies the header of newer, a 304 or the answer to a HEAD, to the
// entry found (RFC 9111 section 3.2) and stores it again where it still may be.
func (v *visit) update(newer *adapter.Response, now time.Time) (verdict httprules.Verdict, stored bool, err error) {
	var updated adapter.Fields
	replaced := map[string]bool{"Date": true} // that of newer, or now
	for _, f := range newer.Header {
		// A Content-Type taken away only keeps the server from guessing one.
		if !keptOnUpdate(f.Name) && (f.Name != "Content-Type" || f.Op != adapter.OpDel) {
			replaced[f.Name] = true
			updated = append(updated, f)
		}
	}
	merged := adapter.Fields{}
	for f := range v.entry.Header {
		if !replaced[f.Name] {
			merged = append(merged, adapter.Field{Name: f.Name, Value: f.Value, Op: adapter.Op(f.Op)})
		}
	}
	merged = append(merged, updated...)
	effective := layered{merged, newer.Effective}
	vary, anyOrigin := v.selectingNames(merged, effective)
	anyOrigin = anyOrigin || v.entry.Flags&entry.AnyOrigin != 0
	for f := range v.entry.Vary {
		vary = append(vary, f.Name)
	}
	vary = mergeNames(vary, nil)
	if httprules.NoTransform(effective, v.c.targets) {
		v.uncode()
	}
	resp := &adapter.Response{Status: int(v.entry.Status), Header: merged, Body: v.entry.Body}
	v.updating = !v.entry.Whole()
	verdict = v.judge(resp.Status, effective, now)
	v.recoding = recoding{to: coding.Coding(v.entry.Coding)}
	v.updating = false
	header, reason := v.storable(resp, verdict, int(v.entry.Length()))
	if reason != "" { // the client gets what there was
		verdict.Store, verdict.LacksLifetime, verdict.Reason = false, false, reason
		for f := range v.entry.Header {
			header = append(header, f)
		}
	}
	content := entry.Content{Meta: v.meta(verdict, anyOrigin, resp.Status, now), Key: v.key.Primary, Header: header, Body: resp.Body}
	content.Flags |= v.entry.Flags & (entry.Implicit | entry.OwnCoding | entry.Ranged)
	content.Coding, content.Size = v.entry.Coding, v.entry.Size
	if !v.entry.Whole() {
		known := parts.Of(&v.entry)
		setBody(&content, &known)
	}
	for tag := range v.entry.Tags {
		content.Tags = append(content.Tags, tag)
	}
	more, ok := v.tagsOf(newer.Effective, len(vary) > 0)
	content.Tags = mergeNames(content.Tags, more)
	if !ok || given(content.Tags) > v.c.policy.Storing.MaxTags {
		v.c.stats.tagsRefused.Add(1)
		verdict.Store, verdict.LacksLifetime, verdict.Reason = false, false, detailTags
		v.superseded(resp.Status, verdict) // a whole response may have fewer
	}
	if v.admissible(&verdict) && len(mergeNames(vary, v.selecting.Names)) <= maxVaryNames && !v.inner {
		v.updateDecided(&content, effective, &verdict, now)
		stored = verdict.Store && v.startWrite(content, vary, verdict, now) == ""
	}
	if v.value == nil {
		v.value, err = entry.Encode(content)
	}
	if err == nil {
		err = entry.Decode(v.value, &v.entry)
	}
	return verdict, stored, err
}

// updateDecided has the policy decide on the entry found, as it is updated in content.
func (v *visit) updateDecided(content *entry.Content, effective adapter.Header, verdict *httprules.Verdict, now time.Time) {
	if v.c.policy.Storing.Decide == nil {
		return
	}
	reason, keep := detailDecided, false
	if resp, ok := v.updatedForDecide(effective); ok {
		reason, keep = v.decided(content, resp, verdict, now)
	}
	if reason == "" {
		return
	}
	verdict.Store, verdict.Reason = false, reason
	if !keep {
		v.superseded(int(v.entry.Status), *verdict)
	}
}

// uncode takes the coding back that the cache has given the entry found.
func (v *visit) uncode() {
	e := &v.entry
	if e.Coding == 0 || e.Flags&entry.OwnCoding != 0 {
		return
	}
	if plain, err := v.c.derived.body(e, coding.Identity, 0, v.c.policy.Storing.MaxBytes); err == nil {
		e.Body, e.Coding, e.Size = plain, 0, 0
	}
}

// keptOnUpdate names the fields that are not updated, because without them the
// stored body could not be read (RFC 9111 section 3.2).
func keptOnUpdate(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range":
		return true
	}
	return false
}

// layered is what the rules see of an updated response: the merged fields, then
// those that outer middleware has set on the newer one.
type layered struct {
	first  adapter.Fields
	second adapter.Header
}

func (l layered) Values(name string) []string {
	if v := l.first.Values(name); len(v) > 0 || keptOnUpdate(name) {
		return v
	}
	return l.second.Values(name)
}

// validated is the answer to a 304 from the handler: what is stored, which the 304 has
// made fresh (RFC 9111 section 4.3.4).
func (v *visit) validated(notModified *adapter.Response, status httprules.CacheStatus) answer {
	if len(v.candidates) > 0 && !v.selected(notModified.Effective) {
		status.FwdStatus, status.Detail = http.StatusNotModified, detailOtherValidator
		return answer{outcome: flight.Retry, code: http.StatusBadGateway, status: status}
	}
	v.c.stats.revalidated.Add(1)
	v.result = observe.ResultRevalidated
	a := answer{
		outcome: flight.Retry, now: v.c.cfg.Now(),
		status: httprules.CacheStatus{Fwd: v.fwd, FwdStatus: http.StatusNotModified, Key: v.shownKey()},
	}
	if !sameResponse(parts.VersionOf(&v.entry).ETag, notModified.Effective) {
		// It speaks of another response than the one it was asked about, and
		// must not update this one.
		a.status.Detail = detailOtherValidator
		return a
	}
	verdict, stored, err := v.update(notModified, a.now)
	if err != nil {
		return answer{outcome: flight.Retry, err: err}
	}
	a.outcome = flight.Pass // unless a write ends the flight, or has
	if v.rerun != nil {
		v.rerun.done.Store(true)
	}
	v.own = v.ownFields(notModified)
	a.status.Stored, a.status.Detail, v.unstored = stored, verdict.Reason, verdict.Reason
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		a.status.TTL, a.status.HasTTL = seconds(ttl), true
	}
	return a
}

// sameResponse reports whether a 304 can be about the response with this ETag:
// a strong ETag of its own has to be the same (RFC 9111 section 4.3.4).
func sameResponse(etag string, notModified adapter.Header) bool {
	tags := notModified.Values("Etag")
	return len(tags) == 0 || strings.HasPrefix(tags[0], "W/") || etag == "" || httprules.ETagWeakMatch(etag, tags[0])
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
