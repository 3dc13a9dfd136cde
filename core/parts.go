package cacheaside

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/freshness"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/observe"
)

// A 206 of the handler is kept as an incomplete response (RFC 9111 section 3.3): under
// the key of the whole, with the parts that are known. It answers requests for ranges
// within a part, and nothing else. A further 206 with the same strong validator is
// combined with it (section 3.4), until it is whole. Who wants more than there is has
// the handler asked for what is missing.

// smallPart is how many times as long as a part that comes all may be that are known, if it
// is to be added: they are written together, so that a byte at a time would be a way to
// have the store written full.
const smallPart = 64

// partial is what of an incomplete response concerns the request.
type partial struct {
	part     httprules.ByteRange // that the handler's 206 holds; of Length 0: none that can be kept
	complete int64               // the length of all that it is part of
	updating bool                // the entry found, which is incomplete, is being updated
	gap      httprules.ByteRange // that the handler is asked for, to complete what is known; of Length 0: none
	known    *entry.Entry        // the entry that has the gap
}

// lacking reports whether the entry found is incomplete and not enough for the request.
func (v *visit) lacking() bool { return !v.entry.Whole() && !v.covered() }

// covered reports whether the entry found, which is incomplete, has all that is asked
// for. A HEAD, a request for the whole, and one for a range that there is not, are
// not answered by it (RFC 9111 section 3.3).
func (v *visit) covered() bool {
	ranges, ok := v.ranges(parts.VersionOf(&v.entry), int64(v.entry.Size))
	return ok && parts.Covers(&v.entry, ranges)
}

// ranges are those that the request asks for of a representation in that version, of
// size bytes; none: it asks for the whole. Not ok: that is for the handler to say,
// because the request is no GET, the ranges are not there, or If-Range rules them out.
func (v *visit) ranges(of httprules.Version, size int64) (ranges []httprules.ByteRange, ok bool) {
	if !v.ranged() {
		return nil, false
	}
	if v.asked&keys.AskedRanged == 0 {
		return nil, true
	}
	ranges, verdict := httprules.WantedRanges(v.header, of, size)
	return ranges, verdict <= httprules.RangeOK
}

// incomplete corrects a decision for an entry that is not all there.
func (v *visit) incomplete(d httprules.Decision) httprules.Decision {
	if v.covered() {
		return d
	}
	if d.Use != httprules.Validate {
		d.Use, d.Fwd = httprules.Validate, fwdPartial
	}
	d.MaySWR, d.MaySIE = false, false
	return d
}

// lacks makes the request one that asks the handler for what the entry found, by the
// decision d, has not.
func (v *visit) lacks(d httprules.Decision) {
	v.stale, v.fwd, v.gap = false, d.Fwd, httprules.ByteRange{}
	version, size := parts.VersionOf(&v.entry), int64(v.entry.Size)
	limit := v.c.policy.Storing.MaxBytes
	lenient := v.c.policy.Requests.LenientParts && version.ETag == "" && version.LastModified == "" && v.asked&keys.AskedRanged == 0
	if d.Fwd != fwdPartial || version.IfRange() == "" && !lenient || limit > 0 && size > limit || v.req.Rerun != nil {
		return
	}
	wanted, ok := v.ranges(version, size)
	if !ok {
		return
	}
	if len(wanted) == 0 {
		wanted = []httprules.ByteRange{{Length: size}}
	}
	known := parts.Of(&v.entry)
	// Where the handler gives what does not fit, all has to be asked for anew.
	if gap, some := known.Missing(wanted); some && v.x.Detach() != nil {
		e := v.entry
		v.gap, v.known = gap, &e
	}
}

// askForGap gives the fields by which the handler is asked for the gap, or for all if
// that has changed (RFC 9110 section 13.1.5).
func (v *visit) askForGap() http.Header {
	asked := fmt.Sprintf("bytes=%d-", v.gap.Start)
	if end := v.gap.Start + v.gap.Length; end < int64(v.known.Size) {
		asked += strconv.FormatInt(end-1, 10)
	}
	set := http.Header{"Range": {asked}, "If-Range": nil, "If-None-Match": nil, "If-Modified-Since": nil}
	if validator := parts.VersionOf(v.known).IfRange(); validator != "" {
		set["If-Range"] = []string{validator}
	}
	return set
}

