// Package protocol has no code but tests: a model of how fills and purges are ordered,
// in which every order of steps is tried.
//
// A step is one command or script as core/dragonfly sends it (server_test.go), or what
// a process does between two of them (request_test.go, purger_test.go). Between any
// two steps any key may be evicted, word of a write may be late, and time may pass
// (environment_test.go). Three things are checked in every state that can be reached
// (explore_test.go):
//
//   - Safety: no request is answered with what was purged before it began, and nothing
//     that was purged softly is called fresh.
//   - Liveness: as long as nothing is evicted, a fill is stored unless something of its
//     own was purged meanwhile.
//   - Thrift: in the end nothing is left but values and their stamps.
//
// scenarios_test.go has who asks and who purges. mutants_test.go takes one rule after
// the other away, and sees that the model finds what goes wrong then: so each rule is
// needed, and the model looks where it matters. conformance_test.go sends the same
// steps to a real server, so that model and scripts stay the same.
package protocol
