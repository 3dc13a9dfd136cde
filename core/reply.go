package cacheaside

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
)

// hit answers with v.entry.
func (v *visit) hit(d httprules.Decision) error {
	v.c.stats.hits.Add(1)
	if v.result = observe.ResultHit; d.Use == httprules.StaleAllowed {
		v.result, v.stood = observe.ResultStale, observe.StaleMaxStale
	}
	s := httprules.CacheStatus{Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey()}
	if v.near {
		v.c.stats.near.Add(1)
		s.Detail = detailNear
	}
	if v.elsewhere {
		s.Detail = detailNoVarySearch
	}
	return v.replyStored(v.now, s)
}

// collapsed answers with what another request got from the handler.
func (v *visit) collapsed(d httprules.Decision) error {
	v.c.stats.coalesced.Add(1)
	if v.result = observe.ResultCollapsed; v.wait != 0 {
		v.wait = observe.WaitShared // also where it was found in the store when the wait was over
	}
	return v.replyStored(v.c.cfg.Now(), httprules.CacheStatus{
		Fwd: v.fwd, Collapsed: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey(),
	})
}

// replyStored answers from the entry found: with the whole of it, with 304
// where the client has it already, or with the range that it asks for.
func (v *visit) replyStored(now time.Time, status httprules.CacheStatus) error {
	v.count()
	if !v.represent() { // found out when it was looked up, unless it has come another way
		return v.noAnswer(http.StatusBadGateway, httprules.CacheStatus{Fwd: v.fwd, Detail: detailCorrupt})
	}
	v.showRoute()
	v.answered = now
	r := &v.response
	r.Status, r.Implicit = int(v.entry.Status), v.entry.Flags&entry.Implicit != 0
	var etag, modified string
	fields := v.fields[:0]
	for f := range v.entry.Header {
		switch f.Name {
		case "Etag":
			etag = f.Value
		case "Last-Modified":
			modified = f.Value
		case "Set-Cookie":
			if !v.c.policy.Storing.SetCookie { // not stored by us
				continue
			}
		}
		fields = append(fields, adapter.Field{Name: f.Name, Value: f.Value, Op: adapter.Op(f.Op)})
	}
	version := httprules.Version{ETag: etag, LastModified: modified, Date: time.Unix(0, v.entry.Date)}
	same := r.Status == http.StatusOK && v.asked&keys.AskedConditional != 0 && v.sameForm(version)
	var b []byte // for all texts that are made here; what is there is not written to again
	if v.entry.Coding == 0 {
		b = make([]byte, 0, 64)
	} else {
		fields, b = describe(fields, make([]byte, 0, 128), baseCoding(&v.entry), v.form.coding, len(v.form.body))
	}
	v.fields = fields
	r.Header, r.Body = fields, v.form.body
	switch {
	case !v.entry.Whole():
		v.replyPart(r, version)
	case same: // RFC 9110 section 15.4.5: nothing that describes a body.
		r.Header = undescribed(fields)
		r.Status, r.Body = http.StatusNotModified, nil
	case r.Status == http.StatusOK && v.asked&keys.AskedRanged != 0 && v.ranged() && v.form.coding == baseCoding(&v.entry) && v.ranging(&v.entry):
		selectRange(r, v.header, version)
	}

	status.Name = "cacheaside"
	from := len(b)
	b = strconv.AppendInt(b, seconds(v.age(now)), 10)
	n := len(b)
	b = status.Append(b)
	text := viewOf(b)
	r.Extra = append(v.extra[:0],
		adapter.Field{Name: "Age", Value: text[from:n]},
		adapter.Field{Name: "Cache-Status", Value: text[n:], Op: adapter.OpAdd})
	r.Extra = withXCache(r.Extra, v.req.XCache, v.fromCache())
	if v.own != nil {
		r.Extra = append(v.own, r.Extra...)
	}
	return v.send(r)
}

// staleAnswer is what is stored, in place of what the handler failed to give, where
// that is allowed at the time now.
func (v *visit) staleAnswer(now time.Time, detail string, collapsed bool) (a answer, ok bool) {
	if !v.stale || !v.decide(now).MaySIE {
		return answer{}, false
	}
	v.c.stats.staleIfError.Add(1)
	if v.result, v.stood = observe.ResultStale, observe.StaleIfError; detail == detailSoftTimeout {
		v.stood = observe.StaleSoftTimeout
	}
	return answer{now: now, status: httprules.CacheStatus{Fwd: v.fwd, FwdStatus: v.failure, Collapsed: collapsed, Key: v.shownKey(), Detail: detail}}, true
}

// gatewayTimeout answers only-if-cached where nothing usable is stored (RFC
// 9111 section 5.2.1.7).
func (v *visit) gatewayTimeout() error {
	return v.noAnswer(http.StatusGatewayTimeout, httprules.CacheStatus{Detail: detailOnlyIfCached}) // not forwarded
}

// gaveUp answers a request that ended while it waited. The client has left, or
// a deadline that middleware has set is over; the handler would find the same.
func (v *visit) gaveUp() error {
	return v.noAnswer(http.StatusGatewayTimeout, httprules.CacheStatus{Fwd: v.fwd, Collapsed: true, Detail: detailClientGone})
}

// noAnswer sends an error of the cache's own.
func (v *visit) noAnswer(code int, s httprules.CacheStatus) error {
	v.showRoute()
	v.result, v.status = observe.ResultError, code
	return v.x.Reply(&adapter.Response{
		Status: code,
		Header: adapter.Fields{{Name: "Content-Length", Value: "0"}},
		Extra:  statusFields(s, v.req.XCache, xcacheMiss),
	})
}

// send sends a response, and has what is to be written go when it leaves.
func (v *visit) send(r *adapter.Response) error {
	v.noteSent(r)
	w := v.write
	if w == nil {
		if c := v.coming; c != nil && !v.req.Outer.Hold(c.leaving) {
			r.Leaving = c.leaving
		}
		return v.x.Reply(r)
	}
	v.write = nil
	if leaving := w.leaving; !v.req.Outer.Hold(leaving) {
		r.Leaving = leaving
	}
	sent := false
	defer func() { w.replied(sent) }() // also when somebody in front panics
	err := v.x.Reply(r)
	sent = err == nil
	return err
}

// shownKey is the key for Cache-Status, where the policy shows it.
func (v *visit) shownKey() string {
	if v.c.policy.Requests.ShowKey == nil || !v.c.policy.Requests.ShowKey(&v.req.Request) {
		return ""
	}
	return v.key.Wire
}

// seconds rounds down, as RFC 9111 section 1.2.2 counts.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
