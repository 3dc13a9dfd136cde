// Package adapter is what the author of an adapter uses: an adapter turns the
// request and response of one framework into an [Exchange], and gives that to a
// cache. It knows no engine; what an engine keeps in a [Run] or a [Rerun] is
// the engine's own.
//
// An adapter's middleware does three things: it fills a [Request], it runs the
// handler behind it with its response captured ([Exchange].Next), and it sends a
// stored response ([Exchange].Reply). Those on net/http embed nethttp.Exchange,
// which does all of it but calling the handler. The package core/coretest tests
// an adapter.
package adapter
