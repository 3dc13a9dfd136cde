package fiberadapter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/gofiber/fiber/v2"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// reset describes the request of c. Its strings are views of Fiber's memory,
// which stays as it is until the handler runs: see keep.
func (x *exchange) reset(c *fiber.Ctx) {
	x.c = c
	x.header.h = &c.Request().Header
	uri := c.Request().URI()
	q := &x.req
	// Not Fiber's accessors for scheme and host: they trust X-Forwarded fields.
	q.Method, q.Host, q.Path, q.RawQuery = c.Method(), view(uri.Host()), escapedPath(c.Path()), view(uri.QueryString())
	q.Scheme = "http"
	if c.Context().IsTLS() {
		q.Scheme = "https"
	}
	q.Target = adapter.RewrittenTarget(c.OriginalURL(), q.Scheme, q.Host, q.Path, q.RawQuery)
	// The absolute form replaces Host (RFC 9112 section 3.2.2), but a handler may
	// look at what it has replaced.
	if host := view(x.header.h.Host()); !sameHost(host, q.Host) {
		q.Target = c.OriginalURL() + " " + host
	}
	q.Header = &x.header
	q.Encodes = len(c.Response().Header.ContentEncoding()) > 0
	// Core sees Upgrade and Transfer-Encoding by their names. -2: nothing is said.
	length := x.header.h.ContentLength()
	q.HasBody = length != 0 && length != -2
	q.Outer = adapter.RunIn(c.Context())
	q.Rerun, _ = c.Context().UserValue(rerunKey{}).(*adapter.Rerun)
}

// keep makes x.req what it is whatever the handler does to its request: Fiber
// writes a new path or query where the old one was. Of a part all has perhaps to be asked
// for anew, content included.
func (x *exchange) keep(header, part bool) {
	q := &x.req
	all := [...]*string{&q.Host, &q.Path, &q.RawQuery, &q.Target, &q.Partition}
	n := 0
	for _, s := range all {
		n += len(*s)
	}
	b := make([]byte, 0, n) // for all of them
	for _, s := range all {
		b = append(b, *s...)
		*s = view(b[len(b)-len(*s):])
	}
	if header {
		if x.saved == nil {
			x.saved = new(fasthttp.RequestHeader)
		}
		x.header.h.CopyTo(x.saved)
		x.header.h = x.saved
	}
	if part && x.keyed && !x.streamed {
		x.content = slices.Clone(x.content)
	}
}

// escapedPath is path as net/url writes it, which is how a URL to be purged is
// read: few clients encode all that they should. The Target still tells apart
// what was sent.
func escapedPath(path string) string {
	for i := range len(path) {
		if !pathByte[path[i]] {
			if plain, err := url.PathUnescape(path); err == nil {
				return (&url.URL{Path: plain, RawPath: path}).EscapedPath()
			}
			return path
		}
	}
	return path
}

// pathByte are those of a path that is written as it should be (RFC 3986 section
// 3.3, and what net/url takes besides).
var pathByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range []byte("-._~!$&'()*+,;=:@[]%/") {
		t[c] = true
	}
	return t
}()