// takePart notes which part of what resp, a 206, is, or says why that cannot be known.
func (v *visit) takePart(resp *adapter.Response) (reason string) {
	v.part = httprules.ByteRange{}
	if v.asked&keys.AskedRanged == 0 && v.gap.Length == 0 {
		return detailPartial // nobody has asked for it
	}
	if t := resp.Header.Get("Content-Type"); httprules.IsByteranges(t) {
		return detailMultipart
	}
	r, complete, ok := httprules.ParseContentRange(resp.Header.Values("Content-Range"))
	if ok && v.miscounted(r, complete, int64(len(resp.Body))) {
		r.Length, complete = r.Length-1, complete-1
	}
	if !ok || r.Length != int64(len(resp.Body)) {
		return detailContentRange
	}
	v.part, v.complete = r, complete
	return ""
}

// miscounted reports whether a 206 has the last bytes, as many as were asked for, and says
// one too many of their end, for a policy that lets that pass.
func (v *visit) miscounted(r httprules.ByteRange, complete, length int64) bool {
	return v.c.policy.Requests.LenientParts && r.Length == length+1 && r.Start+r.Length == complete && v.gap.Length == 0 &&
		firstOf(v.header, "Range") == fmt.Sprintf("bytes=-%d", length)
}

// announcePart is takePart before the body is there, of which nothing is known yet.
func (v *visit) announcePart(resp *adapter.Response) {
	v.part = httprules.ByteRange{}
	if v.asked&keys.AskedRanged == 0 || httprules.IsByteranges(firstOf(resp.Effective, "Content-Type")) {
		return
	}
	if r, complete, ok := httprules.ParseContentRange(resp.Header.Values("Content-Range")); ok {
		v.part, v.complete = r, complete
	}
}

// combine makes content, which has the body of a 206, one with all parts that are known.
// names are those that select it. The reason is why that is not to be stored.
//
// What is stored is read again: it may have been purged since, or completed. Two
// requests at the same time may still lose one another's part.
func (v *visit) combine(content *entry.Content, names []string, now time.Time) (all []string, reason string) {
	body := parts.New(v.complete, v.part.Start, content.Body)
	newer := parts.VersionOfContent(content)
	had, failed := v.readBefore(now)
	switch {
	case failed:
		return nil, detailStoreFailed
	case had && v.entry.Whole():
		if v.staysWhole(content, newer, now) {
			return nil, detailWhole
		}
	case had:
		if sum, ok := v.with(&v.entry, content); ok {
			if !sum.Whole() && v.part.Length < int64(len(v.entry.Body))/smallPart {
				return nil, detailSmallPart
			}
			if names, ok = v.inherit(&v.entry, content, names); ok {
				body = sum
			}
		}
	}
	if v.gap.Length > 0 && !v.suffices(&body, newer) {
		return nil, detailOtherPart
	}
	setBody(content, &body)
	return names, ""
}

// with is what is known by e, which is incomplete, and by content, which has the body of
// a 206. Not ok: they do not belong together, or contradict one another.
func (v *visit) with(e *entry.Entry, content *entry.Content) (sum parts.Body, ok bool) {
	if int64(e.Size) != v.complete || !httprules.SameVersion(parts.VersionOf(e), parts.VersionOfContent(content)) || !sameCoding(e, content) {
		return sum, false
	}
	known := parts.Of(e)
	return known.Add(v.part.Start, content.Body, v.c.policy.Storing.MaxBytes)
}

// setBody gives content the body, as a part or as the whole.
func setBody(content *entry.Content, body *parts.Body) {
	content.Parts, content.Body = body.Stored()
	content.Flags |= entry.Ranged
	content.Size, content.Status = uint64(body.Size), http.StatusPartialContent
	if len(content.Parts) == 0 {
		content.Size, content.Status = 0, http.StatusOK
	}
	for i := range content.Header {
		if f := &content.Header[i]; f.Name == "Content-Length" && adapter.Op(f.Op) != adapter.OpDel {
			f.Value = strconv.FormatInt(body.Size, 10)
		}
	}
}

