package rfc9111

import (
	"fmt"
	"slices"
	"strings"
)

func scripts() []script {
	return slices.Concat(storing(), keys(), freshness(), validation(), invalidation(), directives(), ranges, others(), corners(), parts(), queries(), posts(), noVarySearch())
}

// known are scripts that the engine fails, and what is wrong.
var known = map[string]failure{}

// exceptions are scripts that a framework cannot play, and why.
var exceptions = map[string]map[string]string{
	"gin": {
		"4.4: FOO invalidates": unrouted,
	},
	"fiber": {
		"3: an interim response is not stored": interim, "RFC 9110 15.2: 103 reaches the client": interim,
		"RFC 9110 15.2: 103 on validation reaches the client": interim, "RFC 9110 15.2: 103 on a request that is not cached": interim,
		"3.3: a response without a length that breaks off is not stored": whole,
		"3.3: a response that breaks off is not stored":                  whole,
		"4.4: FOO invalidates":                                           unrouted,

		"RFC 9110 8.4: two lines of codings of the origin stay": oneLine,
	},
}

const (
	unrouted = "a method that is not registered gets to no middleware"
	interim  = "fasthttp has no interim responses"
	oneLine  = "fasthttp keeps one line of Content-Encoding"
	whole    = "the adaptor collects the response, so that it is a 502 instead of one that breaks off"
)

// reused is a response that a second request gets as well.
func reused(section, name string, fields ...string) script {
	return script{section, name, []step{get.gives(fields...), get.after(1).hits()}}
}

// never is a response that must not be used again without asking.
func never(section, name string, fields ...string) script {
	return script{section, name, []step{get.gives(fields...), get.gives(), get.after(1).gives()}}
}

// lives is a response that is fresh for so many seconds, and no longer.
func lives(section, name string, seconds int, fields ...string) script {
	return script{section, name, []step{
		get.gives(fields...), get.after(seconds - 1).hits(), get.after(1).gives(),
	}}
}

const (
	minute = "Cache-Control: max-age=60"
	tag    = `ETag: "a"`
)

func each[T any](list []T, of func(T) script) (out []script) {
	for _, v := range list {
		out = append(out, of(v))
	}
	return out
}

