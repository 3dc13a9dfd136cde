package transparency

import (
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
	{"**", "**/head**", "**", headFromGet, "a HEAD is answered from what GET has stored (RFC 9111 section 4), even where the service has no route for it"},
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

func headFromGet(p pair) bool { return p.hit && is(p.without, "405") }

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
