package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/observe"
)

// revalidate asks the handler whether the stale entry is still good (RFC 9111
// section 4.3), or for a new response where the entry has no validator.
// That is done in the background where it may be, or while the client waits.
func (v *visit) revalidate(d httprules.Decision) error {
	v.stale = true
	if d.MaySWR && v.refresh(observe.TriggerSWR) {
		v.c.stats.staleWhileRevalidate.Add(1)
		v.result, v.stood = observe.ResultStale, observe.StaleWhileRevalidate
		return v.replyStored(v.now, httprules.CacheStatus{
			Hit: true, TTL: seconds(d.TTL), HasTTL: true, Key: v.shownKey(), Detail: detailStaleWhileRevalidate,
		})
	}
	v.counter = &v.c.stats.stale
	defer v.count()
	if v.control.OnlyIfCached {
		return v.gatewayTimeout()
	}
	if d.MaySIE && v.softens() {
		return v.coalesceSoftly()
	}
	return v.coalesce()
}
