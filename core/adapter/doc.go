// Package adapter is what the author of an adapter uses. An adapter turns the request
// and response of one framework into an [Exchange] and gives that to a cache. This
// package imports no engine: what an engine keeps in a [Run] or a [Rerun] is opaque to
// it.
//
// An adapter's middleware does three things. It fills a [Request]; it runs the handler
// behind it with the response captured, as [Forward] says ([Exchange].Next); and it sends
// a stored response ([Exchange].Reply). Adapters on net/http embed nethttp.Exchange,
// which does all of that but call the handler. The package core/coretest tests an
// adapter.
package adapter
