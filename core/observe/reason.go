package observe

// Reason is why the cache had nothing to do with a request, or why a response was not
// stored. Its String is the detail that Cache-Status has then (RFC 9211 section 2.8).
type Reason uint8

// The reasons.
const (
	ReasonOther Reason = iota + 1 // one that an adapter of somebody else gives

	// The cache had nothing to do with the request.
	ReasonSkip           // the policy or the adapter leaves it out
	ReasonMethod         // its method is not answered from a cache
	ReasonNoRoute        // no route takes it
	ReasonRequestBody    // it has content, which the key cannot tell from another
	ReasonContentTooLong // ContentPolicy.MaxBytes
	ReasonContentRefused // ContentPolicy.Normalize leaves it out
	ReasonContentUnread  // its content could not be read
	ReasonUpgrade        // it asks for another protocol
	ReasonPrecondition   // If-Match and the like, which only the handler can judge
	ReasonOverride       // a field puts another method or path in the place of its own
	ReasonKeyTooLong     // KeyPolicy.MaxBytes
	ReasonInner          // a handle further in has its own policy
	ReasonRerun          // it is a background run for another handle

	// The response was not stored, by the rules.
	ReasonNoFreshness    // it has no lifetime: neither its own nor the policy's TTL
	ReasonNoStore        // Cache-Control: no-store, or the handler has called NoStore
	ReasonPrivate        // Cache-Control: private
	ReasonNoCache        // Cache-Control: no-cache, and it has no validator
	ReasonExpired        // it was stale when it came, and has no validator
	ReasonRequestNoStore // the request says no-store
	ReasonAuthorization  // the request has credentials, and nothing says that all may see it
	ReasonCookie         // the request has cookies that the handler may have read
	ReasonSetCookie      // it sets a cookie
	ReasonStatus         // its status code is none that is stored
	ReasonPartial        // it is a part that nobody has asked for
	ReasonMultipart      // it has several parts
	ReasonContentRange   // it is a part, and its Content-Range is unknown, malformed or not true
	ReasonSmallPart      // it is a part, and little beside what is stored of the response
	ReasonWhole          // it is a part of what is stored as a whole
	ReasonOtherPart      // it is a part, and not of what is stored in parts
	ReasonVaryAny        // Vary: *
	ReasonVary           // too many names in Vary
	ReasonOrigin         // it was made for another Origin
	ReasonDecided        // StoringPolicy.Decide said no, or panicked

	// By limits.
	ReasonTags           // too many tags, or one that is too long
	ReasonHeader         // a field that would be no field when it is read
	ReasonHeaderTooLarge // StoringPolicy.MaxHeaderBytes
	ReasonTooLarge       // StoringPolicy.MaxBytes
	ReasonCaptureFull    // Config.MaxCaptureBytes
	ReasonSlowRead       // the last large value under the key did not arrive in time
	ReasonStoreBusy      // Background.WriteBuffer
	ReasonStoreFailed    // the store failed when the handler was called

	// By how it was made.
	ReasonStream      // it was sent before it was complete
	ReasonHijack      // the handler took the connection over
	ReasonTrailers    // it has trailers
	ReasonIncomplete  // it is longer or shorter than its Content-Length
	ReasonStatusTwice // two status codes were written
	ReasonHandler     // the handler reported an error beside it
	ReasonUnwritten   // the handler wrote nothing
	ReasonBegun       // somebody in front had begun the body
	ReasonClientGone  // the client left before it was complete

	lastReason
)

var reasons = [lastReason]string{
	ReasonOther: Other,

	ReasonSkip: "skip", ReasonMethod: "method", ReasonNoRoute: "no-route", ReasonRequestBody: "request-body",
	ReasonContentTooLong: "content-too-long", ReasonContentRefused: "content-refused", ReasonContentUnread: "content-unread",
	ReasonUpgrade: "upgrade", ReasonPrecondition: "precondition", ReasonOverride: "override",
	ReasonKeyTooLong: "key-too-long", ReasonInner: "inner-policy", ReasonRerun: "rerun",

	ReasonNoFreshness: "no-freshness", ReasonNoStore: "no-store", ReasonPrivate: "private", ReasonNoCache: "no-cache",
	ReasonExpired: "expired", ReasonRequestNoStore: "request-no-store", ReasonAuthorization: "authorization",
	ReasonCookie: "cookie", ReasonSetCookie: "set-cookie", ReasonStatus: "status", ReasonPartial: "partial",
	ReasonMultipart: "multipart", ReasonContentRange: "content-range", ReasonSmallPart: "small-part", ReasonWhole: "whole", ReasonOtherPart: "other-part",
	ReasonVaryAny: "vary-any", ReasonVary: "vary", ReasonOrigin: "origin", ReasonDecided: "decided",

	ReasonTags: "tags", ReasonHeader: "header", ReasonHeaderTooLarge: "header-too-large", ReasonTooLarge: "too-large", ReasonCaptureFull: "capture-full",
	ReasonSlowRead: "slow-read", ReasonStoreBusy: "store-busy", ReasonStoreFailed: "store-failed",

	ReasonStream: "stream", ReasonHijack: "hijack", ReasonTrailers: "trailers", ReasonIncomplete: "incomplete",
	ReasonStatusTwice: "status-twice", ReasonHandler: "handler", ReasonUnwritten: "unwritten", ReasonBegun: "begun",
	ReasonClientGone: "client-gone",
}

var byDetail = func() map[string]Reason {
	m := make(map[string]Reason, lastReason)
	for r := ReasonOther; r < lastReason; r++ {
		m[reasons[r]] = r
	}
	return m
}()

// ReasonOf returns the reason with that detail, [ReasonOther] where there is none, and
// none for "".
func ReasonOf(detail string) Reason {
	if detail == "" {
		return 0
	}
	if r, ok := byDetail[detail]; ok {
		return r
	}
	return ReasonOther
}

// String is the reason's name.
func (r Reason) String() string {
	if r >= lastReason {
		return ""
	}
	return reasons[r]
}
