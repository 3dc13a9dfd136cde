package rfc9111

const posted = "RFC 9110 9.3.3"

// own says that a response is what a GET of the same URI would give.
const own = "Content-Location: {path}"

func posting(lines ...string) step { return send("POST").posting("x").gives(lines...) }

// notReused is an answer to POST that is no answer to GET.
func notReused(name string, post step) script {
	return script{posted, name, []step{post, get.gives(minute), get.hits(2)}}
}

// posts are scripts of answers to POST that are stored for GET.
func posts() []script {
	return []script{
		{posted, "POST with Content-Location and max-age answers GET", []step{posting(own, minute).shows("Cache-Status: ~fwd=method"), get.after(59).hits().shows("Age: 59", own), get.after(1).gives()}},
		{posted, "POST with Content-Location and Expires answers GET", []step{posting(own, "Expires: {now+60}"), get.after(59).hits(), get.after(1).gives()}},
		{posted, "POST with Content-Location and s-maxage answers GET", []step{posting(own, "Cache-Control: s-maxage=60, max-age=0"), get.hits()}},
		{posted, "POST with Content-Location answers HEAD", []step{posting(own, minute).text(numbers), head.hits().shows("Content-Length: 10")}},
		{posted, "POST does not answer POST", []step{posting(own, minute), posting(own, minute), get.hits(2)}},
		{posted, "Content-Location as a whole URI", []step{posting("Content-Location: http://cache.test{path}", minute), get.hits()}},
		{posted, "Content-Location without a scheme", []step{posting("Content-Location: //cache.test{path}", minute), get.hits()}},
		{posted, "Content-Location with the default port", []step{posting("Content-Location: http://CACHE.test:80{path}", minute), get.hits()}},
		{posted, "Content-Location relative to the target", []step{send("POST").at("/a/b").posting("x").gives("Content-Location: b", minute), get.at("/a/b").hits()}},
		{posted, "Content-Location with dots", []step{send("POST").at("/a/b").posting("x").gives("Content-Location: ../a/./b", minute), get.at("/a/b").hits()}},
		{posted, "Content-Location with the query", []step{send("POST").at("?c=1").posting("x").gives(own+"?c=1", minute), get.at("?c=1").hits(), get.at("?c=2").gives()}},
		{posted, "POST takes the place of what GET has stored", []step{get.gives(minute), posting(own, minute), get.hits(2)}},
		{posted, "POST takes the place of all variants", []step{
			get.with("X: 1").gives(minute, "Vary: X"), get.with("X: 2").gives(minute, "Vary: X"), posting(own, minute),
			get.with("X: 1").hits(3), get.with("X: 2").hits(3), get.hits(3),
		}},
		{posted, "a later POST takes the place of the first", []step{posting(own, minute), posting(own, minute), get.hits(2)}},
		{posted, "a later POST that is not stored removes what the first has left", []step{posting(own, minute), posting(), get.gives()}},
		{posted, "PUT removes what POST has left", []step{posting(own, minute), send("PUT").posting("x").gives(), get.gives()}},
		{posted, "Location of another POST removes what POST has left", []step{posting(own, minute), send("POST").at("/a").posting("x").code(201).gives("Location: {path}"), get.gives()}},
		{posted, "POST that is stored removes Location", []step{get.at("/b").gives(minute), posting(own, minute, "Location: {path}/b"), get.at("/b").gives(), get.hits(2)}},
		{posted, "POST that fails changes nothing", []step{get.gives(minute), posting(own, minute).code(409), get.hits()}},
		{posted, "POST is validated when it is stale", []step{posting(own, ten, tag), get.after(10).validates()}},
		{posted, "If-None-Match against what POST has left", []step{posting(own, minute, tag), get.with(`If-None-Match: "a"`).hits().as(304)}},
		{posted, "If-Modified-Since against the Date of a POST", []step{posting(own, minute), get.after(5).with("If-Modified-Since: {start}").hits().as(304)}},
		{posted, "a range of what POST has left", []step{posting(own, minute).text(numbers), get.with("Range: bytes=2-5").hits().as(206).reads("2345")}},
		{posted, "Authorization and public", []step{posting(own, "Cache-Control: public, max-age=60").with("Authorization: x"), get.hits()}},

		notReused("POST without Content-Location", posting(minute)),
		notReused("POST with an empty Content-Location", posting("Content-Location: ", minute)),
		notReused("POST with the Content-Location of another path", posting(own+"/b", minute)),
		notReused("POST with the Content-Location of another query", posting(own+"?a", minute)),
		notReused("POST with the Content-Location of another host", posting("Content-Location: http://other.test{path}", minute)),
		notReused("POST with the Content-Location of another scheme", posting("Content-Location: https://cache.test{path}", minute)),
		notReused("POST with the Content-Location of another port", posting("Content-Location: http://cache.test:81{path}", minute)),
		notReused("POST with a Content-Location of its own part", posting(own+"#a", minute)),
		notReused("POST with two lines of Content-Location", posting(own, own, minute)),
		notReused("POST with a Content-Location that is no URI", posting("Content-Location: http://[:{path}", minute)),
		notReused("POST without freshness", posting(own)),
		notReused("POST with heuristic freshness", posting(own, "Last-Modified: {now-9999}")),
		notReused("POST with public alone", posting(own, "Cache-Control: public")),
		notReused("POST with max-age=0", posting(own, "Cache-Control: max-age=0", tag)),
		notReused("POST with no-cache", posting(own, "Cache-Control: no-cache, max-age=60", tag)),
		notReused("POST with no-store", posting(own, "Cache-Control: no-store, max-age=60")),
		notReused("POST with private", posting(own, "Cache-Control: private, max-age=60")),
		notReused("POST with Vary", posting(own, minute, "Vary: X")),
		notReused("POST with Vary: *", posting(own, minute, "Vary: *")),
		notReused("POST with Authorization", posting(own, minute).with("Authorization: x")),
		notReused("POST with no-store in the request", posting(own, minute).with("Cache-Control: no-store")),
		notReused("POST that creates", posting(own, minute).code(201)),
		notReused("POST that redirects to itself", posting(own, "Location: {path}", minute).code(303)),
		notReused("POST without content", posting(own, minute).code(204).reads("")),
		notReused("POST with a part", posting(own, minute, "Content-Range: bytes 0-3/10").code(206).text("0123")),
		notReused("PUT with Content-Location", send("PUT").posting("x").gives(own, minute)),
		notReused("PATCH with Content-Location", send("PATCH").posting("x").gives(own, minute)),
		notReused("POST with another method in a field", posting(own, minute).with("X-HTTP-Method-Override: DELETE")),
	}
}
