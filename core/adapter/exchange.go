package adapter

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Exchange is one request/response cycle of a framework, as the engine sees
// it. An adapter implements it; the cache drives it. The engine calls its
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

// ContentReader is an [Exchange] that can read the content of its request before the
// handler does. Without it no request with content is answered from a cache.
type ContentReader interface {
	// Content reads the content once, limit+1 bytes of it at most, and returns it where
	// that is all: the bytes are valid until Serve returns, and nobody writes to them.
	// Afterwards the handler, and the run of a [Refresher], read the same bytes, then the
	// rest if there is more, and then the error that reading has met. The error is
	// [ErrContentTooLong] for more than limit bytes, or says why it cannot be told what
	// the handler will read. It blocks as the handler would.
	Content(limit int64) (Content, error)
}

// Content is that of a request (RFC 9110 section 6.4).
type Content struct {
	Bytes []byte
	// Declared is the length that the handler is told in advance, -1 where it is told none.
	Declared int64
}

// ErrContentTooLong is the error of [ContentReader] for content beyond the limit.
var ErrContentTooLong = errors.New("the content of the request exceeds the limit")

// ErrContentUnread is the error of [ContentReader] for content of which nobody can tell
// what the handler will see: it was read or parsed in front, or has trailers.
var ErrContentUnread = errors.New("the content of the request was read in front of the cache, or has trailers")

// Forward tells [Exchange.Next] how to run the handler.
type Forward struct {
	// Capture asks for the response to be captured, and held back until the handler
	// returns or Stream lets it go. When false it goes straight to the client.
	Capture bool
	// Run is this call of the handler, which is to be found under [RunKey] in all that
	// the framework gives the handler as a context, whether anything is captured or
	// not; [Forward.Context] makes such a one. Nil: there is none.
	Run *Run
	// MaxBody is the largest body that is captured, in bytes; 0 is no limit.
	// A longer one is passed on as it is written.
	MaxBody int64
	// Part says that the cache asks for a part of its own, by way of Set, and not for
	// what the client wants: a 206 or 416 is held back whatever it is, also if it is
	// flushed, and is never Sent. One that cannot be held back, because it is too long
	// for instance, is thrown away; Reason says why.
	Part bool
	// Memory is what captures take theirs from: see [Buffer]. Nil: there is no bound.
	Memory Memory
	// HoldBytes is how much of a body is held back, in bytes, before Stream is asked.
	HoldBytes int64
	// Stream is asked, once at most, when more than HoldBytes are held back and more
	// comes, or when what is held back has waited for a while: how does the response
	// go on whose status and fields these are? Nil: it is held back until the handler
	// returns. Any goroutine may call it, but not once Next has returned.
	Stream func(status int, h Header) Streaming
	// Set holds request fields to set before the handler runs (conditional
	// requests); a field without values is removed.
	Set http.Header
	// Linger is how long the handler may go on without its client, where the
	// policy lets it; see [Forward.Context].
	Linger time.Duration
	// Wrap, if not nil, makes the handler's context of the request's: see
	// [Forward.Context].
	Wrap func(context.Context) context.Context
	// Annotate is called once when the response goes to the client without
	// Reply, just before its header is sent, or when the handler takes the
	// connection over or returns without having sent anything; it gives the fields
	// to add. The status is 0 where it is not known, because the framework has yet
	// to turn an error into a response. Reason is empty, or says why a capture was
	// given up. It is called as well when that happens to a response that Stream has
	// let go: then the fields come too late.
	Annotate func(status int, h Header, reason string) Fields
	// HandleError is asked where the handler has returned an error in place of a
	// response, in frameworks that have such: status is the one that the error
	// names, and h the fields set so far. True: the framework's error handler makes
	// the response at once, which is captured, and middleware in front does not see
	// the error. False: the error takes its usual way. Nil is false.
	HandleError func(status int, h Header) bool
}

// Streaming says how a response goes on that is captured while it is written.
type Streaming struct {
	// Hold: it is held back until the handler returns.
	Hold bool
	// Reason, if not empty, is why it is not to be captured: it is let go, with the
	// fields that Annotate gives.
	Reason string
	// Extra is what to add to the fields of a response that is sent as it comes, while
	// the capture goes on. Then nothing takes its place any more.
	Extra Fields
}

// IsEventStream reports whether a Content-Type is that of server-sent events,
// which are never held back.
func IsEventStream(contentType string) bool {
	const stream = "text/event-stream"
	return len(contentType) >= len(stream) && strings.EqualFold(contentType[:len(stream)], stream)
}

// OfPart reports whether a response with that status is one that only the cache has asked
// for: see Part.
func (f *Forward) OfPart(status int) bool { return f.Part && httprules.IsPart(status) }

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
	// Left, if not nil, has the fields that the client has seen of a response that was
	// sent as it came, and captured whole.
	Left Header
	// Tee, if not nil, says that the body is still to come, from whoever is to send it,
	// and has it captured meanwhile. What it is given is called once, by any goroutine:
	// with the whole body, or with the reason why there is none. It is to be called
	// before Reply, or not at all. Drain, which may be called before Reply, reads the
	// body for nobody.
	Tee func(taken func(body []byte, reason string)) (drain func())
}

// Why a response could not be captured, as it appears in the detail parameter
// of Cache-Status (RFC 9211 section 2.8).
const (
	ReasonStream      = "stream"       // flushed before it was complete, or an event stream
	ReasonHijack      = "hijack"       // the handler took the connection over, or 101
	ReasonTrailers    = "trailers"     // the handler announced trailers
	ReasonTooLarge    = "too-large"    // the body exceeds the limit
	ReasonCaptureFull = "capture-full" // the captures of others leave no room for it
	ReasonIncomplete  = "incomplete"   // fewer or more bytes than Content-Length said
	ReasonStatusTwice = "status-twice" // two different final status codes were written
	ReasonHandler     = "handler"      // the handler reported an error beside the response
	ReasonInner       = "inner-policy" // a handle further in has applied its own policy
	ReasonUnwritten   = "unwritten"    // the handler returned without a response
	ReasonBegun       = "begun"        // somebody in front had begun the body before the handler ran
	ReasonClientGone  = "client-gone"  // the client left before the handler was done
)
