// Package httprules holds the rules of HTTP caching as pure functions over
// header fields and times: RFC 9110, 9111, 5861, 9211 and 9213. It does no
// I/O and reads no clock.
package httprules

// Header gives read access to header fields by name. The names used here are
// in canonical form. http.Header satisfies it. The slice that Values returns
// is only valid until its next call, and is not written to.
type Header interface {
	Values(name string) []string
}
