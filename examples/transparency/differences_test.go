package transparency

import (
	"net/http"
	"path"
	"strings"
	"sync/atomic"
)

// A difference is one that is meant to be. Each of stack, request and field is a list
// of patterns, of which one has to match: those of path.Match, with "**" for all that
// may have slashes; "~" stands for a space. The stack is framework/stack/place. Two fields are special: "hit"
// is that the answer does not come from the store, "unstored" that it does.
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
	// Conditions and ranges: the cache answers them itself.
	{"**", "tagged/if-** */if-none-match-any", "**", validated,
		"the cache answers the conditions of clients, as RFC 9111 section 4.3.2 asks, for handlers that do not; If-None-Match: * is true of whatever exists"},
	{"*/same-fields/*", "page/if-none-match** file/if-none-match**", "**", validated, "likewise; the validator comes from middleware"},
	{"chi/no-cache/behind", "file/if-**", "**", validated, "likewise; chi's NoCache keeps conditions from the handler"},
	{"**", "**/if-**", "header~Accept-Ranges header~Last-Modified header~Etag header~Content-Type header~Vary", both304,
		"the cache's 304 has the fields of the 200 that it stands for (RFC 9110 section 15.4.5); net/http's and Fiber's file servers leave some out"},
	{"**", "**", "**", func(p pair) bool { return is(p.without, "416") && is(p.with, "416") },
		"file servers explain a 416 in a body, the cache does not"},
	{"**", "file/range-bad", "**", func(p pair) bool { return is(p.without, "416") && is(p.with, "200") },
		"a range unit that is not known is ignored (RFC 9110 section 14.2); file servers refuse it"},
	{"fiber/**", "file/range-two", "**", func(p pair) bool { return is(p.without, "416") && is(p.with, "206") },
		"Fiber's file server knows no lists of ranges"},
	{"fiber/**", "file/if-range**", "**", func(p pair) bool { return p.hit && is(p.without, "206") && is(p.with, "200") },
		"Fiber's file server does not look at If-Range"},
	{"**", "**/range-head", "**", func(p pair) bool { return is(p.without, "206") && is(p.with, "200") },
		"Range is defined for GET alone (RFC 9110 section 14.2); ServeContent heeds it for HEAD as well"},
	{"*/body-rewrite/behind */etag*/behind */footer/behind */gzip*/behind */gzhttp/behind */gorilla-compress/behind", "**/range** **/if-range** **/if-none-match-and-range", "**",
		func(p pair) bool { return p.hit && is(p.without, "206") },
		"the cache cuts ranges out of what middleware behind it has made of the whole body; without it, such middleware gets the range, and Content-Range is about another body"},
	{"**", "**", "**", headLikeGet,
		"a HEAD is answered from what GET has stored (RFC 9111 section 4), with GET's fields (RFC 9110 section 9.3.2), even where the service would say less, or has no route for it"},

	// Middleware behind the cache does not run on a hit, and on a miss it gets the
	// request that fills the store.
	{"**/behind", "**", "log", func(p pair) bool { return p.hit },
		"middleware behind the cache does not run on a hit"},
	{"**/behind", "**/if-**/first", "log", both304,
		"what is asked for to be stored is asked for without the client's conditions: middleware behind the cache sees a 200"},
	{"echo/hooks/behind", "**/if-** **/range**", "header~X-Before", func(p pair) bool { return p.with["header X-Before"] == "200" }, "likewise, or a hit: hooks behind the cache see the 200 that was stored"},
	{"gin/late-cookie/behind", "file/if-**", "header~Set-Cookie", both304, "likewise; Gin's wrapped writers are not asked about a 304"},
	{"*/request-id/behind", "**", "header~X-Request-Id", func(p pair) bool { return p.hit && p.with["header X-Request-Id"] == "(seen)" },
		"a field that middleware behind the cache sets is stored; what is about one request belongs in front"},
	{"chi/httprate/behind fiber/limiter/behind", "**", "header~X-Ratelimit-*", nil, "a limiter behind the cache counts what reaches it"},
	{"**/cors-any/behind", "origin**", "header~Access-Control-Allow-Origin", func(p pair) bool { return p.hit },
		"CORS middleware belongs in front of the cache: behind it, it makes answers that differ by Origin without saying so in Vary"},
	{"chi/compress*/behind fiber/compress*/behind gin/gzip/behind", "**", "**", plainWithoutVary,
		"chi's, Fiber's and Gin's compression sends Vary only with what it has compressed; what it has not is stored for everybody: it belongs in front"},
	{"echo/rewrite/behind", "rewritten**", "**", func(p pair) bool { return is(p.with, "404") },
		"Echo routes the request as the server gave it, not what Rewrite has made of one that middleware has replaced (SetRequest): Rewrite belongs in front"},

	// What middleware in front sees.
	{"**", "late-panic**", "**", func(p pair) bool { return is(p.without, "200") && is(p.with, "500") },
		"what a handler has written before it panics is held back: whoever recovers can still answer 500"},
	{"**", "late-panic**", "log", func(p pair) bool { return p.without["error"] != "" && p.with["error"] != "" }, "likewise; loggers count less"},
	{"**/front", "named/**", "header~X-Late", func(p pair) bool { return p.hit && p.without["header X-Late"] == "1" },
		"what a handler sets after its first write is no part of the response in net/http, and not stored; middleware in front that holds responses back lets it through"},
	{"gin/observer/front gin/late-cookie/front", "**/if-** no-content**", "log header~Set-Cookie", func(p pair) bool { return p.without["body"] == "" && p.without["status"] == p.with["status"] },
		"Gin sends a status without a body when all middleware is done, past wrapped writers; what the cache answers with is sent through them"},
	{"fiber/config/front", "tagged/if-**", "header~Etag", validated,
		"Config.ETag replaces the handler's ETag in whatever has a body, a 304 has the handler's"},
	{"**", "hints**", "1xx", func(p pair) bool { return p.hit }, "interim responses are sent on a miss; they are not stored"},
	{"chi/compress*/front chi/popular/front", "hints**", "**", func(p pair) bool { return p.hit && p.without["decoded"] == p.with["decoded"] },
		"chi's Compress takes an interim response for the final one and does not compress; on a hit there is none"},
	{"*/gorilla-logging/front", "hints**", "log", func(p pair) bool { return p.hit }, "gorilla's logger takes an interim response for the final one; on a hit there is none"},
	{"*/gorilla-compress/front gin/gzip/front gin/popular/front", "file/plain-after-gzip file/if-none-match-gzip/after", "framing header~Content-Length", func(p pair) bool { return p.hit && p.with["header Content-Length"] == "" },
		"ServeContent declares no length where compression in front has set its Content-Encoding already, and so none is stored"},
	{"fiber/**", "stream/again stream/gzip", "framing header~Content-Length", func(p pair) bool { return p.hit && p.without["framing"] == "chunked" },
		"a stream has no length before it is stored"},
	{"fiber/**", "file/if-modified-since** static/**/if-modified-since", "header~*", both304,
		"Fiber's files take back all fields of a 304, those of middleware in front as well; the cache's has those of the 200"},
	{"fiber/filesystem/behind", "static/**/if-modified-since", "**", validated, "Fiber's filesystem does not look at conditions, the cache does"},
	{"fiber/footer/front", "file/** static/** stream/**", "body decoded header~Content-Length", func(p pair) bool { return p.hit },
		"what middleware in front appends to a body is lost where that is a stream; what is stored is none"},
	{"fiber/compress*/front fiber/popular/front", "file/** stream/gzip static/**", "**", func(p pair) bool { return p.hit && p.without["decoded"] == p.with["decoded"] },
		"Fiber's compression in front compresses a stream piece by piece, and what is stored at once; SendFile takes Accept-Encoding out of the request, so that it compresses no file, but a hit"},
	{"fiber/status-in-front/*", "file/if-modified-since/first", "**", wholeFor304,
		"what may be stored is asked for without the client's conditions, and a 202 is not stored"},
	{"fiber/*/front", "static/** stream/again stream/gzip", "log", func(p pair) bool { return p.hit },
		"Fiber lists static files among middleware: they have no route that could be found; and of a stream nobody knows the length"},
	{"gin/timeout/front", "static/**", "**", func(p pair) bool { return is(p.without, "404") },
		"gin-contrib/timeout sends 404 with Gin's static files, which set it first, to be on the safe side; the cache sends what they end with"},
	{"gin/timeout/front", "stream**", "header~Content-Type", func(p pair) bool { return p.without["header Content-Type"] == "" },
		"gin-contrib/timeout loses fields of responses that are flushed; the cache has handed them on before"},
	{"*/nosurf/* */gorilla-csrf/*", "form/*/again", "body decoded", func(p pair) bool { return p.hit && strings.HasPrefix(p.with["body"], "GET token=(seen)") },
		"the form is stored for its visitor alone (Vary: Cookie), with the token in the one disguise that it had"},

	// What is not stored, or stored all the same.
	{"**", "**", "hit", func(p pair) bool { return p.without["header Set-Cookie"] != "" }, "each answer sets a cookie"},
	{"*/no-store/* chi/no-cache/*", "**", "hit", func(p pair) bool { return strings.Contains(p.without["header Cache-Control"], "no-store") }, "each answer says no-store"},
	{"*/banner/front", "untyped** json**", "hit", nil, "the header is sent before the cache could say that it is a hit"},
	{"*/footer/behind", "**", "hit", func(p pair) bool { return p.without["header Content-Length"] != "" }, "more is written than the declared Content-Length, which net/http refuses"},
	{"fiber/status-in-front/*", "**", "hit", func(p pair) bool { return is(p.without, "202") }, "a 202 is not stored"},
	{"nethttp/mounted-cache/front fiber/mount/front", "**", "hit", nil, "the cache is on /mounted alone"},
	{"echo/add-trailing-slash/*", "**", "hit", nil, "the routes are not found"},
	{"*/basic-auth-behind/*", "expiring**", "unstored", nil, "it says public (RFC 9111 section 3.5)"},
	{"gin/late-cookie/*", "no-content**", "unstored", func(p pair) bool { return p.without["header Set-Cookie"] == "" }, "it has no cookie"},
}

