// Package core is a shared HTTP cache (RFC 9111) for the responses of a
// service's own handlers. It knows no web framework: an adapter gives it one
// request at a time as an [Exchange], and [Cache.Serve] does the rest.
//
//	request ─► adapter ─► Cache.Serve
//	             policy   may the cache answer, and under which key?   config.go, key.go
//	             nearby   what is in this process, at once              serve.go
//	             lookup   one read of the store                         serve.go
//	             grant    is it for this request, and this handle's?    withheld.go, nested.go
//	             decide   fresh, or to be validated                     internal/httprules
//	             reply    the stored response, 304, or a range          reply.go
//	             ask      one request asks the handler, others wait     coalesce.go
//	             store    what the handler made, where the rules allow  fill.go, vary.go,
//	                      beside the client's way                       write.go
//	             renew    by running the request again, in the back     refresh.go
//	             purge    by tag, URL, prefix, or all                   purge.go, tags.go, url.go,
//	                                                                    internal/purges
//
// Make a cache with [New] and hand it to an adapter:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	app.Use(fiberadapter.New(cache))
//
// # What is stored
//
// A response to a GET whose status code the policy or the response itself
// admits, unless no-store, private, Set-Cookie, Vary: * or a request with
// Authorization forbid it (RFC 9111 section 3). Explicit freshness of the
// response wins over [Policy].TTL. What nothing but that lets be shared is kept
// from requests with credentials, and with cookies that handlers may read
// ([RequestPolicy].Cookies). Header fields that middleware in front of the cache has set are
// judged but not stored: on a hit that middleware sets them anew. What goes out is
// looked at once more before it is stored.
//
// # Where
//
// Under one key with one value, in the [Store]: the embedded one of
// core/memory, that of core/dragonfly, or one of your own (see core/store, and
// core/storetest).
// The key is readable, for example
// cacheaside:2:{GET:https://example.com/blogs/1000?page=2}, and stored in the
// value in full. (The bytes of a large one have a key of their own in
// core/dragonfly.) A value that is not whole, of another format version or of
// another request is a miss. Responses with Vary have a key each, and a record
// of the names under the first.
//
// # Many at once
//
// Requests that miss at the same time wait for one of them to ask the handler:
// those of a process in a flight (internal/flight), those of other processes by
// a lock in the store (claim.go). A flight ends in one of three ways: what the handler gave
// is for all; the leader failed, and another one takes over; or it is for nobody
// else, and the resource is remembered as such for a while, so that nobody waits
// for it in vain. Whether a response may be shared is decided before anybody
// else sees a byte of it. Every wait has an end, and nobody waits for what its own
// request has to do (run.go).
//
// # Purging
//
// Each purge takes a number of a sequence that only grows. A response carries the
// number that was the last one before its handler ran, and is good while all that could
// have purged it is older. A stamp says when a tag was purged last; one that the store
// has lost counts as purged, so that eviction costs misses but never brings back what
// was purged. A purge of a URL removes what has a key of that URL alone; all else that
// is stored for it is tagged with it. The purges of prefixes and of everything are in
// the journal, which each process reads every 0.2 s.
//
// # How a fill and a purge are ordered
//
// Beside the values a shared store has: a clock, which numbers the purges, and a ring of
// the last 256 of them; a stamp for each tag of what is stored; a journal of the purges
// of everything and of prefixes; and, while a handler runs, a token under the lock of
// the resource. Any of them may be lost at any time. A fill takes these steps:
//
//	look    the value; the stamps of its tags    is it there, and not purged?
//	begin   a token under the lock, if there is  who runs the handler, what was stored
//	        none; the value; the clock           meanwhile, which purges are older
//	run     the handler
//	write   if the token is still there: the     was the URL purged meanwhile, or one
//	        value in, the token out; the stamps  of its tags?
//
// PurgeURL deletes value and lock and raises the tag of the URL; PurgeTags raises tags;
// PurgePrefix and PurgeAll write the journal, and wait until no process uses an older
// copy of it. These rules make that safe, whatever order the steps of several processes
// come in:
//
//   - Nothing is written but by a token that is under the lock at that moment: also what
//     a 304 or a run in the background has renewed. Without waiting for others one takes
//     the token that is there. A token is new for each attempt, and one that got no
//     answer is never used: it may arrive after a purge.
//   - What cannot be named by its URL alone (variants, responses by another lock, keys
//     of other policies) carries the tag of its URL.
//   - An entry carries the clock's epoch and number from before its handler ran. It is
//     valid while each of its stamps is there, has the same epoch, and is no newer. So
//     the order in which value and stamps are read or written does not matter.
//   - A clock that is lost is made with another epoch, at random: what was stored before
//     counts as purged. Nothing asks the server for the time.
//   - A purge writes only stamps that are there. One that is missing is made when a
//     response with its tag is stored: from the ring, or, where the ring does not reach
//     back so far, with the oldest number it knows. So a purge of something else costs a
//     fill nothing, and a purge of what nobody has stored leaves nothing.
//   - Requests that wait get what others were given if they came before the handler was
//     called, or, if it was stored without having been purged, before the first step of
//     storing it. What a second look finds is for those who came before that look. All
//     others look again.
//
// core/internal/protocol has a model of all this, tries every order of the steps, and
// shows what goes wrong without each of the rules.
//
// # When the store fails
//
// The handler answers. Reads and writes have deadlines, and their failures are
// counted and logged, never shown to a client. After several in a row a circuit
// breaker leaves the store alone until it answers again (breaker.go).
package cacheaside
