package cacheaside

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// revalidate asks the handler whether the stale entry is still good (RFC 9111
// section 4.3), or for a new response where the entry has no validator.
// That is done in the background where it may be, or while the client waits.
func (c *Cache) revalidate(x adapter.Exchange, v *visit, d httprules.Decision) error {
	v.stale = true
	if d.MaySWR && c.refresh(x, v) {
		c.stats.staleWhileRevalidate.Add(1)
		return c.replyStored(x, v, v.now, httprules.CacheStatus{
			Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: c.shownKey(v), Detail: "stale-while-revalidate",
		})
	}
	v.counter = &c.stats.stale
	defer v.count()
	if v.control.OnlyIfCached {
		return c.gatewayTimeout(x)
	}
	if d.MaySIE && c.softens(v) {
		return c.askSoftly(x, v)
	}
	return c.ask(x, v)
}

// conditions gives the request fields for the handler, nil for those that the
// request has, and whether they make a 304 speak of v.entry.
func (c *Cache) conditions(x adapter.Exchange, v *visit) (set http.Header, validate bool) {
	if v.req.Method != http.MethodGet {
		return nil, false
	}
	var etag, modified string
	if v.stale {
		etag, modified = v.validators()
	} else if v.candidates = c.candidates(x.Context(), v); len(v.candidates) > 0 {
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

// validators returns the ETag and Last-Modified of the entry found.
func (v *visit) validators() (etag, modified string) {
	for f := range v.entry.Header {
		switch f.Name {
		case "Etag":
			etag = f.Value
		case "Last-Modified":
			modified = f.Value
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
func (v *visit) coded() bool {
	for f := range v.entry.Header {
		if f.Name == "Content-Encoding" {
			return true
		}
	}
	return false
}

// selected makes that candidate the entry found which a 304 from the handler
// selects by its ETag, or, without one, by being the only one.
func (v *visit) selected(notModified adapter.Header) bool {
	tags := notModified.Values("Etag")
	for i := range v.candidates {
		e := &v.candidates[i]
		if len(tags) == 0 && len(v.candidates) == 1 || len(tags) > 0 && tags[0] == etagOf(e) {
			v.entry, v.candidates = *e, nil
			return true
		}
	}
	return false
}

// freshened applies a 304 from the handler to the stored entry and answers from
// it (RFC 9111 section 4.3.4).
func (c *Cache) freshened(x adapter.Exchange, v *visit, notModified *adapter.Response) error {
	c.stats.revalidated.Add(1)
	now := c.cfg.Now()
	status := httprules.CacheStatus{Fwd: v.fwd, FwdStatus: http.StatusNotModified, Key: c.shownKey(v)}
	if etag, _ := v.validators(); !sameResponse(etag, notModified.Effective) {
		// It speaks of another response than the one it was asked about, and
		// must not update this one.
		status.Detail = "other-validator"
		c.conclude(v.lead, flight.Retry, nil)
		return c.replyStored(x, v, now, status)
	}
	verdict, stored, err := c.update(x, v, notModified, now)
	if err != nil {
		return err
	}
	c.conclude(v.lead, flight.Pass, nil) // unless that is the write's duty now, or was
	if r := v.rerun; r != nil {
		r.done.Store(true)
	}
	v.own = c.ownFields(notModified, v)
	status.Stored, status.Detail = stored, verdict.Reason
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		status.TTL, status.HasTTL = seconds(ttl), true
	}
	return c.replyStored(x, v, now, status)
}

// ownFields are those of a 304 that are not in the entry that it has freshened:
// what the handler says to this client alone goes to this client.
func (c *Cache) ownFields(notModified *adapter.Response, v *visit) (own adapter.Fields) {
	stored := make(map[string]bool)
	for f := range v.entry.Header {
		stored[f.Name] = f.Name != "Set-Cookie" || c.policy.Storing.SetCookie
	}
	for _, f := range notModified.Header {
		switch {
		case f.Op == adapter.OpDel, stored[f.Name], keptOnUpdate(f.Name), f.Name == "Age", f.Name == "Content-Type",
			!c.policy.Storing.ForwardTags && slices.Contains(httprules.TagFields, f.Name):
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

// headAnswered uses the handler's answer to a HEAD for the stored answer to a
// GET: one that agrees with it makes it fresh, any other makes it invalid (RFC
// 9111 section 4.3.5). One without a validator may agree by chance, and says
// nothing.
func (c *Cache) headAnswered(x adapter.Exchange, v *visit, resp *adapter.Response) {
	if resp.Reason != "" || v.entry.Status != http.StatusOK || resp.Status != http.StatusOK || v.control.NoStore {
		return
	}
	etag, modified := v.validators()
	agrees := func(name, stored string) bool {
		now := resp.Effective.Values(name)
		return len(now) == 0 || now[0] == stored
	}
	switch {
	case !agrees("Etag", etag), !agrees("Last-Modified", modified), !agrees("Content-Length", strconv.Itoa(len(v.entry.Body))):
		c.invalidate(x.Context(), &v.req)
	case len(resp.Effective.Values("Etag"))+len(resp.Effective.Values("Last-Modified")) > 0:
		_, _, _ = c.update(x, v, resp, c.cfg.Now()) // what fails is counted there
	}
}

// update applies the header of newer, a 304 or the answer to a HEAD, to the
// entry found (RFC 9111 section 3.2) and stores it again where it still may be.
func (c *Cache) update(x adapter.Exchange, v *visit, newer *adapter.Response, now time.Time) (verdict httprules.Verdict, stored bool, err error) {
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
	vary, anyOrigin := c.selectingNames(v, merged, effective)
	anyOrigin = anyOrigin || v.entry.Flags&entry.AnyOrigin != 0
	for f := range v.entry.Vary {
		vary = append(vary, f.Name)
	}
	vary = mergeNames(vary, nil)
	resp := &adapter.Response{Status: int(v.entry.Status), Header: merged, Body: v.entry.Body}
	verdict = c.judge(v, resp.Status, effective, now)
	header, reason := c.storable(v, resp, verdict)
	if reason != "" { // the client gets what there was
		verdict.Store, verdict.Reason = false, reason
		for f := range v.entry.Header {
			header = append(header, f)
		}
	}
	content := entry.Content{Meta: c.meta(v, verdict, anyOrigin, resp.Status, now), Key: v.key.Primary, Header: header, Body: resp.Body}
	content.Flags |= v.entry.Flags & entry.Implicit
	for tag := range v.entry.Tags {
		content.Tags = append(content.Tags, tag)
	}
	more, ok := c.tagsOf(v, newer.Effective, len(vary) > 0)
	content.Tags = mergeNames(content.Tags, more)
	if !ok || given(content.Tags) > c.policy.Storing.MaxTags {
		c.stats.tagsRefused.Add(1)
		verdict.Store, verdict.Reason = false, "tags"
		c.superseded(x, v, resp.Status, verdict) // a whole response may have fewer
	}
	if verdict.Store && len(mergeNames(vary, v.by.Names)) <= maxVaryNames && !v.inner {
		stored = c.send(x, v, content, vary, verdict, now) == ""
	}
	if v.value == nil {
		v.value, err = entry.Encode(content)
	}
	if err == nil {
		err = entry.Decode(v.value, &v.entry)
	}
	return verdict, stored, err
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
