package core

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Exchange is one request/response cycle of a framework, as the engine sees
// it. An adapter implements it; [Cache.Serve] drives it. The engine calls its
// methods from the goroutine that called Serve, and never after Serve has
// returned.
type Exchange interface {
	// Context is the request's own context: it ends when the client leaves.
	Context() context.Context
	// Request describes the request as it came. What it points to must stay valid
	// until Serve returns, and must not change: not even if the handler changes its
	// request, which may take away what kept the response from others.
	Request() *Request
	// Next runs what is behind the middleware, at most once per exchange. A
	// panic of the handler passes through. The error is one that the framework
	// shall see: the engine returns it from Serve and stores nothing.
	Next(Forward) (*Response, error)
	// Reply sends a response: the captured one that Next returned, or another
	// one, in whose place whatever the handler set is taken back first. After a
	// panic in Next, which the engine has caught, it may still be called with
	// another response. It sends the body of a response to HEAD, too, as a handler
	// would, and leaves it to the server to send none; and it gives the body to
	// nobody who might write into it.
	Reply(*Response) error
	// Detach returns what runs the request once more, on its own, after Serve
	// has returned. Nil: that cannot be done for this request.
	Detach() Refresher
}

// Refresher sends a copy of a request through the framework from its entry on,
// middleware in front of the cache included, and returns when the handler has.
// The copy is a GET for the same target with the same fields, but without a
// body and without those that [OmittedInRerun] names. It carries nothing of
// the original's context, but what each request of its server finds in there: it ends with ctx, and the [Request] made of it has
// rerun as its Rerun. The response goes nowhere. A panic passes through. It is
// called once at most, from any goroutine.
type Refresher func(ctx context.Context, rerun *Rerun)

// Rerun marks a request that the engine makes itself to refresh what is stored.
// Its fields are the engine's.
type Rerun struct {
	cache *shared
	by    *Cache // the handle that wants it
	lead  *lead
	claim *claim      // by which the response may be stored
	key   string      // the primary key that is to be refreshed
	born  int64       // of the entry that was found
	done  atomic.Bool // there is a new entry
}

type rerunKey struct{}

// WithRerun returns a context that carries rerun from a [Refresher] to the
// adapter, for frameworks whose requests have a context.
func WithRerun(ctx context.Context, rerun *Rerun) context.Context {
	return context.WithValue(ctx, rerunKey{}, rerun)
}

// RerunFrom returns what WithRerun has put into ctx, or nil.
func RerunFrom(ctx context.Context) *Rerun {
	r, _ := ctx.Value(rerunKey{}).(*Rerun)
	return r
}

// OmittedInRerun reports whether a request field, named in canonical form, is
// left out when a request is run again: it asks for a part of the response, or
// sets conditions, or speaks of the connection, of a body, or of the way by which
// the request came.
func OmittedInRerun(name string) bool {
	switch name {
	case "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
		"Cache-Control", "Pragma", "Cdn-Loop", "Expect", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Content-Type", "Content-Encoding":
		return true
	}
	return false
}

// Header gives read access to header fields. http.Header satisfies it.
type Header = httprules.Header

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
	// Outer is the [Forward.Flight] of a handle inside of whose Next this same
	// request is being served; nil if there is none. Adapters find it by [FlightIn].
	Outer *Flight
	// Within is the flight of a handler that has made this request as one of its
	// own, with its context, in this process. Only where Outer is nil.
	Within *Flight
	// Rerun is set on a request that a [Refresher] has made.
	Rerun *Rerun
	// Bypass, if not empty, makes the cache leave the request to the handler;
	// it is the reason as Cache-Status shows it.
	Bypass string
	// forwarded says that there is a field by which a proxy, or anybody, says what
	// it has seen.
	forwarded bool
	entered
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

