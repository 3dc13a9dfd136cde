package prom

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The histograms of client_golang keep classic and native buckets apart, which takes twice
// the time that a hit has. Here the bounds of both kinds divide the durations into cells,
// and each observation is counted in one. At a scrape the buckets of both kinds are sums of
// cells, so that they always agree.

const (
	// schema is that of native histograms whose bounds are the powers of 2^(1/8): each is
	// 9 % above the one below.
	schema  = 3
	perTwo  = 1 << schema
	subBits = 4 // of a duration, below its highest bit, that layout.start is found by
)

// layout says which durations histograms have buckets for.
type layout struct {
	classic []float64 // bounds, in seconds
	lowest  int       // what is not above 2^lowest seconds is in the native zero bucket
	// upper are the bounds of the cells in nanoseconds, ascending, the last one open.
	upper []int64
	// start has the first cell that durations may be in, by their highest bits.
	start [64 << subBits]uint16
	// bucket and key are those of each cell: which classic bucket, the last of which is
	// the one above all bounds, and which native bucket, that up to 2^(key/8) seconds.
	bucket []uint8
	key    []int16
}

// newLayout makes one with native buckets from 2^lowest to 2^highest seconds. What is
// longer counts natively as if it were just above that.
func newLayout(classic []float64, lowest, highest int) *layout {
	l := &layout{classic: classic, lowest: lowest}
	for _, bound := range classic {
		l.upper = append(l.upper, int64(math.Round(bound*1e9)))
	}
	for key := lowest * perTwo; key <= highest*perTwo; key++ {
		l.upper = append(l.upper, nativeBound(key))
	}
	l.upper = append(l.upper, math.MaxInt64)
	slices.Sort(l.upper)
	l.upper = slices.Compact(l.upper)

	key := lowest * perTwo
	for _, upper := range l.upper {
		if upper > nativeBound(key) && key <= highest*perTwo {
			key++
		}
		l.key = append(l.key, int16(key))
		l.bucket = append(l.bucket, uint8(slices.IndexFunc(append(slices.Clone(classic), math.Inf(1)), func(bound float64) bool {
			return float64(upper) <= math.Round(bound*1e9)
		})))
	}
	for slot := range l.start {
		l.start[slot] = uint16(slices.IndexFunc(l.upper, func(upper int64) bool { return slotOf(upper) >= slot }))
	}
	return l
}

// nativeBound is the upper bound of a native bucket in nanoseconds. It is no whole number,
// but durations are.
func nativeBound(key int) int64 { return int64(math.Exp2(float64(key)/perTwo) * 1e9) }

// slotOf is a number that grows with the duration, from 32 ns on: its highest bits.
func slotOf(d int64) int {
	exponent := bits.Len64(uint64(d) | 1<<subBits)
	return exponent<<subBits | int(d>>(exponent-1-subBits))&(1<<subBits-1)
}

// cell returns the cell that counts d, which is not negative.
func (l *layout) cell(d int64) int {
	cell := int(l.start[slotOf(d)])
	for d > l.upper[cell] { // once or twice at most
		cell++
	}
	return cell
}

// histogram is a [prometheus.Metric] with classic and native buckets.
type histogram struct {
	desc      *prometheus.Desc
	labels    []*dto.LabelPair
	layout    *layout
	created   time.Time
	cells     []atomic.Uint64
	sum       atomic.Uint64                  // seconds, the bits of a float64
	exemplars []atomic.Pointer[dto.Exemplar] // the last ones of the classic buckets; nil until there is one
}

func newHistogram(desc *prometheus.Desc, labels []*dto.LabelPair, l *layout) *histogram {
	return &histogram{
		desc: desc, labels: labels, layout: l, created: time.Now(), cells: make([]atomic.Uint64, len(l.upper)),
		exemplars: make([]atomic.Pointer[dto.Exemplar], len(l.classic)+1),
	}
}

