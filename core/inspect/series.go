package inspect

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

// spans are the times that charts can show, each in as many slots.
var spans = [...]struct {
	name string
	step time.Duration
}{{"15m", 5 * time.Second}, {"1h", 20 * time.Second}, {"24h", 8 * time.Minute}}

const slots = 180

// Numbers of an enum's values, rounded up to what a mask can keep an index within.
const (
	results  = 8
	causes   = 16
	outcomes = 16
)

// stripes keep processors from writing to the same memory.
const stripes = 4

// stripe is one of them. A pool has one for each processor, about.
type stripe struct{ n int }

var (
	nextStripe atomic.Uint32
	stripePool = sync.Pool{New: func() any { return &stripe{int(nextStripe.Add(1) % stripes)} }}
)

// live is a stripe of the slot of five seconds that events are counted in. It is all that
// requests write for the charts; what it has is moved on when the slot is over, or is
// looked at.
type live struct {
	results  [results]atomic.Uint64
	causes   [causes]atomic.Uint64
	saved    atomic.Int64
	bytes    [2]atomic.Uint64 // from the cache, from a handler
	hits     histogram
	handlers histogram
	calls    histogram
	_        [64]byte
}

// sums is what was counted in some time.
type sums struct {
	results [results]uint64
	causes  [causes]uint64
	saved   time.Duration
	bytes   [2]uint64
}

func (s *sums) add(o *sums) {
	for i := range s.results {
		s.results[i] += o.results[i]
	}
	for i := range s.causes {
		s.causes[i] += o.causes[i]
	}
	s.saved += o.saved
	s.bytes[0] += o.bytes[0]
	s.bytes[1] += o.bytes[1]
}

// filling is a slot that is not over. It still has the histograms, of which a slot that is
// over has only the quantiles.
type filling struct {
	index int64
	sums
	hits, handlers, calls tally
}

// slot is one that is over.
type slot struct {
	index     int64 // 0: there is none
	results   [results]uint32
	causes    [causes]uint32
	saved     time.Duration
	bytes     [2]uint64
	quantiles [6]float32 // 50 and 99 % of hits, handlers and calls of the store
}

func (s *slot) sums() (o sums) {
	for i, n := range s.results {
		o.results[i] = uint64(n)
	}
	for i, n := range s.causes {
		o.causes[i] = uint64(n)
	}
	o.saved, o.bytes = s.saved, s.bytes
	return o
}

func (f *filling) slot() slot {
	s := slot{index: f.index, saved: f.saved, bytes: f.bytes}
	for i, n := range f.results {
		s.results[i] = uint32(min(n, math.MaxUint32))
	}
	for i, n := range f.causes {
		s.causes[i] = uint32(min(n, math.MaxUint32))
	}
	for i, t := range []*tally{&f.hits, &f.handlers, &f.calls} {
		s.quantiles[2*i], s.quantiles[2*i+1] = float32(t.quantile(0.5)), float32(t.quantile(0.99))
	}
	return s
}

type span struct {
	now  filling
	over [slots]slot // by index modulo their number
}

// series are the counts over time.
type series struct {
	index atomic.Int64 // of the slot that live stands for
	live  [stripes]live

	mu    sync.Mutex // of the rest
	spans [len(spans)]span
	total sums
}

const finest = int64(5 * time.Second)

// over reports whether the live slot is, at a time. What is earlier counts into the slot
// that there is.
func (s *series) over(at int64) bool { return at/finest > s.index.Load() }

// setBack reports whether the clock was: it is over a minute earlier. Only who looks at the
// charts asks, by the clock itself: times of events may be of any order.
func (s *series) setBack(at int64) bool {
	return at/finest-s.index.Load() < -int64(time.Minute)/finest
}

