package cacheaside

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// replyStored answers from the entry found: with the whole of it, with 304
// where the client has it already, or with the range that it asks for.
func (c *Cache) replyStored(x adapter.Exchange, v *visit, now time.Time, status httprules.CacheStatus) error {
	v.count()
	r := &v.reply
	r.Status, r.Body, r.Implicit = int(v.entry.Status), v.entry.Body, v.entry.Flags&entry.Implicit != 0
	var etag, modified string
	fields := v.fields[:0]
	for f := range v.entry.Header {
		switch f.Name {
		case "Etag":
			etag = f.Value
		case "Last-Modified":
			modified = f.Value
		case "Set-Cookie":
			if !c.policy.Storing.SetCookie { // not stored by us
				continue
			}
		}
		fields = append(fields, adapter.Field{Name: f.Name, Value: f.Value, Op: adapter.Op(f.Op)})
	}
	v.fields = fields
	r.Header = fields
	if r.Status == http.StatusOK {
		date := time.Unix(0, v.entry.Date)
		if v.asked&keys.AskedConditional != 0 && httprules.NotModified(v.header, etag, modified, date) {
			// RFC 9110 section 15.4.5: nothing that describes a body.
			r.Header = undescribed(fields)
			r.Status, r.Body = http.StatusNotModified, nil
		} else if v.asked&keys.AskedRanged != 0 && (c.policy.Requests.AcceptRanges || acceptsRanges(fields)) {
			selectRange(r, v.req.Method, v.header, etag, modified, date)
		}
	}

	// Age and Cache-Status in one allocation.
	status.Name = "cacheaside"
	b := strconv.AppendInt(make([]byte, 0, 64), seconds(v.age(now)), 10)
	n := len(b)
	b = status.Append(b)
	text := viewOf(b) // b is not written to again
	v.extra = [2]adapter.Field{
		{Name: "Age", Value: text[:n]},
		{Name: "Cache-Status", Value: text[n:], Op: adapter.OpAdd},
	}
	r.Extra = v.extra[:]
	if v.own != nil {
		r.Extra = append(v.own, r.Extra...)
	}
	return c.reply(x, v, r)
}

// reply sends a response, and has what is to be written go when it leaves.
func (c *Cache) reply(x adapter.Exchange, v *visit, r *adapter.Response) error {
	w := v.write
	if w == nil {
		return x.Reply(r)
	}
	v.write = nil
	if leaving := w.leaving; !v.req.Outer.Hold(leaving) {
		r.Leaving = leaving
	}
	sent := false
	defer func() { w.replied(sent) }() // also when somebody in front panics
	err := x.Reply(r)
	sent = err == nil
	return err
}

// gatewayTimeout answers only-if-cached where nothing usable is stored (RFC
// 9111 section 5.2.1.7).
func (c *Cache) gatewayTimeout(x adapter.Exchange) error {
	return c.noAnswer(x, http.StatusGatewayTimeout, httprules.CacheStatus{Detail: "only-if-cached"}) // not forwarded
}

// noAnswer sends an error of the cache's own.
func (c *Cache) noAnswer(x adapter.Exchange, code int, s httprules.CacheStatus) error {
	return x.Reply(&adapter.Response{
		Status: code,
		Header: adapter.Fields{{Name: "Content-Length", Value: "0"}},
		Extra:  adapter.Fields{{Name: "Cache-Status", Value: statusValue(s), Op: adapter.OpAdd}},
	})
}

// seconds rounds down, as RFC 9111 section 1.2.2 counts.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