// observe counts d. One that is negative, because the clock was set back, counts as 0.
func (h *histogram) observe(d time.Duration, exemplar prometheus.Labels) {
	d = max(d, 0)
	cell := h.layout.cell(int64(d))
	h.cells[cell].Add(1)
	for seconds := d.Seconds(); ; {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+seconds)) {
			break
		}
	}
	if exemplar != nil {
		h.exemplars[h.layout.bucket[cell]].Store(newExemplar(d, exemplar))
	}
}

func newExemplar(d time.Duration, labels prometheus.Labels) *dto.Exemplar {
	e := &dto.Exemplar{Value: new(d.Seconds()), Timestamp: timestamppb.Now()}
	for name, value := range labels {
		e.Label = append(e.Label, &dto.LabelPair{Name: &name, Value: &value})
	}
	return e
}

// Desc implements [prometheus.Metric].
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements [prometheus.Metric]. The sum may be ahead of the counts, or behind
// them, by what is being observed now.
func (h *histogram) Write(out *dto.Metric) error {
	l := h.layout
	cumulative := make([]uint64, len(l.classic)+1)
	native := nativeBuckets{deltas: make([]int64, 0, 32)}
	zero := uint64(0)
	for cell := range h.cells {
		n := h.cells[cell].Load()
		if n == 0 {
			continue
		}
		cumulative[l.bucket[cell]] += n
		if key := int(l.key[cell]); key > l.lowest*perTwo {
			native.add(key, n)
		} else {
			zero += n
		}
	}
	for i := range l.classic {
		cumulative[i+1] += cumulative[i]
	}
	count := &cumulative[len(l.classic)]

	buckets := make([]dto.Bucket, len(cumulative))
	all := make([]*dto.Bucket, len(cumulative))
	for i := range buckets {
		all[i] = &buckets[i]
		all[i].CumulativeCount, all[i].Exemplar = &cumulative[i], h.exemplars[i].Load()
		if i < len(l.classic) {
			all[i].UpperBound = &l.classic[i]
		}
	}
	if last := all[len(l.classic)]; last.Exemplar != nil {
		last.UpperBound = new(math.Inf(1))
	} else { // the bucket above all bounds goes without saying
		all = all[:len(l.classic)]
	}
	out.Label = h.labels
	out.Histogram = &dto.Histogram{
		SampleCount: count, SampleSum: new(math.Float64frombits(h.sum.Load())), Bucket: all, CreatedTimestamp: timestamppb.New(h.created),
		Schema: new(int32(schema)), ZeroThreshold: new(math.Ldexp(1, l.lowest)), ZeroCount: &zero,
		PositiveSpan: native.spans, PositiveDelta: native.deltas,
	}
	return nil
}

// nativeBuckets are what a native histogram has of its buckets: spans of them, of which
// each starts so many after the end of the one before, and each bucket's count, as its
// difference from the one before.
type nativeBuckets struct {
	spans  []*dto.BucketSpan
	deltas []int64
	last   int // the bucket that was added last
	count  int64
}

// add adds n to the bucket with that key, which is no lower than the last one.
func (b *nativeBuckets) add(key int, n uint64) {
	switch gap := key - b.last - 1; {
	case len(b.spans) == 0:
		b.spans = append(b.spans, &dto.BucketSpan{Offset: new(int32(key)), Length: new(uint32(0))})
	case gap < 0: // two cells are one bucket
		b.count += int64(n)
		b.deltas[len(b.deltas)-1] += int64(n)
		return
	case gap > 2:
		b.spans = append(b.spans, &dto.BucketSpan{Offset: new(int32(gap)), Length: new(uint32(0))})
	default: // some empty buckets take less than a span
		for range gap {
			b.append(0)
		}
	}
	b.append(int64(n))
	b.last = key
}

func (b *nativeBuckets) append(count int64) {
	*b.spans[len(b.spans)-1].Length++
	b.deltas = append(b.deltas, count-b.count)
	b.count = count
}
