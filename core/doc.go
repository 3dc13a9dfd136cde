// Package cacheaside is a shared HTTP cache (RFC 9111) for the responses of a
// service's own handlers. The package is imported by name, for its folder is core:
//
//	import cacheaside "github.com/cacheaside/cacheaside/core"
//
// Make a cache with [New] and hand it to the adapter of your framework:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	app.Use(fiberadapter.New(cache))
//
// [Cache.With] makes handles with another [Policy] for single routes, [Cache.Purge]
// removes what is stored, and [AddTags] gives a response the tags to remove it by.
//
// # The flow
//
// The engine knows no web framework: an adapter gives it one request at a time as an
// [adapter.Exchange], and [Cache.Serve] does the rest, one step a file.
//
//	serve     may the cache answer, and under which key?      serve.go, pass.go; internal/keys
//	lookup    one read of the store: whole, not purged, for   lookup.go, withheld.go, nested.go;
//	          this request and this handle?                   internal/entry, internal/purges
//	decide    fresh, stale but usable, or to be validated?    decide.go; internal/httprules
//	reply     the stored response, a 304, or a range of it    reply.go, ranges.go
//
// Where nothing that is stored answers the request:
//
//	validate  what is stale: in the background, or now        validate.go, candidates.go, soft.go,
//	                                                          refresh.go, rerun.go
//	coalesce  one request runs the handler, others wait,      coalesce.go, flight.go; internal/flight
//	          in other processes as well                      lock.go, claim.go, token.go, loop.go
//	fetch     run the handler, then settle how the flight     fetch.go, run.go, capture.go
//	          ends and what the client gets. What takes its   stream.go
//	          time is sent as it comes, and captured.
//	admit     may the response be stored, and in what form?   admit.go, content.go, vary.go, tags.go, encode.go
//	          A 304 updates what is stored, a 206 is          update.go
//	          combined with it.                               parts.go; internal/parts
//	write     beside the client's way, once the response      write.go, writes.go, slow.go
//	          has left
//
// Besides, purge.go, endpoint.go and invalidate.go remove what is stored, and url.go
// and ways.go find the keys and tags that a URL stands for. The state of a request is
// in visit.go, that of a cache in cache.go.
//
// # What is stored
//
// A response to a GET is stored if its status code is one that the policy or the
// response itself admits, unless no-store, private, Set-Cookie, Vary: * or a request
// with Authorization forbids it (RFC 9111 section 3). Explicit freshness of the
// response wins over [Policy].TTL. A response that nothing but the TTL makes shareable
// is neither stored from nor given to requests with credentials, or with cookies that
// handlers may read ([RequestPolicy].Cookies). Header fields that middleware in front
// of the cache has set are judged but not stored: on a hit that middleware sets them
// anew. The header that goes out is judged once more before the response is stored.
//
// # Where
//
// A response is one value under one key in the store: the embedded one of core/memory,
// that of core/dragonfly, or one of your own (see core/store and core/storetest).
// The key is readable, for example
// cacheaside:2:{GET:https://example.com/blogs/1000?page=2}, and the value repeats it in
// full. (core/dragonfly keeps the bytes of a large value under a second key.) A value
// that is not whole, has another format version or belongs to another request is a
// miss. If a response has Vary, each variant has a key of its own, and the primary key
// holds a record of the names that Vary has listed.
//
// # Many at once
//
// Requests that miss at the same time wait for one of them to run the handler: those of
// one process in a flight (internal/flight), those of other processes by a lock in the
// store (claim.go). A flight ends in one of three ways. The handler's response is for
// all of them; or the leader failed, and another one takes over; or the response is for
// nobody else, and the resource is remembered as such for a while, so that nobody waits
// for it in vain. Whether a response may be shared is decided before anybody else sees
// a byte of it. Every wait has an end, and no request waits for work that it is itself
// a part of (run.go, loop.go).
//
// # Purging
//
// Each purge takes a number from a sequence that only grows. A response carries the
// last number that had been given out before its handler ran. It is valid as long as
// every purge that concerns it has that number or a lower one. A stamp says when a tag
// was purged last. A tag whose stamp is lost counts as purged, so eviction costs misses
// but never brings back what was purged. A purge of a URL deletes what is stored under a
// key made of that URL alone; everything else stored for the URL carries a tag for it.
// Purges of prefixes and of everything are in the journal. Each process uses a copy of
// it for at most 0.4 s, and reads it again after half of that while requests need it.
//
// # How a fill and a purge are ordered
//
// Besides the values, a shared store holds a clock, which numbers the purges; a ring of
// the last 256 of them; a stamp for each tag of what is stored; a journal of the purges
// of prefixes and of everything; and, while a handler runs, a token under the lock of
// the resource. Any of them may be lost at any time. A fill takes these steps:
//
//	look    the value; the stamps of its tags    is it there, and not purged?
//	begin   a token under the lock, if there is  who runs the handler, what was stored
//	        none; the value; the clock           meanwhile, which purges are older
//	run     the handler
//	write   if the token is still there: the     was the URL purged meanwhile, or one
//	        value in, the token out; the stamps  of its tags?
//
// A purge of a URL deletes value and lock, and bumps the stamp of the URL's tag. A purge
// of tags bumps their stamps. A purge of prefixes or of everything writes the journal,
// then waits until no process uses an older copy of it. These rules make that safe, in
// whatever order the steps of several processes come:
//
//   - A value is written only with a token that is under the lock at that moment. That
//     includes what a 304 or a run in the background has renewed. A fill that does not
//     wait for others uses the token it finds there. A token is new for each attempt,
//     and one whose attempt got no answer is never used: the command may arrive after a
//     purge.
//   - What cannot be named by its URL alone (variants, responses under another lock,
//     keys of other policies) carries the tag of its URL.
//   - An entry carries the clock's epoch and number from before its handler ran. It is
//     valid while each of its stamps is there, has the same epoch, and is no newer. So
//     the order in which value and stamps are read or written does not matter.
//   - A clock that is lost is made anew with another, random epoch: all that was stored
//     before counts as purged. Nothing asks the server for the time.
//   - A purge writes only stamps that exist. A missing one is made when a response with
//     its tag is stored: from the ring or, where the ring does not reach back far
//     enough, with the oldest number that the ring knows. So a purge of something else
//     costs a fill nothing, and a purge of what nobody has stored leaves nothing behind.
//   - A waiting request may get what others were given if it came before the handler was
//     called or, where that was stored without having been purged, before the first step
//     of storing it. What a second look at the store finds is for those who came before
//     that look. All others look again.
//
// core/internal/protocol has a model of all this. It tries every order of the steps, and
// shows what goes wrong without each of the rules.
//
// # When the store fails
//
// The handler answers. Reads and writes have deadlines, and their failures are
// counted and logged, never shown to a client. After several failures in a row a circuit
// breaker (internal/breaker) leaves the store alone until it answers again.
package cacheaside
