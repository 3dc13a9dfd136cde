package core

import (
	"context"
	"net/http"
	"net/url"
	"strings"
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
// request without an error, first removes what is stored for its target, and
// for Location and Content-Location on the same host (RFC 9111 section 4.4).
// That is before the client can see the answer and ask again.
func (c *Cache) invalidating(x Exchange, note func(int, Header, string) Fields) func(int, Header, string) Fields {
	return func(status int, h Header, reason string) Fields {
		if status >= 200 && status < 400 {
			req := *x.Request()
			c.invalidate(x.Context(), &req)
			for _, name := range []string{"Location", "Content-Location"} {
				for _, value := range h.Values(name) {
					if other, ok := sameHost(*x.Request(), value); ok {
						c.invalidate(x.Context(), &other)
					}
				}
			}
		}
		return note(status, h, reason)
	}
}

// sameHost returns req with the URI that ref, relative to it, names; false
// where that is on another host.
func sameHost(req Request, ref string) (Request, bool) {
	base := &url.URL{Scheme: req.Scheme, Host: req.Host, Opaque: "", RawQuery: req.RawQuery}
	base.Path, base.RawPath = unescaped(req.Path), req.Path
	u, err := base.Parse(ref)
	if err != nil || !strings.EqualFold(u.Host, req.Host) || !strings.EqualFold(u.Scheme, req.Scheme) {
		return req, false
	}
	req.Path, req.RawQuery, req.Target = u.EscapedPath(), u.RawQuery, ""
	return req, true
}

func unescaped(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}

// invalidate removes what is stored under the key of req, with all variants.
func (c *Cache) invalidate(ctx context.Context, req *Request) {
	v := visits.Get().(*visit)
	defer v.release()
	v.req = req
	var ok bool
	if v.key, v.scratch, ok = c.keys.key(v.scratch, req); !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.StoreTimeout)
	defer cancel()
	c.variants.drop(v.key.wire)
	if !c.read(ctx, v, v.key.wire) {
		return
	}
	keys := []string{v.key.wire}
	for _, ref := range decodeVaryRecord(&v.entry).variants {
		if validDigest(ref.digest) {
			keys = append(keys, v.key.wire+":"+ref.digest)
		}
	}
	for _, k := range keys {
		if err := c.store.Delete(ctx, k); err != nil {
			c.trouble("invalidating", err)
			return
		}
	}
	c.stats.invalidated.Add(1)
}
