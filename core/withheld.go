package cacheaside

import (
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// What is stored may be right for most requests and wrong for one: it was stored
// under another policy, or nothing but the policy's TTL has made it shareable, and
// this request carries what the handler may have looked at.

// withheld says why v.entry, though it is under the request's key, is not for this
// request, as a detail for Cache-Status; "" where it is.
func (v *visit) withheld() string {
	e := &v.entry
	switch {
	case e.Flags.Depth() != v.depth:
		return adapter.ReasonInner
	case v.asked&(keys.AskedCredentials|keys.AskedCookies|keys.AskedOrigin) == 0:
		return ""
	case v.asked&keys.AskedOrigin != 0 && e.Flags&entry.AnyOrigin == 0 && !varies(e, "Origin"):
		return detailOrigin
	case e.Flags&entry.PolicyTTL == 0:
		return "" // by the RFC
	case v.asked&keys.AskedCredentials != 0 && !v.c.policy.Storing.Authorized && !varies(e, "Authorization"):
		return detailAuthorization
	case v.asked&keys.AskedCookies != 0 && v.readsCookies() && !varies(e, "Cookie"):
		return detailCookie
	}
	return ""
}

func varies(e *entry.Entry, name string) bool {
	for f := range e.Vary {
		if f.Name == name {
			return true
		}
	}
	return false
}

// readsCookies reports whether a request has a cookie that the handlers may read
// and that is no part of its key.
func (v *visit) readsCookies() bool {
	if slices.Contains(v.c.policy.Key.Headers, "Cookie") {
		return false
	}
	for _, line := range v.header.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if httprules.TrimOWS(pair) == "" {
				continue
			}
			if name := keys.CookieName(pair); v.c.cookies.Has(name) && !slices.Contains(v.c.policy.Key.Cookies, name) {
				return true
			}
		}
	}
	return false
}