func storing() []script {
	return slices.Concat(
		each([]int{
			200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 399, 400, 402, 403, 404, 405, 409, 410, 414,
			418, 421, 429, 451, 499, 500, 501, 502, 503, 504, 599,
		}, func(code int) script {
			return script{"3", fmt.Sprintf("status %d with explicit freshness is stored", code), []step{
				get.code(code).gives(minute), get.after(59).hits().shows("Age: 59"), get.after(1).gives(),
			}}
		}),
		each([]int{200, 301, 302, 404, 500, 503}, func(code int) script {
			return script{"3", fmt.Sprintf("status %d that says nothing is not stored", code), []step{
				get.code(code).gives(), get.gives(),
			}}
		}),
		[]script{
			reused("3", "s-maxage is explicit", "Cache-Control: s-maxage=60"),
			reused("3", "Expires is explicit", "Expires: {now+60}"),
			never("3", "public is no freshness", "Cache-Control: public"),
			never("3", "a validator is no freshness", `ETag: "a"`),
			reused("3", "unknown directives change nothing", `Cache-Control: x, y=1, z="a, b", max-age=60`),
			{"3", "another query is another resource", []step{
				get.at("?a=1").gives(minute), get.at("?a=2").gives(minute), get.at("?a=1").hits(), get.at("").gives(),
			}},
			{"3", "another host is another resource", []step{
				get.gives(minute), get.with("Host: other.test").gives(minute), get.hits(), get.with("Host: other.test").hits(2),
			}},
			{"3", "a host has no case", []step{get.gives(minute), get.with("Host: CACHE.test").hits()}},
			{"3", "a path has case", []step{get.at("/a").gives(minute), get.at("/A").gives()}},
			{"3", "a trailing slash counts", []step{get.at("/a").gives(minute), get.at("/a/").gives()}},
			{"3", "the answer to POST is not stored", []step{
				send("POST").posting("x").gives(minute), send("POST").posting("x").gives(), get.gives(),
			}},
			{"3", "the answer to PUT is not stored", []step{send("PUT").posting("x").gives(minute), get.gives()}},
			{"3", "the answer to DELETE is not stored", []step{send("DELETE").gives(minute), get.gives()}},
			{"3", "the answer to OPTIONS is not stored", []step{send("OPTIONS").gives(minute), send("OPTIONS").gives(), get.gives()}},
			{"3", "the answer to an extension method is not stored", []step{send("M-SEARCH").gives(minute), send("M-SEARCH").gives(), get.gives()}},
			{"3", "the answer to HEAD does not answer GET", []step{head.gives(minute), get.gives()}},
			{"3", "the answer to GET answers HEAD", []step{
				get.gives(minute), head.after(5).hits().shows("Age: 5", "Content-Length: 18"),
			}},
			{"3", "an interim response is not stored", []step{get.hinting("</a>").gives(minute), get.hits().shows("!Link")}},
			{"3", "unsafe requests do not get what is stored", []step{get.gives(minute), send("POST").posting("x").gives()}},
			{"3", "OPTIONS does not get what is stored", []step{get.gives(minute), send("OPTIONS").gives()}},
			{"3", "a later response replaces the stored one", []step{
				get.gives("Cache-Control: max-age=10"), get.after(10).gives("Cache-Control: max-age=10"),
				get.after(9).hits(2).shows("Made-By: 2", "Age: 9"), get.after(1).gives(),
			}},
			{"3", "a later response of another status replaces the stored one", []step{
				get.gives("Cache-Control: max-age=10"), get.after(10).code(404).gives("Cache-Control: max-age=10"), get.hits(2),
			}},
			{"3", "the order of parameters is part of the target", []step{get.at("?a=1&b=2").gives(minute), get.at("?b=2&a=1").gives()}},
			{"3", "a request with a body is not answered with what another one got", []step{get.posting("x").gives(minute), get.posting("y").gives()}},
			{"3", "cookies of the request do not matter", []step{get.with("Cookie: a=1").gives(minute), get.with("Cookie: a=2").hits()}},
			{"3", "any bytes are stored", []step{get.text(bytes).gives(minute), get.hits()}},
			{"3", "a large body is stored", []step{get.text(strings.Repeat(long, 60)).gives(minute), get.hits()}},
			{"3", "an escaped path", []step{get.at("/%2Fa%20b/%C3%BC?x=%2F&y").gives(minute), get.at("/%2Fa%20b/%C3%BC?x=%2F&y").hits(), get.at("//a%20b/%C3%BC?x=%2F&y").gives()}},
			{"3", "an empty body is stored", []step{
				get.gives(minute, "Content-Length: 0").code(204), get.hits(),
			}},

			reused("3.1", "unknown fields are stored", minute, "X-Unknown: 1"),
			{"3.1", "field lines are stored in their order", []step{
				get.gives(minute, "X-A: 1", "X-A: 2", "X-A: 3"), get.hits().shows("X-A: 1 | 2 | 3"),
			}},
			{"3.1", "Set-Cookie lines are stored each", []step{
				get.gives(minute, "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2"), get.hits().shows("Set-Cookie: a=1; Path=/ | b=2"),
			}},
			{"3.1", "an empty field is stored", []step{get.gives(minute, "X-A: ").shows("X-A: "), get.hits().shows("X-A: ")}},
			{"3.1", "bytes beyond ASCII are stored", []step{get.gives(minute, "X-A: caf\xe9 ü"), get.hits().shows("X-A: caf\xe9 ü")}},
			{"3.1", "representation metadata is stored", []step{
				get.gives(minute, "Content-Type: text/x", "Content-Language: de", "Content-Location: /x", tag, "Last-Modified: {now-9}"),
				get.hits().shows("Content-Type: text/x", "Content-Language: de", "Content-Location: /x", tag, "Last-Modified: {start-9}"),
			}},
			{"3.1", "what controls caching is passed on", []step{
				get.gives("Cache-Control: max-age=60, x=1", "Expires: {now+90}", "Vary: X"),
				get.hits().shows("Cache-Control: max-age=60, x=1", "Expires: {start+90}", "Vary: X"),
			}},
			{"3.1", "no Content-Type is made up", []step{get.gives(minute, "Content-Type: (none)").shows("!Content-Type"), get.hits().shows("!Content-Type")}},
			{"3.1", "no Content-Type is made up on validation", []step{
				get.gives(ten, tag, "Content-Type: (none)"), get.after(10).validates("Content-Type: (none)").shows("!Content-Type"),
			}},
			{"3.1", "no Content-Type is made up when stale", []step{
				get.gives(ten, "Content-Type: (none)"), get.after(10).fails().stale().shows("!Content-Type"),
			}},
			{"3.1", "a long field is stored", []step{
				get.gives(minute, "X-A: "+long), get.hits().shows("X-A: " + long),
			}},
		},
		each([]string{
			"Server: x/1", "Via: 1.1 x", "Link: </a>; rel=preload", "Www-Authenticate: Basic realm=\"x\"", "Allow: GET, HEAD",
			"Retry-After: 120", "Content-Disposition: attachment; filename=\"a b\"", "Content-Md5: Q2hlY2sgSW50ZWdyaXR5IQ==",
			"Strict-Transport-Security: max-age=1", "Accept-Ranges: bytes", "Refresh: 5; url=/x", "Set-Cookie: a=b; Path=/; HttpOnly; X=1",
			"Set-Cookie: odd", "Set-Cookie: a=b=c; Expires=Thu, 31 Dec 2099 23:59:59 GMT", "Content-Type: text/html; charset=\"x y\"",
			"Content-Encoding: x, y", "Access-Control-Allow-Origin: *", "X-Forwarded-For: 1.2.3.4", "Surrogate-Control: max-age=1", "Pragma: x",
			"Location: /a b", "Alt-Svc: h3=\":443\"", "Etag: \"x\"", "Last-Modified: yesterday",
		}, func(line string) script {
			return script{"3.1", "stored and passed on: " + line, []step{get.gives(minute, line).shows(line), get.hits().shows(line)}}
		}),
		each([]string{
			"Connection: X-Hop, close", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x",
			"Proxy-Authorization: Basic x", "Proxy-Connection: keep-alive", "Te: trailers", "Upgrade: h2c",
		}, func(line string) script {
			name, _, _ := cut(line)
			return script{"3.1", name + " is not stored", []step{get.gives(minute, line, "X-Hop: 1", "X-Other: 1"), get.hits().shows("!"+name, "X-Other: 1")}}
		}),
		[]script{
			{"3.1", "fields named by Connection are not stored", []step{
				get.gives(minute, "Connection: X-A, x-b", "X-A: 1", "X-B: 1", "X-C: 1"), get.hits().shows("!X-A", "!X-B", "X-C: 1"),
			}},

			{"3.2", "a 304 replaces fields", []step{
				get.gives("Cache-Control: max-age=10", tag, "X-A: 1"), get.after(10).validates("X-A: 2", "X-A: 3").shows("X-A: 2 | 3"),
				get.hits().shows("X-A: 2 | 3"),
			}},
			{"3.2", "a 304 adds fields", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates("X-A: 2").shows("X-A: 2"), get.hits().shows("X-A: 2"),
			}},
			{"3.2", "a 304 leaves other fields", []step{
				get.gives("Cache-Control: max-age=10", tag, "X-A: 1"), get.after(10).validates().shows("X-A: 1"), get.hits().shows("X-A: 1"),
			}},
			{"3.2", "a 304 updates the lifetime", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates("Cache-Control: max-age=100"),
				get.after(99).hits().shows("Age: 99", "Cache-Control: max-age=100"), get.after(1).validates(),
			}},
			{"3.2", "a 304 updates Expires", []step{
				get.gives("Expires: {now+10}", tag), get.after(10).validates("Expires: {now+100}"), get.after(99).hits(), get.after(1).validates(),
			}},
			{"3.2", "a 304 updates Last-Modified", []step{
				get.gives("Cache-Control: max-age=10", tag, "Last-Modified: {now-100}"), get.after(10).validates("Last-Modified: {start-50}"),
				get.hits().shows("Last-Modified: {start-50}"),
			}},
			{"3.2", "a 304 updates Date", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates().shows("Age: 0", "Date: {now}"), get.hits().shows("Date: {start+10}"),
			}},
			{"3.2", "a 304 does not touch Content-Length", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates("Content-Length: 5").shows("Content-Length: 18"), get.hits().shows("Content-Length: 18"),
			}},
			{"3.2", "a 304 does not touch what the stored body is read by", []step{
				get.gives("Cache-Control: max-age=10", tag, "Content-Encoding: x"),
				get.after(10).validates("Content-Encoding: y").shows("Content-Encoding: x"), get.hits().shows("Content-Encoding: x"),
			}},
			{"3.2", "a 304 updates Set-Cookie", []step{
				get.gives("Cache-Control: max-age=10", tag, "Set-Cookie: a=1"), get.after(10).validates("Set-Cookie: a=2").shows("Set-Cookie: a=2"),
			}},
			{"3.2", "fields named by Connection of a 304 are not stored", []step{
				get.gives("Cache-Control: max-age=10", tag, "X-A: 1"), get.after(10).validates("Connection: X-A", "X-A: 2").shows("X-A: 1"),
				get.hits().shows("X-A: 1"),
			}},
			{"3.2", "a 304 with no-store is used but ends the storing", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates("Cache-Control: no-store"), get.after(1).validates("Cache-Control: no-store"),
			}},
			{"3.2", "a 304 to a request with no-store is used and not stored", []step{
				get.gives(ten, tag), get.after(10).with("Cache-Control: no-store").validates("X-A: 1"), get.validates().shows("!X-A"),
			}},
			{"3.2", "a 304 that varies by more", []step{
				get.with("X: 1", "Y: 1").gives(ten, tag, "Vary: X"), get.with("X: 1", "Y: 1").after(10).validates("Vary: X, Y").shows("Vary: X, Y"),
				get.with("X: 1", "Y: 1").hits(), get.with("X: 1", "Y: 2").gives(),
			}},
			{"3.2", "a 304 that begins to vary", []step{
				get.with("X: 1").gives(ten, tag), get.with("X: 1").after(10).validates("Vary: X"), get.with("X: 1").hits(), get.with("X: 2").gives(),
			}},
			{"3.2", "a 304 that varies by everything", []step{
				get.gives(ten, tag), get.after(10).validates("Vary: *", minute), get.gives(),
			}},
			{"3.2", "a 304 with private ends the sharing", []step{
				get.gives(ten, tag), get.after(10).validates("Cache-Control: private, max-age=60"), get.after(1).gives(),
			}},
			{"3.2", "a 304 with must-revalidate forbids stale", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(10).validates("Cache-Control: max-age=10, must-revalidate"), get.after(10).fails(),
			}},

			{"3.3", "a response that breaks off is not stored", []step{
				get.gives(minute).breaks(), get.gives(minute), get.hits(2),
			}},
			{"3.3", "a response without a length that breaks off is not stored", []step{
				get.gives(minute, "Content-Length: (none)").breaks(), get.gives(minute), get.hits(2),
			}},
			{"3.3", "a response that breaks off does not replace the stored one", []step{
				get.gives("Cache-Control: max-age=10"), get.after(10).gives(minute).breaks().stale(), get.gives(minute),
			}},
			{"3.3", "a 206 does not replace a complete response", []step{
				get.text("0123456789").gives(minute, tag),
				get.with("Range: bytes=0-3", "Cache-Control: no-cache").code(206).text("0123").gives(minute, tag, "Content-Range: bytes 0-3/10"),
				get.hits(),
			}},
			{"3.3", "a 206 without Content-Range is not stored", []step{
				get.with("Range: bytes=0-3").code(206).text("0123").gives(minute), get.gives(),
			}},
			{"3.3", "a multipart 206 is not stored", []step{
				get.with("Range: bytes=0-0,2-2").code(206).gives(minute, "Content-Type: multipart/byteranges; boundary=x"), get.gives(),
			}},
			{"3.3", "a 416 of the origin is not stored", []step{
				get.with("Range: bytes=50-").code(416).gives(minute, "Content-Range: bytes */10"), get.gives(),
			}},
			{"3.4", "a complete response to a Range request is stored", []step{
				get.with("Range: bytes=0-3").text("0123456789").gives(minute), get.hits(),
			}},

			{"3.5", "Authorization keeps a response from others", []step{get.with(auth).gives(minute), get.gives(), get.with(auth).gives()}},
			{"3.5", "Expires does not allow it", []step{get.with(auth).gives("Expires: {now+60}"), get.gives()}},
			{"3.5", "proxy-revalidate does not allow it", []step{get.with(auth).gives("Cache-Control: max-age=60, proxy-revalidate"), get.gives()}},
			{"3.5", "public allows it", []step{get.with(auth).gives("Cache-Control: max-age=60, public"), get.hits(), get.with(auth).hits()}},
			{"3.5", "s-maxage allows it", []step{get.with(auth).gives("Cache-Control: s-maxage=60"), get.hits()}},
			{"3.5", "must-revalidate allows it", []step{get.with(auth).gives("Cache-Control: max-age=60, must-revalidate"), get.hits()}},
			{"3.5", "private with field names does not allow it", []step{get.with(auth).gives(`Cache-Control: max-age=60, private="X-A"`), get.gives()}},
			{"3.5", "a stored response allows no new one", []step{
				get.gives(ten), get.with(auth).after(10).gives(minute), get.gives(),
			}},
			{"3.5", "private beats public", []step{get.with(auth).gives("Cache-Control: max-age=60, public, private"), get.gives()}},
			{"3.5", "what was stored without it answers with it", []step{get.gives(minute), get.with(auth).hits()}},
			{"3.5", "a 304 to a request with it does not share what may not be", []step{
				get.gives("Cache-Control: max-age=10", tag), get.with(auth).after(10).validates("X-Secret: 1"), get.validates().shows("!X-Secret"),
			}},
		})
}