// sameHost reports whether host is lower, which is in lower case, as fasthttp
// makes it: that of ASCII.
func sameHost(host, lower string) bool {
	if len(host) != len(lower) {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// requestHeader is a adapter.Header over Fiber's request.
type requestHeader struct {
	h       *fasthttp.RequestHeader
	values  []string
	cookies []byte
}

func (r *requestHeader) Values(name string) []string {
	if name == fiber.HeaderCookie {
		return r.cookieLines()
	}
	r.values = r.values[:0]
	for _, v := range r.h.PeekAll(name) {
		r.values = append(r.values, view(v))
	}
	return r.values
}

// cookieLines gives each cookie as fasthttp has parsed it, which is all that is
// left of the field, on a line of its own. One without a name has the '=' that
// keeps it apart from one whose name its value looks like.
func (r *requestHeader) cookieLines() []string {
	r.values, r.cookies = r.values[:0], r.cookies[:0]
	n := 0
	r.h.VisitAllCookie(func(name, value []byte) { n += len(name) + 1 + len(value) })
	if cap(r.cookies) < n {
		r.cookies = make([]byte, 0, 2*n) // the views must not move
	}
	r.h.VisitAllCookie(func(name, value []byte) {
		start := len(r.cookies)
		r.cookies = append(append(append(r.cookies, name...), '='), value...)
		r.values = append(r.values, view(r.cookies[start:]))
	})
	return r.values
}

// Names is adapter.NamesHeader's.
func (r *requestHeader) Names(judge func(name string) uint16) (all uint16) {
	r.h.VisitAll(func(name, _ []byte) { all |= judge(view(name)) })
	return all
}

// Lines is adapter.NamesHeader's.
func (r *requestHeader) Lines(yield func(name, value string)) {
	r.h.VisitAll(func(name, value []byte) {
		if string(name) != fiber.HeaderCookie {
			yield(view(name), view(value))
		}
	})
	for _, line := range r.cookieLines() {
		yield(fiber.HeaderCookie, line)
	}
}

// responseHeader copies the header of res. The Content-Type that
// fasthttp makes up, but does not send without a body, is not part of it.
func responseHeader(c *fiber.Ctx, res *fasthttp.Response) http.Header {
	untyped := (!adapter.BodyAllowed(res.StatusCode()) || !res.IsBodyStream() && len(res.Body()) == 0) && !typed(c, res)
	lines, bytes := 0, 0
	res.Header.VisitAll(func(k, v []byte) {
		if !untyped || string(k) != fiber.HeaderContentType {
			lines, bytes = lines+1, bytes+len(k)+len(v)
		}
	})
	if lines == 0 && untyped {
		return nil
	}
	// Names and values are in one allocation, and the slices in another.
	h, values, text := make(http.Header, lines), make([]string, 0, lines), make([]byte, 0, bytes)
	copied := func(b []byte) string {
		text = append(text, b...)
		return view(text[len(text)-len(b):])
	}
	res.Header.VisitAll(func(k, v []byte) {
		name := fiber.HeaderContentType
		if string(k) != name {
			name = http.CanonicalHeaderKey(copied(k))
		} else if untyped {
			return
		}
		if h[name] != nil {
			h[name] = append(h[name], copied(v))
			return
		}
		n := len(values)
		values = append(values, copied(v))
		h[name] = values[n : n+1 : n+1]
	})
	switch {
	case untyped:
		delete(h, fiber.HeaderContentType)
	case h[fiber.HeaderContentType] == nil:
		h[fiber.HeaderContentType] = nil // nobody guesses one
	}
	return h
}

// typed reports whether somebody has set a Content-Type.
func typed(c *fiber.Ctx, res *fasthttp.Response) bool {
	res.Header.SetNoDefaultContentType(true)
	defer res.Header.SetNoDefaultContentType(c.App().Config().DisableDefaultContentType)
	return len(res.Header.ContentType()) > 0
}

// setRequest sets the fields and returns a function that takes it back.
func setRequest(h *fasthttp.RequestHeader, set http.Header) (undo func()) {
	type line struct{ name, value []byte }
	var old []line
	h.VisitAll(func(name, value []byte) {
		if _, ok := set[http.CanonicalHeaderKey(string(name))]; ok {
			old = append(old, line{slices.Clone(name), slices.Clone(value)})
		}
	})
	remove := func() {
		for _, l := range old { // in all spellings
			h.DelBytes(l.name)
		}
		for name := range set {
			h.Del(name)
		}
	}
	remove()
	for name, values := range set {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	return func() {
		remove()
		for _, l := range old {
			h.AddBytesKV(l.name, l.value)
		}
	}
}

// apply sets fields; date says whether the app sends that of its handlers.
func apply(res *fasthttp.Response, fields adapter.Fields, date bool) {
	for i := range fields {
		switch f := &fields[i]; {
		case f.Op == adapter.OpDel:
			del(&res.Header, f.Name)
		case f.Op == adapter.OpAdd:
			res.Header.Add(f.Name, f.Value)
		case f.Name != fiber.HeaderDate:
			res.Header.SetCanonical(raw(f.Name), raw(f.Value)) // copies both
		case date:
			setDate(&res.Header, f.Value)
		}
	}
}

// applyExact is apply for an app that leaves names as they are: what replaces a
// field does so in all spellings.
func applyExact(res *fasthttp.Response, fields adapter.Fields, date bool) {
	for i := range fields {
		if fields[i].Op == adapter.OpSet && fields[i].Name != fiber.HeaderSetCookie { // that one is never replaced
			del(&res.Header, fields[i].Name)
		}
	}
	apply(res, fields, date)
}

// del removes a field, whose name is given in canonical form, in all spellings.
func del(h *fasthttp.ResponseHeader, canonical string) {
	h.VisitAll(func(name, _ []byte) {
		if len(name) == len(canonical) && view(name) != canonical && strings.EqualFold(view(name), canonical) {
			copy(name, canonical) // it has no other spelling now
		}
	})
	h.Del(canonical)
}

// appConfig is what the adapter asks of an app's Config, which is long, and would
// be copied for each hit.
type appConfig struct {
	app   *fiber.App // the one that was asked last
	date  bool       // it sends the Date of its handlers
	exact bool       // it leaves field names as they are
	forms bool       // it reads forms in several parts before anybody asks
}

func (a *appConfig) of(app *fiber.App) {
	if app != a.app {
		c := app.Config()
		*a = appConfig{app, c.DisableDefaultDate, c.DisableHeaderNormalizing, !c.DisablePreParseMultipartForm}
	}
}

// SetDate sets the Date of the response, which is not to be had by fasthttp's own
// methods: for handlers that pass on the response of somebody else. Only an app
// with DisableDefaultDate sends it; the others send the time of sending.
func SetDate(c *fiber.Ctx, date string) { setDate(&c.Response().Header, date) }

// setDate sets the field under a name of the same length, and renames it.
func setDate(h *fasthttp.ResponseHeader, date string) {
	const name = "Dat-"
	h.Del(fiber.HeaderDate)
	h.Set(name, date)
	h.VisitAll(func(k, _ []byte) {
		if string(k) == name {
			copy(k, fiber.HeaderDate)
		}
	})
}

// raw are the bytes of s, to be read only.
func raw(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// view is a string over b, for as long as Fiber keeps b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
