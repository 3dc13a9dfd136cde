package rfc9111

import (
	"slices"
	"strings"
)

var many = strings.Repeat("foo, bar=1, ", 1000)

const numbers = "0123456789"

func ranged(section, name, header string, fields []string, status int, body string, shows ...string) script {
	last := get.with(header).hits()
	if status != 200 {
		last = last.as(status).reads(body)
	}
	return script{section, name, []step{get.text(numbers).gives(fields...), last.shows(shows...)}}
}

var plain = []string{minute}

var ranges = []script{
	ranged("RFC 9110 14", "a range from the cache", "Range: bytes=2-5", plain, 206, "2345", "Content-Range: bytes 2-5/10", "Content-Length: 4"),
	ranged("RFC 9110 14", "one byte", "Range: bytes=0-0", plain, 206, "0", "Content-Range: bytes 0-0/10"),
	ranged("RFC 9110 14", "an open range", "Range: bytes=7-", plain, 206, "789", "Content-Range: bytes 7-9/10"),
	ranged("RFC 9110 14", "a suffix", "Range: bytes=-3", plain, 206, "789", "Content-Range: bytes 7-9/10"),
	ranged("RFC 9110 14", "a suffix longer than everything", "Range: bytes=-30", plain, 206, numbers, "Content-Range: bytes 0-9/10"),
	ranged("RFC 9110 14", "a range beyond the end", "Range: bytes=5-100", plain, 206, "56789", "Content-Range: bytes 5-9/10"),
	ranged("RFC 9110 14", "all of it", "Range: bytes=0-", plain, 206, numbers, "Content-Range: bytes 0-9/10"),
	ranged("RFC 9110 14", "units have no case", "Range: BYTES=2-5", plain, 206, "2345"),
	ranged("RFC 9110 14", "unsatisfiable", "Range: bytes=10-", plain, 416, "", "Content-Range: bytes */10"),
	ranged("RFC 9110 14", "an empty suffix is unsatisfiable", "Range: bytes=-0", plain, 416, "", "Content-Range: bytes */10"),
	ranged("RFC 9110 14", "other fields stay", "Range: bytes=2-5", []string{minute, tag, "Content-Type: text/x", "X-A: 1"}, 206, "2345", tag, "Content-Type: text/x", "X-A: 1", "Age: 0"),
	ranged("RFC 9110 14", "another unit is ignored", "Range: lines=2-5", plain, 200, ""),
	ranged("RFC 9110 14", "no unit is ignored", "Range: 2-5", plain, 200, ""),
	ranged("RFC 9110 14", "the wrong way round is ignored", "Range: bytes=5-2", plain, 200, ""),
	ranged("RFC 9110 14", "no number is ignored", "Range: bytes=a-b", plain, 200, ""),
	ranged("RFC 9110 14", "nothing is ignored", "Range: bytes=", plain, 200, ""),
	ranged("RFC 9110 14", "a hyphen is ignored", "Range: bytes=-", plain, 200, ""),
	ranged("RFC 9110 14", "an empty member", "Range: bytes=2-5,", plain, 206, "2345"),
	ranged("RFC 9110 14", "unsatisfiable beside satisfiable", "Range: bytes=2-5, 20-30", plain, 206, "2345"),
	{"RFC 9110 14", "several ranges", []step{
		get.text(numbers).gives(minute, "Content-Type: text/x"),
		get.with("Range: bytes=0-1, 8-").hits().as(206).shows("Content-Type: ~multipart/byteranges; boundary=", "!Content-Range").
			reads("--*\r\nContent-Range: bytes 0-1/10\r\nContent-Type: text/x\r\n\r\n01\r\n--*\r\nContent-Range: bytes 8-9/10\r\nContent-Type: text/x\r\n\r\n89\r\n--*--\r\n"),
	}},
	{"RFC 9110 14", "overlapping ranges that are more than everything", []step{
		get.text(numbers).gives(minute), get.with("Range: bytes=0-, 0-, 0-, 0-").hits(),
	}},
	{"RFC 9110 14", "a hundred ranges", []step{
		get.text(numbers).gives(minute), get.with("Range: bytes=" + strings.Repeat("1-1,", 99) + "1-1").hits(),
	}},
	{"RFC 9110 14", "HEAD has no ranges", []step{get.text(numbers).gives(minute), head.with("Range: bytes=2-5").hits().shows("Content-Length: 10", "!Content-Range")}},
	{"RFC 9110 14", "an error has no ranges", []step{get.code(404).text(numbers).gives(minute), get.with("Range: bytes=2-5").hits()}},
	{"RFC 9110 14", "a range of a stale entry is validated first", []step{
		get.text(numbers).gives(ten, tag), get.after(10).with("Range: bytes=2-5").validates().as(206).reads("2345"),
	}},
	{"RFC 9110 14", "a miss passes Range on", []step{get.with("Range: bytes=2-5").code(206).text("2345").gives("Content-Range: bytes 2-5/10").asks("Range: bytes=2-5")}},
	{"RFC 9110 14", "the whole stays stored", []step{get.text(numbers).gives(minute), get.with("Range: bytes=2-5").hits().as(206).reads("2345"), get.hits()}},

	{"RFC 9110 13.1.5", "If-Range with the ETag", []step{get.text(numbers).gives(minute, tag), get.with("Range: bytes=2-5", `If-Range: "a"`).hits().as(206).reads("2345")}},
	{"RFC 9110 13.1.5", "If-Range with another ETag", []step{get.text(numbers).gives(minute, tag), get.with("Range: bytes=2-5", `If-Range: "b"`).hits()}},
	{"RFC 9110 13.1.5", "If-Range with a weak ETag", []step{get.text(numbers).gives(minute, `ETag: W/"a"`), get.with("Range: bytes=2-5", `If-Range: W/"a"`).hits()}},
	{"RFC 9110 13.1.5", "If-Range with Last-Modified", []step{get.text(numbers).gives(minute, "Last-Modified: {now-60}"), get.with("Range: bytes=2-5", "If-Range: {start-60}").hits().as(206).reads("2345")}},
	{"RFC 9110 13.1.5", "If-Range with a later date", []step{get.text(numbers).gives(minute, "Last-Modified: {now-60}"), get.with("Range: bytes=2-5", "If-Range: {start-30}").hits()}},
	{"RFC 9110 13.1.5", "If-Range with an earlier date", []step{get.text(numbers).gives(minute, "Last-Modified: {now-60}"), get.with("Range: bytes=2-5", "If-Range: {start-90}").hits()}},
	{"RFC 9110 13.1.5", "If-Range where there is no validator", []step{get.text(numbers).gives(minute), get.with("Range: bytes=2-5", `If-Range: "a"`).hits()}},
	{"RFC 9110 13.1.5", "If-Range before an unsatisfiable range", []step{get.text(numbers).gives(minute, tag), get.with("Range: bytes=20-", `If-Range: "b"`).hits()}},
}