// both304 leaves out what a 304 must not have.
func both304(p pair) bool {
	return is(p.without, "304") && is(p.with, "304") && (p.with["header Content-Encoding"] == "" || p.without["header Content-Encoding"] != "")
}

// wholeFor304: the client gets what it has already.
func wholeFor304(p pair) bool {
	return p.without["body"] == "" && p.with["body"] != "" && (is(p.without, "304") || p.without["status"] == p.with["status"])
}

// ofEachRun are fields that middleware makes from the answer or for the request.
var ofEachRun = map[string]bool{"header Etag": true, "header X-Request-Id": true, "header X-Before": true, "header X-Ratelimit-Remaining": true}

// validated: the cache says 304 where the handler gave all of it.
func validated(p pair) bool {
	if !is(p.without, "200") || !is(p.with, "304") || p.with["body"] != "" {
		return false
	}
	for name, value := range p.with {
		if strings.HasPrefix(name, "header ") && p.without[name] != value && !ofEachRun[name] {
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
		if strings.HasPrefix(name, "header ") && name != "header Content-Length" && p.with[name] != p.get[name] && p.with[name] != p.without[name] && !ofEachRun[name] {
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

func is(a answer, code string) bool { return strings.HasPrefix(a["status"], code) }

var used = make([]atomic.Bool, len(differences))

// expected reports whether an answer is meant to differ there.
func expected(stack, request, field string, p pair) bool {
	found := false
	for i, d := range differences {
		if anyLike(d.stack, stack) && anyLike(d.field, field) && anyLike(d.request, request) && (d.when == nil || d.when(p)) {
			used[i].Store(true)
			found = true
		}
	}
	return found
}

func anyLike(patterns, name string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		if like(strings.ReplaceAll(pattern, "~", " "), name) {
			return true
		}
	}
	return false
}

// like is path.Match, where "**" also stands for what has slashes.
func like(pattern, name string) bool {
	before, after, deep := strings.Cut(pattern, "**")
	if !deep {
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
