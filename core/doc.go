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
//	             purge    by tag, URL, prefix, or all                   purge.go, tags.go, url.go, journal.go
//
// Make a cache with [New] and hand it to an adapter:
//
//	cache, err := core.New(core.Config{Store: store, TTL: 30 * time.Second})
//	app.Use(fiberadapter.New(cache))
//
// # What is stored
//
// A response to a GET whose status code the policy or the response itself
// admits, unless no-store, private, Set-Cookie, Vary: * or a request with
// Authorization forbid it (RFC 9111 section 3). Explicit freshness of the
// response wins over [Config].TTL. What nothing but that lets be shared is kept
// from requests with credentials, and with cookies that handlers may read
// ([Config].Cookies). Header fields that middleware in front of the cache has set are
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
// A clock in the store counts purges. It has an epoch, made at random when the clock
// is, and a number that each purge takes the next of. An entry carries both as they
// were before its handler ran. A stamp says when a tag was purged last, by epoch and
// number; an entry is good while each of its tags has a stamp, of the entry's epoch
// and not newer than the entry. So whatever the store loses costs misses, and never
// brings back what was purged: an entry, a stamp, or the clock, whose successor has
// another epoch.
//
// A stamp is made when an entry with its tag is stored, and lives as long. What was
// purged before that is in the ring, the last purges with their numbers; of older
// ones it is known that they are older than the ring. So a purge of something else
// does not cost an entry that is being made.
//
// A response under way has a token, which is the lock for which others wait. It is
// written in one step with seeing that the token is still there; a purge of the URL
// removes token and value. A token is unique for every attempt to take the lock, so
// that none is taken for another, and an attempt without an answer gives no right to
// write. Where no lock is needed the token of whoever is there is shared.
//
// A purge of a URL removes what has a key of that URL alone. All else that is stored
// for it is tagged with it: variants, partitions, keys of a generator, keys without
// host or parameters. The purges of prefixes and of everything are in the journal, which
// each process reads every 0.2 s: see [Cache.PurgePrefix].
//
// # When the store fails
//
// The handler answers. Reads and writes have deadlines, and their failures are
// counted and logged, never shown to a client. After several in a row a circuit
// breaker leaves the store alone until it answers again (breaker.go).
package core
