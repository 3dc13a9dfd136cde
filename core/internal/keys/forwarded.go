package keys

import (
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Some request fields make frameworks, middleware and handlers take the request for
// another one than it is. Anybody can send them, and what a handler makes of them would
// be served to everybody (web cache poisoning). Those that say what a proxy has seen
// become part of the key. Those that put another method or path in place of the
// request's have no use in a GET, and such a request bypasses the cache.

// Their names, in the order in which they are in keys.
var (
	forwardedFields = []string{
		"Forwarded", "Front-End-Https", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl",
		"X-Forwarded-Uri", "X-Host", "X-Http-Host-Override", "X-Original-Host", "X-Scheme", "X-Url-Scheme",
	}
	hostFields     = []string{"X-Forwarded-Host", "X-Host", "X-Http-Host-Override", "X-Original-Host"}
	overrideFields = []string{"X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}
)

// appendForwarded adds to a key what the request says of itself. It leaves out
// nothing that the connection says as well: a handler that sends who comes with
// "X-Forwarded-Proto: http" elsewhere does not do so without that field.
func appendForwarded(buf []byte, req *Request) []byte {
	schemes := 0
	for _, name := range forwardedFields {
		values := req.Lines(name)
		if len(values) == 0 || len(values) == 1 && name == "Forwarded" && hostAndProto(values[0]) == "" {
			continue
		}
		buf = escape(append(buf, "|f:"...), name, &valueSafe)
		if name != "Forwarded" {
			buf = appendLines(append(buf, '|'), req, name)
			if slices.Contains(schemeFields, name) {
				schemes++
			}
			continue
		}
		for _, v := range values { // lines stay apart: some readers take the first, others the last
			buf = escape(append(buf, "|="...), hostAndProto(v), &valueSafe)
		}
	}
	if h := req.came(); schemes > 1 && h != nil {
		buf = appendOrder(buf, h)
	}
	return buf
}

// schemeFields are those of which Fiber takes the last, whatever its name.
var schemeFields = []string{"X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Url-Scheme"}

// appendOrder writes in which order the fields of the scheme came, where handlers
// can see that.
func appendOrder(buf []byte, h adapter.NamesHeader) []byte {
	buf = append(buf, "|o:"...)
	h.Lines(func(name, _ string) {
		if i := slices.IndexFunc(schemeFields, func(s string) bool { return httprules.EqualFold(s, name) }); i >= 0 {
			buf = append(buf, '0'+byte(i))
		}
	})
	return buf
}

// hostAndProto is what a Forwarded field (RFC 7239) says of the host and the
// scheme, element by element; the addresses in it differ with each client. A value
// that parsers may take apart in different ways is given whole.
func hostAndProto(v string) string {
	if ambiguous(v) {
		return v
	}
	var b strings.Builder
	said := false
	for element := range strings.SplitSeq(v, ",") {
		for pair := range strings.SplitSeq(element, ";") {
			pair = strings.Trim(pair, " ")
			name, _, _ := strings.Cut(pair, "=")
			if name = strings.Trim(name, " "); httprules.EqualFold(name, "host") || httprules.EqualFold(name, "proto") {
				b.WriteString(pair + ";")
				said = true
			}
		}
		b.WriteByte(',')
	}
	if !said {
		return ""
	}
	return b.String()
}

// ambiguous reports whether v has a delimiter inside of quotes, an escape, a quote
// that is never closed, or a byte that some parsers trim and others do not.
func ambiguous(v string) bool {
	quoted := false
	for i := range len(v) {
		switch c := v[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\', c < ' ', c >= 0x7f, quoted && (c == ',' || c == ';'):
			return true
		}
	}
	return quoted
}
