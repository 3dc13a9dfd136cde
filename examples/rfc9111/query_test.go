package rfc9111

import "slices"

// query is a QUERY with content (RFC 10008).
var query = send("QUERY").posting("select=a").with(form)

const form = "Content-Type: application/x-www-form-urlencoded"

// queries are RFC 10008's, and what RFC 9110 and 9111 say of any method that is safe.
func queries() []script {
	other := query.posting("select=b")
	return slices.Concat(
		[]script{
			{"RFC 10008 2", "QUERY reaches the origin with its content's type", []step{query.gives().asks(form)}},
			{"RFC 10008 2", "QUERY is safe: it invalidates nothing", []step{get.gives(minute), query.gives(), get.hits()}},
			{"RFC 10008 2", "a QUERY that fails invalidates nothing", []step{get.gives(minute), query.code(422).gives(), get.hits()}},
			{"RFC 10008 2", "a QUERY without content", []step{send("QUERY").gives(minute), send("QUERY").hits(), query.gives()}},

			// What is named is another resource, which a GET asks for.
			{"RFC 10008 2.3", "Content-Location is replayed", []step{query.gives(minute, "Content-Location: {path}/result"), query.hits().shows("Content-Location: {path}/result")}},
			{"RFC 10008 2.3", "nothing is stored for Content-Location", []step{query.gives(minute, "Content-Location: {path}/result"), get.at("/result").gives()}},
			{"RFC 10008 2.3", "Content-Location is not invalidated", []step{get.at("/result").gives(minute), query.gives(minute, "Content-Location: {path}/result"), get.at("/result").hits()}},
			{"RFC 10008 2.3", "Content-Location of the URL itself", []step{query.gives(minute, "Content-Location: {path}"), get.gives()}},
			{"RFC 10008 2.4", "Location is replayed", []step{query.gives(minute, "Location: {path}/query"), query.hits().shows("Location: {path}/query")}},
			{"RFC 10008 2.4", "nothing is stored for Location", []step{query.gives(minute, "Location: {path}/query"), get.at("/query").gives()}},
			{"RFC 10008 2.4", "Location is not invalidated", []step{get.at("/query").gives(minute), query.gives(minute, "Location: {path}/query"), get.at("/query").hits()}},
		},
		each([]int{301, 302, 303, 307, 308}, func(code int) script {
			return script{"RFC 10008 2.5", "a redirection " + digits(code) + " with explicit freshness", []step{
				query.code(code).gives(minute, "Location: {path}/b"), query.hits().shows("Location: {path}/b"), other.gives(),
			}}
		}),
		[]script{
			{"RFC 10008 2.5", "a redirection 303 without freshness", []step{query.code(303).gives("Location: {path}/b", "Last-Modified: {now-9999}"), query.gives()}},

			{"RFC 10008 2.6", "If-None-Match that matches", []step{query.gives(minute, tag), query.with(`If-None-Match: "a"`).hits().as(304)}},
			{"RFC 10008 2.6", "If-None-Match that does not", []step{query.gives(minute, tag), query.with(`If-None-Match: "b"`).hits()}},
			{"RFC 10008 2.6", "If-None-Match is of the result, not of the resource", []step{get.gives(minute, tag), query.with(`If-None-Match: "a"`).gives(minute, `ETag: "q"`), query.hits(2)}},
			{"RFC 10008 2.6", "If-Modified-Since", []step{query.gives(minute, "Last-Modified: {now-60}"), query.with("If-Modified-Since: {now}").hits().as(304)}},
			{"RFC 10008 2.6", "a stale result is validated", []step{query.gives(ten, tag), query.after(10).validates(minute).asks(`If-None-Match: "a"`, form), query.after(59).hits()}},
			{"RFC 10008 2.6", "a stale result is validated by its date", []step{query.gives(ten, "Last-Modified: {now-60}"), query.after(10).validates().asks("If-Modified-Since: {start-60}")}},
			{"RFC 10008 2.6", "a stale result that has changed", []step{query.gives(ten, tag), query.after(10).gives(minute, `ETag: "b"`), query.hits(2)}},
			{"RFC 10008 2.6", "an origin that says 412 instead of 304", []step{query.gives(ten, tag), query.after(10).code(412).gives(minute, tag).as(200).reads("body 1 of a script").shows("Content-Type: text/x-script"), query.after(59).hits()}},
			{"RFC 10008 2.6", "a precondition is for the origin", []step{query.gives(minute, tag), query.with(`If-Match: "b"`).code(412).gives()}},

			{"RFC 10008 2.7", "a result answers the same query", []step{query.gives(minute), query.after(59).hits().shows("Age: 59"), query.after(1).gives()}},
			{"RFC 10008 2.7", "not one with other content", []step{query.gives(minute), other.gives(minute), query.hits(), other.hits(2)}},
			{"RFC 10008 2.7", "not one without content", []step{query.gives(minute), send("QUERY").gives()}},
			{"RFC 10008 2.7", "not one with content of another type", []step{query.gives(minute), send("QUERY").posting("select=a").with("Content-Type: text/plain").gives()}},
			{"RFC 10008 2.7", "not one with other parameters of the type", []step{query.gives(minute), send("QUERY").posting("select=a").with(form + "; charset=x").gives()}},
			{"RFC 10008 2.7", "not one with content without a type", []step{query.gives(minute), send("QUERY").posting("select=a").gives()}},
			{"RFC 10008 2.7", "not one with content in another coding", []step{query.gives(minute), query.with("Content-Encoding: x").gives()}},
			{"RFC 10008 2.7", "not one with content in another language", []step{query.gives(minute), query.with("Content-Language: de").gives()}},
			{"RFC 10008 2.7", "not one for another URL", []step{query.gives(minute), query.at("/b").gives(), query.at("?b").gives()}},
			{"RFC 10008 2.7", "not a GET, HEAD or POST", []step{query.gives(minute), get.gives(), head.gives(), send("POST").posting("select=a").with(form).code(400).gives()}},
			{"RFC 10008 2.7", "a GET does not answer it", []step{get.gives(minute), query.gives(), send("QUERY").gives()}},
			{"RFC 10008 2.7", "a POST for the URL invalidates it", []step{query.gives(minute), send("POST").posting("x").gives(), query.gives()}},
			{"RFC 10008 2.7", "a POST that names the URL in Location invalidates it", []step{query.gives(minute), send("POST").at("/b").posting("x").code(201).gives("Location: {path}"), query.gives()}},
			{"RFC 10008 2.7", "a POST that fails does not", []step{query.gives(minute), send("POST").posting("x").code(500).gives(), query.hits()}},
			{"RFC 10008 2.7", "a result without freshness is not stored", []step{query.gives(), query.gives()}},
			{"RFC 10008 2.7", "a result with heuristic freshness", []step{query.gives("Last-Modified: {now-10000}"), query.after(5).hits()}},
			{"RFC 10008 2.7", "no-store", []step{query.gives("Cache-Control: no-store"), query.gives()}},
			{"RFC 10008 2.7", "private", []step{query.gives("Cache-Control: private, max-age=60"), query.gives()}},
			{"RFC 10008 2.7", "no-cache of the request", []step{query.gives(minute), query.with(control("no-cache")).gives(minute), query.hits(2)}},
			{"RFC 10008 2.7", "only-if-cached", []step{query.with(control("only-if-cached")).refused(), query.gives(minute), query.with(control("only-if-cached")).hits(2)}},
			{"RFC 10008 2.7", "Vary", []step{
				query.with("X: 1").gives(minute, "Vary: X"), query.with("X: 2").gives(minute, "Vary: X"), query.with("X: 1").hits(), query.with("X: 2").hits(2), other.with("X: 1").gives(),
			}},
			{"RFC 10008 2.7", "Authorization", []step{query.with("Authorization: x").gives(minute), query.with("Authorization: x").gives()}},
			{"RFC 10008 2.7", "a stale result in the place of an error", []step{query.gives("Cache-Control: max-age=10, stale-if-error=60"), query.after(11).code(503).stale()}},
			{"RFC 10008 2.7", "a negative result", []step{query.code(404).gives(minute), query.hits()}},

			{"RFC 10008 2.8", "a range of a stored result", []step{query.text("0123456789").gives(minute, "Accept-Ranges: bytes"), query.with("Range: bytes=2-4").hits().as(206).reads("234")}},
			{"RFC 10008 2.8", "a range that there is not", []step{query.text("0123456789").gives(minute), query.with("Range: bytes=10-").hits().as(416).readsAnything()}},
			{"RFC 10008 2.8", "If-Range that does not match", []step{query.text("0123456789").gives(minute, tag), query.with("Range: bytes=2-4", `If-Range: "b"`).hits().reads("0123456789")}},
			{"RFC 10008 2.8", "Range reaches the origin", []step{query.with("Range: bytes=2-4").gives().asks("Range: bytes=2-4")}},
		},
	)
}
