package inspect

import "github.com/cacheaside/cacheaside/core/observe"

// remedies say in one sentence what to do about each reason, or why nothing has to be done.
var remedies = map[observe.Reason]string{
	observe.ReasonOther: "An adapter that is not ours gives this reason: look at the detail in Cache-Status of such a response.",

	observe.ReasonSkip:         "Policy.Skip or the adapter leaves these requests out on purpose: narrow that down if they should be cached.",
	observe.ReasonMethod:       "Only GET and HEAD are answered from a cache, so nothing is wrong; if it is one of these, add it to Requests.Methods.",
	observe.ReasonNoRoute:      "No route takes these requests: look in the tail for scanners, or for links that lead nowhere.",
	observe.ReasonRequestBody:  "A GET with a body is not cached, as its key cannot tell one body from another: let clients put what they ask for into the URL.",
	observe.ReasonUpgrade:      "WebSockets and the like cannot be cached: keep such routes out of the cached group to be rid of the count.",
	observe.ReasonPrecondition: "If-Match and If-Unmodified-Since can only be judged by the handler: let clients send them with writes, not with reads.",
	observe.ReasonOverride:     "A field such as X-HTTP-Method-Override puts another method or path in place of the request's own: remove it in the proxy in front.",
	observe.ReasonKeyTooLong:   "The URL and what else is in the key exceed Key.MaxBytes: choose the parameters that matter with Key.Query, or raise the limit.",
	observe.ReasonInner:        "A handle further in has its own policy and decides, so nothing is wrong: its routes have counts of their own.",
	observe.ReasonRerun:        "A background run for another handle has passed through, so nothing is wrong.",

	observe.ReasonNoFreshness:    "The response has no lifetime: send Cache-Control: max-age or s-maxage from the handler, or set Policy.TTL.",
	observe.ReasonNoStore:        "The handler sends Cache-Control: no-store: remove it where the response may be shared, and look for middleware that sets it everywhere.",
	observe.ReasonPrivate:        "The handler sends Cache-Control: private: remove it if the response is the same for everybody, else separate users with Key.Partition.",
	observe.ReasonNoCache:        "Cache-Control: no-cache needs a validator to be of use: let the handler send an ETag, or set Storing.GenerateETag.",
	observe.ReasonExpired:        "The response was over when it came: send a max-age above 0, and check that Date, Age and Expires are right.",
	observe.ReasonRequestNoStore: "Clients send Cache-Control: no-store: set Requests.IgnoreDirectives if that is not theirs to decide.",
	observe.ReasonAuthorization:  "The request has credentials: send Cache-Control: public or s-maxage if all may see the response, else set Key.Partition and Storing.Authorized.",
	observe.ReasonCookie:         "The request has cookies that the handler may have read: name those that handlers read in Requests.Cookies, or send Cache-Control: public or max-age.",
	observe.ReasonSetCookie:      "The response sets a cookie: set it on another route, or put session and CSRF middleware behind the routes that need it.",
	observe.ReasonStatus:         "Responses of this status code are not stored: give it a lifetime in Policy.StatusTTL, or list it in Storing.StatusCodes.",
	observe.ReasonPartial:        "The handler has sent a part, or a 416, to a request that did not ask for one, or a 200 with Content-Range: correct it.",
	observe.ReasonMultipart:      "Several ranges in one answer are not kept: let clients ask for one at a time, or the handler say Accept-Ranges and send the whole, of which the cache cuts them.",
	observe.ReasonContentRange:   "A part is kept only where its Content-Range states the complete length, and as many bytes as there are: correct it in the handler.",
	observe.ReasonSmallPart:      "Parts are written together, so one of less than a 64th of what is stored is not added: let clients ask for larger ranges.",
	observe.ReasonWhole:          "The whole response is stored already, and the part says nothing new, so nothing is wrong: look for clients that send Cache-Control: no-cache.",
	observe.ReasonOtherPart:      "The handler was asked for what is missing, and gave a part of another version: let it heed If-Range, as http.ServeContent does.",
	observe.ReasonVaryAny:        "Vary: * says that no other request can have the response: name the fields that it depends on.",
	observe.ReasonVary:           "Vary has too many names: name only the fields that change the response, and look for middleware that adds to it.",
	observe.ReasonOrigin:         "The response was made for another Origin: let the CORS middleware send Vary: Origin, or run in front of the cache.",
	observe.ReasonDecided:        "Storing.Decide has said that it is not to be stored, or has panicked: Stats and the log tell of panics.",

	observe.ReasonTags:           "The response has more tags than Storing.MaxTags, or one of over 256 bytes, so it could not be purged: use fewer and shorter ones.",
	observe.ReasonHeader:         "A field has a character that no field may have: find the handler that puts raw text into a header.",
	observe.ReasonHeaderTooLarge: "The header exceeds Storing.MaxHeaderBytes: send less, choose what is kept with Storing.Headers, or raise the limit.",
	observe.ReasonTooLarge:       "The body exceeds Storing.MaxBytes, or its share of Config.MaxCaptureBytes: raise the limit, page the result, or leave such files to a file server.",
	observe.ReasonCaptureFull:    "The bodies that are being captured take all of Config.MaxCaptureBytes: raise it, declare Content-Length, or lower Storing.MaxBytes.",
	observe.ReasonSlowRead:       "The last large value under the key did not arrive in time: lower Storing.MaxBytes, or look at the link to the store.",
	observe.ReasonStoreBusy:      "More is on its way to the store than Background.WriteBuffer: look at the latency of the store, then raise it.",
	observe.ReasonStoreFailed:    "The store had failed when the handler was called: look at its state, its memory and its latency under Status.",

	observe.ReasonStream:      "The response was flushed before it was complete: remove Flush, or middleware that flushes, where nobody waits for the first part.",
	observe.ReasonHijack:      "The handler took the connection over, which cannot be cached: keep the route out of the cached group to be rid of the count.",
	observe.ReasonTrailers:    "The response has trailers, which are not kept: send the same in the header, if it is known by then.",
	observe.ReasonIncomplete:  "The body is longer or shorter than its Content-Length: correct the handler, or leave the length to the server.",
	observe.ReasonStatusTwice: "Two status codes were written: return after the first one, as after an error that was answered.",
	observe.ReasonHandler:     "The handler reported an error beside its response: look into its log, and let it return the one or the other.",
	observe.ReasonUnwritten:   "The handler returned without a response: look for a path through it that writes nothing.",
	observe.ReasonBegun:       "Middleware in front had begun the body: put it behind the cache.",
	observe.ReasonClientGone:  "The client left before the response was complete: set Requests.BackgroundFill if slow handlers should finish for the next one.",
}
