package transparency

import (
	"net/http"
	"path"
	"strings"
	"sync/atomic"
)

// A difference is one that is meant to be. The patterns are those of path.Match, with
// "/**" at the end for all that begins so; the stack is framework/stack/position.
type difference struct {
	stack, request, field string
	when                  func(pair) bool // nil: always
	reason                string
}

// pair is two answers to one request.
type pair struct {
	without, with answer
	get           answer // what the last such GET gave without the cache; nil: there was none
	method        string
	hit           bool
}

var differences = []difference{
	{"**", "tagged/if-**", "**", validated,
		"the cache answers the conditions of clients, as RFC 9111 section 4.3.2 asks, for handlers that do not"},
	{"**", "page/if-none-match-any**", "**", validated,
		"If-None-Match: * is true of whatever exists (RFC 9110 section 13.1.2)"},
	{"**", "file/if-**", "header Last-Modified", both("304"),
		"net/http's ServeContent leaves Last-Modified out of a 304; the cache sends what it has stored (RFC 9110 section 15.4.5 allows either)"},
	{"**", "file/if-**", "header Accept-Ranges", both("304"),
		"likewise"},
	{"**", "**", "**", func(p pair) bool { return is(p.without, "416") && is(p.with, "416") },
		"net/http's ServeContent explains a 416 in a body, the cache does not"},
	{"**", "file/range-bad", "**", func(p pair) bool { return is(p.without, "416") && is(p.with, "200") },
		"a range unit that is not known is ignored (RFC 9110 section 14.2); ServeContent refuses it"},
	{"**", "**/range-head", "**", func(p pair) bool { return is(p.without, "206") && is(p.with, "200") },
		"Range is defined for GET alone (RFC 9110 section 14.2); ServeContent heeds it for HEAD as well"},
	{"**", "**", "**", headLikeGet,
		"a HEAD is answered from what GET has stored (RFC 9111 section 4), with GET's fields (RFC 9110 section 9.3.2), even where the service would say less, or has no route for it"},
	{"**/behind", "**", "log", func(p pair) bool { return p.hit },
		"middleware behind the cache does not run on a hit"},
	{"**", "**/if-modified-since", "header *", func(p pair) bool { return p.hit && is(p.without, "304") && is(p.with, "304") },
		"the cache's 304 has the fields that RFC 9110 section 15.4.5 wants, with those that were stored; file servers leave out some"},
	{"*/no-store/*", "**", "hit", nil, "each answer says no-store"},
	{"nethttp/mounted-cache/front", "**", "hit", nil, "the cache is on /mounted alone"},
	{"fiber/mount/front", "**", "hit", nil, "the cache is on /mounted alone"},
	{"echo/add-trailing-slash/*", "**", "hit", nil, "the routes are not found"},
	{"**/cors-any/behind", "origin**", "header Access-Control-Allow-Origin", func(p pair) bool { return p.hit },
		"CORS middleware belongs in front of the cache: behind it, it makes answers that differ by Origin without saying so in Vary"},
	{"chi/route-headers/behind", "origin/**", "header X-Origin", func(p pair) bool { return p.hit },
		"middleware behind the cache that looks at a field of the request and sends no Vary"},
	{"chi/compress*/behind", "**", "**", plainWithoutVary, "chi's Compress sends Vary only with what it has compressed; what it has not is stored for everybody"},
	{"fiber/compress*/behind", "**", "**", plainWithoutVary, "Fiber's compress likewise"},
	{"**", "late-panic**", "**", func(p pair) bool { return is(p.without, "200") && is(p.with, "500") },
		"what a handler has written before it panics is held back: whoever recovers can still answer 500"},
	{"**", "hints**", "1xx", func(p pair) bool { return p.hit }, "interim responses are sent on a miss; they are not stored"},
}

// validated: the cache says 304 where the handler gave all of it.
func validated(p pair) bool {
	if !is(p.without, "200") || !is(p.with, "304") || p.with["body"] != "" {
		return false
	}
	for name, value := range p.with {
		if strings.HasPrefix(name, "header ") && p.without[name] != value {
			return false
		}
	}
	return true
}

// headLikeGet: the answer to a HEAD is that of the same GET without its body.
func headLikeGet(p pair) bool {
	if p.method != http.MethodHead || !p.hit || p.get == nil || p.with["status"] != p.get["status"] {
		return false
	}
	for _, name := range union(p.with, p.get) {
		if strings.HasPrefix(name, "header ") && name != "header Content-Length" && p.with[name] != p.get[name] {
			return false
		}
	}
	return true
}

// plainWithoutVary: what was stored without an encoding is sent to those who would
// have got it encoded.
func plainWithoutVary(p pair) bool {
	return p.hit && p.without["header Content-Encoding"] == "gzip" && p.with["header Content-Encoding"] == "" &&
		(p.method == http.MethodHead || p.without["decoded"] == p.with["decoded"])
}

func both(code string) func(pair) bool {
	return func(p pair) bool { return is(p.without, code) && is(p.with, code) }
}

func is(a answer, code string) bool { return strings.HasPrefix(a["status"], code) }

var used = make([]atomic.Bool, len(differences))

// expected reports whether an answer is meant to differ there.
func expected(stack, request, field string, p pair) bool {
	found := false
	for i, d := range differences {
		if like(d.stack, stack) && like(d.request, request) && like(d.field, field) && (d.when == nil || d.when(p)) {
			used[i].Store(true)
			found = true
		}
	}
	return found
}

// like is path.Match, where "**" also stands for what has slashes.
func like(pattern, name string) bool {
	before, after, any := strings.Cut(pattern, "**")
	if !any {
		ok, err := path.Match(pattern, name)
		if err != nil {
			panic(err)
		}
		return ok
	}
	if !strings.HasPrefix(name, before) {
		return false
	}
	for i := len(before); i <= len(name); i++ {
		if like(after, name[i:]) {
			return true
		}
	}
	return false
}