func others() []script {
	return slices.Concat([]script{
		{"RFC 9110 6.6.1", "Date is that of the response", []step{get.gives(minute), get.after(5).hits().shows("Date: {start}")}},
		{"RFC 9110 6.6.1", "a missing Date is added", []step{get.gives(minute, "Date: (none)").shows("Date"), get.after(5).hits().shows("Date: {start}", "Age: 5")}},
		{"RFC 9110 8.6", "Content-Length of a hit", []step{get.gives(minute), get.hits().shows("Content-Length: 18")}},
		{"RFC 9110 8.6", "Content-Length of a hit by HEAD", []step{get.text(numbers).gives(minute), head.hits().shows("Content-Length: 10")}},
		{"RFC 9110 8.6", "no Content-Length with 204", []step{get.code(204).gives(minute), get.hits().shows("!Content-Length")}},
		{"RFC 9110 8.6", "no Content-Length of 0 with 304", []step{get.gives(minute, tag), get.with(`If-None-Match: "a"`).hits().as(304).shows("!Content-Length", "!Content-Range")}},
		{"RFC 9110 8.6", "a body without a length announced", []step{get.text(strings.Repeat(numbers, 5000)).gives(minute), get.hits()}},
		{"RFC 9110 15.2", "103 reaches the client", []step{get.hinting("</a>; rel=preload").gives(minute).shows("!Link")}},
		{"RFC 9110 15.2", "103 on validation reaches the client", []step{get.gives(ten, tag), get.after(10).hinting("</a>; rel=preload").validates()}},
		{"RFC 9110 15.2", "103 on a request that is not cached", []step{send("POST").posting("x").hinting("</a>; rel=preload").gives()}},
		{"RFC 9110 9.3.2", "HEAD on a miss", []step{head.gives(minute).shows("!Age")}},

		{"RFC 5861 4", "stale-if-error with 500", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(69).code(500).gives().stale().shows("Age: 69")}},
		{"RFC 5861 4", "stale-if-error with 502", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(502).gives().stale()}},
		{"RFC 5861 4", "stale-if-error with 503", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(503).gives().stale()}},
		{"RFC 5861 4", "stale-if-error with 504", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(504).gives().stale()}},
		{"RFC 5861 4", "stale-if-error with a closed connection", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).fails().stale()}},
		{"RFC 5861 4", "stale-if-error by the second", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(69).code(503).gives().stale(), get.after(2).code(503).gives()}},
		{"RFC 5861 4", "stale-if-error not with 404", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(404).gives()}},
		{"RFC 5861 4", "stale-if-error not with 501", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(501).gives()}},
		{"RFC 5861 4", "stale-if-error does not beat no-cache of the request", []step{get.gives(control("max-age=10, stale-if-error=60")), get.after(20).with(control("no-cache")).code(503).gives()}},
		{"RFC 5861 4", "stale-if-error of the request does not beat must-revalidate", []step{get.gives(control("max-age=10, must-revalidate"), tag), get.after(11).with(control("stale-if-error=60")).code(503).gives()}},
		{"RFC 5861 4", "stale-if-error and a condition", []step{get.gives(control("max-age=10, stale-if-error=60"), tag), get.after(20).with(`If-None-Match: "a"`).code(503).gives().stale().as(304)}},
		{"RFC 5861 4", "stale-if-error=0 forbids", []step{get.gives(control("max-age=10, stale-if-error=0")), get.after(11).code(503).gives()}},
		{"RFC 5861 4", "stale-if-error on validation", []step{get.gives(control("max-age=10, stale-if-error=60"), tag), get.after(20).code(503).gives().stale()}},
		{"RFC 5861 4", "stale-if-error of the request", []step{get.gives(control("max-age=10, stale-if-error=5"), tag), get.after(20).with(control("stale-if-error=60")).code(503).gives().stale()}},
		{"RFC 5861 4", "an error is not stored in its place", []step{
			get.gives(control("max-age=10, stale-if-error=60")), get.after(20).code(503).gives(minute).stale(), get.code(503).gives().stale(), get.gives(),
		}},
		{"RFC 5861 3", "stale-while-revalidate while fresh", []step{get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(9).hits()}},
		{"RFC 5861 3", "stale-while-revalidate no longer", []step{get.gives(control("max-age=10, stale-while-revalidate=60")), get.after(71).gives()}},
		{"RFC 5861 3", "stale-while-revalidate does not beat must-revalidate", []step{get.gives(control("max-age=10, stale-while-revalidate=60, must-revalidate")), get.after(11).gives()}},

		{"RFC 9211", "a miss that is stored", []step{get.gives(minute).shows("Cache-Status: cacheaside; fwd=miss; ttl=60; stored")}},
		{"RFC 9211", "a miss that is not", []step{get.gives(control("no-store")).shows("Cache-Status: cacheaside; fwd=miss; detail=no-store")}},
		{"RFC 9211", "a hit", []step{get.gives(minute), get.after(15).hits().shows("Cache-Status: cacheaside; hit; ttl=45")}},
		{"RFC 9211", "a stale hit has a negative ttl", []step{get.gives(ten), get.after(15).with(control("max-stale")).hits().shows("Cache-Status: cacheaside; hit; ttl=-5")}},
		{"RFC 9211", "another variant", []step{get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives().shows("Cache-Status: ~cacheaside; fwd=vary-miss")}},
		{"RFC 9211", "a validation", []step{get.gives(ten, tag), get.after(10).validates().shows("Cache-Status: cacheaside; fwd=stale; fwd-status=304; ttl=10; stored")}},
		{"RFC 9211", "a stale entry replaced", []step{get.gives(ten), get.after(10).gives(ten).shows("Cache-Status: cacheaside; fwd=stale; fwd-status=200; ttl=10; stored")}},
		{"RFC 9211", "a 304 to the client is a hit", []step{get.gives(minute, tag), get.with(`If-None-Match: "a"`).hits().as(304).shows("Cache-Status: cacheaside; hit; ttl=60")}},
		{"RFC 9211", "heuristic freshness has a ttl", []step{get.gives("Last-Modified: {now-1000}").shows("Cache-Status: cacheaside; fwd=miss; ttl=100; stored")}},
		{"RFC 9211", "validated by request", []step{get.gives(minute, tag), get.with(control("no-cache")).validates().shows("Cache-Status: cacheaside; fwd=request; fwd-status=304; ttl=60; stored")}},
		{"RFC 9211", "only-if-cached is not forwarded", []step{get.with(control("only-if-cached")).refused().shows("Cache-Status: cacheaside; detail=only-if-cached")}},
		{"RFC 9211", "a request directive", []step{get.gives(minute), get.with(control("no-cache")).gives(minute).shows("Cache-Status: ~cacheaside; fwd=request")}},
		{"RFC 9211", "a method", []step{send("POST").posting("x").gives().shows("Cache-Status: cacheaside; fwd=method")}},
		{"RFC 9211", "stale after an error", []step{get.gives(ten), get.after(15).code(503).gives().stale().shows("Cache-Status: ~cacheaside; fwd=stale; fwd-status=503")}},
		{"RFC 9211", "appended to that of a cache behind, on a miss", []step{get.gives(minute, "Cache-Status: behind; hit").shows("Cache-Status: behind; hit | cacheaside; fwd=miss; ttl=60; stored")}},
		{"RFC 9211", "appended to that of a cache behind, on a hit", []step{get.gives(minute, "Cache-Status: behind; hit"), get.hits().shows("Cache-Status: behind; hit | cacheaside; hit; ttl=60")}},
		{"RFC 9211", "appended where the cache stands aside", []step{send("POST").posting("x").gives("Cache-Status: behind; fwd=method").shows("Cache-Status: behind; fwd=method | cacheaside; fwd=method")}},
		{"RFC 9211", "no key unless asked for", []step{get.gives(minute).shows("Cache-Status: cacheaside; fwd=miss; ttl=60; stored")}},

		lives("RFC 9213", "CDN-Cache-Control wins over a shorter max-age", 60, "CDN-Cache-Control: max-age=60", ten),
		lives("RFC 9213", "CDN-Cache-Control wins over a longer max-age", 10, "CDN-Cache-Control: max-age=10", minute),
		lives("RFC 9213", "CDN-Cache-Control wins over s-maxage", 60, "CDN-Cache-Control: max-age=60", control("s-maxage=10")),
		lives("RFC 9213", "CDN-Cache-Control wins over no-store", 60, "CDN-Cache-Control: max-age=60", control("no-store")),
		lives("RFC 9213", "CDN-Cache-Control wins over private", 60, "CDN-Cache-Control: max-age=60", control("private")),
		lives("RFC 9213", "CDN-Cache-Control wins over Expires", 60, "CDN-Cache-Control: max-age=60", "Expires: {now+10}"),
		never("RFC 9213", "CDN-Cache-Control: no-store wins", "CDN-Cache-Control: no-store", minute),
		never("RFC 9213", "CDN-Cache-Control: private wins", "CDN-Cache-Control: private", minute),
		never("RFC 9213", "CDN-Cache-Control: max-age=0 wins", "CDN-Cache-Control: max-age=0", minute),
		{"RFC 9213", "CDN-Cache-Control: no-cache wins", []step{get.gives("CDN-Cache-Control: no-cache", minute, tag), get.validates()}},
		never("RFC 9213", "without a lifetime Expires does not count either", "CDN-Cache-Control: public", "Expires: {now+60}"),
		lives("RFC 9213", "an empty field does not count", 60, "CDN-Cache-Control: ", minute),
		lives("RFC 9213", "what is no dictionary does not count", 60, "CDN-Cache-Control: max-age=10, &&&", minute),
		lives("RFC 9213", "names in upper case are no dictionary", 60, "CDN-Cache-Control: MAX-AGE=10", minute),
		lives("RFC 9213", "a lifetime that is a string does not count", 60, `CDN-Cache-Control: max-age="10"`, minute),
		lives("RFC 9213", "a lifetime that is a decimal does not count", 60, "CDN-Cache-Control: max-age=10.5", minute),
		lives("RFC 9213", "parameters do not matter", 60, "CDN-Cache-Control: max-age=60;foo=bar", ten),
		lives("RFC 9213", "unknown members do not matter", 60, "CDN-Cache-Control: foo, max-age=60, bar=(1 2)", ten),
		lives("RFC 9213", "of duplicates the last counts", 60, "CDN-Cache-Control: max-age=10, max-age=60"),
		lives("RFC 9213", "s-maxage wins within it", 60, "CDN-Cache-Control: max-age=10, s-maxage=60"),
		never("RFC 9213", "a negative lifetime is none", "CDN-Cache-Control: max-age=-60", minute),
		reused("RFC 9213", "must-understand in it", "CDN-Cache-Control: must-understand, no-store, max-age=60"),
		{"RFC 9213", "Authorization and public in it", []step{get.with(auth).gives("CDN-Cache-Control: public, max-age=60"), get.hits()}},
		{"RFC 9213", "Authorization and public beside it", []step{get.with(auth).gives("CDN-Cache-Control: max-age=60", control("public")), get.gives()}},
		lives("RFC 9213", "lines combine", 60, "CDN-Cache-Control: foo", "CDN-Cache-Control: max-age=60", ten),
		{"RFC 9213", "it is passed on", []step{get.gives("CDN-Cache-Control: max-age=60"), get.hits().shows("CDN-Cache-Control: max-age=60")}},
		{"RFC 9213", "must-revalidate in it", []step{get.gives("CDN-Cache-Control: max-age=10, must-revalidate", ten), get.after(11).fails()}},
		{"RFC 9213", "must-revalidate beside it does not count", []step{get.gives("CDN-Cache-Control: max-age=10", control("max-age=10, must-revalidate")), get.after(11).fails().stale()}},
		lives("RFC 9213", "a targeted field for others does not count", 60, "Other-Cache-Control: max-age=10", minute),
	})
}