// Forward tells [Exchange.Next] how to run the handler.
type Forward struct {
	// Capture asks for the response to be held back until the handler returns.
	// When false it goes straight to the client.
	Capture bool
	// Flight is to be found, by the [Request] of a handle further in, as Outer,
	// whether anything is captured or not. It is part of Tags.
	Flight *Flight
	// MaxBody is the largest body that is held back, in bytes; 0 is no limit.
	// A longer one is passed on as it is written.
	MaxBody int64
	// Set holds request fields to set before the handler runs (conditional
	// requests); a field without values is removed.
	Set http.Header
	// Tags is to be found under [RunKey] in all that the framework gives the handler
	// as a context; [Forward.Context] makes such a one. Nil: there is none.
	Tags *Tags
	// Linger is how long the handler may go on without its client, where the
	// policy lets it ([Config.BackgroundFill]); see [Forward.Context].
	Linger time.Duration
	// Annotate is called once when the response goes to the client without
	// Reply, just before its header is sent, or when the handler takes the
	// connection over or returns without having sent anything; it gives the fields
	// to add. The status is 0 where it is not known, because the framework has yet
	// to turn an error into a response. Reason is empty, or says why a capture was
	// given up.
	Annotate func(status int, h Header, reason string) Fields
	// Settle is asked where the handler has returned an error in place of a
	// response, in frameworks that have such: status is the one that the error
	// names, and h the fields set so far. True: the framework's error handler makes
	// the response at once, which is captured, and middleware in front does not see
	// the error. False: the error takes its usual way. Nil is false.
	Settle func(status int, h Header) bool
}

// IsEventStream reports whether a Content-Type is that of server-sent events,
// which are never held back.
func IsEventStream(contentType string) bool {
	const stream = "text/event-stream"
	return len(contentType) >= len(stream) && strings.EqualFold(contentType[:len(stream)], stream)
}

// BodyAllowed reports whether a response with this final status code has a body
// (RFC 9110 section 6.4.1).
func BodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Response is a response to be stored or sent.
type Response struct {
	Status int
	// Header holds the fields that belong to the response itself: without
	// those that middleware in front of the cache has set, and without
	// connection-specific ones.
	Header Fields
	// Extra holds what the cache adds on the way out (Age, Cache-Status).
	Extra Fields
	Body  []byte
	// Implicit says that the handler has written a body without sending the status,
	// 200, in frameworks whose writers can tell.
	Implicit bool
	// Leaving, if not nil, is called by Reply, or later on the request's way back
	// to the server, once nobody can change the header any more, with the fields
	// that the client sees. Reply need not call it where it fails.
	Leaving func(Header)

	// The rest is set by Next.

	// Effective gives all fields that the client would see, those of
	// outer middleware included. The rules are applied to it: what an outer
	// layer has marked private is private.
	Effective Header
	// Sent says that the response has already gone to the client, or is left to
	// whoever is in front of the cache.
	Sent bool
	// Reason says why the response must not be stored: one of the Reason
	// constants. Empty: nothing speaks against it but the rules.
	Reason string
}

// Why a response could not be captured, as it appears in the detail parameter
// of Cache-Status (RFC 9211 section 2.8).
const (
	ReasonStream      = "stream"       // flushed before it was complete, or an event stream
	ReasonHijack      = "hijack"       // the handler took the connection over, or 101
	ReasonTrailers    = "trailers"     // the handler announced trailers
	ReasonTooLarge    = "too-large"    // the body exceeds the limit
	ReasonIncomplete  = "incomplete"   // fewer or more bytes than Content-Length said
	ReasonStatusTwice = "status-twice" // two different final status codes were written
	ReasonHandler     = "handler"      // the handler reported an error beside the response
	ReasonInner       = "inner-policy" // a handle further in has applied its own policy
	ReasonUnwritten   = "unwritten"    // the handler returned without a response
	ReasonBegun       = "begun"        // somebody in front had begun the body before the handler ran
	ReasonClientGone  = "client-gone"  // the client left before the handler was done
)
