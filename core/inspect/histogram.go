package inspect

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram counts durations in buckets of which four make an octave, from a microsecond
// to four minutes, so that a quantile is off by an eighth at most. The first bucket has
// what is shorter, the last one what is longer.
const (
	perOctave = 4
	octaves   = 27
	buckets   = perOctave * octaves
)

type histogram [buckets]atomic.Uint32

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0)) / 1000
	if us < perOctave { // 0 to 3 µs: one bucket for each
		return int(us)
	}
	exp := bits.Len64(us) - 3 // so that us>>exp has three bits, the first one set
	return min(exp*perOctave+int(us>>exp), buckets-1)
}

// middleOf is the duration for which a bucket stands.
func middleOf(b int) time.Duration {
	if b < 2*perOctave { // these are exact
		return time.Duration(b)*time.Microsecond + 500*time.Nanosecond
	}
	exp := b/perOctave - 1
	low := uint64(b%perOctave+perOctave) << exp
	return time.Duration(low+1<<exp/2) * time.Microsecond
}

func (h *histogram) add(d time.Duration) { h[bucketOf(d)].Add(1) }

// tally is a histogram that is only read.
type tally [buckets]uint64

func (t *tally) add(h *histogram) {
	for i := range h {
		t[i] += uint64(h[i].Load())
	}
}

// take moves what h has to t.
func (t *tally) take(h *histogram) {
	for i := range h {
		if h[i].Load() != 0 {
			t[i] += uint64(h[i].Swap(0))
		}
	}
}

// quantile is in seconds; NaN if nothing was counted.
func (t *tally) quantile(q float64) float64 {
	var n uint64
	for _, c := range t {
		n += c
	}
	if n == 0 {
		return math.NaN()
	}
	rank := uint64(math.Ceil(q * float64(n)))
	var seen uint64
	for b, c := range t {
		if seen += c; seen >= rank {
			return middleOf(b).Seconds()
		}
	}
	return middleOf(buckets - 1).Seconds()
}

// orNull makes null of what is no number.
func orNull(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}
