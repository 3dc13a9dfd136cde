package cacheaside

import (
	"net/http"
	"slices"
	"strconv"
	"unsafe"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
)

// A stored body may be in a content coding. The response as the handler gave it and its
// coded forms are representations of one resource, each with its own ETag, length and
// digests, among which the client chooses by Accept-Encoding (RFC 9110 section 12.5.3).

// form is the representation of the entry found that the client gets.
type form struct {
	coding   coding.Coding
	body     []byte
	of       *byte           // the stored body, by which it is known whether the form is that of the entry
	accepted coding.Accepted // by the client, once it was asked
}

// represent brings the entry found into the form that the client prefers; false: its body
// is not what it claims to be.
func (v *visit) represent() bool {
	e := &v.entry
	of := unsafe.SliceData(e.Body)
	if v.form.body != nil && v.form.of == of {
		return true
	}
	v.form = form{coding: coding.Coding(e.Coding), body: e.Body, of: of}
	switch {
	case e.Coding == 0:
		return true
	case e.Coding >= coding.Count:
		v.form = form{}
		return false
	}
	v.form.accepted = coding.Accept(v.header.Values("Accept-Encoding"))
	if c := v.preferred(); c != v.form.coding {
		body, err := v.c.derived.body(e, c, v.c.compression.levels[c], v.c.policy.Storing.MaxBytes)
		if err != nil {
			v.form = form{}
			return false
		}
		v.form.coding, v.form.body = c, body
	}
	return true
}

// preferred is the coding of highest weight; among equals the stored one, then those of
// the policy in their order. Without any that is acceptable, and where the client or
// somebody in front asks for that, it is that of the handler.
func (v *visit) preferred() coding.Coding {
	e, accepted := &v.entry, &v.form.accepted
	base := baseCoding(e)
	if v.asHandled() {
		return base
	}
	if v.asked&keys.AskedRanged != 0 && accepted[base] > 0 && v.wantsRange() {
		return base
	}
	best := coding.Coding(e.Coding)
	if c := v.c.compression.best(accepted); accepted[c] > accepted[best] {
		best = c
	}
	if accepted[coding.Identity] > accepted[best] {
		best = coding.Identity
	}
	if accepted[best] == 0 {
		return base
	}
	return best
}

// asHandled reports whether the client, or somebody in front, wants the coding of the
// handler and no other.
func (v *visit) asHandled() bool {
	return v.req.Encodes || v.asked&keys.AskedDirected != 0 && httprules.NoTransform(v.header, nil)
}

// baseCoding is the coding in which the handler gave the response: that which its
// header, as it is stored, describes.
func baseCoding(e *entry.Entry) coding.Coding {
	if e.Flags&entry.OwnCoding != 0 {
		return coding.Coding(e.Coding)
	}
	return coding.Identity
}

// wantsRange reports whether a range of the response as the handler gave it is what the
// client is to get: of coded ones none are sent, because their bytes depend on who has
// coded them.
func (v *visit) wantsRange() bool {
	e := &v.entry
	if !v.ranged() || e.Status != http.StatusOK || !v.ranging(e) {
		return false
	}
	_, verdict := httprules.WantedRanges(v.header, parts.VersionOf(e), int64(e.Length()))
	return verdict == httprules.RangeOK || verdict == httprules.RangeUnsatisfiable
}

// appendTag appends the ETag of the entry's form in a coding, given that of the handler's
// (RFC 9110 section 8.8.3.3). A weak one holds for all of them, and so does what is none.
func appendTag(b []byte, etag string, base, c coding.Coding) []byte {
	n := len(etag)
	if c == base || n < 2 || etag[0] != '"' || etag[n-1] != '"' {
		return append(b, etag...)
	}
	b = append(append(b, etag[:n-1]...), '-')
	return append(append(b, c.String()...), '"')
}

// describe makes fields, of a response in the coding base, describe its form in another
// one, of that length; text is memory for what they say then.
func describe(fields adapter.Fields, text []byte, base, c coding.Coding, length int) (adapter.Fields, []byte) {
	if c == base {
		return fields, text
	}
	out := fields[:0]
	for _, f := range fields {
		switch f.Name {
		case "Content-Encoding":
			continue
		case "Content-Digest", "Repr-Digest", "Digest", "Content-Md5":
			continue // of the bytes in the other coding (RFC 9530)
		case "Content-Length":
			if f.Op != adapter.OpDel {
				n := len(text)
				text = strconv.AppendInt(text, int64(length), 10)
				f.Value = viewOf(text[n:])
			}
		case "Etag":
			n := len(text)
			text = appendTag(text, f.Value, base, c)
			f.Value = viewOf(text[n:])
		}
		out = append(out, f)
	}
	if c != coding.Identity {
		out = append(out, adapter.Field{Name: "Content-Encoding", Value: c.String()})
	}
	return out, text
}

