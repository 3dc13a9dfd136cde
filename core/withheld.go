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
func (c *Cache) withheld(v *visit) string {
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
	case v.asked&keys.AskedCredentials != 0 && !c.policy.Storing.Authorized && !varies(e, "Authorization"):
		return detailAuthorization
	case v.asked&keys.AskedCookies != 0 && c.readsCookies(v.header) && !varies(e, "Cookie"):
		return detailCookie
	}
	return ""
}

// Details of Cache-Status.
const (
	detailOrigin        = "origin"
	detailAuthorization = "authorization"
	detailCookie        = "cookie"
)

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
func (c *Cache) readsCookies(h adapter.Header) bool {
	if slices.Contains(c.policy.Key.Headers, "Cookie") {
		return false
	}
	for _, line := range h.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if httprules.TrimOWS(pair) == "" {
				continue
			}
			if name := keys.CookieName(pair); c.cookies.Has(name) && !slices.Contains(c.policy.Key.Cookies, name) {
				return true
			}
		}
	}
	return false
}

// tellOfCookies says once how to have responses to requests with cookies shared.
func (c *Cache) tellOfCookies() {
	c.cookiesTold.Do(func() {
		c.log.Info("cacheaside: a response was not stored because its request has cookies, which the handler may have read; " +
			"name in Policy.Requests.Cookies those that handlers read, or let such responses say Cache-Control: public or max-age")
	})
}

// selectingNames gives the request fields that a response is chosen by: those that
// its own Vary names, and those that middleware in front has named, unless that
// answers by them itself, request by request. The result is sorted. AnyOrigin says
// that Origin is none of them whatever it is.
func (c *Cache) selectingNames(v *visit, own adapter.Fields, effective adapter.Header) (names []string, anyOrigin bool) {
	if own.Has("Vary") {
		names, _ = httprules.VaryNames(own)
	}
	all, _ := httprules.VaryNames(effective)
	originInFront := false
	for _, name := range all {
		switch {
		case slices.Contains(names, name):
		case name == "Origin":
			originInFront = true
		case !answeredInFront(name):
			names = mergeNames(names, []string{name})
		}
	}
	if len(own.Values("Content-Encoding")) > 0 {
		// A coding that not every client asked for, even if the handler forgot
		// to say so.
		names = mergeNames(names, []string{"Accept-Encoding"})
	}
	allowed := own.Values("Access-Control-Allow-Origin")
	if len(allowed) == 0 && len(effective.Values("Access-Control-Allow-Origin")) > 0 {
		originInFront = true
	}
	switch {
	case originInFront, len(allowed) > 0 && allowed[0] == "*":
		anyOrigin = true
	case len(allowed) > 0, v.asked&keys.AskedOrigin != 0:
		// What was said to one origin, or not said to it, and the handler forgot to
		// say so.
		names = mergeNames(names, []string{"Origin"})
	}
	if slices.Contains(v.by.Names, "Origin") {
		names = mergeNames(names, []string{"Origin"})
	}
	return withoutLoop(names), anyOrigin
}

// answeredInFront names the request fields that middleware in front answers by
// without the handler: CORS and compression. What it has said in Vary of others
// (a language, a session) may have reached the handler by way of a context.
func answeredInFront(name string) bool {
	switch name {
	case "Accept-Encoding", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Access-Control-Request-Private-Network":
		return true
	}
	return false
}
