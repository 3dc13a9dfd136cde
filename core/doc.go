// Package core is a shared HTTP cache (RFC 9111) for the responses of a
// service's own handlers. It knows no web framework: an adapter gives it one
// request at a time as an [Exchange], and [Cache.Serve] does the rest.
//
//	request ─► adapter ─► Cache.Serve
//	             policy   may the cache answer, and under which key?   config.go, key.go
//	             lookup   one read of the store                         serve.go
//	             decide   fresh, or to be validated                     internal/httprules
//	             reply    the stored response, 304, or a range          reply.go
//	             store    what the handler made, where the rules allow  fill.go, vary.go
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
// response wins over [Config].TTL. Header fields that middleware in front of the
// cache has set are judged but not stored: on a hit that middleware sets them
// anew.
//
// # Where
//
// Under one key with one value, in the [Store]: the embedded one of
// core/memory, that of core/dragonfly, or one of your own (see core/storetest).
// The key is readable, for example
// cacheaside:1:{GET:https://example.com/blogs/1000?page=2}, and stored in the
// value in full. A value that is not whole, of another format version or of
// another request is a miss. Responses with Vary have a key each, and a record
// of the names under the first.
//
// # When the store fails
//
// The handler answers. Reads and writes have deadlines, and their failures are
// counted and logged, never shown to a client.
package core
