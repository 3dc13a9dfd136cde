// Package inspect shows what a cache does and holds: a page for people, and the JSON that
// it is made of for programs. It answers the questions that operators have: is it working,
// why is this not cached, what did it save, what is in there, how do I get it out.
//
//	recorder := inspect.NewRecorder(nil)
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Observer: recorder})
//	endpoint, err := inspect.New(cache, recorder, inspect.Access{Token: os.Getenv("CACHE_TOKEN")})
//
// An adapter makes a handler of the [Endpoint] (its function NewInspect), which is mounted
// with everything below a path that ends in a slash, best on an address of its own that
// only operators reach. Nothing has to be told that path: the page's links are relative.
// Without access that somebody has been given, [New] fails: there is no inspector that is
// open to everybody.
//
// # Views
//
//	Status         hit share, time saved, breaker, near tier, server, this instance
//	Charts         15 minutes, an hour, a day: results, latency, bytes, purges
//	Routes         requests, hit share, main cause of misses, p99, time saved
//	Not stored     reason, routes, and what to do, in one sentence
//	Top keys       by requests, bytes and misses, with the error of the estimate
//	Tail           the latest events, filtered
//	One URL        what is stored for it and why it would be a hit or a miss; explained by the router
//	Purge          preview, type the target, purge
//	Configuration  the policy of each handle
//
// It needs no build step and nothing from elsewhere: page, script, stylesheet and uPlot
// 1.6.32 (MIT, https://github.com/leeoniya/uPlot) are part of the program. All that it
// shows is of the one process that answers; with [WithSharing] each tells the others how it
// is doing, by way of the store.
//
// The API is described where its types are: [Status], [Charts], [Routes], [Reasons], [Top],
// [Tail], [Lookup], [Explanation], [Preview], [Config]. For example:
//
//	curl -H "Authorization: Bearer $CACHE_TOKEN" http://127.0.0.1:9090/api/routes
//
// # Cost
//
// A [Recorder] adds about 100 ns and no allocation to a hit, and takes less than 2 MiB,
// whatever it sees: 256 routes, 1,024 counters of keys for each list, 1,024 events. Routes
// and keys are counted by hours, of which the last two are kept. Hits enter the tail only
// while somebody looks at it, and for ten seconds after. There is no goroutine and no timer,
// but for a moment every ten seconds with [WithSharing].
//
// # Threats
//
// Who is not let in. The shell is public and has no data. All else asks for a token or an
// Authorize function, and tells others not even which paths there are. Tokens are compared
// in constant time and have 16 bytes or more; nothing counts attempts, so take random ones
// (openssl rand -hex 16). [Access.ReadToken] sees everything and changes nothing: purging
// with it is 403, and so is an explanation that runs a handler.
//
// Other sites in an operator's browser. The page sends its token itself, from the memory of
// its script, as Authorization: Bearer; there is no cookie that a browser would add. Where
// an Authorize function goes by a cookie, or by an address, requests must come from the
// inspector's own origin, by Sec-Fetch-Site or Origin, and what changes something has a body
// of JSON, which no form can send. No CORS field is ever sent. An Authorize function that
// allows an address alone, such as 127.0.0.1, is not enough: a name that an attacker points
// there makes its page one of the same origin. Look at the Host in it, or use a token.
//
// Text that attackers have sent. Keys, routes and errors hold it. The script makes text
// nodes of it and never markup, the policy of the page (Content-Security-Policy) lets no
// other script run and nothing be loaded or framed, and characters that are not seen or turn
// text around are written out.
//
// Secrets in what is shown. Left out are users and passwords in URLs, values of the query,
// partitions, whatever a Key.Generator has made, values of fields and cookies in keys,
// checksums of any of them, Set-Cookie and credentials in fields of stored responses, and
// selecting values. Bodies are not shown. Paths and tags are: do not put secrets there. Who
// looks a URL up or previews a purge sees what they have typed.
//
// A token in a URL stays in histories and logs. A request whose query has one is refused. To
// open the page with it, use the fragment, #token=TOKEN, which is sent to nobody and which
// the script takes out of the address.
//
// Those who want too much. Each request has one answer of a bounded size: there is no stream
// that a client could leave unread. What asks the store has five seconds. A body is 64 KiB at
// most. Nothing is kept anywhere: all answers are no-store, which also keeps the cache away
// from them where it is in front.
package inspect
