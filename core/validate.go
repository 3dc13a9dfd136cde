package cacheaside

import "github.com/cacheaside/cacheaside/core/internal/httprules"

// revalidate asks the handler whether the stale entry is still good (RFC 9111
// section 4.3), or for a new response where the entry has no validator.
// That is done in the background where it may be, or while the client waits.
func (v *visit) revalidate(d httprules.Decision) error {
	v.stale = true
	if d.MaySWR && v.refresh() {
		v.c.stats.staleWhileRevalidate.Add(1)
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
