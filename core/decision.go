package cacheaside

import (
	"slices"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/flight"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Response is what [StoringPolicy].Decide is given of a response. It is only to be read,
// and nothing of it to be kept: its memory is used again.
type Response struct {
	Status int
	// Header gives the fields that the client would see, those of middleware in front
	// included, by their canonical names. Of a response that is put together from parts, or
	// updated by a 304, they are those of the result.
	Header adapter.Header
	// Body is the body in the coding that the handler gave it (Content-Encoding), before the
	// cache compresses it.
	Body []byte
	// TTL is how long the response would be fresh by the rules, or by [SetTTL]; 0 or less:
	// it would not be.
	TTL time.Duration
}

// Decision is what [StoringPolicy].Decide makes of a response. The zero value stores it as
// the rules have it.
type Decision struct {
	// NoStore has the response not stored. What was stored before, and is stale, goes, as
	// RFC 9111 section 4.3.3 has it: there is a newer response.
	NoStore bool
	// KeepStale, with NoStore, has what was stored before stay, as after a 500: where
	// [StalePolicy] allows it, it goes on to answer in the place of errors and while it is
	// renewed. It is for errors that the handler gives inside of a 200.
	KeepStale bool
	// TTL is how long the response is stored for, counted from when the handler has
	// answered, whatever the policy and the response say. Less than a millisecond counts as
	// one, more than a year as a year. A response with no-cache is still validated before
	// each use. Zero: as the rules have it; where these give no lifetime it is not stored.
	// Negative: NoStore.
	TTL time.Duration
}

// admissible reports whether a response may be stored, as far as its header tells: Decide
// may give a lifetime to one that has none.
func (v *visit) admissible(verdict *httprules.Verdict) bool {
	return verdict.Store || verdict.LacksLifetime && v.c.policy.Storing.Decide != nil
}

// rejected is decided for resp, which is about to be stored as content. The outcome is that
// of the flight where it is not.
func (v *visit) rejected(resp *adapter.Response, content *entry.Content, verdict *httprules.Verdict, now time.Time) (reason string, outcome flight.Outcome) {
	if v.c.policy.Storing.Decide == nil {
		return "", flight.Pass
	}
	reason, keep := v.decided(content, v.asDecided(resp, content), verdict, now)
	switch {
	case reason != "" && !keep:
		v.superseded(resp.Status, *verdict)
	case keep && v.rerun != nil: // what is stored stays, and so does its window
		return reason, flight.Failed
	}
	return reason, flight.Pass
}

// decided has the policy decide on a response that is about to be stored as content, by
// the verdict, which it corrects. The reason is why it is not to be stored; keep says that
// what is stored stays.
func (v *visit) decided(content *entry.Content, resp *Response, verdict *httprules.Verdict, now time.Time) (reason string, keep bool) {
	resp.TTL = verdict.Lifetime - verdict.InitialAge
	d := v.c.decideOn(&v.req.Request, resp)
	switch {
	case d.NoStore, d.TTL < 0:
		return detailDecided, d.KeepStale
	case d.TTL > 0:
		*verdict = verdict.For(bounded(d.TTL))
		v.jittered(verdict, now)
		content.Lifetime = int64(verdict.Lifetime)
	case verdict.LacksLifetime:
		return verdict.Reason, false
	}
	return "", false
}

// decideOn asks the policy, whose panic is contained.
func (c *Cache) decideOn(req *Request, resp *Response) (d Decision) {
	defer func() {
		if p := recover(); p != nil {
			c.decidePanicked(p)
			d = Decision{NoStore: true}
		}
	}()
	resp.Body = slices.Clip(resp.Body)
	return c.policy.Storing.Decide(req, resp)
}

// asDecided is resp, or what it has made of the parts in content, for Decide.
func (v *visit) asDecided(resp *adapter.Response, content *entry.Content) *Response {
	if v.part.Length > 0 && len(content.Parts) == 0 { // it is whole now
		return &Response{Status: int(content.Status), Header: fieldsOf(content.Header), Body: content.Body}
	}
	return &Response{Status: resp.Status, Header: resp.Effective, Body: resp.Body}
}

// updatedForDecide is the entry found, with its fields as they were updated.
func (v *visit) updatedForDecide(effective adapter.Header) (r *Response, ok bool) {
	e := &v.entry
	r = &Response{Status: int(e.Status), Header: effective, Body: e.Body}
	if e.Coding != 0 && e.Flags&entry.OwnCoding == 0 {
		plain, err := v.c.derived.body(e, coding.Identity, 0, v.c.policy.Storing.MaxBytes)
		if err != nil {
			return nil, false
		}
		r.Body = plain
	}
	return r, true
}

// fieldsOf is a header of stored fields.
type fieldsOf []entry.Field

// Values implements [adapter.Header].
func (f fieldsOf) Values(name string) (out []string) {
	for i := range f {
		if adapter.Op(f[i].Op) != adapter.OpDel && httprules.EqualFold(f[i].Name, name) {
			out = append(out, f[i].Value)
		}
	}
	return out
}
