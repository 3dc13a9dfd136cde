// Package transparency shows that the cache is transparent: what a client gets
// from a service with the cache is what it gets without.
//
// Its tests play one script of requests (script_test.go) on real stacks of popular
// middleware, in front of the cache and behind it, once with the cache and once
// without, and compare all that went over the wire (compare_test.go). Where the two
// must differ, the reason is given in differences_test.go, and an entry there that
// is no longer needed fails.
//
// It is a module of its own, so that nothing else gets its dependencies.
package transparency
