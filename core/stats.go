package cacheaside

import (
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/observe"
)

// Stats are counts since the cache was made, over all its handles.
type Stats struct {
	Hits         uint64 `json:"hits"`           // answered from the store without the handler
	Near         uint64 `json:"near"`           // of these, answered from this process, by a store with a near tier
	Misses       uint64 `json:"misses"`         // the handler was asked, nothing usable was stored
	Stale        uint64 `json:"stale"`          // the handler was asked, a stale response was stored
	Revalidated  uint64 `json:"revalidated"`    // of these, freshened by a 304 from the handler
	StaleIfError uint64 `json:"stale_if_error"` // answered with a stale response because the handler failed or took too long
	Coalesced    uint64 `json:"coalesced"`      // answered with what another request got from the handler
	Waiting      uint64 `json:"waiting"`        // requests that wait for another one now; this is no count
	// CaptureBytes are in use now by bodies that are captured, and CapturePeak is the
	// most that was, of [Config].MaxCaptureBytes. These are no counts.
	CaptureBytes uint64 `json:"capture_bytes"`
	CapturePeak  uint64 `json:"capture_peak"`
	// StaleWhileRevalidate counts the requests that were answered with a stale
	// response at once.
	StaleWhileRevalidate uint64 `json:"stale_while_revalidate"`
	Purges               uint64 `json:"purges"`          // purges that the store has acknowledged
	PurgeErrors          uint64 `json:"purge_errors"`    // purges that it has not
	Overtaken            uint64 `json:"overtaken"`       // responses that were purged before they were stored
	Contended            uint64 `json:"contended"`       // responses not stored because another one for the same key was, a moment before
	Refused              uint64 `json:"refused"`         // writes that the store did not take, for lack of memory for instance
	TagsRefused          uint64 `json:"tags_refused"`    // responses not stored because their tags exceed the limits
	DecidePanics         uint64 `json:"decide_panics"`   // panics of StoringPolicy.Decide: the response was not stored
	Refreshed            uint64 `json:"refreshed"`       // background runs that have renewed an entry
	RefreshErrors        uint64 `json:"refresh_errors"`  // background runs that have not
	RefreshDropped       uint64 `json:"refresh_dropped"` // background runs for which there was no room
	RefreshHung          uint64 `json:"refresh_hung"`    // background runs that went on after RefreshTimeout
	Bypasses             uint64 `json:"bypasses"`        // requests that were none of the cache's business
	Invalidated          uint64 `json:"invalidated"`     // URIs purged because an unsafe request succeeded
	Stores               uint64 `json:"stores"`          // responses written to the store
	StoresDropped        uint64 `json:"stores_dropped"`  // responses not written because too much was on its way already, or Close could not wait
	StoreErrors          uint64 `json:"store_errors"`    // reads and writes that failed or took too long
	Corrupt              uint64 `json:"corrupt"`         // values under our keys that were no entries of ours
	BreakerOpened        uint64 `json:"breaker_opened"`  // times the circuit breaker has opened
	Skipped              uint64 `json:"skipped"`         // calls not made of the store because it was open
	Slow                 uint64 `json:"slow"`            // large values that did not arrive in time, from the store or there
	// Why the handler was asked, of Misses and Stale together: see [observe.Cause].
	CauseCold       uint64 `json:"cause_cold"`
	CauseExpired    uint64 `json:"cause_expired"`
	CauseVary       uint64 `json:"cause_vary"`
	CausePurged     uint64 `json:"cause_purged"`
	CauseRequest    uint64 `json:"cause_request"`
	CauseCorrupt    uint64 `json:"cause_corrupt"`
	CauseStoreError uint64 `json:"cause_store_error"`
	CauseBreaker    uint64 `json:"cause_breaker"`
	CauseLost       uint64 `json:"cause_lost"`
	CausePartial    uint64 `json:"cause_partial"`
}

// causes counts by [observe.Cause]; at 0 is what has none.
type causes [observe.CausePartial + 1]atomic.Uint64

type counters struct {
	hits, near, misses, stale, revalidated, staleIfError, bypasses, invalidated, stores, storesDropped, storeErrors, corrupt,
	purges, purgeErrors, overtaken, contended, refused, tagsRefused, decidePanics,
	coalesced, staleWhileRevalidate, refreshed, refreshErrors, refreshDropped, refreshHung atomic.Uint64
	causes causes
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	s := &c.stats
	stats := Stats{
		Hits: s.hits.Load(), Near: s.near.Load(), Misses: s.misses.Load(), Stale: s.stale.Load(),
		Revalidated: s.revalidated.Load(), StaleIfError: s.staleIfError.Load(), Invalidated: s.invalidated.Load(), Bypasses: s.bypasses.Load(), Stores: s.stores.Load(),
		StoresDropped: s.storesDropped.Load(), StoreErrors: s.storeErrors.Load(), Corrupt: s.corrupt.Load(),
		Coalesced: s.coalesced.Load(), Waiting: uint64(c.waits()), StaleWhileRevalidate: s.staleWhileRevalidate.Load(),
		Purges: s.purges.Load(), PurgeErrors: s.purgeErrors.Load(), Overtaken: s.overtaken.Load(), Contended: s.contended.Load(), Refused: s.refused.Load(), TagsRefused: s.tagsRefused.Load(), DecidePanics: s.decidePanics.Load(),
		Slow: c.slow.count.Load(), Refreshed: s.refreshed.Load(), RefreshErrors: s.refreshErrors.Load(), RefreshDropped: s.refreshDropped.Load(), RefreshHung: s.refreshHung.Load(),
		CauseCold: s.causes[observe.CauseCold].Load(), CauseExpired: s.causes[observe.CauseExpired].Load(),
		CauseVary: s.causes[observe.CauseVary].Load(), CausePurged: s.causes[observe.CausePurged].Load(),
		CauseRequest: s.causes[observe.CauseRequest].Load(), CauseCorrupt: s.causes[observe.CauseCorrupt].Load(),
		CauseStoreError: s.causes[observe.CauseStoreError].Load(), CauseBreaker: s.causes[observe.CauseBreaker].Load(),
		CauseLost: s.causes[observe.CauseLost].Load(), CausePartial: s.causes[observe.CausePartial].Load(),
	}
	stats.CaptureBytes, stats.CapturePeak = uint64(c.captures.bytes.Load()), uint64(c.captures.peak.Load())
	if b := c.breaker; b != nil {
		stats.BreakerOpened, stats.Skipped = b.Opened(), b.Skipped()
	}
	return stats
}

// BreakerOpen reports whether the circuit breaker is open: requests are answered
// as if nothing were stored, since the store has failed too often in a row. See
// [Breaker].
func (c *Cache) BreakerOpen() bool { return c.breaker != nil && c.breaker.Open() }

// waits is how many requests wait for another one now.
func (s *shared) waits() int64 { return max(s.waiting.Load(), 0) + s.polling.Load() }
