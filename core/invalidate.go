package cacheaside

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
)

// safe reports whether a method is registered as safe (RFC 9110 section 9.2.1
// and the IANA registry). An unknown one may change anything.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

// invalidating makes of note one that, where the handler has answered an unsafe
// request without an error, first removes what is stored for its target. That is
// before the client can see the answer and ask again.
func (v *visit) invalidating(run *run, note func(int, adapter.Header, string) adapter.Fields) func(int, adapter.Header, string) adapter.Fields {
	unsafely := v.invalidation()
	return func(status int, h adapter.Header, reason string) adapter.Fields {
		if !run.dealtWith() {
			unsafely.after(status, h, "")
		}
		return note(status, h, reason)
	}
}

// invalidation is what an unsafe request removes. It points to nothing of a visit.
type invalidation struct {
	c   *Cache
	ctx context.Context //nolint:containedctx // the request's
	req *keys.Request
}

func (v *visit) invalidation() invalidation {
	return invalidation{v.c, v.x.Context(), v.req.Copy()} // the response may go when v is another request's
}

// after removes what is stored for the target of an unsafe request, and for Location and
// Content-Location on the same host, unless the answer is an error (RFC 9111 section 4.4).
// Spared is a lock that stays; "": none. It reports whether the store has acknowledged.
func (i invalidation) after(status int, h adapter.Header, spared string) (ok bool) {
	if status < 200 || status >= 400 {
		return true
	}
	c, ctx, req := i.c, i.ctx, i.req
	c.invalidateGroups(ctx, req, h)
	targets := []keys.Request{*req}
	for _, name := range []string{"Location", "Content-Location"} {
		for _, value := range h.Values(name) {
			if other, ok := sameHost(*req, value); ok && (other.Path != req.Path || other.RawQuery != req.RawQuery || req.Target != "") {
				targets = append(targets, other)
			}
		}
	}
	ok = true
	for i := range targets {
		ok = c.invalidate(ctx, &targets[i], spared) && ok
		if host := withoutPort(req.Scheme, req.Host); host != req.Host {
			targets[i].Host = host
			ok = c.invalidate(ctx, &targets[i], spared) && ok
		}
	}
	return ok
}

// sameHost returns req with the URI that ref, relative to it, names; false
// where that is on another host.
func sameHost(req keys.Request, ref string) (keys.Request, bool) {
	base := &url.URL{Scheme: req.Scheme, Host: req.Host, Opaque: "", RawQuery: req.RawQuery}
	base.Path, base.RawPath = unescaped(req.Path), req.Path
	u, err := base.Parse(ref)
	if err != nil || !httprules.EqualFold(u.Scheme, req.Scheme) ||
		!httprules.EqualFold(withoutPort(req.Scheme, u.Host), withoutPort(req.Scheme, req.Host)) {
		return req, false
	}
	req.Path, req.RawQuery, req.Target = u.EscapedPath(), u.RawQuery, ""
	return req, true
}

// withoutPort takes the port of the scheme off a host: it is the same without
// (RFC 9110 section 4.2.3). Keys keep it, for a handler may repeat it in what
// others would get then.
func withoutPort(scheme, host string) string {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return strings.TrimSuffix(host, port)
}

func unescaped(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}

// invalidate removes what is stored for the URL of req, but for the lock spared, and
// reports whether the store has acknowledged that.
func (c *Cache) invalidate(ctx context.Context, req *keys.Request, spared string) bool {
	if err := c.purgeRequest(context.WithoutCancel(ctx), req, observe.PurgeUnsafe, spared); err != nil {
		c.reportError("invalidating", err)
		return false
	}
	c.stats.invalidated.Add(1)
	return true
}

// invalidateGroups removes what is in the groups that the answer to an unsafe
// request names, of the same origin (RFC 9875 section 3).
func (c *Cache) invalidateGroups(ctx context.Context, req *keys.Request, h adapter.Header) {
	lines := h.Values("Cache-Group-Invalidation")
	if len(lines) == 0 {
		return
	}
	var tags []string
	for _, group := range httprules.Groups(lines) {
		tags = append(tags, groupTag(req, group))
	}
	if err := c.bump(context.WithoutCancel(ctx), observe.PurgeUnsafe, tags, false); err != nil {
		c.reportError("invalidating groups", err)
	}
}
