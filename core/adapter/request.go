package adapter

import (
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Header gives read access to header fields by name, which the engine asks for in
// canonical form. http.Header satisfies it. The slice that Values returns is only
// valid until its next call, and is not written to.
type Header interface {
	Values(name string) []string
}

// NamesHeader is a [Header] that can go through its fields, which is faster than
// asking for each of many that are hardly ever there, and finds names in any case.
type NamesHeader interface {
	Header
	// Names gives the bits that judge has for the names, as they are, all together.
	Names(judge func(name string) uint16) uint16
	// Lines calls yield for each field line, in the order in which a handler finds
	// them, with the name as it is. The strings are only valid until yield returns.
	Lines(yield func(name, value string))
}

// Request is what the cache needs to know of a request.
type Request struct {
	Method   string
	Scheme   string // "http" or "https", from the connection and not from a header field
	Host     string // the Host field or :authority, as the client sent it
	Path     string // the path as the router sees it, still percent-encoded
	RawQuery string // without the question mark
	// Target is the request-target as received where an outer layer has
	// rewritten path or query since (http.StripPrefix and the like); otherwise
	// empty. It becomes part of the key, so that two mounts of one handler
	// cannot share entries.
	Target string
	// Partition separates users or tenants; it becomes part of the key.
	Partition string
	// Header gives the fields. In what a policy's functions get, names may be in any
	// case, on either side, and Host is among them.
	Header  Header
	HasBody bool // a body was announced, whatever its length
	// Upgrade says that the client asks for another protocol (WebSocket), where
	// Header does not.
	Upgrade bool
	// Encodes says that middleware in front has a content coding for the response, as it
	// has said in the header before the handler was called: what it gets is to have none.
	Encodes bool
	// Outer is the [Forward.Run] of a handle inside of whose Next this same request
	// is being served; nil if there is none. Adapters find it by [RunIn].
	Outer *Run
	// Within is the run of a handler that has made this request as one of its
	// own, with its context, in this process. Only where Outer is nil.
	Within *Run
	// Route is the pattern of the route that the request takes ("/users/:id"), where that
	// is known before the handler is called; it may be any text that stands for the same
	// requests always. It becomes a label of metrics.
	Route string
	// Router knows the route otherwise. Nil: nobody does.
	Router Router
	// Rerun is set on a request that a [Refresher] has made.
	Rerun *Rerun
	// Account, if not nil, is where the cache leaves what it has done: see [Request.Report].
	Account *Account
	// XCache, if not empty, names in canonical form the field that tells the client whether
	// the answer is a HIT, a MISS or a BYPASS: see [XCacheField].
	XCache string
	// Bypass, if not empty, makes the cache leave the request to the handler;
	// it is the reason as Cache-Status shows it.
	Bypass string
}

// Router knows by which route a request goes. Its methods are called while Serve lasts, by
// its goroutine.
type Router interface {
	// Taken returns the pattern of the route that the request has taken, once the handler
	// has returned; "" where there was none.
	Taken() string
	// Find returns the pattern of the route that the request would take, without calling
	// what is there; "" where there is none. It is asked where what is known of the
	// key was forgotten.
	Find() string
	// Show has middleware in front see that the request has taken the route, where the
	// answer is one of the cache. The string may be kept.
	Show(route string)
}

// RewrittenTarget gives [Request.Target]: the request-target as it was received
// if scheme, path and query are not what it says, otherwise "".
func RewrittenTarget(target, scheme, host, path, query string) string {
	rest := target
	if !strings.HasPrefix(rest, "/") { // the absolute form (RFC 9112 section 3.2.2)
		if said, after, ok := strings.Cut(rest, "://"); ok && httprules.EqualFold(said, scheme) &&
			len(after) >= len(host) && httprules.EqualFold(after[:len(host)], host) {
			rest = after[len(host):]
		}
	}
	rest, ok := strings.CutPrefix(rest, path)
	if ok && (rest == "" && query == "" || rest != "" && rest[0] == '?' && rest[1:] == query) {
		return ""
	}
	return target
}
