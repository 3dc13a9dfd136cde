package core

import (
	"context"
	"net/http"
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Exchange is one request/response cycle of a framework, as the engine sees
// it. An adapter implements it; [Cache.Serve] drives it. The engine calls its
// methods from the goroutine that called Serve, and never after Serve has
// returned.
type Exchange interface {
	// Context is the request's own context: it ends when the client leaves.
	Context() context.Context
	// Request describes the request. What it points to must stay valid until
	// Serve returns.
	Request() *Request
	// Next runs what is behind the middleware, at most once per exchange. A
	// panic of the handler passes through. The error is one that the framework
	// shall see: the engine returns it from Serve and stores nothing.
	Next(Forward) (*Response, error)
	// Reply sends a response: the captured one that Next returned, or another
	// one, in whose place whatever the handler set is taken back first.
	Reply(*Response) error
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
	Header    Header
	HasBody   bool // a body was announced, whatever its length
	// Upgrade says that the client asks for another protocol (WebSocket).
	Upgrade bool
	// Outer is the [Forward.Flight] of a handle inside of whose Next this request
	// is being served; nil if there is none.
	Outer *Flight
	// Bypass, if not empty, makes the cache leave the request to the handler;
	// it is the reason as Cache-Status shows it.
	Bypass string
}

// Flight is one run of a handler behind a handle. Its fields are the engine's.
type Flight struct {
	cache *shared
	inner bool // a handle of the same cache further in has dealt with it
}

// Forward tells [Exchange.Next] how to run the handler.
type Forward struct {
	// Capture asks for the response to be held back until the handler returns.
	// When false it goes straight to the client.
	Capture bool
	// Flight is to be found, by the [Request] of a handle further in, as Outer.
	Flight *Flight
	// MaxBody is the largest body that is held back, in bytes; 0 is no limit.
	// A longer one is passed on as it is written.
	MaxBody int64
	// Set holds request fields to set before the handler runs (conditional
	// requests); a field without values is removed.
	Set http.Header
	// Annotate is called once when the response goes to the client without
	// Reply, just before its header is sent; it gives the fields to add. The
	// status is 0 where it is not known, because the framework has yet to turn
	// an error into a response. Reason is empty, or says why a capture was given
	// up.
	Annotate func(status int, h Header, reason string) Fields
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

	// The rest is set by Next.

	// Effective gives all fields that the client would see, those of
	// outer middleware included. The rules are applied to it: what an outer
	// layer has marked private is private.
	Effective Header
	// Sent says that the response has already gone to the client.
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
	ReasonClientGone  = "client-gone"  // the client left before the handler was done
)
