package inspect

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/observe"
)

// reasons is how many there may be.
const reasons = 56

// routeCounts is what was counted of a route in an hour.
type routeCounts struct {
	hot       [stripes]hotCounts
	causes    [causes]atomic.Uint32
	notStored [reasons]atomic.Uint32
	bypasses  [reasons]atomic.Uint32
	total     histogram
}

// hotCounts are those that a hit writes: a cache line.
type hotCounts struct {
	results [results]atomic.Uint32
	saved   atomic.Int64
	bytes   atomic.Uint64
	_       [16]byte
}

func (c *routeCounts) clear() {
	for i := range c.hot {
		h := &c.hot[i]
		for j := range h.results {
			h.results[j].Store(0)
		}
		h.saved.Store(0)
		h.bytes.Store(0)
	}
	for i := range c.causes {
		c.causes[i].Store(0)
	}
	for i := range c.notStored {
		c.notStored[i].Store(0)
		c.bypasses[i].Store(0)
	}
	for i := range c.total {
		c.total[i].Store(0)
	}
}

type route struct {
	name  string
	hours [2]routeCounts // of which one is the current hour's
}

// routes are those seen so far: observe.MaxRoutes, and one for those beyond.
type routes struct {
	known atomic.Pointer[map[string]*route] // replaced, not changed
	hour  atomic.Uint32                     // which of the two is the current one
	mu    sync.Mutex
}

func (rs *routes) of(name string) *routeCounts {
	if rt, ok := (*rs.known.Load())[name]; ok {
		return &rt.hours[rs.hour.Load()&1]
	}
	return &rs.learn(name).hours[rs.hour.Load()&1]
}

func (rs *routes) learn(name string) *route {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	known := *rs.known.Load()
	if len(known) >= observe.MaxRoutes && known[name] == nil {
		name = observe.Other
	}
	if rt, ok := known[name]; ok {
		return rt
	}
	next := maps.Clone(known)
	rt := &route{name: name}
	next[name] = rt
	rs.known.Store(&next)
	return rt
}

// turn begins an hour; the one before is kept unless it is not the one that was current.
func (rs *routes) turn(adjacent bool) {
	current := rs.hour.Load() & 1
	for _, rt := range *rs.known.Load() {
		rt.hours[1-current].clear()
		if !adjacent {
			rt.hours[current].clear()
		}
	}
	rs.hour.Store(1 - current)
}

func (c *routeCounts) request(e *observe.Event, stripe int) {
	h := &c.hot[stripe]
	h.results[e.Result&(results-1)].Add(1)
	if e.Saved > 0 {
		h.saved.Add(int64(e.Saved))
	}
	if e.BodyBytes > 0 {
		h.bytes.Add(uint64(e.BodyBytes))
	}
	c.total.add(e.Total)
	if e.Cause != 0 {
		c.causes[e.Cause&(causes-1)].Add(1)
	}
	if e.Bypass != 0 {
		c.bypasses[min(int(e.Bypass), reasons-1)].Add(1)
	}
	if e.NotStored != 0 {
		c.notStored[min(int(e.NotStored), reasons-1)].Add(1)
	}
}

// sum is both hours of a route.
type sum struct {
	sums
	notStored, bypasses [reasons]uint64
	total               tally
}

func (rt *route) sum() (s sum) {
	for i := range rt.hours {
		c := &rt.hours[i]
		for j := range c.hot {
			h := &c.hot[j]
			for n := range h.results {
				s.results[n] += uint64(h.results[n].Load())
			}
			s.saved += time.Duration(h.saved.Load())
			s.bytes[0] += h.bytes.Load()
		}
		for n := range c.causes {
			s.causes[n] += uint64(c.causes[n].Load())
		}
		for n := range c.notStored {
			s.notStored[n] += uint64(c.notStored[n].Load())
			s.bypasses[n] += uint64(c.bypasses[n].Load())
		}
		s.total.add(&c.total)
	}
	return s
}

func (r *Recorder) routeTable() Routes {
	t := Routes{Since: r.turn(r.now().UnixNano(), true), Routes: []Route{}}
	for _, rt := range *r.known.known.Load() {
		s := rt.sum()
		row := Route{
			Route: redact.Clean(rt.name, 200), Results: named[observe.Result](s.results[:]), Causes: named[observe.Cause](s.causes[:]),
			HitShare: hitShare(&s.sums), P99: orNull(round(s.total.quantile(0.99))), Saved: s.saved.Seconds(), BodyBytes: s.bytes[0],
		}
		for _, n := range s.results {
			row.Requests += n
		}
		if row.Requests == 0 {
			continue
		}
		row.Cause = observe.Cause(most(s.causes[:])).String()
		why, bypass := most(s.notStored[:]), most(s.bypasses[:])
		if row.Reason = observe.Reason(why).String(); s.bypasses[bypass] > s.notStored[why] {
			row.Reason = observe.Reason(bypass).String()
		}
		t.Routes = append(t.Routes, row)
	}
	slices.SortFunc(t.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Route, b.Route))
	})
	return t
}

func (r *Recorder) reasonTable() Reasons {
	t := Reasons{Since: r.turn(r.now().UnixNano(), true), Reasons: []ReasonRoutes{}}
	var not, bypass [reasons]ReasonRoutes
	for _, rt := range *r.known.known.Load() {
		s := rt.sum()
		for n := 1; n < reasons; n++ {
			for _, x := range []struct {
				to    *ReasonRoutes
				count uint64
			}{{&not[n], s.notStored[n]}, {&bypass[n], s.bypasses[n]}} {
				if x.count > 0 {
					x.to.Count += x.count
					x.to.Routes = append(x.to.Routes, RouteCount{redact.Clean(rt.name, 200), x.count})
				}
			}
		}
	}
	for n := 1; n < reasons; n++ {
		bypass[n].Bypass = true
		for _, x := range []*ReasonRoutes{&not[n], &bypass[n]} {
			if x.Count == 0 {
				continue
			}
			x.Reason, x.Remedy = observe.Reason(n).String(), remedies[observe.Reason(n)]
			slices.SortFunc(x.Routes, func(a, b RouteCount) int {
				return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route))
			})
			x.Routes = x.Routes[:min(len(x.Routes), 10)]
			t.Reasons = append(t.Reasons, *x)
		}
	}
	slices.SortStableFunc(t.Reasons, func(a, b ReasonRoutes) int { return cmp.Compare(b.Count, a.Count) })
	return t
}

// most is the index of the largest count; 0 if there is none, which has no name.
func most(counts []uint64) int {
	at := 0
	for i, n := range counts {
		if i > 0 && n > 0 && (at == 0 || n > counts[at]) {
			at = i
		}
	}
	return at
}

// named gives counts their names.
func named[T interface {
	~uint8
	String() string
}](counts []uint64) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range counts {
		if name := T(i).String(); n > 0 && name != "" {
			m[name] = n
		}
	}
	return m
}

// hitShare is that of hits, fresh or stale, among the requests that the cache had to do with.
func hitShare(s *sums) *float64 {
	hits, all := s.results[observe.ResultHit]+s.results[observe.ResultStale], uint64(0)
	for i, n := range s.results {
		if i != int(observe.ResultBypass) {
			all += n
		}
	}
	if all == 0 {
		return nil
	}
	share := float64(hits) / float64(all)
	return &share
}
