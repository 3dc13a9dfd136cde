// Package cachetest is for tests of services that are behind a cache, in the manner of
// net/http/httptest. [New] makes an empty cache for one test, which closes itself and whose
// time passes on command; [Off] makes one that leaves everything to the handlers. What the
// cache has done for a request shows in the response: [OutcomeOf] reads it, and
// [AssertHit], [AssertMiss] and the like check it.
//
//	cache := cachetest.New(t, cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}})
//	service := newService(cache.Cache) // the one under test
//
//	cachetest.AssertStored(t, get(service, "/blogs/1"))
//	cachetest.AssertHit(t, get(service, "/blogs/1"))
//	cache.Advance(time.Minute)
//	cachetest.AssertMiss(t, get(service, "/blogs/1"))
//
// It works with the responses of all frameworks. An adapter or a store is tested with
// core/coretest and core/storetest.
package cachetest
