package rfc9111

import (
	"slices"
	"strings"
)

// corners are what the texts leave to a second look: odd syntax, rules in
// combination.
func corners() []script {
	return slices.Concat(
		each([]int{226, 305, 306, 406, 411, 413, 415, 417, 422, 423, 426, 428, 431, 505, 511, 520}, func(code int) script {
			return script{"3", "status " + digits(code) + " with explicit freshness", []step{get.code(code).gives(minute), get.after(59).hits(), get.after(1).gives()}}
		}),
		[]script{
			{"3", "an empty query is none", []step{get.at("?").gives(minute), get.at("?").hits()}},
			{"3", "the answer to HEAD does not replace the stored one", []step{get.gives(minute), head.with(control("no-cache")).gives(minute), get.hits()}},

			{"3.2", "a 304 updates ETag", []step{get.gives(ten, `ETag: W/"a"`), get.after(10).validates(`ETag: W/"b"`).shows(`ETag: W/"b"`), get.hits().shows(`ETag: W/"b"`)}},
			{"3.2", "a 304 updates Content-Type", []step{
				get.gives(ten, tag, "Content-Type: text/a"), get.after(10).validates("Content-Type: text/b").shows("Content-Type: text/b"), get.hits().shows("Content-Type: text/b"),
			}},
			{"3.2", "a 304 updates Content-Location", []step{get.gives(ten, tag, "Content-Location: /a"), get.after(10).validates("Content-Location: /b").shows("Content-Location: /b"), get.hits().shows("Content-Location: /b")}},
			{"3.2", "a 304 updates Content-Security-Policy", []step{get.gives(ten, tag, "Content-Security-Policy: default-src a"), get.after(10).validates("Content-Security-Policy: default-src b"), get.hits().shows("Content-Security-Policy: default-src b")}},
			{"3.2", "a 304 has no Content-Range to give", []step{get.gives(ten, tag), get.after(10).validates("Content-Range: bytes 0-1/2").shows("!Content-Range"), get.hits().shows("!Content-Range")}},
			{"3.2", "a 304 leaves fewer lines where there were more", []step{get.gives(ten, tag, "X-A: 1", "X-A: 2"), get.after(10).validates("X-A: 3").shows("X-A: 3"), get.hits().shows("X-A: 3")}},
			{"3.2", "a 304 updates CDN-Cache-Control", []step{get.gives("CDN-Cache-Control: max-age=10", tag), get.after(10).validates("CDN-Cache-Control: max-age=60"), get.after(59).hits(), get.after(1).validates()}},
			{"3.2", "hop-by-hop fields of a 304 are not stored", []step{get.gives(ten, tag), get.after(10).validates("Keep-Alive: timeout=5", "Proxy-Authenticate: x").shows("!Keep-Alive", "!Proxy-Authenticate"), get.hits().shows("!Keep-Alive", "!Proxy-Authenticate")}},
			{"3.2", "a 304 with private field names", []step{
				get.gives(ten, tag, "X-A: 1"), get.after(10).validates(control(`max-age=60, private="X-A"`), "X-A: 2"), get.hits().shows("!X-A"),
			}},

			{"4.1", "a Vary that names no field never matches", []step{get.gives(minute, "Vary: X Y"), get.gives()}},
			{"4.1", "Vary names what Connection names as well", []step{get.with("X: 1").gives(minute, "Vary: X", "X: 1"), get.with("X: 2").gives()}},
			{"4.1", "languages have no case", []step{get.with("Accept-Language: EN, de;q=0.5").gives(minute, "Vary: Accept-Language"), get.with("Accept-Language: en,DE;q=0.5").hits()}},
			{"4.1", "weights of equal order do not matter", []step{get.with("Accept-Language: en;q=1.0, de;q=0.8").gives(minute, "Vary: Accept-Language"), get.with("Accept-Language: en, de;q=0.5").hits()}},
			{"4.1", "the order of codings does not matter", []step{get.with("Accept-Encoding: gzip, br").gives(minute, "Vary: Accept-Encoding"), get.with("Accept-Encoding: br,gzip").hits()}},

			lives("4.2.1", "an escaped mark in a quoted string", 60, control(`x="a\", max-age=10", max-age=60`)),
			lives("4.2.1", "an escaped backslash at the end of a quoted string", 60, control(`x="a\\", max-age=60`)),
			lives("4.2.1", "a quoted and a plain max-age", 10, control(`max-age=60, max-age="10"`)),
			lives("4.2.1", "contradicting s-maxage", 10, control("s-maxage=60, s-maxage=10")),
			lives("4.2.1", "s-maxage wins over an invalid max-age", 60, control("s-maxage=60, max-age=a")),
			lives("4.2.1", "spaces at the end of the field", 60, control("max-age=60   ")),
			never("4.2.1", "one of two is invalid", control("max-age=60, max-age=a")),
			never("4.2.1", "a colon is no equals sign", control("max-age:60")),
			never("4.2.1", "a name without its hyphen", control("maxage=60")),
			never("4.2.1", "digits of other scripts", control("max-age=\u0666\u0660")),
			never("4.2.1", "an unfinished quoted string before it", control(`x="a, max-age=60`)),
			lives("4.2.1", "several lines", 60, control("x"), control("max-age=60"), control("y")),

			{"4.2.2", "a day at most", []step{get.gives("Last-Modified: {now-8640000}"), get.after(86399).hits(), get.after(1).validates()}},
			{"4.2.2", "Date, not the clock", []step{get.gives("Date: {now-50}", "Last-Modified: {now-1050}"), get.after(49).hits().shows("Age: 99"), get.after(1).validates()}},
			{"4.2.2", "not in doubt of no-cache", []step{get.gives("Last-Modified: {now-1000}", control("no-cache")), get.validates()}},
			{"4.2.2", "with must-revalidate", []step{get.gives("Last-Modified: {now-1000}", control("must-revalidate")), get.after(99).hits(), get.after(1).fails()}},
			never("4.2.2", "not with max-age=0", control("max-age=0"), "Expires: {now+60}"),

			{"4.2.3", "an old Date and Expires", []step{get.gives("Date: {now-50}", "Expires: {now+10}"), get.after(9).hits().shows("Age: 59"), get.after(1).gives()}},
			never("4.2.3", "an old Date and an Expires of its day", "Date: {now-500}", "Expires: {now-400}"),
			{"4.2.3", "no Date and Expires", []step{get.gives("Date: (none)", "Expires: {now+60}"), get.after(59).hits().shows("Age: 59"), get.after(1).gives()}},
			{"4.2.3", "an invalid Date and Expires", []step{get.gives("Date: now", "Expires: {now+60}"), get.after(59).hits(), get.after(1).gives()}},
			{"4.2.3", "Age beyond a stale Date", []step{get.gives(minute, "Date: {now-5}", "Age: 59"), get.hits().shows("Age: 59"), get.after(1).gives()}},

			{"4.3.1", "a new response that the client has already", []step{
				get.gives(ten, tag), get.after(10).with(`If-None-Match: "b"`).gives(ten, `ETag: "b"`).asks(`If-None-Match: "a"`).as(304).reads(""), get.hits(2),
			}},
			{"4.3.1", "no conditions on an unsafe request", []step{get.gives(ten, tag), send("PUT").after(10).posting("x").gives().asks("!If-None-Match")}},
			{"4.3.2", "If-None-Match with an empty member", []step{get.gives(minute, tag), get.with(`If-None-Match: , "a",`).hits().as(304)}},
			{"4.3.2", "an empty If-None-Match matches nothing", []step{get.gives(minute, tag), get.with("If-None-Match: ").hits()}},
			{"4.3.2", "* beside a tag is a list without it", []step{get.gives(minute, tag), get.with(`If-None-Match: "a", *`).hits().as(304)}},
			{"4.3.2", "w/ in lower case is no weak tag", []step{get.gives(minute, tag), get.with(`If-None-Match: w/"a"`).hits()}},
			{"4.3.2", "two lines of If-Modified-Since are no date", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {now}", "If-Modified-Since: {now}").hits()}},
			{"4.3.2", "a future If-Modified-Since", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: {now+3600}").hits().as(304)}},
			{"4.3.2", "If-Modified-Since against a Last-Modified that is no date", []step{get.gives(minute, "Last-Modified: yesterday"), get.with("If-Modified-Since: {now-999}").hits()}},
			{"4.3.2", "If-Modified-Since in another zone", []step{get.gives(minute, "Last-Modified: {now-60}"), get.with("If-Modified-Since: Thu, 31 Dec 2099 23:59:59 PST").hits()}},
			{"4.3.2", "If-Modified-Since on HEAD", []step{get.gives(minute, "Last-Modified: {now-60}"), head.with("If-Modified-Since: {now}").hits().as(304)}},

			{"4.4", "Location with the host in upper case", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://CACHE.TEST{path}/b"), get.at("/b").gives()}},
			{"4.4", "Location on another port", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://cache.test:81{path}/b"), get.at("/b").hits()}},
			{"4.4", "Location of another scheme", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: https://cache.test{path}/b"), get.at("/b").hits()}},
			{"4.4", "Location without a scheme", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: //cache.test{path}/b"), get.at("/b").gives()}},
			{"4.4", "Location with the default port", []step{get.at("/b").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: http://cache.test:80{path}/b"), get.at("/b").gives()}},
			{"4.4", "a Host with the default port", []step{get.gives(minute), send("DELETE").with("Host: cache.test:80").gives(), get.gives()}},
			{"4.4", "Location, and a Host with the default port", []step{get.at("/b").gives(minute), send("POST").at("/a").with("Host: cache.test:80").posting("x").code(201).gives("Location: http://cache.test{path}/b"), get.at("/b").gives()}},
			{"4.4", "Location and Content-Location", []step{
				get.at("/b").gives(minute), get.at("/c").gives(minute), send("POST").at("/a").posting("x").code(201).gives("Location: {path}/b", "Content-Location: {path}/c"),
				get.at("/b").gives(), get.at("/c").gives(),
			}},
			{"4.4", "an accepted request", []step{get.gives(minute), send("DELETE").code(202).gives(), get.gives()}},
			{"4.4", "an unusual success", []step{get.gives(minute), send("POST").posting("x").code(299).gives(), get.gives()}},
			{"4.4", "an unusual failure", []step{get.gives(minute), send("POST").posting("x").code(599).gives(), get.hits()}},
			{"4.4", "a redirection by POST", []step{get.gives(minute), send("POST").posting("x").code(307).gives("Location: /elsewhere"), get.gives()}},
			{"4.4", "what is stored without freshness", []step{get.gives(control("no-cache"), tag), send("PUT").posting("x").gives(), get.gives().asks("!If-None-Match")}},

			{"5.2.1.1", "an invalid max-age is 0", []step{get.gives(minute), get.with(control("max-age=a")).gives()}},
			{"5.2.1.1", "a quoted max-age", []step{get.gives(minute), get.after(5).with(control(`max-age="10"`)).hits(), get.with(control(`max-age="4"`)).gives()}},
			{"5.2.1.1", "a huge max-age", []step{get.gives(minute), get.with(control("max-age=99999999999999999999")).hits()}},
			{"5.2.1.1", "the shorter of two", []step{get.gives(minute), get.after(5).with(control("max-age=10"), control("max-age=4")).gives()}},
			{"5.2.1.2", "an invalid max-stale allows nothing", []step{get.gives(ten), get.after(11).with(control("max-stale=a")).gives()}},
			{"5.2.1.2", "a negative max-stale allows nothing", []step{get.gives(ten), get.after(11).with(control("max-stale=-1")).gives()}},
			{"5.2.1.2", "a huge max-stale", []step{get.gives(ten), get.after(99).with(control("max-stale=99999999999999999999")).hits()}},
			{"5.2.1.2", "max-stale for heuristics", []step{get.gives("Last-Modified: {now-100}"), get.after(15).with(control("max-stale=5")).hits(), get.after(1).with(control("max-stale=5")).validates()}},
			{"5.2.1.2", "a HEAD with max-stale", []step{get.gives(ten), head.after(11).with(control("max-stale")).hits()}},
			{"5.2.1.3", "an invalid min-fresh is none", []step{get.gives(minute), get.with(control("min-fresh=a")).hits()}},
			{"5.2.1.3", "min-fresh with max-stale", []step{get.gives(ten), get.after(15).with(control("min-fresh=1, max-stale=60")).gives()}},
			{"5.2.1.3", "min-fresh validates", []step{get.gives(minute, tag), get.after(40).with(control("min-fresh=30")).validates(), get.after(30).with(control("min-fresh=30")).hits()}},
			{"5.2.1.5", "no-store among others", []step{get.with(control(`x="a, b", NO-STORE, max-age=0`)).gives(minute), get.gives()}},
			{"5.2.1.5", "no-store does not end an older one", []step{get.gives(ten), get.after(10).with(control("no-store")).gives(minute), get.fails().stale()}},
			{"5.2.1.7", "only-if-cached with a range", []step{get.text(numbers).gives(minute), get.with("Range: bytes=2-5", control("only-if-cached")).hits().as(206).reads("2345")}},
			{"5.2.2.3", "must-understand without freshness", []step{get.gives(control("must-understand, no-store")), get.gives()}},
			{"5.2.2.3", "must-understand and private", []step{get.gives(control("must-understand, private, max-age=60")), get.gives()}},
			{"5.2.2.4", "no-cache by names in several lines", []step{get.gives(minute, control(`no-cache="X-A"`), control(`no-cache="X-B"`), "X-A: 1", "X-B: 1", "X-C: 1"), get.hits().shows("!X-A", "!X-B", "X-C: 1")}},
			{"5.2.2.7", "private by names in several lines", []step{get.gives(minute, control(`private="X-A"`), control(`private="X-B"`), "X-A: 1", "X-B: 1", "X-C: 1"), get.hits().shows("!X-A", "!X-B", "X-C: 1")}},
			{"5.2.2.7", "private by names that are absent", []step{get.gives(control(`max-age=60, private="X-A"`)), get.hits()}},

			{"5.3", "the earliest of two", []step{get.gives("Expires: {now+60}", "Expires: {now+10}"), get.after(9).hits(), get.after(1).gives()}},
			never("5.3", "one of two is invalid", "Expires: {now+60}", "Expires: 0"),
			never("5.3", "a day of one digit", "Expires: Tue, 1 Dec 2099 23:59:59 GMT"),
			never("5.3", "a year of two digits", "Expires: Thu, 31 Dec 99 23:59:59 GMT"),
			never("5.3", "two digits of the past", "Expires: Sunday, 06-Nov-94 08:49:37 GMT"),
			lives("5.3", "spaces around it", 60, "Expires:   {now+60}  "),

			{"5.4", "Pragma has no case", []step{get.gives(minute), get.with("Pragma: No-Cache").gives()}},
			{"5.4", "Pragma in a list", []step{get.gives(minute), get.with("Pragma: foo, no-cache").gives()}},
			{"5.4", "Pragma in a second line", []step{get.gives(minute), get.with("Pragma: foo", "Pragma: no-cache").gives()}},
			{"5.4", "Pragma in a quoted string", []step{get.gives(minute), get.with(`Pragma: foo="no-cache"`).hits()}},

			{"RFC 5861 3", "stale, and renewed behind the client's back", []step{
				get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(20).renews(minute).shows("Age: 20"), get.hits(2),
			}},
			{"RFC 5861 3", "to the last second", []step{
				get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(70).renews(minute), get.hits(2),
			}},
			{"RFC 5861 3", "with a condition", []step{
				get.gives(control("max-age=10, stale-while-revalidate=60"), tag), get.after(20).with(`If-None-Match: "a"`).renews(minute).as(304).reads(""), get.hits(2),
			}},
			{"RFC 5861 3", "with a range", []step{
				get.text(numbers).gives(control("max-age=10, stale-while-revalidate=60")), get.after(20).with("Range: bytes=2-5").renews(minute).as(206).reads("2345"), get.hits(2),
			}},
			{"RFC 5861 3", "with s-maxage", []step{
				get.gives(control("s-maxage=10, stale-while-revalidate=60")), get.after(20).renews(minute), get.hits(2),
			}},
			{"RFC 5861 3", "a variant", []step{
				get.with("X: 1").gives(control("max-age=10, stale-while-revalidate=60"), "Vary: X"), get.with("X: 1").after(20).renews(minute, "Vary: X"), get.with("X: 1").hits(2),
			}},
			{"RFC 5861 3", "an invalid window is none", []step{get.gives(control("max-age=10, stale-while-revalidate=a")), get.after(11).gives()}},
			{"RFC 5861 3", "no-cache of the request rules it out", []step{get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(11).with(control("no-cache")).gives()}},
			{"RFC 5861 3", "max-age=0 of the request rules it out", []step{get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(11).with(control("max-age=0")).gives()}},
			{"RFC 5861 4", "an invalid window is none", []step{get.gives(control("max-age=10, stale-if-error=a")), get.after(11).code(503).gives()}},
			{"RFC 5861 4", "with s-maxage", []step{get.gives(control("s-maxage=10, stale-if-error=60")), get.after(20).code(503).gives().stale()}},
			{"RFC 5861 4", "with a response that breaks off", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).breaks().stale()}},
			{"RFC 5861 4", "to a HEAD", []step{get.gives(control("max-age=10, stale-if-error=60")), head.after(20).code(503).gives().stale()}},
			{"RFC 5861 4", "a variant", []step{
				get.with("X: 1").gives(control("max-age=10, stale-if-error=60"), "Vary: X"), get.with("X: 2").after(20).code(503).gives(), get.with("X: 1").code(503).gives().stale(),
			}},

			lives("RFC 9213", "a lifetime that is true does not count", 60, "CDN-Cache-Control: max-age=?1", minute),
			lives("RFC 9213", "a lifetime without a value does not count", 60, "CDN-Cache-Control: max-age", minute),
			lives("RFC 9213", "a lifetime that is a token does not count", 60, "CDN-Cache-Control: max-age=a", minute),
			lives("RFC 9213", "a lifetime that is a list does not count", 60, "CDN-Cache-Control: max-age=(10)", minute),
			lives("RFC 9213", "an integer of 16 digits is none", 60, "CDN-Cache-Control: max-age=1000000000000000", minute),
			lives("RFC 9213", "a comma at the end is no dictionary", 60, "CDN-Cache-Control: max-age=10,", minute),
			lives("RFC 9213", "a lifetime in an unfinished string", 60, `CDN-Cache-Control: x="max-age=10`, minute),
			lives("RFC 9213", "what is in a string is none", 60, `CDN-Cache-Control: x="max-age=10", max-age=60`, ten),
			reused("RFC 9213", "an integer of 15 digits", "CDN-Cache-Control: max-age=999999999999999"),
			reused("RFC 9213", "false takes back", "CDN-Cache-Control: max-age=60, no-store=?0, private=?0"),
			never("RFC 9213", "parameters of no-store do not matter", "CDN-Cache-Control: no-store;a=1, max-age=60", minute),
			never("RFC 9213", "no-store with another value", "CDN-Cache-Control: no-store=1, max-age=60", minute),
			{"RFC 9213", "private with field names in it", []step{get.gives(`CDN-Cache-Control: max-age=60, private="X-A"`, "X-A: 1", "X-B: 1"), get.hits().shows("!X-A", "X-B: 1")}},
			{"RFC 9213", "stale-if-error in it", []step{get.gives("CDN-Cache-Control: max-age=10, stale-if-error=60", control("max-age=10, stale-if-error=0")), get.after(20).code(503).gives().stale()}},
			{"RFC 9213", "stale-while-revalidate in it", []step{get.gives("CDN-Cache-Control: max-age=10, stale-while-revalidate=60", ten), get.after(20).renews(minute), get.hits(2)}},

			{"RFC 9211", "a key of a cache behind is kept", []step{get.gives(minute, `Cache-Status: behind; hit; key="a, b"`, "Cache-Status: middle; fwd=miss"), get.hits().shows(`Cache-Status: behind; hit; key="a, b" | middle; fwd=miss | cacheaside; hit; ttl=60`)}},
			{"RFC 9110 7.6.3", "the origin sees Via", []step{get.gives().asks("Via: 1.1 cacheaside")}},
			{"RFC 9110 7.6.3", "behind those before", []step{get.with("Via: 1.0 a, 1.1 b").gives().asks("Via: 1.0 a, 1.1 b, 1.1 cacheaside")}},
			{"RFC 9110 7.6.1", "fields of the client's connection stay there", []step{get.with("Connection: X-A", "X-A: 1", "X-B: 1").gives().asks("!X-A", "X-B: 1")}},
		},
		rangeCorners,
	)
}

var rangeCorners = []script{
	ranged("RFC 9110 14", "what a 206 has", "Range: bytes=2-5", []string{minute, tag, "Expires: {now+60}", "Vary: X", "Content-Location: /x", "Last-Modified: {now-60}"},
		206, "2345", minute, tag, "Expires: {start+60}", "Vary: X", "Content-Location: /x", "Last-Modified: {start-60}", "Date: {start}"),
	ranged("RFC 9110 14", "a last position beyond any number", "Range: bytes=2-"+strings.Repeat("9", 30), plain, 206, "23456789"),
	ranged("RFC 9110 14", "a first position beyond any number", "Range: bytes="+strings.Repeat("9", 30)+"-", plain, 416, "", "Content-Range: bytes */10", "Content-Length: 0"),
	ranged("RFC 9110 14", "a suffix beyond any number", "Range: bytes=-"+strings.Repeat("9", 30), plain, 206, numbers),
	ranged("RFC 9110 14", "spaces within a range are ignored as a whole", "Range: bytes=2 - 5", plain, 200, ""),
	ranged("RFC 9110 14", "a negative position is ignored", "Range: bytes=-2-5", plain, 200, ""),
	ranged("RFC 9110 14", "a range of a weak ETag", "Range: bytes=2-5", []string{minute, `ETag: W/"a"`}, 206, "2345"),
	{"RFC 9110 14", "two lines of Range", []step{get.text(numbers).gives(minute), get.with("Range: bytes=2-5", "Range: bytes=7-8").hits()}},
	{"RFC 9110 14", "of a variant", []step{get.with("X: 1").text(numbers).gives(minute, "Vary: X"), get.with("X: 1", "Range: bytes=2-5").hits().as(206).reads("2345")}},
	{"RFC 9110 14", "with max-stale", []step{get.text(numbers).gives(ten), get.after(15).with("Range: bytes=2-5", control("max-stale")).hits().as(206).reads("2345")}},
	{"RFC 9110 13.1.5", "If-Range with a date in the format of RFC 850", []step{get.text(numbers).gives(minute, "Last-Modified: {now-60}"), get.with("Range: bytes=2-5", "If-Range: {rfc850 start-60}").hits().as(206).reads("2345")}},
	{"RFC 9110 13.1.5", "If-Range with a list is no tag", []step{get.text(numbers).gives(minute, tag), get.with("Range: bytes=2-5", `If-Range: "b", "a"`).hits()}},
	{"RFC 9110 13.1.5", "If-Range with garbage", []step{get.text(numbers).gives(minute, tag), get.with("Range: bytes=2-5", "If-Range: a").hits()}},
	{"RFC 9110 13.1.5", "If-Range without Range", []step{get.text(numbers).gives(minute, tag), get.with(`If-Range: "a"`).hits()}},
}