// sameForm reports whether the client has a form of the entry that it accepts, by its own
// conditions, and makes that the one to speak of.
func (v *visit) sameForm(of httprules.Version) bool {
	if v.entry.Coding == 0 {
		return httprules.NotModified(v.header, of.ETag, of.LastModified, of.Date)
	}
	c, ok := v.hasForm(of, baseCoding(&v.entry), v.form.coding, &v.form.accepted)
	if ok {
		v.form.coding = c
	}
	return ok
}

// hasForm returns the coding of that form of a response which the client has, by its own
// conditions: first, or another one that it accepts. The version is that of the form in
// the coding base.
func (v *visit) hasForm(of httprules.Version, base, first coding.Coding, accepted *coding.Accepted) (coding.Coding, bool) {
	has := func(c coding.Coding) bool {
		v.scratch = appendTag(v.scratch[:0], of.ETag, base, c)
		return httprules.NotModified(v.header, viewOf(v.scratch), of.LastModified, of.Date)
	}
	if has(first) {
		return first, true
	}
	for c := range coding.Coding(coding.Count) {
		if accepted[c] > 0 && c != first && has(c) {
			return c, true
		}
	}
	return 0, false
}

// negotiable makes the handler's own response, which goes to this client as it came, one
// of several: others get it in a coding. A client that accepts it only in one, or has it
// in one, gets that at once.
func (v *visit) negotiable(resp *adapter.Response, conditional bool) *adapter.Response {
	if v.recoding.to != coding.Identity {
		resp.Extra = varying(resp.Extra, resp.Effective)
	}
	if conditional {
		if c, has := v.has(resp.Effective); has {
			if v.drain != nil {
				v.drain() // nobody else would
			}
			return inForm(resp, http.StatusNotModified, v.recoding.base(), c, nil)
		}
	}
	best, only := v.onlyCoded()
	if !only {
		return resp
	}
	body := resp.Body
	if v.drain != nil {
		v.drain()
		body = v.coming.body()
	}
	if len(body) == 0 {
		return resp
	}
	coded, err := v.c.derived.encode(best, v.c.compression.levels[best], body)
	if err != nil {
		return resp
	}
	if t := v.recoding.contentType; t != "" {
		resp.Header = append(resp.Header, adapter.Field{Name: "Content-Type", Value: t})
	}
	return inForm(resp, resp.Status, coding.Identity, best, coded)
}

// varying adds to extra fields that the response depends on Accept-Encoding, unless h says
// so.
func varying(extra adapter.Fields, h adapter.Header) adapter.Fields {
	if slices.ContainsFunc(h.Values("Vary"), namesCoding) {
		return extra
	}
	return append(extra, adapter.Field{Name: "Vary", Value: "Accept-Encoding", Op: adapter.OpAdd})
}

// has returns the coding of that form of the handler's response with this header which the
// client has, by its own conditions.
func (v *visit) has(h adapter.Header) (coding.Coding, bool) {
	of := httprules.Version{ETag: firstOf(h, "Etag"), LastModified: firstOf(h, "Last-Modified"), Date: v.c.cfg.Now()}
	base, accepted := v.recoding.base(), coding.Accepted{}
	if v.recoding.to != coding.Identity {
		accepted = coding.Accept(v.header.Values("Accept-Encoding"))
	}
	return v.hasForm(of, base, base, &accepted)
}

// onlyCoded reports whether the client takes the response, which is to be stored in a
// coding and came without one, in a coding of the policy's only, and in which.
func (v *visit) onlyCoded() (best coding.Coding, only bool) {
	if v.recoding.to == coding.Identity || v.recoding.own || v.asHandled() {
		return 0, false
	}
	accepted := coding.Accept(v.header.Values("Accept-Encoding"))
	best = v.c.compression.best(&accepted)
	return best, accepted[coding.Identity] == 0 && accepted[best] > 0
}

// inForm is the handler's response in another form.
func inForm(resp *adapter.Response, status int, base, c coding.Coding, body []byte) *adapter.Response {
	header, _ := describe(resp.Header, nil, base, c, len(body))
	if status == http.StatusNotModified {
		header = undescribed(header)
	}
	return &adapter.Response{Status: status, Header: header, Extra: without(resp.Extra, "Etag"), Body: body}
}

// declaredLength is the Content-Length of a response; -1: it has none.
func declaredLength(h adapter.Header) int64 {
	n, err := strconv.ParseInt(firstOf(h, "Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
