package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// miss answers with what the handler gives.
func (c *Cache) miss(x Exchange, v *visit) error {
	c.stats.misses.Add(1)
	if v.control.OnlyIfCached {
		return c.gatewayTimeout(x)
	}
	return c.forward(x, v, nil)
}

// forward runs the handler, stores its response where the rules allow it and
// sends it. With conditional fields set, a 304 freshens the stored entry.
func (c *Cache) forward(x Exchange, v *visit, conditional http.Header) error {
	status := httprules.CacheStatus{Fwd: v.fwd, Key: c.shownKey(v)}
	f := Forward{
		Capture:  true,
		Flight:   &v.flight,
		MaxBody:  c.cfg.MaxBytes,
		Set:      conditional,
		Annotate: annotate(status),
	}
	v.flight.cache, v.began = c.shared, c.cfg.Now()
	resp, err := x.Next(f)
	if err != nil || resp == nil || resp.Sent {
		return err
	}
	if conditional != nil && resp.Status == http.StatusNotModified && resp.Reason == "" {
		return c.freshened(x, v, resp)
	}
	if v.fwd == "stale" {
		status.FwdStatus = resp.Status
		now := c.cfg.Now() // the handler may have taken its time
		if serverError(resp.Status) && httprules.Decide(v.rules(), v.age(now), v.control).MaySIE {
			c.stats.staleIfError.Add(1)
			status.Detail = "stale-if-error"
			return c.replyStored(x, v, now, status)
		}
	}
	if v.flight.inner && resp.Reason == "" {
		resp.Reason = ReasonInner
	}
	if v.req.Method == http.MethodHead {
		if v.stale {
			c.headAnswered(x, v, resp)
		}
	} else if reason := c.storeResponse(x, v, resp, &status); reason != "" {
		status.Detail = reason
	}
	resp.Extra = append(resp.Extra, Field{"Cache-Status", statusValue(status), OpAdd})
	return x.Reply(resp)
}

// storeResponse stores resp and says in status what became of it; the result
// is why it was not stored.
func (c *Cache) storeResponse(x Exchange, v *visit, resp *Response, status *httprules.CacheStatus) (reason string) {
	if resp.Reason != "" {
		return resp.Reason
	}
	now := c.cfg.Now()
	verdict := c.judge(v, resp.Status, resp.Effective, now)
	if !verdict.Store {
		return verdict.Reason
	}
	names, _ := httprules.VaryNames(resp.Effective)
	if len(resp.Effective.Values("Content-Encoding")) > 0 {
		// A coding that not every client asked for, even if the handler forgot
		// to say so.
		names = mergeNames(names, []string{"Accept-Encoding"})
	}
	if len(mergeNames(names, v.varied)) > maxVaryNames {
		return "vary"
	}
	if c.cfg.GenerateETag {
		generateETag(resp)
	}
	content := entry.Content{
		Meta:   c.meta(verdict, resp.Status, now),
		Key:    v.key.primary,
		Header: c.storable(resp, verdict),
		Body:   resp.Body,
	}
	if err := c.write(x.Context(), v, content, names, now); err != nil {
		return "store-failed"
	}
	status.Stored = true
	if ttl := verdict.Lifetime - verdict.InitialAge; ttl > 0 {
		status.TTL, status.HasTTL = seconds(ttl), true
	}
	return ""
}

func (c *Cache) judge(v *visit, status int, effective Header, now time.Time) httprules.Verdict {
	ttl, special := c.cfg.StatusTTL[status]
	if !special && c.listed[status] {
		ttl = c.cfg.TTL
	}
	reqHeader := v.req.Header
	if c.cfg.IgnoreRequestDirectives {
		reqHeader = withoutDirectives{reqHeader}
	}
	return httprules.Judge(httprules.Fill{
		Method: http.MethodGet, RequestHeader: reqHeader,
		Status: status, ResponseHeader: effective,
		RequestTime: v.began, ResponseTime: now,
		Rules: httprules.Rules{
			TTL: ttl, Listed: c.listed[status], Heuristic: c.cfg.Heuristic,
			SetCookie: c.cfg.StoreSetCookie, Authorization: c.cfg.StoreAuthorized,
			AnyStatus: c.cfg.AllStatusCodes, Targets: c.cfg.TargetedFields,
		},
	})
}

// withoutDirectives hides a request's directives.
type withoutDirectives struct{ Header }

func (h withoutDirectives) Values(name string) []string {
	if name == "Cache-Control" || name == "Pragma" {
		return nil
	}
	return h.Header.Values(name)
}

func (c *Cache) meta(v httprules.Verdict, status int, now time.Time) entry.Meta {
	m := entry.Meta{
		Kind: entry.KindResponse, Status: uint16(status),
		Born: now.UnixNano() - int64(v.InitialAge), Date: v.Date.UnixNano(),
		Lifetime: int64(v.Lifetime), SWR: int64(v.StaleWhileRevalidate.D), SIE: int64(v.StaleIfError.D),
	}
	if !v.StaleIfError.OK {
		m.SIE = int64(c.cfg.StaleIfError)
	}
	if v.NoCache {
		m.Flags |= entry.NoCache
	}
	if v.MustRevalidate {
		m.Flags |= entry.MustRevalidate
	}
	return m
}