// readBefore looks again for what is stored.
func (v *visit) readBefore(now time.Time) (had, failed bool) {
	old, soft := v.entry, v.Soft
	v.hasRec, v.now, v.ahead = false, now, nil
	if v.lookup(context.WithoutCancel(v.x.Context())) == foundEntry {
		return true, false
	}
	v.entry, v.Soft = old, soft
	return false, v.why == observe.CauseStoreError || v.why == observe.CauseBreaker
}

// staysWhole reports whether the entry found, which is whole, is of more use than the
// part in content: that does not contradict it, and it is fresh or can be validated.
func (v *visit) staysWhole(content *entry.Content, newer httprules.Version, now time.Time) bool {
	e := &v.entry
	plain := e.Coding == 0
	older := parts.VersionOf(e)
	switch {
	case e.Status != http.StatusOK, int64(e.Length()) != v.complete, httprules.OtherVersion(older, newer):
		return false
	case plain && sameCoding(e, content) && !slices.Equal(e.Body[v.part.Start:v.part.Start+v.part.Length], content.Body):
		return false
	}
	return older.ETag != "" || older.LastModified != "" ||
		freshness.Decide(e, v.Soft, now, httprules.RequestControl{}).Use != httprules.Validate
}

// sameCoding reports whether both have the same Content-Encoding.
func sameCoding(e *entry.Entry, c *entry.Content) bool {
	of := func(fields func(func(entry.Field) bool)) (codings []string) {
		for f := range fields {
			if f.Name == "Content-Encoding" {
				codings = append(codings, f.Value)
			}
		}
		return codings
	}
	return slices.Equal(of(e.Header), of(slices.Values(c.Header)))
}

// inherit makes content, which is combined with e, have the fields, tags and selecting
// names of both: of fields its own win (RFC 9111 section 3.4). Not ok: that would be too
// many, and content is as it was.
func (v *visit) inherit(e *entry.Entry, content *entry.Content, names []string) (all []string, ok bool) {
	storing := &v.c.policy.Storing
	header := slices.Clone(content.Header)
	size := 0
	for f := range e.Header {
		if !slices.ContainsFunc(content.Header, func(own entry.Field) bool { return own.Name == f.Name }) {
			header = append(header, f)
		}
	}
	for i := range header {
		size += len(header[i].Name) + len(header[i].Value)
	}
	all = names
	for f := range e.Vary {
		all = mergeNames(all, []string{f.Name})
	}
	tags := slices.Clone(content.Tags)
	for tag := range e.Tags {
		tags = append(tags, tag)
	}
	tags = mergeNames(tags, nil)
	if size > storing.MaxHeaderBytes || given(tags) > storing.MaxTags || len(mergeNames(all, v.selecting.Names)) > maxVaryNames {
		return names, false
	}
	content.Header, content.Tags = header, tags
	content.Flags &= e.Flags | ^entry.AnyOrigin
	return all, true
}

// suffices reports whether body has all that the client wants.
func (v *visit) suffices(body *parts.Body, version httprules.Version) bool {
	ranges, ok := v.ranges(version, body.Size)
	if !ok {
		return false
	}
	if len(ranges) == 0 {
		return body.Whole()
	}
	return !slices.ContainsFunc(ranges, func(r httprules.ByteRange) bool { return !body.Covers(r) })
}

// replyPart makes r the answer of the entry found, which is incomplete.
func (v *visit) replyPart(r *adapter.Response, version httprules.Version) {
	if v.asked&keys.AskedConditional != 0 && httprules.NotModified(v.header, version.ETag, version.LastModified, version.Date) && v.covered() {
		r.Header = undescribed(r.Header)
		r.Status, r.Body = http.StatusNotModified, nil
		return
	}
	ranges, ok := v.ranges(version, int64(v.entry.Size))
	if !ok || len(ranges) == 0 || !v.covered() { // of a background run, which nobody reads
		r.Header = undescribed(r.Header)
		r.Status, r.Body = http.StatusBadGateway, nil
		return
	}
	partialContent(r, ranges, int64(v.entry.Size), func(one httprules.ByteRange) []byte {
		b, _ := parts.Cut(&v.entry, one)
		return b
	})
}

