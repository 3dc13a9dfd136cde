package inspect

import (
	"crypto/rand"
	"encoding/hex"
	"math"
	weak "math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

const hour = time.Hour

// Recorder is the [observe.Observer] that keeps what the page shows: counts over time and
// by route, the keys with the most requests, and the latest events. It takes less than
// 2 MiB, whatever it sees, and starts nothing. All methods may be called concurrently.
type Recorder struct {
	now     func() time.Time
	started time.Time
	id      string // of this process

	series series
	known  routes
	keys   sketch
	latest tail
	marks  marks

	stores, refreshes, purges, calls [outcomes]atomic.Uint64
	breakerSince                     atomic.Int64 // ms
	breakerOpened                    atomic.Uint64

	publish    atomic.Pointer[func()] // nil: nobody shares
	publishing atomic.Bool

	// With the mutex of series:
	hour      int64 // since 1970
	before    before
	published int64

	mu      sync.Mutex
	sources []observe.Source
}

// NewRecorder returns a recorder. now is the clock, which must be that of the cache's
// Config; nil is time.Now.
func NewRecorder(now func() time.Time) *Recorder {
	if now == nil {
		now = time.Now
	}
	var id [8]byte
	rand.Read(id[:]) // does not fail
	r := &Recorder{now: now, started: now(), id: hex.EncodeToString(id[:])}
	r.known.known.Store(&map[string]*route{})
	at := r.started.UnixNano()
	r.hour = at / int64(hour)
	r.series.index.Store(at / finest)
	return r
}

// maxSources is how many caches tell of their gauges.
const maxSources = 16

// Attach is called by a cache that tells r of its work.
func (r *Recorder) Attach(s observe.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sources) < maxSources {
		r.sources = append(r.sources, s)
	}
}

// Observe counts an event.
func (r *Recorder) Observe(e *observe.Event) {
	end := e.Time.UnixNano() + int64(e.Total)
	if r.series.over(end) {
		r.turn(end, false)
	}
	var hash uint64
	switch l := &r.series.live[0]; e.Kind {
	case observe.KindRequest:
		hash = r.request(e)
	case observe.KindHandler:
		l.handlers.add(e.Total)
		if e.Background && e.NotStored != 0 {
			r.known.of(e.Route).notStored[min(int(e.NotStored), reasons-1)].Add(1)
		}
	case observe.KindStoreCall:
		l.calls.add(e.Total)
		r.calls[e.Outcome&(outcomes-1)].Add(1)
	case observe.KindStore:
		r.stores[e.Outcome&(outcomes-1)].Add(1)
	case observe.KindRefresh:
		r.refreshes[e.Outcome&(outcomes-1)].Add(1)
	case observe.KindPurge:
		r.purges[e.Outcome&(outcomes-1)].Add(1)
		r.marks.add(end, e)
	case observe.KindBreaker:
		r.breakerSince.Store(end / int64(time.Millisecond))
		if e.Outcome == observe.OutcomeOpened {
			r.breakerOpened.Add(1)
		}
	}
	if r.latest.wants(e, end) {
		if hash == 0 && e.Key != "" {
			hash = keyHash(e.Key)
		}
		r.latest.add(e, end, hash)
	}
}

// request counts one, and returns the hash of its key if it was needed.
func (r *Recorder) request(e *observe.Event) (hash uint64) {
	st := stripePool.Get().(*stripe)
	n := st.n
	stripePool.Put(st)
	l := &r.series.live[n]
	lately := l.results[e.Result&(results-1)].Add(1)
	r.known.of(e.Route).request(e, n)
	if e.Cause != 0 {
		l.causes[e.Cause&(causes-1)].Add(1)
	}
	if e.Saved > 0 {
		l.saved.Add(int64(e.Saved))
	}
	made, often := 1, false // 1: by a handler
	switch e.Result {
	case observe.ResultHit, observe.ResultStale:
		l.hits.add(e.Total)
		made, often = 0, true
	case observe.ResultCollapsed:
		made, often = 0, true
	case observe.ResultRevalidated:
		made = 0
	}
	if e.BodyBytes > 0 {
		l.bytes[made].Add(uint64(e.BodyBytes))
	}
	weight := uint64(1)
	if often && lately > sampleFrom {
		if weak.Uint32()%sampleHits != 0 {
			return 0
		}
		weight = sampleHits
	}
	if e.Key == "" {
		return 0
	}
	hash = keyHash(e.Key)
	r.keys.add(hash, e.Key, weight, e.BodyBytes, e.Result == observe.ResultMiss)
	return hash
}

