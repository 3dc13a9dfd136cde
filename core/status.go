package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Why a request was forwarded, for the parameter fwd of Cache-Status (RFC 9211 section
// 2.2).
const (
	fwdBypass   = "bypass"    // the cache has nothing to do with the request
	fwdMethod   = "method"    // its method is not answered from a cache
	fwdMiss     = "miss"      // nothing is stored for it
	fwdVaryMiss = "vary-miss" // only what answers other requests is
	fwdStale    = "stale"     // what is stored is to be validated
	fwdRequest  = "request"   // the request rules out what is stored
	fwdPartial  = "partial"   // what is stored is not all that is asked for
)

// What more there is to say, for the parameter detail (section 2.8). The reasons of
// [adapter.Response] and those of the rules, as "no-store", appear there as well.
const (
	// Of a bypass.
	detailSkip           = "skip"             // Policy.Skip
	detailMethod         = "method"           // not among RequestPolicy.Methods
	detailRequestBody    = "request-body"     // the policy's keys cannot tell the content of two requests apart
	detailContentTooLong = "content-too-long" // ContentPolicy.MaxBytes
	detailContentRefused = "content-refused"  // ContentPolicy.Normalize
	detailContentUnread  = "content-unread"   // the content of the request could not be read
	detailUpgrade        = "upgrade"          // another protocol is asked for
	detailPrecondition   = "precondition"     // If-Match and the like, which only the handler can judge
	detailOverride       = "override"         // a field puts another method or path in the place of the request's
	detailKeyTooLong     = "key-too-long"     // KeyPolicy.MaxBytes
	detailRerun          = "rerun"            // a background run for another handle, or whose key has changed
	detailOnlyIfCached   = "only-if-cached"   // nothing usable is stored, and the handler may not be asked

	// Of an answer from the store.
	detailNear                 = "near"                   // it was in this process
	detailNoVarySearch         = "no-vary-search"         // it was stored for another URL, and says that it is for this one as well
	detailStaleWhileRevalidate = "stale-while-revalidate" // it is stale, and being renewed
	detailStaleIfError         = "stale-if-error"         // it is stale, and the handler failed
	detailSoftTimeout          = "soft-timeout"           // it is stale, and the handler takes its time
	detailOtherValidator       = "other-validator"        // the handler's 304 is about another response
	detailOtherPart            = "other-part"             // the handler's 206 or 416 is about another response than the parts that are stored
	detailClientGone           = "client-gone"            // the request ended while it waited for another one

	// Why a response is not stored.
	detailPartial        = "partial"          // a part that nobody asked for
	detailMultipart      = "multipart"        // several parts in one body
	detailContentRange   = "content-range"    // a part whose place or length is not known
	detailSmallPart      = "small-part"       // a part that is little beside what is known
	detailWhole          = "whole"            // a part of what is stored as a whole
	detailStatus         = "status"           // of a POST: not 200
	detailNoFreshness    = "no-freshness"     // of a POST: none that the response states
	detailOrigin         = "origin"           // what is stored was answered to another origin
	detailDecided        = "decided"          // StoringPolicy.Decide said no, or panicked
	detailAuthorization  = "authorization"    // nothing but the policy's TTL would share it
	detailCookie         = "cookie"           // the same, and the handler may have read a cookie
	detailVary           = "vary"             // too many names in Vary
	detailTags           = "tags"             // StoringPolicy.MaxTags, or a tag that is too long
	detailHeader         = "header"           // a field that would be no field when it is read
	detailHeaderTooLarge = "header-too-large" // StoringPolicy.MaxHeaderBytes
	detailSlowRead       = "slow-read"        // the last large value under the key did not arrive in time
	detailStoreBusy      = "store-busy"       // Background.WriteBuffer
	detailStoreFailed    = "store-failed"     // the store failed when the handler was called
)

// What a miss may be due to, where nothing else is to be said: it was no plain one.
const (
	detailPurged     = "purged"      // what was stored
	detailLost       = "lost"        // what this process has stored, or what says whether it was purged
	detailCorrupt    = "corrupt"     // what is there is no entry of ours
	detailStoreError = "store-error" // the store failed, or took too long
	detailBreaker    = "breaker"     // the circuit breaker is open
)

// causeDetail is the detail of a response that nothing else is to be said of.
func (v *visit) causeDetail() string {
	switch v.cause {
	case observe.CausePurged:
		return detailPurged
	case observe.CauseLost:
		return detailLost
	case observe.CauseCorrupt:
		return detailCorrupt
	case observe.CauseStoreError:
		return detailStoreError
	case observe.CauseBreaker:
		return detailBreaker
	}
	return ""
}

func statusValue(s httprules.CacheStatus) string {
	return string(appendStatus(make([]byte, 0, 64), s))
}

func appendStatus(b []byte, s httprules.CacheStatus) []byte {
	s.Name = "cacheaside"
	return s.Append(b)
}