// completed answers where the handler was asked for the gap and has sent a part, or that
// there is none: with what is known now. If that is not what the client wants, because
// the handler's is of another version and it does not heed If-Range, or because of a
// purge meanwhile, all is asked for anew.
func (v *visit) completed(resp *adapter.Response, status httprules.CacheStatus) error {
	if (v.inner || v.leaves) && resp.Reason == "" {
		resp.Reason = adapter.ReasonInner
	}
	now := v.c.cfg.Now()
	a, reason := v.admit(resp, &status)
	value := v.value
	if reason != "" {
		status.Detail, v.unstored = reason, reason
		if value == nil {
			value = v.forThisClient(resp, now)
		}
	}
	if d, ok := v.usable(); reason == detailWhole && ok { // somebody else has completed it
		v.share(v.lead)
		return v.collapsed(d)
	}
	if value == nil || entry.Decode(value, &v.entry) != nil {
		return v.anew(status)
	}
	v.Soft = 0
	v.own = v.ownFields(resp)
	status.FwdStatus = resp.Status
	a.now, a.status = now, status
	return v.settle(a)
}

// forThisClient is what completed sends where the result is not to be stored: nil if the
// handler's part does not belong to what is known. What was purged or evicted since the
// request came is still good for it.
func (v *visit) forThisClient(resp *adapter.Response, now time.Time) []byte {
	if resp.Reason != "" || resp.Status != http.StatusPartialContent || v.takePart(resp) != "" {
		return nil
	}
	verdict := v.judge(resp.Status, resp.Effective, now)
	content := entry.Content{Meta: v.meta(verdict, false, resp.Status, now), Key: v.key.Primary, Body: resp.Body}
	for _, f := range resp.Header {
		if f.Name != "Content-Range" && f.Name != "Age" && f.Name != "Set-Cookie" { // which ownFields adds
			content.Header = append(content.Header, entry.Field{Name: f.Name, Value: f.Value, Op: uint8(f.Op)})
		}
	}
	body, ok := v.with(v.known, &content)
	if !ok || !v.suffices(&body, parts.VersionOfContent(&content)) {
		return nil
	}
	if _, ok := v.inherit(v.known, &content, nil); !ok {
		return nil
	}
	setBody(&content, &body)
	if !verdict.Store && !verdict.OfRequest { // what was stored is superseded
		v.remove()
	}
	value, err := entry.Encode(content)
	if err != nil {
		return nil
	}
	return value
}

// anew removes what is stored, and has the request made once more, in the background,
// for the whole: this one has had its call of the handler.
func (v *visit) anew(status httprules.CacheStatus) error {
	v.remove()
	v.c.conclude(v.lead, flight.Retry, nil)
	v.lead = nil
	v.unclaim()
	key := v.flightKey()
	refused := func() error {
		status.Detail = detailOtherPart
		return v.noAnswer(http.StatusBadGateway, status)
	}
	if v.outerLead(key) != nil || v.inside(key) {
		return refused()
	}
	l, leads, ticket := v.c.join(key)
	var run *rerun
	if leads {
		l.Follow()
		var room bool
		if run, room = v.detach(l, observe.TriggerOtherPart); !room {
			return refused()
		}
	}
	outcome, e := l.Wait(v.x.Context(), ticket, v.c.policy.Coalescing.Wait)
	if d, ok := v.landed(outcome, &e); ok {
		return v.collapsed(d)
	}
	if resp := run.answered(outcome); resp != nil { // for this client, whose request it was
		status.FwdStatus = resp.Status
		resp.Extra = v.c.withoutTags(statusFields(status, v.req.XCache, xcacheMiss), resp.Header)
		return v.send(resp)
	}
	return refused()
}