// storable gives the fields of resp that are kept.
func (c *Cache) storable(resp *Response, v httprules.Verdict) []entry.Field {
	out := make([]entry.Field, 0, len(resp.Header)+2)
	hasDate := false
fields:
	for _, f := range resp.Header {
		switch f.Name {
		case "Age", "Content-Length": // made anew for every reply
			continue
		case "Date":
			hasDate = true
		case "Content-Type", "Content-Encoding", "Vary", "Cache-Control", "Expires", "Etag", "Last-Modified", "Location":
		default:
			if !c.cfg.ResponseHeaders.has(f.Name, true) {
				continue
			}
		}
		for _, s := range v.Strip {
			if s == f.Name {
				continue fields
			}
		}
		out = append(out, entry.Field{Name: f.Name, Value: f.Value, Op: uint8(f.Op)})
	}
	if !hasDate { // RFC 9110 section 6.6.1
		out = append(out, entry.Field{Name: "Date", Value: v.Date.UTC().Format(http.TimeFormat)})
	}
	if BodyAllowed(resp.Status) {
		out = append(out, entry.Field{Name: "Content-Length", Value: strconv.Itoa(len(resp.Body))})
	}
	return out
}

// maxGeneratedETag bounds the bodies that are hashed.
const maxGeneratedETag = 1 << 20

// generateETag gives a response without a validator one; it goes to the client
// of the miss as well.
func generateETag(resp *Response) {
	h := resp.Effective
	if resp.Status != http.StatusOK || len(resp.Body) > maxGeneratedETag ||
		len(h.Values("Etag")) > 0 || len(h.Values("Last-Modified")) > 0 {
		return
	}
	sum := sha256.Sum256(resp.Body)
	f := Field{Name: "Etag", Value: `"` + hex.EncodeToString(sum[:16]) + `"`}
	resp.Header = append(resp.Header, f)
	resp.Extra = append(resp.Extra, f)
}

// serverError are the codes that RFC 5861 section 4 calls an error.
func serverError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// staleKept is how long an entry with a validator stays beyond its freshness,
// so that it can be validated instead of fetched anew.
func staleKept(lifetime time.Duration) time.Duration {
	return min(max(lifetime, time.Minute), time.Hour)
}

// write stores an entry under the primary key, or as a variant where the
// response names request fields. A variant is written before the record that
// leads to it.
func (c *Cache) write(ctx context.Context, v *visit, content entry.Content, names []string, now time.Time) error {
	remaining := time.Duration(content.Born + content.Lifetime - now.UnixNano())
	keep := max(remaining, 0) + time.Duration(max(content.SWR, content.SIE))
	for _, f := range content.Header {
		if f.Name == "Etag" || f.Name == "Last-Modified" {
			keep = max(keep, max(remaining, 0)+staleKept(time.Duration(content.Lifetime)))
			break
		}
	}
	keep = max(keep, time.Millisecond)
	// The handler's answer is complete: that the client leaves now is no
	// reason to lose it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.StoreTimeout)
	defer cancel()

	if len(names) == 0 {
		c.variants.drop(v.key.wire)
		return c.put(ctx, v.key.wire, content, keep)
	}
	if !v.hasRec { // the names were remembered, or nothing was there
		c.readRecord(ctx, v)
	}
	// A response belongs to the fields that any earlier one named as well:
	// that may miss more often but never answers wrongly.
	v.record.names = mergeNames(names, v.record.names)
	content.Vary = selectingFields(v.record.names, v.req)
	v.scratch = v.record.selecting(v.scratch[:0], v.req)
	wire := v.key.variant(v.scratch)
	if err := c.put(ctx, wire, content, keep); err != nil {
		return err
	}
	return c.writeRecord(ctx, v, variantRef{wire[len(wire)-variantLen:], now.Add(keep).UnixNano()}, now.UnixNano())
}

// readRecord reads the resource's record, or begins one.
func (c *Cache) readRecord(ctx context.Context, v *visit) {
	var e entry.Entry
	b, found, err := c.store.Get(ctx, v.key.wire)
	if err == nil && found && entry.Decode(b, &e) == nil && e.Kind == entry.KindVary && e.Key == v.key.primary {
		v.record = decodeVaryRecord(&e)
	} else {
		v.record = varyRecord{choice: choice{generation: rand.Uint64()}}
	}
	v.hasRec = true
}

func (c *Cache) put(ctx context.Context, wire string, content entry.Content, keep time.Duration) error {
	b, err := entry.Encode(content)
	if err == nil {
		err = c.store.Set(ctx, wire, b, keep)
	}
	if err != nil {
		c.trouble("writing", err)
		return err
	}
	c.stats.stores.Add(1)
	return nil
}

// writeRecord enters a variant into the resource's record and removes the
// variants that are one too many. Two processes doing so at once may lose one
// another's note of a variant; it then expires by itself.
func (c *Cache) writeRecord(ctx context.Context, v *visit, ref variantRef, now int64) error {
	dropped := v.record.add(ref, now, c.cfg.MaxVariants)
	b, ttl, err := v.record.encode(v.key.primary, now)
	if err == nil {
		err = c.store.Set(ctx, v.key.wire, b, max(ttl, time.Millisecond))
	}
	if err != nil {
		c.trouble("writing a Vary record", err)
		return err
	}
	c.variants.put(v.key.wire, v.record.choice, now)
	for _, d := range dropped {
		if validDigest(d) {
			if err := c.store.Delete(ctx, v.key.wire+":"+d); err != nil {
				c.trouble("deleting a variant", err)
			}
		}
	}
	return nil
}