// fold moves what was counted into the spans, and makes the live slot that of at if it is
// another one. s.mu is held.
func (s *series) fold(at int64, another bool) {
	var f filling
	for i := range s.live {
		l := &s.live[i]
		for i := range l.results {
			f.results[i] += l.results[i].Swap(0)
		}
		for i := range l.causes {
			f.causes[i] += l.causes[i].Swap(0)
		}
		f.saved += time.Duration(l.saved.Swap(0))
		f.bytes[0] += l.bytes[0].Swap(0)
		f.bytes[1] += l.bytes[1].Swap(0)
		f.hits.take(&l.hits)
		f.handlers.take(&l.handlers)
		f.calls.take(&l.calls)
	}
	s.total.add(&f.sums)
	was := s.index.Load() * finest
	for i := range s.spans {
		sp := &s.spans[i]
		sp.turn(was / int64(spans[i].step))
		sp.now.add(&f.sums)
		for b := range buckets {
			sp.now.hits[b] += f.hits[b]
			sp.now.handlers[b] += f.handlers[b]
			sp.now.calls[b] += f.calls[b]
		}
		if another {
			sp.turn(at / int64(spans[i].step))
		}
	}
	if another {
		s.index.Store(at / finest)
	}
}

// turn begins another slot.
func (sp *span) turn(index int64) {
	if index == sp.now.index {
		return
	}
	if sp.now.index > 0 {
		sp.over[sp.now.index%slots] = sp.now.slot()
	}
	sp.now = filling{index: index}
}

// each calls yield with the slots until a time, oldest first; those in which nothing was
// counted have the index 0.
func (sp *span) each(until int64, yield func(i int, s *slot)) {
	var none slot
	now := sp.now.slot()
	for i := range slots {
		index := until - slots + 1 + int64(i)
		s := &none
		if index == now.index {
			s = &now
		} else if o := &sp.over[max(index, 0)%slots]; o.index == index {
			s = o
		}
		yield(i, s)
	}
}

func (r *Recorder) charts(which int) Charts {
	now := r.now().UnixNano()
	r.turn(now, true)
	step := spans[which].step
	c := Charts{
		Range: spans[which].name, Step: step.Seconds(), Last: time.Duration(now % int64(step)).Seconds(), Times: make([]int64, slots), Instance: r.id,
		Results: map[string][]uint64{}, Latency: map[string][]*float64{}, Purges: r.marks.since(now - slots*int64(step)),
		Bytes: map[string][]uint64{"cache": make([]uint64, slots), "handler": make([]uint64, slots)},
	}
	for n := range observe.ResultError + 1 {
		if n > 0 {
			c.Results[n.String()] = make([]uint64, slots)
		}
	}
	names := [4]string{"hit_p50", "hit_p99", "handler_p50", "handler_p99"}
	for _, n := range names {
		c.Latency[n] = make([]*float64, slots)
	}
	r.series.mu.Lock()
	defer r.series.mu.Unlock()
	until := now / int64(step)
	r.series.spans[which].each(until, func(i int, s *slot) {
		c.Times[i] = (until - slots + 1 + int64(i)) * int64(step/time.Second)
		for n := range observe.ResultError + 1 {
			if n > 0 {
				c.Results[n.String()][i] = uint64(s.results[n])
			}
		}
		c.Bytes["cache"][i], c.Bytes["handler"][i] = s.bytes[0], s.bytes[1]
		for j, n := range names {
			if s.index != 0 {
				c.Latency[n][i] = orNull(round(float64(s.quantiles[j])))
			}
		}
	})
	return c
}

// round leaves the digits that a quantile has.
func round(f float64) float64 { return math.Round(f*1e7) / 1e7 }

// marks are the latest purges.
type marks struct {
	mu   sync.Mutex
	ring [64]mark
	n    int
}

type mark struct {
	at      int64
	kind    observe.Purge
	outcome observe.Outcome
	soft    bool
}

// add leaves out a purge like the one before, a moment later: unsafe requests may make many.
func (m *marks) add(at int64, e *observe.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := mark{at, e.Purge, e.Outcome, e.Soft}
	if m.n > 0 {
		last := m.ring[(m.n-1)%len(m.ring)]
		if at-last.at < int64(time.Second) && last == (mark{last.at, next.kind, next.outcome, next.soft}) {
			return
		}
	}
	m.ring[m.n%len(m.ring)] = next
	m.n++
}

func (m *marks) since(at int64) []Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []Mark{}
	for i := max(0, m.n-len(m.ring)); i < m.n; i++ {
		if k := m.ring[i%len(m.ring)]; k.at >= at {
			out = append(out, Mark{Time: k.at / int64(time.Millisecond), Kind: k.kind.String(), Soft: k.soft, Outcome: k.outcome.String()})
		}
	}
	return out
}
