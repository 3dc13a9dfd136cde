package rfc9111

import (
	"slices"
	"strconv"
	"strings"
)

func digits(n int) string { return strconv.Itoa(n) }

const ten = "Cache-Control: max-age=10"

func validation() []script {
	return slices.Concat(
		each([]string{
			`"a"`, `W/"a"`, `"a b"`, `"a,b"`, `""`, `"` + long[:2000] + `"`, "\"\xe9\"", `"ü"`, `a`, `W/a`, `'a'`, `"a`, `"a\b"`, `w/"a"`,
		}, func(etag string) script {
			name := etag
			if len(name) > 100 {
				name = "2000 characters"
			}
			return script{"4.3.1", "If-None-Match has the ETag as it came: " + name, []step{
				get.gives(ten, "ETag: "+etag), get.after(10).validates().asks("If-None-Match: " + etag), get.hits(),
			}}
		}),
		[]script{
			{"4.3.1", "If-Modified-Since has Last-Modified", []step{
				get.gives(ten, "Last-Modified: {now-60}"), get.after(10).validates().asks("If-Modified-Since: {start-60}", "!If-None-Match"),
			}},
			{"4.3.1", "If-Modified-Since has it in the format it came in", []step{
				get.gives(ten, "Last-Modified: {rfc850 now-60}"), get.after(10).validates().asks("If-Modified-Since: {rfc850 start-60}"),
			}},
			{"4.3.1", "both", []step{
				get.gives(ten, tag, "Last-Modified: {now-60}"), get.after(10).validates().asks(`If-None-Match: "a"`, "If-Modified-Since: {start-60}"),
			}},
			{"4.3.1", "neither", []step{get.gives(ten), get.after(10).gives().asks("!If-None-Match", "!If-Modified-Since")}},
			{"4.3.1", "nothing conditional on a miss", []step{get.gives(ten, tag).asks("!If-None-Match", "!If-Modified-Since")}},
			{"4.3.1", "the cache's validator stands in for the client's", []step{
				get.gives(ten, tag), get.after(10).with(`If-None-Match: "b"`).validates().asks(`If-None-Match: "a"`),
			}},
			{"4.3.1", "the client's date does not get through beside it", []step{
				get.gives(ten, tag), get.after(10).with("If-Modified-Since: {now}").validates().asks("!If-Modified-Since").as(304).reads(""),
			}},
			{"4.3.1", "Range does not get through", []step{
				get.text("0123456789").gives(ten, tag), get.after(10).with("Range: bytes=0-1").validates().asks("!Range").as(206).reads("01"),
			}},
			{"4.3.1", "other fields of the request get through", []step{
				get.gives(ten, tag), get.after(10).with("Accept: text/x", "X-A: 1").validates().asks("Accept: text/x", "X-A: 1"),
			}},
			{"4.3.1", "a response stale on arrival is validated", []step{get.gives("Cache-Control: max-age=0", tag), get.validates(), get.validates()}},
			{"4.3.1", "several stored variants are validated by one request", []step{
				get.with("X: 1").gives(minute, "Vary: X", `ETag: "1"`), get.with("X: 2").gives(minute, "Vary: X", `ETag: "2"`),
				func() step {
					s := get.with("X: 3").validates(`ETag: "2"`, "Vary: X").asks(`If-None-Match: ~"1"`, `If-None-Match: ~"2"`)
					s.from = 2
					return s
				}(),
			}},
			{"4.3.1", "a client's condition on a miss reaches the origin, and its 304 the client", []step{
				get.with(`If-None-Match: "a"`).code(304).gives(minute, tag).asks(`If-None-Match: "a"`), get.gives(minute, tag), get.hits(2),
			}},
			{"4.3.1", "a client's date on a miss likewise", []step{
				get.with("If-Modified-Since: {now}").code(304).gives(minute), get.gives(minute), get.hits(2),
			}},
			{"4.3.1", "a client's condition reaches the origin where the stale entry has no validator", []step{
				get.gives(ten), get.after(10).with(`If-None-Match: "a"`).code(304).gives(ten, tag).asks(`If-None-Match: "a"`), get.gives(),
			}},
			{"4.3.1", "a HEAD's condition reaches the origin", []step{
				get.gives(ten, tag), head.after(10).with(`If-None-Match: "x"`).code(304).gives(`ETag: "x"`).asks(`If-None-Match: "x"`), get.gives(),
			}},
			{"4.3.1", "a 304 that nobody asked for is not stored", []step{get.code(304).gives(minute, tag), get.gives()}},

			{"4.3.2", "If-None-Match that matches", []step{
				get.gives("Cache-Control: max-age=60, x", tag, "Vary: X", "Expires: {now+60}", "Content-Location: /x", "Content-Type: text/x"),
				get.with(`If-None-Match: "a"`).hits().as(304).shows(tag, "Vary: X", "Cache-Control: max-age=60, x", "Expires: {now+60}", "Content-Location: /x", "Date", "!Content-Length"),
			}},
			{"4.3.2", "If-None-Match that does not", []step{get.gives(minute, tag), get.with(`If-None-Match: "b"`).hits()}},
			{"4.3.2", "at the end of a long list", []step{get.gives(minute, tag), get.with("If-None-Match: " + strings.Repeat(`"x", `, 500) + `"a"`).hits().as(304)}},
			{"4.3.2", "with no-cache, after validation", []step{get.gives(minute, tag), get.with(`If-None-Match: "a"`, "Cache-Control: no-cache").validates().as(304)}},
			{"4.3.2", "with no-cache, another tag", []step{get.gives(minute, tag), get.with(`If-None-Match: "b"`, "Cache-Control: no-cache").validates().asks(`If-None-Match: ~"a"`)}},
			{"4.3.2", "no match, and a range", []step{get.text(numbers).gives(minute, tag), get.with(`If-None-Match: "b"`, "Range: bytes=2-5").hits().as(206).reads("2345")}},
			{"4.3.2", "with stale allowed", []step{get.gives(ten, tag), get.after(15).with(`If-None-Match: "a"`, "Cache-Control: max-stale").hits().as(304)}},
			{"4.3.2", "in a list", []step{get.gives(minute, tag), get.with(`If-None-Match: "x", "a" ,"y"`).hits().as(304)}},
			{"4.3.2", "in a second line", []step{get.gives(minute, tag), get.with(`If-None-Match: "x"`, `If-None-Match: "a"`).hits().as(304)}},
			{"4.3.2", "not in a list", []step{get.gives(minute, tag), get.with(`If-None-Match: "x", "y"`).hits()}},
			{"4.3.2", "a list with a comma within a tag", []step{get.gives(minute, `ETag: "a,b"`), get.with(`If-None-Match: "x", "a,b"`).hits().as(304)}},
			{"4.3.2", "a part of a tag is none", []step{get.gives(minute, tag), get.with(`If-None-Match: "x,a"`).hits()}},
			{"4.3.2", "weak stored, strong asked", []step{get.gives(minute, `ETag: W/"a"`), get.with(`If-None-Match: "a"`).hits().as(304)}},
			{"4.3.2", "strong stored, weak asked", []step{get.gives(minute, tag), get.with(`If-None-Match: W/"a"`).hits().as(304)}},
			{"4.3.2", "both weak", []step{get.gives(minute, `ETag: W/"a"`), get.with(`If-None-Match: W/"a"`).hits().as(304)}},
			{"4.3.2", "tags have case", []step{get.gives(minute, tag), get.with(`If-None-Match: "A"`).hits()}},
			{"4.3.2", "an unquoted tag that came so", []step{get.gives(minute, "ETag: a"), get.with("If-None-Match: a").hits().as(304)}},
			{"4.3.2", "* matches anything", []step{get.gives(minute), get.with("If-None-Match: *").hits().as(304)}},
			{"4.3.2", "no ETag, no match", []step{get.gives(minute), get.with(`If-None-Match: "a"`).hits()}},
			{"4.3.2", "If-Modified-Since the same", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {start-60}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since later", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {start-30}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since earlier", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {start-61}").hits()}},
			{"4.3.2", "If-Modified-Since in the format of RFC 850", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {rfc850 start-60}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since in the format of asctime", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {asctime start-60}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since that is no date", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: yesterday").hits()}},
			{"4.3.2", "If-Modified-Since against Date", []step{get.gives(minute), get.after(5).with("If-Modified-Since: {start}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since before Date", []step{get.gives(minute), get.after(5).with("If-Modified-Since: {start-1}").hits()}},
			{"4.3.2", "If-None-Match wins: no match", []step{
				get.gives(minute, tag, "Last-Modified: {now-60}"), get.with(`If-None-Match: "b"`, "If-Modified-Since: {now}").hits(),
			}},
			{"4.3.2", "If-None-Match wins: match", []step{
				get.gives(minute, tag, "Last-Modified: {now-60}"), get.with(`If-None-Match: "a"`, "If-Modified-Since: {now-999}").hits().as(304),
			}},
			{"4.3.2", "a HEAD with a condition", []step{get.gives(minute, tag), head.with(`If-None-Match: "a"`).hits().as(304)}},
			{"4.3.2", "a stored 404 is no 304", []step{get.code(404).gives(minute, tag), get.with(`If-None-Match: "a"`).hits()}},
			{"4.3.2", "a stored 404 is no 304 by date either", []step{get.code(404).gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {now}").hits()}},
			{"4.3.2", "a stored 301 is no 304", []step{get.code(301).gives(minute, tag, "Location: /x"), get.with(`If-None-Match: "a"`).hits()}},
			{"4.3.2", "a condition comes before Range", []step{
				get.gives(minute, tag), get.with(`If-None-Match: "a"`, "Range: bytes=0-1").hits().as(304),
			}},
			{"4.3.2", "If-Match is the origin's affair", []step{get.gives(minute, tag), get.with(`If-Match: "b"`).code(412).gives().asks(`If-Match: "b"`)}},
			{"4.3.2", "If-Unmodified-Since is the origin's affair", []step{
				get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Unmodified-Since: {now-90}").code(412).gives().asks("If-Unmodified-Since: {now-90}"),
			}},
			{"4.3.2", "a 412 is not stored", []step{get.with(`If-Match: "b"`).code(412).gives(minute), get.gives()}},

			{"4.3.3", "304: the stored response is used", []step{get.gives(ten, tag), get.after(10).validates(), get.after(9).hits(), get.after(1).validates()}},
			{"4.3.3", "304 to who knew: 304", []step{
				get.gives(ten, tag), get.after(10).with(`If-None-Match: "a"`).validates().as(304), get.hits(),
			}},
			{"4.3.3", "304 to who knew another: the stored response", []step{
				get.gives(ten, tag), get.after(10).with(`If-None-Match: "b"`).validates().shows(tag),
			}},
			{"4.3.3", "304 to a HEAD", []step{get.gives(ten, tag), head.after(10).gives(ten, tag)}},
			{"4.3.3", "200: a new response", []step{
				get.gives(ten, tag), get.after(10).gives(ten, `ETag: "b"`).asks(`If-None-Match: "a"`).shows(`ETag: "b"`), get.hits(2),
				get.after(10).gives().asks(`If-None-Match: "b"`),
			}},
			{"4.3.3", "200 that is not to be stored", []step{get.gives(ten, tag), get.after(10).gives("Cache-Control: no-store"), get.gives()}},
			{"4.3.3", "404: a new response", []step{get.gives(ten, tag), get.after(10).code(404).gives(), get.gives()}},
			{"4.3.3", "503: as if the origin had not answered", []step{get.gives(ten, tag), get.after(10).code(503).gives().stale()}},
			{"4.3.3", "503 with must-revalidate is passed on", []step{get.gives("Cache-Control: max-age=10, must-revalidate", tag), get.after(10).code(503).gives()}},
			{"4.3.3", "400 is passed on", []step{get.gives(ten, tag), get.after(10).code(400).gives()}},
			{"4.3.3", "206 is no answer to a request without Range", []step{
				get.text("0123456789").gives(minute, tag), get.with("Cache-Control: no-cache").gives(minute, `ETag: "b"`), get.hits(2),
			}},

			{"4.3.4", "304 with the same ETag", []step{get.gives(ten, tag), get.after(10).validates(tag), get.hits()}},
			{"4.3.4", "304 with the weak form of the ETag", []step{get.gives(ten, `ETag: W/"a"`), get.after(10).validates(`ETag: W/"a"`), get.hits()}},
			{"4.3.4", "304 with another strong ETag updates nothing", []step{
				get.gives(ten, tag), get.after(10).does304(`ETag: "b"`, minute).either().readsAnything(), get.gives(),
			}},
			{"4.3.4", "304 by date", []step{get.gives(ten, "Last-Modified: {now-60}"), get.after(10).validates("Last-Modified: {start-60}"), get.hits()}},
			{"4.3.4", "again and again", []step{
				get.gives(ten, tag), get.after(10).validates(), get.after(10).validates(), get.after(10).validates(), get.after(9).hits().shows("Age: 9"),
			}},
			{"4.3.4", "only the variant asked for is made fresh", []step{
				get.with("X: 1").gives(ten, "Vary: X", `ETag: "1"`), get.with("X: 2").gives(ten, "Vary: X", `ETag: "2"`),
				get.with("X: 1").after(10).validates(`ETag: "1"`, "Vary: X"), get.with("X: 1").hits(), get.with("X: 2").gives(),
			}},
			{"4.3.4", "the status stays", []step{get.code(404).gives(ten, tag), get.after(10).validates().as(404), get.hits()}},

			{"4.3.5", "HEAD with the same validator makes fresh", []step{
				get.gives(ten, tag), head.after(10).gives(ten, tag, "Content-Length: 18", "X-A: 1"), get.after(9).hits().shows("Age: 9", "X-A: 1"), get.after(1).validates(),
			}},
			{"4.3.5", "HEAD with another ETag makes invalid", []step{
				get.gives(ten, tag), head.after(10).gives(ten, `ETag: "b"`), get.gives().asks("!If-None-Match"),
			}},
			{"4.3.5", "HEAD with another Last-Modified makes invalid", []step{
				get.gives(ten, "Last-Modified: {now-60}"), head.after(10).gives(ten, "Last-Modified: {now-30}"), get.gives(),
			}},
			{"4.3.5", "HEAD with another Content-Length makes invalid", []step{
				get.gives(ten, tag), head.after(10).gives(ten, tag, "Content-Length: 99"), get.gives(),
			}},
			{"4.3.5", "HEAD that the client forces", []step{
				get.gives(minute, tag), head.after(10).with("Cache-Control: no-cache").gives(minute, `ETag: "b"`), get.gives(),
			}},
			{"4.3.5", "HEAD makes its own variant invalid", []step{
				get.with("X: 1").gives(ten, tag, "Vary: X"), head.with("X: 1").after(10).gives(`ETag: "b"`), get.with("X: 1").gives(),
			}},
			{"4.3.5", "HEAD that varies by more", []step{
				get.with("X: 1").gives(ten, tag), head.with("X: 1").after(10).gives(ten, tag, "Vary: X"), get.with("X: 2").gives(),
			}},
			{"4.3.5", "HEAD with no-store makes nothing fresh", []step{
				get.gives(ten, tag), head.after(10).gives(tag, "Cache-Control: no-store, max-age=60"), get.after(1).validates(),
			}},
			{"4.3.5", "HEAD for one user makes nothing fresh", []step{
				get.gives(ten, tag), head.with(auth).after(10).gives(minute, tag, "X-A: 1"), get.validates().shows("!X-A"),
			}},
			{"4.3.5", "HEAD with an error changes nothing", []step{
				get.gives(minute, tag), head.with("Cache-Control: no-cache").code(404).gives(), get.hits(),
			}},
			{"4.3.5", "HEAD does not replace the body", []step{
				get.gives(ten, tag), head.after(10).gives(ten, tag), get.hits(),
			}},
		})
}

func invalidation() []script {
	methods := func(name string, status int, again func() step, methods ...string) []script {
		return each(methods, func(method string) script {
			return script{"4.4", method + " " + name, []step{get.gives(minute), send(method).code(status).gives(), again()}}
		})
	}
	gone := func() step { return get.gives() }
	kept := func() step { return get.hits() }
	return slices.Concat(
		methods("invalidates", 200, gone, "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "MKCOL", "MOVE", "LOCK", "PURGE", "FOO"),
		methods("that created invalidates", 201, gone, "POST", "PUT"),
		methods("without content invalidates", 204, gone, "PUT", "DELETE"),
		methods("that redirects invalidates", 303, gone, "POST", "PUT", "DELETE"),
		methods("that fails by the client changes nothing", 404, kept, "POST", "PUT", "DELETE", "PATCH", "M-SEARCH"),
		methods("that fails by the origin changes nothing", 500, kept, "POST", "PUT", "DELETE", "PATCH", "M-SEARCH"),
		methods("is safe and changes nothing", 200, kept, "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH"),
		[]script{
			{"4.4", "a closed connection changes nothing", []step{get.gives(minute), send("DELETE").fails(), get.hits()}},
			{"4.4", "only the target", []step{
				get.at("/a").gives(minute), get.at("/b").gives(minute), send("DELETE").at("/a").gives(), get.at("/b").hits(2), get.at("/a").gives(),
			}},
			{"4.4", "only the query of the target", []step{
				get.at("?a").gives(minute), get.at("?b").gives(minute), send("DELETE").at("?a").gives(), get.at("?b").hits(2), get.at("?a").gives(),
			}},
			{"4.4", "only the host of the target", []step{
				get.gives(minute), send("DELETE").with("Host: other.test").gives(), get.hits(),
			}},
			{"4.4", "all variants", []step{
				get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(minute, "Vary: X"), send("PUT").posting("x").with("X: 3").gives(),
				get.with("X: 1").gives(), get.with("X: 2").gives(),
			}},
			{"4.4", "Location", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: {path}/b"), get.at("/b").gives()}},
			{"4.4", "Content-Location", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").gives("Content-Location: {path}/b"), get.at("/b").gives()}},
			{"4.4", "relative Location", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: b"), get.at("/b").gives()}},
			{"4.4", "absolute Location", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://cache.test{path}/b"), get.at("/b").gives()}},
			{"4.4", "Location with a query", []step{get.at("/b?c").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: b?c"), get.at("/b?c").gives()}},
			{"4.4", "Location with a fragment", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: b#c"), get.at("/b").gives()}},
			{"4.4", "Location with dots", []step{get.at("/b").gives(minute), send("POST").at("/a/c").posting("x").code(201).gives("Location: ../b"), get.at("/b").gives()}},
			{"4.4", "Location with all variants", []step{
				get.at("/b").with("X: 1").gives(minute, "Vary: X"), send("POST").at("/a").posting("x").code(201).gives("Location: b"), get.at("/b").with("X: 1").gives(),
			}},
			{"4.4", "Location that is no URI", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://[:b"), get.at("/b").hits()}},
			{"4.4", "Location on another host is left alone", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://other.test{path}/b"), get.at("/b").hits()}},
			{"4.4", "on another host nothing is invalidated either", []step{
				get.at("/b").with("Host: other.test").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://other.test{path}/b"),
				get.at("/b").with("Host: other.test").hits(),
			}},
			{"4.4", "Content-Location on another host is left alone", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").gives("Content-Location: http://other.test{path}/b"), get.at("/b").hits()}},
			{"4.4", "Location of an error", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(400).gives("Location: {path}/b"), get.at("/b").hits()}},
			{"4.4", "Location of a GET", []step{get.at("/b").gives(minute), get.at("/a").code(302).gives("Location: {path}/b"), get.at("/b").hits()}},
			{"4.4", "and then stored anew", []step{get.gives(minute), send("DELETE").gives(), get.gives(minute), get.hits(3)}},
			{"4.4", "what is invalid is not served stale", []step{get.gives(ten), send("DELETE").gives(), get.after(10).fails()}},
		})
}