// turn moves on what was counted, and begins another hour if it is time. A request does
// not wait for somebody who is about it. It returns since when the tables count, in
// milliseconds.
func (r *Recorder) turn(at int64, wait bool) int64 {
	if wait {
		r.series.mu.Lock()
	} else if !r.series.mu.TryLock() {
		return 0
	}
	defer r.series.mu.Unlock()
	r.series.fold(at, r.series.over(at) || wait && r.series.setBack(at))
	if h := r.series.index.Load() * finest / int64(hour); h != r.hour {
		r.before = before{}
		if h == r.hour+1 {
			r.before.since, r.before.until = max(r.hour*int64(hour), r.started.UnixNano()), h*int64(hour)
			for i := range r.before.lists {
				r.before.lists[i] = r.keys.most(i, maxTop)
			}
		}
		r.keys.clear()
		r.known.turn(h == r.hour+1)
		r.hour = h
	}
	if !wait {
		r.mayPublish(at)
	}
	return max((r.hour-1)*int64(hour), r.started.UnixNano()) / int64(time.Millisecond)
}

// status fills in what r knows.
func (r *Recorder) status(s *Status) {
	now := r.now()
	r.turn(now.UnixNano(), true)
	s.Now = now.UnixMilli()
	s.Instance.ID, s.Instance.PID, s.Instance.Started = r.id, os.Getpid(), r.started.UnixMilli()
	r.recent(s, now.UnixNano())
	s.Started.Stores = outcomeCounts(&r.stores)
	s.Started.Refreshes = outcomeCounts(&r.refreshes)
	s.Started.Purges = outcomeCounts(&r.purges)
	s.Store.ByOutcome = outcomeCounts(&r.calls)
	s.Breaker.Since, s.Breaker.Opened = r.breakerSince.Load(), r.breakerOpened.Load()
	s.Gauges.Watched = now.UnixNano() < r.latest.until.Load()
	r.mu.Lock()
	sources := r.sources
	r.mu.Unlock()
	for _, src := range sources {
		g := src.Gauges()
		s.Gauges.Waiting += g.Waiting
		s.Gauges.RefreshQueue += g.RefreshQueue
		s.Gauges.WriteBuffer += g.WriteBuffer
		s.Gauges.CallsSpared += g.CallsSpared
		s.Gauges.RoutesBeyond += g.RoutesBeyond
		s.Breaker.Open = s.Breaker.Open || g.BreakerOpen
		n := &s.Near
		n.On = n.On || g.Near.On
		n.Hits += g.Near.Hits
		n.Admissions += g.Near.Admissions
		n.Invalidations += g.Near.Invalidations
		n.Drops += g.Near.Drops
		n.Entries += g.Near.Entries
		n.Bytes += g.Near.Bytes
		n.Exists = n.Exists || g.Near.On || g.Near.Admissions > 0
	}
}

// recent fills in sums and quantiles.
func (r *Recorder) recent(s *Status, now int64) {
	r.series.mu.Lock()
	defer r.series.mu.Unlock()
	var recent sums
	r.series.spans[0].each(now/finest, func(_ int, s *slot) {
		o := s.sums()
		recent.add(&o)
	})
	s.Recent, s.Started = totals(&recent), totals(&r.series.total)
	day := &r.series.spans[len(spans)-1]
	day.each(now/int64(spans[len(spans)-1].step), func(i int, o *slot) {
		if p50 := float64(o.quantiles[4]); i >= slots-2 && o.index != 0 && !math.IsNaN(p50) {
			s.Store.P50, s.Store.P99 = round(p50), round(float64(o.quantiles[5]))
		}
	})
}

func totals(s *sums) Totals {
	t := Totals{
		Results: named[observe.Result](s.results[:]), Causes: named[observe.Cause](s.causes[:]),
		HitShare: hitShare(s), Saved: round(s.saved.Seconds()), BodyBytes: s.bytes[0] + s.bytes[1],
	}
	for _, n := range s.results {
		t.Requests += n
	}
	return t
}

func outcomeCounts(counts *[outcomes]atomic.Uint64) map[string]uint64 {
	var plain [outcomes]uint64
	for i := range counts {
		plain[i] = counts[i].Load()
	}
	return named[observe.Outcome](plain[:])
}