var bytes = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

const auth = "Authorization: Basic eA=="

func keys() []script {
	return slices.Concat(varying, each([]string{
		"Accept", "Accept-Charset", "Accept-Language", "Accept-Encoding", "Cookie", "Origin", "Referer", "User-Agent", "Dnt", "Save-Data",
		"Sec-Ch-Ua", "X-Requested-With", "Content-Type", "Access-Control-Request-Method", "From",
	}, func(name string) script {
		return script{"4.1", "Vary: " + name, []step{
			get.with(name+": a=1").gives(minute, "Vary: "+name), get.with(name+": b=2").gives(minute, "Vary: "+name),
			get.with(name + ": a=1").hits(), get.with(name + ": b=2").hits(2), get.gives(),
		}}
	}))
}

var varying = []script{
	{"4.1", "the order of cookies counts", []step{get.with("Cookie: a=1; b=2").gives(minute, "Vary: Cookie"), get.with("Cookie: a=1; b=2").hits(), get.with("Cookie: b=2; a=1").gives()}},
	{"4.1", "a variant outlives one with a shorter life", []step{
		get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(ten, "Vary: X"), get.with("X: 1").after(30).hits(), get.with("X: 2").gives(),
	}},
	{"4.1", "a variant outlives one that was there before", []step{
		get.with("X: 1").gives(ten, "Vary: X"), get.with("X: 2").gives(minute, "Vary: X"), get.with("X: 2").after(30).hits(2), get.with("X: 1").gives(),
	}},
	{"4.1", "a variant is replaced alone", []step{
		get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(ten, "Vary: X"), get.with("X: 2").after(10).gives(minute, "Vary: X"),
		get.with("X: 1").hits(), get.with("X: 2").hits(3),
	}},
	{"4.1", "the same value matches", []step{get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 1").hits()}},
	{"4.1", "another value does not", []step{
		get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(minute, "Vary: X").shows("Cache-Status: ~fwd=vary-miss"),
		get.with("X: 1").hits(), get.with("X: 2").hits(2),
	}},
	{"4.1", "absent is no value", []step{get.with("X: 1").gives(minute, "Vary: X"), get.gives()}},
	{"4.1", "a value is not absent", []step{get.gives(minute, "Vary: X"), get.with("X: 1").gives()}},
	{"4.1", "empty is not absent", []step{get.gives(minute, "Vary: X"), get.with("X: ").gives()}},
	{"4.1", "absent matches absent", []step{get.gives(minute, "Vary: X"), get.hits()}},
	{"4.1", "other fields do not matter", []step{get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 1", "Y: 2").hits()}},
	{"4.1", "* never matches", []step{get.gives(minute, "Vary: *"), get.gives()}},
	{"4.1", "* in a list never matches", []step{get.gives(minute, "Vary: X, *"), get.gives()}},
	{"4.1", "* in a second line never matches", []step{get.gives(minute, "Vary: X", "Vary: *"), get.gives()}},
	{"4.1", "all fields must match", []step{
		get.with("X: 1", "Y: 1").gives(minute, "Vary: X, Y"), get.with("X: 1", "Y: 2").gives(), get.with("X: 2", "Y: 1").gives(), get.with("X: 1", "Y: 1").hits(),
	}},
	{"4.1", "all lines count", []step{
		get.with("X: 1", "Y: 1").gives(minute, "Vary: X", "Vary: Y"), get.with("X: 1", "Y: 2").gives(), get.with("X: 1", "Y: 1").hits(),
	}},
	{"4.1", "three fields", []step{
		get.with("X: 1", "Y: 1", "Z: 1").gives(minute, "Vary: X, Y, Z"), get.with("X: 1", "Y: 1", "Z: 2").gives(), get.with("X: 1", "Y: 1", "Z: 1").hits(),
	}},
	{"4.1", "values of two fields are not mixed up", []step{
		get.with("X: 1", "Y: 2").gives(minute, "Vary: X, Y"), get.with("X: 2", "Y: 1").gives(),
	}},
	{"4.1", "names have no case", []step{get.with("x-a: 1").gives(minute, "Vary: X-A"), get.with("X-A: 1").hits(), get.with("X-A: 2").gives()}},
	{"4.1", "names in Vary have no case", []step{get.with("X-A: 1").gives(minute, "Vary: x-a"), get.with("X-A: 1").hits(), get.with("X-A: 2").gives()}},
	{"4.1", "values have case", []step{get.with("X: a").gives(minute, "Vary: X"), get.with("X: A").gives()}},
	{"4.1", "lines stay apart, as handlers see them", []step{get.with("X: 1", "X: 2").gives(minute, "Vary: X"), get.with("X: 1, 2").gives(), get.with("X: 1", "X: 2").hits()}},
	{"4.1", "the order of lines counts", []step{get.with("X: 1", "X: 2").gives(minute, "Vary: X"), get.with("X: 2", "X: 1").gives()}},
	{"4.1", "whitespace around commas does not count", []step{get.with("Accept: 1,2").gives(minute, "Vary: Accept"), get.with("Accept: 1 ,  2").hits()}},
	{"4.1", "whitespace counts where nobody knows what it means", []step{get.with("X: 1,2").gives(minute, "Vary: X"), get.with("X: 1, 2").gives()}},
	{"4.1", "whitespace in a quoted string counts", []step{get.with(`X: "1,2"`).gives(minute, "Vary: X"), get.with(`X: "1, 2"`).gives()}},
	{"4.1", "empty members of Vary do not count", []step{get.with("X: 1").gives(minute, "Vary: , X ,,"), get.with("X: 1").hits(), get.with("X: 2").gives()}},
	{"4.1", "an empty Vary selects nothing", []step{get.with("X: 1").gives(minute, "Vary: "), get.with("X: 2").hits()}},
	{"4.1", "a preference of languages is an order", []step{
		get.with("Accept-Language: de, en;q=0.5").gives(minute, "Vary: Accept-Language"),
		get.with("Accept-Language: en, de;q=0.5").gives(), get.with("Accept-Language: de,en;q=0.5").hits(),
	}},
	{"4.1", "a coding that is refused counts", []step{
		get.with("Accept-Encoding: gzip").gives(minute, "Vary: Accept-Encoding"), get.with("Accept-Encoding: gzip;q=0").gives(), get.gives(),
	}},
	{"4.1", "a coded body does not reach who did not ask for the coding", []step{
		get.with("Accept-Encoding: gzip").gives(minute, "Content-Encoding: gzip"), get.gives(minute), get.hits(2),
	}},
	{"4.1", "cookies select", []step{get.with("Cookie: a=1").gives(minute, "Vary: Cookie"), get.with("Cookie: a=2").gives(), get.with("Cookie: a=1").hits()}},
	{"4.1", "the latest of those that match is used", []step{
		get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").after(1).gives(minute), get.with("X: 1").hits(2), get.with("X: 3").hits(2),
	}},
	{"4.1", "a response that varies by more", []step{
		get.with("X: 1", "Y: 1").gives(minute, "Vary: X"), get.with("X: 2", "Y: 1").gives(minute, "Vary: X, Y"),
		get.with("X: 2", "Y: 2").gives(minute, "Vary: X, Y"), get.with("X: 2", "Y: 1").hits(2),
	}},
	{"4.1", "a variant is validated with its own validator", []step{
		get.with("X: 1").gives("Cache-Control: max-age=10", "Vary: X", `ETag: "1"`), get.with("X: 2").gives("Cache-Control: max-age=10", "Vary: X", `ETag: "2"`),
		get.with("X: 1").after(10).validates().asks(`If-None-Match: "1"`), get.with("X: 2").gives().asks(`If-None-Match: "2"`),
	}},
	{"4.1", "a long value", []step{
		get.with("X: "+long).gives(minute, "Vary: X"), get.with("X: " + long).hits(), get.with("X: " + long[1:]).gives(),
	}},
	{"4.1", "a stale variant is not served for another one", []step{
		get.with("X: 1").gives(ten, "Vary: X"), get.with("X: 2").after(15).fails(), get.with("X: 1").fails().stale(),
	}},
	{"4.1", "a HEAD gets its variant", []step{
		get.with("X: 1").gives(minute, "Vary: X"), head.with("X: 1").hits(), head.with("X: 2").gives(),
	}},
	{"4.1", "ten variants", []step{
		get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(minute, "Vary: X"), get.with("X: 3").gives(minute, "Vary: X"),
		get.with("X: 4").gives(minute, "Vary: X"), get.with("X: 5").gives(minute, "Vary: X"), get.with("X: 6").gives(minute, "Vary: X"),
		get.with("X: 7").gives(minute, "Vary: X"), get.with("X: 8").gives(minute, "Vary: X"), get.with("X: 9").gives(minute, "Vary: X"),
		get.gives(minute, "Vary: X"), get.with("X: 1").hits(), get.with("X: 5").hits(5), get.with("X: 9").hits(9), get.hits(10),
	}},
}
